"""Blocks that more than one family uses, as pairs over nested parameters: wiring only, every number comes from `ops`.

A block is `f(x, p, …) -> (y, c)` with its backward `(dy, c) -> (dx, g)`; p, c and g have the same keys, c some more.
Dropout is data: keep-masks drawn outside, None where nothing is dropped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

# hidden_act as published configurations spell it -> the op's name
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}


@block
def activation(x: Array, *, name: str) -> tuple[Array, Tree]:
    """The activation a published configuration names (`ACTIVATIONS`)."""
    y, c = getattr(ops, ACTIVATIONS[name])(x)
    return y, {"name": name, "cache": c}


@block_backward
def activation_backward(dy: Array, c: Tree) -> Array:
    return getattr(ops, ACTIVATIONS[c["name"]] + "_backward")(dy, c["cache"])


# ---- Attention -------------------------------------------------------------------------------------------------------
# What a masked key's score gets. "min", the most negative number of the dtype: a row masked everywhere is uniform over
# all keys. "-10000": BERT's release; such a row is the softmax of its raw scores. "-1e9": other releases, uniform in
# float32, raw scores in float64. "zero": such a row attends to nothing.
MASK_CONSTANTS = ("min", "-10000", "-1e9", "zero")


def key_mask(mask: Array, dtype: np.dtype, constant: str = "min") -> tuple[Array | None, Array | None]:
    """(bias, alive) of a mask (B, T), 1 = attend.

    bias (B, 1, 1, T) is added to the scores; None when nothing is masked. alive (B, 1, 1, 1) multiplies the
    probabilities under the constant "zero"; else None.
    """
    if mask.all():
        return None, None
    lowest = np.finfo(dtype).min if constant in ("min", "zero") else float(constant)
    keep = mask.astype(bool)[:, None, None, :]
    bias = np.where(keep, dtype.type(0), dtype.type(lowest))
    return bias, keep.any(-1, keepdims=True).astype(dtype) if constant == "zero" else None


@block
def self_attention(
    x: Array, p: Tree, *, heads: int, bias: Array | None = None, dropout: Array | None = None
) -> tuple[Array, Tree]:
    """Multi-head self-attention of x (B, T, D) with its output projection (arXiv 1706.03762, section 3.2.2).

    p: query, key, value, output (each weight (D, D), bias). bias and dropout as in `ops.attention`.
    """
    c: Tree = {}
    q, c["query"] = ops.linear(x, **p["query"])
    k, c["key"] = ops.linear(x, **p["key"])
    v, c["value"] = ops.linear(x, **p["value"])
    q, c["split_query"] = ops.split_heads(q, heads=heads)
    k, c["split_key"] = ops.split_heads(k, heads=heads)
    v, c["split_value"] = ops.split_heads(v, heads=heads)
    context, c["attention"] = ops.attention(q, k, v, bias=bias, dropout=dropout)
    context, c["merge"] = ops.merge_heads(context)
    y, c["output"] = ops.linear(context, **p["output"])
    return y, c


@block_backward
def self_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dcontext, g["output"] = ops.linear_backward(dy, c["output"])
    dcontext = ops.merge_heads_backward(dcontext, c["merge"])
    dq, dk, dv = ops.attention_backward(dcontext, c["attention"])
    dx_query, g["query"] = ops.linear_backward(ops.split_heads_backward(dq, c["split_query"]), c["query"])
    dx_key, g["key"] = ops.linear_backward(ops.split_heads_backward(dk, c["split_key"]), c["key"])
    dx_value, g["value"] = ops.linear_backward(ops.split_heads_backward(dv, c["split_value"]), c["value"])
    dx = dx_query + dx_key
    dx += dx_value
    return dx, g


# ---- Feed-forward ----------------------------------------------------------------------------------------------------
@block
def feed_forward(x: Array, p: Tree, *, act: str) -> tuple[Array, Tree]:
    """act(x W₁ᵀ + b₁) W₂ᵀ + b₂ (arXiv 1706.03762, eq. 2); p: in (F, D), out (D, F)."""
    c: Tree = {}
    h, c["in"] = ops.linear(x, **p["in"])
    h, c["act"] = activation(h, name=act)
    y, c["out"] = ops.linear(h, **p["out"])
    return y, c


@block_backward
def feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["out"] = ops.linear_backward(dy, c["out"])
    dh = activation_backward(dh, c["act"])
    dx, g["in"] = ops.linear_backward(dh, c["in"])
    return dx, g


# ---- Residual, dropout, norm -----------------------------------------------------------------------------------------
@block
def add_norm(x: Array, f: Array, p: Tree, *, eps: float, keep: Array | None, rate: float) -> tuple[Array, Tree]:
    """LN(x + Drop(f)): the post-norm residual; x, f and keep (B, T, D)."""
    c: Tree = {}
    h, c["dropout"] = ops.dropout(f, keep=keep, rate=rate)
    y, c["norm"] = ops.layer_norm(x + h, **p, eps=eps)
    return y, c


@block_backward
def add_norm_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, df, g)."""
    dx, g = ops.layer_norm_backward(dy, c["norm"])
    return dx, ops.dropout_backward(dx, c["dropout"]), g


