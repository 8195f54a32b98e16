"""Windows put together again: the inverse of `windows`, without the cells that were missing.

x (b W, M M, D); height Y, width X, size M, shift -> (b, Y X, D). Liu et al. 2021 (2103.14030), section 3.2; SPEC
OP-WIN.
"""

from .slopes import zeros
from .windows import places


def unwindowed(x, *, height, width, size, shift=0):
    sources = places(height, width, size, shift)
    count, grids = len(sources), []
    for b in range(len(x) // count):
        grid = [None] * (height * width)
        for cells, window in zip(sources, x[b * count:(b + 1) * count], strict=True):
            for k, vector in zip(cells, window, strict=True):
                if k is not None:
                    grid[k] = list(vector)
        grids.append(grid)
    return grids


def unwindowed_backward(dy, x, *, height, width, size, shift=0):
    """Each cell came from one place of one window, which gets its slope; missing cells get 0."""
    sources = places(height, width, size, shift)
    return {"x": [[list(row[k]) if k is not None else zeros(row[0]) for k in cells] for row in dy for cells in sources]}
