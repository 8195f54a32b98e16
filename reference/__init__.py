"""Scalar-loop doubles: every op, head and update of the engine once more, from its equation alone.

One function a file, the function named as its file, at most 40 lines, no import but the standard library
and this package. Arrays are nested lists; they may hold float or, inside `scalars.fifty_digits()`,
`decimal.Decimal`. `derivative.derivative` differentiates any of them at 50 digits. SPEC.md says in numbered
clauses what each must do. Arguments have the engine's names, so `double("linear")(**arguments)` needs no table.
"""

from importlib import import_module


def double(name: str):
    """The scalar-loop function `name`, such as `double("layer_norm")`."""
    return getattr(import_module(f".{name}", __name__), name)
