"""What rounding alone can do: the largest error of the same function, computed in other ways in lower precision.

A floor is max|ŷ - y| / scale over at least 16 evaluations ŷ of the function whose float64 value is y. An evaluation
goes through every op and draws how it is computed: the named axes of its signature in another order (so that every sum
runs in another order), products in two blocks, in one piece with a single rounding at the end, or by another formula
that is right. A different function (erf for tanh, another eps) is a mistake and never noise.

bfloat16 and float16 are emulated in float32: arguments and result of every op are rounded, what is inside an op
accumulates in float32; drawn by chance, the parts of attention, activation and linear are rounded too. Parameters and
moments stay float32, as they do in mixed-precision training. No floor lies below the rounding of the tensor itself.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minibert import kernels, ops
from minibert.golden.draws import Draws
from minibert.pairs import PAIRS, SUMMED
from minibert.signatures import Spec, parse

Array = np.ndarray
Tensors = dict[str, Array]
Observer = Callable[[Callable, tuple, dict], Any]
# (dtype of the arrays, factories of observers) -> every computed tensor
Evaluation = Callable[[np.dtype, tuple[Callable[[], Observer], ...]], Tensors]

RUNS = 16
LARGE = 1 << 18  # entries of an argument beyond which its axes stay in place: copies get dear, blocks remain


def floors(
    evaluate: Evaluation, truth: Mapping[str, Array], scales: Mapping[str, float], seed: int = 0, runs: int = RUNS
) -> dict[str, dict[str, float | None]]:
    """The noise floors of every computed tensor, by dtype; None where an evaluation overflowed."""
    found: dict[str, dict[str, float | None]] = {key: {} for key in truth}
    for name, (rounding, unit) in PRECISIONS.items():
        worst = dict.fromkeys(truth, unit)
        for run in range(runs):
            draws = Draws(seed, f"noise {name} {run}")
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                got = evaluate(np.dtype(np.float32), (otherwise(draws, rounding),))
                for key, y in truth.items():
                    # a 16-bit candidate's tensors are 16-bit; its optimizer's state is not
                    held = got[key] if key.startswith("steps/") else rounding(np.asarray(got[key], np.float32))
                    error = float(np.max(np.abs(np.asarray(held, np.float64) - y), initial=0)) / scales[key]
                    worst[key] = max(worst[key], error) if math.isfinite(worst[key]) and error == error else math.inf
        for key, value in worst.items():
            found[key][name] = float(f"{value:.3g}") if math.isfinite(value) else None
    return found


# ---- Precisions ------------------------------------------------------------------------------------------------------
def _float32(a: Array) -> Array:
    return a


def _bfloat16(a: Array) -> Array:
    """Float32 with the lower half rounded away, to nearest, ties to even."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(a), rounded.view(np.float32), a).reshape(np.shape(a))


