"""Logistic function: y = 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2, entry by entry. SPEC OP-SIG."""

from .lists import each
from .scalars import exp


def sigmoid(x):
    return each(0, lambda a: 1 / (1 + exp(-a)) if a > 0 else exp(a) / (1 + exp(a)), x)


def sigmoid_backward(dy, x):
    """From y = 1 / (1 + e^-x), y' = e^-x / (1 + e^-x)^2 = y (1 - y): dx = dy y (1 - y)."""
    return {"x": each(0, lambda d, y: d * y * (1 - y), dy, sigmoid(x))}
