"""Somebody's tensors: read from files as they come, and brought to a case's names and shapes.

A candidate is a file (safetensors, .npz, .npy) or a directory of such files. A tensor's name is its path: folders below
the directory, then for a .npy its own name (percent-escapes undone), then for a container the name inside; a container
called forward, gradients, steps, steps/10, inputs or weights is itself a folder. Nothing is ever unpickled, and nothing
is read that its file's size contradicts.
"""

import difflib
import hashlib
import lzma
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

import numpy as np

from minibert import families
from minibert.checkpoint import safetensors, strictjson
from minibert.config import nearest, require, shown
from minibert.errors import InputError

PRECISIONS = ("float64", "float32", "float16", "bfloat16")  # from most to least precise
SECTION = re.compile(r"(forward|gradients|inputs|weights|steps(/\d+)?)")
SUFFIXES = (".safetensors", ".npz", ".npy")
CLOSE = 0.1  # of a tensor's length: two that differ by more are not suggested as the same
Tensors = dict[str, np.ndarray]
Names = Mapping[str, tuple[str, bool]]  # theirs -> (ours, transposed)


class Stored(NamedTuple):
    """A tensor in a file: its shape and dtype, and how to get it (native byte order, 16-bit floats widened)."""

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]


class Candidate(NamedTuple):
    """What a candidate has of a case.

    tensors: by case key, in the case's shapes. partial: key -> (B, T), the rows given of a tensor that came at the
    target positions alone. unshared: what the case has once for all rows of the batch and the candidate differently for
    each; tensors then has the row farthest off. unknown: names that the case lacks. dtype: the least precise among the
    floating tensors. sha256: of names and values, however stored.
    """

    tensors: Tensors
    partial: dict[str, np.ndarray]
    unshared: Tensors
    unknown: list[str]
    dtype: str
    sha256: str


# ---- Files -----------------------------------------------------------------------------------------------------------
def read(path: str | os.PathLike) -> dict[str, Stored]:
    """Every tensor of a file or directory by name; InputError, one line, for whatever is no such thing."""
    root = Path(path)
    require(root.exists(), f"{path}: there is no such file or directory")
    files = _files(root) if root.is_dir() else [(root, ())]
    require(bool(files), f"{path} holds no tensors: no file in {', '.join(SUFFIXES)}")
    found: dict[str, Stored] = {}
    for file, folders in files:
        for name, stored in _tensors(file, folders):
            require(name not in found, f"{file}: tensor {shown(name)} stands twice in {path}")
            found[name] = stored
    require(bool(found), f"{path} holds no tensors")
    return found


def _files(root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """(file, folders below the root) of everything that may hold tensors."""
    files = []
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root).parts
        files += [(Path(folder) / name, below) for name in names if name.endswith(SUFFIXES) and name[0] != "."]
    return sorted(files)


def _tensors(file: Path, folders: tuple[str, ...]) -> Iterator[tuple[str, Stored]]:
    """(name, tensor) of one file, whatever its content shows it to be."""
    try:
        with open(file, "rb") as opened:
            start = opened.read(8)
            if start.startswith(b"\x93NUMPY"):
                size = os.fstat(opened.fileno()).st_size
                opened.seek(0)
                shape, dtype = _npy_header(opened, size, str(file))
                name = "/".join((*folders, unquote(file.name.removesuffix(".npy"))))
                yield name, Stored(shape, dtype, lambda: _single(file))
                return
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    own = "/".join((*folders, file.stem))
    prefix = own if SECTION.fullmatch(own) else "/".join(folders)
    for name, stored in _archived(file) if start.startswith(b"PK\x03\x04") else _safetensors(file):
        yield f"{prefix}/{name}" if prefix else name, stored


def _safetensors(file: Path) -> Iterator[tuple[str, Stored]]:
    named = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    tensors: Tensors = {}

    def load(name: str) -> np.ndarray:
        if not tensors:
            tensors.update(safetensors.read(file))
        return tensors[name]

    for name, entry in safetensors.header(file).entries.items():
        dtype = named.get(entry.dtype) or np.dtype(safetensors.DTYPES[entry.dtype]).name
        yield name, Stored(entry.shape, dtype, lambda name=name: load(name))


