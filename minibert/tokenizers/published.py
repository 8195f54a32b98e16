"""The files of published tokenizers: what is the same whatever their pieces are.

Reading is strict: what would change a single id and is not known is an InputError, which names it with its file (the
settings beside a tokenizer: see `settings`). It knows files of every year: a model without a type, whose keys show it;
one step, or a sequence of that one; ids without a piece.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic, strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout
from minibert.tokenizers.added import Added

WHOLE = "tokenizer.json"
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
LARGEST = 1 << 26  # bytes in a file; published ones have half of it at most


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


# tokenizer.json


def tokenizer(added: Mapping[int, tuple[str, Added]], **parts: Any) -> dict[str, Any]:
    """The content; added: id -> (token, how it is kept whole); parts: the others, by their names."""
    entries = [{"id": i} | entry for i, entry in entries_of(added).items()]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": entries} | parts


def entries_of(added: Mapping[int, tuple[str, Added]]) -> dict[int, dict[str, Any]]:
    """The added tokens as files describe them, in the order of ids."""
    return {i: {"content": token} | asdict(kept) for i, (token, kept) in sorted(added.items())}


def whole(path: Path) -> dict[str, Any]:
    """The content of a tokenizer.json."""
    content = read(path)
    cut = content.get("truncation")
    if isinstance(cut, dict) and cut.get("direction", "Right") != "Right":
        raise InputError(f"{path}: truncation: direction {shown(cut['direction'])} is not supported; only 'Right' is")
    return content


def entries(content: Mapping[str, Any], path: Path) -> list[Any]:
    """The added tokens, if any."""
    return value({"added_tokens": []} | dict(content), "added_tokens", list, path)


def model(content: Mapping[str, Any], kind: str, path: Path) -> dict[str, Any]:
    """The model, of this type; files of 2020 name none, and its keys show it."""
    found = value(content, "model", dict, path)
    same({"type": kind if _shown(found) == kind else None} | found, {"type": kind}, f"{path}: model")
    return found


def kind(content: Mapping[str, Any]) -> str | None:
    """The type of its model, None where nothing shows it; of a BPE also what marks its words: Metaspace, or an end."""
    found = content.get("model")
    said = found.get("type", _shown(found)) if isinstance(found, dict) else None
    if said == "BPE" and _marked(content.get("pre_tokenizer")):
        return "Metaspace BPE"
    return "Word BPE" if said == "BPE" and found.get("end_of_word_suffix") else said


def _marked(splitter: Any) -> bool:
    """Whether it, or one of its parts, is a Metaspace."""
    parts = splitter.get("pretokenizers") if isinstance(splitter, dict) else None
    several = [splitter, *(parts if isinstance(parts, list) else ())]
    return any(isinstance(part, dict) and part.get("type") == "Metaspace" for part in several)


def _shown(found: Mapping[str, Any]) -> str | None:
    keys = {"merges": "BPE", "max_input_chars_per_word": "WordPiece", "unk_id": "Unigram"}
    return next((kind for key, kind in keys.items() if key in found), None)


def sequence(item: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """The parts of a sequence, of those in it too, or the one part there is; none for null."""
    parts, waiting = [], [item]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and part.get("type") == "Sequence" and isinstance(part.get(key), list):
            waiting += reversed(part[key])
        elif isinstance(part, dict):
            parts.append(part)
        elif part is not None:
            raise InputError(f"{path}: {key} is {shown(item)}, not a sequence of JSON objects")
    return parts


def several(key: str, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `sequence` reads: the one part, or a sequence of parts."""
    return parts[0] if len(parts) == 1 else {"type": "Sequence", key: list(parts)}


def decoder(content: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """The one decoder, if any."""
    parts = sequence(content.get("decoder"), "decoders", path)
    if len(parts) > 1:
        raise InputError(f"{path}: decoder is {shown(content['decoder'])}; only one step is supported")
    return parts[0] if parts else None


def around(content: Mapping[str, Any], ids: Mapping[str, int], path: Path) -> layout.Layout:
    """What the post_processor puts around a text; the ids it gives must be the vocabulary's."""
    where, post = f"{path}: post_processor", content.get("post_processor")
    parts = sequence(post, "processors", path) if isinstance(post, dict) else [post]
    found, given = layout.read(post if len(parts) > 1 else parts[0] if parts else None, where)
    for token, i in given.items():
        if ids.get(token) != i:
            raise InputError(f"{where} gives {shown(token)} the id {shown(i)}, the vocabulary {ids.get(token)}")
    return found


def by_id(vocab: Mapping[str, Any], path: Path) -> list[str]:
    """The pieces in the order of their ids, "" for an id that has none."""
    ids = {i: piece for piece, i in vocab.items() if type(i) is int}
    if len(ids) != len(vocab) or not all(0 <= i < encoding.MOST_PIECES for i in ids):
        most = encoding.MOST_PIECES - 1
        raise InputError(f"{path}: the ids of the {len(vocab)} pieces are not whole numbers of 0 .. {most}, each once")
    return [ids.get(i, "") for i in range(max(ids, default=-1) + 1)]


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

    check: gets the folder before the files take their places, and may refuse them. A tokenizer.json and an
    added_tokens.json that stand in the directory and are not written are removed: they would be read, too.
    """
    names = {key: text for key, text in said.items() if key.endswith("_token")}
    with atomic.directory(place(directory), owned=[WHOLE, ADDED]) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for name, table in ((WHOLE, content), (MAP, names), (CONFIG, said)):
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


def read(path: Path, parsed: Callable[[bytes, str], Any] = strictjson.loads) -> dict[str, Any]:
    """The JSON object in a file; parsed: how strictly."""
    content = parsed(_bytes(path), str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8, with or without a byte order mark, whichever way they end."""
    data, most = _bytes(path), encoding.MOST_PIECES + 1  # merges have a line in front
    if data.count(b"\n") > most:
        raise InputError(f"{path}: more than {most} lines; a vocabulary may have {encoding.MOST_PIECES} pieces")
    try:
        text = data.decode("utf-8-sig")
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
