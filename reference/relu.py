"""ReLU: y = max(x, 0), entry by entry. Nair & Hinton 2010; SPEC OP-RELU."""

from .lists import each


def relu(x):
    return each(0, lambda a: a if a > 0 else a - a, x)
