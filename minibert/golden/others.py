"""What customary criteria would have said of a candidate's outputs, beside what rounding says.

Where implementations are compared elsewhere, a model's outputs are held against one number: a cosine or Pearson's
correlation (PCC) of at least 0.99, or no entry off by more than 1e-3 or 1e-5 (and 1e-5 of its size, as `allclose` has
it). `reference/BLINDNESS.md` has how many known mistakes each of them lets pass.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.golden import levels

RELATIVE = 1e-5  # what `allclose` adds to an absolute tolerance, times the entry that is due


class Criterion(NamedTuple):
    """measure(got, due), of arrays as float64 vectors, -> a number; passes(number, bar)."""

    name: str
    bar: float
    measure: Callable[[np.ndarray, np.ndarray], float]
    least: bool  # whether the bar is the least that passes, else the most


class Said(NamedTuple):
    """What a criterion says of the output that is worst by it. value: its number there; bar: what passes."""

    criterion: str
    bar: float
    value: float
    passes: bool
    key: str

    def __str__(self) -> str:
        number = "" if self.criterion[0].isdigit() else f" {_digits(self.value)}"
        return f"{self.criterion}{number}: {'pass' if self.passes else 'fail'}"


def _cosine(got: np.ndarray, due: np.ndarray) -> float:
    if np.array_equal(got, due):
        return 1.0
    sizes = np.linalg.norm(got) * np.linalg.norm(due)
    return float(got @ due / sizes) if sizes else 0.0


def _correlation(got: np.ndarray, due: np.ndarray) -> float:
    if np.array_equal(got, due):
        return 1.0
    return _cosine(got - got.mean(), due - due.mean())


def _beyond(got: np.ndarray, due: np.ndarray) -> float:
    """The largest difference, less what is allowed for the size of the entry."""
    return float(np.max(np.abs(got - due) - RELATIVE * np.abs(due), initial=0.0))


CRITERIA = (
    Criterion("cosine", 0.99, _cosine, True),
    Criterion("PCC", 0.99, _correlation, True),
    Criterion("1e-3", 1e-3, _beyond, False),
    Criterion("1e-5", 1e-5, _beyond, False),
)


def outputs(case: Any, given: Mapping[str, Any]) -> list[str]:
    """The keys of what is customarily compared: the last layer's output and the heads', of which something is given;
    where there is none of them every output.
    """
    wanted = [key for key in levels.ends(case) if key in given]
    return wanted or [key for key, entry in case.entries.items() if key.startswith("forward/") and key in given
                      and np.dtype(entry.dtype).kind == "f"]  # fmt: skip


def said(case: Any, tensors: Mapping[str, np.ndarray], partial: Mapping[str, np.ndarray]) -> list[Said]:
    """What each criterion says of the outputs; nothing where none is given. partial: see `compare.compare`."""
    pairs = {}
    for key in outputs(case, tensors):
        chosen = partial.get(key, ...)
        pairs[key] = [np.asarray(a, np.float64)[chosen].reshape(-1) for a in (tensors[key], case.tensor(key))]
    with np.errstate(all="ignore"):
        return [_worst(criterion, pairs) for criterion in CRITERIA] if pairs else []


def _worst(criterion: Criterion, pairs: Mapping[str, list[np.ndarray]]) -> Said:
    values = {key: criterion.measure(got, due) for key, (got, due) in pairs.items()}
    sign = 1 if criterion.least else -1
    key = min(values, key=lambda key: -np.inf if np.isnan(values[key]) else sign * values[key])
    value = values[key]
    passes = value >= criterion.bar if criterion.least else value <= criterion.bar
    return Said(criterion.name, criterion.bar, value, bool(passes), key)


def _digits(value: float) -> str:
    """A correlation, with as many digits as tell it from 1."""
    digits = next((n for n in range(4, 10) if round(value, n) != 1), 4)
    return f"{value:.{digits}f}" if digits > 4 else f"{value:.4g}"
