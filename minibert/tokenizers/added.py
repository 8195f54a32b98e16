"""Added tokens, which are kept whole in a text whatever the pieces are: how, and where they stand in it.

As the published tokenizer (Hugging Face `tokenizers`) finds them: first all that are looked for in the text as it
stands, then, in what lies between, those that are `normalized`, in normalised text and normalised themselves. Always
the leftmost first, of several at one place the longest. Of two that are normalised alike, where the published one takes
either (its order is drawn anew in each process), it is the one of the lower id; one that nothing is left of is never
found. Decoded, a token is written as its file has it; the published one (0.23.3) writes what it is normalised to.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import regex

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers.characters import WHITE_SPACE, WORD
from minibert.tokenizers.prefixes import Finder

Span = tuple[int, int]  # where a piece begins and ends, in characters
_WORD = regex.compile(WORD)


@dataclass(frozen=True)
class Added:
    """How a token is kept whole: lstrip, rstrip: it takes the blanks before or after it along; single_word: only where
    no letter, digit, mark or underscore stands beside it; normalized: it is looked for in normalised text, after those
    that aren't; special: `decode` may skip it."""

    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = True


class Part(NamedTuple):
    """token: the id of the added token that it is, None for what lies between two. text: what stands from `start` to
    `end`; with spans it is normalised, and they say where, counted from `start`, each of its characters stands."""

    token: int | None
    text: str
    start: int
    end: int
    spans: list[Span] | None = None

    def span(self, first: int, last: int) -> Span:
        """Where the characters of its text from `first` to `last`, both included, stand."""
        begin, end = (first, last + 1) if self.spans is None else (self.spans[first][0], self.spans[last][1])
        return self.start + begin, self.start + end


class Kept:
    """Cuts texts at added tokens.

    added: how each is kept; index: their ids; normal: text -> what it is normalised to, and the span in it that each
    character comes from; specials_in_text: False leaves those that are special in what lies between.
    """

    def __init__(
        self,
        added: Mapping[str, Added],
        index: Mapping[str, int],
        normal: Callable[[str], tuple[str, list[Span]]],
        specials_in_text: bool,
    ) -> None:
        found = {token: how for token, how in added.items() if specials_in_text or not how.special}
        items = {token: (how, index[token]) for token, how in found.items()}
        self._plain = {token: item for token, item in items.items() if not item[0].normalized}
        self._normalized: dict[str, tuple[Added, int]] = {}
        for token, item in sorted(items.items(), key=lambda entry: entry[1][1]):
            if item[0].normalized and (text := normal(token)[0]):
                self._normalized.setdefault(text, item)
        self._finders = Finder(self._plain), Finder(self._normalized)
        self._normal = normal

    def parts(self, text: str) -> Iterator[Part]:
        """The text as added tokens and what lies between them."""
        for token, start, end in _cut(text, self._finders[0], self._plain):
            if token is None and self._normalized:
                yield from self._within(text[start:end], start)
            else:
                yield Part(token, text[start:end], start, end)

    def _within(self, text: str, start: int) -> Iterator[Part]:
        """The same of what lies between, which is cut where it is normalised."""
        normal, spans = self._normal(text)
        found = list(_cut(normal, self._finders[1], self._normalized))
        if all(token is None for token, _, _ in found):
            yield Part(None, text, start, start + len(text))
            return
        for token, a, b in found:
            begin = spans[a][0]
            places = [(first - begin, last - begin) for first, last in spans[a:b]]
            yield Part(token, normal[a:b], start + begin, start + spans[b - 1][1], places)


def checked(given: Mapping[str, Added]) -> dict[str, Added]:
    """The mapping; InputError for a token with anything but an Added."""
    for token, how in given.items():
        if not isinstance(how, Added):
            raise InputError(f"added token {shown(token)}: an Added is due, not {shown(how)}")
    return dict(given)


def _cut(text: str, finder: Finder, items: Mapping[str, tuple[Added, int]]) -> Iterator[tuple[int | None, int, int]]:
    """(id, start, end) of the tokens that `finder` finds, with the blanks these take along, and (None, start, end) of
    what lies between."""
    begin = 0
    for start, end in finder.spans(text):
        how, i = items[text[start:end]]
        if how.single_word and (_WORD.match(text[start - 1 : start]) or _WORD.match(text[end : end + 1])):
            continue
        if how.lstrip:
            start = begin + len(text[begin:start].rstrip(WHITE_SPACE))
        while how.rstrip and end < len(text) and text[end] in WHITE_SPACE:
            end += 1
        if begin < start:
            yield None, begin, start
        if start < end:
            yield i, start, end
        begin = end
    if begin < len(text):
        yield None, begin, len(text)
