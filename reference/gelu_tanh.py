"""GELU, tanh form: y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, entry by entry.

Hendrycks & Gimpel 2016 (1606.08415), section 2; SPEC OP-GELT.
"""

from .lists import each
from .scalars import constant, pi, sqrt, tanh


def gelu_tanh(x):
    def activation(a):
        return a * (1 + tanh(sqrt(2 / pi(a)) * (a + constant("0.044715", a) * a * a * a))) / 2

    return each(0, activation, x)


def gelu_tanh_backward(dy, x):
    """From y = x (1 + t) / 2, t = tanh u, u = s (x + c x^3), s = sqrt(2/pi): dt / dx = (1 - t^2) s (1 + 3 c x^2), so
    dx = dy ((1 + t) / 2 + x (1 - t^2) s (1 + 3 c x^2) / 2).
    """

    def slope(d, a):
        s, c = sqrt(2 / pi(a)), constant("0.044715", a)
        t = tanh(s * (a + c * a * a * a))
        return d * ((1 + t) / 2 + a * (1 - t * t) * s * (1 + 3 * c * a * a) / 2)

    return {"x": each(0, slope, dy, x)}
