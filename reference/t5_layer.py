"""T5's layer: x + attention(N(x)), where there is a memory x + cross_attention(N(x), memory), x + feed_forward(N(x)).

N is the RMS norm; scores are not divided; the feed-forward is gated where p has a gate. x (b, t, D), memory (b, s, E)
or None; bias (positions and mask) and seen (mask of the memory) are added to the scores -> (b, t, D).
Raffel et al. 2019 (1910.10683), section 2.1, and the released code; SPEC T5-LAYER, T5-DEC.
"""

from .cross_attention import cross_attention
from .feed_forward import feed_forward
from .gated_feed_forward import gated_feed_forward
from .lists import each
from .rms_norm import rms_norm
from .self_attention import self_attention


def t5_layer(x, memory, p, heads, bias, seen, act, eps):
    def residual(x, part, f, *given):
        return each(0, lambda a, b: a + b, x, f(rms_norm(x, **p[part]["norm"], eps=eps), *given))

    x = residual(x, "attention", self_attention, p["attention"], heads, bias, 1)
    if memory is not None:
        x = residual(x, "cross_attention", cross_attention, memory, p["cross_attention"], heads, seen, None, 1)
    feed = gated_feed_forward if "gate" in p["feed_forward"] else feed_forward
    return residual(x, "feed_forward", feed, p["feed_forward"], act)
