"""ReLU: y = max(x, 0), entry by entry. Nair & Hinton 2010; SPEC OP-RELU."""

from .lists import each


def relu(x):
    return each(0, lambda a: a if a > 0 else a - a, x)


def relu_backward(dy, x):
    """The slope is 1 above 0, 0 below, and 0 at 0 by convention: dx = dy where x > 0, else 0."""
    return {"x": each(0, lambda d, a: d if a > 0 else d - d, dy, x)}