def _archived(file: Path) -> Iterator[tuple[str, Stored]]:
    """The members of an .npz, which stays open as long as one may be loaded: its list of members is long to read."""
    with _usable(file):
        archive = zipfile.ZipFile(file)
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        foreign = "PyTorch's .pt and .bin are such archives: convert them to safetensors or .npz"
        require(bool(members), f"{file} is a zip archive without .npy members; {foreign}")
        for info in members:
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as opened:
                shape, dtype = _npy_header(opened, info.file_size, f"{file}: tensor {shown(name)}")
            yield unquote(name), Stored(shape, dtype, lambda info=info: _member(archive, info, file))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path) -> np.ndarray:
    with _usable(file), archive.open(info) as opened:
        return _npy(opened, file)


def _single(file: Path) -> np.ndarray:
    with open(file, "rb") as opened:
        return _npy(opened, file)


@contextmanager
def _usable(file: Path) -> Iterator[None]:
    """Whatever a damaged zip archive raises inside is one line."""
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise InputError(f"{file} is not a usable .npz: {error or 'it ends too early'}") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise InputError(f"{file} is not a usable .npz: {error}") from None


def _npy_header(opened: BinaryIO, size: int, where: str) -> tuple[tuple[int, ...], str]:
    """(shape, dtype) of an .npy whose bytes are `size`; InputError where the two do not agree."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(opened)
        require(version in readers, f"{where} is .npy of version {version}, which plain tensors never need")
        shape, _, dtype = readers[version](opened)
    except InputError:
        raise
    except Exception as error:  # NumPy parses the header as Python, so anything may come
        raise InputError(f"{where} is not a usable .npy: {shown(str(error) or error)}") from None
    require(not dtype.hasobject, f"{where} holds pickled Python objects, which could run code: save plain numbers")
    sizes = all(type(n) is int and n >= 0 for n in shape)
    require(sizes, f"{where} has shape {shown(shape)}, not whole numbers")
    require(len(shape) <= safetensors.MAX_DIMENSIONS, f"{where} has {len(shape)} dimensions")
    needed, held = math.prod(shape) * dtype.itemsize, size - opened.tell()
    claimed = f"{where} claims shape {tuple(shape)} of {dtype}, {needed} bytes"
    require(needed == held, f"{claimed}, but holds {held}: truncated?")
    return tuple(shape), _name(dtype)


def _name(dtype: np.dtype) -> str:
    """The dtype's name; two bytes without a type are how NumPy files hold bfloat16."""
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.fields is None:
        return "bfloat16"
    return "float64" if dtype.kind == "f" and dtype.itemsize > 8 else dtype.name


