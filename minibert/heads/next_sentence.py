"""Next sentence prediction: does segment B follow A, or is it a random one?

Devlin et al. 2018, arXiv 1810.04805, section 3.1, task 2; google-research/bert, `get_next_sentence_output`.

    z = r Wᵀ + b, r the pooled state of the row; class 0 = B follows A, 1 = B is random                             (1)
    L = mean of -log softmax(z)[label] over the rows                                                                (2)
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"next_sentence_labels": "(B)<2"}
SHORT = "NSP"
BASELINE = "majority"


def shapes(*, width: int) -> Tree:
    """width: of the pooled state, D."""
    return {"weight": (2, width), "bias": (2,)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: both, in turn."""
    return {"next_sentence_labels": np.arange(dims["B"]) % 2}


@block
def nsp_head(pooled: Array, p: Tree) -> tuple[Array, Tree]:
    """(1) r Wᵀ + b; pooled r (B, D) -> (B, 2)."""
    c: Tree = {}
    z, c["dense"] = ops.linear(pooled, **p)
    return z, c


@block_backward
def nsp_head_backward(dz: Array, c: Tree) -> tuple[Array, Tree]:
    return ops.linear_backward(dz, c["dense"])


def loss(
    r: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of r (B, D)."""
    c: Tree = {}
    z, c["head"] = nsp_head(r, p)
    (target,) = labels.values()
    value, c["loss"] = ops.cross_entropy(z, labels=target, denominator=total)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dr, g, None)."""
    return *nsp_head_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"]), None


def count(labels: Tree) -> float:
    """The number of rows."""
    (target,) = labels.values()
    return float(len(target))


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"], classes=True)


def predict(r: Array, p: Tree, *, table: None = None) -> Array:
    """(1) of r (B, D): the logits (B, 2)."""
    return nsp_head(r, p)[0]
