"""A family's whole step: loss, every intermediate, every gradient, optimizer steps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import batches, families, objective, tree
from minibert.checkpoint.names import to_published
from minibert.config import to_fields
from minibert.golden import cases, certify, noise, places, subject, unmoved
from minibert.golden.case import scale
from minibert.golden.draws import Draws
from minibert.golden.kinds import Floors, Made
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject, Tensors, cast
from minibert.model import Model

LEVELS, WHOLE = "model", True
BATCHES = 3  # steps go round through so many
SHAKES = 8  # times that the gradients of the steps are moved by their floors
INNER = ("dense", "transform")  # ends of the names of what is inside a head


def made(recipe: CaseRecipe) -> Made:
    """The family's probe weights and batches."""
    whole, given = subject_of(recipe)
    module = families.family(whole.family)
    flat = to_published(whole.params, module.names(whole.config))

    def evaluated(dtype: np.dtype, around: tuple) -> Tensors:
        return subject.observe(cast(whole, dtype, around), recipe.steps)

    facts = {
        "family": whole.family,
        "objective": " + ".join(module.terms(whole.config)),
        "config": to_fields(whole.config),
        "optimizer": dict(recipe.optimizer) if recipe.steps else None,
        "steps": list(recipe.steps),
        "batches": len(given),
        "weights": {"file": "weights.safetensors"},
        "selection": selection(recipe),
    }
    return Made(
        facts,
        {**{f"weights/{name}": array for name, array in flat.items()}, **inputs_of(given)},
        evaluated,
        outputs(whole.family, whole.config),
        certificate=lambda truth: certify.step(cast(whole, np.float64), truth),
        held=lambda truth: held(recipe, whole, truth),
        raised=lambda truth, floors: through_the_optimizer(whole, recipe.steps, truth, floors, recipe.seed),
        settled=lambda truth: lambda *given: _settled(evaluated(*given), truth, still(whole, truth)),
    )


def evaluate(case: Any, weights: Any = None) -> noise.Evaluation:
    """Of a case that was read."""
    whole, steps = case.subject(weights), tuple(case.facts["steps"])
    return lambda dtype, around: subject.observe(cast(whole, dtype, around), steps)


def still(whole: Subject, truth: Tensors) -> Tensors:
    """`unmoved.masks` of a whole computation's parameters."""
    names = dict.fromkeys(name for _, name, _ in families.family(whole.family).names(whole.config))
    true = {name: truth[f"gradients/{name}"] for name in names if f"gradients/{name}" in truth}
    return unmoved.masks(true, whole.family, whole.config)


def _settled(got: Tensors, truth: Tensors, masks: Tensors) -> Tensors:
    return {key: unmoved.settled(key, array, truth.__getitem__, masks) for key, array in got.items()}


# ---- What is given ---------------------------------------------------------------------------------------------------
def subject_of(recipe: CaseRecipe) -> tuple[Subject, list[dict[str, Any]]]:
    """What a recipe computes: the subject, and its batches as files hold them."""
    config = cases.config(recipe.family, recipe.config)
    params = probe_weights(recipe.family, config, recipe.seed, recipe.std)
    given = [batch_of(recipe, config, i) for i in range(BATCHES if recipe.steps else 1)]
    if recipe.settled is not None:
        recipe.settled(Model(recipe.family, config, params), given[0], Draws(recipe.seed, "nearly constant"))
    params = tree.map(lambda a: single(a).astype(recipe.dtype), params)
    return subject.made(Model(recipe.family, config, params), given, recipe.optimizer), given


def probe_weights(family: str, config: Any, seed: int, std: float | None = None) -> Any:
    """A tree of weights that hide little: std 0.4 (0.2 beyond four layers), random norms and biases."""
    module = families.family(family)
    if std is None:
        std = 0.4 if places.places(family, config).depth() <= 4 else 0.2

    def drawn(path: str, shape: tuple[int, ...]) -> np.ndarray:
        values = Draws(seed, path).standard_normal(shape)
        if path.endswith("running_var"):  # a variance
            return 0.5 + abs(values)
        return 1 + 0.3 * values if path.split(".")[-2:] == ["norm", "weight"] else std * values

    return tree.unflatten({p: drawn(p, shape) for p, shape in tree.items(objective.trained(module, config))})


def single(a: np.ndarray) -> np.ndarray:
    """The nearest float32 numbers: what is given has these in either dtype, so that every precision starts equal."""
    return np.asarray(a, np.float32)


