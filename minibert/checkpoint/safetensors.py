"""The safetensors layout, read strictly and written reproducibly.

    8 bytes   N, the header's length, unsigned, little-endian
    N bytes   the header: JSON, begins with "{", may end in spaces
                  {"__metadata__": {str: str}, NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
    the rest  the tensors' bytes: C order, little-endian, without holes or overlap, to the end of the file

Source: the format section of the published package's README. Everything a header claims is compared with the size
of the file before memory is taken. Any fault is one line of InputError that names the file and the tensor.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minibert import reading
from minibert.checkpoint import atomic, strictjson
from minibert.config import require, shown
from minibert.errors import InputError

MAX_HEADER = 1 << 24  # bytes; the published limit is 100 MB, which as Python objects would be gigabytes
MAX_TENSORS = 1 << 16  # of one file: published ones have some thousands
MAX_DIMENSIONS = 32  # NumPy 1's limit
MAX_BYTES = 2**63 - 1  # what an index can address

# In the order in which the published writer lays tensors down: widest alignment first, then by name.
DTYPES = {
    "U64": "<u8", "I64": "<i8", "F64": "<f8", "F32": "<f4", "U32": "<u4", "I32": "<i4", "BF16": "<u2",
    "F16": "<f2", "U16": "<u2", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
# published, too, and read by nobody here: bits of a number. Such a tensor hurts only whoever needs it.
UNREAD = {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6,
          "F4": 4, "C64": 64}  # fmt: skip
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if name != "BF16"}

FOREIGN = {  # how files begin that are offered as weights by mistake
    rb"PK(\x03\x04|\x05\x06)": "a zip archive, as PyTorch's .bin and .pt files and NumPy's .npz are",
    rb"\x80[\x02-\x05][^\0]": "a pickle, as older PyTorch files are; it could run code, so it is never unpickled",
    rb"\s*<[!?a-zA-Z]": "an HTML or XML page: the download went wrong",
    rb"version https://git-lfs": "a Git LFS pointer, not the weights themselves: run `git lfs pull`",
    rb"\x89HDF": "an HDF5 file, as TensorFlow's .h5 files are",
    rb"\x93NUMPY": "a NumPy .npy file",
    rb"GGUF": "a GGUF file",
}


class Entry(NamedTuple):
    """One tensor of a header: stored dtype ("F32"), shape, and its bytes [begin, end) counted after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """The checked header: entries in the order of their bytes, the metadata, and where in the file bytes begin."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    start: int


class Stored(NamedTuple):
    """A tensor that was not read yet: stored dtype ("F32"), shape, and how to read it (see `read`)."""

    kind: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]

    @property
    def dtype(self) -> np.dtype:
        """What it is read as; void for a kind that isn't (UNREAD)."""
        if self.kind in UNREAD:
            return np.dtype(np.void)
        kind = np.dtype(DTYPES[self.kind]).newbyteorder("=")
        return np.dtype(np.float32) if self.kind in ("F16", "BF16") else kind


def header(path: str | os.PathLike) -> Header:
    """The header alone, checked against the file's size."""
    with reading.opened(path) as file, _readable(path):
        return _header(file, path)


