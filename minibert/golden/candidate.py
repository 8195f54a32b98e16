"""Somebody's tensors: read from files as they come, and brought to a case's names and shapes.

A candidate is a file (safetensors, .npz, .npy) or a directory of such files. A tensor's name is its path: folders below
the directory, then for a .npy its own name (percent-escapes undone), then for a container the name inside; a container
called forward, gradients, steps, steps/10, inputs or weights is itself a folder. What other tools dump is recognised
(`importers`). Nothing is ever unpickled, and nothing is read that its file's size contradicts.
"""

import difflib
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from minibert import gradcheck, reading
from minibert.checkpoint import numpy_files, safetensors, strictjson
from minibert.checkpoint.numpy_files import Stored
from minibert.config import nearest, require, shown
from minibert.errors import LONGEST, InputError
from minibert.golden import axes, importers, kinds, layouts, sources
from minibert.golden.axes import Axes
from minibert.golden.sources import SECTION, Names

PRECISIONS = ("float64", "float32", "float16", "bfloat16")  # from most to least precise
SUFFIXES = (".safetensors", ".npz", ".npy")
DEEPEST = 32  # folders below the candidate's
MAX_TENSORS = 1 << 15
TIMES, LARGEST = 64, 1 << 20  # of the case's numbers, and numbers: what has more than both is not read
CLOSE = 0.1  # of a tensor's length: two that differ by more are not suggested as the same
Tensors = dict[str, np.ndarray]


class Candidate(NamedTuple):
    """What a candidate has of a case.

    tensors: by case key, in the case's shapes. partial: key -> (B, T), the rows given of a tensor that came at the
    target positions alone. unshared: what the case has once for all rows of the batch and the candidate differently for
    each; tensors then has the row farthest off. unknown: names that the case lacks. dtype: the least precise among the
    floating tensors. sha256: of names and values, however stored. refused: why a tensor was not taken, a line each;
    misshapen: key -> (name, array) of what has the wrong shape; read: `layouts.notes`; absent: names that the map
    has and the candidate has not.
    """

    tensors: Tensors
    partial: dict[str, np.ndarray]
    unshared: Tensors
    unknown: list[str]
    dtype: str
    sha256: str
    refused: list[str]
    misshapen: dict[str, tuple[str, np.ndarray]]
    read: list[dict[str, Any]]
    absent: Sequence[str] = ()


# ---- Files -----------------------------------------------------------------------------------------------------------
def shipped() -> dict[str, Path]:
    """The candidates that come with the golden cases, by name."""
    package = gradcheck.doubles()
    folder = None if package is None else Path(package.__file__).parent / "candidates"
    return {} if folder is None else {file.stem: file for file in sorted(folder.glob("*.safetensors"))}


def read(path: str | os.PathLike) -> dict[str, Stored]:
    """Every tensor of a file or directory, or of a shipped candidate, by name; InputError, one line, for whatever is no
    such thing.

    Links to folders are not followed, what begins with a dot is passed over.
    """
    if not reading.present(path):
        known, name = shipped(), str(path)
        require(name in known, f"{name or repr(name)}: there is no such file or directory{nearest(name, known)}")
        path = known[name]
    root = Path(path)
    if root.is_dir() and (tool := importers.of(root)):
        return _imported(tool.tensors(root), path)
    files = _files(root) if root.is_dir() else [(root, ())]
    none = "(links to folders are not followed, names that begin with a dot are passed over)"
    require(bool(files), f"{path} holds no tensors: no file in {', '.join(SUFFIXES)} {none}")
    found: dict[str, Stored] = {}
    for file, folders in files:
        for name, stored in _tensors(file, folders):
            if name in found:
                raise InputError(f"{file}: tensor {shown(name)} stands twice in {path}")
            if any("\ud800" <= letter <= "\udfff" for letter in name):  # how Python holds bytes that are no UTF-8
                raise InputError(f"{file}: the name {shown(name)} is not UTF-8: rename it")
            require(len(found) < MAX_TENSORS, f"{path} holds more than {MAX_TENSORS} tensors")
            found[name] = stored
    require(bool(found), f"{path} holds no tensors")
    return found


def _imported(tensors: Iterator[tuple[str, Stored]], path: str | os.PathLike) -> dict[str, Stored]:
    """What another tool dumped, under the names of golden cases."""
    found: dict[str, Stored] = {}
    for name, stored in tensors:
        require(len(found) < MAX_TENSORS, f"{path} holds more than {MAX_TENSORS} tensors")
        found[name] = stored
    require(bool(found), f"{path} holds no tensors of modules")
    return found


