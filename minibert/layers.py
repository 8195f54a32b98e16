"""Blocks that more than one family uses, as pairs over nested parameters: wiring only, every number comes from `ops`.

A block is `f(x, p, …) -> (y, c)` with its backward `(dy, c) -> (dx, g)`; p, c and g have the same keys, c some more.
Dropout is data: keep-masks drawn outside, None where nothing is dropped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import buffers, kernels, ops
from minibert.config import one_of, require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]
Dropouts = dict[str, tuple[tuple[int, ...], float]]  # dropout module -> (shape of its keep-mask, rate)
Keep = str | Callable[[Tree], Tree]  # what a stack keeps of its layers' caches (`stack`)

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
def projected(x: Array, p: Tree, name: str, *, heads: int) -> tuple[Array, Tree]:
    """x (B, T, D) through the projection `name` of p, split into heads: (B, H, T, K). What is attended to is such keys
    and values: of x itself, of another sequence, or kept from before.
    """
    y, linear = ops.linear(x, **p[name])
    y, split = ops.split_heads(y, heads=heads)
    return y, {name: linear, f"split_{name}": split}


def projected_backward(dy: Array, c: Tree, name: str) -> tuple[Array, Tree]:
    return ops.linear_backward(ops.split_heads_backward(dy, c[f"split_{name}"]), c[name])


def attended(q: Array, k: Array, v: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """q (B, H, T, K) attends to k and v (B, H, S, K): heads merged and projected, (B, T, D). given: bias, mask, masked,
    dropout, scale of `ops.attention`.
    """
    y, attention = ops.attention(q, k, v, **given)
    y, merge = ops.merge_heads(y)
    y, output = ops.linear(y, **p["output"])
    return y, {"attention": attention, "merge": merge, "output": output}


def attended_backward(dy: Array, c: Tree) -> tuple[tuple[Array, ...], Tree]:
    """((dq, dk, dv, and dbias where there was one), g of the output projection)."""
    dcontext, output = ops.linear_backward(dy, c["output"])
    return ops.attention_backward(ops.merge_heads_backward(dcontext, c["merge"]), c["attention"]), {"output": output}


@block
def self_attention(
    x: Array, p: Tree, bias: Array | None = None, *, width: int, past: Tree | None = None, **given: Any
) -> tuple[Array, Tree]:
    """Multi-head self-attention of x (B, T, D) with its output projection (arXiv 1706.03762, section 3.2.2).

    p: query, key, value (each weight (H·K, D), bias), output (D, H·K). bias: of the scores, as in `ops.attention`.
    width: K, of one head; there are as many heads as the rows of the query have room for. past: "key" and "value"
    (B, H, S, K) of what came before x, which it attends to as well and which is data: they get no gradient. given:
    mask, masked, dropout, scale of `ops.attention`.
    """
    c: Tree = {}
    heads = len(p["query"]["weight"]) // width
    qkv = {}
    for name in ("query", "key", "value"):
        qkv[name], own = projected(x, p, name, heads=heads)
        c |= own
    if past is not None:
        qkv |= {name: buffers.extended(before, qkv[name]) for name, before in past.items()}
        c["new"] = x.shape[1]
    given = given if bias is None else {"bias": bias, **given}
    y, own = attended(*qkv.values(), p, **given)
    return y, {**c, **own}


@block_backward
def self_attention_backward(dy: Array, c: Tree) -> tuple[Any, ...]:
    """(dx, dbias where there was one, g)."""
    (dq, dk, dv, *dbias), g = attended_backward(dy, c)
    if "new" in c:
        dk, dv = (d[:, :, -c["new"] :] for d in (dk, dv))
    dx_query, g["query"] = projected_backward(dq, c, "query")
    dx_key, g["key"] = projected_backward(dk, c, "key")
    dx_value, g["value"] = projected_backward(dv, c, "value")
    return kernels.add(dx_query, dx_key, dx_value), *dbias, g


@block
def cross_attention(x: Array, memory: Array | Tree, p: Tree, *, width: int, **given: Any) -> tuple[Array, Tree]:
    """x (B, T, D) attends to memory (B, S, E), what an encoder made of the source (arXiv 1706.03762, section 3.2.3).

    p: query, output of x, key, value (each weight (H·K, E), bias) of the memory. memory: or its "key" and "value"
    (B, H, S, K), kept from before (`remembered`), which get no gradient. width and given as in `self_attention`.
    """
    q, c = projected(x, p, "query", heads=len(p["query"]["weight"]) // width)
    kept, own = (memory, {}) if isinstance(memory, dict) else _remembered(memory, p, width)
    y, attention = attended(q, kept["key"], kept["value"], p, **given)
    return y, {**c, **own, **attention}


@block_backward
def cross_attention_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dmemory, g)."""
    (dq, dk, dv), g = attended_backward(dy, c)
    dx, g["query"] = projected_backward(dq, c, "query")
    dmemory_key, g["key"] = projected_backward(dk, c, "key")
    dmemory_value, g["value"] = projected_backward(dv, c, "value")
    return dx, kernels.add(dmemory_key, dmemory_value), g


