"""An op alone: its arguments and a cotangent in, its output and gradients out."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from minibert import gradcheck
from minibert.config import require
from minibert.golden import certify, noise
from minibert.golden.draws import Draws
from minibert.golden.kinds import Made
from minibert.golden.kinds.family import single
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Tensors, entered
from minibert.pairs import PAIRS

LEVELS, WHOLE = None, False
# a size for each letter of the signatures, unequal where they meet
SIZES = {"...": (2, 3), "b": 2, "h": 3, "t": 4, "s": 5, "k": 6, "d": 5, "i": 4, "o": 3, "v": 7, "m": 3}
# where activations are told apart: far tails, the largest difference of erf and tanh, zero
HARD = np.array([-10.0, -5.0, -2.7, -1.0, -1e-3, 0.0, 1e-3, 1.0, 2.7, 5.0, 10.0])
ELEMENTWISE = ("gelu", "gelu_tanh", "tanh", "sigmoid", "relu")


def made(recipe: CaseRecipe) -> Made:
    """Arguments by the op's signature, in small sizes, but for those that the recipe gives."""
    name, pair = recipe.pair, PAIRS[recipe.pair]
    draws = Draws(recipe.seed, name)
    args, constants = gradcheck.arguments(pair, SIZES, draws)
    if name in ELEMENTWISE:
        args["x"].reshape(-1)[: len(HARD)] = HARD[: args["x"].size]
        if name == "relu":
            args["x"][args["x"] == 0] = 0.5  # no derivative there
    constants |= recipe.config
    arrays = {key: a for key, a in {**args, **constants, **recipe.arrays}.items() if isinstance(a, np.ndarray)}
    config = {key: value for key, value in constants.items() if key not in arrays}
    real = {key: single(a).astype(recipe.dtype) for key, a in arrays.items() if a.dtype.kind == "f"}
    given = {f"inputs/{key}": real.get(key, a) for key, a in arrays.items()}
    y = pair.forward(**{key: given[f"inputs/{key}"] for key in arrays}, **config)[0]
    given["inputs/cotangent"] = single(draws.standard_normal(np.shape(y))).astype(recipe.dtype)
    return Made(
        {"pair": name, "config": config},
        given,
        _evaluation(name, given, config),
        certificate=lambda truth: _certificate(recipe, given, config, truth),
    )


def evaluate(case: Any, weights: Any = None) -> noise.Evaluation:
    """Of a case that was read."""
    name = case.facts["pair"]
    require(name in PAIRS, f"case {case.name}: there is no op {name!r}")
    return _evaluation(name, {key: case.tensor(key) for key in case.entries}, case.facts["config"])


def places(pair: str, sites: list) -> list:
    """The sites, among those of a whole family, whose replacements can stand in this case: anywhere the op is."""
    return [site for site in sites if site.name == pair]


def _evaluation(name: str, given: Mapping[str, np.ndarray], config: dict) -> noise.Evaluation:
    def evaluated(dtype: np.dtype, around: tuple) -> Tensors:
        args, constants = _arguments(name, given, config, dtype)
        with ExitStack() as stack:
            entered(stack, around)
            y, cache = PAIRS[name].forward(**args, **constants)
            returned = PAIRS[name].backward(given["inputs/cotangent"].astype(dtype), cache)
        gradients = gradcheck.gradients(PAIRS[name].forward, returned, args)
        return {"forward/output": np.asarray(y), **{f"gradients/{key}": gradients[key] for key in args}}

    return evaluated


def _arguments(name: str, given: Mapping[str, np.ndarray], config: dict, dtype: Any) -> tuple[Tensors, dict]:
    """(differentiable arguments, data and constants) of an op, its real arrays in `dtype`."""
    arrays = {key.removeprefix("inputs/"): a for key, a in given.items() if key.startswith("inputs/")}
    arrays = {key: a.astype(dtype) if a.dtype.kind == "f" else a for key, a in arrays.items() if key != "cotangent"}
    own = noise.parameters(name)[: len(PAIRS[name].arguments)]
    return {key: arrays[key] for key in own}, {**{k: a for k, a in arrays.items() if k not in own}, **config}


def _certificate(recipe: CaseRecipe, given: Tensors, config: dict, truth: Tensors) -> dict[str, float]:
    args, constants = _arguments(recipe.pair, given, config, np.float64)
    constants = {key: value for key, value in constants.items() if key != "padding_idx"}
    return certify.op(recipe.pair, args, constants, given["inputs/cotangent"], truth, recipe.slope)
