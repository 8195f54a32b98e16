"""Hyperbolic tangent: y = (e^x - e^-x) / (e^x + e^-x), entry by entry. SPEC OP-TANH."""

from . import numbers
from .lists import each


def tanh(x):
    return each(0, numbers.tanh, x)
