"""Rows by position: y_m = x_(positions_m), within each sequence of the batch.

x (..., t, d), positions (..., m) -> (..., m, d). SPEC OP-GATH.
"""

from .lists import each


def gather(x, *, positions):
    return each(2, lambda rows, chosen: [list(rows[i]) for i in chosen], x, positions)
