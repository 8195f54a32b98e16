"""Softmax over the last axis: y_i = e^(x_i - m) / sum_j e^(x_j - m), m = max_j x_j.

(..., d) -> (..., d). The maximum cancels; it keeps e^ from overflowing. SPEC OP-SM.
"""

from .lists import each
from .numbers import exp


def softmax(x):
    def distribution(row):
        powers = [exp(a - max(row)) for a in row]
        return [power / sum(powers) for power in powers]

    return each(1, distribution, x)
