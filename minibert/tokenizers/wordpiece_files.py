"""The files of a published WordPiece tokenizer: vocab.txt, tokenizer.json and the two files of settings beside them."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import layout, published
from minibert.tokenizers.layout import Layout

SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_CASE = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_cjk"}
_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}


def arguments(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of `WordPiece` that a directory, its tokenizer.json (preferred) or its vocab.txt stands for."""
    path = published.found(path, "vocab.txt")
    settings, source = published.settings(path)
    case = {_CASE[theirs]: flag for theirs, flag in published.flags(settings, _CASE, source).items()}
    specials = published.specials(settings, SPECIALS, source)
    if path.suffix == ".json":
        found = _whole(published.read(path), path, specials)
        strips = found["lowercase"] if found["strip_accents"] is None else found["strip_accents"]
        published.agree(found | {"strip_accents": strips}, case, path)
        return found
    for name, usual in (("do_basic_tokenize", True), ("never_split", None)):
        if settings.get(name, usual) not in (usual, []):
            raise InputError(f"{source}: {name} {shown(settings[name])} is not supported")
    return {"vocabulary": published.lines(path), "specials": specials, **case}


def write(
    directory: str | os.PathLike,
    vocabulary: Sequence[str],
    lowercase: bool,
    strip_accents: bool | None,
    split_cjk: bool,
    max_word_chars: int,
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, bool]],
    around: Layout,
    check: Callable[[Path], object],
) -> None:
    """The four files, together or not at all; added: id -> (token, whether it is special); check: as in `published`."""
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    content = published.tokenizer(
        {i: published.token(token, special) for i, (token, special) in added.items()},
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": split_cjk,
            "strip_accents": strip_accents,
            "lowercase": lowercase,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=layout.template(around, ids),
        decoder=_DECODER,
        model={
            "type": "WordPiece",
            "unk_token": specials["unk"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": max_word_chars,
            "vocab": ids,
        },
    )
    case = {"do_lower_case": lowercase, "strip_accents": strip_accents, "tokenize_chinese_chars": split_cjk}
    settings = {"tokenizer_class": "BertTokenizer"} | case | {f"{role}_token": t for role, t in specials.items()}
    lines = "".join(f"{piece}\n" for piece in vocabulary).encode("utf-8")
    published.write(directory, {"vocab.txt": lines}, content, settings, check)


def _whole(content: dict[str, Any], path: Path, specials: dict[str, str]) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `specials` holds the roles it doesn't name (padding, mask)."""
    value, same = published.value, published.same
    model, normalizer, splitter = (value(content, key, dict, path) for key in ("model", "normalizer", "pre_tokenizer"))
    same(model, {"type": "WordPiece", "continuing_subword_prefix": "##"}, f"{path}: model")
    same(normalizer, {"type": "BertNormalizer", "clean_text": True}, f"{path}: normalizer")
    same(splitter, {"type": "BertPreTokenizer"}, f"{path}: pre_tokenizer")
    if content.get("decoder") is not None:
        same(value(content, "decoder", dict, path), _DECODER, f"{path}: decoder")
    roles = specials | {"unk": value(model, "unk_token", str, path)} | published.bert_ends(content, path)
    vocabulary = published.by_id(value(model, "vocab", dict, path), path)
    tokens = published.added(content, vocabulary, path)
    for token in tokens:
        same(token, published.PLAIN, f"{path}: added token {shown(token['content'])}")
    return {
        "vocabulary": vocabulary,
        "lowercase": value(normalizer, "lowercase", bool, path),
        "strip_accents": normalizer.get("strip_accents") and value(normalizer, "strip_accents", bool, path),
        "split_cjk": value(normalizer, "handle_chinese_chars", bool, path),
        "max_word_chars": value(model, "max_input_chars_per_word", int, path),
        "specials": roles,
        "added": {token["content"]: token["special"] for token in tokens if token["content"] not in roles.values()},
    }
