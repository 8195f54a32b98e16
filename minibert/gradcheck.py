"""Is a hand-written backward the derivative of its forward? Checks for any pair `f(…) -> (y, cache)`, yours included.

    gradcheck.check(f, f_backward, {"x": x, "weight": w}, {"eps": 1e-5})      {"x": 3e-13, "weight": 8e-14}

Cotangents and directions are random, so that a lost term shows; an error is max|a - b| / max(max|b|, 1e-3·G), b the
truth and G the largest entry of the whole gradient. The truth is a finite difference, or with `exact` the derivative
of a scalar-loop double at 50 digits.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from minibert import families, layers, objective, ops, signatures, tree
from minibert.families import bert
from minibert.heads import masked_lm, next_sentence
from minibert.model import create
from minibert.pairs import PAIRS, Pair

Tree = Any
DIFFERENCE_BAR, EXACT_BAR = 1e-9, 1e-12

# Central differences of sixth order: the truncation error is of order h⁶ f⁽⁷⁾, the rounding error of order 1e-16/h.
_STENCIL = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
_STEPS = tuple(0.1 / 3**k for k in range(11))  # to 1.7e-6: two of them have to lie on one side of a kink


def derivative(f: Callable[[float], float]) -> float:
    """f'(0) by central differences: of a sweep of steps, the one that agrees best with its neighbour.

    Where a step crosses a kink (ReLU, a maximum) neighbours disagree, so smaller steps are taken by themselves.
    """
    slopes = [sum(w * (f(k * h) - f(-k * h)) for k, w in _STENCIL) / h for h in _STEPS]
    best = min(range(1, len(slopes)), key=lambda i: abs(slopes[i] - slopes[i - 1]))
    return slopes[best]


def error(got: np.ndarray, true: np.ndarray, largest: float) -> float:
    """max|got - true| / max(max|true|, 1e-3·largest); infinite for another shape or a NaN."""
    if np.shape(got) != np.shape(true):
        return float("inf")
    difference = float(np.max(np.abs(got - true), initial=0))
    scale = max(float(np.max(np.abs(true), initial=0)), 1e-3 * largest)
    return difference / scale if scale and difference == difference else (0.0 if difference == 0 else float("inf"))


def check(
    f: Callable,
    f_backward: Callable,
    args: dict[str, Tree],
    constants: dict[str, Any] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, float]:
    """Error of f_backward's gradient for each argument (a path each where it is a tree), by finite differences.

    args: the differentiable arguments by name, float64 arrays or trees of them, in the order in which f_backward
    returns their gradients (one array, a tuple, dicts of arguments by name: all that ops and blocks do). Every entry
    is differenced: keep them small. Raises ValueError when gradients and arguments don't match.
    """
    constants, rng = constants or {}, rng or np.random.default_rng(0)
    args = tree.map(lambda a: np.array(a, np.float64), args)
    y, cache = f(**args, **constants)
    dy = np.asarray(rng.standard_normal(np.shape(y)))
    got = gradients(f, f_backward(dy, cache), args)

    def difference(value: np.ndarray) -> np.ndarray:
        truth, flat = np.zeros(value.shape), value.reshape(-1)
        for i, entry in enumerate(flat.copy()):

            def moved(step: float, i: int = i, entry: float = entry) -> float:
                flat[i] = entry + step
                total = float(np.sum(dy * f(**args, **constants)[0]))
                flat[i] = entry
                return total

            truth.reshape(-1)[i] = derivative(moved)
        return truth

    return errors(got, {path: difference(value) for path, value in tree.items(args)})


def errors(got: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """The error of each tensor, normalised with the largest entry of all."""
    largest = max((float(np.max(np.abs(b), initial=0)) for b in truth.values()), default=0.0)
    return {path: error(got[path], b, largest) for path, b in truth.items()}


def gradients(f: Callable, returned: Any, args: dict[str, Tree]) -> dict[str, np.ndarray]:
    """What a backward returned, flat, under the names of the arguments."""
    named: dict[str, Any] = {}
    waiting = list(args)
    for part in returned if isinstance(returned, tuple) else (returned,):
        if isinstance(part, dict) and part.keys() <= args.keys():
            named |= part
        else:
            named[next((name for name in waiting if name not in named), "?")] = part
    got, wanted = tree.flatten(named), tree.flatten(args)
    if got.keys() != wanted.keys():
        raise ValueError(f"{f.__name__}_backward returns gradients {sorted(got)}, expected {sorted(wanted)}")
    return got


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
    constants, rng = constants or {}, rng or np.random.default_rng(0)
    y, cache = f(**args, **constants)
    dy = np.asarray(rng.standard_normal(np.shape(y)))
    got = gradients(f, f_backward(dy, cache), args)
    differentiate = import_module(f"{doubles().__name__}.derivative").derivative
    lists = {name: _lists(value) for name, value in {**args, **(double_constants or constants)}.items()}
    truth = {name: _arrays(differentiate(double, dict(lists), name, dy.tolist())) for name in args}
    return errors(got, tree.flatten(truth))


def _lists(value: Any) -> Any:
    if isinstance(value, dict | list):
        return tree.map(_lists, value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _arrays(value: Any) -> Any:
    return {k: _arrays(v) for k, v in value.items()} if isinstance(value, dict) else np.array(value, np.float64)


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
@dataclass
class Case:
    """One pair with arguments for it, and its double's name and constants."""

    name: str
    forward: Callable
    backward: Callable
    args: dict[str, Tree]
    constants: dict[str, Any]
    double_constants: dict[str, Any] = field(default_factory=dict)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every declared op, then the blocks and heads, each with small random arguments."""
    for name, pair in PAIRS.items():
        args, constants = arguments(pair, sizes(rng), rng)
        yield Case(name, pair.forward, pair.backward, args, constants)
    yield from _blocks(rng)


def _blocks(rng: np.random.Generator) -> Iterator[Case]:
    small = {**bert.PROBE, "hidden_size": 6, "intermediate_size": 5, "vocab_size": 7}
    model = create("bert", **small, dtype="float64", initializer_range=0.4)
    p = tree.map(lambda a: a + 0.3 * rng.standard_normal(a.shape), model.params)
    x = rng.standard_normal((2, 4, model.config.hidden_size))
    heads, act, eps = model.config.num_attention_heads, model.config.hidden_act, model.config.layer_norm_eps
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])[:, None, None, :]
    attention = {name: p["encoder"][0]["attention"][name] for name in ("query", "key", "value", "output")}
    feed = {name: p["encoder"][0]["feed_forward"][name] for name in ("in", "out")}
    own, doubled = {"heads": heads, "mask": mask}, {"heads": heads, "bias": ops.masking(mask, "min", x.dtype)[0]}
    yield Case(
        "self_attention", layers.self_attention, layers.self_attention_backward, {"x": x, "p": attention}, own, doubled
    )
    yield Case(
        "feed_forward",
        layers.feed_forward,
        layers.feed_forward_backward,
        {"x": x, "p": feed},
        {"act": act},
        {"activation": act},
    )
    yield Case(
        "encoder_layer",
        layers.encoder_layer,
        layers.encoder_layer_backward,
        {"x": x, "p": p["encoder"][0]},
        {**own, "act": act, "eps": eps},
        {**doubled, "activation": act, "eps": eps},
    )
    ids = {"word": np.array([[1, 2, 1], [3, 0, 2]]), "position": np.arange(3), "token_type": np.array([[0, 1, 2]] * 2)}
    yield Case(
        "bert_embeddings",
        layers.embeddings,
        layers.embeddings_backward,
        {"p": p["embeddings"]},
        {"ids": ids, "frozen": {}, "eps": eps, "keep": None, "rate": 0.0},
        {
            "input_ids": ids["word"],
            "token_type_ids": ids["token_type"],
            "position_ids": np.tile(ids["position"], (2, 1)),
            "eps": eps,
        },
    )
    yield Case("pooler", layers.pooler, layers.pooler_backward, {"x": x, "p": p["pooler"]}, {})
    yield Case(
        "mlm_head",
        masked_lm.mlm_head,
        masked_lm.mlm_head_backward,
        {"x": x, "p": p["mlm"], "table": p["embeddings"]["word"]["weight"]},
        {"act": act, "eps": eps},
        {"activation": act, "eps": eps},
    )
    pair = next_sentence.nsp_head, next_sentence.nsp_head_backward
    yield Case("nsp_head", *pair, {"pooled": x[:, 0], "p": p["nsp"]}, {})


def directional(
    loss: Callable[[Tree], float], params: Tree, gradient: Tree, rng: np.random.Generator
) -> dict[str, float]:
    """Error of a whole model's gradient along a random ±1 direction in each tensor, and in all of them together ("").

    loss: a function of the parameters. The error of a slope is taken as in `error`, G the largest of the slopes.
    """
    signs = tree.map(lambda a: rng.choice([-1.0, 1.0], a.shape), params)
    got, truth = {}, {}
    for path in ("", *tree.flatten(params)):

        def moved(step: float, path: str = path) -> float:
            flat = {
                name: value + step * tree.get(signs, name) if path in ("", name) else value
                for name, value in tree.items(params)
            }
            return float(loss(tree.unflatten(flat)))

        chosen = [path] if path else list(tree.flatten(params))
        got[path] = np.asarray(sum(float(np.sum(tree.get(gradient, n) * tree.get(signs, n))) for n in chosen))
        truth[path] = np.asarray(derivative(moved))
    return errors(got, truth)


def family_errors(name: str, seed: int = 0) -> dict[str, float]:
    """`directional` errors of a family's whole loss at its PROBE configuration, dropout masks drawn."""
    module, rng = families.family(name), np.random.default_rng(seed)
    model = create(name, **module.PROBE, dtype="float64", initializer_range=0.4)
    params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    batch = model.checked(module.example(rng, model.config))
    gradient = objective.loss_backward(objective.loss(module, params, model.config, batch)[1])
    return directional(lambda p: objective.loss(module, p, model.config, batch)[0], params, gradient, rng)


def table(names: list[str], seed: int = 0) -> Iterator[tuple[str, str, float, float | None]]:
    """(name, argument, error by differences, error against 50 digits or None) of each pair and family, or those named.

    Families have one row: the worst of their tensors.
    """
    rng, package = np.random.default_rng(seed), doubles()
    for case in cases(rng):
        if names and case.name not in names:
            continue
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
    return [case.name for case in cases(np.random.default_rng(0))] + families.names()

