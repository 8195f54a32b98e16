"""From scores by distance to scores by key: y_ij = x_i,(t-1-i+j), 0 where x has no such column.

x (b, h, t, p) -> (b, h, t, s), s the keys; column c of x is the distance s - 1 - c from a query back to a key.
Dai et al. 2019 (1901.02860), appendix B; SPEC OP-SHIFT.
"""


def relative_shift(x, keys):
    return [[shifted(rows, keys) for rows in heads] for heads in x]


def shifted(rows, keys):
    last = len(rows) - 1
    columns = [[last - i + j for j in range(keys)] for i in range(len(rows))]
    return [[row[c] if c < len(row) else 0 * row[0] for c in own] for row, own in zip(rows, columns, strict=True)]


def relative_shift_backward(dy, x, keys):
    """Each y_ij is one x, or none: that x gets its dy, and a column that nothing took gets 0."""
    dx = [[[[0 * a for a in row] for row in rows] for rows in heads] for heads in x]
    for own, heads in zip(dx, dy, strict=True):
        for rows, slopes in zip(own, heads, strict=True):
            for i, slope in enumerate(slopes):
                for j, d in enumerate(slope):
                    c = len(rows) - 1 - i + j
                    if c < len(rows[i]):
                        rows[i][c] += d
    return {"x": dx}
