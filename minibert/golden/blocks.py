"""Each block judged alone: what the candidate's own tensors should have given, computed in float64.

The family's pass is run again, and wherever the candidate has a tensor that the pass makes, the computed one is noted
and the candidate's goes on in its place. So each block works on the candidate's own input, and an error shows in the
block that makes it and in none behind it. The same backwards, with the candidate's cotangents, and for the first
optimizer step, with the candidate's gradients. A wrong computation can be run in the same way (`Forced`): where it
gives what the candidate has is where the candidate makes that mistake, whatever else it does wrong.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from minibert import families, objective, trace, tree
from minibert.checkpoint.names import from_published, to_published
from minibert.golden.subject import Subject, as_published, observe, published, row_shape, term_paths
from minibert.pairs import BLOCKS, PAIRS, observing, unobserved
from minibert.trace import Key, Nesting

Tensors = dict[str, np.ndarray]
NOTHING: Mapping = MappingProxyType({})
DEEPEST = 8  # blocks within blocks that a replacement may call otherwise


class Held(NamedTuple):
    """What the case calls a tensor, which of so many parts of its last axis it is, and the kind of its row in the
    family's `activations`.
    """

    name: str
    place: int = 0
    parts: int = 1
    kind: str = ""


class Calls(NamedTuple):
    """The calls of a forward pass by where they stand in the nesting.

    held: a call -> {part of it, "" its output: what the case calls it}; paths: a call -> the path of its cache.
    """

    held: Mapping[Key, Mapping[str, Held]]
    paths: Mapping[Key, str]


def expected(subject: Subject, tensors: Mapping[str, np.ndarray]) -> Tensors:
    """By key, in published shapes, what each of the candidate's tensors should be given those before it.

    A tensor that is absent or not finite is computed from what came before. One that the pass makes once for all rows
    of the batch may be there row by row. Optimizer state: after step 1, where every parameter's gradient was supplied.
    """
    usable = finite(tensors)
    computed = Forced(subject, usable, calls(subject)).computed
    computed |= _first_step(subject, usable, computed)
    return {key: _shaped(np.asarray(computed[key]), tensors[key].shape) for key in tensors if key in computed}


def finite(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """Those that can go on in the place of what is computed."""
    return {key: array for key, array in tensors.items() if np.isfinite(array).all()}


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.reshape(shape) if array.size == math.prod(shape) else np.broadcast_to(array, shape)


def calls(subject: Subject) -> Calls:
    """The calls of the subject's forward pass."""
    module, keys = families.family(subject.family), {}
    follow = trace.located(lambda result, key, *_: keys.update({id(result[1]): key}))
    with trace.recording() as record, observing(follow):
        _, cache = objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)
    events = record.named(cache)
    losses = term_paths(module.terms(subject.config), events)
    values = {f"loss.{term}": value for term, value in cache["terms"].items()}  # an op may give a part of one alone
    whole = [(name, path, "") for name, path in losses.items() if np.array_equal(events[path].output, values[name])]
    table = [*module.activations(subject.config), *whole]
    paths = {path: keys[id(event.cache)] for path, event in events.items()}
    return Calls(_held(table, paths), {key: path for path, key in paths.items()})


def _held(table: Iterable[tuple], keys: Mapping[str, Key]) -> Mapping[Key, Mapping[str, Held]]:
    """Of the calls with these paths what they hold. table: rows as of a family's `activations`."""
    rows = [(name, *path.partition(":")[::2], kind) for name, path, kind, *_ in table]
    parts, places = Counter(name for name, path, *_ in rows if path in keys), Counter()
    found: dict[Key, dict[str, Held]] = defaultdict(dict)
    for name, path, part, kind in rows:
        if path in keys:
            found[keys[path]][part] = Held(name, places[name], parts[name], kind)
            places[name] += 1
    return found


class Ended(Exception):
    """A run was ended before its end."""


