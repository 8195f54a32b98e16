"""Adapter: f + W_up gelu(W_down f + b_down) + b_up, gelu by tanh. f (..., D) -> (..., D), p {down (A, D), up (D, A)}.

Houlsby et al. 2019 (1902.00751), section 2.1.
"""

from .gelu_tanh import gelu_tanh
from .linear import linear
from .lists import each


def adapter(f, p):
    return each(0, lambda a, b: a + b, f, linear(gelu_tanh(linear(f, **p["down"])), **p["up"]))
