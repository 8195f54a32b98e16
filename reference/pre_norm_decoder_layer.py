"""Pre-norm decoder layer: a = x + self_attention(LN(x)), b = a + cross_attention(LN(a), memory),
y = b + feed_forward(LN(b)).

Everything else as in decoder_layer. Xiong et al. 2020 (2002.04745), table 1; SPEC OP-DEC.
"""

from .add import add
from .cross_attention import cross_attention
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .self_attention import self_attention


def pre_norm_decoder_layer(x, memory, p, heads, bias, seen, activation, eps, keep=None, rate=0):
    own, cross, feed, keep = p["attention"], p["cross_attention"], p["feed_forward"], keep or {}
    attended = self_attention(layer_norm(x, **own["norm"], eps=eps), own, heads, bias)
    a = add(x, attended, own, keep.get("attention"), rate)
    looked = cross_attention(layer_norm(a, **cross["norm"], eps=eps), memory, cross, heads, seen)
    b = add(a, looked, cross, keep.get("cross_attention"), rate)
    fed = feed_forward(layer_norm(b, **feed["norm"], eps=eps), feed, activation)
    return add(b, fed, feed, keep.get("feed_forward"), rate)
