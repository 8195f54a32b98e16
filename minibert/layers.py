"""Blocks that more than one family uses, as pairs over nested parameters: wiring only, every number comes from `ops`.

A block is `f(x, p, …) -> (y, c)` with its backward `(dy, c) -> (dx, g)`; p, c and g have the same keys, c some more.
Dropout is data: keep-masks drawn outside, None where nothing is dropped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import kernels, ops
from minibert.config import one_of, require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]
Places = dict[str, tuple[tuple[int, ...], float]]  # dropout module -> (shape of its keep-mask, rate)

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
    return kernels.add(dx_query, dx_key, dx_value), g


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
    y, c["norm"] = ops.layer_norm(kernels.add(x, h), **p, eps=eps)
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
    dx, df, norm = add_norm_backward(kernels.add(da, da_block), c["attention"]["add_norm"])
    dx_block, g["attention"] = self_attention_backward(df, c["attention"])
    g["attention"]["norm"] = norm
    return kernels.add(dx, dx_block), g


# ---- Embeddings ------------------------------------------------------------------------------------------------------
@block
def embeddings(
    p: Tree, *, ids: dict[str, Array], frozen: dict[str, int | None], eps: float, keep: Array | None, rate: float
) -> tuple[Array, Tree]:
    """Drop(LN(Σ E_n[ids_n])) over the named tables, in the order of `ids`; p: a table per name, and norm.

    ids: arrays (B, T), or (T,) for one shared by all rows. frozen: the row of a table that gets no look-up gradient.
    """
    c: Tree = {"tables": {}}
    h = None
    for name, table_ids in ids.items():
        e, c["tables"][name] = ops.embedding(**p[name], ids=table_ids, padding_idx=frozen.get(name))
        h = e if h is None else h + e
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


# ---- The encoder -----------------------------------------------------------------------------------------------------
def encoder(
    x: Array, ps: list[Tree], config: Any, *, mask: Array | None, dropout: Tree, prefix: str, keep: str = "caches"
) -> tuple[list[Array], list[Tree]]:
    """BERT's post-norm stack over x (B, T, D): `encoder_layer` for each of ps; ([x, y₁, …, y_L], caches).

    config: num_attention_heads, hidden_act, layer_norm_eps, the two dropout rates and mask_constant, published names
    all but the last. mask (B, T), 1 = attend; None, all. dropout: keep-masks by module, such as
    "{prefix}0.attention.self.dropout" (see `encoder_dropout_places`). keep: as in `stack`.
    """
    bias, alive = (None, None) if mask is None else key_mask(mask, x.dtype, config.mask_constant)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        probs_keep, multiplier = dropout.get(f"{prefix}{i}.attention.self.dropout"), alive
        if probs_keep is not None:
            drop = ops.dropout_multiplier(probs_keep, config.attention_probs_dropout_prob, x.dtype)
            multiplier = drop if alive is None else drop * alive
        return encoder_layer(
            x,
            p,
            heads=config.num_attention_heads,
            act=config.hidden_act,
            eps=config.layer_norm_eps,
            bias=bias,
            probs_dropout=multiplier,
            keep={
                "attention": dropout.get(f"{prefix}{i}.attention.output.dropout"),
                "feed_forward": dropout.get(f"{prefix}{i}.output.dropout"),
            },
            rate=config.hidden_dropout_prob,
        )

    return stack(layer, x, ps, keep)


def encoder_backward(dy: Array, caches: list[Tree]) -> tuple[Array, list[Tree]]:
    """(dx, [g of each layer])."""
    return stack_backward(encoder_layer_backward, dy, caches)


def encoder_dropout_places(config: Any, prefix: str, rows: int, length: int) -> Places:
    """(shape, rate) of the keep-masks of `encoder`, by module."""
    wide, square = (rows, length, config.hidden_size), (rows, config.num_attention_heads, length, length)
    places = {}
    for i in range(config.num_hidden_layers):
        places[f"{prefix}{i}.attention.self.dropout"] = (square, config.attention_probs_dropout_prob)
        places[f"{prefix}{i}.attention.output.dropout"] = (wide, config.hidden_dropout_prob)
        places[f"{prefix}{i}.output.dropout"] = (wide, config.hidden_dropout_prob)
    return places


def keep_masks(rng: np.random.Generator, places: Places) -> dict[str, Array]:
    """Keep-masks drawn for a family's `dropout_places`; none where the rate is 0."""
    return {name: rng.random(shape, np.float32) >= rate for name, (shape, rate) in places.items() if rate}


# ---- Heads -----------------------------------------------------------------------------------------------------------
@block
def pooler(x: Array, p: Tree) -> tuple[Array, Tree]:
    """tanh(x[:, 0] Wᵀ + b) of the first token (arXiv 1810.04805, section 3); x (B, T, D) -> (B, D)."""
    c: Tree = {"shape": x.shape}
    r, c["dense"] = ops.linear(x[:, 0], **p)
    r, c["tanh"] = ops.tanh(r)
    return r, c


