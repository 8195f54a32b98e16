"""Strict frozen configurations: every field known, typed and in range, or one clear line.

A family's Config is a frozen dataclass whose fields carry their published names. Types are checked here, from
the annotations; ranges by the dataclass itself, in `__post_init__`, with `require`.
"""

import dataclasses
import difflib
import math
import operator
from collections.abc import Callable, Iterable
from numbers import Real
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from minibert.errors import InputError, printable

C = TypeVar("C")

MOST_ITEMS = 1 << 20  # of a field that is a list: as many as a head may have classes


def require(condition: bool, message: str) -> None:
    """Raise InputError(message) unless the condition holds."""
    if not condition:
        raise InputError(message)


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """`value` as a whole number from `least` to `most`, without an end for None; else InputError, for a bool too."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    fits = least <= number and (most is None or number <= most)
    allowed = f", {least} or more" if most is None else f" from {least} to {most}"
    if not fits:
        raise InputError(f"{name} {shown(value)}: expected a whole number{allowed}")
    return number


def real(name: str, value: Any, least: float = 0.0, most: float = math.inf) -> float:
    """`value` as a float from `least` to `most`; InputError for another value or type, NaN, None and bool too."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int that is no float
        number = math.nan
    if not least <= number <= most:  # NaN, too
        raise InputError(f"{name} {shown(value)}: expected a number from {least:g} to {most:g}")
    return number


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """The value, a str that is one of those known."""
    fits = isinstance(value, str) and value in known
    if not fits:
        raise InputError(f"unknown {name} {shown(value)}{nearest(value, known)}; there are: {', '.join(known)}")
    return value


def parameter_dtype(dtype: Any) -> np.dtype:
    """The dtype of that name, if parameters may have it, in the machine's byte order."""
    try:
        kind = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except Exception:  # whatever the conversion of somebody's object raises
        kind = None
    if kind is None or kind.kind != "f" or kind.itemsize < 4:
        raise InputError(f"dtype {shown(dtype)}: parameters are float32, float64 or longdouble")
    return kind.newbyteorder("=")


def listed(name: str, value: Any) -> list[Any]:
    """The value's items; InputError for what has none, and for a text, whose items are letters."""
    try:
        items = None if isinstance(value, str | bytes) else list(value)
    except TypeError:
        items = None
    if items is None:
        raise InputError(f"{name} {shown(value)}: expected a list")
    return items


# ---- Fields with their range -----------------------------------------------------------------------------------------
def _field(default: Any, fits: Callable[[Any], bool], allowed: str) -> Any:
    return dataclasses.field(default=default, metadata={"fits": fits, "allowed": allowed})


def size(default: int, most: int = 2**31 - 1) -> Any:
    """A field of a Config: a whole number from 1."""
    return _field(default, lambda value: 0 < value <= most, f"1 to {most}")


def rate(default: float | None) -> Any:
    """A field of a Config: a share, of which 1 is all; None where it may be left open, by default."""
    return _field(default, lambda value: value is default is None or 0 <= value <= 1, "[0, 1]")


def number(default: float, least: float, most: float) -> Any:
    """A field of a Config: a number in this range."""
    return _field(default, lambda value: least <= value <= most, f"{least} to {most}")


def among(default: str, known: Iterable[str]) -> Any:
    """A field of a Config: one of these."""
    known = tuple(known)
    return _field(default, known.__contains__, ", ".join(known))


def check(config: Any) -> None:
    """InputError for a field beyond its range; a subclass may change defaults and keeps the ranges."""
    for field in dataclasses.fields(config):
        kinds = (kind.__dict__.get("__dataclass_fields__", {}).get(field.name) for kind in type(config).__mro__)
        about = next((known.metadata for known in kinds if known is not None and known.metadata), None)
        value = getattr(config, field.name)
        fits = about is None or about["fits"](value)
        require(fits, "" if fits else f"config field {field.name!r} is {shown(value)}; allowed: {about['allowed']}")


# ---- From and to dicts -----------------------------------------------------------------------------------------------
def from_fields(cls: type[C], fields: dict[str, Any]) -> C:
    """The config with these fields, the rest at their defaults.

    An unknown name, a missing one without default, or a value of another type is an InputError. Nothing is
    coerced except a whole number where a float is due.
    """
    if not isinstance(fields, dict):
        raise InputError(f"config fields {shown(fields)}: expected a dict of values by name")
    types = get_type_hints(cls)
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in fields:
        if name not in known:
            raise InputError(f"unknown config field {shown(name)}{nearest(name, known)}")
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
        text = repr(value)
    except (ValueError, RecursionError):  # more digits, or nested more deeply, than Python writes out
        return f"a {type(value).__name__} too large to show"
    return printable(text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)")


def nearest(name: Any, known: Any) -> str:
    """'; did you mean …?' when a known name is close, else nothing: the end of an error line."""
    usable = isinstance(name, str) and len(name) < 100
    close = [one for one in known if isinstance(one, str) and one.lower() == name.lower()] if usable else []
    close = close or (difflib.get_close_matches(name, list(known), n=1) if usable else [])
    return f"; did you mean {close[0]!r}?" if close else ""


def _typed(name: str, value: Any, annotation: Any) -> Any:
    if isinstance(value, list | tuple):  # int | tuple[int, ...]
        annotation = next((kind for kind in get_args(annotation) if get_origin(kind) is tuple), annotation)
    if get_origin(annotation) is tuple:  # tuple[int, ...], which JSON has as a list
        items = list(value) if isinstance(value, list | tuple) else None
        fits = items is not None and len(items) <= MOST_ITEMS
        require(fits, f"config field {name!r} is {shown(value)}; allowed: a list of at most {MOST_ITEMS:,} values")
        return tuple(_typed(f"{name}[{i}]", item, get_args(annotation)[0]) for i, item in enumerate(items))
    allowed = get_args(annotation) or (annotation,)  # int | None -> (int, NoneType)
    if type(value) is int and float in allowed and int not in allowed:
        value = float(value) if abs(value) < 2**1023 else math.inf  # a larger one is no float
    named = " or ".join("null" if t is NoneType else "list" if get_origin(t) is tuple else t.__name__ for t in allowed)
    if type(value) not in allowed:
        raise InputError(f"config field {name!r} is {shown(value)}; allowed: {named}")
    if type(value) is int and abs(value) >= 2**63:
        raise InputError(f"config field {name!r} is {shown(value)}; allowed: whole numbers of 64 bits")
    finite = not isinstance(value, float) or math.isfinite(value)
    require(finite, f"config field {name!r} is {value}; allowed: a finite number")
    return value
