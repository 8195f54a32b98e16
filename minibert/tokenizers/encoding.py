"""What every tokenizer does, whatever its pieces are: it checks them, and gives encodings, cut and padded."""

import gc
import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from minibert.config import shown
from minibert.errors import InputError
from minibert.processes import mapped
from minibert.tokenizers.added import Kept, Part, Span
from minibert.tokenizers.layout import Layout

SURROGATE = re.compile("[\ud800-\udfff]")
PART = 1000  # texts that a process gets at a time
MOST_PIECES = 1 << 20  # of the published vocabularies the largest, XLM-V's, has 901,629
LONGEST_PIECE = 256  # characters; published pieces have 128 at most, GPT-2's
MOST_ADDED = 1 << 13  # added tokens; published tokenizers have half of it at most


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text or pair as tokens, special tokens included.

    tokens: as the vocabulary has them. attention_mask: 0 at padding. offsets: (start, end) in characters of the text
    or, for tokens of the pair, of the pair; (0, 0) for tokens that stand in neither.
    """

    ids: list[int]
    tokens: list[str]
    type_ids: list[int]
    attention_mask: list[int]
    offsets: list[Span]

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple:
        """Numbers travel between processes as arrays: as lists they took longer than the tokenizing."""
        numbers = (self.ids, self.type_ids, self.attention_mask, chain.from_iterable(self.offsets))
        return _unpacked, (self.tokens, *(array("q", some) for some in numbers))

    def padded(self, length: int, pad_id: int, pad_token: str) -> "Encoding":
        """At least `length` tokens long: padding at the end, type 0, mask 0."""
        n = length - len(self)
        return Encoding(
            self.ids + [pad_id] * n,
            self.tokens + [pad_token] * n,
            self.type_ids + [0] * n,
            self.attention_mask + [0] * n,
            self.offsets + [(0, 0)] * n,
        )


def _unpacked(tokens: list[str], ids: array, types: array, mask: array, offsets: array) -> Encoding:
    places = list(zip(offsets[::2], offsets[1::2], strict=True))
    return Encoding(ids.tolist(), tokens, types.tolist(), mask.tolist(), places)


class Tokenizer(ABC):
    """What every tokenizer does with its own pieces; a class of one sets the names below, and says of a part of a text
    that no added token covers which its pieces are (`_of_part`), and where each stands (`_place`).

    Beside pad_id every class has cls_id, sep_id, mask_id, unk_id, bos_id and eos_id, None where it has no such token.
    """

    tokens: list[str]  # in the order of ids
    index: dict[str, int]  # their ids
    layout: Layout  # what `encode` puts around the pieces
    pad_id: int | None
    _kept: Kept

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.tokens)

    def id(self, token: str) -> int:
        """The id of a piece or special token; InputError when there is none."""
        if not isinstance(token, str) or token not in self.index:
            raise InputError(f"no token {shown(token)} in this vocabulary of {len(self.tokens)}")
        return self.index[token]

    def ids(self, text: str) -> list[int]:
        """The ids of the text's pieces, nothing added: the fast path, for building data."""
        out: list[int] = []
        for part in self._kept.parts(checked_text(text)):
            if part.token is not None:
                out.append(part.token)
            else:
                out.extend(self._of_part(part))
        return out

    def spans(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids of the text's pieces and where each stands in it."""
        ids: list[int] = []
        spans: list[Span] = []
        for part in self._kept.parts(checked_text(text)):
            if part.token is not None:
                ids.append(part.token)
                spans.append(self.layout.span(part.text, part.start, part.end))
            else:
                self._place(part, ids, spans)
        return ids, spans

    @abstractmethod
    def _of_part(self, part: Part) -> Iterable[int]:
        """The ids of the pieces of what is no added token."""

    @abstractmethod
    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        """Appends the ids of these pieces, and where each stands in the text."""

    def tokenize(self, text: str) -> list[str]:
        """The pieces of the text, nothing added."""
        return [self.tokens[i] for i in self.ids(text)]

    def encode(self, text: str, pair: str | None = None, max_length: int | None = None) -> Encoding:
        """The text, or the text and its pair, in the tokenizer's layout, cut to `max_length` tokens in all.

        That is [CLS] text [SEP] and [CLS] text [SEP] pair [SEP], the pair of type 1; RoBERTa's <s> text </s> and
        <s> text </s></s> pair </s>, all of type 0; or what the file says.
        """
        if max_length is not None:
            whole("max_length", max_length)
        sequences = [self.spans(given) for given in ((text,) if pair is None else (text, pair))]
        items = self.layout.single if pair is None else self.layout.pair
        if max_length is not None:
            room = max_length - (len(items) - len(sequences))
            if room < 0:
                raise InputError(f"max_length {max_length} has no room for the {max_length - room} special tokens")
            lengths = truncated_lengths([len(ids) for ids, _ in sequences], room)
            sequences = [(ids[:n], spans[:n]) for (ids, spans), n in zip(sequences, lengths, strict=True)]
        return self.laid_out(sequences)

    def laid_out(self, sequences: Sequence[tuple[list[int], list[Span]]]) -> Encoding:
        """The pieces, as `spans` gives them, of one text or of two in the tokenizer's layout."""
        items = self.layout.single if len(sequences) == 1 else self.layout.pair
        all_ids, types, offsets = [], [], []
        for item, kind in items:
            ids, spans = ([self.index[item]], [(0, 0)]) if isinstance(item, str) else sequences[item]
            all_ids += ids
            types += [kind] * len(ids)
            offsets += spans
        return Encoding(all_ids, [self.tokens[i] for i in all_ids], types, [1] * len(all_ids), offsets)

    def encode_batch(
        self,
        texts: Iterable[str | tuple[str, str]],
        pairs: Iterable[str] | None = None,
        max_length: int | None = None,
        processes: int = 1,
    ) -> list[Encoding]:
        """`encode` of each text or (text, pair), padded at the end to the longest: the padding token, mask 0, type 0.

        processes: that share the work (see `processes.mapped`); they pay for many thousand texts.
        """
        if self.pad_id is None:
            raise InputError("this vocabulary has no token to pad with: encode text by text")
        whole("processes", processes, 1)
        items = listed("texts", texts)
        if pairs is not None:
            pairs = listed("pairs", pairs)
            if len(pairs) != len(items):
                raise InputError(f"{len(items)} texts, but {len(pairs)} pairs")
            items = list(zip(items, pairs, strict=True))
        parts = (items[i : i + PART] for i in range(0, len(items), PART))
        with _uncollected():
            rows = list(chain.from_iterable(mapped(partial(_encoded, self, max_length), parts, processes)))
            longest = max(map(len, rows), default=0)
            return [row.padded(longest, self.pad_id, self.tokens[self.pad_id]) for row in rows]


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: among so many small objects, none of them garbage, it took half of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _encoded(tokenizer: Tokenizer, max_length: int | None, items: list) -> list[Encoding]:
    return [tokenizer.encode(*_sides(item), max_length=max_length) for item in items]


def _sides(item: str | tuple[str, str]) -> tuple[str, ...]:
    """The text, or the text and its pair."""
    if isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return tuple(item)
    if isinstance(item, str):
        return (item,)
    raise InputError(f"a text, or a text and its pair, is due, not {shown(item)}")


def kept(ids: Iterable[int], size: int, skipped: Set[int]) -> Iterator[int]:
    """The ids to be decoded, which are those not `skipped`; InputError for one outside 0 .. size - 1."""
    for i in listed("ids", ids):
        if not isinstance(i, (int, np.integer)) or isinstance(i, bool) or not 0 <= i < size:
            raise InputError(f"token id {shown(i)} is no whole number of 0 .. {size - 1}")
        if i not in skipped:
            yield i


def truncated_lengths(lengths: list[int], room: int) -> list[int]:
    """Longest first: the lengths after tokens were taken from the longer sequence until the sum is at most `room`.

    When both must shrink to an odd sum, the longer keeps one more; of equals the second does.
    """
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    if first > second:
        return truncated_lengths([second, first], room)[::-1]
    short = min(first, room // 2)
    return [short, min(second, room - short)]


def indexed(pieces: Sequence[str], unfit: re.Pattern = SURROGATE) -> dict[str, int]:
    """piece -> id; InputError for a piece that is no text, stands twice, or holds what is `unfit`. "" is none: its id
    has no piece."""
    if len(pieces) > MOST_PIECES:
        raise InputError(f"{len(pieces)} pieces; a vocabulary may have {MOST_PIECES}")
    index: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if not isinstance(piece, str) or unfit.search(piece):
            raise InputError(f"piece {i} of the vocabulary is {shown(piece)}, which its file can't hold")
        if len(piece) > LONGEST_PIECE:
            raise InputError(f"piece {i} of the vocabulary, {shown(piece)}, is longer than {LONGEST_PIECE} characters")
        if piece and index.setdefault(piece, i) != i:
            raise InputError(f"the vocabulary has the piece {shown(piece)} twice, as {index[piece]} and {i}")
    return index


def with_added(pieces: Sequence[str], added: Collection[str]) -> tuple[list[str], dict[str, int]]:
    """The tokens in the order of ids, and their ids: the pieces, and after them the added tokens that are none."""
    if len(added) > MOST_ADDED:
        raise InputError(f"{len(added)} added tokens; a vocabulary may have {MOST_ADDED}")
    tokens, index = list(pieces), {piece: i for i, piece in enumerate(pieces) if piece}
    for token in added:
        if not isinstance(token, str) or not token or SURROGATE.search(token):
            raise InputError(f"an added token is {shown(token)}: it is empty or has no UTF-8")
        if len(token) > LONGEST_PIECE:
            raise InputError(f"the added token {shown(token)} is longer than {LONGEST_PIECE} characters")
        if token not in index:
            index[token] = len(tokens)
            tokens.append(token)
    return tokens, index


def checked_layout(around: Layout | None, index: Mapping[str, int]) -> Layout | None:
    """The layout, if any; InputError for one of tokens that there aren't."""
    if not isinstance(around, Layout | None):
        raise InputError(f"around: a Layout is due, not {shown(around)}")
    for token in around.tokens if around else ():
        if token not in index:
            raise InputError(f"the layout of a text needs the token {shown(token)}, which is not in the vocabulary")
    return around


def check_roles(specials: Mapping[str, str], roles: Set[str]) -> None:
    """InputError unless each role has a token."""
    if table("specials", specials).keys() != roles or not all(isinstance(token, str) for token in specials.values()):
        raise InputError(f"special tokens: give one for each of {', '.join(roles)}")


def check_specials(specials: Mapping[str, str], roles: Set[str], known: Collection[str]) -> None:
    """InputError unless each role has a token that is known."""
    check_roles(specials, roles)
    for token in specials.values():
        if token not in known:
            raise InputError(f"the vocabulary of {len(known)} pieces lacks the special token {shown(token)}")


def whole(name: str, value: int, least: int = 0) -> None:
    """InputError unless the value is a whole number, `least` or more."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {shown(value)}; it is a whole number, {least} or more")


def listed(name: str, values: Iterable) -> list:
    """What the values are, one after the other; InputError for a single text or number."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise InputError(f"{name}: a list is due, not {shown(values)}")
    return list(values)


def streamed(texts: Iterable[str]) -> Iterable[str]:
    """The texts to learn from, which come as they may, but not as one text."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InputError(f"texts: several are due, not {shown(texts)}")
    return texts


def flags(**given: bool | None) -> None:
    """InputError for what is neither True nor False."""
    for name, flag in given.items():
        if type(flag) is not bool:
            raise InputError(f"{name} is {shown(flag)}; it is True or False")


def table(name: str, given: Mapping[str, object]) -> dict:
    """A copy of a mapping from texts; InputError for anything else."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InputError(f"{name}: a mapping from texts is due, not {shown(given)}")
    return dict(given)


def vocabulary_size(size: int, name: str = "vocabulary_size") -> None:
    """InputError for a size that no vocabulary may have."""
    whole(name, size, 1)
    if size > MOST_PIECES:
        raise InputError(f"{name} is {shown(size)}; a vocabulary may have {MOST_PIECES} pieces")


def checked_text(text: str) -> str:
    """The text, which must be one that UTF-8 can hold."""
    if not isinstance(text, str):
        raise InputError(f"a text to tokenize is a str, not {type(text).__name__}")
    if not text.isascii() and SURROGATE.search(text):
        raise InputError("the text holds half of a surrogate pair, which has no UTF-8: decode it again, or replace it")
    return text
