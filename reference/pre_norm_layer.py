"""Pre-norm layer: a = x + Drop(self_attention(LN(x))), y = a + Drop(feed_forward(LN(a))).

x (..., t, D) -> (..., t, D), p {attention: {norm, ...}, feed_forward: {norm, ...}}; bias, scale and past are those of
self_attention, keep {attention, feed_forward} bits (..., t, D) and rate those of add.
Radford et al. 2019, section 2.3 (the norm at the input of each sub-block); SPEC GPT2-LAYER.
"""

from .add import add
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .self_attention import self_attention


def pre_norm_layer(x, p, heads, bias, activation, eps, scale=None, past=None, keep=None, rate=0):
    attention, feed, keep = p["attention"], p["feed_forward"], keep or {"attention": None, "feed_forward": None}
    attended = self_attention(layer_norm(x, **attention["norm"], eps=eps), attention, heads, bias, scale, past)
    a = add(x, attended, attention, keep["attention"], rate)
    fed = feed_forward(layer_norm(a, **feed["norm"], eps=eps), feed, activation)
    return add(a, fed, feed, keep["feed_forward"], rate)
