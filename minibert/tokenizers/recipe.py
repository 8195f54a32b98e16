"""What a tokenizer.json does to a text before WordPiece where that isn't BERT's own: normalizers, then a splitter.

As the published tokenizer (Hugging Face `tokenizers`) has them: decomposition and composition (Unicode Standard Annex
15) of Unicode 9.0, marks of that, lower case character by character of Unicode 17.0, words of Unicode 16.0.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import regex

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import characters
from minibert.tokenizers.characters import PUNCTUATION, WHITE_SPACE, WORD
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.normalization import LATER, compatible, each, marked, placed

Text = tuple[list[str], list[Span]]  # characters, and the span of the given text that each comes from
Step = Callable[[list[str], list[Span]], Text]

BERT_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
BERT_SPLITTER = {"type": "BertPreTokenizer"}
# every character by itself
CHARACTERS = {"type": "Split", "pattern": {"Regex": r"\S"}, "behavior": "Removed", "invert": True}
MOST_STEPS = 16  # normalizers; published files have four at most
_MARKS = "".join(map(regex.escape, map(chr, sorted(PUNCTUATION))))
_SPLITTERS = [
    (BERT_SPLITTER, regex.compile(f"(?V0)[{_MARKS}]|[^{_MARKS}{WHITE_SPACE}]+")),
    ({"type": "Whitespace"}, regex.compile(rf"{WORD}+|[^{WORD.removeprefix('(?V1)')}{WHITE_SPACE}]+")),
    ({"type": "WhitespaceSplit"}, regex.compile(f"[^{WHITE_SPACE}]+")),
    (CHARACTERS, regex.compile(f"[^{WHITE_SPACE}]")),
]


@dataclass(frozen=True)
class Recipe:
    """normalizers, splitter: as a tokenizer.json writes each of them."""

    normalizers: tuple[Mapping[str, Any], ...]
    splitter: Mapping[str, Any]

    def __post_init__(self) -> None:
        if len(self.normalizers) > MOST_STEPS:
            raise InputError(f"{len(self.normalizers)} normalizers; at most {MOST_STEPS} are supported")
        for wanted in self.normalizers:
            _steps(wanted)
        if not any(self.splitter == known for known, _ in _SPLITTERS):
            names = ", ".join(known["type"] for known, _ in _SPLITTERS)
            raise InputError(f"the pre_tokenizer {shown(self.splitter)} is not one that is known of {names}")

    @property
    def lowercase(self) -> bool:
        """Whether one of the normalizers lower-cases."""
        return any(step.get("type") == "Lowercase" or step.get("lowercase") is True for step in self.normalizers)

    def chunks(self, text: str) -> list[str]:
        """The text in parts that can be looked up one by one: the whole, as composition reaches over blanks."""
        return [text]

    def words(self, text: str) -> list[str]:
        """The words of the text, normalised."""
        return self._splitter.findall(self.unsplit(text)[0])

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """The words with a space after each, and for each character the index in `text` that it comes from."""
        normal, spans = self.unsplit(text)
        found = [word.span() for word in self._splitter.finditer(normal)]
        places = [place for start, end in found for place, _ in (*spans[start:end], spans[end - 1])]
        return "".join(f"{normal[start:end]} " for start, end in found), places

    def unsplit(self, text: str) -> tuple[str, list[Span]]:
        """The normalised text before it is split, and the span in `text` of each of its characters."""
        chars, spans = list(text), [(i, i + 1) for i in range(len(text))]
        for step in self._all:
            chars, spans = step(chars, spans)
        return "".join(chars), spans

    def splitting(self) -> "Recipe":
        """What splits a text that `unsplit` has given, and changes nothing else."""
        return Recipe((), self.splitter)

    @cached_property
    def _all(self) -> list[Step]:
        return [step for wanted in self.normalizers for step in _steps(wanted)]

    @cached_property
    def _splitter(self) -> regex.Pattern:
        return next(pattern for known, pattern in _SPLITTERS if known == self.splitter)


def _steps(wanted: Mapping[str, Any]) -> list[Step]:
    """The steps that one normalizer of a tokenizer.json stands for."""
    kind = wanted.get("type")
    if kind == "BertNormalizer" and wanted.keys() == BERT_NORMALIZER.keys():
        return _bert({key: flag for key, flag in wanted.items() if key != "type"})
    if kind == "Strip" and wanted.keys() == {"type", "strip_left", "strip_right"}:
        return [partial(_stripped, bool(wanted["strip_left"]), bool(wanted["strip_right"]))]
    if kind == "Replace" and all(isinstance(text, str) and len(text) == 1 for text in _replaced(wanted)):
        return [partial(each, partial(_other, *_replaced(wanted)))]
    if not isinstance(kind, str) or kind not in _STEPS or len(wanted) > 1:
        known = f"{', '.join(_STEPS)}, BertNormalizer, Strip, or Replace of a character by one"
        raise InputError(f"the normalizer {shown(wanted)} is not {known}")
    return _STEPS[kind]


def replaced(old: str, new: str) -> dict[str, Any]:
    """The normalizer that replaces a character by one."""
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _replaced(wanted: Mapping[str, Any]) -> tuple[Any, Any]:
    pattern = wanted.get("pattern")
    return (pattern.get("String") if isinstance(pattern, dict) else None), wanted.get("content")


def _other(old: str, new: str, char: str) -> str:
    return new if char == old else char


def _bert(flags: dict[str, Any]) -> list[Step]:
    """BERT's, each part where it is asked for."""
    for name, flag in flags.items():
        if type(flag) is not bool and (name, flag) != ("strip_accents", None):
            raise InputError(f"the normalizer's {name} is {shown(flag)}, not true or false")
    stripped = flags["lowercase"] if flags["strip_accents"] is None else flags["strip_accents"]
    return [
        *([partial(each, _cleaned)] if flags["clean_text"] else []),
        *([partial(each, _apart)] if flags["handle_chinese_chars"] else []),
        *([*_STEPS["NFD"], partial(_without, _nonspacing)] if stripped else []),
        *(_STEPS["Lowercase"] if flags["lowercase"] else []),
    ]


