"""Log-softmax over the last axis: y_i = x_i - m - log sum_j e^(x_j - m), m = max_j x_j.

(..., d) -> (..., d). Never the logarithm of a softmax, which underflows. SPEC OP-LSM.
"""

from .lists import each
from .numbers import exp, log


def log_softmax(x):
    def logarithms(row):
        top = max(row)
        total = log(sum(exp(a - top) for a in row))
        return [a - top - total for a in row]

    return each(1, logarithms, x)
