"""A grid cut into windows: cell (u, v) of window (i, j) is x[(i M + u + s) mod Y'][(j M + v + s) mod X'], s the shift.

x (b, Y X, D), row by row; height Y, size M -> (b W, M M, D), the windows of a row of the batch together, row by row.
Y' and X' are the next multiples of M; cells beyond Y and X are 0. Liu et al. 2021 (2103.14030), section 3.2, figure 4;
SPEC OP-WIN.
"""

from .slopes import zeros


def windows(x, *, height, size, shift=0):
    sources = places(height, len(x[0]) // height, size, shift)
    return [[list(row[k]) if k is not None else zeros(row[0]) for k in window] for row in x for window in sources]


def places(height, width, size, shift):
    """Of each window the cell of the grid that each of its own is, None for one that is missing."""
    down, across = -(-height // size), -(-width // size)

    def cell(r, k):
        r, k = (r + shift) % (down * size), (k + shift) % (across * size)
        return r * width + k if r < height and k < width else None

    return [[cell(i * size + u, j * size + v) for u in range(size) for v in range(size)]
            for i in range(down) for j in range(across)]  # fmt: skip


def windows_backward(dy, x, *, height, size, shift=0):
    """Each cell of the grid stands in one window: it gets that window's slope."""
    sources, dx = places(height, len(x[0]) // height, size, shift), zeros(x)
    for b, row in enumerate(dx):
        for window, cells in enumerate(sources):
            for k, slope in zip(cells, dy[b * len(sources) + window], strict=True):
                if k is not None:
                    row[k] = list(slope)
    return {"x": dx}
