"""Is a hand-written backward the derivative of its forward? Checks for any pair `f(…) -> (y, cache)`, yours included.

    gradcheck.require(f, f_backward, {"x": x, "weight": w}, {"eps": 1e-5})

does nothing where `f_backward(dy, cache)` is right, and otherwise raises a GradientError that says which argument is
wrong, at which index, what was got and what is due. `check` takes the same and returns numbers:

    gradcheck.check(f, f_backward, {"x": x, "weight": w}, {"eps": 1e-5})      {"x": 3e-13, "weight": 8e-14}

Cotangents and directions are random, so that a lost term shows; an error is max|a - b| / max(max|b|, 1e-3·G), b the
truth and G the largest entry of the whole gradient. The truth is a finite difference, or with `exact` the derivative
of a scalar-loop double at 50 digits.
"""

import inspect
import math
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, families, objective, signatures, tree
from minibert.errors import InputError
from minibert.gradcheck import blocks
from minibert.gradcheck.blocks import Example, own
from minibert.model import create
from minibert.pairs import PAIRS, Pair

Tree = Any
DIFFERENCE_BAR, EXACT_BAR, ORDER_BAR = 1e-9, 1e-12, 1.9


class GradientError(AssertionError):
    """A backward that is not the derivative of its forward, or a pair of which that cannot be said.

    Of the first thing that is wrong: argument (its path in args), index, got, due, order (of the Taylor remainder),
    shapes (of the gradient, of the argument); None where it does not apply.
    """

    def __init__(self, message: str, **facts: Any):
        super().__init__(message)
        names = ("argument", "index", "got", "due", "order", "shapes")
        self.argument, self.index, self.got, self.due, self.order, self.shapes = (facts.get(name) for name in names)


class PairError(InputError):
    """A forward or backward that does not do what a pair does: it writes to its arguments, returns something else."""


class Found(NamedTuple):
    """What `require` found of an argument: its error, and the order of the Taylor remainder (None: there is none)."""

    error: float
    order: float | None


# ---- The verdict -----------------------------------------------------------------------------------------------------
def require(
    f: Callable,
    f_backward: Callable,
    args: dict[str, Tree],
    constants: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Found]:
    """Raises GradientError unless f_backward is the derivative of f at `args`; for tests.

    f(**args, **constants) returns (y, cache), y one array; f_backward(dy, cache) returns the gradients: one array, a
    tuple in the order of args, or a dict by their names. args: arrays by name, or nested dicts and lists of arrays
    (weights, say), of floats in any memory order; f is given copies in float64. What has no gradient (ids, masks,
    sizes) belongs into constants. Every entry is differenced, at some ten evaluations of f each: keep arguments small.

    A gradient is wrong where its error (`check`) is above 1e-9, or where the remainder |f(x + h·d) - f(x) - h·g·d|
    falls slower than h^1.9 as h is halved (`remainder_order`): by Taylor's theorem it falls as h², and as h where g is
    wrong, which needs no choice of a step. Also an error, and named as such: a forward that returns NaN, another
    precision or something else each time, that writes to its arguments or depends on their memory order; a backward
    that returns NaN or another shape, writes to dy or to the arguments, or gives something else when it is called
    again or dy lies otherwise in memory; an argument at a kink, where there is no derivative.

    Returns the error and the order for each array. Raises InputError where args cannot be differentiated by.
    """
    rng = rng or np.random.default_rng(0)
    try:
        pair = evaluated(f, f_backward, args, constants, rng)
    except PairError as fault:
        raise GradientError(str(fault)) from None
    pair.require_a_function()
    pair.require_gradients()
    truth = pair.differences()
    found = {path: Found(value, pair.order(path, rng)) for path, value in pair.errors(truth).items()}
    wrong = [path for path, (value, order) in found.items() if value > DIFFERENCE_BAR or _falls_slowly(order)]
    if wrong:
        wrong.sort(key=lambda path: -found[path].error)
        faults = [pair.fault(path, truth, *found[path]) for path in wrong]
        raise GradientError("\n".join(map(str, faults)), **vars(faults[0]))
    return found


def _falls_slowly(order: float | None) -> bool:
    return order is not None and order < ORDER_BAR


