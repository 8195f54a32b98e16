"""Weighted binary cross-entropy with logits: L = sum_i w_i (log(1 + e^x_i) - x_i label_i) / denominator.

logits, labels, weights (...) -> scalar; the denominator is sum_i w_i unless given; 0 where nothing counts.
log(1 + e^x) = max(x, 0) + log(1 + e^-|x|) does not overflow. SPEC OP-BCE.
"""

from .lists import broadcast, leaves, shape
from .scalars import exp, log
from .sigmoid import sigmoid
from .slopes import refilled


def binary_cross_entropy(logits, *, labels, weights=None, denominator=None):
    x, weights = leaves(logits), leaves(broadcast(1 if weights is None else weights, shape(logits)))
    losses = [max(a, 0 * a) + log(1 + exp(-abs(a))) - a * y for a, y in zip(x, leaves(labels), strict=True)]
    denominator = sum(weights) if denominator is None else denominator
    total = sum(w * loss for w, loss in zip(weights, losses, strict=True))
    return total / denominator if denominator else 0 * x[0]


def binary_cross_entropy_backward(dy, logits, *, labels, weights=None, denominator=None):
    """The slope of log(1 + e^x) is e^x / (1 + e^x) = s(x), the sigmoid: dx_i = dy w_i (s(x_i) - label_i) / denominator.
    """
    x, weights = leaves(logits), leaves(broadcast(1 if weights is None else weights, shape(logits)))
    denominator = sum(weights) if denominator is None else denominator
    slopes = [dy * w * (sigmoid(a) - y) / denominator if denominator else 0 * a
              for w, a, y in zip(weights, x, leaves(labels), strict=True)]  # fmt: skip
    return {"logits": refilled(logits, slopes)}
