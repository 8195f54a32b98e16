"""Pictures as arrays (N, C, Y, X) of numbers, and what they show: NumPy's files, scikit-learn's digits, drawn ones.

Entries of whole numbers become shares of the largest, bytes of 255; others stay as they are.
"""

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert.checkpoint import numpy_files, strictjson
from minibert.config import require, shown
from minibert.errors import InputError

Array = np.ndarray
MOST = 1 << 26  # numbers of all pictures together
HELD = ("images", "pictures", "pixel_values", "pixels", "x", "X", "data")  # what files call them
SHOWN = ("labels", "label", "targets", "target", "y", "Y")
SOURCES = ("any", "digits", "drawn")


class Pictures(NamedTuple):
    """pixels (N, C, Y, X), float32; labels: what each shows, as text, or None."""

    pixels: Array
    labels: list[str] | None


def read(path: str | Path) -> Pictures:
    """Those of an .npy, (N, Y, X) or (N, C, Y, X), or of an .npz, where their labels (N,) may stand beside them;
    InputError, one line, for whatever is none.
    """
    if not numpy_files.beginning(Path(path)).startswith(numpy_files.ARCHIVE):
        return _made(path, numpy_files.single(Path(path)), None)
    held = dict(numpy_files.members(Path(path)))
    first = next((held[name] for name in HELD if name in held), None)
    require(first is not None, f"{path} has {', '.join(map(repr, [*held][:5]))}, but no pictures: call them 'images'")
    return _made(path, first, next((held[name] for name in SHOWN if name in held), None))


def _made(path: str | Path, stored: numpy_files.Stored, shown: numpy_files.Stored | None) -> Pictures:
    shape = stored.shape
    fits = len(shape) in (3, 4) and all(shape)
    require(fits, f"{path}: pictures of shape {shape}; expected (N, Y, X), or (N, C, Y, X) with channels")
    require(int(np.prod(shape, dtype=object)) <= MOST, f"{path}: more than {MOST:,} numbers: give fewer pictures")
    pixels = stored.load()
    require(pixels.dtype.kind in "biuf", f"{path}: pictures of {pixels.dtype}; expected numbers")
    if pixels.dtype.kind in "biu":
        most = 255 if pixels.dtype == np.uint8 else max(1, int(abs(pixels.astype(np.int64)).max()))
        pixels = pixels / np.float32(most)
    require(bool(np.isfinite(pixels).all()), f"{path}: pictures with entries that are NaN or infinite")
    pixels = pixels.astype(np.float32).reshape(shape[0], -1, *shape[-2:])
    return Pictures(pixels, None if shown is None else _labels(path, shown, len(pixels)))


def _labels(path: str | Path, stored: numpy_files.Stored, count: int) -> list[str]:
    fits = stored.shape in ((count,), (count, 1))
    require(fits, f"{path}: labels of shape {stored.shape} for {count} pictures; expected ({count},)")
    labels = stored.load().reshape(-1)
    require(labels.dtype.kind in "biu", f"{path}: labels of {labels.dtype}; expected whole numbers")
    return [str(int(label)) for label in labels]


def one(path: str | Path, number: int | None = None) -> Array:
    """A picture (C, Y, X) of a file: the one with this number, from 0; None: the file has one alone."""
    try:
        status = os.stat(path)
        key = status.st_mtime_ns, status.st_size
    except (OSError, ValueError):
        key = 0, 0  # the reader says what is wrong
    pixels = _last(str(path), key).pixels
    require(number is not None or len(pixels) == 1, f"{path} has {len(pixels):,} pictures: say which (number)")
    fits = number is None or number < len(pixels)
    require(fits, f"{path} has {len(pixels):,} pictures, and the first is 0: there is no number {number}")
    return pixels[number or 0]


@functools.lru_cache(maxsize=1)
def _last(path: str, key: tuple[int, int]) -> Pictures:
    """A file as it was then: rows that name one after another are read once."""
    return read(path)


PREPROCESSOR = "preprocessor_config.json"  # of published directories: what was done to their pictures


def normed(pixels: Array, said: str | None) -> Array:
    """(x - mean)/std of each channel of (C, Y, X), in shares of 1, where a preprocessor_config.json says so; said: its
    text, None: there is none. InputError for what it says and is not done here.
    """
    held: Any = {} if said is None else strictjson.as_written(said.encode(), PREPROCESSOR)
    require(isinstance(held, dict), f"{PREPROCESSOR} is not a JSON object")
    factor = held.get("rescale_factor", 1 / 255) if held.get("do_rescale", True) else None
    close = isinstance(factor, float) and abs(factor * 255 - 1) < 1e-3
    require(close, f"{PREPROCESSOR}: pictures are read as shares of their largest number, not times {factor}")
    if not held.get("do_normalize", "image_mean" in held):
        return pixels
    mean, std = (_numbers(name, held.get(name), len(pixels)) for name in ("image_mean", "image_std"))
    with np.errstate(all="ignore"):
        found = ((pixels - mean) / std).astype(pixels.dtype)
    require(bool(np.isfinite(found).all()), f"{PREPROCESSOR}: numbers are not finite by image_mean and image_std")
    return found


