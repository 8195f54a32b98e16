"""Masked token: which token stood at each masked position m, told by one linear map of its state?

Conneau, Lample, 2019, arXiv 1901.07291, section 3.2; facebookresearch/XLM, `PredLayer`. `masked_lm` without its layer.

    z = h[m] Eᵀ + b_V, E the network's word table or a decoder of the head's own                                    (1)
    L = mean of -log softmax(z)[label], by the weights of the targets                                               (2)
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.heads import masked_lm

Array = np.ndarray
Tree = dict[str, Any]

LABELS, SHORT, BASELINE, COMMAND = masked_lm.LABELS, masked_lm.SHORT, masked_lm.BASELINE, masked_lm.COMMAND
draw, count = masked_lm.draw, masked_lm.count


def shapes(*, table: tuple[int, int], tied: bool) -> Tree:
    """table: (V, E); tied: it is not the head's."""
    bias = {"bias": (table[0],)}
    return {"decoder": bias if tied else {"weight": table, **bias}}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: Array, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of h (B, T, D). Only target slots of non-zero weight reach the vocabulary, unless `dense`."""
    c: Tree = {"rows": len(h)}
    flat, ids, weights = masked_lm.targets(labels, h.shape[1], dense)
    targets, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = ops.linear(targets[0], weight=table, bias=p["decoder"]["bias"])  # (1)
    total = np.sum(labels["masked_lm_weights"], dtype=h.dtype) if total is None else total
    value, c["loss"] = ops.cross_entropy(z, labels=ids, weights=weights.astype(h.dtype), denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dz = ops.cross_entropy_backward(dloss, c["loss"])
    dtargets, g = ops.linear_backward(dz, c["head"])
    dh = ops.gather_backward(dtargets[None], c["gather"])
    return dh.reshape(c["rows"], -1, dh.shape[-1]), {"decoder": {"bias": g["bias"]}}, g["weight"]


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def predict(h: Array, p: Tree, *, table: Array) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return ops.linear(h, weight=table, bias=p["decoder"]["bias"])[0]
