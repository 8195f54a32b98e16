"""Runs in int8, graded: how far each tensor lies from the case's, without a verdict.

What eight bits make of a model depends on how they were calibrated, so no noise floor tells rounding from a mistake: a
grade is no claim. Each tensor has its relative root mean square error √(Σ(y - ŷ)²/Σy²) and its cosine. Only what is
farther off than eight bits bring a right model is called different.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.errors import printable
from minibert.golden import answer, padding, unmoved

INT8 = "int8"
WORST = 0.25  # relative RMS of an output beyond which it is no rounding; its cosine is then about 0.97
LIKE = 0.15  # up to which it may well be int8's
LEAST = 1e-4  # that of some output of whatever was computed in int8


class Grade(NamedTuple):
    """Of one tensor. rms: relative to the case's; cosine: of the two as vectors, 1 where both are 0."""

    key: str
    rms: float
    cosine: float


def grades(case: Any, tensors: Mapping[str, np.ndarray], partial: Mapping[str, np.ndarray]) -> list[Grade]:
    """One for each floating tensor that was computed and supplied, in the case's order, without what nobody owes:
    padding that nobody reads, and what only rounding moves. partial: the rows given.
    """
    found, unread = [], padding.unread(case)
    for key, entry in case.entries.items():
        if key in tensors and entry.role not in ("weight", "input") and np.dtype(entry.dtype).kind == "f":
            chosen, truth, given = partial.get(key, ...), case.tensor(key), np.asarray(tensors[key])
            still = _still(case, key)
            if still is not None and still.all():
                continue
            if still is not None and still.shape == given.shape:
                given = np.where(still, truth, given)
            if key in unread:
                given = np.where(unread[key], truth, given)
            got, due = (np.asarray(a, np.float64)[chosen].reshape(-1) for a in (given, truth))
            own, right = float(np.sqrt(got @ got)), float(np.sqrt(due @ due))
            left = float(np.sqrt((got - due) @ (got - due)))
            cosine = float(got @ due) / (own * right) if own and right else float(own == right)
            found.append(Grade(key, left / right if right else (np.inf if left else 0.0), cosine))
    return found


def _still(case: Any, key: str) -> np.ndarray | None:
    """The entries of a gradient or a state that only rounding moves."""
    name = key.removeprefix("gradients/") if key.startswith("gradients/") else unmoved.parameter(key)
    return case.unmoved.get(name or "")


def outputs(found: list[Grade]) -> list[Grade]:
    """What a model in int8 is for: its outputs; all there is where these were not computed in int8; the worst first."""
    own = [grade for grade in found if grade.key.startswith("forward/")]
    own = own if any(not grade.rms <= LEAST for grade in own) else found
    return sorted(own, key=lambda grade: np.inf if np.isnan(grade.rms) else grade.rms, reverse=True)


def different(found: list[Grade]) -> list[Grade]:
    """The outputs that are farther off than int8 brings a right model, or no numbers, the worst first."""
    return [grade for grade in outputs(found) if not grade.rms <= WORST]


def like(found: list[Grade]) -> bool:
    """Whether all are as near as int8 brings them."""
    return bool(found) and all(grade.rms <= LIKE for grade in outputs(found))


def lines(name: str, source: str, found: list[Grade]) -> Iterator[str]:
    """What comes out, then the table."""
    yield printable(f"case {name}, candidate {source}: {answer.tensors(len(found))} in int8, graded, not judged")
    own, far = outputs(found), different(found)
    if own:
        yield printable(f"worst: {own[0].key}, relative RMS {own[0].rms:.1e}, cosine {own[0].cosine:.4f}")
    if far:
        yield (f"different: {len(far)} of {answer.tensors(len(own))} farther off than int8 brings a right model, with "
               f"relative RMS above {WORST}")  # fmt: skip
        yield "do: check the same model in float32: there a mistake has a name"
    else:
        yield "a grade is no verdict: int8's error depends on its calibration, so it claims no level"
    yield "\nrelative RMS   cosine"
    yield from (printable(f"{grade.rms:>12.1e}  {grade.cosine:>7.4f}  {grade.key}") for grade in found)


def fields(name: str, source: str, found: list[Grade]) -> dict[str, Any]:
    """The grades for machines; what is no number is text."""
    plain = lambda value: value if np.isfinite(value) else str(value)  # noqa: E731
    rows = [{"key": grade.key, "relative_rms": plain(grade.rms), "cosine": plain(grade.cosine)} for grade in found]
    return {"case": name, "candidate": source, "dtype": INT8,
            "verdict": "different" if different(found) else "graded", "grades": rows}  # fmt: skip
