"""float64 values against the same numbers at 50 digits, by scalar-loop doubles: errors in units in the last place.

A unit is that of the tensor's largest entry. Ops are certified entry by entry, gradients too. A family's values are
certified by the double that its file in `cases` names; its gradient along one random direction through all parameters
(key "gradients").
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any

import numpy as np

from minibert import families, gradcheck, objective, tree
from minibert.golden import cases
from minibert.golden.draws import Draws
from minibert.golden.subject import Subject
from minibert.pairs import observing

Array = np.ndarray
Lists = Any
Double = Callable[[Lists, Any, Mapping[str, Any]], dict[str, Lists]]  # (params, config, batch) -> values by key


def ulps(got: Array, true: Lists) -> float:
    """max|got - true| in units in the last place of max|true|; `true` nested lists of Decimals."""
    flat = module("lists").leaves(true)
    largest = max(map(abs, flat))
    error = max(abs(Decimal(float(a)) - b) for a, b in zip(np.asarray(got).ravel(), flat, strict=True))
    unit = Decimal(float(np.spacing(np.float64(largest) or np.finfo(np.float64).tiny)))
    return round(float(error / unit), 3)


def doubles() -> Any:
    """The package of the scalar-loop doubles."""
    return gradcheck.doubles()


def module(name: str) -> Any:
    """One of its files."""
    return import_module(f"{doubles().__name__}.{name}")


def at_50_digits(value: Any) -> Any:
    """A tree of numbers as doubles take it."""
    return module("lists").convert(value)


def _lists(value: Any) -> Lists:
    if isinstance(value, dict | list):
        return tree.map(_lists, value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def op(name: str, args: Mapping[str, Array], constants: Mapping[str, Any], cotangent: Array, got: Mapping[str, Array],
       gradients: bool = True) -> dict[str, float]:  # fmt: skip
    """The errors of an op's output and, with `gradients`, of its gradients; `got` under the case's keys."""
    double = doubles().double(name)
    given = {key: _lists(value) for key, value in {**args, **constants}.items()}
    with module("scalars").fifty_digits():
        found = {"forward/output": ulps(got["forward/output"], double(**at_50_digits(given)))}
    for key in args if gradients else ():
        truth = module("derivative").derivative(double, dict(given), key, cotangent.tolist())
        found[f"gradients/{key}"] = ulps(got[f"gradients/{key}"], truth)
    return found


def step(subject: Subject, got: Mapping[str, Array]) -> dict[str, float]:
    """The errors of a family's forward pass and of its gradient along a direction; {} where no double covers it."""
    double = cases.hook(subject.family, "double")
    covered = double(subject) if double else None
    if covered is None:
        return {}
    composed, slope = covered
    config, batch, params = subject.config, _lists(subject.batches[0]), _lists(subject.params)
    with module("scalars").fifty_digits():
        truth = composed(at_50_digits(params), config, batch)
    found = {key: ulps(got[key], value) for key, value in truth.items()}
    if not slope:
        return found
    draws = Draws(0, "direction")
    direction = tree.map(lambda a: 2.0 * draws.integers(0, 2, a.shape) - 1, subject.params)
    for path, row in _frozen(subject):
        tree.get(direction, path)[row] = 0  # its look-up gradient is 0 by decree
    for path in families.frozen(families.family(subject.family), config):
        tree.get(direction, path)[...] = 0
    true = module("directional").directional(
        lambda p: composed(p, config, batch)["forward/loss"], {"p": params}, "p", _lists(direction)
    )
    found["gradients"] = ulps(np.asarray(_slope(subject, direction)), true)
    return found


def _frozen(subject: Subject) -> list[tuple[str, int]]:
    """(path of a table, row) where a row gets no look-up gradient."""
    paths = {id(array): path for path, array in tree.items(subject.params)}
    found = []

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        given = {**dict(zip(("weight",), args, strict=False)), **constants}
        if f.__name__ == "embedding" and given.get("padding_idx") is not None:
            found.append((paths[id(given["weight"])], given["padding_idx"]))
        return f(*args, **constants)

    with observing(noted):
        objective.loss(families.family(subject.family), subject.params, subject.config, subject.batches[0])
    return found


def _slope(subject: Subject, direction: Any) -> float:
    """The engine's gradient along a direction."""
    module = families.family(subject.family)
    gradient = objective.loss_backward(objective.loss(module, subject.params, subject.config, subject.batches[0])[1])
    products = tree.map(lambda g, d: float(np.sum(g * d)), gradient, direction)
    return sum(tree.leaves(products))
