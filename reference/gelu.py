"""GELU, exact: y = x Phi(x) = x erfc(-x / sqrt 2) / 2, entry by entry.

Hendrycks & Gimpel 2016 (1606.08415), section 2; SPEC OP-GELU.
"""

from .lists import each
from .numbers import constant, erfc, sqrt


def gelu(x):
    return each(0, lambda a: a * erfc(-a / sqrt(constant("2", a))) / 2, x)
