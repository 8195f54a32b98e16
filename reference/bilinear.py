"""Bilinear map: y_o = u^T weight_o v + bias_o; u (..., d), v (..., i), weight (o, d, i), bias (o) or none -> (..., o).

Socher et al. 2013, "Reasoning with neural tensor networks", eq. 1; torch.nn.Bilinear; SPEC OP-BIL.
"""

from .lists import dot, each


def bilinear(u, v, weight, bias=None):
    bias = [0] * len(weight) if bias is None else bias

    def form(left, right):
        return [dot(left, [dot(row, right) for row in w]) + b for w, b in zip(weight, bias, strict=True)]

    return each(1, form, u, v)