class Forced:
    """A run whose every call is given the candidate's tensors that stand before it.

    at: `calls` of the right subject. swaps: pairs (forward, backward) in the place of calls; nothing is given within
    those of ops, and within those of blocks what has the same path. backward: False for the forward pass alone. like: a
    run, kept for this, with these tensors and maybe more, and no swaps but some of these: calls that are given what
    they were given there are not computed again. ends: whether the backward of this call, which gave this, is to be the
    last, asked of a replaced block as a whole. computed: by key, in the case's shapes, what each call gave, the loss
    and the gradients; {} where it ended.
    """

    def __init__(
        self, subject: Subject, tensors: Mapping[str, np.ndarray], at: Calls, swaps: Mapping[Key, Any] = NOTHING,
        backward: bool = True, like: "Forced | None" = None, kept: bool = False,
        ends: Callable[[Key, Any, bool], bool] | None = None,
    ):  # fmt: skip
        if like and any(like.at.held.get(key) for key in like.several):
            like = None  # what it has of these is not known
        self.at, self.tensors, self.swaps, self.like, self.kept = like.at if like else at, tensors, swaps, like, kept
        fresh = {key for key, pair in swaps.items() if like is None or like.swaps.get(key) is not pair}
        fresh |= self._without(like.tensors.keys() - tensors.keys()) if like else set()
        self.around = {key[:n] for key in fresh for n in range(1, len(key) + 1)}  # these calls and what they stand in
        self.blocks = {key for key in swaps if key[-1][0] in BLOCKS}
        self.several = {*like.several} if like else set()  # calls of which a replaced block wants two gradients
        self.apart: set[Key] = set()  # calls within replaced blocks that are others than the right subject's
        self.ends = ends
        try:
            self.computed = self._run(subject, backward)
        except Ended:
            self.computed = {}

    def _without(self, keys: set[str]) -> set[Key]:
        """The calls that were given these tensors."""
        names = {key.partition("/")[2] for key in keys}
        return {key for key, held in self.at.held.items() if names and any(one.name in names for one in held.values())}

    def _run(self, subject: Subject, backward: bool) -> Tensors:
        module, batch = families.family(subject.family), subject.batches[0]
        rows, table = row_shape(module, subject.config, batch), module.activations(subject.config)
        for _ in range(DEEPEST):
            self._clear()
            with ExitStack() as stack:
                stack.enter_context(observing(self._observe))
                for factory in subject.around:
                    stack.enter_context(observing(factory()))
                record = stack.enter_context(trace.recording()) if self.blocks else None
                loss, cache = objective.loss(module, subject.params, subject.config, batch, dense=True)
                events = record.named(cache) if record else {}
                if self.blocks and self._elsewhere(events, table):
                    continue
                gradient = objective.loss_backward(cache) if backward else None
            if self.twice <= self.several:
                break
            self.several |= self.twice
        computed = {}
        if record:  # what is within replaced blocks may be named by its path alone
            for section, tensors in zip(("forward", "gradients"), published(table, events, rows), strict=True):
                computed |= {f"{section}/{name}": array for name, array in tensors.items()}
        computed |= {f"forward/loss.{term}": value for term, value in cache["terms"].items()}
        computed |= {**self._noted(rows), "forward/loss": loss}
        if gradient is not None:
            flat = to_published(gradient, module.names(subject.config))
            computed |= {f"gradients/{name}": array for name, array in flat.items()}
        return computed

    def _clear(self) -> None:
        self.parts: dict[str, dict[int, np.ndarray]] = defaultdict(dict)  # what calls gave, by key and place
        self.calls: dict[Key, tuple[Any, Any]] = {}  # (what it was given, what it gave)
        self.backwards: dict[Key, tuple[Any, Any]] = {}
        self.of_cache: dict[int, tuple[Any, Key]] = {}  # by the id of the cache, which is kept alive here
        self.known: set[int] = set()  # ids of caches that are copies of the other run's
        self.inner: set[Key] = set()  # calls within replaced blocks
        self.turned: set[Key] = set()  # those whose backward was called
        self.running: frozenset[Key] = frozenset()  # what stands in another's place and is at work
        self.twice: set[Key] = set()  # and was called again
        self.nesting, self.inside = Nesting(), False  # of an op's pair that stands in another's place

    def _elsewhere(self, events: Mapping[str, trace.Event], table: Iterable[tuple]) -> bool:
        """Whether calls within replaced blocks have other paths than was thought, which is then known."""
        found = {self.of_cache[id(e.cache)][1]: path for path, e in events.items() if id(e.cache) in self.of_cache}
        apart = {key for key in self.inner if found.get(key) != self.at.paths.get(key)}
        if not apart:
            return False
        self.apart |= apart
        known = (key for key in self.at.paths if key not in self.apart and not _around(key, self.apart))
        at = {self.at.paths[key]: key for key in known}
        at |= {path: key for key, path in found.items() if key in self.inner}
        held = {key: parts for key, parts in self.at.held.items() if not _around(key, self.blocks)}
        inside = {key: parts for key, parts in _held(table, at).items() if _around(key, self.blocks)}
        self.at = Calls(held | inside, {key: path for path, key in at.items()})
        return True

    def _noted(self, rows: tuple[int, ...]) -> Tensors:
        """What each of the calls gave, by key. rows: `row_shape`."""
        kinds, noted = self.like.kinds if self.like else {}, {}
        kinds = kinds | self.kinds if self.apart or not self.like else kinds
        for key, parts in self.parts.items():
            array = np.concatenate([parts[i] for i in sorted(parts)], -1) if len(parts) > 1 else parts[min(parts)]
            noted[key] = as_published(array, kinds[key.partition("/")[2]], rows)
        return noted

    def _observe(self, f: Callable, args: tuple, constants: dict) -> Any:
        if self.inside:
            return f(*args, **constants)
        if f.__name__ in PAIRS or f.__name__ in BLOCKS:
            key = self.nesting.enter(f.__name__)
            if _around(key, self.blocks):
                self.inner.add(key)
            try:
                return self._forward(key, f, args, constants)
            finally:
                self.nesting.leave()
        dy, c = args
        _, key = self.of_cache.get(id(c), (None, None))
        if key is None or key in self.running or key[-1][0] != f.__name__.removesuffix("_backward"):
            return f(dy, c)  # or what a block calls with a cache that is its own, too
        if key in self.inner:
            (self.twice if key in self.turned else self.turned).add(key)
        return self._backward(key, f, dy, c)

    def _forward(self, key: Key, f: Callable, args: tuple, constants: dict) -> Any:
        given = args, constants
        other = self.blocks and (key in self.apart or _around(key, self.apart) or not _declared(f))
        if self.like and key not in self.around and not other:
            before, (y, c) = self.like.calls.get(key, (None, (None, None)))
            if _same(before, given):
                self._skipped(key, "forward")
                self.of_cache.update(self.like.caches[key])
                c = {**c} if isinstance(c, dict) else c  # whoever called adds to it
                self.of_cache[id(c)] = c, key
                self.known.add(id(c))
                return y, c
        names = self.at.held.get(key, {})
        if key in self.swaps:
            y, c = self._within(key, self.swaps[key].forward, *args, **constants)
            for part in names.keys() - {""}:
                seen = getattr(self.swaps[key], "seen", None) or PAIRS[f.__name__].parts.seen
                self._note("forward", names[part], seen(part, c, None)[0])
        else:
            y, c = f(*args, **constants)
            if names.keys() - {""}:
                with unobserved():
                    y, c = PAIRS[f.__name__].parts.forward(c, partial(self._part, "forward", names))
        self.of_cache[id(c)] = c, key
        result = self._swapped("forward", names.get(""), y), c
        if self.kept:
            self.calls[key] = given, result
        return result

    def _backward(self, key: Key, f: Callable, dy: np.ndarray, c: Any) -> Any:
        names = self.at.held.get(key, {}) if key not in self.several else {}
        dy = self._swapped("gradients", names.get(""), dy)
        if self.like and key not in self.several and (id(c) in self.known or id(c) in self.like.of_cache):
            before, result = self.like.backwards.get(key, (None, None))
            if _same(before, dy):
                self._skipped(key, "gradients")
                return _copied(result)
        if key in self.swaps:
            for part in names.keys() - {""}:
                own = getattr(self.swaps[key], "seen", None)
                seen = own or PAIRS[f.__name__.removesuffix("_backward")].parts.seen
                self._note("gradients", names[part], seen(part, c, dy)[1])
            result = self._within(key, self.swaps[key].backward, dy, c)
        elif names.keys() - {""}:
            parts = PAIRS[f.__name__.removesuffix("_backward")].parts
            with unobserved():
                result = parts.backward(dy, c, partial(self._part, "gradients", names))
        else:
            result = f(dy, c)
        if self.kept:
            self.backwards[key] = dy, _copied(result)
        if self.ends and key not in self.inner and self.ends(key, result, key in self.blocks):
            raise Ended  # within a replaced block a backward may be called again
        return result

    def _within(self, key: Key, half: Callable, *args: Any, **constants: Any) -> Any:
        self.inside, running = key not in self.blocks, self.running
        self.running = running | {key}
        try:
            return half(*args, **constants)
        finally:
            self.inside, self.running = False, running

    def _part(self, section: str, names: Mapping[str, Held], part: str, value: np.ndarray) -> np.ndarray:
        return self._swapped(section, names.get(part), value)

    def _swapped(self, section: str, held: Held | None, value: np.ndarray) -> np.ndarray:
        """The candidate's tensor where it has one, else the value; the value is noted."""
        if held is None:
            return value
        self._note(section, held, value)
        given = self.tensors.get(f"{section}/{held.name}")
        if given is None:
            return value
        if held.parts > 1:
            given = np.split(given, held.parts, -1)[held.place]
        given = given.astype(value.dtype, copy=False)
        if given.size == value.size:
            return given.reshape(value.shape)
        sides = zip(given.shape, value.shape, strict=False)  # one row of positions, say, serves a batch
        fits = given.ndim == value.ndim and all(a == b or 1 in (a, b) for a, b in sides)
        return given if fits else value  # rows of two streams together, of which this call has some

    def _note(self, section: str, held: Held, value: np.ndarray) -> None:
        self.parts[f"{section}/{held.name}"][held.place] = value

    # What is not computed again
    def _skipped(self, key: Key, section: str) -> None:
        """Notes what the other run's call gave, and the calls within it."""
        for name, place in self.like.within[key]:
            parts = self.like.parts.get(f"{section}/{name}", {})
            if place in parts:
                self.parts[f"{section}/{name}"].setdefault(place, parts[place])

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of the row of each tensor that calls make."""
        return {held.name: held.kind for names in self.at.held.values() for held in names.values()}

    @cached_property
    def within(self) -> dict[Key, list[tuple[str, int]]]:
        """A call -> (name, place) of the tensors that it and the calls within it make."""
        held = ((key, one) for key, names in self.at.held.items() for one in names.values())
        return _by_prefix((key, (one.name, one.place)) for key, one in held)

    @cached_property
    def caches(self) -> dict[Key, list[tuple[int, tuple[Any, Key]]]]:
        """A call -> `of_cache` of it and the calls within it."""
        return _by_prefix((held[1], (id, held)) for id, held in self.of_cache.items())


def _declared(f: Callable) -> bool:
    """Whether it is the op or block of its name, and not what stands in for it."""
    call = PAIRS[f.__name__].forward if f.__name__ in PAIRS else BLOCKS[f.__name__][0]
    return getattr(f, "__wrapped__", f) is call.__wrapped__


def _around(key: Key, calls: set[Key]) -> Key | None:
    """Which of these calls a call is made within, if any."""
    return next((key[:n] for n in range(1, len(key)) if key[:n] in calls), None) if calls else None


def _by_prefix(items: Iterable[tuple[Key, Any]]) -> dict[Key, list]:
    found: dict[Key, list] = defaultdict(list)
    for key, value in items:
        for n in range(1, len(key) + 1):
            found[key[:n]].append(value)
    return found


def _copied(tree: Any) -> Any:
    """Other dicts, lists and tuples of the same arrays."""
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return type(tree)(map(_copied, tree)) if isinstance(tree, list | tuple) else tree


def _same(a: Any, b: Any) -> bool:
    """Whether two trees hold the same numbers."""
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype
        return alike and a.shape == b.shape and bool((a == b).all())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _first_step(subject: Subject, tensors: Mapping[str, np.ndarray], computed: Tensors) -> Tensors:
    """The state after one update with the candidate's gradients; nothing unless it has them all."""
    rows = families.family(subject.family).names(subject.config)
    given = {name: tensors.get(f"gradients/{name}") for _, name, *_ in rows if f"gradients/{name}" in computed}
    if any(array is None for array in given.values()) or not any(key.startswith("steps/1/") for key in tensors):
        return {}
    grads = from_published(given, rows)
    parts = {**subject.parts, "grads": lambda computed, step: tree.map(np.copy, grads)}
    state = observe(replace(subject, parts=parts), steps=(1,))
    return {key: array for key, array in state.items() if key.startswith("steps/1/") and key != "steps/1/loss"}
