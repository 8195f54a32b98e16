"""Some tokens' rows replaced: y_t = rows_slots[t] where the mask is 1, else x_t.

x (b, t, d), rows (b, m, d), slots and mask (b, t) -> (b, t, d). Beltagy et al. 2020 (2004.05150), section 3.1, tokens
with global attention; SPEC OP-OVER.
"""

from .slopes import zeros


def overwritten(x, rows, slots, mask):
    return [[other[slot] if bit else token for token, slot, bit in zip(*row, strict=True)]
            for other, row in zip(rows, zip(x, slots, mask, strict=True), strict=True)]


def overwritten_backward(dy, x, rows, slots, mask):
    """A replaced token's slope is 0, that of a row the sum over the tokens that took it."""
    dx, drows = zeros(x), zeros(rows)
    for b, row in enumerate(dy):
        for t, slope in enumerate(row):
            into, at = (drows[b], slots[b][t]) if mask[b][t] else (dx[b], t)
            into[at] = [a + d for a, d in zip(into[at], slope, strict=True)]
    return {"x": dx, "rows": drows}
