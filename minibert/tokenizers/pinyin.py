"""How Chinese characters are read aloud: pinyin as letters, for models that see them (ChineseBERT, arXiv 2106.16038).

A reading is spelt with its tone behind it, hao3, as pypinyin's style TONE3 does; ü is v. It becomes LENGTH numbers of
LETTERS, 0 behind its end; whatever is not one Chinese character has none, 0 throughout. The order of the letters is the
release's, as ports print it; it stands in a file of its checkpoint, too (config/pinyin_map.json). A neutral tone has no
digit, as pypinyin says it; a port with another reader spells it 5.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
import regex

from minibert import reading
from minibert.config import require
from minibert.errors import InputError

LETTERS = "_12345abcdefghijklmnopqrstuvwxyz"
LENGTH = 8
FILE = "config/pinyin_map.json"
PROGRAM = "pypinyin"
Reader = Callable[[str], Sequence[str]]  # Chinese characters -> how each is read, "" where nobody knows

_HAN = regex.compile(r"\p{Han}")


def reader(source: str) -> Reader:
    """pypinyin (an extra), which chooses among several readings by the words around, or a UTF-8 file: a character and
    its reading a line, white space between. InputError: not installed, cannot be read, or another line.
    """
    return _pypinyin() if source == PROGRAM else _listed(source)


def _pypinyin() -> Reader:
    try:
        import pypinyin
    except ModuleNotFoundError:
        advice = "install it (pip install minibert[chinese]), or give a file of readings"
        raise InputError(f"pinyin {PROGRAM!r} is not installed: {advice}") from None

    def read(text: str) -> list[str]:
        found = pypinyin.pinyin(text, style=pypinyin.Style.TONE3, heteronym=True, errors=lambda x: [[""] for _ in x])
        return [readings[0] for readings in found]

    return read


def _listed(path: str) -> Reader:
    known: dict[str, str] = {}
    for n, line in enumerate(reading.text(path).splitlines()):
        fields = line.split()
        fits = not fields or (len(fields) == 2 and _HAN.fullmatch(fields[0]) and any(spelt(fields[1])))
        require(bool(fits), f"{path}, line {n + 1}: a Chinese character and its pinyin are due, such as 好 hao3")
        known |= dict([fields]) if fields else {}
    return lambda text: [known.get(char, "") for char in text]


def spelt(pinyin: str) -> list[int]:
    """The letters of a reading, LENGTH of them; all 0 for one with other letters, or too many, as in the release."""
    numbers = [LETTERS.find(letter) for letter in pinyin]
    fits = len(numbers) <= LENGTH and all(number > 0 for number in numbers)
    return [*numbers, *[0] * (LENGTH - len(numbers))] if fits else [0] * LENGTH


def of_tokens(tokens: Sequence[str], read: Reader) -> np.ndarray:
    """(T, LENGTH) the letters of a text's tokens; characters that stand side by side are read together."""
    found = np.zeros((len(tokens), LENGTH), np.int32)
    han = [bool(_HAN.fullmatch(token)) for token in tokens]
    begin = 0
    while begin < len(tokens):
        end = begin + 1
        while han[begin] and end < len(tokens) and han[end]:
            end += 1
        if han[begin]:
            found[begin:end] = [spelt(pinyin) for pinyin in read("".join(tokens[begin:end]))]
        begin = end
    return found


def mapped() -> str:
    """The text of FILE, as the release has it."""
    return json.dumps({"idx2char": [*LETTERS], "char2idx": {letter: i for i, letter in enumerate(LETTERS)}}) + "\n"
