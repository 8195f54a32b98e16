"""Affine map: y_o = sum_i weight_oi x_i + bias_o.

x (..., i), weight (o, i) as published checkpoints store it, bias (o) or none -> (..., o).
Vaswani et al. 2017 (1706.03762), eq. 2; SPEC OP-LIN.
"""

from .lists import dot, each
from .slopes import rows_of, zeros


def linear(x, weight, bias=None):
    bias = [0] * len(weight) if bias is None else bias
    return each(1, lambda row: [dot(w, row) + b for w, b in zip(weight, bias, strict=True)], x)


def linear_backward(dy, x, weight, bias=None):
    """From y_o = sum_i weight_oi x_i + bias_o, for each row:

        dy_o / dx_i = weight_oi,  dy_o / dweight_oi = x_i,  dy_o / dbias_o = 1

    so that dx_i = sum_o dy_o weight_oi; every row uses the same weight, whose gradients add up:
    dweight_oi = sum over rows of dy_o x_i, dbias_o = sum over rows of dy_o. In arrays: dx = dy W, dW = dy^T x.
    """
    dx = each(1, lambda row: [dot(row, column) for column in zip(*weight, strict=True)], dy)
    dweight, dbias = zeros(weight), [0] * len(weight)
    for slope, read in zip(rows_of(dy), rows_of(x), strict=True):
        for o, d in enumerate(slope):
            dbias[o] += d
            for i, a in enumerate(read):
                dweight[o][i] += d * a
    return {"x": dx, "weight": dweight, **({} if bias is None else {"bias": dbias})}
