"""NumPy's files, read within bounds: an .npy, and the members of an .npz, which is a zip archive of such files.

    6 bytes   "\\x93NUMPY", then two of the version: 1.0 or 2.0
    2 bytes   N, the header's length, little-endian; in version 2.0 four bytes
    N bytes   {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }, a Python dict, which is never evaluated here
    the rest  the entries

Source: the module `numpy.lib.format`. What a header or an archive claims is compared with the bytes that are there
before memory is taken. Deflate makes a byte of at most 1032; what compresses better is not read, nor does NumPy write
it. Any fault is one line of InputError.
"""

import math
import os
import re
import struct
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from minibert import reading
from minibert.checkpoint import safetensors
from minibert.config import require, shown
from minibert.errors import InputError

MAGIC, ARCHIVE = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")  # how the files begin, the last of them an empty one
LENGTHS = {(1, 0): 2, (2, 0): 4}  # version -> bytes of the header's length
MAX_HEADER = 10_000  # bytes of an .npy's header, as NumPy has it
MAX_LIST = 1 << 23  # bytes of an archive's list of members
DEFLATE = 1032  # the best ratio that deflate has
PIECE = 1 << 20  # bytes read at a time
PLAIN = re.compile(r"[<>|=]?[fiubc]\d{1,2}|\|?b1|[<|>=]?V2|\?")  # the dtypes of numbers; V2 is bfloat16
FIELD = re.compile(
    r"""\s*(?P<q>['"])(?P<name>descr|fortran_order|shape)(?P=q)\s*:\s*"""
    r"""((?P<r>['"])(?P<text>[^'"]*)(?P=r)|(?P<truth>True|False)|\((?P<sizes>[-\d,\sL]*)\)|(?P<records>\[.*\]))\s*(,|$)""",
    re.DOTALL,
)


class Stored(NamedTuple):
    """A tensor in a file: its shape and dtype, and how to get it (native byte order, 16-bit floats widened)."""

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]


class Header(NamedTuple):
    """What an .npy says of itself; dtype: None for what are no numbers, named by `descr`."""

    shape: tuple[int, ...]
    dtype: np.dtype | None
    descr: str
    fortran: bool


def beginning(path: Path) -> bytes:
    """The first bytes of a file, which show what it is."""
    with reading.opened(path) as file, usable(path, "file"):
        return file.read(8)


# ---- .npy ------------------------------------------------------------------------------------------------------------
def single(path: Path) -> Stored:
    """The tensor of an .npy file."""
    with reading.opened(path) as file, usable(path, "file"):
        found = _header(file, os.fstat(file.fileno()).st_size, str(path))
    return Stored(found.shape, _name(found), partial(_single, path))


def _single(path: Path) -> np.ndarray:
    with reading.opened(path) as file, usable(path, "file"):
        return _array(file, os.fstat(file.fileno()).st_size, str(path))


def _header(file: BinaryIO, size: int, where: str) -> Header:
    """The header of an .npy whose bytes are `size`; InputError where the two do not agree."""
    start = file.read(8)
    version = tuple(start[6:8])
    require(start[:6] == MAGIC and len(start) == 8, f"{where} is not a usable .npy: it does not begin as one")
    require(version in LENGTHS, f"{where} is .npy of version {version}, which plain tensors never need")
    digits = file.read(LENGTHS[version])
    length = int.from_bytes(digits, "little")
    held = size - 8 - len(digits) - length
    most = f"it claims a header of {length} bytes; the limit is {MAX_HEADER}, and the file's {size}"
    require(length <= MAX_HEADER and held >= 0, f"{where} is not a usable .npy: {most}")
    found = _parsed(file.read(length).decode("latin-1"), where)
    if found.dtype is not None:
        needed = math.prod(found.shape) * found.dtype.itemsize
        if needed != held:
            claimed = f"{where} claims shape {shown(found.shape)} of {found.dtype}, {shown(needed)} bytes"
            raise InputError(f"{claimed}, but holds {held}: truncated?")
    return found


def _parsed(text: str, where: str) -> Header:
    fields = _fields(text.strip())
    if fields is None:
        raise InputError(f"{where} is not a usable .npy: its header is {shown(text.strip())}")
    descr, fortran, shape = fields
    objects = descr.lstrip("|<>=") in ("O", "O8", "O4")
    require(not objects, f"{where} holds pickled Python objects, which could run code: save plain numbers")
    sizes = [part.strip().removesuffix("L") for part in shape.split(",")]  # Python 2 wrote 3L
    sizes = sizes[:-1] if sizes[-1] == "" else sizes
    if not all(part.isdigit() and len(part) < 20 for part in sizes):
        raise InputError(f"{where} has shape ({shown(shape)[1:-1]}), not whole numbers")
    require(len(sizes) <= safetensors.MAX_DIMENSIONS, f"{where} has {len(sizes)} dimensions")
    return Header(tuple(map(int, sizes)), _dtype(descr), descr, fortran == "True")


