"""Runs in int8, graded: how far each tensor lies from the case's, without a verdict.

What eight bits make of a model depends on how they were calibrated, so no noise floor tells rounding from a mistake: a
grade is no claim. Each tensor has its relative root mean square error √(Σ(y - ŷ)²/Σy²) and its cosine.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.errors import printable
from minibert.golden import answer

INT8 = "int8"


class Grade(NamedTuple):
    """Of one tensor. rms: relative to the case's; cosine: of the two as vectors, 1 where both are 0."""

    key: str
    rms: float
    cosine: float


def grades(case: Any, tensors: Mapping[str, np.ndarray], partial: Mapping[str, np.ndarray]) -> list[Grade]:
    """One for each floating tensor that was computed and supplied, in the case's order. partial: the rows given."""
    found = []
    for key, entry in case.entries.items():
        if key in tensors and entry.role not in ("weight", "input") and np.dtype(entry.dtype).kind == "f":
            chosen = partial.get(key, ...)
            got, due = (np.asarray(a, np.float64)[chosen].reshape(-1) for a in (tensors[key], case.tensor(key)))
            own, right = float(np.sqrt(got @ got)), float(np.sqrt(due @ due))
            left = float(np.sqrt((got - due) @ (got - due)))
            cosine = float(got @ due) / (own * right) if own and right else float(own == right)
            found.append(Grade(key, left / right if right else (np.inf if left else 0.0), cosine))
    return found


def lines(name: str, source: str, found: list[Grade]) -> Iterator[str]:
    """As a table, the worst said last."""
    yield printable(f"case {name}, candidate {source}: {answer.tensors(len(found))} in int8, graded, not judged")
    width = max((len(grade.key) for grade in found), default=0)
    yield f"{'':<{width}}  relative RMS   cosine"
    yield from (printable(f"{grade.key:<{width}}  {grade.rms:>12.1e}  {grade.cosine:>7.4f}") for grade in found)
    if found:
        worst = max(found, key=lambda grade: (np.isnan(grade.rms), grade.rms))
        yield printable(f"worst: {worst.key}, relative RMS {worst.rms:.1e}, cosine {worst.cosine:.4f}")
    yield "a grade is no verdict: int8's error depends on its calibration, so it claims no level"


def fields(name: str, source: str, found: list[Grade]) -> dict[str, Any]:
    """The grades for machines; what is no number is text."""
    plain = lambda value: value if np.isfinite(value) else str(value)  # noqa: E731
    rows = [{"key": grade.key, "relative_rms": plain(grade.rms), "cosine": plain(grade.cosine)} for grade in found]
    return {"case": name, "candidate": source, "dtype": INT8, "verdict": "graded", "grades": rows}