def batch_of(recipe: CaseRecipe, config: Any, number: int = 0) -> dict[str, Any]:
    """The family's example batch, and what the recipe changes in it."""
    draws = Draws(recipe.seed, f"batch {number}")
    batch = batches.example(families.family(recipe.family), config, draws, dict(recipe.dims))
    for edit in recipe.edits:
        edit(batch, draws)
    if not recipe.dropout:
        batch.pop("dropout", None)
    return batch


def inputs_of(given: list[dict[str, Any]]) -> Tensors:
    """Batches as tensors under the keys of a case."""
    tensors: Tensors = {}
    for i, batch in enumerate(given):
        prefix = f"inputs/{i}/" if i else "inputs/"
        arrays = {name: array for name, array in batch.items() if name != "dropout"}
        arrays |= {f"dropout/{name}": keep for name, keep in (batch.get("dropout") or {}).items()}
        tensors |= {prefix + path: np.asarray(array) for path, array in tree.items(arrays)}
    return tensors


# ---- What is held ----------------------------------------------------------------------------------------------------
def held(recipe: CaseRecipe, whole: Subject, truth: Tensors) -> Tensors:
    """What of the truth a case of this recipe holds."""
    parameters = {name for _, name, *_ in families.family(whole.family).names(whole.config)}
    where = places.places(whole.family, whole.config)
    last, ends = f"steps/{max(recipe.steps, default=0)}/", {*where.ends(truth)}

    def wanted(key: str) -> bool:
        section, _, name = key.partition("/")
        if section == "steps":
            state = name.partition("/")[2]
            own = state in parameters and key.startswith(last)
            return recipe.states or own or state in ("loss", "learning_rate", "gradient_norm")
        if recipe.insides:
            return True
        if section == "gradients":
            return name in parameters
        return key in ends or places.kind(where.of_tensor(name)) != "layer"

    return {key: array for key, array in truth.items() if wanted(key)}


def selection(recipe: CaseRecipe) -> str | None:
    """The same in words; None: everything."""
    left = [] if recipe.insides else ["what is inside a layer and the gradients of activations"]
    left += ["states but the last parameters"] if recipe.steps and not recipe.states else []
    return f"all but {' and '.join(left)}" if left else None


def outputs(family: str, config: Any) -> tuple[str, ...]:
    """The modules whose outputs are a family's outputs: the last layer's, and those after it."""
    rows = families.family(family).activations(config)
    names, layered = [name for name, *_ in rows], [places.kind(place) == "layer" for *_, place in rows]
    last = max((i for i, inside in enumerate(layered) if inside), default=0)
    return tuple(name for name in names[last:] if not name.endswith(INNER))


# ---- Floors ----------------------------------------------------------------------------------------------------------
def through_the_optimizer(
    whole: Subject, steps: tuple[int, ...], truth: Tensors, floors: Mapping[str, Mapping], seed: int
) -> Floors:
    """The floors, raised where Adam makes more of a gradient's rounding than the evaluations happened to show.

    Adam divides each entry by its own size, so the rounding of an entry far below its tensor's scale reaches the
    parameter whole. Every entry of every step's gradient is moved up or down by its tensor's floor, SHAKES times; not
    those that are exactly 0, such as rows that nothing looks up, and not what is truly 0 everywhere (the key bias).
    """
    raised = {key: dict(value) for key, value in floors.items()}
    if not steps:
        return raised
    scales, masks = scale(truth), still(whole, truth)
    names = {path: name for path, name, *_ in families.family(whole.family).names(whole.config)}
    parameters = {f"steps/{k}/{name}" for k in steps for name in names.values()}
    for precision in noise.PRECISIONS:
        for run in range(SHAKES):
            draws = Draws(seed, f"gradients {precision} {run}")

            def shaken(grads: Any, step: int, precision: str = precision, draws: Draws = draws) -> Any:
                flat = {}
                for path, g in tree.items(grads):
                    key = f"gradients/{names[path]}"
                    signs = (2.0 * draws.integers(0, 2, g.shape) - 1) * (g != 0)
                    moved = (floors[key][precision] or 0.0) * scales[key] * signs
                    flat[path] = g + moved if np.abs(truth[key]).max() == scales[key] else g
                return tree.unflatten(flat)

            got = subject.observe(replace(cast(whole, np.float64), parts={"grads": shaken}), steps)
            got = _settled(got, truth, masks)
            for key in parameters & raised.keys():
                floor = raised[key][precision]
                if floor is not None:
                    error = float(np.max(np.abs(got[key] - truth[key]), initial=0)) / scales[key]
                    raised[key][precision] = max(floor, float(f"{error:.3g}"))
    return raised
