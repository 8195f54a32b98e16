"""Which heads matter: importance by gradient and by leaving out, and a model without the others.

Michel et al. 2019, arXiv 1905.10650, sections 2.2 and 4; Voita et al. 2019, arXiv 1905.09418.

    gates           a head's output c_h (T, K) times ξ_h = 1: what is written is Σ_h ξ_h c_h W_h + b                 (1)
    by gradient     I_h = mean over rows of |Σ c_h · ∂L/∂c_h|, which is |∂L/∂ξ_h| of each row                        (2)
    by leaving out  D_h = L with ξ_h = 0, less L                                                                     (3)
    shrunk          the rows of query, key and value and the columns of the output that are h's go                   (4)

A model without heads by (4) gives what (1) gives with ξ_h = 0; heads are counted from the rows that are there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from minibert import batches, trace, tree
from minibert.config import require
from minibert.errors import InputError
from minibert.model import Model

Array = np.ndarray
Tree = Any
Head = tuple[str, int]  # (path of the layer's attention in the parameters, number)
PARTS = {"query", "key", "value", "output"}


def layers(model: Model) -> list[str]:
    """The paths of what attends, in the tree's order: with query, key, value and output, in no head of a task."""
    network = {part: held for part, held in model.params.items() if part not in model.tasks}
    found = dict.fromkeys(path.rpartition(".query.")[0] for path in tree.flatten(network) if ".query.weight" in path)
    return [path for path in found if tree.get(model.params, path).keys() >= PARTS]


def importance(model: Model, given: Iterable[Mapping[str, Any]]) -> dict[str, Array]:
    """(2) of every head, {path: (H,)}, over batches, a loss each, in evaluation; a layer that is used several times
    has the sum of its uses.
    """
    total, rows = dict.fromkeys(layers(model), 0.0), 0
    for batch in given:
        with trace.recording() as record:
            _, cache = model.loss(batch)
            model.loss_backward(cache)
        for path, event in record.named(cache).items():
            home = _home(path, total)
            if event.op == "attention" and home is not None:
                total[home] = total[home] + np.abs((event.output * event.cotangent).sum((2, 3))).sum(0)
                count = len(event.output)
        rows += count
    require(rows > 0, "importance needs at least one batch")
    return {path: np.asarray(held) / rows for path, held in total.items()}


def _home(path: str, known: Mapping[str, Any]) -> str | None:
    """The sub-tree of parameters that a call in a cache belongs to."""
    return next((home for home in known if f".{home}." in f".{path}"), None)


def left_out(model: Model, given: Iterable[Mapping[str, Any]]) -> dict[str, Array]:
    """(3) of every head, {path: (H,)}: the mean over the batches."""
    held = list(given)
    require(bool(held), "leaving out needs at least one batch")

    def mean(one: Model) -> float:
        return float(np.mean([one.loss(batch)[0] for batch in held]))

    whole = mean(model)
    without = {path: [gated(model, {(path, h)}) for h in range(count)] for path, count in heads(model).items()}
    return {path: np.array([mean(one) - whole for one in models]) for path, models in without.items()}


def heads(model: Model) -> dict[str, int]:
    """How many heads each layer has."""
    rows = {path: len(tree.get(model.params, path)["query"]["weight"]) for path in layers(model)}
    return {path: rows[path] // width for path, width in _widths(model).items()}


def _widths(model: Model) -> dict[str, int]:
    """K, of one head, of each layer: as an example shows it."""
    known, found = dict.fromkeys(layers(model)), {}
    require(bool(known), f"{model.family} has no heads that could go")
    with trace.recording() as record:
        _, cache = model.loss(_example(model))
    for path, event in record.named(cache).items():
        home = _home(path, known)
        if event.op == "attention" and home is not None:
            found[home] = event.output.shape[-1]
    return found


def _example(model: Model) -> dict[str, Any]:
    given = batches.example(model.network, model.config, np.random.default_rng(0))
    return {name: value for name, value in given.items() if name != "dropout"}


def gated(model: Model, without: Iterable[Head]) -> Model:
    """The model with ξ_h = 0 for these heads: their columns of the output are 0, all shapes stay."""
    return _with(model, without, lambda array, kept, axis: _zeroed(array, kept, axis) if axis == 1 else array)


def shrunk(model: Model, without: Iterable[Head]) -> Model:
    """(4): a model in which these heads' rows and columns are gone. InputError where a layer would have none left."""
    small = _with(model, without, lambda array, kept, axis: np.compress(kept, array, axis))
    try:  # whether nothing else in the network counts heads, as T5's table of distances does
        small.loss(_example(model))
    except ValueError:
        raise InputError(f"{model.family} has tables by head besides, as of distances: its heads stay") from None
    return small


def _zeroed(array: Array, kept: Array, axis: int) -> Array:
    return array * kept.astype(array.dtype)


def _with(model: Model, without: Iterable[Head], change: Callable[[Array, Array, int], Array]) -> Model:
    """A model of which the rows of query, key and value and the columns of the output are changed, layer by layer."""
    flat, counts, widths = tree.flatten(model.params), heads(model), _widths(model)
    gone: dict[str, set[int]] = {}
    for path, h in without:
        require(path in counts and 0 <= h < counts[path], f"there is no head {h} in {path!r}: there are {counts}")
        gone.setdefault(path, set()).add(h)
    for path, which in gone.items():
        require(len(which) < counts[path], f"{path!r} would have no head left: keep one")
        own = {name.removeprefix(f"{path}.").partition(".")[0] for name in flat if name.startswith(f"{path}.")}
        foreign = own - PARTS - {"norm", "adapter"}
        require(not foreign, f"{path!r} has {', '.join(sorted(foreign))} besides: whose head that is, is not known")
        kept = np.repeat([h not in which for h in range(counts[path])], widths[path])
        for part in ("query", "key", "value"):
            for leaf in ("weight", "bias"):
                if (name := f"{path}.{part}.{leaf}") in flat:
                    flat[name] = change(flat[name], kept, 0)
        flat[f"{path}.output.weight"] = change(flat[f"{path}.output.weight"], kept, 1)
    return Model(model.family, model.config, tree.unflatten(flat), model.tokenizer, model.generation, uses=model.uses)


def order(scores: Mapping[str, Array]) -> list[Head]:
    """All heads, the least important first."""
    every = [(float(score), path, h) for path, held in scores.items() for h, score in enumerate(held)]
    return [(path, h) for _, path, h in sorted(every)]


def shrinking(model: Model, least_first: Iterable[Head]) -> Iterator[tuple[int, Model]]:
    """(heads that are left, the model) as heads go in this order, each layer keeping its last; the whole one first."""
    counts, gone = heads(model), []
    left = sum(counts.values())
    yield left, model
    for path, h in least_first:
        if counts[path] > 1:
            counts[path] -= 1
            gone.append((path, h))
            yield left - len(gone), shrunk(model, gone)


def curve(model: Model, measure: Callable[[Model], float], least_first: Iterable[Head]) -> list[tuple[int, float]]:
    """(heads that are left, measure) of `shrinking`."""
    return [(left, measure(one)) for left, one in shrinking(model, least_first)]
