"""ALBERT's and T5's tokenizer: a sentence is covered by the pieces whose probabilities multiply to the most.

Kudo, arXiv:1804.10959, section 3.2 (unigram language model, EM, sampling); Kudo and Richardson, arXiv:1808.06226
(SentencePiece); Lan et al., arXiv:1909.11942 (ALBERT, google-research/albert tokenization.py). p(x) = prod p(x_i), a
piece's score is log p(x_i); \u2581 stands for the blank before a word.

Two published programs read the same pieces and now and then differ. From a `tokenizer.json` this follows the fast one
(Hugging Face `tokenizers`), from a `spiece.model` SentencePiece with ALBERT's release around it, id for id:
                       tokenizer.json                           spiece.model
- sums of scores       64 bits, each word by itself             32 bits, the whole text: chooses among near equals
- an unknown character the least score of all pieces - 10       the least of the normal pieces - 10
- unknown in a row     one <unk> within a word                  one <unk>, over words too
- control symbols      can be found like any piece              never found
- user-defined         kept whole before normalising            kept whole by a bonus, length * max score - 0.1
- pieces like "9,"     made unlikely: score - 100, by whoever   split again: the number is encoded by itself, then ","
                       wrote the file
- normalisation        see `normalization`                      see `normalization`
A `spiece.model` may be one of byte-pair encoding, too (`Model.bpe`): its pieces are merged by score, and a text has no
probability.
SentencePiece is 0.2.3. In texts of several 100,000 characters it does something more (4 of 128,589 choices among near
equals differed in one of 433,000); up to 62,000 there was no difference.
Special tokens in the text are kept whole by both (a `spiece.model` alone knows none; the release's caller splits).
Trained here: the pieces never end in a digit and a comma, and the tokenizer is the fast one.
"""

import heapq
import math
import os
import re
from array import array
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, chain, pairwise
from pathlib import Path

import numpy as np

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, merges, published, unigram_files, unigram_training
from minibert.tokenizers.added import Added, Kept, Part, checked
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span, checked_text
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.normalization import META, Charsmap, Fast, Released
from minibert.tokenizers.prefixes import Prefixes
from minibert.tokenizers.sentencepiece_model import (
    BYTE,
    CONTROL,
    LARGEST_SCORE,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Model,
)

SPECIALS = unigram_files.SPECIALS
_UNKNOWN_PENALTY = 10.0
_STEEPEST = 1000  # alpha; the paper samples with 0.1 to 0.5
_UNKNOWN_SURFACE = " \u2047 "  # how SentencePiece writes <unk> in text
_ENGLISH = re.compile(r"""[a-zA-Z!"#$%&()*+,\-./:;?@\[\\\]^_`{|}~]*""")  # ALBERT's list: no ' < = >
_SINGLE = set("!\"#$%&()*+,-./:;?@[\\]^_`{|}~")

Piece = tuple[int, int, int]  # id, where it begins, where it ends


