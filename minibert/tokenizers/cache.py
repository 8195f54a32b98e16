"""A bounded memory of a function of short texts."""

from collections.abc import Callable

_CACHED = 1 << 17  # entries a cache may hold
_CACHED_CHARS = 64  # longer keys hardly come again


class Cache(dict[str, tuple[int, ...]]):
    """text -> f(text), emptied when full; what to look up again and again goes through `cache.__getitem__`."""

    def __init__(self, function: Callable[[str], tuple[int, ...]]) -> None:
        self.function = function

    def __missing__(self, key: str) -> tuple[int, ...]:
        value = self.function(key)
        if len(key) <= _CACHED_CHARS:
            if len(self) >= _CACHED:
                self.clear()
            self[key] = value
        return value
