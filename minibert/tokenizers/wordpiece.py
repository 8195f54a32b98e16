"""BERT's tokenizer: words cut out by characters, each word covered by its longest known pieces.

Devlin et al., arXiv:1810.04805 (released code: google-research/bert, tokenization.py); WordPiece: Schuster and
Nakajima, ICASSP 2012; Wu et al., arXiv:1609.08144, section 4.1. Where the released code and the published fast
tokenizer (Hugging Face `tokenizers`) disagree, this follows the latter, id for id and offset for offset:
- a word of more than 100 code points (after normalisation) is [UNK]; the release says 200;
- special tokens standing literally in the text are kept whole, case and blanks as they are; the release splits them;
- a pair too long loses tokens from the longer; when both must shrink to an odd sum, the longer keeps one more and
  of equals the second does (the release shortens the second of equals);
- what is removed, split off, stripped and lower-cased: see `characters`.
"""

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, count

import numpy as np

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import characters, encoding, layout, merges, published, wordpiece_files
from minibert.tokenizers.added import Added, Kept, Part, checked
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.prefixes import Prefixes
from minibert.tokenizers.recipe import Recipe

SPECIALS = wordpiece_files.SPECIALS
MAX_WORD_CHARS = 100
_WORD = re.compile("[^ ]+")
_NO_LINE = re.compile("[\n\r\ud800-\udfff]")  # what a line of vocab.txt can't hold
_SAVED = (
    "vocabulary", "tokens", "lowercase", "strip_accents", "split_cjk", "max_word_chars", "specials", "added", "layout",
    "recipe", "cleanup",
)  # fmt: skip
# Applied to one token and the space before it at a time, as published, so that some never match.
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


