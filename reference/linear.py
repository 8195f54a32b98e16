"""Affine map: y_o = sum_i weight_oi x_i + bias_o.

x (..., i), weight (o, i) as published checkpoints store it, bias (o) or none -> (..., o).
Vaswani et al. 2017 (1706.03762), eq. 2; SPEC OP-LIN.
"""

from .lists import dot, each


def linear(x, weight, bias=None):
    bias = [0] * len(weight) if bias is None else bias
    return each(1, lambda row: [dot(w, row) + b for w, b in zip(weight, bias, strict=True)], x)
