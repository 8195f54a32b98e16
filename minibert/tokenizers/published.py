"""The files of published tokenizers: what is the same whatever their pieces are.

Reading is strict: a setting that would change a single id and that the tokenizer doesn't have is an InputError. A
value that is refused is named with its file.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic, strictjson
from minibert.errors import InputError
from minibert.tokenizers import layout

WHOLE = "tokenizer.json"
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the later one is right where both speak
PLAIN = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)  # an added token found as it stands
LARGEST, MOST_ADDED = 1 << 26, 1 << 13  # bytes in a file, added tokens; published ones have half of it at most


# Places and settings


def found(path: str | os.PathLike, usual: str, *others: str) -> Path:
    """The file itself, or a directory's: its tokenizer.json if there is one, else the first of the others."""
    path = Path(path)
    if not path.is_dir():
        return path
    names = (WHOLE, usual, *others)
    return next((path / name for name in names if reading.present(atomic.place(path / name))), path / usual)


def settings(path: Path) -> tuple[dict[str, Any], Path]:
    """What the two files of settings beside this one say, and the one to be named with it."""
    said: dict[str, Any] = {}
    for name in SETTINGS:
        if reading.present(atomic.place(path.parent / name)):
            said |= read(path.parent / name)
    return said, path.parent / SETTINGS[1]


def flags(said: Mapping[str, Any], names: Iterable[str], path: Path) -> dict[str, bool]:
    """Those of the settings that are said."""
    return {name: value(said, name, bool, path) for name in names if said.get(name) is not None}


def specials(said: Mapping[str, Any], usual: Mapping[str, str]) -> dict[str, str]:
    """Role -> special token; settings give it as it is, or as an object with more about it."""
    tokens = {}
    for role, token in usual.items():
        given = said.get(f"{role}_token")
        text = given.get("content") if isinstance(given, dict) else given
        tokens[role] = text if isinstance(text, str) else token
    return tokens


def agree(actual: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    """InputError where a file is otherwise than the settings beside it say."""
    for name, wanted in said.items():
        if actual[name] != wanted:
            raise InputError(f"{path}: {name} is {actual[name]}, but {path.parent / SETTINGS[1]} says {wanted}")


# tokenizer.json


def tokenizer(tokens: Mapping[int, Mapping[str, Any]], **parts: Any) -> dict[str, Any]:
    """The content; tokens: id -> added token, as `token` has it; parts: the others, by their names."""
    entries = [{"id": i} | dict(entry) for i, entry in sorted(tokens.items())]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": entries} | parts


def token(content: str, special: bool, **how: bool) -> dict[str, Any]:
    """An added token; how: those of PLAIN that are set."""
    return {"content": content} | PLAIN | how | {"special": special}


def added(content: Mapping[str, Any], pieces: Sequence[str], path: Path) -> list[dict[str, Any]]:
    """The added tokens by their ids, which are those of the pieces or follow them."""
    tokens = value(content, "added_tokens", list, path)
    if len(tokens) > MOST_ADDED:
        raise InputError(f"{path}: {len(tokens)} added tokens; at most {MOST_ADDED} are supported")
    for entry in tokens:
        if not isinstance(entry, dict):
            raise InputError(f"{path}: an added token is {entry!r}, no JSON object")
        for key, kind in (("id", int), ("content", str), ("special", bool)):
            value(entry, key, kind, path)
    tokens = sorted(tokens, key=lambda entry: entry["id"])
    ids = {piece: i for i, piece in enumerate(pieces)}
    for entry in tokens:
        text = entry["content"]
        if entry["id"] != ids.setdefault(text, len(ids)):
            raise InputError(f"{path}: added token {text!r} has id {entry['id']}, {ids[text]} was to be expected")
    return tokens


def bert_ends(content: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The tokens of the roles cls and sep, from any way of saying [CLS] A [SEP] B [SEP]."""
    around, _ = layout.read(content.get("post_processor"), f"{path}: post_processor")
    if len(around.ends) < 2 or around != layout.bert(**around.ends):
        raise InputError(f"{path}: post_processor does not say [CLS] A [SEP] and [CLS] A [SEP] B [SEP], as BERT's does")
    return around.ends


def by_id(vocab: Mapping[str, Any], path: Path) -> list[str]:
    """The pieces in the order of their ids, which must be 0, 1, 2 ... ."""
    ids = {i: piece for piece, i in vocab.items() if type(i) is int}
    if len(ids) != len(vocab) or ids.keys() != set(range(len(vocab))):
        raise InputError(f"{path}: the ids of the {len(vocab)} pieces are not 0 .. {len(vocab) - 1}, once each")
    return [ids[i] for i in range(len(ids))]


# Values


def value(table: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    """The value under the key, checked to be of that type."""
    if type(table.get(key)) is not kind:
        raise InputError(f"{path}: {key} is {str(table.get(key))[:60]!r}, not of type {kind.__name__}")
    return table[key]


def same(table: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """InputError where the table has other values than these."""
    for key, right in wanted.items():
        if table.get(key) != right:
            raise InputError(f"{where}: {key} is {table.get(key)!r}; only {right!r} is supported")


# Files


def write(
    directory: str | os.PathLike, files: Mapping[str, bytes], content: dict[str, Any], said: dict[str, Any]
) -> None:
    """The files, tokenizer.json with this content and the two of settings, together or not at all."""
    names = {key: text for key, text in said.items() if key.endswith("_token")}
    with atomic.directory(directory) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for name, table in zip((WHOLE, *SETTINGS), (content, names, said), strict=True):
            (folder / name).write_bytes(strictjson.dumps(table))


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    content = strictjson.loads(_bytes(path), str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8, whichever way they end."""
    try:
        text = _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


@contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """An InputError inside says which file it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _bytes(path: Path) -> bytes:
    return reading.contents(atomic.place(path), LARGEST)
