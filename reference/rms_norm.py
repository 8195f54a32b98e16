"""RMS norm: y = weight x / sqrt(mean x^2 + eps) over the last axis; no mean is taken away and nothing is added.

x (..., d), weight (d) -> (..., d). Zhang and Sennrich 2019 (1910.07467), eq. 4; SPEC OP-RMS.
"""

from .lists import each
from .scalars import sqrt


def rms_norm(x, weight, *, eps):
    def norm(row):
        size = sqrt(sum(a * a for a in row) / len(row) + eps)
        return [g * a / size for a, g in zip(row, weight, strict=True)]

    return each(1, norm, x)


def rms_norm_backward(dy, x, weight, *, eps):
    """With r = 1 / sqrt(mean x^2 + eps) and h_i = x_i r, dh_i = dy_i weight_i: as in layer norm without the mean,
    dh_i / dx_j = r ([i = j] - h_i h_j / d), so dx_j = r (dh_j - h_j mean(dh h)); dweight = sum over rows of dy h.
    """
    dweight = [0] * len(weight)

    def row_backward(slope, row):
        r = 1 / sqrt(sum(a * a for a in row) / len(row) + eps)
        h = [a * r for a in row]
        dh = [a * g for a, g in zip(slope, weight, strict=True)]
        mean = sum(a * b for a, b in zip(dh, h, strict=True)) / len(row)
        for i, a in enumerate(slope):
            dweight[i] += a * h[i]
        return [r * (a - b * mean) for a, b in zip(dh, h, strict=True)]

    return {"x": each(1, row_backward, dy, x), "weight": dweight}
