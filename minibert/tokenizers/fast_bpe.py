"""Byte-pair encoding as XLM has it: words cut before, "@@" behind every piece that its word goes on after.

Sennrich, Haddow, Birch, arXiv:1508.07909, algorithm 1; Conneau and Lample, arXiv:1901.07291, section 3.1: one
vocabulary for all languages. Released code: glample/fastBPE, facebookresearch/XLM (`xlm/data/dictionary.py`). The
characters of a word, the last with </w> behind it, are merged pair by pair, the pair that was learnt first before all
others. Two layouts of files are read, of which the first is written:

    codes, vocab            the release's: a pair and its count a line; a piece as text has it (lo@@ w) and its count.
                            <s> </s> <pad> <unk> <special0> … <special9> come before all pieces and stand in no file
    vocab.json, merges.txt  ports': {"lo": id, "w</w>": id}, special tokens among them, and the pairs

Words are BERT's (`characters`): white space, and every mark of punctuation and ideograph by itself. The release cuts
them with Moses's rules for most languages and segmenters for Chinese, Japanese and Thai, before it looks up a piece; a
text that was cut like that is cut no further here, but for the marks within a word. A piece that is not in the
vocabulary is one <unk>, as in ports; fastBPE takes it apart again.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import characters, encoding, merges, published, settings
from minibert.tokenizers.added import Added, Kept, Part
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.layout import Layout

SPECIALS = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<special1>"}
FIRST = ("<s>", "</s>", "<pad>", "<unk>", *(f"<special{i}>" for i in range(10)))  # the release's ids 0 to 13
END, GOES_ON = "</w>", "@@"
COVERAGE = 0.9995  # the share of the characters of a text that are pieces, the most frequent ones
CODES, VOCAB = "codes", "vocab"
CLASS = "XLMTokenizer"
_WORD = re.compile("[^ ]+")
_SAVED = ("vocabulary", "merges", "specials", "tokens", "lowercase", "layout")


class FastBPE(encoding.Tokenizer):
    """vocabulary: the pieces by id, special tokens first, spelt as in text: "lo@@", "w"; merges: pairs of symbols in
    the order in which they were learnt, "</w>" behind the last of a word.

    lowercase: also strips accents, as the release's models of 15 languages do. specials: the tokens of the roles; cls
    and sep are </s>, which the release puts around every text (ports put <s> before it). specials_in_text: False reads
    a literal "</s>" as ordinary text.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        merges: Sequence[tuple[str, str]],
        specials: Mapping[str, str] = SPECIALS,
        lowercase: bool = False,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(lowercase=lowercase, specials_in_text=specials_in_text)
        self.vocabulary, self.merges = encoding.listed("vocabulary", vocabulary), encoding.listed("merges", merges)
        self.specials, self.lowercase = encoding.table("specials", specials), lowercase
        self._ranks = _ranked(self.merges)
        known = encoding.indexed(self.vocabulary)
        encoding.check_specials(self.specials, SPECIALS.keys(), known)
        special = {token for token in (*FIRST, *self.specials.values()) if token in known}
        self.added = {token: Added() for token in sorted(special, key=known.__getitem__)}
        self.tokens, self.index = encoding.with_added(self.vocabulary, self.added)
        eos = self.specials["eos"]
        single = ((eos, 0), (0, 0), (eos, 0))
        self.layout = Layout(single, (*single, (eos, 0), (1, 0), (eos, 0)))
        self.pad_id, self.bos_id, self.eos_id, self.unk_id, self.mask_id = (
            self.index[self.specials[role]] for role in ("pad", "bos", "eos", "unk", "mask")
        )
        self.cls_id = self.sep_id = self.eos_id
        self.special_ids = frozenset(map(self.index.__getitem__, self.added))
        self.continues = None  # whether a piece goes on a word is said by the one before it
        self._normal = characters.Normal(lowercase, lowercase, True)
        self._kept = Kept(self.added, self.index, self._normal.unsplit, specials_in_text)
        self._words = Cache(self._merged)

    def _of_part(self, part: Part) -> Iterable[int]:
        return chain.from_iterable(ids for ids, _ in map(self._words.__getitem__, self._found(part.text)))

    def _found(self, text: str) -> Iterable[str]:
        return chain.from_iterable(map(self._normal.words, self._normal.chunks(text)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids, a blank between words."""
        kept = encoding.kept(ids, len(self), self.special_ids if skip_special_tokens else frozenset())
        return " ".join(self.tokens[i] for i in kept).replace(f"{GOES_ON} ", "").removesuffix(GOES_ON)

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        normal, sources = self._normal.aligned(part.text)
        for word in _WORD.finditer(normal):
            found, lengths = self._words[word[0]]
            ids += found
            begin = word.start()
            for length in lengths:
                spans.append(part.span(sources[begin], sources[begin + length - 1]))
                begin += length

    def _merged(self, word: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(the ids of one word's pieces, how many of its characters each has)."""
        symbols = merges.merged([*word[:-1], word[-1] + END], self._ranks)
        pieces = [*(symbol + GOES_ON for symbol in symbols[:-1]), symbols[-1].removesuffix(END)]
        lengths = [*map(len, symbols[:-1]), len(pieces[-1])]
        special = self.added.keys()
        return tuple(self.unk_id if p in special else self.index.get(p, self.unk_id) for p in pieces), tuple(lengths)

    # Learning

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        lowercase: bool = False,
        min_frequency: int = 2,
        specials: Mapping[str, str] = SPECIALS,
        progress: Callable[[int, int], object] | None = None,
    ) -> "FastBPE":
        """A vocabulary learnt from the texts: of the size asked, or smaller once no pair occurs `min_frequency` times.

        The special tokens as released; the most frequent characters that make up COVERAGE of the text, within a word
        and at its end, by code point; merged pieces as learnt (the release orders them by how often they occur).
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.flags(lowercase=lowercase)
        normal = characters.Normal(lowercase, lowercase, True)
        words = merges.counted(texts, normal.chunks, normal.words)
        counts: dict[str, int] = {}
        for word, count in words.items():
            for char in word:
                counts[char] = counts.get(char, 0) + count
        room, alphabet = COVERAGE * sum(counts.values()), set()
        for char in sorted(counts, key=lambda char: (-counts[char], char)):
            if room <= 0:
                break
            alphabet.add(char)
            room -= counts[char]
        known = {word: count for word, count in sorted(words.items()) if alphabet.issuperset(word)}
        if not known:
            raise InputError("no words to learn a vocabulary from: the texts are empty")
        spelt = {word: [*word[:-1], word[-1] + END] for word in known}
        start = sorted({symbol for symbols in spelt.values() for symbol in symbols})
        first = [*FIRST, *(token for token in specials.values() if token not in FIRST)]
        room = vocabulary_size - len(first)
        if room < len(start):
            due = f"{len(first) + len(start)}, special tokens and characters"
            raise InputError(f"vocabulary_size {vocabulary_size} is below {due}: raise it")
        index = {symbol: i for i, symbol in enumerate(start)}
        found = [[index[symbol] for symbol in symbols] for symbols in spelt.values()]
        symbols, pairs = merges.learned(found, list(known.values()), start, room, join=str.__add__,
                                        min_frequency=min_frequency, progress=progress)  # fmt: skip
        named = reversed(dict.fromkeys(reversed(pairs)))
        pieces = [*first, *map(_piece, symbols)]
        return cls(pieces, [(symbols[left], symbols[right]) for left, right in named], specials, lowercase)

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True) -> "FastBPE":
        """From a directory with the release's two files or ports', or from a `vocab` beside its `codes`; settings
        beside them name special tokens, and say whether text becomes lower case.
        """
        path = published.place(path)
        folder = path if path.is_dir() else path.parent
        release = (folder / VOCAB).is_file()
        files = (folder / CODES, folder / VOCAB) if release else (folder / "merges.txt", folder / "vocab.json")
        said, source = settings.read(files[1], (CLASS,), False)
        flags = settings.flags(said, ("do_lowercase_and_remove_accent",), source)
        specials = settings.specials(said, SPECIALS, source)
        pieces = [*FIRST, *_listed(files[1])] if release else _ported(files[1])
        with published.named(files[0]):
            pairs = [(found[0], found[1]) for found in map(str.split, published.lines(files[0])) if len(found) > 1
                     and not found[0].startswith("#version")]  # fmt: skip
        with published.named(files[1]):
            lowercase = flags.get("do_lowercase_and_remove_accent", False)
            return cls(pieces, pairs, specials, lowercase, specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write codes, vocab and the two files of settings."""
        own = [token for token in self.vocabulary if token not in FIRST]
        fits = self.vocabulary[: len(FIRST)] == list(FIRST)
        if not fits:
            raise InputError(f"the vocabulary does not begin with {FIRST[0]} … {FIRST[-1]}, as the release's files do")
        files = {
            CODES: "".join(f"{left} {right} 1\n" for left, right in self.merges).encode("utf-8"),
            VOCAB: "".join(f"{piece} 1\n" for piece in own).encode("utf-8"),
        }
        names = {f"{role}_token": token for role, token in self.specials.items()}
        said = {"tokenizer_class": CLASS, "do_lowercase_and_remove_accent": self.lowercase, **names}
        published.write(directory, files, None, said, self._require_saved)

    def _require_saved(self, folder: Path) -> None:
        published.require_same(self, type(self).load(folder), _SAVED)


def _piece(symbol: str) -> str:
    """A symbol as a text has it."""
    return symbol.removesuffix(END) if symbol.endswith(END) else symbol + GOES_ON


def _ranked(pairs: Sequence[Any]) -> dict[tuple[str, str], tuple[int, str]]:
    """pair -> (rank, the symbol of the two); of one that stands twice the first, as in the release."""
    if len(pairs) > encoding.MOST_PIECES:
        raise InputError(f"{len(pairs)} merges; a vocabulary may have {encoding.MOST_PIECES} pieces")
    ranks: dict[tuple[str, str], tuple[int, str]] = {}
    for rank, pair in enumerate(pairs):
        fits = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(s, str) and s for s in pair)
        if not fits or len(pair[0]) + len(pair[1]) > encoding.LONGEST_PIECE:
            raise InputError(f"merge {rank} is {shown(pair)}, not two symbols")
        ranks.setdefault((pair[0], pair[1]), (rank, pair[0] + pair[1]))
    return ranks


def _listed(path: Path) -> list[str]:
    """The pieces of the release's file, of which those that stand before them are none."""
    pieces = []
    for number, line in enumerate(published.lines(path), 1):
        piece, _, count = line.rpartition(" ")
        if not (piece and count.isascii() and count.isdigit()):
            raise InputError(f"{path}, line {number}: {shown(line)} is no piece with its count")
        pieces.append(piece)
    return pieces


def _ported(path: Path) -> list[str]:
    """The pieces of ports' file, spelt as text has them."""
    found = published.by_id(published.read(path), path)
    return [piece if piece in FIRST or not piece else _piece(piece) for piece in found]