def _float16(a: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(a, np.float16).astype(np.float32)


# name -> (rounding, half a unit in the last place of 1)
PRECISIONS = {"float32": (_float32, 2.0**-24), "bfloat16": (_bfloat16, 2.0**-9), "float16": (_float16, 2.0**-11)}


# ---- The same function, otherwise ------------------------------------------------------------------------------------
# move numbers, round nothing
EXACT = {"embedding", "gather", "split_heads", "merge_heads", "blocks", "unblocked", "overwritten"}
WIDER = {"attention": {"bias": "(b,h,t,s)"}}  # arguments that may have an axis where their Specs have 1


def otherwise(draws: Draws, rounding: Callable[[Array], Array] = _float32) -> Callable[[], Observer]:
    """A factory of observers under which every op is computed in a way drawn anew."""

    def around(f: Callable, args: tuple, constants: dict) -> Any:
        name = f.__name__
        if name in SUMMED:  # of tables; the first one alone has a padding row, so it stays first
            first, *others = constants[SUMMED[name]].items()
            others = [others[i] for i in draws.permutation(len(others))]
            return f(*args, **{**constants, SUMMED[name]: dict([first, *others])})
        if name in PAIRS:
            given = {**dict(zip(parameters(name), args, strict=False)), **constants}
            first = parameters(name)[: len(PAIRS[name].arguments)]
            shapes = {key: np.shape(given[key]) for key in first if given.get(key) is not None}
            if PAIRS[name].spelled:
                given = PAIRS[name].spelled(**given)
            if name in EXACT:
                y, cache = f(**given)
                return rounding(y), cache
            return _forward(f, name, _rounded(given, rounding), shapes, draws, rounding)
        name = name.removesuffix("_backward")
        if name in PAIRS:
            dy, c = _rounded(args[0], rounding), args[1]
            return _rounded(_backward(f, name, dy, c, draws), rounding)
        return f(*args, **constants)

    return lambda: around


def rounded(rounding: Callable[[Array], Array]) -> Callable[[], Observer]:
    """A factory of observers under which every op is computed as it is and what goes in and out is rounded: what a
    precision does to mutants, too, whatever their caches hold and whatever order of axes they depend on.
    """

    def around(f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ in PAIRS:
            y, c = f(*(_rounded(a, rounding) for a in args), **_rounded(constants, rounding))
            return _rounded(y, rounding), c
        if f.__name__.removesuffix("_backward") in PAIRS:
            return _rounded(f(_rounded(args[0], rounding), args[1]), rounding)
        return f(*args, **constants)

    return lambda: around


def parameters(name: str) -> list[str]:
    """The names of an op's arguments, the differentiable ones first."""
    return list(inspect.signature(PAIRS[name].forward).parameters)


def _rounded(value: Any, rounding: Callable[[Array], Array]) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(part, rounding) for part in value)
    if isinstance(value, dict):
        return {name: _rounded(part, rounding) for name, part in value.items()}
    real = isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f"
    return rounding(np.asarray(value, np.float32)) if real else value


def _forward(
    f: Callable, name: str, given: dict, shapes: dict[str, tuple], draws: Draws, rounding: Callable
) -> tuple[Array, dict]:  # fmt: skip
    """(y, cache) of an op in a drawn way. The cache holds what `_backward` needs to go the same way back, shapes: of
    the arguments as given that get a gradient; and what others read in one: arguments, constants and parts.
    """
    pair = PAIRS[name]
    specs = {**dict(zip(parameters(name), pair.arguments, strict=False)), **pair.data}
    specs |= {key: parse(text) for key, text in WIDER.get(name, {}).items()}
    axes = {key: _axes(spec, given[key]) for key, spec in specs.items() if isinstance(given.get(key), np.ndarray)}
    orders = _orders(axes, given, draws)
    moved = dict(given)
    for key, letters in axes.items():
        moved[key] = _moved(given[key], letters, orders)
        if specs[key].bound in orders:
            moved[key] = _renumbered(moved[key], orders[specs[key].bound])
    for key in ("ignore", "excluded"):  # the number of a class
        if given.get(key) is not None and specs["labels"].bound in orders:
            moved[key] = int(_renumbered(np.array(given[key]), orders[specs["labels"].bound]))
    way = ("plain", "wide", "other")[draws.integers(3)]
    if way == "wide":  # in one piece, rounded once
        moved = {key: a.astype(np.float64) if _real(a) else a for key, a in moved.items()}
    y, inner = f(**moved)
    if way == "other" and name in OTHER:
        y, inner = OTHER[name](rounding, inner, **moved)
    result = _axes(pair.result, y)
    y = rounding(_unmoved(np.asarray(y), result, orders).astype(np.float32))
    seen = {key: value for key, value in inner.items() if not isinstance(value, np.ndarray | dict | list)}
    if pair.parts:
        shown = {part: inner[part] for part in pair.parts.specs if part in inner}
        letters = {part: _axes(parse(pair.parts.specs[part]), array) for part, array in shown.items()}
        seen |= {part: _unmoved(array, letters[part], orders).astype(np.float32) for part, array in shown.items()}
    return y, {**seen, **given, "way": (way, inner, orders, axes, result, moved), "shapes": shapes}


def _backward(f: Callable, name: str, dy: Any, c: dict, draws: Draws) -> Any:
    if name == "embedding":  # the same ids in another order
        order = draws.permutation(c["ids"].size)
        return f(dy.reshape(-1, dy.shape[-1])[order], {**c, "ids": c["ids"].reshape(-1)[order]})
    if name in EXACT:
        return f(dy, c)
    way, inner, orders, axes, result, given = c["way"]
    dy = _moved(np.asarray(dy, np.float64 if way == "wide" else np.float32), result, orders)
    if way == "other" and name in OTHER_BACKWARD:
        got = OTHER_BACKWARD[name](f, dy, inner, given)
    else:
        got = f(dy, inner)
    shapes = c["shapes"]
    got = got[: len(shapes)] if isinstance(got, tuple) else got  # of what a mask comes to there is no gradient
    names = iter(parameters(name))

    def back(part: Any, key: str) -> Any:
        whole = _unmoved(np.asarray(part), axes[key], orders)
        return ops.summed(whole, shapes.get(key, whole.shape)).astype(np.float32)  # a bias was one with the mask

    def named(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: back(array, key) for key, array in part.items()}
        return back(part, next(names))

    return tuple(map(named, got)) if isinstance(got, tuple) else named(got)


# ---- Axes ------------------------------------------------------------------------------------------------------------
def _real(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _axes(spec: Spec, array: Array) -> list[str]:
    """A letter for each axis of the array; loop dimensions, and those before the declared ones, get ".0", ".1", …"""
    dims = list(spec.dims) if "..." in spec.dims else ["...", *spec.dims]
    at, loops = dims.index("..."), np.ndim(array) - len(dims) + 1
    return [*dims[:at], *(f".{i}" for i in range(loops)), *dims[at + 1 :]]


def _orders(axes: Mapping[str, Iterable[str]], given: Mapping[str, Any], draws: Draws) -> dict[str, Array]:
    """A random order for each letter's axis, but for the axes of large arrays."""
    sizes: dict[str, int] = {}
    fixed: set[str] = set()
    for key, letters in axes.items():
        if given[key].size > LARGE:
            fixed |= set(letters)
        for letter, size in zip(letters, given[key].shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return {letter: draws.permutation(n) for letter, n in sizes.items() if not letter.isdigit() and letter not in fixed}


def _moved(array: Array, letters: Iterable[str], orders: Mapping[str, Array]) -> Array:
    """The array with its axes in their orders; an axis that is broadcast stays."""
    for axis, letter in enumerate(letters):
        if letter in orders and array.shape[axis] == len(orders[letter]):
            array = array.take(orders[letter], axis)
    return array


def _unmoved(array: Array, letters: Iterable[str], orders: Mapping[str, Array]) -> Array:
    return _moved(array, letters, {letter: np.argsort(order) for letter, order in orders.items()})


def _renumbered(numbers: Array, order: Array) -> Array:
    """Class numbers after the classes were put in another order; what is no class (an ignored label) stays."""
    inside = (numbers >= 0) & (numbers < len(order))
    return np.where(inside, np.argsort(order)[np.where(inside, numbers, 0)], numbers)


# ---- Other formulas that are right -----------------------------------------------------------------------------------
# (rounding of parts, the plain cache, the op's arguments by name) -> (y, cache)
def _linear(r: Callable, c: dict, x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, dict]:
    half = max(1, x.shape[-1] // 2)
    product = x[..., :half] @ weight[:, :half].T + x[..., half:] @ weight[:, half:].T
    return r(product) + (0 if bias is None else bias), c


def _linear_backward(f: Callable, dy: Array, c: dict, given: dict) -> Any:
    rows, x = dy.reshape(-1, dy.shape[-1]), c["x"].reshape(-1, c["x"].shape[-1])
    half, middle = len(rows) // 2, max(1, rows.shape[1] // 2)
    parts = [rows[i].T @ x[i] for i in (slice(half), slice(half, None))]
    dx = rows[:, :middle] @ c["weight"][:middle] + rows[:, middle:] @ c["weight"][middle:]
    bias = {"bias": rows[:half].sum(0) + rows[half:].sum(0)} if c["biased"] else {}
    return dx.reshape(c["x"].shape), {"weight": parts[0] + parts[1], **bias}


def _layer_norm(r: Callable, c: dict, x: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, dict]:
    mean = x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(np.square(x - mean).mean(-1, keepdims=True) + x.dtype.type(eps))
    return (x * rstd + -mean * rstd) * weight + bias, c


def _layer_norm_backward(f: Callable, dy: Array, c: dict, given: dict) -> Any:
    """dx = r·dx̂ + b·x + c with b = (mean·Σ dx̂ - Σ dx̂ x)·r³/D and c = -b·mean - r·Σ dx̂/D."""
    x, d = given["x"], dy.shape[-1]
    rstd = c["rstd"].reshape(*x.shape[:-1], 1)
    slope, mean = dy * given["weight"], x.mean(-1, keepdims=True)
    total, along = slope.sum(-1, keepdims=True), (slope * x).sum(-1, keepdims=True)
    b = (total * mean - along) * rstd * rstd * rstd / d
    dx = slope * rstd + b * x + (-b * mean - total * rstd / d)
    return dx, f(dy, c)[1]


def _gelu(r: Callable, c: dict, x: Array) -> tuple[Array, dict]:
    return x * r(r(r(kernels.erf(r(x * x.dtype.type(0.5**0.5)))) + 1) * x.dtype.type(0.5)), c


def _gelu_tanh(r: Callable, c: dict, x: Array) -> tuple[Array, dict]:
    inner = r(x + x.dtype.type(0.044715) * x * x * x) * x.dtype.type((2 / math.pi) ** 0.5)
    return r(x * x.dtype.type(0.5)) * r(1 + r(np.tanh(inner))), c


def _sigmoid(r: Callable, c: dict, x: Array) -> tuple[Array, dict]:
    return 1 / (1 + np.exp(-x)), c


def _softmax(r: Callable, c: dict, x: Array) -> tuple[Array, dict]:
    top = x.max(-1, keepdims=True)
    return np.exp(x - (top + np.log(np.exp(x - top).sum(-1, keepdims=True)))), c


def _log_softmax(r: Callable, c: dict, x: Array) -> tuple[Array, dict]:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), c


def _attention(r: Callable, c: dict, q: Array, k: Array, v: Array, **_: Any) -> tuple[Array, dict]:
    """Op by op: product, scale, mask, softmax, dropout, product."""
    scores, added, dropout = r(r(q @ k.swapaxes(-1, -2)) * q.dtype.type(c["scale"])), c["added"], c["dropout"]
    if added is not None:
        scores = np.maximum(r(scores + added), np.finfo(np.float32).min)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    probs = r(powers / powers.sum(-1, keepdims=True))
    kept = probs if dropout is None else r(probs * dropout)
    return kept @ v, {**c, "probs": probs}


def _cross_entropy(
    r: Callable,
    c: dict,
    logits: Array,
    labels: Array,
    weights: Array | None = None,
    ignore: int | None = None,
    denominator: float | None = None,
) -> tuple[Array, dict]:
    """Sum first, divide then."""
    w = np.ones(labels.shape, logits.dtype) if weights is None else weights.astype(logits.dtype)
    if ignore is not None:
        w, labels = w * (labels != ignore), np.where(labels == ignore, 0, labels)
    log_probability = np.take_along_axis(_log_softmax(r, c, logits)[0], labels[..., None], -1)[..., 0]
    total = w.sum() if denominator is None else logits.dtype.type(denominator)
    return np.asarray(-(w * log_probability).sum() / total if total else logits.dtype.type(0)), c


OTHER = {
    "linear": _linear,
    "layer_norm": _layer_norm,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "attention": _attention,
    "cross_entropy": _cross_entropy,
}
OTHER_BACKWARD = {"linear": _linear_backward, "layer_norm": _layer_norm_backward}
