"""A tensor in another form: no other tensor of the case, but an elementary function of one.

Probabilities for logits, a sum for a mean, what dropout leaves, no bias, the first position alone: a short list, tried
number by number, within rounding. What could be so by chance, such as a few numbers in 16 bits, is not.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.golden import axes

Array = np.ndarray

BITS = 30  # of agreement beyond what is fitted, before chance is ruled out
EQUAL_BITS = 24  # the same of what is another tensor as it stands, of which there are fewer
LONE_BITS = 16  # of a single number, for which fewer forms are tried
MASKED = -1e3  # a score up to which something was added that stands for no probability
SCALED = ("query", "key", "scores", "q", "k", "q_proj", "k_proj", "q_lin", "k_lin", "dots")
PROBE = 64  # entries that are looked at before all are


class Due(NamedTuple):
    """One form. words: of what it is, beginning behind "itself, "; given, due: what has to be the same; scale: of the
    rounding in them; free: how many numbers were fitted; telling: what makes it another tensor, None: due itself.
    """

    words: str
    given: Array
    due: Array
    scale: float
    free: int = 0
    telling: Array | None = None

    def holds(self, bar: float) -> bool:
        """Whether it is so within `bar`, and no chance."""
        within = bar * self.scale
        if self.given.shape != self.due.shape or not 0 < within < math.inf:
            return False
        few = slice(0, self.given.size, max(1, self.given.size // PROBE))
        for part in (few, slice(None)):
            with np.errstate(all="ignore"):
                if not np.abs(self.given.reshape(-1)[part] - self.due.reshape(-1)[part]).max(initial=0) <= within:
                    return False
        return enough(self.due if self.telling is None else self.telling, within, self.free)


def enough(telling: Array, within: float, free: int = 0, bits: int = BITS) -> bool:
    """Whether these numbers, known to `within`, say too much to be others by chance."""
    size = np.abs(telling)
    count, largest = int((size > 4 * within).sum()) - free, float(size.max(initial=0))
    if telling.size == 1:
        return count > 0 and math.log2(largest / (2 * within)) >= LONE_BITS
    return count > 0 and count * math.log2(largest / (2 * within)) >= bits


# ---- Functions of a number, or of a row ------------------------------------------------------------------------------
def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


LOG_SOFTMAX = "as log-probabilities (log-softmax of it)"  # of which the loss is the same
MASK = "behind the mask"  # of which the probabilities are the same
THEN: Mapping[str, Callable[[Array], Array]] = {  # what was given is this of it
    "as probabilities (softmax of it)": _softmax, LOG_SOFTMAX: _log_softmax,
    "as probabilities (sigmoid of it)": _sigmoid, "after another tanh": np.tanh,
}  # fmt: skip
BEFORE: Mapping[str, Callable[[Array], Array]] = {  # it is this of what was given
    "before its softmax": _softmax, "its logarithm": np.exp, "before its tanh": np.tanh, "before its sigmoid": _sigmoid,
    "its square root": np.square,
}  # fmt: skip


def functions(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """Softmax, sigmoid, tanh, and what they undo."""
    if given.shape != own.shape or not own.ndim:
        return
    for words, f in THEN.items():
        if own.shape[-1] > 1 or "softmax" not in words:
            due = f(own)
            yield Due(words, given, due, max(scale, float(np.abs(due).max())))
    for words, f in BEFORE.items():
        if own.shape[-1] > 1 or "softmax" not in words:
            yield Due(words, f(given), own, scale)


def scaled(given: Array, own: Array, scale: float, heads: Collection[int] = ()) -> Iterator[Due]:
    """A constant times it. heads: sizes of a head, of what is scaled by one."""
    square = float(np.vdot(own, own)) if given.shape == own.shape and own.size > 1 else 0.0
    times = float(np.vdot(given, own)) / square if square else 0.0
    if not times or not math.isfinite(times):
        return
    size = next((n for n in heads if math.isclose(times, n**-0.5, rel_tol=1e-4)), None)
    unscaled = next((n for n in heads if math.isclose(times, n**0.5, rel_tol=1e-4)), None)
    words = "negated" if math.isclose(times, -1, rel_tol=1e-4) else f"{times:.6g} times it"
    words = f"times 1/√{size} already" if size else f"before 1/√{unscaled}" if unscaled else words
    yield Due(words, given, times * own, scale * max(1, abs(times)), 1)


def dropped(given: Array, own: Array, scale: float, masks: Mapping[str, Array]) -> Iterator[Due]:
    """What dropout leaves of it."""
    for keep in masks.values():
        if keep.shape == own.shape == given.shape and not keep.all():
            left = own * (keep != 0)
            square = float(np.vdot(left, left))
            times = float(np.vdot(given, left)) / square if square else 0.0
            plain = math.isclose(times, 1, rel_tol=1e-4)
            words = f"after dropout{', not divided by 1 - rate' if plain else ''}"
            if times >= 0.5:
                yield Due(words, given, times * left, scale * max(1, times), 1)


def moved(given: Array, own: Array, scale: float, others: Mapping[str, Array]) -> Iterator[Due]:
    """Another tensor more or less: a bias, a residual."""
    if given.shape != own.shape or own.ndim < 2:
        return
    change = given - own
    for name, other in others.items():
        if other.shape == own.shape and np.array_equal(other, own):  # a copy under another name
            continue
        bias = other.ndim == 1 and other.shape[0] == own.shape[-1]
        sides = zip(other.shape, own.shape, strict=True) if other.ndim == own.ndim else [(0, 1)]
        if not bias and any(a not in (1, b) for a, b in sides):
            continue
        for sign, verb in ((-1, "without"), (1, "plus")):
            due = np.broadcast_to(sign * other, own.shape)
            yield Due(f"{verb} {name}", change, due, scale, 0, other)


def reduced(given: Array, own: Array, scale: float, present: Array | None) -> Iterator[Due]:
    """One axis less: its first or last entry, its mean or sum."""
    if given.ndim != own.ndim - 1 or not own.ndim > 1:
        return
    for axis in range(own.ndim):
        if given.shape != own.shape[:axis] + own.shape[axis + 1 :] or own.shape[axis] < 2:
            continue
        what = {1: "position" if own.ndim == 3 else "head"}.get(axis, f"row of axis {axis}")
        yield Due(f"its first {what}", given, own.take(0, axis), scale)
        yield Due(f"its last {what}", given, own.take(-1, axis), scale)
        yield Due(f"its mean over {what}s", given, own.mean(axis), scale)
        yield Due(f"its sum over {what}s", given, own.sum(axis), scale * own.shape[axis])
        yield Due(f"its largest over {what}s", given, own.max(axis), scale)
        if axis == 1 and own.ndim == 3 and present is not None and present.shape == own.shape[:2]:
            part = present / np.maximum(present.sum(1, keepdims=True), 1)
            mean = (own * part[..., None]).sum(1)
            yield Due(f"its mean over {what}s without padding", given, mean, scale)


def with_mask(given: Array, own: Array, scale: float, probs: Array | None, bar: float) -> str:
    """Words where it is the scores behind a mask: as they are where there is a probability, far below elsewhere."""
    if probs is None or not given.shape == own.shape == probs.shape or not (probs == 0).any():
        return ""
    out = probs == 0
    below = given <= MASKED  # -inf, too
    open_ = ~below
    if not (below.any() and (out | open_).all() and open_.any()):
        return ""
    return MASK if Due("", given[open_], own[open_], scale).holds(bar) else ""


# ---- A single number -------------------------------------------------------------------------------------------------
def numbers(given: Array, own: Array, scale: float, counts: Mapping[str, int], terms: int) -> Iterator[Due]:
    """A loss summed or averaged over something else, or a function of it."""
    if given.size != 1 or own.size != 1 or not own.any():
        return
    given, own = given.reshape(()), own.reshape(())
    times = float(given) / float(own)

    def one(words: str, due: Any, rounding: float = 1) -> Due:
        return Due(words, given, np.asarray(due), scale * rounding)

    for words, count in counts.items():
        if count > 1:
            yield one(f"summed, not averaged ({count} times it: {words})", own * count, count)
    if terms > 1:
        yield one(f"the mean of its {terms} terms", own / terms)
    yield one("squared", own * own, 2 * abs(float(own)))
    yield one("its square root", np.sqrt(np.abs(own)))
    yield one("its exponential (perplexity)", np.exp(np.minimum(own, 80)), float(np.exp(np.minimum(own, 80))))
    yield one("in bits (divided by ln 2)", own / math.log(2), 2)
    yield one("negated", -own)
    for words, count in counts.items():
        for others, number in counts.items():
            if count != number and count > 1 and number > 1:
                over = f"divided by {number} ({others}), not by {count} ({words})"
                yield one(over, own * count / number, count / number)
    if abs(round(times)) > 1:
        yield one(f"{round(times)} times it", own * round(times), abs(times))


def counts(case: Any) -> dict[str, int]:
    """How many of the first batch there are, in words, each number once."""
    found: dict[str, int] = {}
    for key, entry in case.entries.items():
        name = key.removeprefix("inputs/")
        if entry.role != "input" or "/" in name or not entry.shape:
            continue
        array = np.asarray(case.tensor(key))
        if "label" in name and array.ndim == 2 and array.dtype.kind == "i":
            found[f"labels of {name}" if name != "labels" else "labels"] = int((array != -100).sum())
            found[f"{name} from the second position on"] = int((array[:, 1:] != -100).sum())
        elif name.endswith(("weights", "mask")):
            found[f"those of {name} that are not 0"] = int(np.count_nonzero(array))
        found[f"all of {name}"] = array.size
        found["rows"] = array.shape[0]
    return {words: n for i, (words, n) in enumerate(found.items()) if n not in [*found.values()][:i]}


# ---- All of them -----------------------------------------------------------------------------------------------------
class Known(NamedTuple):
    """What forms are made with, of a case. heads: sizes that a head may have; clip: of the norm."""

    masks: dict[str, Array]
    counts: dict[str, int]
    heads: list[int]
    present: Array | None
    terms: int
    clip: float

    @classmethod
    def of(cls, case: Any, known: axes.Axes) -> "Known":
        """Of a case and its axes."""
        keep = {key: case.tensor(key) for key in case.entries if key.startswith("inputs/dropout/")}
        widths = {e.shape[-1] for k, e in case.entries.items() if k.startswith("forward/") and len(e.shape) == 3}
        sizes = sorted({width // n for width in widths for n in known.heads if width % n == 0} - {1})
        terms = sum(key.startswith("forward/loss.") for key in case.entries)
        clip = (case.facts["optimizer"] or {}).get("clip_norm") or math.inf
        return cls(keep, counts(case), sizes, axes.mask(case), terms, clip)


def itself(known: Known, key: str, given: Array, own: Array, scale: float,
           others: Mapping[str, Array]) -> Iterator[Due]:  # fmt: skip
    """The forms that a tensor may have been given in. others: what may have been added, by name."""
    if key.endswith("/gradient_norm"):
        least = np.minimum(own, known.clip)
        yield Due("after clipping", given, least, float(least.max()))
    if own.size == 1:
        yield from numbers(given, own, scale, known.counts, known.terms if key == "forward/loss" else 0)
        return
    if key.startswith("forward/"):
        yield from dropped(given, own, scale, known.masks)
        yield from moved(given, own, scale, others)
        yield from functions(given, own, scale)
    last = key.rpartition(".")[2]
    yield from scaled(given, own, scale, known.heads if last in SCALED else ())
    yield from reduced(given, own, scale, known.present)


def another(known: Known, given: Array, other: Array, scale: float) -> Iterator[Due]:
    """The forms in which it may be another tensor."""
    yield from functions(given, other, scale)
    yield from scaled(given, other, scale)
    yield from reduced(given, other, scale, known.present)
