"""Byte-pair encoding of words whose last piece is marked by </w>: the first GPT's.

Sennrich, Haddow, Birch, arXiv:1508.07909, algorithm 1; Radford et al. 2018, section 4.1 (40,000 merges). A text is cut
into words as BERT cuts it; the characters of a word, the last with </w> behind it, are merged pair by pair, the pair of
the lowest rank first. Every character that is no piece is one <unk>.

The released code (openai/finetune-transformer-lm, text_utils.py) cuts words by spaCy behind ftfy and rules of its own,
both of which need packages; the published fast tokenizer (Hugging Face `tokenizers`: BPE with an end_of_word_suffix)
cuts as BERT does, and this follows it, id for id and offset for offset.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.checkpoint import strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import characters, encoding, layout, merges, published, settings, unigram_files
from minibert.tokenizers.added import Added, Kept, Part, checked
from minibert.tokenizers.byte_level_files import VERSION, merge_lines
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.merges import ranked
from minibert.tokenizers.recipe import BERT_NORMALIZER, BERT_SPLITTER

END = "</w>"
SPECIALS = {"unk": "<unk>"}
ROLES = ("pad", "bos", "eos", "unk", "cls", "sep", "mask")
CLASS, FILES = "OpenAIGPTTokenizer", ("vocab.json", "merges.txt")
# what a model says, and nothing else may
MODEL = {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": END,
         "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}  # fmt: skip
DECODER = {"type": "BPEDecoder", "suffix": END}
_WORD = re.compile("[^ ]+")
_SAVED = ("vocabulary", "merges", "specials", "added", "tokens", "lowercase", "layout")


class WordBPE(encoding.Tokenizer):
    """vocabulary: the pieces in the order of their ids; merges: pairs of pieces, the first to be merged first.

    specials: the tokens of the roles, of which unk must be there; an absent one's id is None. added: the tokens kept
    whole in text and how, the specials among them anyway; those not in the vocabulary get the ids after it. lowercase:
    and accents stripped, as the published one does. around: what `encode` puts around the pieces, nothing unless given.
    specials_in_text: False reads a literal "<unk>" as ordinary text. Which pieces begin a word, the one before them
    says: `continues` is None.
    """

    continues = None

    def __init__(
        self,
        vocabulary: Sequence[str],
        merges: Sequence[tuple[str, str]],
        specials: Mapping[str, str] = SPECIALS,
        added: Mapping[str, Added] | None = None,
        lowercase: bool = True,
        around: Layout | None = None,
        specials_in_text: bool = True,
    ) -> None:
        encoding.flags(lowercase=lowercase, specials_in_text=specials_in_text)
        self.vocabulary, self.merges = encoding.listed("vocabulary", vocabulary), encoding.listed("merges", merges)
        self.specials, self.lowercase = encoding.table("specials", specials), lowercase
        unigram_files.check_roles(self.specials)
        self._pieces = encoding.indexed(self.vocabulary)
        self._ranks = ranked(self.merges, self._pieces)
        self.added = checked(encoding.table("added", added or {}))
        for token in self.specials.values():
            self.added.setdefault(token, Added())
        self.tokens, self.index = encoding.with_added(self.vocabulary, self.added)
        self.layout = encoding.checked_layout(around, self.index) or Layout()
        self.pad_id, self.bos_id, self.eos_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.index.get(self.specials.get(role)) for role in ROLES
        )
        self.special_ids = frozenset(self.index[token] for token, how in self.added.items() if how.special)
        self._normal = characters.Normal(lowercase, lowercase, True)
        self._splitting = self._normal.splitting()
        self._kept = Kept(self.added, self.index, self._normal.unsplit, specials_in_text)
        self._words, self._chunks = Cache(self._merged), Cache(self._chunk)

    def _of_part(self, part: Part) -> Iterable[int]:
        if part.spans is None:
            return chain.from_iterable(map(self._chunks.__getitem__, self._normal.chunks(part.text)))
        return chain.from_iterable(map(self._words.__getitem__, self._splitting.words(part.text)))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of these ids: a blank for each </w> but the last token's."""
        kept = encoding.kept(ids, len(self), self.special_ids if skip_special_tokens else frozenset())
        *tokens, last = [self.tokens[i] for i in kept] or [""]
        return "".join(token.replace(END, " ") for token in tokens) + last.replace(END, "")

    def _place(self, part: Part, ids: list[int], spans: list[Span]) -> None:
        normal, sources = (self._normal if part.spans is None else self._splitting).aligned(part.text)
        for word in _WORD.finditer(normal):
            begin = word.start()
            for piece in self._words[word[0]]:
                size = 1 if piece == self.unk_id else len(self.tokens[piece].removesuffix(END))
                ids.append(piece)
                spans.append(part.span(sources[begin], sources[begin + size - 1]))
                begin += size

    def _chunk(self, text: str) -> tuple[int, ...]:
        """The ids of a text without added tokens."""
        return tuple(chain.from_iterable(map(self._words.__getitem__, self._normal.words(text))))

    def _merged(self, word: str) -> tuple[int, ...]:
        """The ids of one word."""
        return merges.merged([self._pieces.get(symbol, self.unk_id) for symbol in symbols(word)], self._ranks)

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
    ) -> "WordBPE":
        """A vocabulary learnt from the texts: of the size asked, or smaller once no pair occurs `min_frequency` times.

        Specials; the `alphabet_limit` most frequent characters by code point, then the same with </w>; merged pieces
        as learnt, ties to the smaller ids (see `merges`; subword-nmt takes the pair that sorts last). A word with any
        other character teaches nothing. Nothing depends on the process or on hash seeds.
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.whole("alphabet_limit", alphabet_limit)
        encoding.flags(lowercase=lowercase)
        specials = encoding.table("specials", specials)
        unigram_files.check_roles(specials)
        normal = characters.Normal(lowercase, lowercase, True)
        words = merges.counted(texts, normal.chunks, normal.words)
        alphabet = _alphabet(words, alphabet_limit)
        start = list(dict.fromkeys([*specials.values(), *alphabet, *(f"{char}{END}" for char in alphabet)]))
        if vocabulary_size < len(start):
            raise InputError(f"vocabulary_size {vocabulary_size} is below {len(start)}, special tokens and characters")
        index, known = {piece: i for i, piece in enumerate(start)}, {*alphabet}
        counts = {word: n for word, n in sorted(words.items()) if known.issuperset(word)}
        pieces, pairs = merges.learned(
            [[index[symbol] for symbol in symbols(word)] for word in counts],
            list(counts.values()),
            start,
            vocabulary_size,
            join=str.__add__,
            min_frequency=min_frequency,
            progress=progress,
        )
        named = reversed(dict.fromkeys(reversed(pairs)))  # of a pair merged twice the later rank, as published
        return cls(pieces, [(pieces[left], pieces[right]) for left, right in named], specials, lowercase=lowercase)

    # Files

    @classmethod
    def load(cls, path: str | os.PathLike, specials_in_text: bool = True) -> "WordBPE":
        """From a published directory, its `tokenizer.json` (preferred), or its `vocab.json` and `merges.txt`; the
        settings beside it name the special tokens.
        """
        path = published.found(path, FILES[0])
        whole = path.suffix == ".json" and path.name != FILES[0]
        said, source = settings.read(path, (CLASS,), whole)
        arguments = (_whole if whole else _two)(path, said, source)
        with published.named(path):
            return cls(**arguments, specials_in_text=specials_in_text)

    def save(self, directory: str | os.PathLike) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and the two files of settings, as published ones are."""
        added = {self.index[token]: (token, how) for token, how in self.added.items()}
        vocabulary = {piece: i for i, piece in enumerate(self.vocabulary) if piece}
        model = {"unk_token": self.specials["unk"], "vocab": vocabulary}
        content = published.tokenizer(
            added,
            normalizer=BERT_NORMALIZER | {"lowercase": self.lowercase},
            pre_tokenizer=BERT_SPLITTER,
            post_processor=layout.template(self.layout, self.index) if self.layout.tokens else None,
            decoder=DECODER,
            model={**MODEL, **model, "merges": [list(pair) for pair in self.merges]},
        )
        entries = {str(i): entry for i, entry in published.entries_of(added).items()}
        names = {f"{role}_token": token for role, token in self.specials.items()}
        plain = self.lowercase and not self.layout.tokens
        said = {"tokenizer_class": CLASS if plain else "PreTrainedTokenizerFast", **names}
        lines = [VERSION, *(f"{left} {right}" for left, right in self.merges)]
        files = {
            FILES[0]: strictjson.dumps(vocabulary),
            FILES[1]: "".join(f"{line}\n" for line in lines).encode("utf-8"),
        }
        published.write(directory, files, content, {**said, "added_tokens_decoder": entries}, self._require_saved)

    def _require_saved(self, folder: Path) -> None:
        published.require_same(self, type(self).load(folder), _SAVED)


