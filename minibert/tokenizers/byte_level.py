"""GPT-2's and RoBERTa's tokenizer: byte-pair encoding over the bytes of UTF-8, so that no text is unknown.

Radford et al. 2019, section 2.2 (released code: openai/gpt-2, encoder.py); Liu et al., arXiv:1907.11692, section 4.4;
merging: Sennrich et al., arXiv:1508.07909. A text is cut into words by GPT-2's pattern, a blank belonging to the word
after it; the bytes of each word are merged pair by pair, the pair of the lowest rank first. Each byte is written as
a visible character, the blank as Ġ. Where the released code and the published fast tokenizer (Hugging Face
`tokenizers`) differ, this follows the latter, id for id and offset for offset:
- added tokens standing literally in the text are kept whole; RoBERTa's <mask> takes the blanks before it along;
- letters and numbers are those of Unicode 16.0, whatever version `regex` has;
- offsets leave out the blanks of a piece (`Layout.trimmed`); a character of several pieces belongs to each of them;
- a pair too long loses tokens from the longer, as in `encoding.truncated_lengths`.
Other than there, `Encoding.tokens` names <mask> as the vocabulary does, without the blanks it took along, and a
vocabulary that lacks one of the 256 bytes is refused.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain, count, repeat

import numpy as np
import regex

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import byte_level_files, characters, encoding, layout, merges, published
from minibert.tokenizers.added import Added, Kept, Part, checked
from minibert.tokenizers.byte_level_files import ROLES, SPECIALS
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.layout import SPACE, Layout
from minibert.tokenizers.merges import ranked

# Letters and numbers that came with Unicode 15.0 to 16.0, and those that came later, up to 18.0.
_NEW_LETTERS, _NEW_NUMBERS, _LATER_LETTERS, _LATER_NUMBERS = (
    "".join(f"{chr(int(a, 16))}-{chr(int(b or a, 16))}" for a, _, b in (part.partition("-") for part in ranges.split()))
    for ranges in ("""
    1C89-1C8A A7CB-A7CD A7DA-A7DC 105C0-105F3 10D4A-10D65 10D6F-10D85 10EC2-10EC4 1123F-11240 11380-11389 1138B
    1138E 11390-113B5 113B7 113D1 113D3 11BC0-11BE0 11F02 11F04-11F10 11F12-11F33 1342F 13441-13446 13460-143FA
    16100-1611D 16D40-16D6C 18CFF 1B132 1B155 1DF25-1DF2A 1E030-1E06D 1E4D0-1E4EB 1E5D0-1E5ED 1E5F0 2B739
    2EBF0-2EE5D 31350-323AF
    """, """
    10D40-10D49 116D0-116E3 11BF0-11BF9 11F50-11F59 16130-16139 16D70-16D79 1CCF0-1CCF9 1D2C0-1D2D3 1E4F0-1E4F9
    1E5F1-1E5FA
    """, """
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D 107BB-107BF 10940-10959
    10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DF1 16EA0-16EB8 16EBB-16ED3 16FF2-16FF3 187F8-187FF 18CD6-18CDA
    18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96
    1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E
    2CEA2-2CEAD 323B0-33479 3D000-3FC3F
    """, """
    11DE0-11DE9 1246F 12475-1247F 12550-12686 16FF4-16FF6
    """)
)  # fmt: skip
_LETTER, _NUMBER = rf"[[\p{{L}}{_NEW_LETTERS}]--[{_LATER_LETTERS}]]", rf"[[\p{{N}}{_NEW_NUMBERS}]--[{_LATER_NUMBERS}]]"
# A contraction, or letters, numbers or others with one space before them, or blanks; of blanks before a word the last
# one is left over: a space goes to the word, any other stands alone.
_WORD = regex.compile(
    rf"(?V1)'s|'t|'re|'ve|'m|'ll|'d| ?{_LETTER}+| ?{_NUMBER}+| ?[^\s{_LETTER}{_NUMBER}]+|\s+(?!\S)|\s+"
)
_SAVED = ("vocabulary", "merges", "specials", "added", "tokens", "lowercase", "add_prefix_space", "layout")
_CHUNK = re.compile(r"(?= \S)")  # a space before a word begins a word, whatever stands before it


def _characters() -> str:
    """The 256 characters that stand for the bytes: 188 visible ones for themselves, the rest from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = count(0x100)
    return "".join(chr(byte if byte in visible else next(others)) for byte in range(256))


CHARACTERS = _characters()
_BYTE = {char: byte for byte, char in enumerate(CHARACTERS)}


