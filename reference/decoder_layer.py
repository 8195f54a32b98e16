"""Post-norm decoder layer: a = LN(x + self_attention(x)), b = LN(a + cross_attention(a, memory)),
y = LN(b + feed_forward(b)).

x (..., t, D), memory (..., s, E) -> (..., t, D), p {attention, cross_attention, feed_forward}, each with its norm. bias
of x and seen of the memory are added to the scores; keep {attention, cross_attention, feed_forward} bits (..., t, D)
and rate as in add. Vaswani et al. 2017 (1706.03762), section 3.1; SPEC OP-DEC.
"""

from .add_norm import add_norm
from .cross_attention import cross_attention
from .feed_forward import feed_forward
from .self_attention import self_attention


def decoder_layer(x, memory, p, heads, bias, seen, activation, eps, keep=None, rate=0):
    own, cross, feed, keep = p["attention"], p["cross_attention"], p["feed_forward"], keep or {}
    a = add_norm(x, self_attention(x, own, heads, bias), own, eps, keep.get("attention"), rate)
    looked = cross_attention(a, memory, cross, heads, seen)
    b = add_norm(a, looked, cross, eps, keep.get("cross_attention"), rate)
    return add_norm(b, feed_forward(b, feed, activation), feed, eps, keep.get("feed_forward"), rate)
