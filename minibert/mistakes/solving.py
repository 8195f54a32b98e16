"""A mutant with a value left open (an eps, a scale, a rate, so many rows), and the value that explains a candidate.

The value is found from the tensor that first goes wrong: the likeliest values are tried, then Gauss-Newton steps along
the one unknown, as y(v) is smooth in it. What it comes to is rounded to what somebody would have written (1e-5, 0.1,
1/√64) where that explains as much. The mutant with that value is one like any other, and is held to the same bar.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minibert.golden.compare import EXPLAINED, SUSPECT

Array = np.ndarray
Tensors = Mapping[str, Array]
Residual = Callable[[float], "Array | None"]  # what a value leaves, over the unit

ROUNDS = 8  # of Gauss-Newton
HALVED = 3  # times a step that leads away
SLOW = 1  # rounds that may leave more than half
ALONG = 0.25  # of what is left, squared, that one step must be able to remove: else it is no matter of this value
STEP = 1e-4  # relative, of the difference quotient
FEW = 4  # numbers that a value must explain; fewer, and any value explains them: then only one that people write
FALLS = 16  # times less must be left than without the mutant
ROOT = 4096  # 1/√n up to this n
CHANCE = 30  # times more values must be told apart than are as plain
NOTHING = 1e-6  # of the smallest likely factor: as good as 0


@dataclass(frozen=True)
class Free:
    """A value that a mutant leaves open.

    of: value -> the mutant with it, None of what is due. due: the right value, of which there is no mutant, where there
    is one; likely: what is tried first; least, most: bounds; whole: whole numbers alone.
    """

    of: Callable[[float], Any]
    likely: tuple[float, ...]
    due: float | None = None
    least: float = 0.0
    most: float = math.inf
    whole: bool = False


def solvable(
    of: Callable[[float], Callable], typical: Any, likely: Any = (), due: Any = None, **bounds: Any
) -> Callable:
    """The mutants of the maker of(typical), whose value may be solved for.

    of: value -> maker, the mutants of which are at the same places for every value. typical, likely, due: as in `Free`,
    or functions of the subject; where typical is due, the first likely value that is not stands for it.
    """

    def maker(subject: Any, at: Any) -> list:
        value, others, right = (f(subject) if callable(f) else f for f in (typical, likely, due))
        if value == right:
            value = next(other for other in others if other != right)
        values = tuple(dict.fromkeys(v for v in (value, *others) if v != right))

        def mutant(number: int, v: float) -> Any:
            made = of(v)(subject, at)
            return made[number] if made else None  # of what is due

        return [replace(made, free=Free(partial(mutant, number), values, right, **bounds))
                for number, made in enumerate(of(value)(subject, at))]  # fmt: skip

    return maker


def solved(
    mutant: Any, run: Callable[[Any], Tensors | None], wanted: Tensors, units: Mapping[str, float],
    left: float = math.inf,
) -> Any | None:  # fmt: skip
    """The mutant with the value that explains the wanted tensors; None where none does, or it has no such value.

    run: mutant -> its tensors by key, None where it cannot be made. wanted: those of a candidate that first go wrong.
    units: of each key what counts as one (scale · floor). left: what is left of them without the mutant, at most.
    """
    free = mutant.free
    if free is None or not wanted:
        return None

    def residual(value: float) -> Array | None:
        made = free.of(value)
        tensors = (run(made) if made is not None else None) or {}
        if any(tensors.get(key) is None or np.shape(tensors[key]) != a.shape for key, a in wanted.items()):
            return None
        parts = [((np.asarray(tensors[key], np.float64) - a) / units[key]).reshape(-1) for key, a in wanted.items()]
        left = np.concatenate(parts)
        return left if np.isfinite(left).all() else None

    found = _value(free, residual, sum(a.size for a in wanted.values()), left)
    return None if found is None or found == free.due else free.of(found)


def first_wrong(evidence: Any, residuals: Array) -> tuple[Tensors, dict[str, float]]:
    """(tensors, units) of an `Evidence` that a value is solved from: what first goes wrong by these residuals, and
    where that is a few numbers (a loss) the next that is more. A unit is one at the candidate's scale where that is
    larger: of what is multiplied by 65536 so is the rounding.
    """
    wrong = np.flatnonzero(residuals > SUSPECT)
    wrong = wrong if wrong.size else np.flatnonzero(residuals > EXPLAINED)
    chosen = [*wrong[:1], *(i for i in wrong[1:] if evidence.sizes[i] >= FEW > evidence.sizes[wrong[0]])][:2]
    starts, sizes = evidence.starts, evidence.sizes
    tensors = {evidence.keys[i]: evidence.values[starts[i] : starts[i] + sizes[i]].reshape(evidence.shapes[i])
               for i in chosen}  # fmt: skip
    scales = np.maximum(evidence.scales, evidence.largest(evidence.values))
    return tensors, {evidence.keys[i]: float(scales[i] * evidence.floors[i]) for i in chosen}


def _value(free: Free, residual: Residual, numbers: int, without: float = math.inf) -> float | None:
    tried = {v: left for v in free.likely if (left := residual(v)) is not None}
    if not tried:
        return None
    best = min(tried, key=lambda v: _worst(tried[v]))
    if _worst(tried[best]) <= EXPLAINED:
        return best
    before = max(map(_worst, tried.values()))
    if free.due is not None and (right := residual(free.due)) is not None:
        before = _worst(right)
    value, left = _refined(free, residual, best, tried[best])
    if free.least < 0 and abs(value) < NOTHING * min((abs(v) for v in free.likely if v), default=1.0):
        return None  # a factor of 0 is what leaves something out, not another factor
    telling = min(before, without) / EXPLAINED if numbers < FEW else math.inf
    for human in _humans(value, free.whole, telling):
        near = residual(human) if free.least <= human <= free.most else None
        if near is not None and _worst(near) <= max(EXPLAINED, 1.25 * _worst(left)):
            return human if _worst(near) <= max(EXPLAINED, min(SUSPECT, before / FALLS)) else None
    if free.whole or numbers < FEW:
        return None
    return value if _worst(left) <= max(EXPLAINED, min(SUSPECT, before / FALLS)) else None


def _worst(left: Array) -> float:
    return float(np.abs(left).max(initial=0.0))


def _refined(free: Free, residual: Residual, value: float, left: Array) -> tuple[float, Array]:
    """(value, what it leaves) after Gauss-Newton steps from a value, while they lead on."""
    slow = 0
    for _ in range(ROUNDS):
        step = STEP * (abs(value) or min((v for v in map(abs, free.likely) if v), default=1.0))
        moved = residual(value + step)
        if moved is None:
            break
        slope = (moved - left) / step
        power, along = float(slope @ slope), float(slope @ left)
        if not power or along * along < ALONG * power * float(left @ left):
            break
        change, better = -along / power, None
        for _ in range(HALVED + 1):
            new = min(max(value + change, free.least), free.most)
            there = residual(new)
            if there is not None and float(there @ there) < float(left @ left):
                better = new, there
                break
            change /= 2
        if better is None:
            break
        small = abs(better[0] - value) <= 1e-9 * abs(value)
        slow += 4 * float(better[1] @ better[1]) > float(left @ left)
        value, left = better
        if small or slow > SLOW or _worst(left) <= 1:
            break
    return value, left


def _humans(value: float, whole: bool, telling: float) -> Iterator[float]:
    """Values near this one that somebody would have written, the plainest first; of so many as can be told apart, such
    as are no chance.
    """
    if whole:
        yield float(round(value))
        return
    yield from (float(f"{value:.{digits}g}") for digits in (1, 2, 3) if telling > CHANCE * 10**digits)
    if (n := _root(value)) and telling > CHANCE * n:
        yield n**-0.5
    if 1 < abs(value) < ROOT and telling > CHANCE * value * value:
        yield math.copysign(round(value * value) ** 0.5, value)


def _root(value: float) -> int | None:
    """n where the value is about 1/√n."""
    n = round(value**-2) if ROOT**-0.5 <= value < 1 else 0
    return n if n > 1 and abs(n**-0.5 - value) < 1e-3 * value else None


def shown(value: float) -> str:
    """A value as people write it: 1e-5, 0.1, 1/√8, 3.142, 65536."""
    text = f"{value:.4g}"
    if abs(float(text) - value) > 1e-9 * abs(value) and (n := _root(value)) and abs(n**-0.5 - value) < 1e-12:
        return f"1/√{n}"
    if 0 < abs(value) < 0.01:
        mantissa, _, power = f"{value:.3e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:.0f}" if "e+" in text and float(text) != value == round(value) else text


def plainer(one: float, other: float) -> bool:
    """Whether a value has no more digits than another, to float32's precision."""
    return len(f"{one:.5g}") <= len(f"{other:.5g}")


def instead(name: str, value: float, due: Any) -> str:
    """ "eps 1e-5, where 1e-12 is due" """
    return f"{name} {shown(value)}, where {due if isinstance(due, str) else shown(due)} is due"
