"""A function's answers, remembered: words come again and again."""

from collections.abc import Callable
from typing import Any

ENTRIES = 1 << 17  # that a cache may hold
CHARACTERS = 64  # longer keys hardly come again


class Cache(dict[str, Any]):
    """word -> function(word), emptied when full."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        self.function = function

    def __missing__(self, key: str) -> Any:
        value = self.function(key)
        if len(key) <= CHARACTERS:
            if len(self) >= ENTRIES:
                self.clear()
            self[key] = value
        return value
