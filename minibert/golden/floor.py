"""How far rounding alone moves a function of anybody's: what a snapshot needs in the place of a guessed tolerance.

    measured = floor(f, {"x": x, "weight": w})                  {"x": 3.1e-07} or one number
    assert np.abs(f(x, w) - snapshot).max() <= 4 * measured * np.abs(snapshot).max()

`noise.floors` computes the ops of this engine in other orders; of a function that can only be called this asks what an
implementation in the lower precision cannot know: its inputs' last places, and the roundings in it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minibert import tree
from minibert.config import require, shown
from minibert.golden.draws import Draws

PRECISIONS = ("float32", "float16")
RUNS = 16


def floor(
    f: Callable, inputs: Mapping[str, Any], dtype: str = "float32", runs: int = RUNS, seed: int = 0
) -> float | dict[str, float]:
    """max|ŷ - y| / max|y| over `runs` evaluations ŷ of f in `dtype`, each but the first on inputs moved by at most a
    unit in the last place; y: f in float64, on the inputs as `dtype` has them.

    f(**inputs) gives an array, or nested dicts, lists and tuples of arrays; its precision has to follow that of its
    inputs. inputs: arrays, or nested dicts and lists of them, of which whole numbers and bits stay as they are. Returns
    one number for one array, else a dict by path ("0" and "1" of a tuple). Half a unit in the last place is the least.

    InputError where f does not compute in float64, gives other shapes, or no finite numbers in either precision.
    """
    require(dtype in PRECISIONS, f"floor: dtype {shown(dtype)}: one of {', '.join(PRECISIONS)}")
    require(runs >= 1, f"floor: runs {runs}: at least 1")
    rounded = tree.map(lambda leaf: _as(leaf, dtype), dict(inputs))
    truth = _outputs(f, tree.map(lambda leaf: _as(leaf, "float64"), rounded), "float64")
    draws, least = Draws(seed, "floor"), float(np.finfo(dtype).eps) / 2
    worst = dict.fromkeys(truth, least)
    for run in range(runs):
        got = _outputs(f, tree.map(lambda leaf: _moved(leaf, draws) if run else leaf, rounded), dtype)  # noqa: B023
        for path, y in truth.items():
            same = path in got and got[path].shape == y.shape
            require(same, f"floor: f gives another shape of output {shown(path)} in {dtype} than in float64")
            scale = np.abs(y).max(initial=0.0)
            if scale:
                worst[path] = max(worst[path], float(np.abs(got[path] - y).max() / scale))
    return worst[""] if worst.keys() == {""} else worst


def _as(leaf: Any, dtype: str) -> Any:
    array = np.asarray(leaf)
    return array.astype(dtype) if array.dtype.kind == "f" else leaf


def _moved(leaf: Any, draws: Draws) -> Any:
    """Each number to itself or a neighbour; 0 stays, which is often no result but a mask."""
    if not (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"):
        return leaf
    ways = draws.integers(3, shape=leaf.shape)
    beside = np.nextafter(leaf, np.where(ways == 1, np.inf, -np.inf).astype(leaf.dtype))
    return np.where((ways == 0) | (leaf == 0), leaf, beside).astype(leaf.dtype)


def _outputs(f: Callable, inputs: dict[str, Any], dtype: str) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = {path: np.asarray(leaf) for path, leaf in tree.items(_lists(f(**inputs)))}
    for path, y in found.items():
        where = f"output {shown(path)} of f" if path else "what f gives"
        require(y.dtype.kind == "f", f"floor: {where} is of {y.dtype}, not real numbers")
        narrow = dtype == "float64" and y.dtype.itemsize < 8
        require(not narrow, f"floor: {where} is {y.dtype} for float64 inputs: without a truth there is no floor")
        require(bool(np.isfinite(y).all()), f"floor: {where} is not finite in {dtype}: rounding has no floor there")
    return {path: y.astype(np.float64) for path, y in found.items()}


def _lists(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _lists(part) for key, part in found.items()}
    return [_lists(part) for part in found] if isinstance(found, list | tuple) else found
