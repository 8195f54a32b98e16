"""Masked language model: which token stood at each masked position m?

Devlin et al. 2018, arXiv 1810.04805, section 3.1, task 1; google-research/bert, `get_masked_lm_output`.

    z = LN(act(h[m] W_zᵀ + b_z)) Eᵀ + b_V, E the network's word table or a decoder of the head's own                (1)
    L = Σ w·(-log softmax(z)[label]) / (Σ w + ε), ε = 0; 1e-5 in the release                                        (2)
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"masked_lm_positions": "(B,M)<T", "masked_lm_ids": "(B,M)<vocab_size", "masked_lm_weights": "(B,M)+"}
SHORT = "MLM"
BASELINE = "unigram"
COMMAND = "fill-mask"


def shapes(*, width: int, table: tuple[int, int], tied: bool) -> Tree:
    """width: of the states that are read, D; table: (V, E); tied: the table is not the head's."""
    vocabulary, inner = table
    return {
        "dense": {"weight": (inner, width), "bias": (inner,)},
        "norm": {"weight": (inner,), "bias": (inner,)},
        "decoder": {"bias": (vocabulary,)} if tied else {"weight": table, "bias": (vocabulary,)},
    }


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: M targets a row, 3 unless dims has M, none at the first position; the last has weight 0."""
    slots = dims["B"], dims.get("M", 3)
    weights = np.ones(slots, np.float32)
    weights[-1, -1] = 0
    return {
        "masked_lm_positions": np.sort(rng.integers(1, lengths["T"].min(), slots), axis=1),
        "masked_lm_ids": rng.integers(0, table[0], slots),
        "masked_lm_weights": weights,
    }


@block
def mlm_head(x: Array, p: Tree, table: Array, *, act: str, eps: float) -> tuple[Array, Tree]:
    """(1) LN(act(x Wᵀ + b)) tableᵀ + b_V; x (…, D), W (E, D), table (V, E) -> (…, V)."""
    c: Tree = {}
    u, c["dense"] = ops.linear(x, **p["dense"])
    u, c["act"] = layers.activation(u, name=act)
    u, c["norm"] = ops.layer_norm(u, **p["norm"], eps=eps)
    z, c["decoder"] = ops.linear(u, weight=table, bias=p["decoder"]["bias"])
    return z, c


@block_backward
def mlm_head_backward(dz: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dx, g, dtable)."""
    g: Tree = {}
    du, decoder = ops.linear_backward(dz, c["decoder"])
    dtable, g["decoder"] = decoder["weight"], {"bias": decoder["bias"]}
    du, g["norm"] = ops.layer_norm_backward(du, c["norm"])
    du = layers.activation_backward(du, c["act"])
    dx, g["dense"] = ops.linear_backward(du, c["dense"])
    return dx, g, dtable


def loss(
    h: Array,
    p: Tree,
    labels: Tree,
    *,
    table: Array,
    act: str,
    eps: float,
    denominator_eps: float = 0.0,
    total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(1), (2) of h (B, T, D). Only target slots of non-zero weight reach the vocabulary, unless `dense`."""
    c: Tree = {"rows": len(h)}
    flat, ids, weights = targets(labels, h.shape[1], dense)
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = mlm_head(rows[0], p, table, act=act, eps=eps)
    total = np.sum(labels["masked_lm_weights"], dtype=h.dtype) if total is None else total
    given = {"weights": weights.astype(h.dtype), "denominator": total + denominator_eps}
    value, c["loss"] = ops.cross_entropy(z, labels=ids, **given)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dz = ops.cross_entropy_backward(dloss, c["loss"])
    dtargets, g, dtable = mlm_head_backward(dz, c["head"])
    dh = ops.gather_backward(dtargets[None], c["gather"])
    return dh.reshape(c["rows"], -1, dh.shape[-1]), g, dtable


def count(labels: Tree) -> float:
    """The sum of the weights."""
    return float(np.sum(labels["masked_lm_weights"], dtype=np.float64))


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def predict(h: Array, p: Tree, *, table: Array, act: str, eps: float, **_: Any) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return mlm_head(h, p, table, act=act, eps=eps)[0]


def targets(labels: Tree, length: int, dense: bool) -> tuple[Array, Array, Array]:
    """(flat position b·T + t, label, weight) of each target slot of non-zero weight; with `dense` of every position."""
    positions, weights = labels["masked_lm_positions"], labels["masked_lm_weights"].reshape(-1)
    chosen = np.flatnonzero(weights)
    flat = (positions + np.arange(len(positions))[:, None] * length).reshape(-1)[chosen]
    ids, weights = labels["masked_lm_ids"].reshape(-1)[chosen], weights[chosen]
    if not dense:
        return flat, ids, weights
    require(len(np.unique(flat)) == len(flat), "masked_lm_positions: a position stands twice in a row")
    every = np.arange(len(positions) * length)
    all_ids, all_weights = np.zeros_like(every), np.zeros(len(every), weights.dtype)
    all_ids[flat], all_weights[flat] = ids, weights
    return every, all_ids, all_weights
