"""Golden cases, made: what a recipe gives, its truth, its certificate and its noise floors.

What the kinds of case differ in stands in `kinds`, what the shipped ones are made of in `cases`. `computed` evaluates
any case again, in any precision. Every random number comes from `draws`, so a case made twice is the same case.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import minibert
from minibert.checkpoint import strictjson
from minibert.config import nearest, require
from minibert.errors import InputError
from minibert.golden import case as files
from minibert.golden import cases, compare, kinds, noise, unmoved
from minibert.golden.case import Case
from minibert.golden.recipe import CaseRecipe

FLOAT64 = np.dtype(np.float64)
Tensors = dict[str, np.ndarray]


def make(name: str, recipe: CaseRecipe, path: Any, runs: int | None = None) -> Case:
    """Make the case, certify its truth, measure its floors and write it to the folder `path`.

    runs: evaluations that each floor is measured by, `noise.RUNS` unless given.
    """
    made = kinds.kind(recipe.kind).made(recipe)
    facts = {
        **dict.fromkeys(("family", "pair", "objective", "optimizer", "weights", "selection")),
        **{"name": name, "title": recipe.title, "kind": recipe.kind, "config": {}, "seed": recipe.seed},
        **{"dtype": recipe.dtype, "version": minibert.__version__, "certified": {}, "steps": [], "batches": 1},
        **{"variants": list(recipe.variants), **made.facts},
    }
    if made.evaluate is None:
        return files.write(path, facts, {}, {}, made.text)
    whole = made.evaluate(FLOAT64, ())
    facts["certified"] = made.certificate(whole)
    facts["truth"] = _provenance(facts["dtype"], facts["certified"])
    scales, held = files.scale(whole), made.held(whole)
    evaluate = made.settled(whole) if made.settled else made.evaluate
    floors = noise.floors(evaluate, held, scales, recipe.seed, runs or noise.RUNS)
    outputs = ("output", *made.outputs)
    floors = made.raised(whole, floors)
    return files.write(path, facts, {**made.given, **held}, floors, made.text, outputs, scales)


def _provenance(dtype: str, certified: Mapping[str, float]) -> str:
    """How the truth came about, for case.json."""
    text = "float64, by minibert's engine"
    if dtype == "float32":
        text += " from the float32 weights and inputs, with the mask constant that float32 has"
    if certified:
        worst = max(certified.values())
        text += f"; against 50 digits at most {worst:g} units in the last place ({len(certified)} keys)"
    return text


def shipped(name: str, path: Any) -> Case:
    """Make one of the shipped cases again."""
    known = cases.recipes()
    require(name in known, f"no shipped case {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
    return make(name, known[name], path)


def stands(name: str, path: Any) -> Case | None:
    """The shipped case as it lies at `path`, if its recipe still gives what it is given and this engine computes what
    it holds; else None. Made anew it would have the bits of this machine's linear algebra, and take a hundred times
    longer.
    """
    recipe = cases.recipes()[name]
    try:
        case, made = files.read(path), kinds.kind(recipe.kind).made(recipe)
        facts = {"name": name, "title": recipe.title, "kind": recipe.kind, "seed": recipe.seed, "dtype": recipe.dtype}
        facts = strictjson.loads(strictjson.dumps({**facts, **made.facts}), name)
        same = all(case.facts[field] == fact for field, fact in facts.items())
        held = {key: case.tensor(key) for key, entry in case.entries.items() if entry.role in ("weight", "input")}
        same = same and held.keys() == made.given.keys()
        same = same and all(np.array_equal(array, made.given[key]) for key, array in held.items())
        same = same and case.text() == strictjson.loads(strictjson.dumps(made.text), name)
        return case if same and not verify(case) else None
    except InputError:
        return None


def pipeline(source: Any, texts: list[str], path: Any, name: str, seed: int = 0, runs: int | None = None) -> Case:
    """A case over a published directory and texts (see `kinds.pipeline`)."""
    recipe = CaseRecipe(name, kind="pipeline", seed=seed, steps=(), source=source, texts=tuple(texts))
    return make(name, recipe, path, runs)


# ---- Again -----------------------------------------------------------------------------------------------------------
def computed(
    case: Case, dtype: Any = FLOAT64, around: tuple[Callable[[], Callable], ...] = (), weights: Any = None
) -> Tensors:
    """Everything that a case with tensors holds, computed again by the engine in `dtype`, through observers.

    weights: the published directory, for a case over one.
    """
    kind = kinds.of(case)
    require(hasattr(kind, "evaluate"), f"case {case.name} of kind {case.facts['kind']!r} holds no tensors to compute")
    return kind.evaluate(case, weights)(np.dtype(dtype), around)


def verify(case: Case, weights: Any = None) -> list[str]:
    """What differs from a replay by this engine, a line each; [] when nothing does, or without the weights of a case
    that has none.

    Other builds of the linear algebra give other bits. The bar is 64 times the float32 floor, scaled to float64. What
    only rounding moves (`unmoved`) is whatever that build's rounding makes of it, and needs to be a number alone.
    """
    if needs_weights(case) and weights is None:
        return []
    with files.replaying(case):
        if not hasattr(kinds.of(case), "evaluate"):
            return kinds.of(case).verify(case)
        got = computed(case, weights=weights)
    lines = []
    for key, entry in case.entries.items():
        truth = case.tensor(key)
        if entry.role in ("weight", "input"):
            continue
        floor = entry.noise.get("float32")
        bar = 64 * (2.0**-24 if floor is None else floor) * 2.0**-29
        if key not in got or got[key].shape != truth.shape:
            lines.append(f"{key}: not computed any more")
            continue
        if unmoved.parameter(key) in case.unmoved and not unmoved.partly(key, case.unmoved):
            if not np.isfinite(got[key]).all():
                lines.append(f"{key}: no number")
            continue
        error = compare.error(unmoved.settled(key, got[key], case.tensor, case.unmoved), truth, entry.scale)
        if not error <= bar:
            lines.append(f"{key}: error {error:.1e}, bar {bar:.1e}")
    return lines


def needs_weights(case: Case) -> bool:
    """Whether it is over a published directory, which has to be at hand."""
    return "directory" in (case.facts["weights"] or {})
