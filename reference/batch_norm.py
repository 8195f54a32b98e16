"""Batch norm: y = weight (x - m) / sqrt(v + eps) + bias, x (b, d), p four of (d) -> (b, d); m and v = mean (x - m)^2
over the rows with batch, else running_mean and running_var; eps 1e-5 unless given.

Ioffe and Szegedy 2015 (1502.03167), algorithms 1 and 2; SPEC OP-BN.
"""

from .scalars import sqrt


def batch_norm(x, p, *, batch, eps=None):
    columns = []
    for column, weight, bias, m, v in zip(
        zip(*x, strict=True), p["weight"], p["bias"], p["running_mean"], p["running_var"], strict=True
    ):
        if batch:
            m = sum(column) / len(column)
            v = sum((a - m) * (a - m) for a in column) / len(column)
        e = (v * 0 + 1) / 100_000 if eps is None else eps
        columns.append([weight * (a - m) / sqrt(v + e) + bias for a in column])
    return [list(row) for row in zip(*columns, strict=True)]