def symbols(word: str) -> list[str]:
    """The characters of a word, the last with </w> behind it."""
    return [*word[:-1], word[-1] + END]


def _alphabet(words: Mapping[str, int], limit: int) -> list[str]:
    """The most frequent characters, of equals the smaller code points; by code point."""
    frequency: Counter[str] = Counter()
    for word, n in words.items():
        for char in word:
            frequency[char] += n
    return sorted(sorted(frequency, key=lambda char: (-frequency[char], char))[:limit])


def _two(path: Path, said: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The arguments in a vocab.json and the merges.txt beside it, as the published class reads them."""
    pieces = published.read(path)
    vocabulary = published.by_id(pieces, path)
    other = path.parent / FILES[1]
    specials = _roles(said, source, SPECIALS)
    added = settings.added(said, source, specials, vocabulary, counted=len(pieces))
    return {"vocabulary": vocabulary, "merges": merges.listed(merge_lines(other), str(other)), "specials": specials,
            "added": added}  # fmt: skip


def _whole(path: Path, said: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The arguments in a tokenizer.json."""
    content = published.whole(path)
    model = published.model(content, "BPE", path)
    published.same({**MODEL, **{key: value or MODEL[key] for key, value in model.items() if key in MODEL}}, MODEL,
                   f"{path}: model")  # fmt: skip
    steps = published.sequence(content.get("normalizer"), "normalizers", path)
    cased = [step.get("lowercase") for step in steps]
    due = [{"strip_accents": None} | step for step in steps] == [BERT_NORMALIZER | {"lowercase": c} for c in cased]
    if len(steps) != 1 or not due or type(cased[0]) is not bool:
        raise InputError(f"{path}: the normalizer {shown(content.get('normalizer'))} is not BERT's, the only one known")
    splitters = published.sequence(content.get("pre_tokenizer"), "pretokenizers", path)
    if splitters != [BERT_SPLITTER]:
        raise InputError(f"{path}: pre_tokenizer is {shown(splitters)}; only BertPreTokenizer is known")
    if published.decoder(content, path) not in (None, DECODER):
        raise InputError(f"{path}: decoder is {shown(content['decoder'])}; only BPEDecoder is supported")
    pieces = published.value(model, "vocab", dict, path)
    vocabulary = published.by_id(pieces, path)
    unknown = {"unk": published.value(model, "unk_token", str, path)}
    specials = _roles(said, source, unknown) | unknown
    added = settings.added(said, source, specials, vocabulary, published.entries(content, path), len(pieces))
    _, ids = encoding.with_added(vocabulary, added)
    around = published.around(content, ids, path)
    if around.trimmed:
        raise InputError(f"{path}: post_processor trims offsets, which is not supported of these pieces")
    given = published.value(model, "merges", list, path)
    return {"vocabulary": vocabulary, "merges": merges.listed(given, str(path)), "specials": specials,
            "added": added, "lowercase": cased[0], "around": around}  # fmt: skip


def _roles(said: Mapping[str, Any], source: Path, usual: Mapping[str, str]) -> dict[str, str]:
    """Role -> token, of those that are named or usual."""
    found = settings.specials(said, {**dict.fromkeys(ROLES, ""), **usual}, source)
    return {role: found[role] for role in ROLES if found[role]}
