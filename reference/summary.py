"""What stands for a row: its token's state r_b = h_b[at_b], and act(Drop(r) W + b) where there is a layer over it.

h (B, T, D), at (B), or h (B, D) without; p {weight (D, D), bias (D)} or None; keep (B, D) or None. SPEC TASK-SUM.
"""

from .activation import activation as activate
from .activation import activation_backward
from .dropout import dropout, dropout_backward
from .linear import linear, linear_backward
from .slopes import zeros


def summary(h, p, *, at, activation=None, keep=None, rate=0):
    rows = h if at is None else [states[place] for states, place in zip(h, at, strict=True)]
    if not p:
        return rows
    kept = rows if keep is None else dropout(rows, keep=keep, rate=rate)
    return activate(linear(kept, **p), activation)


def summary_backward(dy, h, p, *, at, activation=None, keep=None, rate=0):
    """Through the layer, where there is one; the slope goes to the state that was read, every other token gets 0."""
    rows = h if at is None else [states[place] for states, place in zip(h, at, strict=True)]
    slopes, drows = {}, dy
    if p:
        kept = rows if keep is None else dropout(rows, keep=keep, rate=rate)
        slopes = linear_backward(activation_backward(dy, linear(kept, **p), activation)["x"], kept, **p)
        drows = slopes.pop("x")
        drows = drows if keep is None else dropout_backward(drows, rows, keep=keep, rate=rate)["x"]
    if at is None:
        return {"h": drows, "p": slopes}
    dh = zeros(h)
    for states, place, slope in zip(dh, at, drows, strict=True):
        states[place] = slope
    return {"h": dh, "p": slopes}
