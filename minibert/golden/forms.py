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
ROWS = 8  # rows, the same
FAR_OFF = 0.05  # of the largest entry: no rounding is as much
MOST = 4096  # a whole number up to which something is said to be divided by it
LONGEST = 1024  # an axis along which another order is looked for
CLIPPED = 4  # numbers on a bound that make it one
DECIMALS = 7  # from which on no rounding to so many is looked for
ROUNDED = "rounded to"
BASE_TWO = "in bits (divided by ln 2)"
BETAS = {"adam_m": 0.9, "exp_avg": 0.9, "adam_v": 0.999, "exp_avg_sq": 0.999}
CORRECTED = "bias-corrected already (divided by 1 - β^t)"


class Due(NamedTuple):
    """One form. words: of what it is, beginning behind "itself, "; given, due: what has to be the same; scale: of the
    rounding in them; free: how many numbers were fitted; telling: what makes it another tensor, None: due itself;
    says: how many bits of it these numbers tell, where they are few values.
    """

    words: str
    given: Array
    due: Array
    scale: float
    free: int = 0
    telling: Array | None = None
    says: float | None = None

    def holds(self, bar: float, sure: bool = True) -> bool:
        """Whether it is so within `bar`, and if it is to be sure no chance."""
        within = bar * self.scale
        if self.given.shape != self.due.shape or not 0 < within < math.inf:
            return False
        few = slice(0, self.given.size, max(1, self.given.size // PROBE))
        for part in (few, slice(None)):
            with np.errstate(all="ignore"):
                if not np.abs(self.given.reshape(-1)[part] - self.due.reshape(-1)[part]).max(initial=0) <= within:
                    return False
        if not sure or self.says is not None:
            return not sure or self.says >= BITS
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


def _below_largest(x: Array) -> Array:
    return x - x.max(-1, keepdims=True)


def _of_length_one(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


LOG_SOFTMAX = "as log-probabilities (log-softmax of it)"  # of which the loss is the same
MASK = "behind the mask"  # of which the probabilities are the same
THEN: Mapping[str, Callable[[Array], Array]] = {  # what was given is this of it
    "as probabilities (softmax of it)": _softmax, LOG_SOFTMAX: _log_softmax,
    "as probabilities (sigmoid of it)": _sigmoid, "after another tanh": np.tanh, "its exponential": np.exp,
    "its absolute value": np.abs, "squared": np.square, "minus the largest of each row": _below_largest,
    "each row divided by its length": _of_length_one,
}  # fmt: skip
BEFORE: Mapping[str, Callable[[Array], Array]] = {  # it is this of what was given
    "before its softmax": _softmax, "its logarithm": np.exp, "before its tanh": np.tanh, "before its sigmoid": _sigmoid,
    "its square root": np.square,
}  # fmt: skip


OF_ROWS = (_softmax, _log_softmax, _below_largest, _of_length_one)  # which say nothing of one number


def functions(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """Softmax, sigmoid, tanh, …, and what they undo."""
    if given.shape != own.shape or not own.ndim:
        return
    for words, f in THEN.items():
        if (own.shape[-1] > 1 or f not in OF_ROWS) and _near(_few(given), f(_few(own))):
            due = f(own)
            yield Due(words, given, due, max(scale, float(np.abs(due).max())))
    for words, f in BEFORE.items():
        if (own.shape[-1] > 1 or f not in OF_ROWS) and _near(f(_few(given)), _few(own)):
            yield Due(words, f(given), own, scale)
    if own.shape[-1] > 1 and (given > 0).all() and _near(_few(given).sum(-1), 1):
        yield from _tempered(given, own)


def _few(array: Array) -> Array:
    """Some of its rows."""
    rows = array.reshape(-1, array.shape[-1])
    return rows[:: max(1, len(rows) // ROWS)]


def _near(given: Array, due: Any) -> bool:
    """Whether it may be so: nothing is farther off than any rounding."""
    return bool(np.abs(given - due).max(initial=0) <= FAR_OFF * np.abs(due).max(initial=0))


def _tempered(given: Array, own: Array) -> Iterator[Due]:
    """Softmax of it, divided by a number."""
    logits, x = (a - a.mean(-1, keepdims=True) for a in (np.log(given), own))
    times = float(np.vdot(logits, x)) / float(np.vdot(x, x) or math.inf)
    if math.isfinite(times) and times > 0 and not math.isclose(times, 1, rel_tol=1e-3):
        due = _softmax(times * own)
        yield Due(f"as probabilities (softmax of it, divided by {1 / times:.4g})", given, due, 1, 1)


def scaled(given: Array, own: Array, scale: float, heads: Collection[int] = ()) -> Iterator[Due]:
    """A constant times it. heads: sizes of a head, of what is scaled by one."""
    times = fitted(given, own)
    if not times or not math.isfinite(times):
        return
    size = next((n for n in heads if math.isclose(times, n**-0.5, rel_tol=1e-4)), None)
    unscaled = next((n for n in heads if math.isclose(times, n**0.5, rel_tol=1e-4)), None)
    words = f"times 1/√{size} already" if size else f"before 1/√{unscaled}" if unscaled else _factor(times)
    yield Due(words, given, times * own, scale * max(1, abs(times)), 1)


def fitted(given: Array, own: Array) -> float:
    """How many times a tensor it is, at best; 0 where that can't be said."""
    square = float(np.vdot(own, own)) if given.shape == own.shape and own.size > 1 else 0.0
    return float(np.vdot(given, own)) / square if square else 0.0


def _factor(times: float) -> str:
    """ "negated", "divided by 7", "in bits (divided by ln 2)", "0.3 times it"."""
    whole = round(1 / times) if abs(times) < 1 else 0
    if math.isclose(times, -1, rel_tol=1e-4):
        return "negated"
    if math.isclose(times, 1 / math.log(2), rel_tol=1e-5):
        return BASE_TWO
    if 1 < whole < MOST and math.isclose(times, 1 / whole, rel_tol=1e-5):
        return f"divided by {whole}"
    return f"{times:.6g} times it"


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
    """One axis less: its first or last entry, its mean or sum; also where that stands in the place of each."""
    if not own.ndim > 1:
        return
    for axis in range(own.ndim):
        left = own.shape[:axis] + own.shape[axis + 1 :]
        if own.shape[axis] < 2 or given.shape not in (left, (*left[:axis], 1, *left[axis:]), own.shape):
            continue
        held, each = given.reshape(left) if given.size == math.prod(left) else given.take(0, axis), ""
        if given.shape == own.shape and held.size != given.size:
            if not (given == np.expand_dims(held, axis)).all():
                continue
            each = f", in the place of each {_axis(axis, own)}"
        what = _axis(axis, own)
        yield Due(f"its first {what}{each}", held, own.take(0, axis), scale)
        yield Due(f"its last {what}{each}", held, own.take(-1, axis), scale)
        yield Due(f"its mean over {what}s{each}", held, own.mean(axis), scale)
        yield Due(f"its sum over {what}s{each}", held, own.sum(axis), scale * own.shape[axis])
        yield Due(f"its largest over {what}s{each}", held, own.max(axis), scale)
        if axis == 1 and own.ndim == 3 and present is not None and present.shape == own.shape[:2]:
            part = present / np.maximum(present.sum(1, keepdims=True), 1)
            mean = (own * part[..., None]).sum(1)
            yield Due(f"its mean over {what}s without padding{each}", held, mean, scale)


def _axis(axis: int, own: Array) -> str:
    """What one entry along an axis is."""
    names = {2: ("row", "column"), 3: ("row", "position", "unit"), 4: ("row", "head", "query", "key")}
    return names[own.ndim][axis] if own.ndim in names else f"entry of axis {axis}"


def running(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """Its cumulative sum."""
    if given.shape != own.shape or not own.ndim:
        return
    for axis in range(own.ndim):
        if own.shape[axis] > 2 and _near(given.take(0, axis), own.take(0, axis)):
            due = own.cumsum(axis)
            over = f" over {_axis(axis, own)}s" if own.ndim > 1 else ""
            yield Due(f"its cumulative sum{over}", given, due, max(scale, float(np.abs(due).max())))


def blanked(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """Rows of it are 0."""
    if given.shape != own.shape or own.ndim < 2:
        return
    none = (given == 0).all(-1)
    if none.any() and not none.all():
        words = f"but 0 in {none.sum()} of {none.size} rows"
        yield Due(words, given, np.where(none[..., None], 0, own), scale, 0, own[~none])


def clipped(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """What is beyond a bound is that bound, on one side or on both; several numbers, for one may be anything."""
    if given.shape != own.shape or own.size < CLIPPED:
        return
    low, high = float(given.min()), float(given.max())
    under, over = (own < low) & (given == low), (own > high) & (given == high)
    below, above = (len(np.unique(own[beyond])) >= CLIPPED for beyond in (under, over))
    if not (below or above):
        return
    words = f"clipped to {low:.6g} … {high:.6g}" if below and above else f"no less than {low:.6g}"
    words = words if below else f"no more than {high:.6g}"
    words = "its positive part (ReLU of it)" if below and not above and low == 0 else words
    due = np.clip(own, low if below else -math.inf, high if above else math.inf)
    yield Due(words, given, due, scale, 0, own[(given != low) & (given != high)])


# ---- Another order ---------------------------------------------------------------------------------------------------
def reordered(given: Array, own: Array, heads: Collection[int]) -> Iterator[tuple[str, Array, float]]:
    """(words, the array with its entries put back, bits that the order itself took) where along one axis, which may be
    that of heads within another, they stand in another order. heads: how many there may be.
    """
    if _near(given, -own):  # of two classes that is as good
        return
    views = []
    for count, axis in ((n, a) for n in heads for a in range(own.ndim) if 1 < n < own.shape[a]):
        if own.shape[axis] % count == 0:
            apart = (*own.shape[:axis], count, own.shape[axis] // count, *own.shape[axis + 1 :])
            views.append((axis, apart, "head"))
    views += [(axis, own.shape, _axis(axis, own)) for axis in range(own.ndim)]
    for axis, shape, what in views:
        rows, due = (np.moveaxis(a.reshape(shape), axis, 0).reshape(shape[axis], -1) for a in (given, own))
        order = _order(rows, due)
        if order is not None:
            back = np.moveaxis(rows[np.argsort(order)].reshape(np.moveaxis(own.reshape(shape), axis, 0).shape), 0, axis)
            yield f"its {what}s {_told(order)}", back.reshape(own.shape), math.lgamma(len(order) + 1) / math.log(2)


def _order(rows: Array, due: Array) -> Array | None:
    """Which of the due rows each one is; None where they are in order, or none of it is sure."""
    if not 2 <= len(rows) <= LONGEST:
        return None
    few = slice(0, rows.shape[1], max(1, rows.shape[1] // ROWS))
    apart = np.abs(rows[:, None, few] - due[None, :, few]).max(-1)
    order = apart.argmin(1)
    own = np.diagonal(apart) <= apart.min(1)  # of equal rows each is itself
    order = np.where(own, np.arange(len(rows)), order)
    sure = len({*order.tolist()}) == len(rows) and not own.all()
    return order if sure and apart.min(1).max() <= FAR_OFF * np.abs(due).max(initial=0) else None


def _told(order: Array) -> str:
    """ "reversed", "moved on by 2", "in the order 2, 0, 1", "in another order"."""
    count, first = len(order), int(order[0])
    if (order == np.arange(count)[::-1]).all():
        return "reversed"
    if (order == (np.arange(count) + first) % count).all():
        return f"moved on by {count - first}" if first > count // 2 else f"moved back by {first}"
    return f"in the order {', '.join(map(str, order))}" if count <= ROWS else "in another order"


# ---- Few values ------------------------------------------------------------------------------------------------------
def rounded(given: Array, own: Array) -> Iterator[Due]:
    """To so many decimals, the fewest that do first."""
    largest = float(np.abs(given).max(initial=0))
    if given.shape != own.shape or not largest < math.inf:
        return
    for places in range(DECIMALS):
        unit = 10.0**-places
        if largest > unit * 2**20:  # float32 says nothing of it
            return
        if np.abs(given - np.rint(given / unit) * unit).max() <= largest * 2**-22:
            words = f"{ROUNDED} {places} decimals" if places else f"{ROUNDED} whole numbers"
            alike = np.abs(given - own) <= 0.55 * unit
            says = int((np.abs(own) > 2 * unit).sum()) * math.log2(max(2.0, largest / unit))
            yield Due(words, given, np.where(alike, given, np.nan), 1.0, says=says)


def told(given: Array, own: Array) -> Iterator[Due]:
    """Whole numbers made of it: the place of the largest, one-hot, signs."""
    if not own.ndim or own.shape[-1] < 1 or not (given == np.rint(given)).all():
        return
    if given.shape == own.shape[:-1] and own.shape[-1] > 1:
        yield _valued("the index of the largest of each row", given, own.argmax(-1))
    if given.shape == own.shape:
        yield _valued("its signs", given, np.sign(own))
        yield _valued("1 where it is positive, 0 elsewhere", given, own > 0)
        if own.shape[-1] > 1:
            largest = own.argmax(-1)
            hot = np.arange(own.shape[-1]) == largest[..., None]
            yield _valued("1 at the largest of each row, 0 elsewhere", given, hot)._replace(says=_bits(largest))


def _valued(words: str, given: Array, due: Array) -> Due:
    due = np.asarray(due, np.float64)
    return Due(words, given, due, max(1.0, float(np.abs(due).max())), says=_bits(due))


def _bits(values: Array) -> float:
    """What these values tell, were others as frequent."""
    shares = np.unique(values, return_counts=True)[1] / max(1, values.size)
    return float(values.size * -(shares * np.log2(shares)).sum())


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
    yield one(BASE_TWO, own / math.log(2), 2)
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


def itself(known: Known, key: str, given: Array, own: Array, scale: float, others: Mapping[str, Array],
           affine: Collection[tuple[Array, Array]] = ()) -> Iterator[Due]:  # fmt: skip
    """The forms that a tensor may have been given in. others: what may have been added, by name; affine: weights and
    biases of norms that it may be without.
    """
    if key.endswith("/gradient_norm"):
        least = np.minimum(own, known.clip)
        yield Due("after clipping", given, least, float(least.max()))
    if own.size == 1:
        yield from numbers(given, own, scale, known.counts, known.terms if key == "forward/loss" else 0)
        if given.size == 1:
            yield from rounded(given.reshape(own.shape), own)
            yield from told(given.reshape(1), own.reshape(1))
        return
    yield from rounded(given, own)
    if key.startswith("steps/"):
        yield from state(key, given, own, scale)
        return
    if key.startswith("forward/"):
        yield from dropped(given, own, scale, known.masks)
        yield from moved(given, own, scale, others)
        yield from functions(given, own, scale)
        for weight, bias in affine:
            if given.shape == own.shape:
                yield Due("without its norm's weight and bias", given * weight + bias, own, scale)
    last = key.rpartition(".")[2]
    yield from scaled(given, own, scale, known.heads if last in SCALED else ())
    yield from reduced(given, own, scale, known.present)
    if key.startswith("forward/"):
        yield from several(given, own, scale)
        yield from blanked(given, own, scale)


def another(known: Known, given: Array, other: Array, scale: float) -> Iterator[Due]:
    """The forms in which it may be another tensor."""
    yield from functions(given, other, scale)
    yield from scaled(given, other, scale)
    yield from reduced(given, other, scale, known.present)
    yield from several(given, other, scale)


def several(given: Array, own: Array, scale: float) -> Iterator[Due]:
    """What takes more than a function of a number or of a row."""
    yield from running(given, own, scale)
    yield from clipped(given, own, scale)
    yield from told(given, own)


def state(key: str, given: Array, own: Array, scale: float) -> Iterator[Due]:
    """A moment of an optimizer: corrected, its root, a constant times it. Of a parameter that would be too little."""
    _, step, slot = (*key.split("/", 2), "", "")[:3]
    beta = BETAS.get(slot.partition(".")[0])
    if beta is None or given.shape != own.shape:
        return
    left = 1 - beta ** int(step)
    yield Due(CORRECTED, given * left, own, scale)
    if (own >= 0).all():
        yield Due("its square root", np.square(given), own, scale)
    if not math.isclose(fitted(given, own), 1, rel_tol=0.5):  # near 1 an update may come to much the same
        yield from scaled(given, own, scale)