def stored(path: str | os.PathLike) -> dict[str, Stored]:
    """Every tensor by name, to be read one by one: what nobody can use takes no memory, and may be of any kind."""
    entries, _, start = header(path)
    return {
        name: Stored(entry.dtype, entry.shape, partial(_alone, path, name, entry, start))
        for name, entry in entries.items()
    }


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every tensor by name, writable, in native byte order; F16 and BF16 come exactly widened to float32."""
    with reading.opened(path) as file, _readable(path):
        entries, _, start = _header(file, path)
        file.seek(start)
        return {name: _tensor(file, entry, f"{path}: tensor {shown(name)}") for name, entry in entries.items()}


def stored_shards(index: str | os.PathLike) -> dict[str, Stored]:
    """Every tensor of a sharded checkpoint, from its `model.safetensors.index.json`.

    The files lie beside the index, and each holds the tensors that the index places there. What a file holds beside
    them is read like the rest, as published, unless the index places it elsewhere.
    """
    listed_in: dict[str, set[str]] = {}
    for name, shard in placed(index).items():
        listed_in.setdefault(shard, set()).add(name)
    placed_there, others = {}, {}
    for shard, listed in sorted(listed_in.items()):
        held = stored(Path(index).parent / shard)
        for name in sorted(listed - held.keys()):
            raise InputError(f"{index}: tensor {shown(name)} is listed by the index but not in {shard}")
        placed_there |= {name: held[name] for name in held if name in listed}
        others |= {name: held[name] for name in held if name not in listed}
    return others | placed_there


def read_shards(index: str | os.PathLike) -> dict[str, np.ndarray]:
    """The same, read."""
    return {name: tensor.load() for name, tensor in stored_shards(index).items()}


def placed(index: str | os.PathLike) -> dict[str, str]:
    """Name -> file, as a `model.safetensors.index.json` says."""
    fields = strictjson.as_written(reading.contents(index), str(index))
    places = fields.get("weight_map") if isinstance(fields, dict) else None
    require(isinstance(places, dict), f"{index}: 'weight_map' is missing or no object")
    found = {}
    for name, shard in places.items():
        file = shard.removeprefix("./") if isinstance(shard, str) else ""
        plain = file.endswith(".safetensors") and not set(file) & set("/\\:\0")
        require(plain, f"{index}: tensor {shown(name)} is placed in {shown(shard)}, no plain file name in .safetensors")
        found[name] = file
    return found


def write(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays of any order, strides and byte order, atomically, with the bytes the published writer gives.

    float16 becomes F16. A dtype the layout lacks (longdouble, complex, object, …) is refused.
    """
    for key, value in (metadata or {}).items():
        _require_text(key, f"{path}: metadata key")
        _require_text(value, f"{path}: metadata {shown(key)}")
    arrays = {name: _storable(array, name, path) for name, array in tensors.items()}
    ranks = list(NAMES.values())
    order = sorted(arrays, key=lambda name: (ranks.index(NAMES[arrays[name].dtype]), name))
    fields: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        fields[name] = {"dtype": NAMES[arrays[name].dtype], "shape": shape, "data_offsets": [begin, end]}
    head = strictjson.dumps(fields)
    head += b" " * (-len(head) % 8)  # so that every tensor is aligned in a memory map
    most = f"{len(arrays)} of at most {MAX_TENSORS}, {len(head)} bytes of header of at most {MAX_HEADER}"
    require(len(head) <= MAX_HEADER and len(arrays) <= MAX_TENSORS, f"{path}: too many tensors: {most}")
    with atomic.file(path) as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for name in order:
            out.write(arrays[name].reshape(-1).view(np.uint8).data)


