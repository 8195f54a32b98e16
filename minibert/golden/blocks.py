"""Each block judged alone: what the candidate's own tensors should have given, computed in float64.

The family's pass is run again, and wherever the candidate has a tensor that the pass makes, the computed one is noted
and the candidate's goes on in its place. So each block works on the candidate's own input, and an error shows in the
block that makes it and in none behind it. The same backwards, with the candidate's cotangents, and for the first
optimizer step, with the candidate's gradients.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minibert import families, objective, trace, tree
from minibert.checkpoint.names import from_published, to_published
from minibert.golden.subject import Subject, observe, term_paths
from minibert.pairs import BLOCKS, PAIRS, observing, unobserved

Tensors = dict[str, np.ndarray]


def expected(subject: Subject, tensors: Mapping[str, np.ndarray]) -> Tensors:
    """By key, in published shapes, what each of the candidate's tensors should be given those before it.

    A tensor that is absent or not finite is computed from what came before. One that the pass makes once for all rows
    of the batch may be there row by row. Optimizer state: after step 1, where every parameter's gradient was supplied.
    """
    usable = {key: array for key, array in tensors.items() if np.isfinite(array).all()}
    module = families.family(subject.family)
    batch = subject.batches[0]
    with trace.recording() as record:
        cache = objective.loss(module, subject.params, subject.config, batch, dense=True)[1]
    run = _Forced(_calls(module, subject.config, record, cache), usable)
    with observing(run.observe):
        loss, cache = objective.loss(module, subject.params, subject.config, batch, dense=True)
        gradient = objective.loss_backward(cache)
    noted = {**run.noted(), "forward/loss": loss}
    flat = to_published(gradient, module.names(subject.config))
    noted |= {f"gradients/{name}": array for name, array in flat.items()}
    noted |= _first_step(subject, module, usable, flat)
    return {key: _shaped(np.asarray(noted[key]), tensors[key].shape) for key in tensors if key in noted}


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.reshape(shape) if array.size == math.prod(shape) else np.broadcast_to(array, shape)


class Held(NamedTuple):
    """What the case calls a tensor, and which of so many parts of its last axis it is."""

    name: str
    place: int = 0
    parts: int = 1


def _calls(module: Any, config: Any, record: trace.Record, cache: Any) -> dict[int, dict[str, Held]]:
    """Number of a forward call -> {part of it, "" its output: what the case calls it}."""
    number = {id(event): i for i, event in enumerate(record.events)}
    events = record.named(cache)
    calls: dict[int, dict[str, Held]] = defaultdict(dict)
    losses = term_paths(module.terms(config), events).items()
    rows = [(name, *path.partition(":")[::2]) for name, path, *_ in [*module.activations(config), *losses]]
    parts, places = Counter(name for name, path, _ in rows if path in events), Counter()
    for name, path, part in rows:
        if path in events:
            calls[number[id(events[path])]][part] = Held(name, places[name], parts[name])
            places[name] += 1
    return calls


class _Forced:
    """An observer that notes what each call gives and hands on the candidate's tensor instead."""

    def __init__(self, calls: dict[int, dict[str, Held]], tensors: Mapping[str, np.ndarray]):
        self.calls, self.tensors = calls, tensors
        self.parts: dict[str, dict[int, np.ndarray]] = defaultdict(dict)  # what was noted, by key and place
        self.caches: list[Any] = []  # of the forward calls in the order in which they ended
        self.of_cache: dict[int, int] = {}

    def observe(self, f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ in PAIRS or f.__name__ in BLOCKS:
            y, c = f(*args, **constants)
            names = self.calls.get(len(self.caches), {})
            if names.keys() - {""}:
                with unobserved():
                    y, c = PAIRS[f.__name__].parts.forward(c, partial(self._part, "forward", names))
            self.of_cache[id(c)] = len(self.caches)
            self.caches.append(c)
            return self._swapped("forward", names.get(""), y), c
        dy, c = args
        names = self.calls.get(self.of_cache.get(id(c), -1), {})
        dy = self._swapped("gradients", names.get(""), dy)
        if names.keys() - {""}:
            parts = PAIRS[f.__name__.removesuffix("_backward")].parts
            with unobserved():
                return parts.backward(dy, c, partial(self._part, "gradients", names))
        return f(dy, c)

    def noted(self) -> Tensors:
        """What each of the calls gave, by key."""
        joined = {key: [parts[i] for i in sorted(parts)] for key, parts in self.parts.items()}
        return {key: np.concatenate(parts, -1) if len(parts) > 1 else parts[0] for key, parts in joined.items()}

    def _part(self, section: str, names: dict[str, Held], part: str, value: np.ndarray) -> np.ndarray:
        return self._swapped(section, names.get(part), value)

    def _swapped(self, section: str, held: Held | None, value: np.ndarray) -> np.ndarray:
        """The candidate's tensor where it has one, else the value; the value is noted."""
        key = f"{section}/{held.name if held else None}"
        if key not in self.tensors:
            return value
        self.parts[key][held.place] = value
        given = self.tensors[key]
        if held.parts > 1:
            given = np.split(given, held.parts, -1)[held.place]
        return given.reshape(value.shape) if given.size == value.size else given


def _first_step(subject: Subject, module: Any, tensors: Mapping[str, np.ndarray], gradient: Tensors) -> Tensors:
    """The state after one update with the candidate's gradients; nothing unless it has them all."""
    given = {name: tensors.get(f"gradients/{name}") for name in gradient}
    if any(array is None for array in given.values()) or not any(key.startswith("steps/1/") for key in tensors):
        return {}
    grads = from_published(given, module.names(subject.config))
    parts = {**subject.parts, "grads": lambda computed, step: tree.map(np.copy, grads)}
    state = observe(replace(subject, parts=parts), steps=(1,))
    return {key: array for key, array in state.items() if key.startswith("steps/1/") and key != "steps/1/loss"}
