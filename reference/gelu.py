"""GELU, exact: y = x Phi(x) = x erfc(-x / sqrt 2) / 2, entry by entry.

Hendrycks & Gimpel 2016 (1606.08415), section 2; SPEC OP-GELU.
"""

from .lists import each
from .scalars import constant, erfc, exp, pi, sqrt


def gelu(x):
    return each(0, lambda a: a * erfc(-a / sqrt(constant("2", a))) / 2, x)


def gelu_backward(dy, x):
    """From y = x Phi(x), Phi' = phi, the normal density e^(-x^2/2) / sqrt(2 pi): dx = dy (Phi(x) + x phi(x))."""

    def slope(d, a):
        below = erfc(-a / sqrt(constant("2", a))) / 2
        return d * (below + a * exp(-a * a / 2) / sqrt(2 * pi(a)))

    return {"x": each(0, slope, dy, x)}
