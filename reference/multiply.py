"""Entry by entry: y = a b. a, b (..., d) -> (..., d). Shazeer 2020 (2002.05202), eq. 5; SPEC OP-MUL."""

from .lists import each


def multiply(a, b):
    return each(0, lambda x, y: x * y, a, b)