def _cleaned(char: str) -> str:
    code = ord(char)
    return "" if code in characters.REMOVED else " " if code in characters.BLANK else char


def _nonspacing(char: str) -> bool:
    return ord(char) in characters.MARK


def _apart(char: str) -> str:
    return f" {char} " if ord(char) in characters.CJK else char


def _without(unwanted: Callable[[str], bool], chars: Iterable[str], spans: list[Span]) -> Text:
    """What is left when the unwanted characters are taken out."""
    kept = [(char, span) for char, span in zip(chars, spans, strict=True) if not unwanted(char)]
    return [char for char, _ in kept], [span for _, span in kept]


def _stripped(left: bool, right: bool, chars: list[str], spans: list[Span]) -> Text:
    """Without the blanks at its ends."""
    first, last = 0, len(chars)
    while left and first < last and chars[first] in WHITE_SPACE:
        first += 1
    while right and first < last and chars[last - 1] in WHITE_SPACE:
        last -= 1
    return chars[first:last], spans[first:last]


def _normalised(decomposed: Callable[[str], str], composed: bool, chars: list[str], spans: list[Span]) -> Text:
    """One of the four normal forms; a change goes with its character, as in `placed`."""
    parts = [(part, int(n > 0)) for char in chars for n, part in enumerate(decomposed(char))]
    ordered: list[tuple[str, int]] = []
    for _, run in groupby(parts, key=lambda item: characters.combining_class(item[0]) == 0):
        ordered += sorted(run, key=lambda item: characters.combining_class(item[0]))
    ordered = _composed(ordered) if composed else ordered
    return [char for char, _ in ordered], placed([change for _, change in ordered], spans)


def _composed(parts: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Characters joined to the last starter before them, unless one of the same or a higher class stands between."""
    out: list[tuple[str, int]] = []
    starter, last = -1, 0  # where the starter is in `out`, and the class of what stands last behind it
    for char, change in parts:
        kind = characters.combining_class(char)
        adjacent = starter == len(out) - 1
        if starter >= 0 and (adjacent or last < kind) and (joined := _pair(out[starter][0], char)):
            out[starter] = joined, out[starter][1] + change - 1
            continue
        if kind == 0:
            starter = len(out)
        last = kind
        out.append((char, change))
    return out


def _pair(first: str, second: str) -> str | None:
    """The one character, of Unicode 9.0, that two compose to, if they do."""
    joined = unicodedata.normalize("NFC", first + second)
    return joined if len(joined) == 1 and ord(joined) not in LATER else None


_STEPS: dict[str, list[Step]] = {
    "NFC": [partial(_normalised, characters.decomposition, True)],
    "NFD": [partial(_normalised, characters.decomposition, False)],
    "NFKC": [partial(_normalised, compatible, True)],
    "NFKD": [partial(_normalised, compatible, False)],
    "Lowercase": [partial(each, characters.lower)],
    "StripAccents": [partial(_without, marked)],
}
