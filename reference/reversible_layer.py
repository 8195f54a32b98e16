"""A reversible layer: y1 = x1 + Drop(attention(LN(x2))), y2 = x2 + Drop(feed_forward(y1)), its norm inside.

x [x1, x2] (2, b, t, D) -> [y1, y2]; p {attention: {norm, ...}, feed_forward: {norm, in, out}}; kind "local" or "lsh",
attending what that attention takes; keep {attention, inner, feed_forward} and rate of dropouts.
Kitaev et al. 2020 (2001.04451), eq. 7-9; SPEC REFORMER-LAYER.
"""

from .add import add
from .hashed_attention import hashed_attention
from .layer_norm import layer_norm
from .local_attention import local_attention
from .normed_feed_forward import normed_feed_forward


def reversible_layer(x, p, kind, act, eps, attending, rate=0, keep=None, slices=0):
    (x1, x2), keep, kinds = x, keep or {}, {"local": local_attention, "lsh": hashed_attention}
    own, feed = p["attention"], p["feed_forward"]
    f = kinds[kind](layer_norm(x2, **own["norm"], eps=eps), own, **attending)
    y1 = add(x1, f, own, keep.get("attention"), rate)
    f = normed_feed_forward(y1, feed, act, eps, keep.get("inner"), rate)
    return [y1, add(x2, f, feed, keep.get("feed_forward"), rate)]