def _files(root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """(file, folders below the root) of everything that may hold tensors."""
    files: list[tuple[Path, tuple[str, ...]]] = []
    folders: list[tuple[str, ...]] = [()]
    while folders:
        below = folders.pop()
        folder = root.joinpath(*below)
        require(len(below) <= DEEPEST, f"{root} holds folders nested more than {DEEPEST} deep")
        for name in (name for name in reading.names(folder) if not name.startswith(".")):
            if not (folder / name).is_dir():
                files += [(folder / name, below)] if name.endswith(SUFFIXES) else []
            elif not (folder / name).is_symlink():
                folders.append((*below, name))
    return sorted(files)


def _tensors(file: Path, folders: tuple[str, ...]) -> Iterator[tuple[str, Stored]]:
    """(name, tensor) of one file, whatever its content shows it to be."""
    start = numpy_files.beginning(file)
    if start.startswith(numpy_files.MAGIC):
        yield "/".join((*folders, unquote(file.name.removesuffix(".npy")))), numpy_files.single(file)
        return
    own = "/".join((*folders, file.stem))
    prefix = own if SECTION.fullmatch(own) else "/".join(folders)
    for name, stored in _archived(file) if start.startswith(numpy_files.ARCHIVE) else _safetensors(file):
        yield f"{prefix}/{name}" if prefix else name, stored


def _safetensors(file: Path) -> Iterator[tuple[str, Stored]]:
    named = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    for name, held in safetensors.stored(file).items():
        kind = held.kind if held.dtype.kind == "V" else held.dtype.name  # void: of which NumPy has no numbers
        yield name, Stored(held.shape, named.get(held.kind) or kind, held.load)


def _archived(file: Path) -> Iterator[tuple[str, Stored]]:
    return ((unquote(name), stored) for name, stored in numpy_files.members(file))


# ---- Names -----------------------------------------------------------------------------------------------------------
def read_names(path: str | os.PathLike, case: Any) -> dict[str, tuple[str, bool]]:
    """A name map: {theirs: case key} or {theirs: {"key": case key, "transpose": true}}.

    Theirs and ours may be whole keys, or names that hold in every section ("encoder.0.q" -> "bert.encoder.…"). A star
    in the place of a layer's number, in ours, is the stack of all layers.
    """
    fields = strictjson.loads(reading.contents(path), str(path))
    require(isinstance(fields, dict), f"{path} is not a JSON object of names")
    known = {*case.entries, *(key.partition("/")[2] for key in case.entries)}
    known |= {re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in known}
    names: dict[str, tuple[str, bool]] = {}
    for theirs, value in fields.items():
        value = value if isinstance(value, dict) else {"key": value}
        ours, transposed = value.get("key"), value.get("transpose", False)
        right = value.keys() <= {"key", "transpose"} and isinstance(ours, str) and isinstance(transposed, bool)
        require(right, f'{path}: {shown(theirs)} maps to {shown(value)}: a key, or {{"key": KEY, "transpose": true}}')
        if ours not in known:
            raise InputError(f"{path}: {shown(theirs)} maps to {shown(ours)}, not in the case{nearest(ours, known)}")
        names[theirs] = (ours, transposed)
    return names


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def matched(
    stored: Mapping[str, Stored], case: Any, names: Names | None = None, layout: str = "auto"
) -> Candidate:
    """The tensors that the case knows, in its shapes; InputError where nothing is common or every shape is wrong.

    layout: how kernels lie, one of `layouts.NAMES`; "auto": as their contents say.
    """
    pieces, unknown, refused = sources.pieces(stored, case, names or {})
    unlike = f"it has {', '.join(map(shown, unknown[:2]))} …, the case {', '.join(map(repr, _computed(case)[:2]))} …"
    absent = [name for name in names or () if name not in stored]
    held = {sources.apart(name)[1] for name in stored} if absent else set()
    absent = [name for name in absent if name not in held]
    if absent:
        unlike += f"; the map has {shown(absent[0])}{' …' if len(absent) > 1 else ''}"
    if not pieces:
        require(not refused, f"the candidate has nothing to compare: {refused[0] if refused else ''}")
        raise InputError(f"the candidate and the case have no tensor in common: {unlike}; --suggest-names may help")
    widened = getattr(kinds.of(case), "widened", lambda case, key, held: held)
    pieces = [piece._replace(stored=widened(case, piece.keys[0], piece.stored)) for piece in pieces]
    huge = [piece for piece in pieces if _too_large(piece, case)]
    pieces = [piece for piece in pieces if piece not in huge]
    known, arrays = Axes(case), {}
    for piece in pieces:
        array = _numbers(piece.stored, piece.names[0], np.dtype(case.entries[piece.keys[0]].dtype))
        arrays[piece.names + piece.keys] = array.T if piece.transposed else array
    pieces, said = layouts.trimmed(pieces, arrays, known)
    read = layouts.laid(pieces, arrays, known, layout)
    held = Candidate({}, {}, {}, unknown, "float64", "", refused, {}, [*said, *layouts.notes(read, known)], absent)
    held.misshapen.update((key, (one.names[0], np.broadcast_to(0.0, one.stored.shape))) for one in huge
                          for key in one.keys)  # fmt: skip
    dtypes = set()
    for one in read:
        if one.refused:
            refused.append(one.refused)
        elif one.array is None:
            shape = arrays[one.piece.names + one.piece.keys]
            held.misshapen.update((key, (one.piece.names[0], shape)) for key in one.piece.keys)
        else:
            _place(one, known, held)
        roles = {case.entries[key].role for key in one.piece.keys}
        if one.piece.stored.dtype in PRECISIONS and not roles & {"weight", "input"}:
            dtypes.add(one.piece.stored.dtype)
    if not held.tensors:
        require(bool(held.misshapen), f"the candidate has nothing to compare: {refused[0] if refused else ''}")
        key, (name, array) = next(iter(held.misshapen.items()))
        more = f" (and {len(held.misshapen) - 1} more of the wrong shape)" if len(held.misshapen) > 1 else ""
        raise InputError(
            f"the candidate's tensor {shown(name)} is {array.shape}, the case has {case.entries[key].shape}{more}"
        )
    dtype = max(dtypes, key=PRECISIONS.index, default="float64")
    ordered = {key: held.tensors[key] for key in case.entries if key in held.tensors}
    return held._replace(tensors=ordered, dtype=dtype, sha256=digest(ordered))


def _too_large(piece: sources.Piece, case: Any) -> bool:
    """Whether it is so many numbers more than the case has that it is not read."""
    due = sum(math.prod(case.entries[key].shape) for key in piece.keys)
    return math.prod(piece.stored.shape) > max(LARGEST, TIMES * due)


def _place(one: layouts.Laid, known: Axes, held: Candidate) -> None:
    """Puts what was read into the candidate, in the case's shapes.

    One table repeated for each row of the batch is summed as a gradient, else the row farthest off stands for all.
    What came for some positions alone is filled elsewhere with the truth, and then not compared; a gradient at the
    targets with 0, which is what the others have.
    """
    parts = [one.array] if len(one.piece.keys) == 1 else list(one.array)
    base = one.reading.base if len(parts) == 1 else one.reading.base[1:]
    rows = next((letter for letter in "NMG" if letter in base), None)
    for key, array in zip(one.piece.keys, parts, strict=True):
        due, gradient = known.case.entries[key].shape, key.startswith("gradients/")
        if rows is not None:
            full, given = _filled(array, known, key, rows)
            if given is not None:
                held.partial[key] = given
            held.tensors[key] = full
        elif array.size == math.prod(due):
            held.tensors[key] = np.asarray(array.reshape(due), order="C")
        else:  # one for each row of the batch
            array = array.reshape(known.slots.batch, *due[1:])
            odd = np.abs(array - known.case.tensor(key)).reshape(len(array), -1).max(1).argmax()
            held.tensors[key] = array.sum(0, keepdims=True) if gradient else array[odd : odd + 1]
            if not gradient and not (array == held.tensors[key]).all():
                held.unshared[key] = array


def _filled(array: np.ndarray, known: Axes, key: str, letter: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(the whole tensor, rows (B, T) that were given, None where the others are known to be 0)."""
    flat, due = known.slots.rows(letter), known.case.entries[key].shape
    size = (known.slots.batch, known.slots.tokens)
    rows = array.reshape(len(flat), due[-1])
    if key.startswith("gradients/") and letter != "N":
        full = np.zeros((math.prod(size), due[-1]))
        np.add.at(full, flat, rows)
        return full.reshape(due), None
    given = np.zeros(math.prod(size), bool)
    given[flat] = True
    full = np.array(np.broadcast_to(known.case.tensor(key), (*size, due[-1])), np.float64).reshape(-1, due[-1])
    full[flat] = rows
    if due[0] == 1 != size[0]:  # one for all rows: the one farthest off
        full = full.reshape(*size, -1)
        odd = np.abs(full - known.case.tensor(key)).max((1, 2)).argmax()
        return full[odd : odd + 1], None
    return full.reshape(due), given.reshape(size)


def _computed(case: Any) -> list[str]:
    return [key for key, entry in case.entries.items() if entry.role not in ("weight", "input")]


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of keys, shapes, and values as little-endian bytes in C order."""
    total = hashlib.sha256()
    for key in sorted(tensors):
        array = np.asarray(tensors[key])
        total.update(f"{key}\0{array.dtype.name}{array.shape}\0".encode())
        total.update(np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes())
    return total.hexdigest()


def _numbers(held: Stored, name: str, wanted: np.dtype) -> np.ndarray:
    """The array as float64, or as int64 where the case has whole numbers."""
    real = re.match(r"(u?int|b?float|bool)", held.dtype)
    require(real is not None, f"the candidate's tensor {shown(name)} holds {held.dtype}, not real numbers")
    array = held.load()
    if wanted.kind == "f":
        with np.errstate(over="ignore"):  # a long double may be beyond float64: infinite, which is said
            return array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = array.dtype.kind != "f" or bool(((np.abs(array) < 2**63) & (array == np.rint(array))).all())
    require(whole, f"the candidate's tensor {shown(name)} holds {held.dtype} fractions, the case has {wanted.name}")
    return array.astype(np.int64)


# ---- Suggesting a name map -------------------------------------------------------------------------------------------
class Suggestion(NamedTuple):
    """A guess that `name` is `key` (transposed or not); distance: |difference| / |truth|, Euclidean."""

    name: str
    key: str
    transposed: bool
    distance: float


def suggest(stored: Mapping[str, Stored], case: Any) -> list[Suggestion]:
    """For every tensor whose name the case does not know, the one of the case with its shape and nearly its contents.

    A transposed matrix, square or not, is found from its contents. Closest first, each name and key once; equal
    contents go to the more similar name.
    """
    places = sources.sources(stored, case, {})
    taken = {name for name, _ in places.values()}
    known, guesses = Axes(case), []
    alike: dict[tuple, list[str]] = {}
    for key, entry in case.entries.items():
        if np.dtype(entry.dtype).kind == "f" and key not in places:
            alike.setdefault(known.alike(key), []).append(key)
    for name in (name for name in stored if name not in taken):
        section = SECTION.match(name)
        shape = stored[name].shape
        turns = (False, True) if len(shape) == 2 else (False,)
        pairs = [
            (key, t)
            for keys in alike.values()
            for t in turns
            if _own(known, keys[0], shape[:: -1 if t else 1])
            for key in keys
            if not section or key.startswith(f"{section[0]}/")
        ]
        array = stored[name].load() if pairs else np.empty(0)
        if array.size and array.dtype.kind in "fiub":
            for key, transposed in pairs:
                distance = round(_apart(array.T if transposed else array, key, known), 9)
                if distance < CLOSE:
                    likeness = difflib.SequenceMatcher(None, name[-LONGEST:], key).ratio()
                    guesses.append((distance, transposed, -likeness, name, key))
    best = (Suggestion(name, key, transposed, apart) for apart, transposed, _, name, key in sorted(guesses))
    return _assigned(best)


def _assigned(guesses: Iterator[Suggestion]) -> list[Suggestion]:
    names, keys, chosen = set(), set(), []
    for guess in guesses:
        if guess.name not in names and guess.key not in keys:
            chosen.append(guess)
            names.add(guess.name)
            keys.add(guess.key)
    return chosen


def _own(known: Axes, key: str, shape: tuple[int, ...]) -> list[axes.Reading]:
    """The readings of a shape, of two axes only those whose numbers lie as in the case."""
    return [one for one in known.readings((key,), shape) if one.own or len(shape) != 2]


def _apart(array: np.ndarray, key: str, known: Axes) -> float:
    """|array - truth| / |truth| of the nearest reading; infinite where there is nothing to compare."""
    distances = [math.inf]
    for one in _own(known, key, array.shape):
        truth = layouts.true((key,), one, known)
        length = float(np.linalg.norm(truth))
        with np.errstate(over="ignore", invalid="ignore"):
            distance = float(np.linalg.norm(one.taken(array).astype(np.float64) - truth))
        distances += [distance / length] if length and math.isfinite(distance) else []
    return min(distances)


def name_map(suggestions: list[Suggestion]) -> dict[str, Any]:
    """The suggestions as `read_names` takes them."""
    return {s.name: {"key": s.key, "transpose": True} if s.transposed else s.key for s in suggestions}
