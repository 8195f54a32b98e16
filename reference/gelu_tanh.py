"""GELU, tanh form: y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, entry by entry.

Hendrycks & Gimpel 2016 (1606.08415), section 2; SPEC OP-GELT.
"""

from .lists import each
from .numbers import constant, pi, sqrt, tanh


def gelu_tanh(x):
    def activation(a):
        return a * (1 + tanh(sqrt(2 / pi(a)) * (a + constant("0.044715", a) * a * a * a))) / 2

    return each(0, activation, x)
