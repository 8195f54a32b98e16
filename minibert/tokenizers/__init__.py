"""Tokenizers by kind. A directory's files say which kind they are; where they don't, its family does."""

from importlib import import_module
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic
from minibert.config import require, shown
from minibert.errors import InputError
from minibert.tokenizers import published

# kind: (module, class, "model" type in a tokenizer.json, the files that show it)
KINDS = {
    "wordpiece": ("wordpiece", "WordPiece", "WordPiece", ("vocab.txt",)),
    "words": ("words", "Words", "WordPiece", ()),
    "byte_level": ("byte_level", "ByteLevelBPE", "BPE", ("merges.txt", "vocab.json", "encoder.json", "vocab.bpe")),
        "bpe": ("bpe", "BPE", "Metaspace BPE", ()),
    "word_bpe": ("word_bpe", "WordBPE", "Word BPE", ("merges.txt", "vocab.json")),
    "fast_bpe": ("fast_bpe", "FastBPE", "none", ("codes", "merges.txt", "vocab.json")),
    "unigram": ("unigram", "Unigram", "Unigram", ("spiece.model", "sentencepiece.bpe.model", "sentencepiece.model")),
}
WHOLE, CONFIGS = "tokenizer.json", ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
FILES = (WHOLE, *CONFIGS, "vocab", *(file for *_, files in KINDS.values() for file in files))


def tokenizer(kind: str) -> Any:
    """The class of a kind of tokenizer."""
    known = isinstance(kind, str) and kind in KINDS
    require(known, f"unknown kind of tokenizer {shown(kind)}; there are: {', '.join(KINDS)}")
    module, name, *_ = KINDS[kind]
    return getattr(import_module(f"{__name__}.{module}"), name)


def load(folder: Path, kind: str, **options: Any) -> Any | None:
    """The tokenizer of a directory, None where it has none; `kind`: where its files leave that open."""
    found = _kind(folder, kind)
    return None if found is None else tokenizer(found or kind).load(folder, **options)


def _kind(folder: Path, usual: str) -> str | None:
    """The kind that the files show, of several the usual one; "" where they don't, None without any."""
    shown = [kind for kind, (*_, files) in KINDS.items()
             if any(reading.present(atomic.place(folder / file)) for file in files)]  # fmt: skip
    whole = atomic.place(folder / WHOLE)
    if len(shown) != 1 and reading.present(whole):
        try:
            stated = published.kind(published.read(whole))
        except InputError:  # what is wrong, its own reader says
            stated = None
        found = next((kind for kind, (_, _, name, _) in KINDS.items() if name == stated), "")
        if not shown or found in shown:
            return found
    return None if not shown else usual if usual in shown else shown[0]