def check(
    f: Callable,
    f_backward: Callable,
    args: dict[str, Tree],
    constants: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, float]:
    """Error of f_backward's gradient for each argument (a path each where it is a tree), by finite differences.

    Arguments as in `require`. The backward is called three times, the last time with a dy that is not contiguous; the
    largest error counts. Infinite for another shape or a NaN. Raises InputError where gradients and arguments don't
    match, where either function writes to its arguments, and where args cannot be differentiated by.
    """
    pair = evaluated(f, f_backward, args, constants, rng)
    return pair.errors(pair.differences())


# ---- Differences -----------------------------------------------------------------------------------------------------
_EXTRAPOLATIONS = 4
_JUDGED = 8  # halvings


def _halved(largest: float, smallest: float) -> list[float]:
    return [largest / 2**k for k in range(int(math.log2(largest / smallest)) + 1)]


def derivative(
    f: Callable[[float], float], tolerance: float = 0.0, rounding: float = 0.0, largest: float = 2**-4
) -> float:
    """f'(0) by central differences, extrapolated over halved steps (Ridders 1982, Adv. Eng. Software 4, 75-76).

    Of all extrapolations, the one that agrees best with those it is made from, as far as the rounding of f allows
    (`rounding`, and half a unit in the last place of its values). Steps are halved, from `largest` to 1e-6, until they
    agree within `tolerance` or 1e-12 of the result, or rounding leaves nothing to gain. Where a step crosses a kink
    (ReLU, a maximum) or leaves the domain (NaN), neighbours disagree, so smaller steps are taken by themselves. NaN
    where all steps give NaN.
    """
    best, least = float("nan"), float("inf")
    coarser: list[float] = []
    for h in _halved(largest, 2**-20):  # so small that two of them lie on one side of a kink
        above, below = f(h), f(-h)
        noise = (rounding + np.finfo(np.float64).eps / 2 * max(abs(above), abs(below))) / h
        row = [(above - below) / (2 * h)]
        for j, coarse in enumerate(coarser[:_EXTRAPOLATIONS]):
            row.append(row[j] + (row[j] - coarse) / (4 ** (j + 1) - 1))
            spread = max(abs(row[-1] - row[j]), abs(row[-1] - coarse), noise)
            if spread < least:
                best, least = row[-1], spread
        if least <= max(tolerance, 1e-12 * abs(best)) or noise >= least:
            break
        coarser = row
    return best


def remainder_order(
    f: Callable[[float], float], slope: float, rounding: float = 0.0, largest: float = 2**-3
) -> float | None:
    """The order in h of Taylor's remainder |f(h) - f(0) - h·slope|: 2 where `slope` is f'(0), 1 where it is not.

    h is halved from `largest` to 6e-11. A halving counts where the remainder is above 100 times the rounding of f
    (`rounding`, half a unit in the last place of f(0), or more where the smallest steps show more); the result is the
    median over the 8 smallest that count, None where fewer than 3 do: f is linear as far as can be seen. Steps beyond a
    kink don't count; two kinks, one after the other, may look smooth for a halving or two.
    """
    start = f(0.0)
    r = np.array([f(h) - start - h * slope for h in _halved(largest, 2**-34)])
    bend = abs(r[:-1] - 2 * r[1:])  # free of the slope: falls as h² where f is smooth, stays where h crosses a kink
    floor = 100 * max(rounding, np.finfo(np.float64).eps / 2 * abs(start), float(bend[-6:].max()))
    orders: list[float] = []
    for k in reversed(range(len(bend) - 1)):
        if len(orders) == _JUDGED:
            break
        if abs(r[k + 1]) > floor:
            smooth = bend[k] <= floor or 2**1.5 * bend[k + 1] <= bend[k] <= 2**6 * max(bend[k + 1], floor)
            if not smooth:
                break
            orders.append(math.log2(abs(r[k] / r[k + 1])) if r[k] else float("-inf"))
    return float(np.median(orders)) if len(orders) > 2 else None


def error(got: np.ndarray, true: np.ndarray, largest: float) -> float:
    """max|got - true| / max(max|true|, 1e-3·largest); infinite for another shape or a NaN."""
    if np.shape(got) != np.shape(true):
        return float("inf")
    difference = float(np.max(np.abs(got - true), initial=0))
    scale = max(float(np.max(np.abs(true), initial=0)), 1e-3 * largest)
    return difference / scale if scale and difference == difference else (0.0 if difference == 0 else float("inf"))


