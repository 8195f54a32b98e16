"""Derivatives of any double at 50 digits by central differences (f(x + h) - f(x - h)) / 2h, h = 1e-16.

Truncation is about h^2 = 1e-32 of the third derivative, rounding 1e-50 / h = 1e-34 of the value. `arguments` holds
the double's arguments by name, floats in nested lists and dicts, taken as exactly the numbers they are.
"""

from decimal import Decimal

from .lists import convert, dot, leaves
from .scalars import fifty_digits

H = Decimal("1e-16")


def derivative(f, arguments: dict, name: str, cotangent=1.0):
    """d sum(cotangent * f(**arguments)) / d arguments[name]: Decimals in the shape of that argument."""
    with fifty_digits():
        arguments, cotangent = convert(arguments), leaves(convert(cotangent))

        def total(owner, key, value):
            owner[key] = value
            return dot(cotangent, leaves(f(**arguments)))

        def slope(owner, key):
            value = owner[key]
            if isinstance(value, dict):
                return {part: slope(value, part) for part in value}
            if isinstance(value, list):
                return [slope(value, part) for part in range(len(value))]
            difference = total(owner, key, value + H) - total(owner, key, value - H)
            owner[key] = value
            return difference / (2 * H)

        return slope(arguments, name)
