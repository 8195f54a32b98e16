"""Entry by entry: y = a b. a, b (..., d) -> (..., d). Shazeer 2020 (2002.05202), eq. 5; SPEC OP-MUL."""

from .lists import each


def multiply(a, b):
    return each(0, lambda x, y: x * y, a, b)


def multiply_backward(dy, a, b):
    """From y = a b, each the other's slope: da = dy b, db = dy a."""
    return {"a": each(0, lambda d, y: d * y, dy, b), "b": each(0, lambda d, x: d * x, dy, a)}