def _remembered(memory: Array, p: Tree, width: int) -> tuple[Tree, Tree]:
    kept, c = {}, {}
    for name in ("key", "value"):
        kept[name], own = projected(memory, p, name, heads=len(p[name]["weight"]) // width)
        c |= own
    return kept, c


def remembered(memory: Array, p: Tree, *, width: int) -> Tree:
    """The "key" and "value" (B, H, S, K) that `cross_attention` takes in the place of a memory, computed once."""
    return _remembered(memory, p, width)[0]


# ---- Feed-forward ----------------------------------------------------------------------------------------------------
@block
def feed_forward(x: Array, p: Tree, *, act: str, dropout: Array | None = None) -> tuple[Array, Tree]:
    """(act(x W₁ᵀ + b₁)∘dropout) W₂ᵀ + b₂ (arXiv 1706.03762, eq. 2); p: in (F, D), out (D, F). dropout: what multiplies
    (B, T, F), keep/(1 - rate).
    """
    c: Tree = {}
    h, c["in"] = ops.linear(x, **p["in"])
    h, c["act"] = activation(h, name=act)
    if dropout is not None:
        h, c["dropout"] = ops.dropout(h, keep=dropout, rate=0.0)
    y, c["out"] = ops.linear(h, **p["out"])
    return y, c


@block_backward
def feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["out"] = ops.linear_backward(dy, c["out"])
    dh = ops.dropout_backward(dh, c["dropout"]) if "dropout" in c else dh
    dh = activation_backward(dh, c["act"])
    dx, g["in"] = ops.linear_backward(dh, c["in"])
    return dx, g


@block
def gated_feed_forward(x: Array, p: Tree, *, act: str, dropout: Array | None = None) -> tuple[Array, Tree]:
    """(act(x W_gᵀ)∘(x W₁ᵀ)∘dropout) W₂ᵀ, and biases where p has them (arXiv 2002.05202, eq. 5-6); p: gate and in
    (F, D), out (D, F); dropout as in `feed_forward`.
    """
    c: Tree = {}
    gate, c["gate"] = ops.linear(x, **p["gate"])
    gate, c["act"] = activation(gate, name=act)
    h, c["in"] = ops.linear(x, **p["in"])
    h, c["multiply"] = ops.multiply(gate, h)
    if dropout is not None:
        h, c["dropout"] = ops.dropout(h, keep=dropout, rate=0.0)
    y, c["out"] = ops.linear(h, **p["out"])
    return y, c


@block_backward
def gated_feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["out"] = ops.linear_backward(dy, c["out"])
    dh = ops.dropout_backward(dh, c["dropout"]) if "dropout" in c else dh
    dgate, dh = ops.multiply_backward(dh, c["multiply"])
    dx, g["in"] = ops.linear_backward(dh, c["in"])
    dx_gate, g["gate"] = ops.linear_backward(activation_backward(dgate, c["act"]), c["gate"])
    return kernels.add(dx, dx_gate), g


# ---- The end of a sub-layer ------------------------------------------------------------------------------------------
# It gets the sub-layer's own sub-tree, which decides what is done there: an adapter is applied where one stands.
@block
def adapter(f: Array, p: Tree) -> tuple[Array, Tree]:
    """f + gelu(f W₁ᵀ + b₁) W₂ᵀ + b₂ (Houlsby et al. 2019, arXiv 1902.00751, section 2.1; behind the dropout, and
    with the GELU by tanh whatever the network has, as in the release); f (…, D), p: down (A, D), up (D, A).
    """
    c: Tree = {}
    h, c["down"] = ops.linear(f, **p["down"])
    h, c["gelu"] = ops.gelu_tanh(h)
    h, c["up"] = ops.linear(h, **p["up"])
    return kernels.add(f, h), c


@block_backward
def adapter_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["up"] = ops.linear_backward(dy, c["up"])
    df, g["down"] = ops.linear_backward(ops.gelu_tanh_backward(dh, c["gelu"]), c["down"])
    return kernels.add(dy, df), g


def dropped(f: Array, p: Tree, keep: Array | None, rate: float) -> tuple[Array, Tree]:
    """Drop(f), then the adapter."""
    c: Tree = {}
    f, c["dropout"] = ops.dropout(f, keep=keep, rate=rate)
    if "adapter" in p:
        f, c["adapter"] = adapter(f, p["adapter"])
    return f, c


def dropped_backward(df: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    if "adapter" in c:
        df, g["adapter"] = adapter_backward(df, c["adapter"])
    return ops.dropout_backward(df, c["dropout"]), g


@block
def add_norm(x: Array, f: Array, p: Tree, *, eps: float, keep: Array | None, rate: float) -> tuple[Array, Tree]:
    """LN(x + Drop(f)): the post-norm residual; x, f and keep (B, T, D); p: the sub-layer's tree, of which norm and
    adapter are read.
    """
    h, c = dropped(f, p, keep, rate)
    y, c["norm"] = ops.layer_norm(kernels.add(x, h), **p["norm"], eps=eps)
    return y, c


@block_backward
def add_norm_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, df, g), g: norm and adapter."""
    dx, norm = ops.layer_norm_backward(dy, c["norm"])
    df, g = dropped_backward(dx, c)
    return dx, df, {"norm": norm, **g}


@block
def add(x: Array, f: Array, p: Tree, *, keep: Array | None, rate: float) -> tuple[Array, Tree]:
    """x + Drop(f): the residual of a pre-norm sub-layer; x, f and keep (B, T, D); p: its tree, of which adapter is
    read.
    """
    h, c = dropped(f, p, keep, rate)
    return kernels.add(x, h), c


@block_backward
def add_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, df, g), g: adapter."""
    return dy, *dropped_backward(dy, c)


@block
def projected_attention(x: Array, p: Tree, *, heads: int, **given: Any) -> tuple[Array, Tree]:
    """gelu(V_D SA(V_E x)), SA self-attention without output projection (Stickland and Murray 2019, arXiv 1902.02671,
    section 3; the GELU is the code's); x (B, T, D), p: down (A, D), query, key, value (A, A), up (D, A). given: mask,
    masked of `ops.attention`.
    """
    c: Tree = {}
    z, c["down"] = ops.linear(x, **p["down"])
    qkv = []
    for name in ("query", "key", "value"):
        one, own = projected(z, p, name, heads=heads)
        qkv.append(one)
        c |= own
    z, c["attention"] = ops.attention(*qkv, **given)
    z, c["merge"] = ops.merge_heads(z)
    z, c["up"] = ops.linear(z, **p["up"])
    y, c["gelu"] = ops.gelu(z)
    return y, c


@block_backward
def projected_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dz, g["up"] = ops.linear_backward(ops.gelu_backward(dy, c["gelu"]), c["up"])
    dqkv = ops.attention_backward(ops.merge_heads_backward(dz, c["merge"]), c["attention"])
    dzs = []
    for name, d in zip(("query", "key", "value"), dqkv, strict=True):
        dz, g[name] = projected_backward(d, c, name)
        dzs.append(dz)
    dx, g["down"] = ops.linear_backward(kernels.add(*dzs), c["down"])
    return dx, g


# ---- Sub-layers and layers -------------------------------------------------------------------------------------------
# A sub-layer is f(x) -> (y, c) of its own input, with its residual and norm about it, in a cache of all three. Whatever
# f's backward gives between dx and g, the sub-layer's gives, too.
def post_norm(
    f: Callable, x: Array, p: Tree, *, eps: float, keep: Array | None, rate: float, beside: Array | None = None
) -> tuple[Array, Tree]:
    """LN(x + Drop(f(x)) + beside); p: the sub-layer's tree, of which norm and adapter are read here."""
    y, c = f(x)
    x = x if beside is None else kernels.add(x, beside)
    y, c["add_norm"] = add_norm(x, y, p, eps=eps, keep=keep, rate=rate)
    c["beside"] = beside is not None  # in the cache of f itself, by which its call is found
    return y, c


def post_norm_backward(f_backward: Callable, dy: Array, c: Tree) -> tuple[Any, ...]:
    """(dx, what f's backward gives besides, dbeside where there was one, g)."""
    dx, df, ends = add_norm_backward(dy, c["add_norm"])
    dx_inside, *others, g = f_backward(df, c)
    return kernels.add(dx, dx_inside), *others, *([dx] if c["beside"] else []), {**g, **ends}


def pre_norm(
    f: Callable, x: Array, p: Tree, *, eps: float, keep: Array | None, rate: float, norm: Callable | None = None,
    beside: Array | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """x + Drop(f(norm(x))) + beside, norm the layer norm unless given; p as in `post_norm`."""
    n, normed = (norm or ops.layer_norm)(x, **p["norm"], eps=eps)
    y, c = f(n)
    c["norm"] = normed
    x = x if beside is None else kernels.add(x, beside)
    y, c["add"] = add(x, y, p, keep=keep, rate=rate)
    c["beside"] = beside is not None  # in the cache of f itself, by which its call is found
    return y, c


def pre_norm_backward(
    f_backward: Callable, dy: Array, c: Tree, norm_backward: Callable | None = None
) -> tuple[Any, ...]:
    """As `post_norm_backward`."""
    dx, df, ends = add_backward(dy, c["add"])
    dn, *others, g = f_backward(df, c)
    dx_inside, norm = (norm_backward or ops.layer_norm_backward)(dn, c["norm"])
    return kernels.add(dx, dx_inside), *others, *([dx] if c["beside"] else []), {**g, "norm": norm, **ends}


def _encoding(
    sub_layer: Callable, x: Array, p: Tree, *, heads: int, act: str, eps: float, rate: float,
    inner: Array | None = None, keep: Tree | None = None, **given: Any,
) -> tuple[Array, Tree]:  # fmt: skip
    """The two sub-layers of an encoder's layer, each in sub_layer; given: of `self_attention`."""
    c: Tree = {}
    keep, residual, width = keep or {}, {"eps": eps, "rate": rate}, x.shape[-1] // heads

    def attend(x: Array) -> tuple[Array, Tree]:
        return self_attention(x, p["attention"], width=width, **given)

    def feed(a: Array) -> tuple[Array, Tree]:
        return feed_forward(a, p["feed_forward"], act=act, dropout=inner)

    a, c["attention"] = sub_layer(attend, x, p["attention"], keep=keep.get("attention"), **residual)
    if "pal" in p:  # as adapters: the layer's tree decides
        require(given.get("past") is None, "projected attention does not go on from token to token: it keeps no keys")
        seen = {name: given[name] for name in ("mask", "masked") if name in given}
        residual["beside"], c["pal"] = projected_attention(x, p["pal"], heads=heads, **seen)
    y, c["feed_forward"] = sub_layer(feed, a, p["feed_forward"], keep=keep.get("feed_forward"), **residual)
    return y, c


def _encoding_backward(sub_layer_backward: Callable, dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    da, *dbeside, g["feed_forward"] = sub_layer_backward(feed_forward_backward, dy, c["feed_forward"])
    dx, g["attention"] = sub_layer_backward(self_attention_backward, da, c["attention"])
    if "pal" in c:
        dx_beside, g["pal"] = projected_attention_backward(*dbeside, c["pal"])
        dx = kernels.add(dx, dx_beside)
    return dx, g


def _decoding(
    sub_layer: Callable, x: Array, memory: Array | Tree, p: Tree, *, heads: int, act: str, eps: float, rate: float,
    seen: Array | None = None, masked: str = "min", dropout: Tree | None = None, keep: Tree | None = None, **given: Any,
) -> tuple[Array, Tree]:  # fmt: skip
    """The three sub-layers of a decoder's layer, each in sub_layer; given: mask and past of `self_attention`."""
    c: Tree = {}
    keep, residual, width, factor = keep or {}, {"eps": eps, "rate": rate}, x.shape[-1] // heads, (dropout or {}).get
    own, cross, last = (p[name] for name in ("attention", "cross_attention", "feed_forward"))

    def attend(x: Array) -> tuple[Array, Tree]:
        return self_attention(x, own, width=width, masked=masked, dropout=factor("attention"), **given)

    def look(a: Array) -> tuple[Array, Tree]:
        mask = {"mask": seen, "masked": masked}
        return cross_attention(a, memory, cross, width=width, dropout=factor("cross_attention"), **mask)

    def feed(b: Array) -> tuple[Array, Tree]:
        return feed_forward(b, last, act=act, dropout=factor("inner"))

    a, c["attention"] = sub_layer(attend, x, own, keep=keep.get("attention"), **residual)
    b, c["cross_attention"] = sub_layer(look, a, cross, keep=keep.get("cross_attention"), **residual)
    y, c["feed_forward"] = sub_layer(feed, b, last, keep=keep.get("feed_forward"), **residual)
    return y, c


def _decoding_backward(sub_layer_backward: Callable, dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    g: Tree = {}
    db, g["feed_forward"] = sub_layer_backward(feed_forward_backward, dy, c["feed_forward"])
    da, dmemory, g["cross_attention"] = sub_layer_backward(cross_attention_backward, db, c["cross_attention"])
    dx, g["attention"] = sub_layer_backward(self_attention_backward, da, c["attention"])
    return dx, dmemory, g


@block
def encoder_layer(
    x: Array,
    p: Tree,
    *,
    heads: int,
    act: str,
    eps: float,
    mask: Array | None = None,
    masked: str = "min",
    dropout: Array | None = None,
    keep: Tree | None = None,
    rate: float = 0.0,
    inner: Array | None = None,
    past: Tree | None = None,
) -> tuple[Array, Tree]:
    """One post-norm layer, x (B, T, D): a = LN(x + Drop(attention(x))), y = LN(a + Drop(feed_forward(a))).

    p: attention (query, key, value, output, norm), feed_forward (in, out, norm). heads: of the whole width; where rows
    of the query are gone, as many heads are. keep: the masks "attention" and "feed_forward" (B, T, D) of the two
    residual dropouts; mask, masked, dropout as in `ops.attention`; inner: the dropout of `feed_forward`; past: as in
    `self_attention`. Where p has a "pal", `projected_attention` of x is added before the last norm.
    """
    given = {"mask": mask, "masked": masked, "dropout": dropout, "keep": keep, "rate": rate, "inner": inner}
    given |= {} if past is None else {"past": past}
    return _encoding(post_norm, x, p, heads=heads, act=act, eps=eps, **given)


@block_backward
def encoder_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return _encoding_backward(post_norm_backward, dy, c)


@block
def pre_norm_layer(
    x: Array, p: Tree, *, heads: int, act: str, eps: float, keep: Tree | None = None, rate: float = 0.0, **given: Any
) -> tuple[Array, Tree]:
    """One pre-norm layer, x (B, T, D): a = x + Drop(attention(LN(x))), y = a + Drop(feed_forward(LN(a))).

    p, heads, keep and inner: as in `encoder_layer`, whose residuals these are, too; given: inner, and past, mask,
    masked, dropout, scale of `self_attention`.
    """
    return _encoding(pre_norm, x, p, heads=heads, act=act, eps=eps, keep=keep, rate=rate, **given)


@block_backward
def pre_norm_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return _encoding_backward(pre_norm_backward, dy, c)


@block
def decoder_layer(
    x: Array, memory: Array | Tree, p: Tree, *, heads: int, act: str, eps: float, rate: float = 0.0, **given: Any
) -> tuple[Array, Tree]:
    """One post-norm layer of a decoder, x (B, T, D): a = LN(x + Drop(attention(x))), b = LN(a + Drop(cross_attention(a,
    memory))), y = LN(b + Drop(feed_forward(b))) (arXiv 1706.03762, section 3.1).

    p: attention, cross_attention (query, key, value, output, norm), feed_forward (in, out, norm); memory as in
    `cross_attention`. given: mask of x and seen of the memory, both as mask in `ops.attention`, masked; past as in
    `self_attention`; dropout: multipliers "attention", "cross_attention" of the probabilities and "inner" of
    `feed_forward`; keep: the masks (B, T, D) of the residuals "attention", "cross_attention", "feed_forward".
    """
    return _decoding(post_norm, x, memory, p, heads=heads, act=act, eps=eps, rate=rate, **given)


@block_backward
def decoder_layer_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dmemory, g)."""
    return _decoding_backward(post_norm_backward, dy, c)


@block
def pre_norm_decoder_layer(
    x: Array, memory: Array | Tree, p: Tree, *, heads: int, act: str, eps: float, rate: float = 0.0, **given: Any
) -> tuple[Array, Tree]:
    """One pre-norm layer of a decoder, x (B, T, D): a = x + Drop(attention(LN(x))), b = a + Drop(cross_attention(LN(a),
    memory)), y = b + Drop(feed_forward(LN(b))); p, memory and given as in `decoder_layer`.
    """
    return _decoding(pre_norm, x, memory, p, heads=heads, act=act, eps=eps, rate=rate, **given)


@block_backward
def pre_norm_decoder_layer_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dmemory, g)."""
    return _decoding_backward(pre_norm_backward, dy, c)


# ---- Embeddings ------------------------------------------------------------------------------------------------------
@block(summed="ids")
def embeddings(
    p: Tree,
    *,
    ids: dict[str, Array],
    frozen: dict[str, int | None],
    eps: float,
    keep: Array | None,
    rate: float,
    scales: dict[str, float] | None = None,
) -> tuple[Array, Tree]:
    """Drop(LN(Σ s_n E_n[ids_n])) over the named tables, in the order of `ids`; p: a table per name, and the norm,
    without which there is none.

    ids: arrays (B, T), or (T,) for one shared by all rows. frozen: the row of a table that gets no look-up gradient.
    scales: s_n, 1 unless given.
    """
    c: Tree = {"tables": {}, "scales": scales or {}}
    h = None
    for name, table_ids in ids.items():
        e, c["tables"][name] = ops.embedding(**p[name], ids=table_ids, padding_idx=frozen.get(name))
        e = kernels.scaled(e, e.dtype.type(c["scales"][name])) if name in c["scales"] else e
        h = e if h is None else h + e
    if "norm" in p:
        h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    y, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    return y, c


@block_backward
def embeddings_backward(dy: Array, c: Tree) -> Tree:
    g: Tree = {}
    dh = ops.dropout_backward(dy, c["dropout"])
    if "norm" in c:
        dh, norm = ops.layer_norm_backward(dh, c["norm"])
    for name, cache in c["tables"].items():
        shared = cache["ids"].ndim == 1  # broadcast over the batch in the forward, so summed over it here
        de = kernels.scaled(dh, dh.dtype.type(c["scales"][name])) if name in c["scales"] else dh
        g[name] = ops.embedding_backward(de.sum(0) if shared else de, cache)
    return {**g, "norm": norm} if "norm" in c else g


# ---- The encoder -----------------------------------------------------------------------------------------------------
def encoder(
    x: Array, ps: list[Tree], config: Any, *, mask: Array | None, dropout: Tree, prefix: str, keep: str = "caches"
) -> tuple[list[Array], list[Tree]]:
    """BERT's post-norm stack over x (B, T, D): `encoder_layer` for each of ps; ([x, y₁, …, y_L], caches).

    config: num_attention_heads, hidden_act, layer_norm_eps, the two dropout rates and mask_constant, published names
    all but the last. mask (B, T), or (B, T, T) for each query its own, 1 = attend; None, all. dropout: keep-masks by
    module, such as "{prefix}0.attention.self.dropout" (see `encoder_dropouts`). keep: as in `stack`.
    """
    if mask is not None:
        wide = (slice(None), None, None) if mask.ndim == 2 else (slice(None), None)  # to (B, H, T, S)
        mask = None if mask.all() else mask.astype(bool)[wide]

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        kept = dropout.get(f"{prefix}{i}.attention.self.dropout")
        rate = config.attention_probs_dropout_prob
        return encoder_layer(
            x,
            p,
            heads=config.num_attention_heads,
            act=config.hidden_act,
            eps=config.layer_norm_eps,
            mask=mask,
            masked=config.mask_constant,
            dropout=None if kept is None else ops.dropout_multiplier(kept, rate, x.dtype),
            keep={
                "attention": dropout.get(f"{prefix}{i}.attention.output.dropout"),
                "feed_forward": dropout.get(f"{prefix}{i}.output.dropout"),
            },
            rate=config.hidden_dropout_prob,
        )

    return stack(layer, x, ps, keep)


def encoder_backward(dy: Array, caches: list[Tree], douts: list[Array] | None = None) -> tuple[Array, list[Tree]]:
    """(dx, [g of each layer]); douts: as in `stack_backward`."""
    return stack_backward(encoder_layer_backward, dy, caches, douts)


def encoder_dropouts(config: Any, prefix: str, rows: int, length: int) -> Dropouts:
    """(shape, rate) of the keep-masks of `encoder`, by module."""
    wide, square = (rows, length, config.hidden_size), (rows, config.num_attention_heads, length, length)
    places = {}
    for i in range(config.num_hidden_layers):
        places[f"{prefix}{i}.attention.self.dropout"] = (square, config.attention_probs_dropout_prob)
        places[f"{prefix}{i}.attention.output.dropout"] = (wide, config.hidden_dropout_prob)
        places[f"{prefix}{i}.output.dropout"] = (wide, config.hidden_dropout_prob)
    return places


def keep_masks(rng: np.random.Generator, places: Dropouts) -> dict[str, Array]:
    """Keep-masks drawn for a family's `dropouts`; none where the rate is 0."""
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


Right = tuple[int, int, Array | None]  # how many predictions are right, of how many; how many targets of each class


def right(c: Tree, *, classes: bool = False) -> Right:
    """`Right` of a cross-entropy: the largest logit predicts; `classes` are counted where they are a decision's."""
    z, labels, counted = c["logits"], c["labels"], c["weights"] != 0
    guess = z.argmax(-1).reshape(labels.shape)
    held = np.bincount(labels[counted], minlength=z.shape[-1]) if classes else None
    return int(((guess == labels) & counted).sum()), int(counted.sum()), held


# ---- The stack -------------------------------------------------------------------------------------------------------
def states(hidden: list[Array], caches: list[Tree], keep: Keep) -> Tree:
    """The outputs that a stack gives: hidden as it is, attentions (B, H, T, S) of each layer where caches are kept."""
    out: Tree = {"last_hidden_state": hidden[-1], "hidden_states": hidden}
    if keep == "caches":
        out["attentions"] = [layer["attention"]["attention"]["probs"] for layer in caches]
    return out


def keys_values(c: Tree) -> Tree:
    """Of a layer's cache what it attended to, its `past` included: "key" and "value" (B, H, S, K). What is kept of
    each layer from token to token.
    """
    own = c["attention"]["attention"]
    return {"key": own["k"], "value": own["v"]}


def of_source(seen: Array | None) -> Array | None:
    """The mask (B, 1, 1, S) of the keys that are there, of seen (B, S); None: all are."""
    return None if seen is None or seen.all() else seen.astype(bool)[:, None, None]


def by_anybody(seen: Array | None) -> Array | None:
    """Which tokens are there, (B, T): of a mask of who sees whom, (B, T, T), those that anybody sees."""
    return seen if seen is None or seen.ndim == 2 else seen.any(1)


def causal(length: int, total: int, seen: Array | None = None) -> Array:
    """The mask of the last `length` of `total` tokens, (1 or B, 1, T, S) bits: each attends to itself and to what
    comes before it, as far as seen (B, S), 1 = there, lets it.
    """
    mask = (np.arange(total) <= np.arange(total - length, total)[:, None])[None, None]
    return mask if seen is None or seen.all() else mask & seen.astype(bool)[:, None, None]


def stack(
    f: Callable, x: Array, ps: list[Tree], keep: Keep = "caches", rebuild: tuple[Callable, Callable] | None = None
) -> tuple[list[Array], list[Tree]]:
    """x through f(x, p, i) -> (y, c) for each layer; returns ([x, y₁, …, y_L], caches).

    keep: "caches" for a backward to come; "inputs" keeps only each layer's input and runs the layer again in the
    backward (memory for time); "rebuilt" keeps the last output alone, from which the backward makes each layer's input
    and cache again (memory that does not grow with the layers), where they can be: rebuild is then (what is to be
    remembered of a cache, (y, p, i, it) -> (x, c)); "outputs" no caches; "last" nothing but the last output. A
    function: the last output, and of each cache what it gives (`keys_values`).
    """
    known = ("caches", "inputs", "rebuilt", "outputs", "last")
    chosen = callable(keep) or one_of("keep", keep, known) in ("last", "rebuilt")
    again = keep != "rebuilt" or rebuild is not None
    require(again, 'keep "rebuilt": the inputs of these layers can\'t be made of their outputs; take "inputs"')
    outputs, caches = [x], []
    for i, p in enumerate(ps):
        y, c = f(outputs[-1], p, i)
        if callable(keep):
            caches.append(keep(c))
        elif keep == "caches":
            caches.append(c)
        elif keep == "inputs":
            caches.append({"again": (f, outputs[-1], p, i)})
        elif keep == "rebuilt":
            caches.append({"rebuild": (rebuild[1], p, i, rebuild[0](c))})
        outputs = [y] if chosen else [*outputs, y]
        del c
    if keep == "rebuilt" and caches:
        caches[-1]["output"] = outputs[-1]
    return outputs, caches


def stack_backward(
    f_backward: Callable, dy: Array, caches: list[Tree], douts: list[Array] | None = None
) -> tuple[Array, list[Tree]]:
    """(dx, [g of each layer]) through f_backward(dy, c); InputError where `stack` was told to keep no caches. douts:
    cotangents of x, y₁, …, y_L, for whoever reads those, too; only of the first of them, where others follow the last.
    """
    require(bool(caches), 'no backward: the forward kept no caches; run it with keep="caches" or keep="inputs"')
    gs, y = [], caches[-1].get("output")
    for i, c in reversed([*enumerate(caches)]):
        if "again" in c:
            f, *arguments = c["again"]
            c = f(*arguments)[1]
        elif "rebuild" in c:
            f, *arguments = c["rebuild"]
            y, c = f(y, *arguments)
        dy, g = f_backward(dy if douts is None or i + 1 >= len(douts) else kernels.add(dy, douts[i + 1]), c)
        gs.append(g)
    return dy if douts is None else kernels.add(dy, douts[0]), gs[::-1]


def collecting(f_backward: Callable, others: list[tuple[Array, ...]]) -> Callable:
    """An f_backward for `stack_backward` of layers that share something differentiable (a memory, a bias): what it
    gives between dx and g goes into the list, a tuple a layer.
    """

    def backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        dx, *shared, g = f_backward(dy, c)
        others.append(tuple(shared))
        return dx, g

    return backward
