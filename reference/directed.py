"""The direction of a vector: x / |x| over the last axis, 0 where x is 0. x (..., d) -> (..., d). SPEC TASK-CTL."""

from .lists import dot, each
from .scalars import sqrt


def directed(x):
    def one(row):
        size = dot(row, row)
        return [a / sqrt(size) for a in row] if size else [0 * a for a in row]

    return each(1, one, x)
