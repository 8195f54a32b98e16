"""Strict frozen configurations: every field known, typed and in range, or one clear line.

A family's Config is a frozen dataclass whose fields carry their published names. Types are checked here, from
the annotations; ranges by the dataclass itself, in `__post_init__`, with `require`.
"""

import dataclasses
import difflib
import math
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from minibert.errors import InputError, printable

C = TypeVar("C")


def require(condition: bool, message: str) -> None:
    """Raise InputError(message) unless the condition holds."""
    if not condition:
        raise InputError(message)


def from_fields(cls: type[C], fields: dict[str, Any]) -> C:
    """The config with these fields, the rest at their defaults.

    An unknown name, a missing one without default, or a value of another type is an InputError. Nothing is
    coerced except a whole number where a float is due.
    """
    types = get_type_hints(cls)
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in fields:
        require(name in known, f"unknown config field {shown(name)}{nearest(name, known)}")
    for name, field in known.items():
        default = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        require(default or name in fields, f"config field {name!r} is missing")
    return cls(**{name: _typed(name, value, types[name]) for name, value in fields.items()})


def to_fields(config: Any) -> dict[str, Any]:
    """Every field by name, in the order of declaration."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def shown(value: Any) -> str:
    """The value's repr, printable and cut so that an error line stays a line."""
    try:
        text = printable(repr(value))
    except RecursionError:  # JSON can be nested a little deeper than what is shown of it
        return f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"


def nearest(name: str, known: Any) -> str:
    """'; did you mean …?' when a known name is close, else nothing: the end of an error line."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _typed(name: str, value: Any, annotation: Any) -> Any:
    allowed = get_args(annotation) or (annotation,)  # int | None -> (int, NoneType)
    if type(value) is int and float in allowed and int not in allowed:
        value = float(value) if abs(value) < 2**1023 else math.inf  # a larger one is no float
    named = " or ".join("null" if t is NoneType else t.__name__ for t in allowed)
    require(type(value) in allowed, f"config field {name!r} is {shown(value)}; allowed: {named}")
    finite = not isinstance(value, float) or math.isfinite(value)
    require(finite, f"config field {name!r} is {value}; allowed: a finite number")
    return value
