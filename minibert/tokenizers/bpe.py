"""Byte-pair encoding of characters, learnt of one text or of several together: the Transformer's joint vocabulary.

Sennrich, Haddow, Birch, arXiv:1508.07909 (algorithm 1; joint: section 3.2); Vaswani et al., arXiv:1706.03762, section
5.1 (about 37,000 pieces that source and target share); Kudo and Richardson, arXiv:1808.06226 (\u2581). A text is cut
at its white space, \u2581 goes before each word, and the characters of a word are merged pair by pair, the pair of the
lowest rank first: so a text comes back but for its white space, without a rule for each language's punctuation, which
subword-nmt's </w> behind words that somebody has cut before needs. The published program is Hugging Face `tokenizers`
(a BPE with Metaspace), id for id and offset for offset: a character that is no piece is one <unk>.

Joint is whoever trains with both texts: `train([*sources, *targets], …)`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, merges, published, settings, unigram_files
from minibert.tokenizers.added import Added, Kept, Part, checked
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.merges import ranked
from minibert.tokenizers.normalization import META, Charsmap, Fast

SPECIALS = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}
COVERAGE = 0.9995  # the share of the characters of a text that are pieces, the most frequent ones
# what a model says, and nothing else may
MODEL = {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
         "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}  # fmt: skip
METASPACE = {"type": "Metaspace", "replacement": META, "prepend_scheme": "always", "split": True}
SPLITTERS = [{"type": "WhitespaceSplit"}, METASPACE]
LOWERCASE = {"type": "Lowercase"}
_SAVED = ("vocabulary", "merges", "specials", "added", "tokens", "lowercase", "layout")


class BPE(encoding.Tokenizer):
    """vocabulary: the pieces in the order of their ids; merges: pairs of pieces, the first to be merged first.

    specials: the tokens of the roles, of which unk must be there; an absent one's id is None. added: the tokens kept
    whole in text and how, the specials among them anyway; those not in the vocabulary get the ids after it. around:
    what `encode` puts around the pieces; unless given </s> behind each text. specials_in_text: False reads a literal
    "</s>" as ordinary text.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        merges: Sequence[tuple[str, str]],
        specials: Mapping[str, str] = SPECIALS,
        added: Mapping[str, Added] | None = None,
        lowercase: bool = False,
        around: Layout | None = None,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(lowercase=lowercase, specials_in_text=specials_in_text)
        self.vocabulary, self.merges = encoding.listed("vocabulary", vocabulary), encoding.listed("merges", merges)
        self.specials, self.lowercase = encoding.table("specials", specials), lowercase
        unigram_files.check_roles(self.specials)
        self._ranks = ranked(self.merges, encoding.indexed(self.vocabulary))
        self.added = checked(encoding.table("added", added or {}))
        for token in self.specials.values():
            self.added.setdefault(token, Added())
        self.tokens, self.index = encoding.with_added(self.vocabulary, self.added)
        eos = self.specials.get("eos")
        self.layout = encoding.checked_layout(around, self.index) or (layout.t5(eos) if eos else Layout())
        self.pad_id, self.bos_id, self.eos_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.index.get(self.specials.get(role)) for role in (*SPECIALS, "cls", "sep", "mask")
        )
        self.special_ids = frozenset(self.index[token] for token, how in self.added.items() if how.special)
        self.continues = np.array([not token.startswith(META) for token in self.tokens])
        self.continues[[self.index[token] for token in self.added]] = False
        self.continues.flags.writeable = False
        self._normal = _normal(lowercase)
        self._kept = Kept(self.added, self.index, self._normal.unsplit, specials_in_text)
        self._words = Cache(self._merged)

    def _of_part(self, part: Part) -> Iterable[int]:
        if part.spans is None:
            words = self._normal.words(part.text, part.start)
        else:
            words = (word for word, _ in self._normal.cut(part.text, part.spans, part.start))
        return chain.from_iterable(map(self._words.__getitem__, words))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids: a blank for each \u2581 but the first."""
        kept = encoding.kept(ids, len(self), self.special_ids if skip_special_tokens else frozenset())
        return "".join(self.tokens[i].replace(META, " " if n else "") for n, i in enumerate(kept))

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        aligned = self._normal.aligned(part.text, part.start)
        words = aligned if part.spans is None else self._normal.cut(part.text, part.spans, part.start)
        for word, places in words:
            at = 0
            for i in self._words[word]:
                end = at + (1 if i == self.unk_id else len(self.tokens[i]))
                ids.append(i)
                spans.append((part.start + places[at][0], part.start + places[end - 1][1]))
                at = end

    def _merged(self, word: str) -> tuple[int, ...]:
        """The ids of one word."""
        return merges.merged([self.index.get(char, self.unk_id) for char in word], self._ranks)

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
    ) -> "BPE":
        """A vocabulary learnt from the texts: of the size asked, or smaller once no pair occurs `min_frequency` times.

        Specials; the most frequent characters that make up COVERAGE of the text, by code point; merged pieces as
        learnt, ties to the smaller ids (see `merges`).
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.flags(lowercase=lowercase)
        specials = encoding.table("specials", specials)
        unigram_files.check_roles(specials)
        words = merges.counted(texts, lambda text: [text], _normal(lowercase).words)
        start = [*dict.fromkeys(specials.values()), *_alphabet(words)]
        if vocabulary_size < len(start):
            raise InputError(f"vocabulary_size {vocabulary_size} is below {len(start)}, special tokens and characters")
        index = {piece: i for i, piece in enumerate(start)}
        known: dict[tuple[int, ...], int] = {}
        for word, count in words.items():
            for part in "".join(char if char in index else " " for char in word).split():
                symbols = tuple(index[char] for char in part)
                known[symbols] = known.get(symbols, 0) + count
        pieces, pairs = merges.learned(list(map(list, known)), list(known.values()), start, vocabulary_size,
                                       join=str.__add__, min_frequency=min_frequency, progress=progress)  # fmt: skip
        named = reversed(dict.fromkeys(reversed(pairs)))  # of a pair merged twice the later rank, as published
        return cls(pieces, [(pieces[left], pieces[right]) for left, right in named], specials, lowercase=lowercase)

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True) -> "BPE":
        """From a published directory or its `tokenizer.json`; the settings beside it name the special tokens."""
        path = published.found(path, published.WHOLE)
        said, source = settings.read(path, (), True)
        arguments = _read(published.whole(path), path, said, source)
        with published.named(path):
            return cls(**arguments, specials_in_text=specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write tokenizer.json and the two files of settings."""
        added = {self.index[token]: (token, how) for token, how in self.added.items()}
        vocabulary = {piece: i for i, piece in enumerate(self.vocabulary) if piece}
        model = {"unk_token": self.specials["unk"], "vocab": vocabulary}
        content = published.tokenizer(
            added,
            normalizer=LOWERCASE if self.lowercase else None,
            pre_tokenizer={"type": "Sequence", "pretokenizers": SPLITTERS},
            post_processor=layout.template(self.layout, self.index),
            decoder=METASPACE,
            model={**MODEL, **model, "merges": [list(pair) for pair in self.merges]},
        )
        entries = {str(i): entry for i, entry in published.entries_of(added).items()}
        names = {f"{role}_token": token for role, token in self.specials.items()}
        said = {"tokenizer_class": "PreTrainedTokenizerFast", **names, "added_tokens_decoder": entries}
        published.write(directory, {}, content, said, self._require_saved)

    def _require_saved(self, folder: Path) -> None:
        published.require_same(self, type(self).load(folder), _SAVED)


def _normal(lowercase: bool) -> Fast:
    return Fast(Charsmap(b""), quotes=False, strip_accents=False, lowercase=lowercase)


def _alphabet(words: Mapping[str, int]) -> list[str]:
    """The characters that are pieces."""
    counts: dict[str, int] = {}
    for word, count in words.items():
        for char in word:
            counts[char] = counts.get(char, 0) + count
    room = COVERAGE * sum(counts.values())
    chosen = []
    for char in sorted(counts, key=lambda char: (-counts[char], char)):
        if room <= 0:
            break
        chosen.append(char)
        room -= counts[char]
    return sorted({*chosen, META})


def _read(content: dict[str, Any], path: Path, said: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The arguments in a tokenizer.json."""
    model = published.model(content, "BPE", path)
    published.same({**MODEL, **{key: value or MODEL[key] for key, value in model.items() if key in MODEL}}, MODEL,
                   f"{path}: model")  # fmt: skip
    steps = published.sequence(content.get("normalizer"), "normalizers", path)
    if steps not in ([], [LOWERCASE]):
        raise InputError(f"{path}: the normalizer {shown(content['normalizer'])} is not Lowercase, the only one known")
    splitters = published.sequence(content.get("pre_tokenizer"), "pretokenizers", path)
    if splitters != SPLITTERS:
        raise InputError(f"{path}: pre_tokenizer is {shown(splitters)}; only WhitespaceSplit, Metaspace is known")
    if published.decoder(content, path) not in (None, METASPACE):
        raise InputError(f"{path}: decoder is {shown(content['decoder'])}; only Metaspace is supported")
    pieces = published.value(model, "vocab", dict, path)
    vocabulary = published.by_id(pieces, path)
    unknown = published.value(model, "unk_token", str, path)
    named = settings.specials(said, dict.fromkeys(SPECIALS, ""), source)
    usual = {role: token for role, token in SPECIALS.items() if token in pieces}
    specials = usual | {role: token for role, token in named.items() if token} | {"unk": unknown}
    added = settings.added(said, source, specials, vocabulary, published.entries(content, path), len(pieces))
    _, ids = encoding.with_added(vocabulary, added)
    around = published.around(content, ids, path)
    if around.trimmed:
        raise InputError(f"{path}: post_processor trims offsets, which is not supported of these pieces")
    order = [role for role in SPECIALS if role in specials]
    return {
        "vocabulary": vocabulary,
        "merges": merges.listed(published.value(model, "merges", list, path), str(path)),
        "specials": {role: specials[role] for role in order},
        "added": added,
        "lowercase": bool(steps),
        "around": around,
    }
