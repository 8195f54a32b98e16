"""Bilinear map: y_o = u^T weight_o v + bias_o; u (..., d), v (..., i), weight (o, d, i), bias (o) or none -> (..., o).

Socher et al. 2013, "Reasoning with neural tensor networks", eq. 1; torch.nn.Bilinear; SPEC OP-BIL.
"""

from .lists import dot, each
from .slopes import rows_of, zeros


def bilinear(u, v, weight, bias=None):
    bias = [0] * len(weight) if bias is None else bias

    def form(left, right):
        return [dot(left, [dot(row, right) for row in w]) + b for w, b in zip(weight, bias, strict=True)]

    return each(1, form, u, v)


def bilinear_backward(dy, u, v, weight, bias=None):
    """From y_o = sum_di weight_odi u_d v_i + bias_o, for each row:

        du_d = sum_o dy_o sum_i weight_odi v_i,  dv_i = sum_o dy_o sum_d weight_odi u_d
        dweight_odi = sum over rows of dy_o u_d v_i,  dbias_o = sum over rows of dy_o
    """
    dweight, dbias = zeros(weight), [0] * len(weight)
    for slope, left, right in zip(rows_of(dy), rows_of(u), rows_of(v), strict=True):
        for o, d in enumerate(slope):
            dbias[o] += d
            for i, a in enumerate(left):
                for j, b in enumerate(right):
                    dweight[o][i][j] += d * a * b

    def of_u(slope, right):
        return [sum(d * dot(w[i], right) for d, w in zip(slope, weight, strict=True)) for i in range(len(weight[0]))]

    def of_v(slope, left):
        turned = [[*zip(*w, strict=True)] for w in weight]
        return [sum(d * dot(w[j], left) for d, w in zip(slope, turned, strict=True)) for j in range(len(turned[0]))]

    gradients = {"u": each(1, of_u, dy, v), "v": each(1, of_v, dy, u), "weight": dweight}
    return {**gradients, **({} if bias is None else {"bias": dbias})}
