"""The precision in which numbers were computed, told by the numbers themselves.

What is stored as float64 need not have been computed in it: lists, JSON and NumPy's default widen float32, and many a
dump turns bfloat16 into float32 before it is written. A number that was computed in the wider format has all of its
bits; one that was widened ends in zeros.

A dump of mixed precision is judged in the least precise one that half of its tensors hold, or that any of them is
stored in. Judged tensor by tensor, what a float32 norm makes of bfloat16 products would be a false alarm: it has
float32's digits, but not its error. Fewer than half are no precision but a place where it was lost (a norm in float16),
which the diagnosis then names.
"""

from collections.abc import Callable, Mapping

import numpy as np

from minibert.golden.candidate import PRECISIONS

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