def _numbers(name: str, given: Any, count: int) -> Array:
    fits = isinstance(given, list) and len(given) == count and all(type(n) in (int, float) for n in given)
    require(fits, f"{PREPROCESSOR}: {name} is {shown(given)}; expected a list of {count} numbers, one a channel")
    return np.array(given, float)[:, None, None]


def of_files(paths: Iterable[str | Path]) -> Pictures:
    """Those of all files, which have to be of one size."""
    several = [read(path) for path in paths]
    sizes = {one.pixels.shape[1:] for one in several}
    require(len(sizes) == 1, f"pictures of several sizes (C, Y, X): {', '.join(map(str, sorted(sizes)))}")
    labelled = all(one.labels is not None for one in several)
    labels = [label for one in several for label in one.labels] if labelled else None
    return Pictures(np.concatenate([one.pixels for one in several]), labels)


def made(source: str, count: int = 1797) -> Pictures:
    """Without files: scikit-learn's digits, drawn ones, or any: the former where that is installed."""
    if source == "drawn":
        return drawn(count)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        require(source == "any", "digits come with scikit-learn, which is not installed: python -m pip install "
                "scikit-learn, or ask for drawn ones")  # fmt: skip
        return drawn(count)
    try:
        held = load_digits()
    except Exception as error:  # whatever an installation lacks
        raise InputError(f"scikit-learn does not give its digits: {error}") from None
    return Pictures(held.images[:, None].astype(np.float32) / 16, [str(label) for label in held.target])


# ---- Drawn -----------------------------------------------------------------------------------------------------------
# digits of five rows of three cells, a bit each, row by row
FIGURES = ("111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
           "111100111001111", "111100111101111", "111001010010010", "111101111101111", "111101111001111")  # fmt: skip


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def captioned(count: int, size: int = 8, seed: int = 0) -> tuple[Pictures, list[str]]:
    """As `drawn`, and what is written about each: "a three, tilted left", "a faint seven, upright"."""
    pictures, lean, strength = _drawn(count, size, seed)
    said = []
    for label, slope, ink in zip(pictures.labels, lean, strength, strict=True):
        side = "upright" if abs(slope) < UPRIGHT else "tilted right" if slope > 0 else "tilted left"
        name = f"{'faint ' if ink < FAINT else ''}{NAMES[int(label)]}"
        said.append(f"{'an' if name[0] in 'aeiou' else 'a'} {name}, {side}")
    return pictures, said


UPRIGHT, FAINT = 0.2, 0.7  # a smaller slope is none; less ink is faint


def drawn(count: int, size: int = 8, seed: int = 0) -> Pictures:
    """So many digits, in turn, of size·size pixels: each moved, sheared, stretched, of other strength, with noise."""
    return _drawn(count, size, seed)[0]


def _drawn(count: int, size: int, seed: int) -> tuple[Pictures, Array, Array]:
    """(digits, the slope of each, above 0 to the right, the strength of its ink)."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 10
    cells = np.array([[*map(int, figure)] for figure in FIGURES], float).reshape(10, 5, 3)
    inks = np.pad(cells, [(0, 0), (2, 2), (2, 2)])[labels]  # (N, 9, 7)
    down, across = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    scale, moved = rng.uniform(0.75, 1.1, (2, count, 1, 1)), rng.uniform(-0.7, 0.7, (2, count, 1, 1))
    lean = rng.uniform(-0.5, 0.5, (count, 1, 1))
    y = 4 + (down - 0.5) * 6.5 / scale[0] + moved[0]
    x = 3 + (across - 0.5) * 5.5 / scale[1] + moved[1] + lean * (down - 0.5) * 2
    y, x = np.clip(y, 0, 7.999), np.clip(x, 0, 5.999)
    top, left, rows = y.astype(int), x.astype(int), np.arange(count)[:, None, None]
    v, u = y - top, x - left  # between four cells
    found = ((1 - v) * ((1 - u) * inks[rows, top, left] + u * inks[rows, top, left + 1])
             + v * ((1 - u) * inks[rows, top + 1, left] + u * inks[rows, top + 1, left + 1]))  # fmt: skip
    ink = rng.uniform(0.6, 1.0, (count, 1, 1))
    found = found * ink + 0.08 * rng.standard_normal(found.shape)
    made = Pictures(np.clip(found, 0, 1)[:, None].astype(np.float32), [str(label) for label in labels])
    return made, lean[:, 0, 0], ink[:, 0, 0]