class ByteLevelBPE(encoding.Tokenizer):
    """vocabulary: the pieces in the order of their ids; merges: pairs of pieces, the first to be merged first.

    specials: the tokens of the roles, RoBERTa's five or GPT-2's bos, eos and unk; a role may be absent, its id is None
    then (bos_id and eos_id are cls_id and sep_id where these alone are there). added: the tokens kept whole in text
    and how; the special ones are among them anyway, and those not in the vocabulary get the ids after it. lowercase:
    character by character, as in `characters`. add_prefix_space: begin with a space what doesn't. around: what `encode`
    puts around the pieces; unless given, RoBERTa's <s> and </s>, of a vocabulary without cls and sep nothing.
    specials_in_text: False reads a literal "</s>" as ordinary text, for text that nobody vouches for.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        merges: Sequence[tuple[str, str]],
        specials: Mapping[str, str] = SPECIALS,
        added: Mapping[str, Added] | None = None,
        lowercase: bool = False,
        add_prefix_space: bool = False,
        around: Layout | None = None,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(lowercase=lowercase, add_prefix_space=add_prefix_space, specials_in_text=specials_in_text)
        self.vocabulary, self.merges = encoding.listed("vocabulary", vocabulary), encoding.listed("merges", merges)
        self.specials = encoding.table("specials", specials)
        self.lowercase, self.add_prefix_space = lowercase, add_prefix_space
        index = _checked_index(self.vocabulary)
        self._ranks = ranked(self.merges, index)
        self._of_bytes = [index[char] for char in CHARACTERS]
        _check_roles(self.specials)
        self.added = checked(encoding.table("added", added or {}))
        for role, token in self.specials.items():
            if token not in index and token not in self.added:
                lacks = f"the vocabulary of {len(self.vocabulary)} pieces lacks the special token"
                raise InputError(f"{lacks} {shown(token)}")
            self.added.setdefault(token, Added(lstrip=role == "mask"))
        self.tokens, self.index = encoding.with_added(self.vocabulary, self.added)
        self.layout = encoding.checked_layout(around, self.index) or _layout(self.specials, add_prefix_space)
        self.cls_id, self.pad_id, self.sep_id, self.unk_id, self.mask_id = (
            self.index.get(self.specials.get(role)) for role in SPECIALS
        )
        self.bos_id = self.index.get(self.specials.get("bos"), self.cls_id)
        self.eos_id = self.index.get(self.specials.get("eos"), self.sep_id)
        self.special_ids = frozenset(self.index[token] for token, how in self.added.items() if how.special)
        self._kept = Kept(self.added, self.index, self._normal, specials_in_text)
        self._bytes = [spelled(token) for token in self.tokens]
        self.continues = np.array([not token.startswith(SPACE) for token in self.tokens])
        self.continues[[self.index[token] for token in self.added]] = False
        self.continues.flags.writeable = False
        self._words, self._chunks = Cache(self._merged), Cache(self._chunk)

    def _of_part(self, part: Part) -> Iterable[int]:
        between = _spaced(part.text) if self.add_prefix_space else part.text
        return chain.from_iterable(map(self._chunks.__getitem__, _CHUNK.split(between)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids: their bytes as UTF-8, U+FFFD for what isn't; no blank is taken out."""
        kept = encoding.kept(ids, len(self), self.special_ids if skip_special_tokens else frozenset())
        return b"".join(map(self._bytes.__getitem__, kept)).decode("utf-8", "replace")

    # Text to parts, parts to words, words to pieces

    def _normal(self, text: str) -> tuple[str, list[Span]]:
        """The text in lower case, if it is to be, and the span of each character."""
        chars = [*map(characters.lower, text)] if self.lowercase else text
        return "".join(chars), [(i, i + 1) for i, char in enumerate(chars) for _ in char]

    def _chunk(self, text: str) -> tuple[int, ...]:
        """The ids of a text without added tokens."""
        return tuple(chain.from_iterable(map(self._words.__getitem__, _words(text, self.lowercase))))

    def _merged(self, word: str) -> tuple[int, ...]:
        """The ids of one word."""
        return merges.merged([self._of_bytes[byte] for byte in word.encode("utf-8")], self._ranks)

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        between, sources = part.text, range(len(part.text))
        if self.lowercase:
            between, places = self._normal(between)
            sources = [place for place, _ in places]
        if self.add_prefix_space and not between.startswith(" "):  # it stands where the first character does
            between, sources = f" {between}", [0, *sources]
        for word in _WORD.finditer(between):
            places = sources[slice(*word.span())]
            if not word[0].isascii():  # one for each byte
                sizes = (len(char.encode("utf-8")) for char in word[0])
                places = list(chain.from_iterable(map(repeat, places, sizes)))
            found = self._words[word[0]]
            ids += found
            first = 0
            for piece, last in zip(found, accumulate(len(self._bytes[piece]) for piece in found), strict=True):
                spans.append(self.layout.span(self.tokens[piece], *part.span(places[first], places[last - 1])))
                first = last

    # Learning

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        lowercase: bool = False,
        add_prefix_space: bool = False,
        min_frequency: int = 2,
        specials: Mapping[str, str] = SPECIALS,
        added: Sequence[str] = (),
        progress: Callable[[int, int], object] | None = None,
    ) -> "ByteLevelBPE":
        """A vocabulary learnt from the texts: of the size asked, or smaller once no pair occurs `min_frequency` times.

        As the published trainer does: specials, of any roles; the 256 bytes by the code points of their characters;
        merged pieces as learnt, ties to the smaller ids (see `merges`). added: tokens that are kept whole, specials
        among them or not, which stand last. Nothing depends on the process or on hash seeds.
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.flags(lowercase=lowercase, add_prefix_space=add_prefix_space)
        specials = encoding.table("specials", specials)
        _check_roles(specials)
        first = [token for token in specials.values() if token not in added]
        start, least = list(dict.fromkeys([*first, *sorted(CHARACTERS)])), len({*added})
        if vocabulary_size < len(start) + least:
            raise InputError(f"vocabulary_size {vocabulary_size} is below the {len(start) + least} special tokens and "
                             "bytes")  # fmt: skip
        index = {piece: i for i, piece in enumerate(start)}
        words = merges.counted(
            texts,
            lambda text: _CHUNK.split(_spaced(text) if text and add_prefix_space else text),
            lambda chunk: _words(chunk, lowercase),
        )
        pieces, pairs = merges.learned(
            [[index[CHARACTERS[byte]] for byte in word.encode("utf-8")] for word in words],
            list(words.values()),
            start,
            vocabulary_size - least,
            join=str.__add__,
            min_frequency=min_frequency,
            progress=progress,
        )
        ranked = reversed(dict.fromkeys(reversed(pairs)))  # of a pair merged twice the later rank, as published
        named = [(pieces[left], pieces[right]) for left, right in ranked]
        kept = {token: Added() for token in added}
        return cls(pieces, named, specials, kept, lowercase=lowercase, add_prefix_space=add_prefix_space)

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True) -> "ByteLevelBPE":
        """From a published directory, its `tokenizer.json` (preferred), or its `vocab.json` and `merges.txt`, which
        GPT-2's release calls `encoder.json` and `vocab.bpe`.

        The settings beside it name the special tokens and further added ones, and for a `vocab.json` the rest; what
        they don't say is as RoBERTa's (no prefix space, <mask> takes blanks before it) or, where <|endoftext|> is a
        piece and <s> and </s> are none, as GPT-2's (nothing around a text, offsets with their blanks).
        """
        arguments = byte_level_files.arguments(path)
        with published.named(path):
            return cls(**arguments, specials_in_text=specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and the two files of settings, as published ones are."""
        byte_level_files.write(
            directory,
            vocabulary={piece: i for i, piece in enumerate(self.vocabulary) if piece},
            merges=self.merges,
            specials=self.specials,
            added={self.index[token]: (token, how) for token, how in self.added.items()},
            lowercase=self.lowercase,
            add_prefix_space=self.add_prefix_space,
            around=self.layout,
            check=lambda folder: published.require_same(self, type(self).load(folder), _SAVED),
        )


