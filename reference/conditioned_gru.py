"""A GRU that writes what a vector s says: x (b, t, w), s (b, n) -> (b, t, n), p as `gru` has it.

by "state": it begins with s; by "gates": with 0, and reads s beside every token. Kiros et al. 2015 (1506.06726), eq.
5-8, and its release; SPEC ST-COND.
"""

from .gru import gru


def conditioned_gru(x, s, p, *, by):
    if by == "state":
        return gru(x, s, **p)
    return gru([[token + vector for token in row] for row, vector in zip(x, s, strict=True)], None, **p)
