"""RMS norm: y = weight x / sqrt(mean x^2 + eps) over the last axis; no mean is taken away and nothing is added.

x (..., d), weight (d) -> (..., d). Zhang and Sennrich 2019 (1910.07467), eq. 4; SPEC OP-RMS.
"""

from .lists import each
from .numbers import sqrt


def rms_norm(x, weight, *, eps):
    def norm(row):
        size = sqrt(sum(a * a for a in row) / len(row) + eps)
        return [g * a / size for a, g in zip(row, weight, strict=True)]

    return each(1, norm, x)
