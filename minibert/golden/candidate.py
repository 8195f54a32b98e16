"""Somebody's tensors: read from files as they come, and brought to a case's names and shapes.

A candidate is a file (safetensors, .npz, .npy) or a directory of such files. A tensor's name is its path: folders below
the directory, then for a .npy its own name (percent-escapes undone), then for a container the name inside; a container
called forward, gradients, steps, steps/10, inputs or weights is itself a folder. Nothing is ever unpickled, and nothing
is read that its file's size contradicts.
"""

import difflib
import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from minibert import families, gradcheck, reading
from minibert.checkpoint import safetensors, strictjson
from minibert.config import nearest, require, shown
from minibert.errors import LONGEST, InputError
from minibert.golden import kinds, numpy_files
from minibert.golden.numpy_files import Stored

PRECISIONS = ("float64", "float32", "float16", "bfloat16")  # from most to least precise
SECTION = re.compile(r"(forward|gradients|inputs|weights|steps(/\d+)?)")
SUFFIXES = (".safetensors", ".npz", ".npy")
DEEPEST = 32  # folders below the candidate's
MAX_TENSORS = 1 << 15
CLOSE = 0.1  # of a tensor's length: two that differ by more are not suggested as the same
Tensors = dict[str, np.ndarray]
Names = Mapping[str, tuple[str, bool]]  # theirs -> (ours, transposed)


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
        require(name in known, f"{path}: there is no such file or directory{nearest(name, known)}")
        path = known[name]
    root = Path(path)
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
        yield name, Stored(held.shape, named.get(held.kind) or held.dtype.name, held.load)


def _archived(file: Path) -> Iterator[tuple[str, Stored]]:
    return ((unquote(name), stored) for name, stored in numpy_files.members(file))


# ---- Names -----------------------------------------------------------------------------------------------------------
def read_names(path: str | os.PathLike, case: Any) -> dict[str, tuple[str, bool]]:
    """A name map: {theirs: case key} or {theirs: {"key": case key, "transpose": true}}.

    Theirs and ours may be whole keys, or names that hold in every section ("encoder.0.q" -> "bert.encoder.…").
    """
    fields = strictjson.loads(reading.contents(path), str(path))
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
    widened = getattr(kinds.of(case), "widened", lambda case, key, held: held)
    stored = {**stored, **{name: widened(case, key, stored[name]) for key, (name, _) in places.items()}}
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


def fitted(array: np.ndarray, case: Any, key: str, slots: "Slots") -> tuple[np.ndarray, np.ndarray | None]:
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
    """The batch's rows B, 0 where there are none; flat positions b·T + t of all target slots (B, M), and of those with
    weight.
    """

    batch: int
    positions: np.ndarray
    targets: np.ndarray


def _slots(case: Any) -> Slots:
    names = ("inputs/input_ids", "inputs/masked_lm_positions", "inputs/masked_lm_weights")
    ids, *targets = (case.entries[name].shape if name in case.entries else () for name in names)
    if len(ids) != 2 or () in targets:
        return Slots(ids[0] if len(ids) == 2 else 0, np.zeros(0, np.int64), np.zeros(0, np.int64))
    right = targets[0] == targets[1] == (ids[0], *targets[0][1:]) and len(targets[0]) == 2
    positions, weights = (case.tensor(name) for name in names[1:])
    right = right and positions.dtype.kind == "i" and ((positions >= 0) & (positions < ids[1])).all()
    require(right, f"case {case.name}: {names[1]} and {names[2]} are not positions in rows {ids} with a weight each")
    flat = (positions + np.arange(ids[0])[:, None] * ids[1]).reshape(-1)
    return Slots(ids[0], flat, flat[weights.reshape(-1) != 0])


def _fits(got: tuple[int, ...], due: tuple[int, ...], slots: Slots) -> tuple[bool, bool, bool, bool]:
    """Whether a shape is (the same but for merged and empty axes, repeated rows, at all slots, at the targets)."""

    def core(shape: tuple[int, ...]) -> list[int]:
        return [n for n in shape if n != 1]

    merged = (math.prod(due[:2]), *due[2:])
    same = core(got) == core(due) or (len(due) > 2 and core(got) == core(merged))
    repeated = len(due) > 1 and due[0] == 1 and got == (slots.batch, *due[1:])
    wide = len(slots.positions) > 0 and len(due) == 3 and len(got) > 1 and got[-1] == due[2] and len(got) <= 3
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


def _apart(array: np.ndarray, truth: np.ndarray, slots: Slots) -> float:
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
