"""Reversible layers (Gomez et al. 2017, arXiv 1707.04585; Kitaev et al. 2020, arXiv 2001.04451, section 3): two
streams, each changed by what the other says, so that a layer's input is made again of its output.
"""

from typing import Any

import numpy as np

from minibert import hashed, kernels, layers, ops, tree
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]
ATTENTIONS = {
    "local": (hashed.local_attention, hashed.local_attention_backward),
    "lsh": (hashed.hashed_attention, hashed.hashed_attention_backward),
}


def _attention(x: Array, p: Tree, given: Tree, **more: Any) -> tuple[Array, Tree]:
    """Drop(A(LN(x))) of a reversible layer."""
    n, norm = ops.layer_norm(x, **p["norm"], eps=given["eps"])
    y, c = ATTENTIONS[given["kind"]][0](n, p, **given["attending"], **more)
    y, add = layers.dropped(y, p, given["keep"]["attention"], given["rate"])
    c |= {"norm": norm, "add": add, "kind": given["kind"]}  # in the cache of the block, by which its call is found
    return y, c


def _attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dy, end = layers.dropped_backward(dy, c["add"])
    dn, g = ATTENTIONS[c["kind"]][1](dy, c)
    dx, norm = ops.layer_norm_backward(dn, c["norm"])
    return dx, {"norm": norm, **g, **end}


def _feed_forward(x: Array, p: Tree, given: Tree) -> tuple[Array, Tree]:
    """Drop(feed-forward(x))."""
    how = {name: given[name] for name in ("act", "eps", "rate", "slices")}
    y, c = sliced_feed_forward(x, p, keep=given["keep"]["inner"], again=given.get("again", False), **how)
    y, add = layers.dropped(y, p, given["keep"]["feed_forward"], given["rate"])
    return y, {"feed": c, "add": add}


def _feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dy, end = layers.dropped_backward(dy, c["add"])
    dx, g = sliced_feed_forward_backward(dy, c["feed"])
    return dx, {**g, **end}


@block
def normed_feed_forward(
    x: Array, p: Tree, *, act: str, eps: float, keep: Array | None = None, rate: float = 0.0
) -> tuple[Array, Tree]:
    """act(Drop(LN(x) W₁ᵀ + b₁)) W₂ᵀ + b₂, x (B, T, D); p: norm, in (F, D), out (D, F); keep (B, T, F)."""
    c: Tree = {}
    h, c["norm"] = ops.layer_norm(x, **p["norm"], eps=eps)
    h, c["in"] = ops.linear(h, **p["in"])
    h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    h, c["act"] = layers.activation(h, name=act)
    y, c["out"] = ops.linear(h, **p["out"])
    return y, c


@block_backward
def normed_feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["out"] = ops.linear_backward(dy, c["out"])
    dh = ops.dropout_backward(layers.activation_backward(dh, c["act"]), c["dropout"])
    dh, g["in"] = ops.linear_backward(dh, c["in"])
    dx, g["norm"] = ops.layer_norm_backward(dh, c["norm"])
    return dx, g


@block
def sliced_feed_forward(
    x: Array, p: Tree, *, slices: int, keep: Array | None = None, again: bool = False, **how: Any
) -> tuple[Array, Tree]:
    """`normed_feed_forward` of x (B, T, D), of so many tokens at a time; 0: of all. again: slices are run once more in
    the backward, so that what is F wide never stands for a whole text.
    """
    if not 0 < slices < x.shape[1]:
        y, c = normed_feed_forward(x, p, keep=keep, **how)
        return y, {"whole": c}
    ys, caches = [], []
    for at in (slice(i, i + slices) for i in range(0, x.shape[1], slices)):
        own = x[:, at], p, {"keep": None if keep is None else keep[:, at], **how}
        y, c = normed_feed_forward(*own[:2], **own[2])
        ys.append(y)
        caches.append({"again": own} if again else c)
    return np.concatenate(ys, 1), {"slices": caches, "width": slices}


@block_backward
def sliced_feed_forward_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    if "whole" in c:
        return normed_feed_forward_backward(dy, c["whole"])
    dxs, g = [], None
    for i, own in enumerate(c["slices"]):
        if "again" in own:
            x, p, how = own["again"]
            own = normed_feed_forward(x, p, **how)[1]
        dx, part = normed_feed_forward_backward(dy[:, i * c["width"] : (i + 1) * c["width"]], own)
        dxs.append(dx)
        g = part if g is None else tree.add(g, part)
    return np.concatenate(dxs, 1), g


@block
def reversible_layer(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """y₁ = x₁ + Drop(A(LN(x₂))), y₂ = x₂ + Drop(feed-forward(y₁)): x = [x₁, x₂] (2, B, T, D) -> y (eq. 9).

    p: attention, feed_forward; given: kind, a key of ATTENTIONS; attending: what such a block takes; act, eps, rate;
    slices, again: of `sliced_feed_forward`; keep: masks "attention", "feed_forward" (B, T, D), "inner" (B, T, F).
    """
    c: Tree = {}
    f, c["attention"] = _attention(x[1], p["attention"], given)
    y = kernels.add(x[0], f)
    g, c["feed_forward"] = _feed_forward(y, p["feed_forward"], given)
    return np.stack([y, kernels.add(x[1], g)]), c


@block_backward
def reversible_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    df, g["feed_forward"] = _feed_forward_backward(dy[1], c["feed_forward"])
    dx = kernels.add(dy[0], df)
    df, g["attention"] = _attention_backward(dx, c["attention"])
    return np.stack([dx, kernels.add(dy[1], df)]), g


def remembered(c: Tree) -> Array | None:
    """Of a layer's cache what `rebuilt` can't make again: the buckets."""
    buckets = c["attention"].get("buckets")
    return None if buckets is None else buckets.astype(np.min_scalar_type(buckets.max()))


def rebuilt(y: Array, p: Tree, known: Array | None, **given: Any) -> tuple[Array, Tree]:
    """The x of `reversible_layer` of its y, and the cache; known: what was `remembered`."""
    c: Tree = {}
    g, c["feed_forward"] = _feed_forward(y[0], p["feed_forward"], given)
    x2 = y[1] - g
    more = {} if known is None else {"known": known.astype(np.int64)}
    f, c["attention"] = _attention(x2, p["attention"], given, **more)
    return np.stack([y[0] - f, x2]), c
