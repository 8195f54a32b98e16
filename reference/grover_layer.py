"""A layer of Grover: x is attended to as it is, and the residual goes on from the sum, not from its norm.

a = x + Drop(attention(x)), y = LN1(a + Drop(feed_forward(LN0(a)))). x (b, t, D), p {attention {.., norm: LN0},
feed_forward {in, out, norm: LN1}}; keep, rate as in add. rowanz/grover, lm/modeling.py, residual_mlp_layer; SPEC
GRV-LAYER.
"""

from .add import add
from .add_norm import add_norm
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .self_attention import self_attention


def grover_layer(x, p, heads, bias, activation, eps, keep=None, rate=0):
    own, feed, keep = p["attention"], p["feed_forward"], keep or {"attention": None, "feed_forward": None}
    a = add(x, self_attention(x, own, heads, bias), own, keep["attention"], rate)
    fed = feed_forward(layer_norm(a, **own["norm"], eps=eps), feed, activation)
    return add_norm(a, fed, feed, eps, keep["feed_forward"], rate)
