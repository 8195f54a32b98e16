"""Four neighbouring cells as one: y_rc = [x_(2r, 2c), x_(2r+1, 2c), x_(2r, 2c+1), x_(2r+1, 2c+1)], 0 beyond the grid.

x (b, Y X, D), row by row; height Y -> (b, ceil(Y/2) ceil(X/2), 4 D). Liu et al. 2021 (2103.14030), section 3.1, in the
release's order; SPEC OP-MERGE.
"""

from .slopes import zeros


def merged(x, *, height):
    return [[[a for k in cells for a in (row[k] if k is not None else zeros(row[0]))] for cells in squares(row, height)]
            for row in x]  # fmt: skip


def squares(row, height):
    width = len(row) // height

    def cell(r, k):
        return r * width + k if r < height and k < width else None

    return [[cell(2 * r + u, 2 * k + v) for v in range(2) for u in range(2)]
            for r in range((height + 1) // 2) for k in range((width + 1) // 2)]  # fmt: skip


def merged_backward(dy, x, *, height):
    """Each cell stands in one square, at its place of the four."""
    dx, d = zeros(x), len(x[0][0])
    for grid, slopes in zip(dx, dy, strict=True):
        for cells, slope in zip(squares(grid, height), slopes, strict=True):
            for n, k in enumerate(cells):
                if k is not None:
                    grid[k] = slope[n * d:(n + 1) * d]
    return {"x": dx}
