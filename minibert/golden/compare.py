"""A candidate's tensors against a case's: one row a tensor in forward order, and where it first goes wrong.

error    max|candidate - truth| / scale, the scale of `case.Entry`: the relative tolerance that would have passed
floor    the tensor's noise floor in the declared precision: what the same function differs by when summed otherwise
ratio    error / floor; up to 4 rounding explains the error, up to 64 it is more than rounding, beyond it is a mistake
         (in 16 bits up to 64 is rounding, too, where every block is right by itself)
alone    the same ratio, against what the candidate's own preceding tensors should have given (`blocks`)
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.golden import padding
from minibert.golden.unmoved import SLOTS, parameter, partly, reached, settled, still

EXPLAINED, SUSPECT = 4, 64  # times the floor
LONE = 3  # times the floor: what a block of 16 bits may be off by itself, where more has grown behind it
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
BAD = ("suspect", "wrong", "nan", "shape")
STEP = 2.0**-25  # half of the smallest step of float16, where its numbers get no smaller


class Row(NamedTuple):
    """One tensor's comparison.

    status: right, suspect (more than rounding), wrong, nan, shape (a wrong one), padding (it differs only at positions
    without a token that nobody reads), exempt (only rounding moves it), undefined (the precision overflows there),
    missing. absolute: max|difference|, a tolerance that would have passed; index: where it is, with the values got and
    expected there. alone: None where the block cannot be judged by itself. partly: only rounding moves a part of it,
    which is not judged. shape: the one given, and the one due, where it is wrong. lost: how many numbers are not
    finite.
    """

    key: str
    status: str
    error: float | None = None
    floor: float | None = None
    ratio: float | None = None
    absolute: float | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    alone: float | None = None
    partly: bool = False
    shape: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    lost: int = 0

    @property
    def verdict(self) -> str:
        """The status as a sentence."""
        exempt = "; a part is exempt: its gradient is 0" if self.partly else ""
        return self._verdict() + exempt

    def _verdict(self) -> str:
        if self.floor == 0:  # whole numbers
            return "equal" if self.status == "right" else "different"
        if self.status == "right" and self.ratio > EXPLAINED:
            return "rounding explains it: it has grown, and each block is right by itself"
        if self.status in ("right", "suspect", "wrong"):
            return verdict(self.ratio)
        where = "" if not self.index else f" first at {list(self.index)}"
        return {
            "nan": f"{self.got}{where}",
            "exempt": "exempt: its gradient is 0, so rounding alone moves it",
            "undefined": "not judged: this precision overflows here",
            "missing": "not supplied",
            "padding": "differs only on padding, which nobody reads",
            "shape": "wrong shape {}, {} is due".format(*self.shape or ("", "")),
        }[self.status]


def error(candidate: np.ndarray, truth: np.ndarray, scale: float) -> float:
    """max|candidate - truth| / scale; NaN where either is, 0 for empty arrays."""
    return ratio_of(_worst(_distance(candidate, truth))[1], scale)


def ratio_of(value: float, unit: float) -> float:
    """value / unit; 0/0 is 0."""
    return value / unit if unit else (0.0 if value == 0 else math.copysign(math.inf, value))


def verdict(ratio: float) -> str:
    """What an error of `ratio` times the noise floor means."""
    if ratio <= EXPLAINED:
        return "rounding explains it"
    return f"{ratio:.0f} times more than rounding" if ratio <= SUSPECT else "rounding cannot explain it"


def floor(entry: Any, dtype: str) -> float | None:
    """The entry's noise floor in this precision, at least one rounding; None where the precision overflows.

    float64 is not measured, being what the truth is computed in: its floor is float32's, smaller as its roundoff is,
    and twice, for the truth is rounded as well.
    """
    if np.dtype(entry.dtype).kind != "f":
        return 0.0  # token ids are equal or not
    measured = entry.noise.get("float32" if dtype == "float64" else dtype, 0.0)  # none is measured of what is given
    if measured is None:
        return None
    if dtype == "float64":
        measured *= 2 * ROUNDOFF["float64"] / ROUNDOFF["float32"]
    least = STEP / entry.scale if dtype == "float16" and entry.scale else 0.0  # beneath its normal numbers
    return max(measured, ROUNDOFF[dtype], least)


def compare(
    case: Any,
    tensors: Mapping[str, np.ndarray],
    dtype: str,
    partial: Mapping[str, np.ndarray] | None = None,
    expected_alone: Mapping[str, np.ndarray] | None = None,
    misshapen: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Row]:
    """A row for each tensor of the case, in the case's order; weights and inputs only where supplied.

    tensors: by case key and in the case's shapes. partial: the rows (B, T) of a tensor that the candidate supplied; the
    others are not compared. expected_alone: see `blocks.expected`. misshapen: the shapes of what has a wrong one.
    """
    unmoved, unread, alone, rows = case.unmoved, padding.unread(case), dict(expected_alone or {}), []
    for key, entry in case.entries.items():
        if key in (misshapen or {}):
            rows.append(Row(key, "shape", shape=(misshapen[key], entry.shape)))
            continue
        if key not in tensors:
            if entry.role not in ("weight", "input"):
                rows.append(Row(key, "missing"))
            continue
        chosen, truth = (partial or {}).get(key, ...), np.asarray(case.tensor(key))
        whole = settled(key, np.asarray(tensors[key]), case.tensor, unmoved)
        got, due = whole[chosen], truth[chosen]
        row = _compared(key, got, due, entry.scale, floor(entry, dtype))
        if row.status in BAD and key in unread:
            owed = np.where(unread[key], truth, whole)[chosen]
            apart = _compared(key, owed, due, entry.scale, floor(entry, dtype))
            apart = _owed(row, apart, bool(partial) or padding.uncomputed(whole[unread[key]]))
            if apart is not row and key in alone:
                alone[key] = np.where(unread[key], truth, alone[key])
            got, row = (got, row) if apart is row else (owed, apart)
        if row.status == "suspect" and ROUNDOFF[dtype] >= ROUNDOFF["float16"] and still(key, unmoved):
            row = row._replace(status="exempt")
        if parameter(key) in unmoved and (row.status in ("suspect", "wrong") or partly(key, unmoved)):
            given = np.asarray(tensors[key])
            if not reached(key, given, case.entries, case.tensor, unmoved):
                row = _compared(key, given, truth, entry.scale, floor(entry, dtype))
            else:
                row = row._replace(partly=True) if partly(key, unmoved) else row._replace(status="exempt")
        if key in alone and row.ratio is not None:
            row = row._replace(alone=ratio_of(error(got, alone[key][chosen], entry.scale), row.floor))
        rows.append(row)
    return _pardoned(rows) if ROUNDOFF[dtype] >= ROUNDOFF["float16"] else rows


def _pardoned(rows: list[Row]) -> list[Row]:
    """Rows of 16 bits: where nothing is worse than suspect, and every block in question is right by itself, all are
    right. A floor is the largest of a few runs, and one rounding more in 16 bits moves all that follows by as much; but
    no rounding is a block off by all that a floor allows: then it is where the others come from. A later step can't be
    judged by itself; it does what the first does, where that could be.
    """
    bad = [row for row in rows if row.status in BAD]
    blocks = [row for row in rows if row.key.startswith(("forward/", "gradients/")) and row.status != "exempt"]
    if any(row.alone > LONE for row in blocks if row.alone is not None):
        return rows
    step = max((row.alone for row in rows if row.alone is not None and row.key.startswith("steps/1/")), default=None)

    def grown(row: Row) -> bool:
        later = row.key.startswith("steps/") and not row.key.startswith("steps/1/")
        alone = step if later and row.alone is None else row.alone
        return row.status == "suspect" and alone is not None and alone <= EXPLAINED

    if not all(map(grown, bad)):
        return rows
    return [row._replace(status="right") if row.status == "suspect" else row for row in rows]


def _owed(row: Row, owed: Row, unknown: bool) -> Row:
    """A bad row, without padding where it is right otherwise, or unknown what it is made of: the padding was never
    computed, or other tensors came without it.
    """
    if owed.status == "right":
        return row._replace(status="padding")
    return owed if unknown else row


def first_divergence(rows: list[Row]) -> Row | None:
    """The first tensor that rounding does not explain: in the forward pass, then walking back through the gradients
    from the last one computed, then in the steps. None where every supplied tensor is right.

    What is only suspect counts when its own block is, or when nothing is worse.
    """
    order = {row.key: i for i, row in enumerate(causal(rows))}
    bad = sorted((row for row in rows if row.status in BAD), key=lambda row: order[row.key])
    certain = next((i for i, row in enumerate(bad) if row.status != "suspect"), len(bad) - 1)
    return next((row for row in bad[:certain] if (row.alone or 0) > EXPLAINED), bad[certain] if bad else None)


def causal(rows: list[Row]) -> list[Row]:
    """The rows in the order in which they are computed: what is given, forward, gradients from the loss back, steps."""
    forward = {row.key.partition("/")[2]: i for i, row in enumerate(rows) if row.key.startswith("forward/")}

    def place(item: tuple[int, Row]) -> tuple:
        i, row = item
        section, _, name = row.key.partition("/")
        if section == "gradients":
            module = name
            while module and module not in forward:
                module = module.rpartition(".")[0]
            return (2, -forward.get(module, -1), module != name, i)
        if section == "steps":
            step, _, name = name.partition("/")
            slot = name.split(".")[0]
            first = ("loss", "gradient_norm", "learning_rate", *SLOTS)
            return (3, int(step), first.index(slot) if slot in first else len(first), i)
        return (1 if section == "forward" else 0, i)

    return [row for _, row in sorted(enumerate(rows), key=place)]


def _compared(key: str, got: np.ndarray, truth: np.ndarray, scale: float, least: float | None) -> Row:
    if not np.isfinite(got).all():
        bad = ~np.isfinite(got)
        index = np.unravel_index(np.argmax(bad), got.shape)
        values = float(got[index]), float(truth[index])
        return Row(key, "nan", None, least, None, None, _index(index), *values, lost=int(bad.sum()))
    difference = _distance(got, truth)
    flat, absolute = _worst(difference)
    index = np.unravel_index(flat, got.shape) if got.size else None
    values = (None, None) if index is None else (float(got[index]), float(truth[index]))
    relative = ratio_of(absolute, scale)
    facts = (absolute, None if index is None else _index(index), *values)
    if least is None:
        return Row(key, "undefined", relative, None, None, *facts)
    ratio = ratio_of(relative, least)
    status = "right" if ratio <= EXPLAINED else "suspect" if ratio <= SUSPECT else "wrong"
    return Row(key, status, relative, least, ratio, *facts)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))


def _worst(difference: np.ndarray) -> tuple[int, float]:
    """(flat index, value) of the largest entry, NaN first; (0, 0.0) of nothing."""
    if not difference.size:
        return 0, 0.0
    flat = int(np.argmax(difference))  # argmax stops at the first NaN
    return flat, float(difference.reshape(-1)[flat])


def _index(index: tuple) -> tuple[int, ...]:
    return tuple(int(i) for i in index)
