"""One tensor out of a file that torch.save wrote: read within bounds, and never unpickled.

The file is a zip archive of stored members: NAME/data.pkl, which says of what the tensor is made, and NAME/data/0, its
numbers. Of data.pkl the operations are listed (`pickletools.genops`), none is run: two tuples of numbers in a row are
the sizes and the strides, the number before them the offset, a class's name the kind of numbers. Source:
torch.serialization, torch._utils (`_rebuild_tensor_v2`).
"""

import itertools
import math
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minibert import reading
from minibert.checkpoint.numpy_files import Bounded, Stored, usable
from minibert.config import require
from minibert.errors import InputError

KINDS = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "<u2",
         "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
         "BoolStorage": "?"}  # fmt: skip
NAMES = {"BFloat16Storage": "bfloat16"}
PICKLE = 1 << 16  # bytes of a data.pkl: that of one tensor has some hundreds
MOST = 1 << 34  # bytes of numbers


def single(path: Path) -> Stored:
    """The tensor; InputError where the file holds anything else."""
    kind, shape, strides, offset, count = _told(path)

    def load() -> np.ndarray:
        with _archive(path) as archive:
            raw = np.frombuffer(archive.read(_member(archive, path, "data/0")), KINDS[kind])
        require(len(raw) == count, f"{path}: {len(raw)} numbers, where {count} are due")
        steps = tuple(step * raw.itemsize for step in strides)
        array = np.lib.stride_tricks.as_strided(raw[offset:], shape, steps, writeable=False).copy()
        if kind == "BFloat16Storage":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.float32) if kind == "HalfStorage" else array

    return Stored(shape, NAMES.get(kind, np.dtype(KINDS[kind]).name), load)


def _told(path: Path) -> tuple[str, tuple[int, ...], tuple[int, ...], int, int]:
    """(kind, sizes, strides, where it begins, numbers in the storage), of a tensor that lies within its storage."""
    with _archive(path) as archive:
        text = archive.read(_member(archive, path, "data.pkl", PICKLE))
        size = _member(archive, path, "data/0").file_size
    fault = f"{path} is no lone tensor of torch.save's: convert it to safetensors or .npy"
    kind, numbers, tuples = None, [], []
    try:
        for code, argument, _ in pickletools.genops(text):
            named = argument if isinstance(argument, str) else ""
            kind = next((name for name in KINDS if named.endswith(name)), kind)
            if code.name in ("BININT", "BININT1", "BININT2", "LONG1"):
                numbers.append(argument)
            elif code.name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_TUPLE"):
                held = _last(numbers, code.name)
                tuples.append((held, numbers[-1] if numbers else None))
            elif code.name == "MARK":
                numbers.append(None)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError):
        raise InputError(fault) from None
    whole = [(held, below) for held, below in tuples if all(isinstance(n, int) and n >= 0 for n in held)]
    pairs = [(sizes, steps, offset) for (sizes, offset), (steps, _) in itertools.pairwise(whole)
             if len(sizes) == len(steps) and isinstance(offset, int) and offset >= 0]  # fmt: skip
    require(kind is not None and bool(pairs), fault)
    sizes, strides, offset = pairs[-1]
    count = size // np.dtype(KINDS[kind]).itemsize
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) if math.prod(sizes) else -1
    require(last < count and math.prod(sizes) <= count, fault)
    return kind, sizes, strides, offset, count


def _last(numbers: list[Any], name: str) -> tuple[int, ...]:
    """What a tuple is made of: the numbers on top, as many as its operation says."""
    many = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "EMPTY_TUPLE": 0}.get(name)
    if many is None:
        at = len(numbers) - 1 - numbers[::-1].index(None) if None in numbers else 0
        held = numbers[at + 1 :]
        del numbers[at:]
        return tuple(held)
    held = numbers[len(numbers) - many :]
    del numbers[len(numbers) - many :]
    return tuple(held)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Whatever a damaged archive raises inside is one line."""
    kind = "file of torch.save's"
    with usable(path, kind), reading.opened(path) as file, zipfile.ZipFile(Bounded(file, path)) as archive:
        yield archive


def _member(archive: zipfile.ZipFile, path: Path, name: str, most: int = MOST) -> zipfile.ZipInfo:
    """The one member of that name below the archive's folder, stored as it is."""
    found = [info for info in archive.infolist() if info.filename.partition("/")[2] == name]
    there = len(found) == 1 and found[0].compress_type == zipfile.ZIP_STORED
    right = there and found[0].file_size == found[0].compress_size <= most
    require(right, f"{path} is no lone tensor of torch.save's: its {name} is not there, or too large")
    return found[0]
