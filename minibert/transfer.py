"""From a trained network to a task: ways to transfer, as functions over trees, rates, batches and optimizers.

    moved = transfer.begun("adapter:16+discriminative", model, new, seed=0)
    training.fit(moved.learner, plan, run, batches, moved.rates(steps, epoch, rate), around=moved.around(steps))
    transfer.ended(moved)                    the model that is kept

A way is a name of WAYS, with what it takes behind a colon; several are joined by "+", and each does its own part:

    begun    what it puts into the tree of parameters, once                   adapter, lora, pals, mix, layers, shallow
    learns   what of the tree it trains, where a way freezes the rest                frozen, adapter, lora, mix, pals, …
    rate     of a parameter at a step, a factor of the schedule's; None: frozen     gradual, sequential, discriminative
    teacher  whose logits and states a batch holds besides its own labels                           distil, self-distil
    keeping  what an optimizer keeps besides its moments, as an average                            ensemble, self-distil

None of them knows a family or a task: how deep a parameter is, is read off the tree (`depths`). What is drawn comes
from the run's seed, and what goes on from step to step is in the optimizer's state, so that a run that is taken up
again ends with the same bits.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, families, model, teaching, training, tree
from minibert.adapters import houlsby, lora, mix, pals
from minibert.config import nearest, require

Array = np.ndarray
Tree = dict[str, Any]
Factor = Callable[[str, int], float | None]
Optimizer = tuple[Callable, Callable]


class Course(NamedTuple):
    """What rates are made of. depths: of each parameter; new: paths of what the task's head brought; steps: of the run;
    epoch: of one pass over the rows.
    """

    depths: dict[str, int]
    new: frozenset[str]
    steps: int
    epoch: int

    @property
    def top(self) -> int:
        """The depth of the heads."""
        return max(self.depths.values())


# ---- Depths of parameters --------------------------------------------------------------------------------------------
def depths(params: Tree, new: Iterable[str] = ()) -> dict[str, int]:
    """How deep each parameter is: 0 what stands before the first layer; each layer, as encoder.0 or decoder.3, one more
    than the one below, those that read a text from its two ends beside each other; one more than the last all else:
    norms behind it, poolers, heads, and whatever is in `new`.
    """
    found: dict[str, int] = {}
    layers: dict[str, int] = {}
    for path, _ in tree.items(params):
        layer = re.match(r"((\w+\.)?(encoder|decoder|layers)|forward|backward)\.\d+\.", path)
        if layer:
            name = re.sub("^(forward|backward)", "layers", layer[0])
            found[path] = layers.setdefault(name, len(layers) + 1)
        else:
            found[path] = 0 if not layers or "embeddings" in path.split(".") else -1
    last = len(layers) + 1
    fresh = {*new}
    return {path: last if depth < 0 or path in fresh else depth for path, depth in found.items()}


# ---- Rates -----------------------------------------------------------------------------------------------------------
def _of_adapters(path: str) -> bool:
    """Houlsby et al. 2019, section 2.1: adapters and norms learn; not the pooler, as in their code."""
    return houlsby.learns(path) or path.split(".")[-2:-1] == ["norm"]


def _gradual(course: Course, how: str) -> Factor:
    """Howard and Ruder 2018, arXiv 1801.06146, section 3.3: the last layer alone for one epoch, then one more each
    epoch until all learn. Heads are the last depth; where the run has fewer epochs than depths, stages are equal shares
    of its steps.
    """
    length = max(1, min(course.epoch, course.steps // (course.top + 1)))
    return lambda path, step: 1.0 if course.depths[path] >= course.top - step // length else None


def _sequential(course: Course, how: str) -> Factor:
    """Chain-thaw (Felbo et al. 2017, arXiv 1708.00524, section 3.2): the last depth alone; then each other alone, from
    the first on; then all; each for an equal share of the steps, all but the first at a tenth of the rate, as in their
    code. Theirs begins each phase with a fresh optimizer and the best weights so far; here moments stay while frozen.
    """
    length = max(1, course.steps // (course.top + 2))

    def factor(path: str, step: int) -> float | None:
        phase, depth = step // length, course.depths[path]
        if phase == 0:
            return 1.0 if depth == course.top else None
        return 0.1 if depth == phase - 1 or phase > course.top else None

    return factor


def _discriminative(course: Course, how: str) -> Factor:
    """Howard and Ruder 2018, section 3.1: each depth learns at 1/2.6 of the rate of the one above it."""
    ratio = float(how)
    return lambda path, step: ratio ** (course.depths[path] - course.top)


# ---- Trees -----------------------------------------------------------------------------------------------------------
def _with(held: Any, params: Tree, config: Any = None) -> Any:
    """The model over other parameters, and of another config where one is given."""
    found = copy.copy(held)
    found.params, found.config = params, held.config if config is None else config
    return found


def _adapted(held: Any, how: str, rng: np.random.Generator) -> Any:
    """The release draws what leads out of an adapter with deviation 1e-3; here it is 0, and nothing changes."""
    found = _with(held, houlsby.added(held.params, int(how), rng, up=0.0))
    fits = any(houlsby.learns(path) for path, _ in tree.items(found.params))
    require(fits, f"{held.family} has no sub-layers with a norm, which an adapter goes with")
    return found


def _low_rank(held: Any, how: str, rng: np.random.Generator) -> Any:
    return _with(held, lora.added(held.params, int(how), rng))


def _projected(held: Any, how: str, rng: np.random.Generator) -> Any:
    heads = getattr(held.config, families.field(held.module, "num_attention_heads"), 1)
    found = _with(held, pals.added(held.params, int(how), rng, tasks=held.tasks, heads=heads))
    example = batches.example(found.module, found.config, rng)
    _, c = found.module.encode(found.params, found.config, {name: example[name] for name in example
                                                            if name in found.module.inputs(found.config)})  # fmt: skip
    require(pals.applied(c), f"the layers of {held.family} have no place for projected attention")
    return found


def _mixed(held: Any, how: str, rng: np.random.Generator) -> Any:
    """With `mix` over all states, or over those that are named."""
    example, known = batches.example(held.module, held.config, rng), held.module.inputs(held.config)
    given = {name: array for name, array in example.items() if name in known}
    out, _ = held.module.encode(held.params, held.config, given, keep="outputs")
    states = out.get(mix.READ, [])
    fits = bool(states) and mix.MADE in out and all(h.shape == out[mix.MADE].shape for h in states)
    require(fits, f"{held.family} has no states behind its layers that could be mixed")
    only = tuple(int(k) for k in how.split(",")) if how else ()
    return _with(held, mix.added(held.params, len(states), only))


def shallow(held: Any, count: int) -> Any:
    """A copy of a model with so many of its layers, evenly spaced, the last among them: i of L' is layer ⌈i·L/L'⌉ of L
    (as PKD-skip, Sun et al. 2019, arXiv 1908.09355). InputError for a family whose layers are no list that a field of
    its config counts.
    """
    require(pals.PART not in held.params, "projected attention goes with every layer: leave layers out before it")
    lists = {name: part for name, part in held.params.items() if isinstance(part, list)}
    fields = [name for name in ("num_hidden_layers", "n_layer", "n_layers") if hasattr(held.config, name)]
    fits = len(lists) == len(fields) == 1 and len(*lists.values()) == getattr(held.config, fields[0])
    require(fits, f"{held.family} has no layers of which some could be left out")
    require(mix.PART not in held.params, "a mix is of the states of all layers: leave layers out before it, not behind")
    ((name, layers),) = lists.items()
    require(1 <= count <= len(layers), f"{count} of {len(layers)} layers: keep from 1 to {len(layers)}")
    chosen = [layers[-(-i * len(layers) // count) - 1] for i in range(1, count + 1)]
    config = dataclasses.replace(held.config, **{fields[0]: count})
    return _with(held, tree.map(np.array, {**held.params, name: chosen}), config)


# ---- Teachers, and what optimizers keep ------------------------------------------------------------------------------
def _of_directory(held: Any, how: str) -> teaching.Teacher:
    """The model in a directory, with a head for the same task and the same classes."""
    found = model.load(how, dtype=tree.leaves(held.params)[0].dtype)
    needed, known = ", ".join(held.tasks), ", ".join(found.tasks) or "no task"
    require(needed == known, f"--transfer distil: {how} knows {known}, a teacher of {needed} is needed")
    asked = [[(getattr(task.settings, "classes", 0), getattr(task.settings, "labels", ())) for task in m.uses]
             for m in (held, found)]  # fmt: skip
    require(asked[0] == asked[1], f"--transfer distil: the classes of {how} are others than those of the rows")
    pieces = [len(m.tokenizer) if m.tokenizer else 0 for m in (held, found)]
    require(pieces[0] == pieces[1], f"--transfer distil: {how} has another vocabulary than the student")
    return teaching.Teacher(found)


def _of_itself(held: Any, how: str) -> teaching.Teacher:
    """What the last K students were on the average (Xu et al. 2020, arXiv 2002.10345, eq. 6-8: SDA); its parameters are
    the optimizer's to keep. The loss of the labels is whole, λ = 1.
    """
    return teaching.Teacher(_with(held, tree.map(np.array, held.params)), "squares", states=False, own=1.0, taught=1.0)


def window(optimizer: Optimizer, count: int, kept: Tree | None = None) -> Optimizer:
    """The optimizer, keeping the parameters behind its last `count` steps in slots of its state, and in slot "mean"
    what they are on the average; before the first step the parameters that it begins with stand for those. kept: the
    tree that is that mean, of a model that is to follow it; of what learns in a step alone.
    """
    new_state, update = optimizer
    slots = [f"before_{i}" for i in range(count)]

    def new(params: Tree) -> Tree:
        mean = _shared(kept, tree.map(np.array, params))
        return {**new_state(params), **{slot: tree.map(np.array, params) for slot in slots}, "mean": mean}

    def step(params: Tree, grads: Tree, state: Tree, **given: Any) -> None:
        own = {slot: state.pop(slot) for slot in (*slots, "mean")}
        at = state["step"] % count
        update(params, grads, state, **given)
        for path, p in tree.items(params):
            own[slots[at]][path][...] = p
            own["mean"][path][...] = sum(own[slot][path] for slot in slots) / p.dtype.type(count)

    return new, step


def average(optimizer: Optimizer, since: Callable[[], float], kept: Tree | None = None) -> Optimizer:
    """The optimizer, keeping in slot "mean" of its state what the parameters are on the average behind the steps from
    `since()` on, counted from 0; before them the parameters as they are. kept: as in `window`.
    """
    new_state, update = optimizer

    def new(params: Tree) -> Tree:
        return {**new_state(params), "mean": _shared(kept, tree.map(np.array, params))}

    def step(params: Tree, grads: Tree, state: Tree, **given: Any) -> None:
        mean, done = state.pop("mean"), max(0, state["step"] - since())
        update(params, grads, state, **given)
        for path, p in tree.items(params):
            mean[path] += (p - mean[path]) / p.dtype.type(done + 1)

    return new, step


def _shared(kept: Tree | None, values: Tree) -> Tree:
    """The tree with these values, its arrays those of `kept` where that has them."""
    flat = tree.flatten(kept or {})
    for path, array in tree.items(values):
        if path in flat:
            flat[path][...] = array
    return tree.unflatten({path: flat.get(path, array) for path, array in tree.items(values)})


def _taught_by_itself(how: str, steps: int, moved: "Moved") -> Callable[[Optimizer], Optimizer]:
    return lambda optimizer: window(optimizer, int(how), moved.teacher.model.params)


def _averaged(how: str, steps: int, moved: "Moved") -> Callable[[Optimizer], Optimizer]:
    return lambda optimizer: average(optimizer, lambda: int(how) if how else steps // 2, moved.kept)


# ---- The ways --------------------------------------------------------------------------------------------------------
class Way(NamedTuple):
    """One way. form: what stands behind its colon, a pattern, None: nothing; default: what it is unless it is given,
    None: it has to be; begun(model, how, rng) -> model; freezes: whether nothing learns but what is new and what a way
    learns(path); rate(course, how) -> Factor; teacher(model, how) -> Teacher; keeping(how, steps, moved) -> (optimizer
    -> optimizer); averaged: whether the average is what is kept.
    """

    form: str | None = None
    default: str | None = None
    begun: Callable[[Any, str, np.random.Generator], Any] | None = None
    learns: Callable[[str], bool] = lambda path: False
    freezes: bool = False
    rate: Callable[[Course, str], Factor] | None = None
    teacher: Callable[[Any, str], teaching.Teacher] | None = None
    keeping: Callable[..., Callable[[Optimizer], Optimizer]] | None = None
    averaged: bool = False


COUNT = r"[1-9]\d{0,4}"
WAYS = {
    "full": Way(),
    "frozen": Way(freezes=True),
    "adapter": Way(COUNT, "16", _adapted, _of_adapters, True),
    "lora": Way(COUNT, "8", _low_rank, lora.learns, True),
    "pals": Way(COUNT, "0", _projected, lambda path: path.partition(".")[0] == pals.PART),
    "layers": Way(r"\d{1,4}(,\d{1,4})*", None, _mixed, freezes=True),
    "mix": Way(None, "", _mixed, lambda path: path.partition(".")[0] == mix.PART, True),
    "gradual": Way(rate=_gradual),
    "sequential": Way(rate=_sequential),
    "discriminative": Way(r"[1-9]\d{0,3}(\.\d{1,6})?", "2.6", rate=_discriminative),
    "shallow": Way(COUNT, None, lambda held, how, rng: shallow(held, int(how))),
    "distil": Way(r".+", None, teacher=_of_directory),
    "self-distil": Way("[1-9]", "1", teacher=_of_itself, keeping=_taught_by_itself),
    "ensemble": Way(r"\d{1,8}", "", keeping=_averaged, averaged=True),
}
HELP = ", ".join(f"{name}:{'DIR' if name == 'distil' else 'N'}" if way.form and way.default is None else
                 f"{name}[:N]" if way.form else name for name, way in WAYS.items())  # fmt: skip


def ways(said: str) -> list[tuple[str, str]]:
    """[(way, what it takes)] of a text like "adapter:16+discriminative"; InputError for what is none."""
    found = []
    for one in re.split(rf"\+(?=(?:{'|'.join(WAYS)})(?:[:+]|$))", said):
        name, colon, how = one.partition(":")
        require(name in WAYS, f"transfer {name!r}{nearest(name, WAYS)}; there are: {HELP}, and several joined by +")
        way = WAYS[name]
        how = how if colon else way.default or ""
        given = bool(colon) or way.default is not None or way.form is None
        fits = given and (not colon or (way.form is not None and re.fullmatch(way.form, how) is not None))
        takes = "nothing" if way.form is None else TAKES.get(name, "a number")
        require(fits, f"transfer {one!r}: {name} takes {takes} behind its colon")
        found.append((name, how))
    names = [name for name, _ in found]
    require(len({*names}) == len(names), f"transfer {said!r}: a way stands there twice")
    does = {"teacher": lambda way: way.teacher, "keeping": lambda way: way.keeping,
            "mix": lambda way: way.begun is _mixed}  # fmt: skip
    for fits in does.values():
        several = [name for name in names if fits(WAYS[name])]
        require(len(several) < 2, f"transfer {said!r}: {' and '.join(several)} do not go together")
    return found


TAKES = {"discriminative": "a number from 1 on", "distil": "the directory of a teacher",
         "layers": "numbers of layers, 0 the embeddings, such as layers:0,2"}  # fmt: skip


class Moved(NamedTuple):
    """A model on its way to a task. model: what is evaluated; learner: what is trained, the same arrays, and what the
    training alone has besides; new: paths of what the head brought; teacher: or None; kept: the tree of an average.
    """

    ways: list[tuple[str, str]]
    model: Any
    learner: Any
    new: frozenset[str]
    teacher: teaching.Teacher | None
    kept: Tree | None

    def rates(self, steps: int, epoch: int, rate: Callable[[int], float]) -> training.Rates | None:
        """The rate of each parameter at each step, the product of all ways' factors and the schedule; None: all alike.
        epoch: the steps of one pass over the rows.
        """
        params = self.learner.params
        course = Course(depths(params, self.new), self.new, steps, epoch)
        own = [WAYS[name] for name, _ in self.ways]
        factors = [WAYS[name].rate(course, how) for name, how in self.ways if WAYS[name].rate]
        fixed = {path for path, _ in tree.items(params) if path.endswith(".lora.scale.weight")}
        if any(way.freezes for way in own):
            fixed |= {path for path in course.depths if not (path in self.new or any(way.learns(path) for way in own))}
        if not (factors or fixed):
            return None

        def rates(path: str, step: int) -> float | None:
            if path == f"{teaching.PART}.weight":
                return rate(step)
            if path in fixed:
                return None
            found = rate(step)
            for factor in factors:
                times = factor(path, step)
                if times is None:
                    return None
                found *= times
            return found

        return rates

    def told(self, parts: list[Tree]) -> list[Tree]:
        """A step's micro-batches with what the teacher says of them."""
        return parts if self.teacher is None else [teaching.told(self.teacher, self.learner, part) for part in parts]

    def around(self, steps: int) -> Callable[[Optimizer], Optimizer]:
        """What is put around the optimizer of a run of so many steps."""
        found = [WAYS[name].keeping(how, steps, self) for name, how in self.ways if WAYS[name].keeping]
        return found[0] if found else lambda optimizer: optimizer


