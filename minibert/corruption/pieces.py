"""What a word is made of, as fastText has it (facebookresearch/fastText, `dictionary.cc`): character n-grams, hashed to
rows of a table; of Chinese characters their components.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.config import require

Array = np.ndarray

IGNORED = -100
END = "</s>"  # of a sentence, in the release's files: a word without n-grams
DESCRIBING = {*map(chr, range(0x2FF0, 0x3000))}  # how components stand to each other, in ideographic descriptions


def hashed(text: str) -> int:
    """32 bits of FNV-1a over UTF-8, each byte taken as a signed number first, as the released models have it."""
    found = 2166136261
    for byte in text.encode("utf-8"):
        found = (found ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return found


def grams(word: str, least: int, most: int) -> list[str]:
    """The n-grams of <word> of least … most characters, in the release's order; neither < nor > by itself. None where
    most is 0.
    """
    text = f"<{word}>"
    return [text[begin : begin + n] for begin in range(len(text)) for n in range(max(1, least), most + 1)
            if begin + n <= len(text) and not (n == 1 and begin in (0, len(text) - 1))]  # fmt: skip


def components(path: str) -> dict[str, str]:
    """The decompositions of a JSON file {character: components}, an ideographic description or a plain list of them:
    {"河": "⿰氵可"}.
    """
    table = strictjson.loads(reading.contents(path), path)
    fits = isinstance(table, dict) and all(isinstance(text, str) and len(of) == 1 for of, text in table.items())
    require(fits, f"{path} must hold the components of characters as a JSON object: {{character: components}}")
    return {of: "".join(part for part in text if part not in DESCRIBING) for of, text in table.items()}


def spelt(word: str, known: Mapping[str, str]) -> str:
    """The word with its characters' components in the place of those that are known."""
    return "".join(known.get(character, "") or character for character in word)


def rows(word: str, least: int, most: int, bucket: int, known: Mapping[str, str] | None = None) -> list[int]:
    """The rows of a word's n-grams, none of the end of a sentence; known: components, over which they then go."""
    found = grams(spelt(word, known or {}), least, most) if word != END else []
    return [hashed(gram) % bucket for gram in found]


def phrases(hashes: Array, there: Array, most: int, bucket: int) -> Array:
    """(B, most - 1, T): the rows of the n-grams of 2 … most words that begin at each word, IGNORED where they would go
    beyond what is there, bits (B, T). hashes: of each word (B, T), as 32 bits with a sign; the release's arithmetic has
    64 without one (`Dictionary::addWordNgrams`).
    """
    found = np.full((len(hashes), most - 1, hashes.shape[1]), IGNORED, np.int32)
    own, whole = hashes.astype(np.uint32).view(np.int32).astype(np.int64).astype(np.uint64), there.astype(bool)
    total = own
    for n in range(1, min(most, hashes.shape[1])):
        total = total[:, :-1] * np.uint64(116049371) + own[:, n:]
        whole = whole[:, :-1] & there[:, n:].astype(bool)
        found[:, n - 1, :-n] = np.where(whole, (total % np.uint64(bucket)).astype(np.int64), IGNORED)
    return found


def images(words: Sequence[str], characters: Sequence[str], first: int) -> Array:
    """(G, V): the rows of the images of each word's characters, those of `characters` from row `first` on, in the order
    of the word; IGNORED behind them. A character that has no image has no row.
    """
    rows = {character: first + i for i, character in enumerate(characters)}
    found = [[rows[character] for character in word if character in rows] for word in words]
    made = np.full((max(1, *map(len, found)), len(found)), IGNORED, np.int32)
    for i, own in enumerate(found):
        made[: len(own), i] = own
    return made


def table(
    words: Sequence[str], least: int, most: int, bucket: int, known: Mapping[str, str] | None = None
) -> Array:  # fmt: skip
    """(G, V): the rows of each word's n-grams, IGNORED behind them; of "" and nothing else none."""
    found = [rows(word, least, most, bucket, known) if word else [] for word in words]
    made = np.full((max(1, *map(len, found)), len(found)), IGNORED, np.int32)
    for i, own in enumerate(found):
        made[: len(own), i] = own
    return made
