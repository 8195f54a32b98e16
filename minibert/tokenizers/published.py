"""The files of a published WordPiece tokenizer: vocab.txt, tokenizer.json and the two files of settings beside them.

Reading is strict: a setting that would change a single id and that `WordPiece` doesn't have is an InputError.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minibert.checkpoint import atomic, strictjson
from minibert.errors import InputError

SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the later one is right where both speak
_LARGEST, _MOST_ADDED = 1 << 26, 1 << 13  # bytes in a file, added tokens; published ones have half of it at most
_CASE = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_cjk"}


def arguments(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of `WordPiece` that a directory, its tokenizer.json (preferred) or its vocab.txt stands for."""
    path = Path(path)
    if path.is_dir():
        atomic.settle(path)
        path = path / "tokenizer.json" if (path / "tokenizer.json").exists() else path / "vocab.txt"
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        if (path.parent / name).exists():
            settings |= _json(path.parent / name)
    case = {
        ours: _value(settings, theirs, bool, path.parent / SETTINGS[1])
        for theirs, ours in _CASE.items()
        if settings.get(theirs) is not None
    }
    specials = {role: _content(settings.get(f"{role}_token"), token) for role, token in SPECIALS.items()}
    if path.suffix == ".json":
        found = _read(_json(path), path, specials)
        for name, value in case.items():
            actual = found["lowercase"] if found[name] is None else found[name]  # strip_accents follows lowercase
            if actual != value:
                raise InputError(f"{path}: {name} is {actual}, but {path.parent / SETTINGS[1]} says {value}")
        return found
    for name, usual in (("do_basic_tokenize", True), ("never_split", None)):
        if settings.get(name, usual) not in (usual, []):
            raise InputError(f"{path.parent / SETTINGS[1]}: {name} {settings[name]!r} is not supported")
    return {"vocabulary": _lines(path), "specials": specials, **case}


def write(directory: str | os.PathLike, vocabulary: list[str], tokenizer: dict[str, Any], settings: Mapping) -> None:
    """The four files, together or not at all; settings: those of tokenizer_config.json."""
    names = {key: token for key, token in settings.items() if key.endswith("_token")}
    with atomic.directory(directory) as folder:
        (folder / "vocab.txt").write_bytes("".join(f"{piece}\n" for piece in vocabulary).encode("utf-8"))
        (folder / "tokenizer.json").write_bytes(strictjson.dumps(tokenizer))
        (folder / "tokenizer_config.json").write_bytes(strictjson.dumps(dict(settings)))
        (folder / "special_tokens_map.json").write_bytes(strictjson.dumps(names))


def config(lowercase: bool, strip_accents: bool | None, split_cjk: bool, specials: Mapping[str, str]) -> dict:
    """The content of tokenizer_config.json."""
    case = {"do_lower_case": lowercase, "strip_accents": strip_accents, "tokenize_chinese_chars": split_cjk}
    return {"tokenizer_class": "BertTokenizer"} | case | {f"{role}_token": t for role, t in specials.items()}


def tokenizer(
    vocabulary: Mapping[str, int],
    lowercase: bool,
    strip_accents: bool | None,
    split_cjk: bool,
    max_word_chars: int,
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, bool]],
) -> dict[str, Any]:
    """The content of tokenizer.json; added: id -> (token, whether it is special)."""
    ends = {token: vocabulary[token] for token in (specials["cls"], specials["sep"])}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **dict.fromkeys(_PLAIN, False), "special": special}
            for i, (token, special) in sorted(added.items())
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": split_cjk,
            "strip_accents": strip_accents,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": _template(*ends, pair=False),
            "pair": _template(*ends, pair=True),
            "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]} for token, i in ends.items()},
        },
        "decoder": _DECODER,
        "model": {
            "type": "WordPiece",
            "unk_token": specials["unk"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": max_word_chars,
            "vocab": dict(vocabulary),
        },
    }


_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}
_PLAIN = ("single_word", "lstrip", "rstrip", "normalized")  # an added token is found as it stands, nothing around it


def _template(first: str, last: str, pair: bool) -> list[dict[str, Any]]:
    """[CLS] A [SEP], and B [SEP] of type 1."""
    pieces = [("SpecialToken", first, 0), ("Sequence", "A", 0), ("SpecialToken", last, 0)]
    pieces += [("Sequence", "B", 1), ("SpecialToken", last, 1)] if pair else []
    return [{kind: {"id": name, "type_id": type_id}} for kind, name, type_id in pieces]


