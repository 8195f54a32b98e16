"""Pictures and grids of patches."""

from typing import Any

import numpy as np

from minibert.config import require
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(b,2,4,6)->(b,6,8)", size=2)
def patches(x: Array, *, size: int) -> tuple[Array, Cache]:
    """(B, C, Y, X) -> (B, N, C·P·P): squares of P = size pixels, row by row, each as a kernel (C, P, P) lies in memory.
    A convolution with stride = kernel is `linear` of them (arXiv 2010.11929, section 3.1).
    """
    b, c, height, width = x.shape
    fits = height % size == width % size == 0
    require(fits, f"a picture of {height} by {width} pixels has no whole patches of {size}")
    cut = x.reshape(b, c, height // size, size, width // size, size)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(b, -1, c * size * size), {"shape": x.shape, "size": size}


@backward
def patches_backward(dy: Array, c: Cache) -> Array:
    (b, channels, height, width), size = c["shape"], c["size"]
    cut = dy.reshape(b, height // size, width // size, channels, size, size)
    return cut.transpose(0, 3, 1, 4, 2, 5).reshape(c["shape"])


@pair("(9,d)->(10,d)", rows=2, columns=5)
def resized(weight: Array, *, rows: int, columns: int) -> tuple[Array, Cache]:
    """A square grid of n·n vectors (n·n, D), row by row, as one of rows·columns: y = (R ⊗ C) W, by cubic convolution
    with a = -3/4 between the centres of cells, the border repeated (Keys 1981; torch's "bicubic", align_corners false).
    """
    n = round(len(weight) ** 0.5)
    require(n * n == len(weight), f"{len(weight)} vectors are no square grid")
    down, across = (_cubic(n, count).astype(weight.dtype) for count in (rows, columns))
    y = np.tensordot(down, across @ weight.reshape(n, n, -1), (1, 0))
    return y.reshape(rows * columns, -1), {"down": down, "across": across}


@backward
def resized_backward(dy: Array, c: Cache) -> Array:
    down, across = c["down"], c["across"]  # linear: the transpose
    dgrid = np.tensordot(down.T, across.T @ dy.reshape(len(down), len(across), -1), (1, 0))
    return dgrid.reshape(-1, dy.shape[-1])


def _cubic(n: int, count: int) -> Array:
    """(count, n): how much each of n cells has in each of `count` cells of the same length."""
    at = ((2 * np.arange(count, dtype=np.longdouble) + 1) * n / count - 1) / 2
    first, found = np.floor(at).astype(np.int64), np.zeros((count, n), np.longdouble)
    for step in range(-1, 3):
        far, a = abs(at - first - step), np.longdouble(-0.75)
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        weight = np.where(far <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)
        np.add.at(found, (np.arange(count), np.clip(first + step, 0, n - 1)), weight)
    return found


@pair("(2,15,d)->(12,4,d)", height=3, size=2, shift=1)
def windows(x: Array, *, height: int, size: int, shift: int = 0) -> tuple[Array, Cache]:
    """A grid (B, Y·X, D), row by row, of Y = height -> (B·W, M·M, D): cut into W windows of M = size cells either way,
    a row's windows together (arXiv 2103.14030, section 3.2). What is missing of whole windows is 0, behind the last row
    and column; shift: the grid is rolled back by so many rows and columns before the cut.
    """
    grid = x.reshape(len(x), height, -1, x.shape[-1])
    c = {"shape": grid.shape, "size": size, "shift": shift}
    return _cut(grid, c), c


@backward
def windows_backward(dy: Array, c: Cache) -> Array:
    dgrid = _joined(dy, c)
    return dgrid.reshape(len(dgrid), -1, dy.shape[-1])


@pair("(12,4,d)->(2,15,d)", height=3, width=5, size=2, shift=1)
def unwindowed(x: Array, *, height: int, width: int, size: int, shift: int = 0) -> tuple[Array, Cache]:
    """(B·W, M·M, D) -> (B, Y·X, D): `windows` undone; what stood for missing cells is dropped."""
    count = -(-height // size) * -(-width // size)
    c = {"shape": (len(x) // count, height, width, x.shape[-1]), "size": size, "shift": shift}
    return _joined(x, c).reshape(len(x) // count, height * width, -1), c


@backward
def unwindowed_backward(dy: Array, c: Cache) -> Array:
    return _cut(dy.reshape(c["shape"]), c)


def _cut(grid: Array, c: Cache) -> Array:
    """(B, Y, X, D) -> (B·W, M·M, D)."""
    size, shift = c["size"], c["shift"]
    missing = [(0, -length % size) for length in grid.shape[1:3]]
    grid = np.pad(grid, [(0, 0), *missing, (0, 0)]) if any(map(any, missing)) else grid
    grid = np.roll(grid, (-shift, -shift), (1, 2)) if shift else grid
    b, height, width, d = grid.shape
    cut = grid.reshape(b, height // size, size, width // size, size, d).swapaxes(2, 3)
    return cut.reshape(-1, size * size, d)


def _joined(cut: Array, c: Cache) -> Array:
    """(B·W, M·M, D) -> (B, Y, X, D)."""
    size, shift, (b, height, width, d) = c["size"], c["shift"], c["shape"]
    down, across = -(-height // size), -(-width // size)
    grid = cut.reshape(b, down, across, size, size, d).swapaxes(2, 3).reshape(b, down * size, across * size, d)
    grid = np.roll(grid, (shift, shift), (1, 2)) if shift else grid
    return grid[:, :height, :width]


@pair("(b,15,3)->(b,6,12)", height=3)
def merged(x: Array, *, height: int) -> tuple[Array, Cache]:
    """A grid (B, Y·X, D), row by row, of Y = height -> (B, ⌈Y/2⌉·⌈X/2⌉, 4D): squares of four cells side by side, down
    the first column, then the second (arXiv 2103.14030, section 3.1; the release's order). Missing cells are 0.
    """
    b, _, d = x.shape
    grid = x.reshape(b, height, -1, d)
    c = {"shape": grid.shape}
    grid = np.pad(grid, [(0, 0), (0, height % 2), (0, grid.shape[2] % 2), (0, 0)])
    squares = grid.reshape(b, grid.shape[1] // 2, 2, grid.shape[2] // 2, 2, d).transpose(0, 1, 3, 4, 2, 5)
    return squares.reshape(b, -1, 4 * d), c


@backward
def merged_backward(dy: Array, c: Cache) -> Array:
    b, height, width, d = c["shape"]
    squares = dy.reshape(b, (height + 1) // 2, (width + 1) // 2, 2, 2, d).transpose(0, 1, 4, 2, 3, 5)
    grid = squares.reshape(b, height + height % 2, width + width % 2, d)
    return grid[:, :height, :width].reshape(b, -1, d)
