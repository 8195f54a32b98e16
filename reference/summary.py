"""What stands for a row: its token's state r_b = h_b[at_b], and act(Drop(r) W + b) where there is a layer over it.

h (B, T, D), at (B), or h (B, D) without; p {weight (D, D), bias (D)} or None; keep (B, D) or None. SPEC TASK-SUM.
"""

from .activation import activation as activate
from .dropout import dropout
from .linear import linear


def summary(h, p, *, at, activation=None, keep=None, rate=0):
    rows = h if at is None else [states[place] for states, place in zip(h, at, strict=True)]
    if not p:
        return rows
    kept = rows if keep is None else dropout(rows, keep=keep, rate=rate)
    return activate(linear(kept, **p), activation)
