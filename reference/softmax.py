"""Softmax over the last axis: y_i = e^(x_i - m) / sum_j e^(x_j - m), m = max_j x_j.

(..., d) -> (..., d). The maximum cancels; it keeps e^ from overflowing. SPEC OP-SM.
"""

from .lists import dot, each
from .scalars import exp


def softmax(x):
    def distribution(row):
        powers = [exp(a - max(row)) for a in row]
        return [power / sum(powers) for power in powers]

    return each(1, distribution, x)


def softmax_backward(dy, x):
    """With s = sum_j e^x_j, y_i = e^x_i / s. x_j moves y_j by itself and every y_i by s (the maximum
    cancels; [i = j] is 1 where i = j, else 0):

        dy_i / dx_j = y_i [i = j] - e^x_i e^x_j / s^2 = y_i ([i = j] - y_j)

    Summed over i: dx_j = y_j (dy_j - sum_i dy_i y_i).
    """

    def row_backward(slope, y):
        through = dot(slope, y)
        return [b * (a - through) for a, b in zip(slope, y, strict=True)]

    return {"x": each(1, row_backward, dy, softmax(x))}
