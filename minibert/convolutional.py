"""An encoder of convolutions over a text: what attention is compared with, beside `recurrent`.

    y = LN(x + relu(W * x + b)), W a kernel of k tokens about each, zeros beyond the ends and in padding            (1)

The residual blocks of convolutional encoders (Gehring et al. 2017, "Convolutional sequence to sequence learning", arXiv
1705.03122, section 3), with ReLU in the place of their gates and BERT's norm.
"""

from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


def shapes(width: int, kernel: int) -> Tree:
    """The shapes of a layer that reads (B, T, width), `kernel` tokens at a time."""
    return {"convolution": {"weight": (width, width, kernel), "bias": (width,)},
            "norm": {"weight": (width,), "bias": (width,)}}  # fmt: skip


@block
def convolution_layer(x: Array, p: Tree, *, eps: float, seen: Array | None = None) -> tuple[Array, Tree]:
    """(1) of x (B, T, D); seen: bits (B, T), 1 = there."""
    c: Tree = {}
    f, c["convolution"] = ops.convolution(x, **p["convolution"], same=True, mask=seen)
    f, c["act"] = ops.relu(f)
    y, c["add_norm"] = layers.add_norm(x, f, {"norm": p["norm"]}, eps=eps, keep=None, rate=0.0)
    return y, c


@block_backward
def convolution_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, df, g = layers.add_norm_backward(dy, c["add_norm"])
    dconvolved, own = ops.convolution_backward(ops.relu_backward(df, c["act"]), c["convolution"])
    return kernels.add(dx, dconvolved), {"convolution": own, **g}
