"""Tokenizers by kind. A directory's files say which kind they are; where they don't, its family does."""

from importlib import import_module
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic
from minibert.config import require, shown
from minibert.errors import InputError
from minibert.tokenizers import published

# kind: (module, class, "model" type in a tokenizer.json, the files that only this kind has)
KINDS = {
    "wordpiece": ("wordpiece", "WordPiece", "WordPiece", ("vocab.txt",)),
    "byte_level": ("byte_level", "ByteLevelBPE", "BPE", ("merges.txt", "vocab.json", "encoder.json", "vocab.bpe")),
    "fast_bpe": ("fast_bpe", "FastBPE", "", ("codes",)),
    "bpe": ("bpe", "BPE", "Metaspace BPE", ()),
    "unigram": ("unigram", "Unigram", "Unigram", ("spiece.model", "sentencepiece.bpe.model", "sentencepiece.model")),
}
SHARED = {"fast_bpe": ("vocab.json", "merges.txt")}  # files that another kind has, too: the family decides
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
    found = _kind(folder)
    found = kind if found == "byte_level" and kind in SHARED else found
    return None if found is None else tokenizer(found or kind).load(folder, **options)


def _kind(folder: Path) -> str | None:
    """The kind that the files show; "" where they don't, None without any."""
    for kind, (*_, files) in KINDS.items():
        if any(reading.present(atomic.place(folder / file)) for file in files):
            return kind
    whole = atomic.place(folder / WHOLE)
    if not reading.present(whole):
        return None
    try:
        stated = published.kind(published.read(whole))
    except InputError:  # what is wrong, its own reader says
        return ""
    return next((kind for kind, (_, _, name, _) in KINDS.items() if name == stated), "")
