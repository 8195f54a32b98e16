"""JSON as the standard has it: UTF-8, no repeated keys, no NaN or infinity, no bottomless nesting or endless lists.

A byte order mark in front is passed over, as the standard allows.
"""

import json
import math
from collections.abc import Callable
from typing import Any

from minibert.config import shown
from minibert.errors import InputError

MOST = 1 << 22  # values: as Python objects half a gigabyte; a quarter million of pieces with scores are a fifth of it


def loads(data: bytes, source: str) -> Any:
    """The parsed value; anything wrong is one line of InputError that begins with `source`."""
    strict = {"parse_constant": _no_constant, "parse_float": _finite, "object_pairs_hook": _unique}
    return _parsed(data, source, json.JSONDecoder(**strict).decode)


def as_written(data: bytes, source: str) -> Any:
    """The same of what Python's own writer makes: NaN and infinities are floats, and a key may stand twice. One that
    says two things has the value `Twice`, which fits nowhere: refused where it is read, passed over where it isn't.
    """
    return _parsed(data, source, json.JSONDecoder(object_pairs_hook=_last).decode)


class Twice:
    """What a repeated key says: two values."""

    def __init__(self, first: Any, second: Any):
        self.first, self.second = first, second

    def __repr__(self) -> str:
        return f"{self.first!r}, and then {self.second!r}"


def _parsed(data: bytes, source: str, decode: Callable[[str], Any]) -> Any:
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST:  # no fewer than there are values
        raise InputError(f"{source} has more than {MOST} commas and brackets, the most that is read")
    try:
        return decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise InputError(f"{source} is not usable JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{source} is not usable JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs: a repeated key, or one that has no UTF-8, is a ValueError."""
    fields = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"the key {shown(key)} stands twice")
        key.encode("utf-8")
        fields[key] = value
    return fields


def _last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; what a repeated key says, if it is the same, else both."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        key.encode("utf-8")
        again = key in fields and not isinstance(fields[key], Twice) and repr(fields[key]) != repr(value)
        fields[key] = Twice(fields[key], value) if again else fields.get(key, value)
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{shown(digits)} is beyond every float64")
    return number


def dumps(value: Any) -> bytes:
    """Compact UTF-8 in the order of the keys."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
