"""Hyperbolic tangent: y = (e^x - e^-x) / (e^x + e^-x), entry by entry. SPEC OP-TANH."""

from . import scalars
from .lists import each


def tanh(x):
    return each(0, scalars.tanh, x)


def tanh_backward(dy, x):
    """From y = tanh x, y' = 1 - y^2: dx = dy (1 - y^2)."""
    return {"x": each(0, lambda d, y: d * (1 - y * y), dy, tanh(x))}
