"""Adafactor: p <- (1 - a decay) p - u, u = a g / sqrt v / max(1, RMS(g / sqrt v) / clip), a = rate max(eps2, RMS p).

v = R C / mean R for a matrix, R and C the moving averages of g^2 + eps1 over its rows and its columns; for a vector v
is the average itself, in R. The old counts 1 - t^-decay_rate, `step` t from 1. With beta1 what is taken off is
m <- beta1 m + (1 - beta1) u. One vector or matrix -> (p, R, C, m). Shazeer & Stern 2018 (1804.04235), algorithms 4 and
5; fairseq optim/adafactor.py; SPEC OPT-ADAFACTOR.
"""

from .lists import each, leaves, shape
from .scalars import sqrt


def rms(tensor):
    squares = [x * x for x in leaves([tensor])]
    return sqrt(sum(squares) / len(squares))


def mean(values):
    return sum(values) / len(values)


def adafactor(parameter, gradient, rows, columns, m, *, step, rate, decay, beta1, decay_rate, eps1, eps2, clip,
              scale_parameter=True):  # fmt: skip
    new = step**-decay_rate
    square = each(0, lambda g: g * g + eps1, gradient)
    matrix = len(shape(parameter)) == 2
    if matrix:
        rows = [(1 - new) * r + new * mean(row) for r, row in zip(rows, square, strict=True)]
        columns = [(1 - new) * c + new * mean(column) for c, *column in zip(columns, *square, strict=True)]
        v = [[r * c / mean(rows) for c in columns] for r in rows]
    else:
        rows = v = [(1 - new) * r + new * s for r, s in zip(rows, square, strict=True)]
    update = each(0, lambda g, s: g / sqrt(s), gradient, v)
    alpha = rate * max(eps2, rms(parameter)) if scale_parameter else rate
    alpha_clipped = alpha / max(1, rms(update) / clip)
    update = each(0, lambda u: alpha_clipped * u, update)
    if beta1:
        update = m = each(0, lambda a, u: beta1 * a + (1 - beta1) * u, m, update)
    return each(0, lambda p, u: (1 - alpha * decay) * p - u, parameter, update), rows, columns, m
