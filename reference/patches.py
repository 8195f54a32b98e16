"""A picture as patches: y of patch (i, j) is x[c][i P + u][j P + v] over channels c, then rows u, then columns v.

x (b, c, Y, X), size P -> (b, Y/P X/P, c P P), the patches row by row. Dosovitskiy et al. 2020 (2010.11929), section
3.1; SPEC OP-PATCH.
"""


def patches(x, *, size):
    def patch(picture, i, j):
        return [channel[i * size + u][j * size + v] for channel in picture for u in range(size) for v in range(size)]

    down, across = len(x[0][0]) // size, len(x[0][0][0]) // size
    return [[patch(picture, i, j) for i in range(down) for j in range(across)] for picture in x]


def patches_backward(dy, x, *, size):
    """Every pixel stands in one patch: dx[c][r][k] is dy of patch (r div P, k div P) at (c, r mod P, k mod P)."""
    across = len(x[0][0][0]) // size

    def pixel(rows, c, r, k):
        return rows[r // size * across + k // size][(c * size + r % size) * size + k % size]

    return {"x": [[[[pixel(rows, c, r, k) for k in range(len(line))] for r, line in enumerate(channel)]
                   for c, channel in enumerate(picture)] for rows, picture in zip(dy, x, strict=True)]}  # fmt: skip
