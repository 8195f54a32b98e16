"""Log-softmax over the last axis: y_i = x_i - m - log sum_j e^(x_j - m), m = max_j x_j.

(..., d) -> (..., d). Never the logarithm of a softmax, which underflows. SPEC OP-LSM.
"""

from .lists import each
from .scalars import exp, log


def log_softmax(x):
    def logarithms(row):
        top = max(row)
        total = log(sum(exp(a - top) for a in row))
        return [a - top - total for a in row]

    return each(1, logarithms, x)


def log_softmax_backward(dy, x):
    """From y_i = x_i - log sum_j e^x_j: dy_i / dx_j = [i = j] - p_j, p the softmax, so dx_j = dy_j - p_j sum_i dy_i."""

    def row_backward(slope, y):
        total = sum(slope)
        return [a - exp(b) * total for a, b in zip(slope, y, strict=True)]

    return {"x": each(1, row_backward, dy, log_softmax(x))}
