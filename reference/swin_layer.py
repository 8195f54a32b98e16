"""Swin's layer: a = x + windowed_attention(LN(x)), y = a + Drop(feed_forward(LN(a))).

x (b, Y X, D), p {attention: {norm, ...}, feed_forward: {norm, ...}}; keep and rate are those of the feed-forward's
residual, kept of what attention gives. Liu et al. 2021 (2103.14030), eq. 3; SPEC SWIN-LAYER.
"""

from .add import add
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .windowed_attention import windowed_attention


def swin_layer(x, p, *, heads, act, eps, keep=None, rate=0, kept=None, **given):
    attention, feed, width = p["attention"], p["feed_forward"], len(x[0][0]) // heads
    n = layer_norm(x, **attention["norm"], eps=eps)
    a = add(x, windowed_attention(n, attention, width=width, keep=kept, rate=rate, **given), attention, None, 0)
    return add(a, feed_forward(layer_norm(a, **feed["norm"], eps=eps), feed, act), feed, keep, rate)