class Unigram(encoding.Tokenizer):
    """model: the pieces with scores and types; normal: `Released` or `Fast`, which also says which program is followed.

    specials: the tokens of the roles, ALBERT's five or T5's pad, eos and unk; a role may be absent, but for unk, its id
    is None then (bos_id and eos_id are cls_id and sep_id where these alone are there). added: the tokens kept whole in
    text and how, the specials unless given, [MASK] with the blanks before it; those that are no pieces get the ids
    after them. around: what `encode` puts around the pieces, unless given ALBERT's [CLS] and [SEP], without these roles
    T5's </s> behind each text.
    specials_in_text: False reads a literal "[SEP]" as text, for text that nobody vouches for.
    """

    def __init__(
        self,
        model: Model,
        normal: Released | Fast,
        specials: Mapping[str, str] = SPECIALS,
        added: Mapping[str, Added] | None = None,
        around: Layout | None = None,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(specials_in_text=specials_in_text)
        if not isinstance(model, Model) or not isinstance(normal, Released | Fast):
            raise InputError(f"a Model and a Released or Fast are due, not {shown(model)} and {shown(normal)}")
        self.model, self.normal, self.specials = model, normal, encoding.table("specials", specials)
        unigram_files.check_roles(self.specials)
        self.fast = isinstance(normal, Fast)
        if added is None:
            added = {token: Added(lstrip=role == "mask") for role, token in self.specials.items()}
        self.added = checked(encoding.table("added", added))
        _check(model)
        self.tokens, self.index = encoding.with_added(model.pieces, self.added)
        for token in self.specials.values():
            if token not in self.index:
                raise InputError(f"the vocabulary of {len(self.index)} pieces lacks the special token {shown(token)}")
        self.layout = encoding.checked_layout(around, self.index) or _layout(self.specials)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.index.get(self.specials.get(role)) for role in SPECIALS
        )
        self.bos_id = self.index.get(self.specials.get("bos"), self.cls_id)  # ALBERT's as published
        self.eos_id = self.index.get(self.specials.get("eos"), self.sep_id)
        if self.unk_id != model.types.index(UNKNOWN):
            raise InputError(f"{self.specials['unk']} is not the piece for what is unknown")
        self._skipped = frozenset(self.index[token] for token, how in self.added.items() if how.special)
        self.special_ids = self._skipped | {self.index[token] for token in self.specials.values()}
        self.continues = self._continuing()
        self._kept = Kept(self.added, self.index, normal.unsplit, specials_in_text)
        self._build()
        self._words, self._stretches = Cache(self._found if self.fast else self._priced), Cache(self._stretch)

    def _of_part(self, part: Part) -> Iterable[int]:
        if self.fast and self.normal.split and part.spans is None and self.normal.independent(part.text):
            return chain.from_iterable(map(self._stretches.__getitem__, part.text.split(" ")))
        if self.fast:
            return (i for word in self._divided(part) for i, _, _ in self._words[word])
        return (i for i, _, _ in self._sentence(self._divided(part)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids: a blank for each \u2581 but the first; of a `spiece.model` bytes put together."""
        kept = list(encoding.kept(ids, len(self), self._skipped if skip_special_tokens else frozenset()))
        return self._fast_text(kept) if self.fast else self._released_text(kept)

    # More than the best segmentation

    def nbest(self, text: str, n: int) -> list[tuple[list[int], float]]:
        """The n most probable segmentations as (ids, log probability), the best first, exactly (A* backwards)."""
        encoding.whole("n", n)
        string, edges = self._lattice(text)
        best = [0.0] + [-math.inf] * len(string)
        for end, arriving in enumerate(edges):
            for start, _, score in arriving:
                best[end] = max(best[end], best[start] + score)
        heap: list[tuple] = [(-best[-1], 0, len(string), 0.0, None)]
        out: list[tuple[list[int], float]] = []
        pushed = 0
        while heap and len(out) < n:
            _, _, end, total, path = heapq.heappop(heap)
            if end == 0:
                out.append((self._ids_of(string, path), total))
                continue
            for start, i, score in edges[end]:
                pushed += 1
                rest = total + score
                heapq.heappush(heap, (-best[start] - rest, pushed, start, rest, ((i, start, end), path)))
        return out

    def sample(self, text: str, rng: np.random.Generator, alpha: float = 1.0) -> list[int]:
        """One segmentation with probability proportional to p(x)^alpha: filtered forwards, drawn backwards."""
        if not hasattr(rng, "random"):
            raise InputError(f"rng: a generator of random numbers is due, not {shown(rng)}")
        if not isinstance(alpha, (int, float)) or not 0 <= alpha <= _STEEPEST:
            raise InputError(f"alpha is {shown(alpha)}; it is a number of 0 .. {_STEEPEST}")
        string, edges = self._lattice(text)
        forward = _forward(edges, alpha)
        end, path = len(string), None
        while end:
            arriving = edges[end]
            odds = [math.exp(forward[start] + alpha * score - forward[end]) for start, _, score in arriving]
            limits = list(accumulate(odds))
            start, i, _ = arriving[min(bisect(limits, rng.random() * limits[-1]), len(odds) - 1)]
            end, path = start, ((i, start, end), path)
        return self._ids_of(string, path)

    def log_probability(self, text: str) -> float:
        """log of the summed probability of all segmentations of the text."""
        return _forward(self._lattice(text)[1], 1.0)[-1]

    def _lattice(self, text: str) -> tuple[str, list[list[tuple[int, int, float]]]]:
        """The normalised text and, for each place in it, the pieces that end there: (begin, id, score)."""
        if self.model.bpe:
            raise InputError("a model of byte-pair encoding gives a text one segmentation, and no probability")
        string, edges = "", [[]]
        for part in self._kept.parts(checked_text(text)):
            if part.token is not None:
                edges.append([(len(string), part.token, 0.0)])
                string += " "
                continue
            words = self._divided(part)
            for word in words if self._separate else ["".join(words)]:
                base = len(string)
                string += word
                edges += [[] for _ in word]
                for begin, stop, i, score in self._pieces(word):
                    edges[base + stop].append((base + begin, i, score))
        return string, edges

    def _ids_of(self, string: str, path: tuple | None) -> list[int]:
        pieces = []
        while path:
            piece, path = path
            pieces.append(piece)
        return [i for i, _, _ in self._finished(string, pieces)]

    # Text to words, words to pieces

    def _build(self) -> None:
        """The pieces that can be found: how long each is, its id, and what it adds to a path."""
        model, normal = self.model, self.normal
        scores = [score for score, kind in zip(model.scores, model.types, strict=True) if kind == NORMAL]
        self._scores = list(model.scores)
        if self.fast:
            unknown = min(model.scores) - _UNKNOWN_PENALTY
        else:
            unknown = float(np.float32(min(scores)) - np.float32(_UNKNOWN_PENALTY))
            # The release's maximum starts at the least positive float32, so that it is never below.
            top = max(np.float32(max(scores)), np.finfo(np.float32).tiny)
            for i, (piece, kind) in enumerate(zip(model.pieces, model.types, strict=True)):
                if kind == USER_DEFINED:
                    self._scores[i] = float(np.float32(len(piece.encode("utf-8"))) * top) - 0.1
        self._unknown = unknown
        self._largest = max(map(abs, [*self._scores, unknown]))
        findable = range(1, 7) if self.fast else (NORMAL, USER_DEFINED)
        found = [piece for piece, kind in zip(model.pieces, model.types, strict=True) if kind in findable]
        self._merging = {piece: self._scores[self.index[piece]] for piece in found} if model.bpe else {}
        kinds = zip(model.pieces, model.types, strict=True)
        self._fixed = Prefixes(piece for piece, kind in kinds if kind == USER_DEFINED and model.bpe)
        self._separate = self.fast or not any(META in piece[1:] for piece in found)  # none reaches over a word's begin
        self._prefixes = Prefixes(found)
        ids = [self.index[piece] for piece in self._prefixes.strings]
        self._items = [(len(self.tokens[i]), i, self._scores[i]) for i in ids]
        self._resplit = not self.fast and normal.prepared
        if self._resplit:
            self._plain = Released(
                normal.charsmap, normal.dummy_prefix, normal.collapse, normal.symbols, prepared=False
            )
        self._byte_ids = [self.index.get(f"<0x{byte:02X}>") for byte in range(256)] if model.byte_fallback else []

    def _pieces(self, word: str) -> Iterator[tuple[int, int, int, float]]:
        """(begin, end, id, score) of every piece in the word, by begin, the longest first; <unk> for a character that
        is none."""
        longest, inner, items = self._prefixes.longest, self._prefixes.inner, self._items
        for begin in range(len(word)):
            at, size = longest(word, begin), 0
            while at >= 0:
                size, i, score = items[at]
                yield begin, begin + size, i, score
                at = inner[at]
            if size != 1:
                yield begin, begin + 1, self.unk_id, self._unknown

    def _best(self, word: str, kind: str = "d") -> tuple[list[Piece], float, float]:
        """The most probable pieces (Viterbi), their score, and by how much a score could change before they did.

        kind: "d" sums in 64 bits, "f" in 32, rounded before they are compared. Of equals the one that begins first.
        Of a model of byte-pair encoding those that merging gives, whatever stands around them.
        """
        if self.model.bpe:
            return self._joined(word), 0.0, math.inf
        best, back = array(kind, bytes(8 * len(word) + 8)), [None] * (len(word) + 1)
        gaps, rounded = [math.inf] * (len(word) + 1), array("f", [0.0])
        rounding = kind == "f"
        for begin, end, i, score in self._pieces(word):
            total = best[begin] + score
            if rounding:
                rounded[0] = total
                total = rounded[0]
            if back[end] is None:
                best[end], back[end] = total, (i, begin, end)
                continue
            gap = best[end] - total
            if gap < 0:
                gaps[end], best[end], back[end] = -gap, total, (i, begin, end)
            elif gap < gaps[end]:
                gaps[end] = gap
        end, path, gap = len(word), [], math.inf
        while end:
            path.append(back[end])
            gap = min(gap, gaps[end])
            end = back[end][1]
        return path[::-1], best[len(word)], gap

    def _joined(self, word: str) -> list[Piece]:
        """The pieces that SentencePiece merges; a symbol that a user defined is one from the beginning."""
        symbols: list[str] = []
        fixed: set[int] = set()
        at = 0
        while at < len(word):
            i = self._fixed.longest(word, at)
            if i >= 0:
                fixed.add(len(symbols))
            symbols.append(self._fixed.strings[i] if i >= 0 else word[at])
            at += len(symbols[-1])
        path, at = [], 0
        for piece in merges.joined(symbols, fixed, self._merging):
            path.append((self.index[piece] if piece in self._merging else self.unk_id, at, at + len(piece)))
            at += len(piece)
        return path

    def _found(self, word: str) -> list[Piece]:
        """The fast tokenizer's pieces of one word."""
        return self._finished(word, self._best(word)[0])

    def _stretch(self, text: str) -> tuple[int, ...]:
        """The fast tokenizer's ids of a text without spaces."""
        return tuple(i for word in self.normal.words(text) for i, _, _ in self._words[word])

    def _priced(self, word: str) -> tuple[list[Piece], float, float, bool]:
        """(pieces of one word, absolute score, up to which absolute score of a sentence they are certain, whether
        nothing is to be done to them): rounding to 24 bits moves n pieces by at most n 2^-24 of the largest sum."""
        path, score, gap = self._best(word)
        certain = gap * 2**22 / len(word) - len(word) * self._largest
        plain = not any(piece[0] == self.unk_id or (self._resplit and self._splits(word, *piece)) for piece in path)
        return path, abs(score), certain, plain

    def _sentence(self, words: list[str]) -> list[Piece]:
        """SentencePiece's pieces of a sentence: word by word where that is certain to be the same, else as a whole."""
        found = [self._words[word] for word in words] if self._separate else []
        total = sum(score for _, score, _, _ in found)
        string = "".join(words)
        if not self._separate or any(total > certain for _, _, certain, _ in found):
            return self._finished(string, self._best(string, "f")[0])
        pieces, at = [], 0
        for word, (path, *_) in zip(words, found, strict=True):
            pieces += [(i, begin + at, end + at) for i, begin, end in path]
            at += len(word)
        return pieces if all(plain for *_, plain in found) else self._finished(string, pieces)

    def _finished(self, string: str, pieces: list[Piece]) -> list[Piece]:
        """The pieces as SentencePiece gives them, numbers with a comma split again."""
        pieces = self._spelt(string, pieces)
        if not self._resplit:
            return pieces
        parts = (self._split_number(string, *piece) if self._splits(string, *piece) else [piece] for piece in pieces)
        return list(chain.from_iterable(parts))

    def _spelt(self, string: str, pieces: list[Piece]) -> list[Piece]:
        """Unknown ones in a row merged, or spelt in bytes. " " in the string is a token kept whole."""
        merged: list[Piece] = []
        for i, begin, end in pieces:
            joins = i == self.unk_id and string[begin] != " " and not (self.fast and string[begin] == META)
            joins = joins and (self.fast or not self._byte_ids)
            if joins and merged and merged[-1][0] == i and string[merged[-1][1]] != " ":
                merged[-1] = (i, merged[-1][1], end)
            else:
                merged.append((i, begin, end))
        out = []
        for i, begin, end in merged:
            text = string[begin:end]
            if i == self.unk_id and self._byte_ids and text not in (" ", self.tokens[i]):
                spelt = [self._byte_ids[byte] for byte in text.encode("utf-8", "replace")]
                stops = [end] * len(spelt) if self.fast else [begin] * (len(spelt) - 1) + [end]
                out += [(byte, begin, stop) for byte, stop in zip(spelt, stops, strict=True)]
            else:
                out.append((i, begin, end))
        return out

    def _splits(self, string: str, i: int, begin: int, end: int) -> bool:
        """Whether the release splits a piece again: digit and comma at its end."""
        return end - begin > 1 and string[end - 1] == "," and string[end - 2].isdigit()

    def _split_number(self, string: str, i: int, begin: int, end: int) -> list[Piece]:
        """What stands before the comma encoded by itself, and the comma."""
        piece = string[begin:end]
        plain = "".join(self._plain.words(piece[:-1].replace(META, "")))
        inner = [(i, plain[a:b]) for i, a, b in self._spelt(plain, self._best(plain, "f")[0])]
        if inner and inner[0][1].startswith(META) and not piece.startswith(META):
            rest = inner[0][1][1:]
            inner[:1] = [(self.index.get(rest, self.unk_id), rest)] if rest else []
        inner.append((self.index.get(",", self.unk_id), ","))
        if sum(len(text) for _, text in inner) != end - begin:
            return [(i, begin, end) for i, _ in inner]
        ends = np.cumsum([begin, *(len(text) for _, text in inner)]).tolist()
        return [(i, a, b) for (i, _), (a, b) in zip(inner, pairwise(ends), strict=True)]

    def _divided(self, part: Part) -> list[str]:
        """The words of what lies between added tokens."""
        if part.spans is None:
            return self.normal.words(part.text, part.start)
        return [word for word, _ in self.normal.cut(part.text, part.spans, part.start)]

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        if part.spans is None:
            words = self.normal.aligned(part.text, part.start)
        else:
            words = self.normal.cut(part.text, part.spans, part.start)
        if self.fast:
            groups = [(self._words[word], places) for word, places in words]
        else:
            places = [place for _, places in words for place in places]
            groups = [(self._sentence([word for word, _ in words]), places)]
        for pieces, places in groups:
            for i, a, b in pieces:
                ids.append(i)
                first, last = places[a][0], places[b - 1][1] if b > a else places[a][0]
                spans.append((part.start + first, part.start + last))

    # Pieces to text

    def _fast_text(self, ids: list[int]) -> str:
        blank = "" if self.normal.prepend != "never" else " "
        return "".join(self.tokens[i].replace(META, " " if n else blank) for n, i in enumerate(ids))

    def _released_text(self, ids: list[int]) -> str:
        text, spelt, stripping = "", bytearray(), self.normal.dummy_prefix or self.normal.collapse
        for i in [*ids, None]:
            if i is not None and i < len(self.model.types) and self.model.types[i] == BYTE:
                spelt.append(int(self.tokens[i][3:5], 16))
                continue
            text += re.sub("[\udc80-\udcff]", "\ufffd", spelt.decode("utf-8", "surrogateescape"))
            spelt.clear()
            if i is None:
                return text
            if i == self.unk_id:
                text += _UNKNOWN_SURFACE
            elif text or not stripping:
                text += self.tokens[i].replace(META, " ")
            else:
                text += self.tokens[i].removeprefix(META).replace(META, " ")
                stripping = self.normal.collapse
        return text

    def _continuing(self) -> np.ndarray:
        """(V,) whether a piece continues a word by ALBERT's rule: English letters and signs, no \u2581 or < in front,
        not a sign alone, not special."""
        out = np.array([
            i not in self.special_ids and token not in _SINGLE and bool(_ENGLISH.fullmatch(token))
            for i, token in enumerate(self.tokens)
        ])  # fmt: skip
        out.flags.writeable = False
        return out

    # Learning

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        lowercase: bool = True,
        keep_accents: bool | None = None,
        character_coverage: float = 0.9995,
        specials: Mapping[str, str] = SPECIALS,
        extra_ids: int = 0,
        progress: Callable[[int, int], object] | None = None,
    ) -> "Unigram":
        """Pieces learnt from the texts by EM and pruning (see `unigram_training`): `vocab_size` with the specials, or
        fewer where the texts have no more. Order: specials as <pad> <unk> [CLS] [SEP] [MASK], then by score, in the end
        so many of T5's sentinels. keep_accents: unless said, where capitals are kept.

        ALBERT's preparation of quotes belongs to the roles cls and sep: T5 has none.
        """
        keep_accents = not lowercase if keep_accents is None else keep_accents
        encoding.whole("extra_ids", extra_ids)
        encoding.vocabulary_size(vocab_size, "vocab_size")
        encoding.flags(lowercase=lowercase, keep_accents=keep_accents)
        specials = encoding.table("specials", specials)
        unigram_files.check_roles(specials)
        if not isinstance(character_coverage, (int, float)) or not 0 < character_coverage <= 1:
            raise InputError(f"character_coverage is {shown(character_coverage)}; it is a share above 0, up to 1")
        charsmap = Charsmap(unigram_training.charsmap())
        normal = Fast(charsmap, quotes="cls" in specials, strip_accents=not keep_accents, lowercase=lowercase)
        words: dict[str, int] = {}
        for text in encoding.streamed(texts):
            for word in normal.words(checked_text(text)):
                words[word] = words.get(word, 0) + 1
        own = len(specials) + extra_ids
        learnt = unigram_training.learnt(words, vocab_size - own, character_coverage, progress)
        sentinels = unigram_files.sentinels(extra_ids)
        types = [UNKNOWN if role == "unk" else CONTROL for role in specials]
        model = Model(
            [*specials.values(), *(piece for piece, _ in learnt), *sentinels],
            [*[0.0] * len(specials), *(score for _, score in learnt), *[0.0] * extra_ids],
            [*types, *[NORMAL] * len(learnt), *[CONTROL] * extra_ids],
            charsmap.data,
            "minibert_nfkc",
        )
        added = {token: Added(lstrip=role == "mask") for role, token in specials.items()}
        return cls(model, normal, specials, added | dict.fromkeys(sentinels, Added()))

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True, prepared: bool = True) -> "Unigram":
        """From a published directory, its `tokenizer.json` (preferred) or its `spiece.model`, with the special tokens
        and further added ones that the settings beside it name.

        prepared: False leaves out ALBERT's preparation and its splitting of numbers, so that a `spiece.model` gives
        what SentencePiece itself does (which also knows no special tokens in text).
        """
        arguments = unigram_files.arguments(path, prepared)
        with published.named(path):
            return cls(**arguments, specials_in_text=specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write spiece.model, tokenizer_config.json, special_tokens_map.json and, if fast, tokenizer.json.

        What follows SentencePiece is read again from the spiece.model, with the same ids; `prepared` and
        `specials_in_text` are in no file, so say them again. InputError where the files cannot say what it has.
        """
        added = {self.index[token]: (token, how) for token, how in self.added.items()}
        arguments = self.model, self.normal, self.specials, added, self.layout
        unigram_files.write(directory, *arguments, check=self._require_saved)

    def _require_saved(self, folder: Path) -> None:
        again = type(self).load(folder, prepared=self.fast or self.normal.prepared)
        published.require_same(self, again, ("specials", "added", "tokens", "layout"))
        published.require_same(self.model, again.model, ("pieces", "byte_fallback", "bpe"))
        published.require_same(self.normal, again.normal, self.normal.SETTINGS)
        published.require_same(self.normal.charsmap, again.normal.charsmap, ["data"])
        same = ("scores",) if self.fast else ("scores", "types")  # what the fast program makes of a piece
        published.require_same(self.model, again.model, same)


def _forward(edges: list[list[tuple[int, int, float]]], alpha: float) -> list[float]:
    """For each place the logarithm of the sum over all ways there of exp(alpha score)."""
    out = [0.0] * len(edges)
    for end, arriving in enumerate(edges[1:], 1):
        terms = [out[start] + alpha * score for start, _, score in arriving]
        top = max(terms)
        out[end] = top + math.log(sum(math.exp(term - top) for term in terms))
    return out


def _layout(specials: Mapping[str, str]) -> Layout:
    """ALBERT's layout with these special tokens, XLNet's where they have its names; without the two T5's, without </s>
    nothing around a text.
    """
    ends = {"cls", "sep"} & specials.keys()
    if len(ends) == 2:
        return (layout.xlnet if specials["cls"] == "<cls>" else layout.bert)(specials["cls"], specials["sep"])
    if ends:
        raise InputError("special tokens: the roles cls and sep go together, unless another layout is given")
    return layout.t5(specials["eos"]) if "eos" in specials else Layout()


def _check(model: Model) -> None:
    """InputError for pieces no tokenizer can be made of."""
    encoding.indexed(model.pieces)
    if "" in model.pieces:
        raise InputError(f"piece {model.pieces.index('')} is empty")
    for i, score in enumerate(model.scores):
        if not abs(score) <= LARGEST_SCORE:
            raise InputError(f"piece {i} has the score {shown(score)}; at most {LARGEST_SCORE:g} either way")
    if model.types.count(UNKNOWN) != 1:
        raise InputError(f"{model.types.count(UNKNOWN)} pieces stand for what is unknown, not one")
    if model.bpe and UNUSED in model.types:
        raise InputError("pieces of byte-pair encoding that are there to be split again are not supported")
    if NORMAL not in model.types:
        raise InputError("the vocabulary has no normal pieces")
    spelt = {piece for piece, kind in zip(model.pieces, model.types, strict=True) if kind == BYTE}
    if spelt != ({f"<0x{byte:02X}>" for byte in range(256)} if model.byte_fallback else set()):
        raise InputError(f"{len(spelt)} byte pieces, byte_fallback {model.byte_fallback}: <0x00> .. <0xFF> or none")
