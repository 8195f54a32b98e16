"""Rows by position: y_m = x_(positions_m), within each sequence of the batch.

x (..., t, d), positions (..., m) -> (..., m, d). SPEC OP-GATH.
"""

from .lists import each
from .slopes import zeros


def gather(x, *, positions):
    return each(2, lambda rows, chosen: [list(rows[i]) for i in chosen], x, positions)


def gather_backward(dy, x, *, positions):
    """From y_m = x_(positions_m): row t of x gets the dy of every m that took it, 0 where none did."""

    def scattered(slopes, chosen, rows):
        dx = zeros(rows)
        for slope, t in zip(slopes, chosen, strict=True):
            dx[t] = [a + b for a, b in zip(dx[t], slope, strict=True)]
        return dx

    return {"x": each(2, scattered, dy, positions, x)}