def _spaced(part: str) -> str:
    return part if part.startswith(" ") else f" {part}"


def _words(text: str, lowercase: bool) -> list[str]:
    """The words of a text without added tokens."""
    return _WORD.findall("".join(map(characters.lower, text)) if lowercase else text)


def _checked_index(vocabulary: list[str]) -> dict[str, int]:
    """piece -> id; every byte must be a piece."""
    index = encoding.indexed(vocabulary)
    for byte, char in enumerate(CHARACTERS):
        if char not in index:
            raise InputError(f"the vocabulary of {len(index)} pieces lacks {char!r}, the byte {byte:#04x}")
    return index


def spelled(token: str) -> bytes:
    """The bytes a token stands for; one with other characters than theirs stands for itself."""
    known = [_BYTE[char] for char in token if char in _BYTE]
    return bytes(known) if len(known) == len(token) else token.encode("utf-8")


def _check_roles(specials: Mapping[str, str]) -> None:
    """InputError for a role that there isn't, and for what is no token."""
    if not specials.keys() <= {*ROLES} or not all(isinstance(token, str) for token in specials.values()):
        raise InputError(f"special tokens: a text for any of {', '.join(ROLES)} is due, not {shown(specials)}")


def _layout(specials: Mapping[str, str], add_prefix_space: bool) -> Layout:
    """RoBERTa's layout with these special tokens; without its two, nothing around a text."""
    ends = {"cls", "sep"} & specials.keys()
    if not ends:
        return Layout()
    if len(ends) < 2:
        raise InputError("special tokens: the roles cls and sep go together, unless another layout is given")
    return layout.roberta(specials["cls"], specials["sep"], first_blank=add_prefix_space)
