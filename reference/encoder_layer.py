"""Post-norm encoder layer: a = LN(x + self_attention(x)), y = LN(a + feed_forward(a)).

x (..., t, D) -> (..., t, D), p {attention: {..., norm}, feed_forward: {..., norm}}; each sub-layer its own norm.
Vaswani et al. 2017 (1706.03762), section 3.1; Devlin et al. 2018 (1810.04805), section 3; SPEC BERT-ENC.
"""

from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .lists import each
from .self_attention import self_attention


def encoder_layer(x, p, heads, bias, activation, eps):
    def residual(x, y):
        return each(0, lambda a, b: a + b, x, y)

    attended = self_attention(x, p["attention"], heads, bias)
    a = layer_norm(residual(x, attended), **p["attention"]["norm"], eps=eps)
    fed = feed_forward(a, p["feed_forward"], activation)
    return layer_norm(residual(a, fed), **p["feed_forward"]["norm"], eps=eps)