def begun(said: str, held: Any, new: frozenset[str], seed: int = 0) -> Moved:
    """A model with its head as the ways begin with it; new: paths of what is new in it. InputError for ways that do not
    go with it.
    """
    chosen, rng, first = ways(said), np.random.default_rng([seed, 0]), held
    for name, how in chosen:
        held = WAYS[name].begun(held, how, rng) if WAYS[name].begun else held
    told = [WAYS[name].teacher(held, how) for name, how in chosen if WAYS[name].teacher]
    learner = teaching.student(held, told[0], rng) if told else held
    averaged = any(WAYS[name].averaged for name, _ in chosen)
    found = Moved(chosen, held, learner, new, told[0] if told else None,
                  tree.map(np.array, learner.params) if averaged else None)  # fmt: skip
    learning = found.rates(1, 1, lambda step: 1.0)
    some = learning is None or any(learning(path, 0) is not None for path, _ in tree.items(learner.params))
    require(some, f"--transfer {said} trains what is new, and for {' and '.join(first.tasks)} nothing is")
    return found


def ended(moved: Moved) -> Any:
    """The model that is kept: its average where that is asked for, a matrix of low rank put into its weight."""
    params = moved.model.params
    if moved.kept is not None:
        params = {name: part for name, part in moved.kept.items() if name in params}
    return _with(moved.model, lora.merged(params))