class WordPiece(encoding.Tokenizer):
    """vocabulary: the pieces in the order of their ids, "##" marking what continues a word, "" for an id without one.

    strip_accents: None strips when lower-casing. specials: the tokens of the five roles. added: the tokens kept whole
    in text and how; the special ones are among them anyway, and those not in the vocabulary get the ids after it.
    around: what `encode` puts around the pieces, BERT's [CLS] and [SEP] unless given. recipe: normalizers and splitter
    in the place of BERT's and its three flags. cleanup: whether `decode` takes out the blanks before . and the like.
    specials_in_text: False reads a literal "[SEP]" as the words [ sep ], for text that nobody vouches for.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        max_word_chars: int = MAX_WORD_CHARS,
        specials: Mapping[str, str] = SPECIALS,
        added: Mapping[str, Added] | None = None,
        around: Layout | None = None,
        recipe: Recipe | None = None,
        cleanup: bool = True,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(lowercase=lowercase, split_cjk=split_cjk, cleanup=cleanup, specials_in_text=specials_in_text)
        encoding.flags(strip_accents=strip_accents or False)
        encoding.whole("max_word_chars", max_word_chars)
        self.vocabulary = encoding.listed("vocabulary", vocabulary)
        self.lowercase, self.strip_accents, self.split_cjk = lowercase, strip_accents, split_cjk
        self.max_word_chars = max_word_chars
        self.specials = encoding.table("specials", specials)
        encoding.check_roles(self.specials, SPECIALS.keys())
        self.added = checked(encoding.table("added", added or {}))
        self.added |= {token: Added() for token in self.specials.values() if token not in self.added}
        self._heads = encoding.indexed(self.vocabulary, _NO_LINE)
        self._tails = {piece[2:]: i for piece, i in self._heads.items() if piece.startswith("##") and piece != "##"}
        self._head_prefixes, self._tail_prefixes = Prefixes(self._heads), Prefixes(self._tails)
        encoding.check_specials(self.specials, SPECIALS.keys(), {*self._heads, *(added or ())})
        self.tokens, self.index = encoding.with_added(self.vocabulary, self.added)
        around = encoding.checked_layout(around, self.index)
        self.layout = around or layout.bert(self.specials["cls"], self.specials["sep"])
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.index[self.specials[role]] for role in SPECIALS
        )
        self.bos_id = self.eos_id = None  # as the published tokenizer has it
        self.special_ids = frozenset(self.index[token] for token, how in self.added.items() if how.special)
        if not isinstance(recipe, Recipe | None):
            raise InputError(f"recipe: a Recipe is due, not {shown(recipe)}")
        self.recipe, self.cleanup = recipe, cleanup
        strips = lowercase if strip_accents is None else strip_accents
        self._normal = recipe or characters.Normal(lowercase, strips, split_cjk)
        self._splitting = self._normal.splitting()
        self._kept = Kept(self.added, self.index, self._normal.unsplit, specials_in_text)
        self._pieces = Cache(self._longest_match)
        self._chunks = Cache(self._chunk)

    @functools.cached_property
    def continues(self) -> np.ndarray:
        """(V,) True for the pieces that continue a word."""
        continues = np.array([piece.startswith("##") and piece[2:] in self._tails for piece in self.tokens])
        continues.flags.writeable = False
        return continues

    def _of_part(self, part: Part) -> Iterable[int]:
        if part.spans is None:
            return chain.from_iterable(map(self._chunks.__getitem__, self._normal.chunks(part.text)))
        return chain.from_iterable(map(self._pieces.__getitem__, self._splitting.words(part.text)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids: "##" joined on, blanks before . , ? ! and English contractions taken out."""
        kept = encoding.kept(ids, len(self), self.special_ids if skip_special_tokens else frozenset())
        tokens = filter(None, map(self.tokens.__getitem__, kept))
        return "".join(map(_cleaned if self.cleanup else _joined, count(), tokens))

    # Text to words, words to pieces

    def _chunk(self, text: str) -> tuple[int, ...]:
        """The ids of a text without special tokens."""
        return tuple(chain.from_iterable(map(self._pieces.__getitem__, self._normal.words(text))))

    def _longest_match(self, word: str) -> tuple[int, ...]:
        """The ids of one normalised word: greedily the longest piece, and [UNK] for all of it if any rest has none."""
        if len(word) > self.max_word_chars:
            return (self.unk_id,)
        ids, start, table, prefixes = [], 0, self._heads, self._head_prefixes
        while start < len(word):
            piece = word[start : start + encoding.LONGEST_PIECE]
            if piece not in table:  # mostly what is left is a piece
                found = prefixes.longest(piece)
                if found < 0:
                    return (self.unk_id,)
                piece = prefixes.strings[found]
            ids.append(table[piece])
            start, table, prefixes = start + len(piece), self._tails, self._tail_prefixes
        return tuple(ids)

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        normal, sources = (self._normal if part.spans is None else self._splitting).aligned(part.text)
        for word in _WORD.finditer(normal):
            found = self._pieces[word[0]]
            ids += found
            begin = word.start()
            for piece in found[:-1]:
                end = begin + len(self.tokens[piece]) - (2 if begin > word.start() else 0)
                spans.append(part.span(sources[begin], sources[end - 1]))
                begin = end
            spans.append(part.span(sources[begin], sources[word.end() - 1]))
            if self.layout.trimmed:
                spans[-len(found) :] = map(self._trimmed, found, spans[-len(found) :])

    def _trimmed(self, piece: int, span: Span) -> Span:
        return self.layout.span(self.tokens[piece], *span)

    # Learning

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        lowercase: bool = True,
        min_frequency: int = 2,
        alphabet_limit: int = 1000,
        specials: Mapping[str, str] = SPECIALS,
        progress: Callable[[int, int], object] | None = None,
    ) -> "WordPiece":
        """A vocabulary learnt from the texts: of the size asked, or smaller once no pair occurs `min_frequency` times.

        The criterion is the published trainer's, the plain frequency of adjacent pieces (see `merges`), not the
        likelihood gain of the papers. Order: specials; the alphabet by code point; the "##" forms of the characters
        that continue some word, by code point; merged pieces as learnt. The alphabet is the `alphabet_limit` most
        frequent characters, of equals the smaller code points. A word that holds any other character, or is longer
        than 100, would be [UNK] and teaches nothing. Nothing depends on the process or on hash seeds.
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.whole("alphabet_limit", alphabet_limit)
        encoding.flags(lowercase=lowercase)
        encoding.check_roles(specials, SPECIALS.keys())
        normal = characters.Normal(lowercase, lowercase, True)
        words = merges.counted(texts, normal.chunks, normal.words)
        words = Counter({word: n for word, n in words.items() if len(word) <= MAX_WORD_CHARS})
        alphabet = _alphabet(words, alphabet_limit)
        known = {word: n for word, n in sorted(words.items()) if alphabet.issuperset(word)}
        if not known:
            raise InputError("no words to learn a vocabulary from: the texts are empty")
        continuing = {char for word in known for char in word[1:]}
        start = [*specials.values(), *sorted(alphabet), *(f"##{char}" for char in sorted(continuing))]
        if vocabulary_size < len(start):
            raise InputError(
                f"vocabulary_size {vocabulary_size} is less than {len(start)}, the special tokens and characters: "
                "raise it, or lower alphabet_limit"
            )
        index = {piece: i for i, piece in enumerate(start)}
        symbols = [[index[word[0]], *(index[f"##{char}"] for char in word[1:])] for word in known]
        pieces = merges.grown(
            symbols,
            list(known.values()),
            start,
            vocabulary_size,
            join=lambda left, right: left + right.removeprefix("##"),
            min_frequency=min_frequency,
            progress=progress,
        )
        return cls(pieces, lowercase=lowercase, specials=specials)

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True) -> "WordPiece":
        """From a published directory, its `tokenizer.json` (preferred) or its `vocab.txt`.

        The settings beside it name the special tokens and further added ones, and for a `vocab.txt` how to normalise
        (lower-casing unless `do_lower_case` is false). A blank line is an id without a piece.
        """
        arguments = wordpiece_files.arguments(path)
        with published.named(path):
            return cls(**arguments, specials_in_text=specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json, as published ones are."""
        wordpiece_files.write(
            directory,
            vocabulary=self.vocabulary,
            lowercase=self.lowercase,
            strip_accents=self.strip_accents,
            split_cjk=self.split_cjk,
            max_word_chars=self.max_word_chars,
            specials=self.specials,
            added={self.index[token]: (token, how) for token, how in self.added.items()},
            around=self.layout,
            recipe=self.recipe,
            cleanup=self.cleanup,
            check=lambda folder: published.require_same(self, type(self).load(folder), _SAVED),
        )


def _alphabet(words: Counter[str], limit: int) -> set[str]:
    """The most frequent characters."""
    frequency: Counter[str] = Counter()
    for word, n in words.items():
        for char in word:
            frequency[char] += n
    return set(sorted(frequency, key=lambda char: (-frequency[char], char))[:limit])


def _joined(place: int, token: str) -> str:
    """One token's share of the decoded text."""
    if not place:
        return token
    return token.removeprefix("##") if token.startswith("##") else f" {token}"


def _cleaned(place: int, token: str) -> str:
    """The same cleaned up, token by token, as published."""
    token = _joined(place, token)
    for found, clean in _CLEAN_UP:
        token = token.replace(found, clean)
    return token
