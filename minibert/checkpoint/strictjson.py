"""JSON as the standard has it: UTF-8, no repeated keys, no NaN, no bottomless nesting."""

import json
from typing import Any

from minibert.config import shown
from minibert.errors import InputError


def loads(data: bytes, source: str) -> Any:
    """The parsed value; anything wrong is one line of InputError that begins with `source`."""
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
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


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def dumps(value: Any) -> bytes:
    """Compact UTF-8 in the order of the keys."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