def _header(file: BinaryIO, path: str | os.PathLike) -> Header:
    size = os.fstat(file.fileno()).st_size
    first = file.read(32)
    length = int.from_bytes(first[:8], "little")
    if first[8:9] != b"{" or length > min(size - 8, MAX_HEADER):
        for start, kind in FOREIGN.items():
            require(not re.match(start, first), f"{path} is not in the safetensors layout but {kind}")
    require(size >= 8, f"{path}: {size} bytes, too short for a safetensors file")
    known = first[8:9] == b"{" or length <= size - 8
    require(known, f"{path}: no header stands behind its first 8 bytes: not safetensors")
    most = f"the limit here is {MAX_HEADER}, the published one 100000000"
    require(length <= MAX_HEADER, f"{path}: claims a header of {length} bytes; {most}")
    require(length <= size - 8, f"{path}: claims a header of {length} bytes, but only {size - 8} follow: truncated?")
    require(first[8:9] == b"{" and length > 0, f"{path}: the header does not begin with '{{': not safetensors")
    file.seek(8)
    fields = strictjson.loads(file.read(length), f"{path}: the header")
    metadata = fields.pop("__metadata__", None)  # null, as some writers have it, says nothing
    metadata = {} if metadata is None else metadata
    strings = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    require(strings, f"{path}: '__metadata__' is not an object of strings")
    require(len(fields) <= MAX_TENSORS, f"{path}: {len(fields)} tensors; the limit is {MAX_TENSORS}")
    entries = {name: _entry(value, name, path) for name, value in fields.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if entry.begin != end:
            problem = "overlaps the one before it" if entry.begin < end else "leaves a hole before it"
            where = f"begins at byte {entry.begin}, not {end}: it {problem}"
            raise InputError(f"{path}: tensor {shown(name)} {where}")
        end = entry.end
    held = size - 8 - length
    problem = "truncated?" if end > held else "bytes nobody owns"
    require(end == held, f"{path}: the tensors take {end} bytes, the file holds {held}: {problem}")
    return Header(entries, metadata, 8 + length)


def _entry(fields: Any, name: str, path: str | os.PathLike) -> Entry:
    if fault := _fault(fields):
        raise InputError(f"{path}: tensor {shown(name)} {fault}")
    return Entry(fields["dtype"], tuple(fields["shape"]), *fields["data_offsets"])


def _fault(fields: Any) -> str:
    """What is wrong with a tensor's entry in a header; "" for nothing."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(fields, dict) or not keys <= fields.keys():
        return f"does not have {sorted(keys)}"
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in {**DTYPES, **UNREAD}:
        return f"has dtype {shown(dtype)}; known: {' '.join((*DTYPES, *UNREAD))}"
    if not _sizes(shape):
        return f"has shape {shown(shape)}, not a list of whole numbers"
    if len(shape) > MAX_DIMENSIONS:
        return f"has {len(shape)} dimensions; the limit is {MAX_DIMENSIONS}"
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        return f"has data_offsets {shown(offsets)}, not a begin and an end"
    bits = UNREAD[dtype] if dtype in UNREAD else 8 * np.dtype(DTYPES[dtype]).itemsize
    if bits * math.prod(n for n in shape if n) > 8 * MAX_BYTES:  # NumPy asks it of empty arrays too
        return f"has shape {shape}: too large"
    needed, span = bits * math.prod(shape), offsets[1] - offsets[0]
    taken = f"({dtype} {shape}) needs {-(-needed // 8)} bytes, its data_offsets span {span}"
    return "" if needed == 8 * span else taken


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _alone(path: str | os.PathLike, name: str, entry: Entry, start: int) -> np.ndarray:
    with reading.opened(path) as file, _readable(path):
        file.seek(start + entry.begin)
        return _tensor(file, entry, f"{path}: tensor {shown(name)}")


@contextmanager
def _readable(path: str | os.PathLike) -> Iterator[None]:
    """What the system says when a read fails is one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _tensor(file: BinaryIO, entry: Entry, where: str) -> np.ndarray:
    """The next entry's array: read straight into its own memory."""
    require(entry.dtype in DTYPES, f"{where} is {entry.dtype}, which is not read; these are: {' '.join(DTYPES)}")
    array = np.empty(entry.shape, DTYPES[entry.dtype])
    count = file.readinto(array.reshape(-1).view(np.uint8).data)
    require(count == array.nbytes, f"{where}: the file ended while it was read")
    if entry.dtype == "BF16":  # the upper half of a float32
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if entry.dtype == "BOOL":
        require(array.view(np.uint8).max(initial=0) <= 1, f"{where}: BOOL holds a byte other than 0 and 1")
    return array.astype(np.float32 if entry.dtype == "F16" else array.dtype.newbyteorder("="), copy=False)


def _storable(array: np.ndarray, name: str, path: str | os.PathLike) -> np.ndarray:
    """The array in C order and little-endian, copied only where it isn't."""
    _require_text(name, f"{path}: tensor name")
    require(name != "__metadata__", f"{path}: no tensor can be called '__metadata__'")
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<")
    problem = f"has dtype {array.dtype}; writable: {' '.join(NAMES.values())}"
    require(little in NAMES, f"{path}: tensor {shown(name)} {problem}")
    return np.asarray(array, dtype=little, order="C")


def _require_text(value: Any, what: str) -> None:
    require(isinstance(value, str), f"{what} {shown(value)} is not a string")
    require(value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value), f"{what} {shown(value)} has no UTF-8")
