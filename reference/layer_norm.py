"""Layer norm: y = weight (x - m) / sqrt(v + eps) + bias, m = mean x and v = mean (x - m)^2 over the last axis.

x (..., d), weight (d), bias (d) -> (..., d). Ba et al. 2016 (1607.06450), eq. 3 and 4; SPEC OP-LN.
"""

from .lists import each
from .scalars import sqrt


def layer_norm(x, weight, bias, *, eps):
    def norm(row):
        mean = sum(row) / len(row)
        deviation = sqrt(sum((a - mean) * (a - mean) for a in row) / len(row) + eps)
        return [g * (a - mean) / deviation + b for a, g, b in zip(row, weight, bias, strict=True)]

    return each(1, norm, x)


def layer_norm_backward(dy, x, weight, bias, *, eps):
    """With r = 1 / sqrt(v + eps) and h_i = (x_i - m) r, y_i = weight_i h_i + bias_i, so dh_i = dy_i weight_i. x_j moves
    every h_i of its row, by itself, by the mean and by the variance
    ([i = j] is 1 where i = j, else 0):

        dm / dx_j = 1/d,  dv / dx_j = 2 (x_j - m) / d,  dr / dv = -r^3 / 2
        dh_i / dx_j = r [i = j] - r / d - (x_i - m) r^3 (x_j - m) / d = r ([i = j] - 1/d - h_i h_j / d)

    Summed over i: dx_j = r (dh_j - mean dh - h_j mean(dh h)). dweight = sum over rows of dy h, dbias of dy.
    """
    dweight, dbias = [0] * len(weight), [0] * len(weight)

    def row_backward(slope, row):
        d, mean = len(row), sum(row) / len(row)
        r = 1 / sqrt(sum((a - mean) * (a - mean) for a in row) / d + eps)
        h = [(a - mean) * r for a in row]
        dh = [a * g for a, g in zip(slope, weight, strict=True)]
        first, second = sum(dh) / d, sum(a * b for a, b in zip(dh, h, strict=True)) / d
        for i in range(d):
            dweight[i] += slope[i] * h[i]
            dbias[i] += slope[i]
        return [r * (a - first - b * second) for a, b in zip(dh, h, strict=True)]

    return {"x": each(1, row_backward, dy, x), "weight": dweight, "bias": dbias}
