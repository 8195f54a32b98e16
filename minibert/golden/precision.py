"""The precision in which numbers were computed, told by the numbers themselves.

What is stored as float64 need not have been computed in it: lists, JSON and NumPy's default widen float32, and many a
dump turns bfloat16 into float32 before it is written. A number that was computed in the wider format has all of its
bits; one that was widened ends in zeros.

A dump of mixed precision is judged in the least precise one that half of its tensors hold, or that any of them is
stored in. Judged tensor by tensor, what a float32 norm makes of bfloat16 products would be a false alarm: it has
float32's digits, but not its error. Fewer than half are no precision but a place where it was lost (a norm in float16),
which the diagnosis then names.

Who computes in a narrow format and hands out sums of it has numbers of the wider one, with the narrow one's error. That
can't be told from a small mistake by the numbers, so it is only said (`looks`), where no known mistake explains them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minibert.golden.candidate import PRECISIONS
from minibert.golden.compare import BAD, EXPLAINED, ROUNDOFF, Row

Array = np.ndarray

BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}  # of the significand
CHANCE = 24  # bits that must be 0, all values of a tensor together, before chance is ruled out


def fits(tensors: Mapping[str, Array], stored: str) -> str:
    """The least precise of PRECISIONS, from `stored` on, whose numbers at least half of these tensors are.

    tensors: of any floating type. A tensor that could be of any precision (zeros, a softmax of ones) has no say; where
    none has one, it is `stored`.
    """
    told = [PRECISIONS.index(name) for a in tensors.values() if (name := held(np.asarray(a), stored))]
    for place in range(len(PRECISIONS) - 1, PRECISIONS.index(stored), -1):
        if told and 2 * sum(own >= place for own in told) >= len(told):
            return PRECISIONS[place]
    return stored


FEW = 3  # tensors that must be off by themselves
SHARE = 0.7  # of those that are computed


class Looks(NamedTuple):
    """What a candidate's errors look like. names: of precisions, the most precise first, "int8" last; everywhere:
    whether almost every block is off by itself, as rounding would have it, and a mistake would not.
    """

    names: tuple[str, ...]
    everywhere: bool

    def __str__(self) -> str:
        return " or ".join(filter(None, (", ".join(self.names[:-1]), self.names[-1])))


def looks(
    rows: Sequence[Row], dtype: str, judged: Callable[[str], Sequence[Row]], eight_bits: Callable[[], bool]
) -> Looks | None:
    """The formats below dtype in which nothing would be wrong; None where there is none.

    rows: in dtype; judged: rows in another precision; eight_bits: whether all lies as near as int8 comes, which is
    asked where float16 comes nearer than the candidate.
    """
    if any(row.status in ("nan", "shape") for row in rows):
        return None
    own = [row for row in rows if row.ratio is not None and row.status != "exempt" and row.floor > ROUNDOFF[dtype]]
    off = [row for row in own if (row.ratio if row.alone is None else row.alone) > EXPLAINED and row.status != "right"]
    everywhere = len(off) >= max(FEW, SHARE * len(own))
    narrower = PRECISIONS[PRECISIONS.index(dtype) + 1 :]
    fine = [name for name in narrower if not any(row.status in BAD for row in judged(name))]
    fine = fine[:1] if fine[:1] == ["float32"] else fine
    if {"float32", "float16"}.isdisjoint(fine) and (everywhere or fine) and eight_bits():
        fine.append("int8")
    return Looks(tuple(fine), everywhere) if fine else None


def held(array: Array, stored: str) -> str | None:
    """The least precise of PRECISIONS that has all finite numbers of an array; None where too few need its last bit."""
    values = np.asarray(array, np.float64)
    values = values[np.isfinite(values) & (values != 0)]
    for name in reversed(PRECISIONS[PRECISIONS.index(stored) + 1 :]):
        last = _last_bits(values, name)
        if last is not None:
            return name if np.count_nonzero(last) * (BITS[stored] - BITS[name]) >= CHANCE else None
    return stored if values.size else None


def _last_bits(values: Array, name: str) -> Array | None:
    """Of each value the last bit of its significand in this precision; None where one has no such value."""
    narrow = np.dtype(np.float16 if name == "float16" else np.float32)
    with np.errstate(over="ignore"):
        there = values.astype(narrow)
    if not (there == values).all():
        return None
    bits = there.view(f"u{narrow.itemsize}")
    if name != "bfloat16":
        return bits & 1
    return None if (bits & 0xFFFF).any() else bits >> 16 & 1


def rounding(name: str) -> Callable[[Array], Array]:
    """What rounds to a precision, or to the 11 bits of TensorFloat-32's products ("tf32"), in the array's own dtype."""
    bits = {**BITS, "tf32": 11}[name]
    if name == "float16":
        return lambda a: a.astype(np.float16).astype(a.dtype)

    def rounded(a: Array) -> Array:
        mantissa, power = np.frexp(a)
        return np.ldexp(np.rint(np.ldexp(mantissa, bits)), power - bits).astype(a.dtype)

    return rounded
