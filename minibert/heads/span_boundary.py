"""Span boundary objective: which token stands in a masked span, told from the states beside the span alone?

Joshi et al. 2019, arXiv 1907.10529, section 3.2; facebookresearch/SpanBERT, `pair_bert.py`. For each token x_i of a
span x_s … x_e, with the embedding e of its place i - s (the paper's index counts from 1, the table from 0):

    u⁰ = [h_{s-1}; h_{e+1}; e_{i-s}]                                                                                (1)
    u¹ = LN(act(u⁰ W₁ᵀ + b₁)), u² = LN(act(u¹ W₂ᵀ + b₂))                                                            (2)
    y = u² Eᵀ + b, E the network's word table or a decoder of the head's own                                        (3)
    L = mean over the tokens of all spans of -log softmax(y)[x_i]                                                   (4)

A slot of a row counts where a token lies between its boundaries.
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {
    "span_boundaries": "(B,N,2)<T",
    "span_positions": "(B,N)<max_span",
    "span_ids": "(B,N)<vocab_size",
}
SHORT = "SBO"
BASELINE = "unigram"


def shapes(*, width: int, table: tuple[int, int], tied: bool, places: tuple[int, int]) -> Tree:
    """width: of the states that are read, D; table: (V, D); tied: it is not the head's; places: (most tokens of a span,
    width of a place's embedding).
    """

    def layer(n_in: int) -> Tree:
        return {
            "dense": {"weight": (width, n_in), "bias": (width,)},
            "norm": {"weight": (width,), "bias": (width,)},
        }

    return {
        "position": {"weight": places},
        "first": layer(2 * width + places[1]),
        "second": layer(width),
        "decoder": {"bias": table[:1]} if tied else {"weight": table, "bias": table[:1]},
    }


def draw(
    rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int],
    places: tuple[int, int], **_: Any,
) -> Tree:  # fmt: skip
    """Labels of an example: a span in each row, of M slots, 3 unless dims has M; the last slot is unused."""
    slots, last = (dims["B"], dims.get("M", 3)), lengths["T"] - 1
    left = rng.integers(0, last - 1)
    right = rng.integers(left + 2, last + 1)
    within = np.minimum(right - left - 1, places[0])
    used = np.ones(slots, np.int64)
    used[-1, -1] = 0
    return {
        "span_boundaries": np.stack([left, right], axis=-1)[:, None] * used[:, :, None],
        "span_positions": rng.integers(0, within[:, None], slots) * used,
        "span_ids": rng.integers(0, table[0], slots) * used,
    }


@block
def sbo_head(
    left: Array, right: Array, p: Tree, table: Array, *, places: Array, act: str, eps: float
) -> tuple[Array, Tree]:
    """(1)-(3): the states beside a span (…, D) and the token's place in it (…) -> (…, V); table (V, D)."""
    c: Tree = {}
    e, c["position"] = ops.embedding(**p["position"], ids=places)
    u = np.concatenate([left, right, e], axis=-1)  # (1)
    for name in ("first", "second"):  # (2)
        c[name] = {}
        u, c[name]["dense"] = ops.linear(u, **p[name]["dense"])
        u, c[name]["act"] = layers.activation(u, name=act)
        u, c[name]["norm"] = ops.layer_norm(u, **p[name]["norm"], eps=eps)
    y, c["decoder"] = ops.linear(u, weight=table, bias=p["decoder"]["bias"])  # (3)
    return y, c


@block_backward
def sbo_head_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree, Array]:
    """(dleft, dright, g, dtable)."""
    g: Tree = {}
    du, decoder = ops.linear_backward(dy, c["decoder"])  # (3)
    dtable, g["decoder"] = decoder["weight"], {"bias": decoder["bias"]}
    width = du.shape[-1]
    for name in ("second", "first"):  # (2)
        du, norm = ops.layer_norm_backward(du, c[name]["norm"])
        du = layers.activation_backward(du, c[name]["act"])
        du, dense = ops.linear_backward(du, c[name]["dense"])
        g[name] = {"dense": dense, "norm": norm}
    g["position"] = ops.embedding_backward(du[..., 2 * width :], c["position"])  # (1)
    return du[..., :width], du[..., width : 2 * width], g, dtable


def loss(
    h: Array,
    p: Tree,
    labels: Tree,
    *,
    table: Array,
    act: str,
    eps: float,
    total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(1)-(4) of h (B, T, D). Only slots that count reach the vocabulary, unless `dense`."""
    c: Tree = {"shape": h.shape}
    rows, (left, right), places, ids, weights = _slots(labels, h.shape[1], dense)
    states = h.reshape(rows, -1, h.shape[2])
    left, c["left"] = ops.gather(states, positions=left)
    right, c["right"] = ops.gather(states, positions=right)
    y, c["head"] = sbo_head(left, right, p, table, places=places, act=act, eps=eps)
    value, c["loss"] = ops.cross_entropy(y, labels=ids, weights=weights.astype(h.dtype), denominator=total)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dy = ops.cross_entropy_backward(dloss, c["loss"])
    dleft, dright, g, dtable = sbo_head_backward(dy, c["head"])
    dstates = ops.gather_backward(dleft, c["left"]) + ops.gather_backward(dright, c["right"])
    return dstates.reshape(c["shape"]), g, dtable


def count(labels: Tree) -> float:
    """The number of slots with a token between their boundaries."""
    return float(_used(labels).sum())


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def _used(labels: Tree) -> Array:
    """Bool (B, N): the slots with a token between their boundaries."""
    return labels["span_boundaries"][..., 1] >= labels["span_boundaries"][..., 0] + 2


def _slots(labels: Tree, length: int, dense: bool) -> tuple[int, Array, Array, Array, Array]:
    """(R, boundaries (2, R, n), places, labels and weights (R, n)) of the used slots as one row of B·T states, R = 1;
    with `dense` of all slots, R = B.
    """
    used, edges = _used(labels), np.moveaxis(labels["span_boundaries"], -1, 0)
    places, ids = labels["span_positions"], labels["span_ids"]
    if dense:
        return len(used), edges, places, ids, used
    edges = edges + np.arange(len(used))[:, None] * length
    return 1, edges[:, None, used], places[None, used], ids[None, used], used[None, used]
