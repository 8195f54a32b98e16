"""Axial positions: [row floor(t / n2) of the first table; row t mod n2 of the second], n2 rows of the second.

p two tables {weight} (n1, D1) and (n2, D2), places (..., t) -> (..., t, D1 + D2).
Kitaev et al. 2020 (2001.04451), as released (trax, transformers); SPEC REFORMER-EMB.
"""

from .lists import each


def axial_positions(p, places):
    first, second = (table["weight"] for table in p)
    return each(0, lambda t: [*first[t // len(second)], *second[t % len(second)]], places)