@block_backward
def pooler_backward(dr: Array, c: Tree) -> tuple[Array, Tree]:
    dr = ops.tanh_backward(dr, c["tanh"])
    dfirst, g = ops.linear_backward(dr, c["dense"])
    dx = np.zeros(c["shape"], dr.dtype)
    dx[:, 0] = dfirst
    return dx, g


@block
def mlm_head(x: Array, p: Tree, table: Array, *, act: str, eps: float) -> tuple[Array, Tree]:
    """LN(act(x Wᵀ + b)) tableᵀ + b_V; x (…, D), W (E, D), table (V, E) -> (…, V)."""
    c: Tree = {}
    u, c["dense"] = ops.linear(x, **p["dense"])
    u, c["act"] = activation(u, name=act)
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
    du = activation_backward(du, c["act"])
    dx, g["dense"] = ops.linear_backward(du, c["dense"])
    return dx, g, dtable


def decoder_table(p: Tree, config: Any, head: str = "mlm") -> Array:
    """The (V, E) matrix with which a head makes logits: the word table's where tied, else its decoder's own."""
    return (p["embeddings"]["word"] if config.tie_word_embeddings else p[head]["decoder"])["weight"]


def decoder_table_backward(dtable: Array, g: Tree, tied: bool, head: str = "mlm") -> Tree:
    """g with that matrix's gradient: one table, several uses, so where tied the sum of all."""
    if not tied:
        return {**g, head: {**g[head], "decoder": {**g[head]["decoder"], "weight": dtable}}}
    word = {"weight": kernels.add(g["embeddings"]["word"]["weight"], dtable)}
    return {**g, "embeddings": {**g["embeddings"], "word": word}}


def masked_lm(
    h: Array, p: Tree, table: Array, batch: Tree, *, act: str, eps: float, total: float | None, dense: bool
) -> tuple[Array, Tree]:
    """The masked-LM term of h (B, T, D): Σ w·(-log softmax(mlm_head(h at the targets))[label]) / total, and its caches
    "gather", "mlm" and "masked_lm", which stand in the family's own.

    Only target slots of non-zero weight reach the vocabulary. total: Σ w unless given. dense: every position reaches
    it, with weight 0 where nothing is asked, as in published modules: the same numbers, for traces.
    """
    c: Tree = {}
    flat, labels, weights = _targets(batch, h.shape[1], dense)
    targets, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["mlm"] = mlm_head(targets[0], p, table, act=act, eps=eps)
    weights = weights.astype(h.dtype)
    loss, c["masked_lm"] = ops.cross_entropy(z, labels=labels, weights=weights, denominator=total)
    return loss, {**c, "rows": len(h)}


def masked_lm_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g of the head, dtable)."""
    dz = ops.cross_entropy_backward(dloss, c["masked_lm"])
    dtargets, g, dtable = mlm_head_backward(dz, c["mlm"])
    dh = ops.gather_backward(dtargets[None], c["gather"])
    return dh.reshape(c["rows"], -1, dh.shape[-1]), g, dtable


def _targets(batch: Tree, length: int, dense: bool) -> tuple[Array, Array, Array]:
    """(flat position b·T + t, label, weight) of each target slot of non-zero weight; with `dense` of every position."""
    positions, weights = batch["masked_lm_positions"], batch["masked_lm_weights"].reshape(-1)
    chosen = np.flatnonzero(weights)
    flat = (positions + np.arange(len(positions))[:, None] * length).reshape(-1)[chosen]
    labels, weights = batch["masked_lm_ids"].reshape(-1)[chosen], weights[chosen]
    if not dense:
        return flat, labels, weights
    require(len(np.unique(flat)) == len(flat), "masked_lm_positions: a position stands twice in a row")
    every = np.arange(len(positions) * length)
    all_labels, all_weights = np.zeros_like(every), np.zeros(len(every), weights.dtype)
    all_labels[flat], all_weights[flat] = labels, weights
    return every, all_labels, all_weights


def right(c: Tree) -> tuple[int, int, int | None]:
    """(right, counted, of class 1) of a cross-entropy: the largest logit predicts; the last is None for tokens."""
    z, labels, counted = c["logits"], c["labels"], c["weights"] != 0
    ones = int((labels[counted] == 1).sum()) if z.shape[-1] == 2 else None
    guess = z.argmax(-1).reshape(labels.shape)
    return int(((guess == labels) & counted).sum()), int(counted.sum()), ones


# ---- The stack -------------------------------------------------------------------------------------------------------
def stack(f: Callable, x: Array, ps: list[Tree], keep: str = "caches") -> tuple[list[Array], list[Tree]]:
    """x through f(x, p, i) -> (y, c) for each layer; returns ([x, y₁, …, y_L], caches).

    keep: "caches" for a backward to come; "inputs" keeps only each layer's input and runs the layer again in the
    backward (memory for time); "outputs" no caches; "last" nothing but the last output.
    """
    known = ("caches", "inputs", "outputs", "last")
    one_of("keep", keep, known)
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
