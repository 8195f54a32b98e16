"""Directional derivative of any double at 50 digits: two evaluations, so whole models can be checked.

d/ds sum(cotangent * f(x + s direction)) at s = 0, by the central difference of `derivative`.
"""

from .derivative import H
from .lists import convert, dot, leaves
from .scalars import fifty_digits


def directional(f, arguments: dict, name: str, direction, cotangent=1.0):
    """`direction` is a tree of floats like arguments[name]; the result one Decimal."""
    with fifty_digits():
        arguments, direction, cotangent = convert(arguments), convert(direction), leaves(convert(cotangent))

        def total(step):
            return dot(cotangent, leaves(f(**{**arguments, name: _moved(arguments[name], direction, step)})))

        return (total(H) - total(-H)) / (2 * H)


def _moved(x, direction, step):
    if isinstance(x, dict):
        return {part: _moved(x[part], direction[part], step) for part in x}
    if isinstance(x, list):
        return [_moved(a, d, step) for a, d in zip(x, direction, strict=True)]
    return x + step * direction
