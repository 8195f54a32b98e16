"""One block alone, such as an encoder layer: what it is given at its first place in a family, and its own parameters.

Inputs of the block that are data (masks, ids) are made by the family from inputs of its own, so that a case has those;
what the block is differentiated by is drawn. Names begin behind what all names in the block have in common.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, families, gradcheck, objective, trace, tree
from minibert.checkpoint.names import from_published, to_published
from minibert.config import require, to_fields
from minibert.golden import cases, noise, subject
from minibert.golden.draws import Draws
from minibert.golden.kinds import Made
from minibert.golden.kinds.family import inputs_of, single, subject_of
from minibert.golden.recipe import DIMS, CaseRecipe
from minibert.golden.subject import Subject, Tensors, cast, entered
from minibert.model import Model
from minibert.pairs import BLOCKS, observing

LEVELS, WHOLE = None, False


class Call(NamedTuple):
    """The first call of a block in a family: its arguments by name (arrays, and trees of parameters), its constants,
    the parameters in each tree that get a gradient {path in it: path in the family's}, the path of its cache, and the
    common beginning of its published names.
    """

    args: dict[str, Any]
    constants: dict[str, Any]
    trees: dict[str, dict[str, str]]
    path: str
    prefix: str


def made(recipe: CaseRecipe) -> Made:
    """The block's weights of the family's probe weights, drawn arguments, and inputs of the family's example."""
    whole, filed = subject_of(recipe)
    module, call = families.family(recipe.family), _first(whole, recipe.pair)
    draws = Draws(recipe.seed, "block")
    flat = to_published(whole.params, module.names(whole.config))
    names = [name for rows in _rows(whole, call).values() for _, name, *_ in rows]
    given = {f"weights/{name}": flat[call.prefix + name] for name in names}
    arrays = {name: value.shape for name, value in call.args.items() if name not in call.trees}
    for name, shape in {**arrays, "cotangent": _output(recipe.pair, call).shape}.items():
        given[f"inputs/{name}"] = single(draws.standard_normal(shape)).astype(recipe.dtype)
    wanted = module.inputs(whole.config) if recipe.inputs is None else recipe.inputs
    given |= inputs_of([{name: whole.batches[0][name] for name in wanted if name in whole.batches[0]}])
    for name, keep in (filed[0].get("dropout") or {}).items():
        if name.startswith(call.prefix):
            given[f"inputs/dropout/{name.removeprefix(call.prefix)}"] = keep
    facts = {"family": recipe.family, "pair": recipe.pair, "config": to_fields(whole.config)}
    facts |= {"weights": {"file": "weights.safetensors"} if names else None}
    return Made(facts, given, _evaluation(recipe.pair, whole, given))


def evaluate(case: Any, weights: Any = None) -> noise.Evaluation:
    """Of a case that was read: the family around the block is made again from its seed."""
    require(case.facts["pair"] in BLOCKS, f"case {case.name}: there is no block {case.facts['pair']!r}")
    given = {key: case.tensor(key) for key in case.entries if key.startswith(("weights/", "inputs/"))}
    return _evaluation(case.facts["pair"], _around(case, given), given)


def places(pair: str, sites: list) -> list:
    """The site, among those of a whole family, whose replacements can stand in this case: the block's first."""
    return [site for site in sites if site.name == pair][:1]


def _around(case: Any, given: Mapping[str, np.ndarray]) -> Subject:
    """The family with probe weights and the given inputs."""
    family, config = case.facts["family"], case.config()
    module = families.family(family)
    held = {key.removeprefix("inputs/"): array for key, array in given.items() if key.startswith("inputs/")}
    own = {name: held[name] for name in module.inputs(config) if name in held}
    dims = {**DIMS, **batches.dims(module, config, own)}
    build = cases.hook(family, "recipe") or CaseRecipe
    made = build("", family, config=case.facts["config"], seed=case.facts["seed"], dims=dims, steps=())
    whole, (batch,) = subject_of(made)
    spellings = getattr(module, "SPELLINGS", {})
    batch = {name: a for name, a in batch.items() if spellings.get(name, name) not in own}
    return subject.made(Model(family, config, whole.params), [{**batch, **own}])


def _first(whole: Subject, pair: str) -> Call:
    """The block's first call in the family's loss; InputError where there is none."""
    module, calls, learnt = families.family(whole.family), [], {}

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        result = f(*args, **constants)
        if f.__name__ == pair:
            calls.append((dict(zip(inspect.signature(f).parameters, args, strict=False)), constants, result[1]))
        elif f.__name__ == f"{pair}_backward":  # at once: whoever called it may add to the gradients
            parts = result if isinstance(result, tuple) else (result,)
            held = [[path for path, _ in tree.items(part)] for part in parts if isinstance(part, dict | list)]
            learnt[id(args[1])] = held
        return result

    with observing(noted), trace.recording() as record:
        cache = objective.loss(module, whole.params, whole.config, whole.batches[0], dense=True)[1]
        objective.loss_backward(cache)
    require(bool(calls), f"{whole.family} has no block {pair!r}, so none stands alone")
    args, constants, own = calls[0]
    path = next(path for path, event in record.named(cache).items() if event.cache is own)
    leaves = {id(array): where for where, array in tree.items(whole.params)}
    trees = {}
    given = [name for name, value in args.items() if isinstance(value, dict | list)]
    for name, paths in zip(given, learnt[id(own)], strict=True):
        trees[name] = {where: leaves.get(id(tree.get(args[name], where)), "") for where in paths}
        require(all(trees[name].values()), f"{whole.family}: the parameters of {pair!r} are not those of its tree")
    used = {where for held in trees.values() for where in held.values()}
    inside = [name for where, name, *_ in module.names(whole.config) if where in used]
    inside += [name for name, where, *_ in module.activations(whole.config) if _within(where, path) is not None]
    return Call(args, constants, trees, path, _common(inside))


def _within(path: str, start: str) -> str | None:
    """The path behind `start`, "" or a part such as ":scores" at it; None elsewhere."""
    rest = path.removeprefix(start)
    return rest.removeprefix(".") if path.startswith(start) and rest[:1] in ("", ".", ":") else None


def _common(names: list[str]) -> str:
    """The modules that all names begin with: "bert.encoder.layer.0."."""
    owners = [name.split(".")[:-1] for name in names]
    same = 0
    while owners and all(len(own) > same and own[same] == owners[0][same] for own in owners):
        same += 1
    return "".join(f"{part}." for part in owners[0][:same]) if owners else ""


def _rows(whole: Subject, call: Call) -> dict[str, list[tuple[str, str, Any]]]:
    """Of each tree among the arguments, (path in it, name in the case, bijection) of its parameters."""
    rows = families.family(whole.family).names(whole.config)
    found = {}
    for arg, held in call.trees.items():
        inside = {of: path for path, of in held.items()}
        found[arg] = [(inside[of], name.removeprefix(call.prefix), *kind) for of, name, *kind in rows if of in inside]
    return found


def _output(pair: str, call: Call) -> np.ndarray:
    return BLOCKS[pair][0](**call.args, **call.constants)[0]


def _evaluation(pair: str, whole: Subject, given: Mapping[str, np.ndarray]) -> noise.Evaluation:
    module, (forward, backward) = families.family(whole.family), BLOCKS[pair]
    keeps = {key.removeprefix("inputs/dropout/"): a for key, a in given.items() if key.startswith("inputs/dropout/")}
    prefix = _first(whole, pair).prefix
    batch = {**whole.batches[0], "dropout": {prefix + name: keep for name, keep in keeps.items()}}
    family = Subject(whole.family, whole.config, whole.params, [batch])

    def evaluated(dtype: np.dtype, around: tuple) -> Tensors:
        call = _first(cast(family, dtype), pair)
        rows = _rows(whole, call)
        flat = {key.removeprefix("weights/"): a.astype(dtype) for key, a in given.items() if key.startswith("weights/")}
        args = {name: from_published({own: flat[own] for _, own, _ in rows[name]}, rows[name])
                if name in rows else given[f"inputs/{name}"].astype(dtype) for name in call.args}  # fmt: skip
        with ExitStack() as stack:
            record = entered(stack, around)
            y, cache = forward(**args, **call.constants)
            returned = backward(given["inputs/cotangent"].astype(dtype), cache)
        table = [(name.removeprefix(prefix), _within(path, call.path), kind)
                 for name, path, kind, *_ in module.activations(whole.config) if _within(path, call.path) is not None]
        lead = subject.row_shape(module, whole.config, batch)
        values, cotangents = subject.published(table, record.named(cache), lead)
        values.setdefault("output", y)
        learns = args if isinstance(returned, tuple) or not rows else {name: args[name] for name in rows}
        slopes = gradcheck.gradients(forward, returned, learns)  # a lone gradient is the parameters', the rest data
        own = {name: slopes[name] for name in learns if name not in rows}
        for name, named in rows.items():
            gradient = tree.unflatten({path: slopes[f"{name}.{path}"] for path, *_ in named})
            own |= to_published(gradient, named)
        return {
            **{f"forward/{name}": value for name, value in values.items()},
            **{f"gradients/{name}": value for name, value in {**cotangents, **own}.items()},
        }

    return evaluated
