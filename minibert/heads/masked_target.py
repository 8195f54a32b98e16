"""Masked target: which token stood at each masked place of a text that a model learns to write?

Dong et al. 2019, arXiv 1905.03197, section 2.4; microsoft/unilm, unilm-v1, `LabelSmoothingLoss`. `masked_lm` of labels
that are smoothed:

    z = LN(act(h[m] W_zᵀ + b_z)) Eᵀ + b_V, E the network's word table or a decoder of the head's own                (1)
    L = Σ w·Σ_c q_c (log q_c - log softmax(z)_c) / (Σ w + ε₀), ε₀ = 0; 1e-5 in the release                          (2)
    q 1 - ε at the label, 0 at padding, ε/(V - 2) elsewhere; what is asked for is never padding                     (3)
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.heads import masked_lm
from minibert.heads.masked_lm import BASELINE, COMMAND, LABELS, SHORT, count, draw, predict, right, shapes

__all__ = ["BASELINE", "COMMAND", "LABELS", "SHORT", "count", "draw", "loss", "loss_backward", "predict", "right",
           "shapes"]  # fmt: skip

Array = np.ndarray
Tree = dict[str, Any]


def loss(
    h: Array,
    p: Tree,
    labels: Tree,
    *,
    table: Array,
    act: str,
    eps: float,
    smoothing: float,
    padding: int | None,
    denominator_eps: float = 0.0,
    total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(1)-(3) of h (B, T, D). Only target slots of non-zero weight reach the vocabulary, unless `dense`."""
    c: Tree = {"rows": len(h)}
    flat, ids, weights = masked_lm.targets(labels, h.shape[1], dense)
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = masked_lm.mlm_head(rows[0], p, table, act=act, eps=eps)  # (1)
    total = np.sum(labels["masked_lm_weights"], dtype=h.dtype) if total is None else total
    given = {"smoothing": smoothing, "excluded": padding, "denominator": total + denominator_eps}
    value, c["loss"] = ops.smoothed_divergence(z, labels=ids, weights=weights.astype(h.dtype), **given)  # (2), (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dz = ops.smoothed_divergence_backward(dloss, c["loss"])
    drows, g, dtable = masked_lm.mlm_head_backward(dz, c["head"])
    dh = ops.gather_backward(drows[None], c["gather"])
    return dh.reshape(c["rows"], -1, dh.shape[-1]), g, dtable