def _npy(opened: BinaryIO, file: Path) -> np.ndarray:
    """The array of an .npy file, or of an .npz file's member."""
    try:
        array = np.lib.format.read_array(opened, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{file} is not usable: {error}") from None
    if _name(array.dtype) == "bfloat16":  # the upper half of a float32
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array


# ---- Names -----------------------------------------------------------------------------------------------------------
def read_names(path: str | os.PathLike, case: Any) -> dict[str, tuple[str, bool]]:
    """A name map: {theirs: case key} or {theirs: {"key": case key, "transpose": true}}.

    Theirs and ours may be whole keys, or names that hold in every section ("encoder.0.q" -> "bert.encoder.…").
    """
    try:
        fields = strictjson.loads(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    require(isinstance(fields, dict), f"{path} is not a JSON object of names")
    known = {*case.entries, *(key.partition("/")[2] for key in case.entries)}
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


def sources(stored: Iterable[str], case: Any, names: Names) -> dict[str, tuple[str, bool]]:
    """Case key -> (name, transposed). What no map names: equal keys, and names without a section as forward ones."""
    spellings = _spellings(case)
    found: dict[str, tuple[str, bool]] = {}
    for name in stored:
        key, transposed = _key(name, case, names, spellings)
        if key is not None:
            other = found.get(key, ("",))[0]
            require(key not in found, f"tensors {shown(other)} and {shown(name)} are both {shown(key)}")
            found[key] = (name, transposed)
    return found


def _key(name: str, case: Any, names: Names, spellings: Mapping[str, str]) -> tuple[str | None, bool]:
    """(case key or None, transposed) of one name."""
    section = SECTION.match(name)
    prefix, rest = (section[0], name[section.end() + 1 :]) if section else ("", name)
    mapped, transposed = names.get(name) or names.get(rest) or (name if section else rest, False)
    for key in (mapped, f"{prefix}/{mapped}", f"forward/{mapped}", spellings.get(mapped, "")):
        if key in case.entries:
            return key, transposed
    return None, False


def _spellings(case: Any) -> dict[str, str]:
    """Other spelling of an input's key -> the key."""
    if case.facts["family"] is None:
        return {}
    pairs = getattr(families.family(case.facts["family"]), "SPELLINGS", {})
    both = {**pairs, **{own: other for other, own in pairs.items()}}
    keys = (key for key in case.entries if key.startswith("inputs/"))
    return {key.replace(last, both[last]): key for key in keys if (last := key.rpartition("/")[2]) in both}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def matched(stored: Mapping[str, Stored], case: Any, names: Names | None = None) -> Candidate:
    """The tensors that the case knows, in its shapes; InputError where nothing is common or a shape is wrong."""
    places = sources(stored, case, names or {})
    taken = {name for name, _ in places.values()}
    unknown = [name for name in stored if name not in taken]
    unlike = f"it has {', '.join(map(shown, unknown[:2]))} …, the case {', '.join(map(repr, _computed(case)[:2]))} …"
    require(bool(places), f"the candidate and the case have no tensor in common: {unlike}; --suggest-names may help")
    slots, tensors, partial, unshared, wrong, dtypes = _slots(case), {}, {}, {}, [], set()
    for key in (key for key in case.entries if key in places):
        (name, transposed), entry = places[key], case.entries[key]
        shape = stored[name].shape[::-1] if transposed else stored[name].shape
        if not any(_fits(shape, entry.shape, slots)):
            wrong.append(f"{shown(name)} is {shape}, the case has {entry.shape}")
            continue
        array = _numbers(stored[name], name, np.dtype(entry.dtype))
        array = array.T if transposed else array
        tensors[key], rows = fitted(array, case, key, slots)
        if rows is not None:
            partial[key] = rows
        if key.startswith("forward/") and array.size > tensors[key].size and not (array == tensors[key]).all():
            unshared[key] = array
        if stored[name].dtype in PRECISIONS and entry.role not in ("weight", "input"):
            dtypes.add(stored[name].dtype)
    if wrong:
        more = f" (and {len(wrong) - 1} more of the wrong shape)" if len(wrong) > 1 else ""
        raise InputError(f"the candidate's tensor {wrong[0]}{more}")
    dtype = max(dtypes, key=PRECISIONS.index, default="float64")
    return Candidate(tensors, partial, unshared, unknown, dtype, digest(tensors))


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
    array = held.load()
    require(array.dtype.kind in "fiub", f"the candidate's tensor {name!r} holds {held.dtype}, not real numbers")
    if wanted.kind == "f":
        return array.astype(np.float64)
    whole = array.dtype.kind != "f" or (np.isfinite(array).all() and (array == np.rint(array)).all())
    require(whole, f"the candidate's tensor {name!r} holds {held.dtype} fractions, the case has {wanted.name}")
    return array.astype(np.int64)


def fitted(array: np.ndarray, case: Any, key: str, slots: "Slots | None") -> tuple[np.ndarray, np.ndarray | None]:
    """(the array in the shape of the case, rows (B, T) given where not all are).

    Logically the same: axes of length 1 more or fewer, the two leading axes merged, one position table repeated for
    each row of the batch, and values at the target positions alone instead of everywhere. Of those the others are
    filled: with 0 for gradients, which is what they are, else with the truth, and then not compared.
    """
    shape = case.entries[key].shape
    same, repeated, at_slots, _ = _fits(array.shape, shape, slots)
    if same:
        return np.asarray(array.reshape(shape), order="C"), None
    gradient = key.startswith("gradients/")
    if repeated:
        if gradient:
            return array.sum(0, keepdims=True), None
        odd = np.abs(array - case.tensor(key)).reshape(len(array), -1).max(1).argmax()  # the one farthest off
        return array[odd : odd + 1], None
    flat = slots.positions if at_slots else slots.targets
    rows = array.reshape(len(flat), shape[2])
    given = np.zeros(shape[0] * shape[1], bool)
    given[flat] = True
    if gradient:
        full = np.zeros((len(given), shape[2]))
        np.add.at(full, flat, rows)
        return full.reshape(shape), None
    full = np.array(case.tensor(key), np.float64).reshape(-1, shape[2])
    full[flat] = rows
    return full.reshape(shape), given.reshape(shape[:2])


class Slots(NamedTuple):
    """Flat positions b·T + t of all target slots (B, M), and of those with weight."""

    batch: int
    positions: np.ndarray
    targets: np.ndarray


def _slots(case: Any) -> Slots | None:
    names = ("inputs/masked_lm_positions", "inputs/masked_lm_weights", "inputs/input_ids")
    if any(name not in case.entries for name in names):
        return None
    positions, weights = case.tensor(names[0]), case.tensor(names[1])
    flat = (positions + np.arange(len(positions))[:, None] * case.entries[names[2]].shape[1]).reshape(-1)
    return Slots(len(positions), flat, flat[weights.reshape(-1) != 0])


def _fits(got: tuple[int, ...], due: tuple[int, ...], slots: Slots | None) -> tuple[bool, bool, bool, bool]:
    """Whether a shape is (the same but for merged and empty axes, repeated rows, at all slots, at the targets)."""

    def core(shape: tuple[int, ...]) -> list[int]:
        return [n for n in shape if n != 1]

    merged = (math.prod(due[:2]), *due[2:])
    same = core(got) == core(due) or (len(due) > 2 and core(got) == core(merged))
    repeated = len(due) > 1 and due[0] == 1 and len(got) == len(due) and got[1:] == due[1:]
    wide = slots is not None and len(due) == 3 and len(got) > 1 and got[-1] == due[2] and len(got) <= 3
    at_slots = wide and got[:-1] in ((len(slots.positions),), (slots.batch, len(slots.positions) // slots.batch))
    at_targets = wide and got[:-1] in ((len(slots.targets),), (1, len(slots.targets)))
    return same, repeated, at_slots, at_targets


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
    known = sources(stored, case, {})
    taken = {name for name, _ in known.values()}
    slots, guesses = _slots(case), []
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for key, entry in case.entries.items():
        if np.dtype(entry.dtype).kind == "f" and key not in known:
            by_shape.setdefault(entry.shape, []).append(key)
    for name in (name for name in stored if name not in taken):
        section = SECTION.match(name)
        shape = stored[name].shape
        turns = (False, True) if len(shape) == 2 else (False,)
        pairs = [
            (key, t)
            for due, keys in by_shape.items()
            for t in turns
            if any(_fits(shape[:: -1 if t else 1], due, slots))
            for key in keys
            if not section or key.startswith(f"{section[0]}/")
        ]
        array = stored[name].load() if pairs else np.empty(0)
        if array.size and array.dtype.kind in "fiub":
            for key, transposed in pairs:
                distance = round(_apart(array.T if transposed else array, case.tensor(key), slots), 9)
                if distance < CLOSE:
                    likeness = difflib.SequenceMatcher(None, name, key).ratio()
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


def _apart(array: np.ndarray, truth: np.ndarray, slots: Slots | None) -> float:
    """|array - truth| / |truth|; infinite where the shapes differ or there is nothing to compare."""
    same, repeated, at_slots, at_targets = _fits(array.shape, truth.shape, slots)
    if repeated and not same:
        array = array[:1]
    elif (at_slots or at_targets) and not same:
        truth = truth.reshape(-1, truth.shape[-1])[slots.positions if at_slots else slots.targets]
    elif not same:
        return math.inf
    length = float(np.linalg.norm(truth))
    with np.errstate(over="ignore", invalid="ignore"):
        distance = float(np.linalg.norm(array.reshape(-1).astype(np.float64) - truth.reshape(-1)))
    return distance / length if length and math.isfinite(distance) else math.inf


def name_map(suggestions: list[Suggestion]) -> dict[str, Any]:
    """The suggestions as `read_names` takes them."""
    return {s.name: {"key": s.key, "transpose": True} if s.transposed else s.key for s in suggestions}
