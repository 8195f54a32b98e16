"""A post-norm layer with projected attention beside it: y = LN(a + feed_forward(a) + t), t = projected_attention(x).

x (..., t, D), p {attention, feed_forward, pal}; t reads the layer's input, not a.
Stickland and Murray 2019 (1902.02671), section 3, as in the released code; SPEC TRANS-PAL.
"""

from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .lists import each
from .projected_attention import projected_attention
from .self_attention import self_attention


def projected_layer(x, p, heads, bias, activation, eps):
    def total(*parts):
        return each(0, lambda *numbers: sum(numbers), *parts)

    attended = self_attention(x, p["attention"], heads, bias)
    a = layer_norm(total(x, attended), **p["attention"]["norm"], eps=eps)
    beside = projected_attention(x, p["pal"], heads, bias)
    fed = feed_forward(a, p["feed_forward"], activation)
    return layer_norm(total(a, fed, beside), **p["feed_forward"]["norm"], eps=eps)
