"""Which strings stand at a place of a text, and where they stand in it, however many they are and however long."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby

_NONE = -1, -1


class Prefixes:
    """Strings, sorted; a few numbers each are all the memory this takes.

    Of the strings that are not greater than the text from a place on, the last begins with every string that stands
    there. inner: for each string the longest other one that it begins with, -1 for none. On that way up, `_far` skips
    some, so that n strings take log n steps (Myers, Information Processing Letters 17(5), 1983).
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = sorted(set(strings))
        self.inner: list[int] = []
        self._far, depth, way = [-1] * (len(self.strings) + 1), [0] * (len(self.strings) + 1), []
        for i, string in enumerate(self.strings):  # [-1] is the empty string, which every string begins with
            while way and not string.startswith(self.strings[way[-1]]):
                way.pop()
            up = way[-1] if way else -1
            far = self._far[up]
            even = depth[up] - depth[far] == depth[far] - depth[self._far[far]]
            self.inner.append(up)
            self._far[i], depth[i] = self._far[far] if even else up, depth[up] + 1
            way.append(i)
        self._longest = max(map(len, self.strings), default=0)
        self._ranges: dict[str, tuple[int, int]] = {}  # where those stand that begin with these two characters
        end = 0
        for head, group in groupby(string[:2] for string in self.strings):
            start, end = end, end + sum(1 for _ in group)
            self._ranges[head] = start, end

    def longest(self, text: str, at: int = 0) -> int:
        """The index of the longest string that stands at this place, -1 for none; `inner` leads to the others."""
        strings, far = self.strings, self._far
        found = self._ranges.get(text[at : at + 2])
        i = bisect_right(strings, text[at : at + self._longest], *found) - 1 if found else -1
        if not found or i < found[0]:  # a single character at most stands there
            return self._ranges.get(text[at], _NONE)[0]
        while i >= 0 and not text.startswith(strings[i], at):
            i = far[i] if far[i] >= 0 and not text.startswith(strings[far[i]], at) else self.inner[i]
        return i


class Finder:
    """Finds strings in a text: the leftmost first, of several at one place the longest, none over another."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._prefixes = Prefixes(strings)
        first = {string[0] for string in self._prefixes.strings}
        marked = "".join(re.escape(char) for char in sorted(first) if char < "\U00010000")
        beyond = "\U00010000-\U0010ffff" if max(first, default="") >= "\U00010000" else ""
        self._first = re.compile(f"[{marked}{beyond}]" if first else "(?!)")

    def match(self, text: str, at: int) -> int:
        """The length of the string that stands at this place, 0 for none."""
        found = self._prefixes.longest(text, at) if self._first.match(text, at) else -1
        return len(self._prefixes.strings[found]) if found >= 0 else 0

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand: (start, end)."""
        at, search = 0, self._first.search
        while hit := search(text, at):
            start = hit.start()
            at = start + self.match(text, start)
            if at > start:
                yield start, at
            at = max(at, start + 1)

    def split(self, text: str) -> list[str]:
        """What stands before the first, the first, what stands between it and the second, …, what stands behind."""
        if not self._first.search(text):
            return [text]
        parts, at = [], 0
        for start, end in self.spans(text):
            parts += [text[at:start], text[start:end]]
            at = end
        return [*parts, text[at:]]
