"""Layer norm: y = weight (x - m) / sqrt(v + eps) + bias, m and v = mean (x - m)^2 over the last axis.

x (..., d), weight (d), bias (d) -> (..., d). Ba et al. 2016 (1607.06450), eq. 3 and 4; SPEC OP-LN.
"""

from .lists import each
from .numbers import sqrt


def layer_norm(x, weight, bias, *, eps):
    def norm(row):
        mean = sum(row) / len(row)
        deviation = sqrt(sum((a - mean) * (a - mean) for a in row) / len(row) + eps)
        return [g * (a - mean) / deviation + b for a, g, b in zip(row, weight, bias, strict=True)]

    return each(1, norm, x)