@block
def encoder_layer(
    x: Array,
    p: Tree,
    *,
    heads: int,
    act: str,
    eps: float,
    bias: Array | None = None,
    probs_dropout: Array | None = None,
    keep: Tree | None = None,
    rate: float = 0.0,
) -> tuple[Array, Tree]:
    """One post-norm layer, x (B, T, D): a = LN(x + Drop(attention(x))), y = LN(a + Drop(feed_forward(a))).

    p: attention (query, key, value, output, norm), feed_forward (in, out, norm). keep: the masks "attention" and
    "feed_forward" (B, T, D) of the two residual dropouts; probs_dropout multiplies the attention probabilities.
    """
    c: Tree = {}
    keep, residual = keep or {}, {"eps": eps, "rate": rate}
    f, c["attention"] = self_attention(x, p["attention"], heads=heads, bias=bias, dropout=probs_dropout)
    a, c["attention"]["add_norm"] = add_norm(x, f, p["attention"]["norm"], keep=keep.get("attention"), **residual)
    f, c["feed_forward"] = feed_forward(a, p["feed_forward"], act=act)
    norm, keep_feed = p["feed_forward"]["norm"], keep.get("feed_forward")
    y, c["feed_forward"]["add_norm"] = add_norm(a, f, norm, keep=keep_feed, **residual)
    return y, c


@block_backward
def encoder_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    da, df, norm = add_norm_backward(dy, c["feed_forward"]["add_norm"])
    da_block, g["feed_forward"] = feed_forward_backward(df, c["feed_forward"])
    g["feed_forward"]["norm"] = norm
    dx, df, norm = add_norm_backward(da + da_block, c["attention"]["add_norm"])
    dx_block, g["attention"] = self_attention_backward(df, c["attention"])
    g["attention"]["norm"] = norm
    return dx + dx_block, g


# ---- Embeddings ------------------------------------------------------------------------------------------------------
@block
def embeddings(
    p: Tree, *, ids: dict[str, Array], padding_idx: int | None, eps: float, keep: Array | None, rate: float
) -> tuple[Array, Tree]:
    """Drop(LN(Σ E_n[ids_n])) over the named tables, in the order of `ids`; p: a table per name, and norm.

    ids: arrays (B, T), or (T,) for one shared by all rows. padding_idx freezes a row of the first table (see `ops`).
    """
    c: Tree = {"tables": {}}
    h: Any = 0
    for name, table_ids in ids.items():
        frozen = padding_idx if not c["tables"] else None
        e, c["tables"][name] = ops.embedding(**p[name], ids=table_ids, padding_idx=frozen)
        h = h + e
    h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    y, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    return y, c


@block_backward
def embeddings_backward(dy: Array, c: Tree) -> Tree:
    g: Tree = {}
    dh = ops.dropout_backward(dy, c["dropout"])
    dh, norm = ops.layer_norm_backward(dh, c["norm"])
    for name, cache in c["tables"].items():
        shared = cache["ids"].ndim == 1  # broadcast over the batch in the forward, so summed over it here
        g[name] = ops.embedding_backward(dh.sum(0) if shared else dh, cache)
    g["norm"] = norm
    return g


# ---- The stack -------------------------------------------------------------------------------------------------------
def stack(f: Callable, x: Array, ps: list[Tree], keep: str = "caches") -> tuple[list[Array], list[Tree]]:
    """x through f(x, p, i) -> (y, c) for each layer; returns ([x, y₁, …, y_L], caches).

    keep: "caches" for a backward to come; "inputs" keeps only each layer's input and runs the layer again in the
    backward (memory for time); "outputs" no caches; "last" nothing but the last output.
    """
    known = ("caches", "inputs", "outputs", "last")
    require(keep in known, f"unknown keep {keep!r}; there are: {', '.join(known)}")
    outputs, caches = [x], []
    for i, p in enumerate(ps):
        y, c = f(outputs[-1], p, i)
        if keep == "caches":
            caches.append(c)
        elif keep == "inputs":
            caches.append({"again": (f, outputs[-1], p, i)})
        outputs = [y] if keep == "last" else [*outputs, y]
        del c
    return outputs, caches


def stack_backward(f_backward: Callable, dy: Array, caches: list[Tree]) -> tuple[Array, list[Tree]]:
    """(dx, [g of each layer]) through f_backward(dy, c); InputError where `stack` was told to keep no caches."""
    require(bool(caches), 'no backward: the forward kept no caches; run it with keep="caches" or keep="inputs"')
    gs = []
    for c in reversed(caches):
        if "again" in c:
            f, *arguments = c["again"]
            c = f(*arguments)[1]
        dy, g = f_backward(dy, c)
        gs.append(g)
    return dy, gs[::-1]
