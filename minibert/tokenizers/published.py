"""The files of published tokenizers: what is the same whatever their pieces are.

Reading is strict: a setting that would change a single id and that the tokenizer doesn't have is an InputError. A
value that is refused is named with its file.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic, strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout

WHOLE = "tokenizer.json"
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the later one is right where both speak
PLAIN = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)  # an added token found as it stands
LARGEST = 1 << 26  # bytes in a file; published ones have half of it at most
MOST_VALUES = 1 << 22  # commas in a JSON file: a vocabulary of the largest size with its merges has three for a piece


# Places and settings


def place(path: str | os.PathLike) -> Path:
    """The path; InputError for what can be none."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise InputError(f"a path is a str or a Path without NUL, not {shown(path)}")
    return Path(path)


def found(path: str | os.PathLike, usual: str, *others: str) -> Path:
    """The file itself, or a directory's: its tokenizer.json if there is one, else the first of the others."""
    path = place(path)
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


def specials(said: Mapping[str, Any], usual: Mapping[str, str], path: Path) -> dict[str, str]:
    """Role -> special token; settings give it as it is, or as an object with more about it."""
    tokens = {}
    for role, token in usual.items():
        given = said.get(f"{role}_token")
        text = given.get("content") if isinstance(given, dict) else given
        if not isinstance(text, str) and given is not None:
            raise InputError(f"{path}: {role}_token is {shown(given)}, neither a token nor an object with its content")
        tokens[role] = token if text is None else text
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
    if len(tokens) > encoding.MOST_ADDED:
        raise InputError(f"{path}: {len(tokens)} added tokens; at most {encoding.MOST_ADDED} are supported")
    for entry in tokens:
        if not isinstance(entry, dict):
            raise InputError(f"{path}: an added token is {shown(entry)}, no JSON object")
        for key, kind in (("id", int), ("content", str), ("special", bool)):
            value(entry, key, kind, path)
    tokens = sorted(tokens, key=lambda entry: entry["id"])
    ids = {piece: i for i, piece in enumerate(pieces)}
    for entry in tokens:
        text = entry["content"]
        if entry["id"] != ids.setdefault(text, len(ids)):
            raise InputError(f"{path}: added token {shown(text)} has id {entry['id']}, {ids[text]} was to be expected")
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
        raise InputError(f"{path}: {key} is {shown(table.get(key))}, not of type {kind.__name__}")
    return table[key]


def same(table: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """InputError where the table has other values than these."""
    for key, right in wanted.items():
        if table.get(key) != right:
            raise InputError(f"{where}: {key} is {shown(table.get(key))}; only {right!r} is supported")


# Files


def write(
    directory: str | os.PathLike,
    files: Mapping[str, bytes],
    content: dict[str, Any] | None,
    said: dict[str, Any],
    check: Callable[[Path], object],
) -> None:
    """The files, the two of settings and, unless its content is None, tokenizer.json, together or not at all.

    check: gets the folder before the files take their places, and may refuse them. A tokenizer.json that stands in the
    directory and is not written is removed, as it would be read before the others.
    """
    names = {key: text for key, text in said.items() if key.endswith("_token")}
    with atomic.directory(place(directory), owned=[WHOLE]) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for name, table in zip((WHOLE, *SETTINGS), (content, names, said), strict=True):
            if table is not None:
                (folder / name).write_bytes(strictjson.dumps(table))
        check(folder)


def require_same(before: Any, after: Any, names: Iterable[str]) -> None:
    """InputError where what was read again has other settings than what was written."""
    for name in names:
        if getattr(before, name) != getattr(after, name):
            raise InputError(
                f"{name}: the files cannot say what this tokenizer has, {shown(getattr(before, name))}; read again it "
                f"would be {shown(getattr(after, name))}"
            )


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    data = _bytes(path)
    if data.count(b",") > MOST_VALUES:
        raise InputError(f"{path}: more than {MOST_VALUES} values; a tokenizer's file may not have more")
    content = strictjson.loads(data, str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8, whichever way they end."""
    data, most = _bytes(path), encoding.MOST_PIECES + 1  # merges have a line in front
    if data.count(b"\n") > most:
        raise InputError(f"{path}: more than {most} lines; a vocabulary may have {encoding.MOST_PIECES} pieces")
    try:
        text = data.decode("utf-8")
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