def _fields(text: str) -> tuple[str, str, str] | None:
    """The dict's descr, fortran_order and shape, as they stand there; None where it isn't such a dict."""
    inner, fields = text[1:-1].rstrip(), {}
    if text[:1] != "{" or text[-1:] != "}":
        return None
    while inner:
        field = FIELD.match(inner)
        if field is None or field["name"] in fields:
            return None
        fields[field["name"]] = field
        inner = inner[field.end() :]
    if len(fields) != 3:
        return None
    descr = fields["descr"]["text"] if fields["descr"]["records"] is None else fields["descr"]["records"]
    found = descr, fields["fortran_order"]["truth"], fields["shape"]["sizes"]
    return None if None in found else found


def _dtype(descr: str) -> np.dtype | None:
    """The dtype, where that is one of numbers which this machine has."""
    try:
        return np.dtype(descr) if PLAIN.fullmatch(descr) else None
    except (TypeError, ValueError):
        return None


def _name(found: Header) -> str:
    """The dtype's name; two bytes without a type are how NumPy files hold bfloat16."""
    if found.dtype is None:
        return shown(found.descr)
    if found.dtype.kind == "V":
        return "bfloat16"
    return "float64" if found.dtype.kind == "f" and found.dtype.itemsize > 8 else found.dtype.name


def _array(file: BinaryIO, size: int, where: str) -> np.ndarray:
    """The array of an .npy, read piece by piece into its own memory."""
    shape, dtype, descr, fortran = _header(file, size, where)
    require(dtype is not None, f"{where} holds {shown(descr)}, not numbers")
    array = np.empty(shape[::-1] if fortran else shape, dtype)
    space = memoryview(array.reshape(-1).view(np.uint8))
    for at in range(0, len(space), PIECE):
        piece = space[at : at + PIECE]
        require(_filled(file, piece), f"{where} is not usable: it ended while it was read")
    require(not file.read(1), f"{where} is not usable: it has more bytes than it says")  # an archive's checksum, too
    array = array.T if fortran else array
    if dtype.kind == "V":  # the upper half of a float32
        little = array.view("<u2" if dtype.byteorder != ">" else ">u2")
        return (little.astype(np.uint32) << 16).view(np.float32)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _filled(file: BinaryIO, space: memoryview) -> bool:
    at = 0
    while at < len(space) and (count := file.readinto(space[at:])):
        at += count
    return at == len(space)


# ---- .npz ------------------------------------------------------------------------------------------------------------
def members(path: Path) -> Iterator[tuple[str, Stored]]:
    """(name, tensor) of an .npz's members, which stay open as long as one may be loaded: their list is long to read."""
    archive = _archive(path)
    listed = archive.infolist()
    infos = [info for info in listed if info.filename.endswith(".npy")]
    require(bool(listed), f"{path} holds no tensors: it is a zip archive of nothing")
    foreign = "PyTorch's .pt and .bin are such archives: convert them to safetensors or .npz"
    require(bool(infos), f"{path} is a zip archive without .npy members; {foreign}")
    for info in infos:
        name = info.filename.removesuffix(".npy")
        where = f"{path}: tensor {shown(name)}"
        if fault := _impossible(info):
            raise InputError(f"{where} {fault}")
        with usable(path, ".npz"), archive.open(info) as file:
            found = _header(file, info.file_size, where)
        yield name, Stored(found.shape, _name(found), partial(_member, archive, info, path, where))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, where: str) -> np.ndarray:
    with usable(path, ".npz"), archive.open(info) as file:
        return _array(file, info.file_size, where)


def _impossible(info: zipfile.ZipInfo) -> str:
    """What a member claims and cannot be; "" for nothing."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {info.compress_type}; read is what is stored as it is or deflated"
    ratio = DEFLATE if info.compress_type == zipfile.ZIP_DEFLATED else 1
    possible = info.file_size <= ratio * info.compress_size
    return "" if possible else f"claims {info.file_size} bytes, more than {info.compress_size} in the archive can hold"


class Bounded:
    """A file for zipfile, which takes the list of members at once: it gets no more than MAX_LIST bytes."""

    def __init__(self, file: BinaryIO, path: Path):
        self.file, self.path = file, path
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        data = self.file.read(min(count, MAX_LIST + 1) if count >= 0 else MAX_LIST + 1)
        require(len(data) <= MAX_LIST, f"{self.path}: its list of members has more than {MAX_LIST} bytes")
        return data


def _archive(path: Path) -> zipfile.ZipFile:
    """The open archive, whose file is closed when nobody refers to it any more."""
    with usable(path, ".npz"), ExitStack() as closing:
        file = closing.enter_context(reading.opened(path))
        archive = zipfile.ZipFile(Bounded(file, path))
        weakref.finalize(archive, closing.pop_all().close)
        return archive


@contextmanager
def usable(path: Path, kind: str) -> Iterator[None]:
    """Whatever a damaged file raises inside is one line."""
    try:
        yield
    except InputError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError, ValueError,
            ArithmeticError, RuntimeError, LookupError) as error:  # RuntimeError: encrypted  # fmt: skip
        said = getattr(error, "strerror", None) or error or "it ends too early"
        raise InputError(f"{path} is not a usable {kind}: {said}") from None