def _read(content: dict[str, Any], path: Path, specials: dict[str, str]) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `specials` holds the roles it doesn't name (padding, mask)."""
    model, normalizer, splitter = (_value(content, k, dict, path) for k in ("model", "normalizer", "pre_tokenizer"))
    _same(model, {"type": "WordPiece", "continuing_subword_prefix": "##"}, f"{path}: model")
    _same(normalizer, {"type": "BertNormalizer", "clean_text": True}, f"{path}: normalizer")
    _same(splitter, {"type": "BertPreTokenizer"}, f"{path}: pre_tokenizer")
    if content.get("decoder") is not None:
        _same(_value(content, "decoder", dict, path), _DECODER, f"{path}: decoder")
    roles = specials | {"unk": _value(model, "unk_token", str, path)} | _ends(content, path)
    vocabulary = _by_id(_value(model, "vocab", dict, path), path)
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    added = {}
    for token in sorted(_added(content, path), key=lambda token: token["id"]):
        text = token["content"]
        _same(token, dict.fromkeys(_PLAIN, False), f"{path}: added token {text!r}")
        if token["id"] != ids.setdefault(text, len(ids)):
            raise InputError(f"{path}: added token {text!r} has id {token['id']}, {ids[text]} was to be expected")
        if text not in roles.values():
            added[text] = token["special"]
    return {
        "vocabulary": vocabulary,
        "lowercase": _value(normalizer, "lowercase", bool, path),
        "strip_accents": normalizer.get("strip_accents") and _value(normalizer, "strip_accents", bool, path),
        "split_cjk": _value(normalizer, "handle_chinese_chars", bool, path),
        "max_word_chars": _value(model, "max_input_chars_per_word", int, path),
        "specials": roles,
        "added": added,
    }


def _ends(content: dict[str, Any], path: Path) -> dict[str, str]:
    """The tokens of the roles cls and sep, from either way of saying [CLS] A [SEP] B [SEP]."""
    post = _value(content, "post_processor", dict, path)
    try:
        if post["type"] == "BertProcessing":
            return {"cls": post["cls"][0], "sep": post["sep"][0]}
        first, last = post["single"][0]["SpecialToken"]["id"], post["single"][-1]["SpecialToken"]["id"]
        if [post["single"], post["pair"]] == [_template(first, last, pair) for pair in (False, True)]:
            return {"cls": first, "sep": last}
    except (KeyError, IndexError, TypeError):
        pass
    raise InputError(f"{path}: post_processor does not say [CLS] A [SEP] and [CLS] A [SEP] B [SEP], as BERT's does")


def _by_id(vocab: dict[str, Any], path: Path) -> list[str]:
    """The pieces in the order of their ids, which must be 0, 1, 2 ... ."""
    ids = {i: piece for piece, i in vocab.items() if type(i) is int}
    if len(ids) != len(vocab) or ids.keys() != set(range(len(vocab))):
        raise InputError(f"{path}: the ids of the {len(vocab)} pieces are not 0 .. {len(vocab) - 1}, once each")
    return [ids[i] for i in range(len(ids))]


def _added(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    tokens = _value(content, "added_tokens", list, path)
    if len(tokens) > _MOST_ADDED:
        raise InputError(f"{path}: {len(tokens)} added tokens; at most {_MOST_ADDED} are supported")
    for token in tokens:
        if not isinstance(token, dict):
            raise InputError(f"{path}: an added token is {token!r}, no JSON object")
        for key, kind in (("id", int), ("content", str), ("special", bool)):
            _value(token, key, kind, path)
    return tokens


def _value(table: dict[str, Any], key: str, kind: type, path: Path) -> Any:
    """The value under the key, checked to be of that type."""
    if type(table.get(key)) is not kind:
        raise InputError(f"{path}: {key} is {str(table.get(key))[:60]!r}, not of type {kind.__name__}")
    return table[key]


def _same(table: dict[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    for key, value in wanted.items():
        if table.get(key) != value:
            raise InputError(f"{where}: {key} is {table.get(key)!r}; only {value!r} is supported")


def _content(token: Any, usual: str) -> str:
    """A special token's text: settings give it as it is, or as an object with more about it."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else usual


def _json(path: Path) -> dict[str, Any]:
    content = strictjson.loads(_bytes(path), str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def _lines(path: Path) -> list[str]:
    try:
        text = _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: {path.stat().st_size} bytes; files of tokenizers have at most {_LARGEST}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