def errors(got: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """The error of each tensor, normalised with the largest entry of all."""
    largest = max((float(np.max(np.abs(b), initial=0)) for b in truth.values()), default=0.0)
    return {path: error(got[path], b, largest) for path, b in truth.items()}


# ---- A pair at work --------------------------------------------------------------------------------------------------
AGAIN, SCATTERED = "called again with the same cache", "given a dy that is not contiguous"


@dataclass
class Evaluated:
    """A pair, evaluated.

    given: the arguments in their own memory order, and y for these; args: copies in C order, which differences move;
    got: the gradients for dy, flat, of each call of the backward, by what was different about the call ("": nothing).
    """

    f: Callable
    name: str
    backward_name: str
    given: dict[str, Tree]
    args: dict[str, Tree]
    constants: dict[str, Any]
    y: np.ndarray
    dy: np.ndarray
    got: dict[str, dict[str, np.ndarray]]

    def output(self, args: dict[str, Tree]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.f(**args, **self.constants)[0])

    def value(self) -> float:
        """Σ dy∘(f(args) - y), args as they now are: what does not move adds no rounding."""
        y = self.output(self.args)
        with np.errstate(all="ignore"):
            return float(np.sum(self.dy * (y - self.y)))

    def errors(self, truth: dict[str, np.ndarray]) -> dict[str, float]:
        """The largest error of each argument over the calls of the backward."""
        calls = [errors(got, truth) for got in self.got.values()]
        return {path: max(found[path] for found in calls) for path in truth}

    def moving(self, value: np.ndarray, i: int) -> Callable[[float], float]:
        """`value` as a function of how far entry i of an argument is moved."""
        flat = value.reshape(-1)
        entry = flat[i]

        def moved(step: float) -> float:
            flat[i] = entry + step
            total = self.value()
            flat[i] = entry
            return total

        return moved

    def differences(self) -> dict[str, np.ndarray]:
        """The derivative of Σ dy∘f by every entry of every argument."""
        sizes = {path: _size(a) for path, a in self.got[""].items()}
        least = 1e-3 * max(sizes.values())
        truth = {}
        for path, value in tree.items(self.args):
            tolerance = 1e-11 * max(sizes[path], least)  # a gradient of another size is wrong anyway
            slopes = [
                derivative(self.moving(value, i), tolerance, self.rounding, unit / 2**4)
                for i, unit in enumerate(_units(value).flat)
            ]
            truth[path] = np.reshape(slopes, value.shape)
        return truth

    def order(self, path: str, rng: np.random.Generator) -> float | None:
        """`remainder_order` of an argument along a random direction."""
        value = tree.get(self.args, path)
        start, direction = value.copy(), np.asarray(rng.standard_normal(value.shape))

        def moved(step: float) -> float:
            value[...] = start + step * direction
            total = self.value()
            value[...] = start
            return total

        slope, unit = float(np.sum(self.got[""][path] * direction)), float(np.max(_units(value), initial=1))
        return remainder_order(moved, slope, self.rounding, unit / 2**3)

    @property
    def rounding(self) -> float:
        """Of `value`, where all of y moves."""
        return float(np.finfo(np.float64).eps * np.linalg.norm(np.ravel(self.dy * self.y)))

    def require_a_function(self) -> None:
        """GradientError where differences of the forward would say nothing."""
        if self.y.dtype != np.float64:
            raise GradientError(
                f"{self.name} returns {self.y.dtype} though its arguments are float64: differences of such values are "
                "too coarse; keep the precision of the arguments"
            )
        if (at := _first(~np.isfinite(self.y))) is not None:
            raise GradientError(f"{self.name} returns {_word(self.y[at])} at y{list(at)}", index=at)
        for args, why in (
            (tree.map(_copy, self.given), "when called again: draw what is random outside and pass it as a constant"),
            (self.args, "for the same arguments in C order: it depends on their memory order"),
        ):
            y = self.output(args)
            if y.shape != self.y.shape:
                raise GradientError(f"{self.name} returns another shape, {y.shape} for {self.y.shape}, {why}")
            if (at := _first(~np.isclose(y, self.y, rtol=1e-8, atol=1e-8 * _size(self.y)))) is not None:
                raise GradientError(
                    f"{self.name} returns another value at y{list(at)}, {y[at]:.9g} for {self.y[at]:.9g}, {why}"
                )

    def require_gradients(self) -> None:
        """GradientError where a gradient has another shape than its argument, or is not a number."""
        for call, path in ((call, path) for call, got in self.got.items() for path in got):
            got, argument = self.got[call][path], tree.get(self.args, path)
            what, when = f"{self.backward_name}: the gradient of {path}", f" when it is {call}" if call else ""
            shapes = got.shape, argument.shape
            if shapes[0] != shapes[1]:
                message = f"{what} has shape {shapes[0]}{when}, the argument has {shapes[1]}"
                raise GradientError(message, argument=path, shapes=shapes)
            if (at := _first(~np.isfinite(got))) is not None:
                value = float(got[at])
                message = f"{what} is {_word(value)} at {list(at)}{when}; shape {shapes[0]}"
                raise GradientError(message, argument=path, index=at, got=value, shapes=shapes)

    def fault(self, path: str, truth: dict[str, np.ndarray], value: float, order: float | None) -> GradientError:
        """What is wrong with the gradient of an argument: the worst entry that is at no kink, else the worst."""
        argument, due = tree.get(self.args, path), truth[path]
        calls = {call: errors(got, truth)[path] for call, got in self.got.items()}
        call = next((call for call, e in calls.items() if e > DIFFERENCE_BAR), "")
        got = self.got[call][path]
        gap = np.where(np.isfinite(due), abs(got - due), np.inf)
        kinks = {i: slopes for i in range(argument.size) if (slopes := self.sides(argument, i)) is not None}
        away = gap.copy()
        away.flat[list(kinks)] = -1
        at_kink = bool(kinks) and _size(away.clip(0)) <= DIFFERENCE_BAR * max(_size(due), 1e-3 * _largest(truth))
        worst = max(kinks, key=lambda i: gap.flat[i]) if at_kink else int(np.argmax(away))
        at = tuple(int(n) for n in np.unravel_index(worst, argument.shape))
        mine, true = float(got[at]) + 0.0, float(due[at]) + 0.0  # no minus zero
        facts = {"argument": path, "index": at, "got": mine, "due": true, "order": order}
        falls = "" if order is None else f"; its Taylor remainder falls as h^{order:.2f}, due is h^2"
        shape = f"shape {argument.shape}"
        if at_kink:
            below, above = kinks[worst]
            return GradientError(
                f"{path}{list(at)} = {argument[at]:.6g} is at a kink of {self.name}: its slope is {below:.9g} from "
                f"below and {above:.9g} from above, {self.backward_name} gives {mine:.9g}; there is no derivative, "
                f"choose another value; {shape}",
                **facts, shapes=(got.shape, argument.shape),
            )  # fmt: skip
        due_is = f"due {true:.9g}" if math.isfinite(true) else f"{self.name} gives NaN or infinity nearby"
        coarse = "" if got.dtype == np.float64 else f"; it is {got.dtype}"
        if value <= DIFFERENCE_BAR:
            coarse += f"; larger steps show no error: does {self.name} round, or compute in a lower precision?"
        return GradientError(
            f"{self.backward_name}: the gradient of {path} is wrong{f' when it is {call}' if call else ''}: at "
            f"{list(at)} got {mine:.9g}, {due_is}; error {value:.1e} of at most {DIFFERENCE_BAR:.0e}{falls}; "
            f"{shape}{coarse}",
            **facts, shapes=(got.shape, argument.shape),
        )  # fmt: skip

    def sides(self, argument: np.ndarray, i: int) -> tuple[float, float] | None:
        """The slopes of Σ dy∘f by entry i from below and from above where they differ, else None."""
        moved, h = self.moving(argument, i), float(_units(argument).flat[i]) / 2**20
        above, below = moved(h), moved(-h)
        near, far = abs(above + below), abs(moved(8 * h) + moved(-8 * h))  # 64 times as much where f is smooth
        return (-below / h + 0.0, above / h + 0.0) if near > 100 * self.rounding and far < 2**4.5 * near else None


def evaluated(
    f: Callable,
    f_backward: Callable,
    args: dict[str, Tree],
    constants: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
) -> Evaluated:
    """The pair's forward and its backward, three times, on copies in the arguments' own memory order.

    Raises InputError where args cannot be differentiated by, PairError where the functions are no pair for them.
    """
    constants, rng = constants or {}, rng or np.random.default_rng(0)
    given = _floats(f, args, constants)
    name, backward_name = _name(f, "f"), _name(f_backward, "f_backward")
    args, own = tree.map(_copy, given), tree.map(_copy, constants)

    def unchanged(who: str) -> None:
        for path, before, after in _side_by_side((given, args), (constants, own)):
            if (at := _first((before != after) & ((before == before) | (after == after)))) is not None:
                raise PairError(f"{who} writes to its argument {path}, at {list(at)}; work on a copy")

    returned = f(**args, **own)
    if not (isinstance(returned, tuple | list) and len(returned) == 2):
        raise PairError(f"{name} returns {_kind(returned)}, expected (y, cache)")
    y, cache = np.array(returned[0]), returned[1]
    if y.dtype.kind != "f":
        raise PairError(f"{name} returns {_kind(returned[0])} as y, expected one array of floats")
    unchanged(name)
    dy = np.asarray(rng.standard_normal(y.shape))
    got = {}
    for call, cotangent in (("", dy.copy()), (AGAIN, dy.copy()), (SCATTERED, _scattered(dy))):
        found = gradients(f, f_backward(cotangent, cache), given)
        got[call] = {path: _gradient(backward_name, path, value) for path, value in found.items()}
        if (at := _first(cotangent != dy)) is not None:
            raise PairError(f"{backward_name} writes to its argument dy, at {list(at)}; work on a copy")
        unchanged(backward_name)
    flat = tree.map(lambda a: np.array(a, order="C"), given)
    return Evaluated(f, name, backward_name, given, flat, own, y, dy, got)


def _gradient(backward_name: str, path: str, value: Any) -> np.ndarray:
    array = np.array(value)
    if array.dtype.kind not in "fiub":
        raise PairError(f"{backward_name} returns {_kind(value)} as the gradient of {path}")
    return array


def gradients(f: Callable, returned: Any, args: dict[str, Tree]) -> dict[str, np.ndarray]:
    """What a backward returned, flat, under the names of the arguments; PairError where it is not theirs."""
    named: dict[str, Any] = {}
    waiting = list(args)
    several = isinstance(returned, tuple) or (isinstance(returned, list) and len(args) > 1)
    for part in returned if several else (returned,):
        if isinstance(part, dict) and part.keys() <= args.keys():
            named |= part
        else:
            named[next((name for name in waiting if name not in named), "?")] = part
    got, wanted = tree.flatten(named), tree.flatten(args)
    if got.keys() != wanted.keys():
        raise PairError(f"{_name(f, 'f')}_backward returns gradients {sorted(got)}, expected {sorted(wanted)}")
    return got


# ---- Arguments and their memory --------------------------------------------------------------------------------------
def _floats(f: Callable, args: Any, constants: dict[str, Any]) -> dict[str, Tree]:
    """args with float64 arrays at the leaves; InputError where f does not take them or nobody could differentiate."""
    if not isinstance(args, dict) or not tree.leaves(args):
        raise InputError(f"args: expected a dict of at least one array by name, got {_kind(args)}")
    try:
        inspect.signature(f).bind(**args, **constants)
    except TypeError as wrong:
        raise InputError(f"{_name(f, 'f')} does not take these args and constants by name: {wrong}") from None
    except ValueError:  # a builtin without a signature
        pass
    paths = iter(tree.flatten(args))
    return tree.map(lambda value: _float(next(paths), value), args)


def _float(path: str, value: Any) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{path} is a masked array: fill it, and pass the mask as a constant")
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise InputError(f"{path}: expected floats, got {_kind(value)}; what has no gradient belongs into constants")
    if (at := _first(~np.isfinite(array))) is not None:
        raise InputError(f"{path}{list(at)} is {_word(array[at])}: no difference can be taken there")
    return np.asarray(array, np.float64)


def _copy(a: Any) -> Any:
    """A writable copy of an array that lies in memory as it does: order, gaps, entries that share a place."""
    if type(a) is not np.ndarray or a.dtype.hasobject or a.size == 0:
        return a
    ends = [stride * (size - 1) for stride, size in zip(a.strides, a.shape, strict=True)]
    first = -sum(min(0, end) for end in ends)
    memory = np.zeros(first + sum(max(0, end) for end in ends) + a.itemsize, np.uint8)
    copy = np.ndarray(a.shape, a.dtype, memory, first, a.strides)
    copy[...] = a
    return copy


def _scattered(a: np.ndarray) -> np.ndarray:
    """A copy in no usual order: Fortran's, backwards, with gaps."""
    copy = np.zeros((*a.shape[::-1], 2))[..., 0].T[(..., *(slice(None, None, -1),) * a.ndim)]
    copy[...] = a
    return copy


def _side_by_side(*trees: tuple[Tree, Tree]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(path, array, array) of the arrays in pairs of equal trees."""
    for one, other in trees:
        for (path, a), (_, b) in zip(tree.items(one), tree.items(other), strict=True):
            if a is not b:
                yield path, a, b


def _units(a: np.ndarray) -> np.ndarray:
    """What counts as far for each entry: 1, or for larger ones the power of 2 below. Powers of 2 are added exactly."""
    return np.asarray(2.0 ** np.maximum(np.frexp(a)[1] - 1, 0))


def _size(a: np.ndarray) -> float:
    """max|a|, 0 unless that is finite."""
    largest = float(np.max(np.abs(a), initial=0))
    return largest if math.isfinite(largest) else 0.0


def _largest(arrays: dict[str, np.ndarray]) -> float:
    return max(map(_size, arrays.values()))


def _first(where: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first true entry, or None."""
    found = np.argwhere(where)
    return tuple(int(i) for i in found[0]) if len(found) else None


def _word(value: float) -> str:
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype}"
    return "None" if value is None else f"{type(value).__name__}"


def _name(f: Callable, otherwise: str) -> str:
    return getattr(f, "__name__", otherwise)


# ---- Against the scalar-loop doubles ---------------------------------------------------------------------------------
def doubles() -> ModuleType | None:
    """The package of scalar-loop doubles: beside the checkout, or installed with minibert; None where neither is."""
    for name in ("minibert.reference", "reference"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return None


def exact(
    f: Callable,
    f_backward: Callable,
    double: Callable,
    args: dict[str, Tree],
    constants: dict[str, Any] | None = None,
    double_constants: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, float]:
    """Errors as in `check`, the truth being the 50-digit derivative of `double`.

    double takes the same arguments as nested lists; double_constants are its constants where they differ from f's.
    """
    constants = constants or {}
    pair = evaluated(f, f_backward, args, constants, rng)
    differentiate = import_module(f"{doubles().__name__}.derivative").derivative
    lists = {name: _lists(value) for name, value in {**args, **(double_constants or constants)}.items()}
    truth = {name: _arrays(differentiate(double, dict(lists), name, pair.dy.tolist()), args[name]) for name in args}
    return pair.errors(tree.flatten(truth))


def _lists(value: Any) -> Any:
    if isinstance(value, dict | list):
        return tree.map(_lists, value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _arrays(value: Any, like: Any) -> Any:
    """Nested lists as a tree of arrays like another: a list there may be a stack of layers or of states."""
    if isinstance(like, dict):
        return {k: _arrays(value[k], one) for k, one in like.items()}
    if isinstance(like, list):
        return [_arrays(v, one) for v, one in zip(value, like, strict=True)]
    return np.array(value, np.float64)


# ---- Arguments from signatures ---------------------------------------------------------------------------------------
def sizes(rng: np.random.Generator) -> dict[str, Any]:
    """A size for each letter, at least 2 and at most 5, and up to two loop dimensions."""
    drawn: dict[str, Any] = {"...": tuple(int(n) for n in rng.integers(2, 4, rng.integers(0, 3)))}
    for together in ("bh", "tsk", "diov", "m"):  # letters that meet in one array differ
        values = rng.permutation(np.arange(2, 2 + max(2, len(together))))
        drawn |= {letter: int(n) for letter, n in zip(together, values, strict=False)}
    return drawn


def arguments(pair: Pair, dims: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """(differentiable arguments, constants) of a declared pair, drawn for the sizes `dims`."""
    names = list(inspect.signature(pair.forward).parameters)
    args = {name: signatures.draw(spec, dims, rng) for name, spec in zip(names, pair.arguments, strict=False)}
    data = {name: signatures.draw(spec, dims, rng) for name, spec in pair.data.items()}
    return args, {**data, **pair.constants}


# ---- Everything there is to check ------------------------------------------------------------------------------------
def examples(seed: int = 0) -> Iterator[Example]:
    """Every declared op, then the blocks and heads, each with small arguments drawn from the seed and its name."""
    for name, pair in PAIRS.items():
        rng = own(seed, name)
        yield Example(name, pair.forward, pair.backward, *arguments(pair, sizes(rng), rng))
    yield from blocks.examples(seed)


def directional(
    loss: Callable[[Tree], float], params: Tree, gradient: Tree, rng: np.random.Generator, drawn: int | None = None
) -> dict[str, float]:
    """Error of a whole model's gradient along a random direction in each tensor, and in all of them together ("").

    drawn: how many tensors are looked at by themselves, chosen at random; None: every one.

    loss: a function of the parameters, evaluated some ten times a tensor. The error of a slope is taken as in `error`,
    G the largest of the slopes. Directions are normal: along ±1, mistakes of equal size, as of two rows exchanged,
    would cancel now and then. Where the error is above 1e-9 the smallest of up to three directions counts: along one
    of them a kink may be nearer than any step that rounding allows, a wrong gradient is wrong along all.
    """

    def along(paths: Container[str]) -> dict[str, float]:
        directions = tree.map(lambda a: rng.standard_normal(np.shape(a)), params)
        got = {path: slope for path, slope in slopes_along(gradient, directions).items() if path in paths}
        return errors(got, slopes(loss, params, directions, got))

    paths = ["", *tree.flatten(params)]
    if drawn is not None:
        paths = ["", *rng.choice(paths[1:], drawn, replace=False)]
    found = along(paths)
    for _ in range(2):
        if doubtful := [path for path in found if found[path] > DIFFERENCE_BAR]:
            again = along(paths)
            found |= {path: min(found[path], again[path]) for path in doubtful}
    return found


def slopes_along(gradient: Tree, directions: Tree) -> dict[str, np.ndarray]:
    """The slope that a gradient claims along the direction in each tensor, and in all together ("")."""
    claimed = tree.flatten(gradient)
    each = {path: np.sum(claimed[path] * direction) for path, direction in tree.items(directions)}
    return {"": np.sum(list(each.values())), **each}


def slopes(
    loss: Callable[[Tree], float], params: Tree, directions: Tree, about: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The slopes of a loss by finite differences, under the same names; about: what they may be, for the accuracy."""
    sizes, ahead = {path: _size(slope) for path, slope in about.items()}, tree.flatten(directions)

    def along(path: str) -> np.ndarray:
        def moved(step: float) -> float:
            near = {p: a + step * ahead[p] if path in ("", p) else a for p, a in tree.items(params)}
            return float(loss(tree.unflatten(near)))

        return np.asarray(derivative(moved, 1e-11 * max(sizes[path], 1e-3 * max(sizes.values()))))

    return {path: along(path) for path in about}


def family_errors(name: str, seed: int = 0, drawn: int | None = None, **fields: Any) -> dict[str, float]:
    """`directional` errors of a family's whole loss at its PROBE configuration, changed by fields; dropout drawn."""
    module, rng = families.family(name), np.random.default_rng(seed)
    spread = families.own(module, {"initializer_range": 0.4})
    model = create(name, **{**module.PROBE, **spread, **fields, "dtype": "float64"})
    params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    batch = model.checked(batches.example(module, model.config, rng))
    gradient = objective.loss_backward(objective.loss(module, params, model.config, batch)[1])
    return directional(lambda p: objective.loss(module, p, model.config, batch)[0], params, gradient, rng, drawn)


def table(names: list[str], seed: int = 0) -> Iterator[tuple[str, str, float, float | None]]:
    """(name, argument, error by differences, error against 50 digits or None) of each pair and family, or those named.

    Families have one row: the worst of their tensors.
    """
    package = doubles()
    for case in examples(seed):
        if names and case.name not in names:
            continue
        rng = own(seed, f"{case.name}_backward")
        differences = check(case.forward, case.backward, case.args, case.constants, rng)
        truth: dict[str, float] = {}
        if package is not None:
            double = package.double(case.name)
            constants = case.double_constants or case.constants
            truth = exact(case.forward, case.backward, double, case.args, case.constants, constants, rng)
        for argument, value in differences.items():
            yield case.name, argument, value, truth.get(argument)
    for name in families.names():
        if not names or name in names:
            found = family_errors(name, seed)
            worst = max(found, key=found.get)
            yield f"{name} loss", f"{len(found) - 1} tensors, worst {worst or 'all'}", found[worst], None


def known() -> list[str]:
    """The names `table` takes."""
    return [case.name for case in examples()] + families.names()
