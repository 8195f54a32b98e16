"""Batch norm: y = weight (x - m) / sqrt(v + eps) + bias, x (b, d), p four of (d) -> (b, d); m and v = mean (x - m)^2
over the rows with batch, else running_mean and running_var.

Ioffe and Szegedy 2015 (1502.03167), algorithms 1 and 2; SPEC OP-BN.
"""

from .numbers import sqrt


def batch_norm(x, p, *, batch, eps=1e-5):
    columns = []
    for column, weight, bias, m, v in zip(
        zip(*x, strict=True), p["weight"], p["bias"], p["running_mean"], p["running_var"], strict=True
    ):
        if batch:
            m = sum(column) / len(column)
            v = sum((a - m) * (a - m) for a in column) / len(column)
        columns.append([weight * (a - m) / sqrt(v + eps) + bias for a in column])
    return [list(row) for row in zip(*columns, strict=True)]
