"""Weighted mean absolute error: L = sum_i w_i |x_i - target_i| / denominator.

x, target, weights (...) -> scalar; the denominator is sum_i w_i unless given; 0 where nothing counts. SPEC OP-MAE.
"""

from .lists import broadcast, leaves, shape
from .slopes import refilled


def mean_absolute_error(x, *, target, weights=None, denominator=None):
    weights = leaves(broadcast(1 if weights is None else weights, shape(x)))
    triples = zip(weights, leaves(x), leaves(target), strict=True)
    total = sum(w * abs(a - b) for w, a, b in triples)
    denominator = sum(weights) if denominator is None else denominator
    return total / denominator if denominator else 0 * leaves(x)[0]


def mean_absolute_error_backward(dy, x, *, target, weights=None, denominator=None):
    """dx_i = dy w_i sign(x_i - target_i) / denominator, sign(0) = 0."""
    weights = leaves(broadcast(1 if weights is None else weights, shape(x)))
    denominator = sum(weights) if denominator is None else denominator
    slopes = [dy * w * ((a > b) - (a < b)) / denominator if denominator else 0 * a
              for w, a, b in zip(weights, leaves(x), leaves(target), strict=True)]  # fmt: skip
    return {"x": refilled(x, slopes)}
