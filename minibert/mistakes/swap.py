"""Putting another pair in the place of an op or block: in every place where it is called, or in some.

A site is a call of the right computation, named by the path of its cache (`trace.Record.named`). Within a run it is
recognised by where it stands in the nesting of calls (the second `linear` of the first `self_attention` of …), so a
replaced block does not shift what follows. Everything goes through the context variable of `pairs`: threads don't see
each other's mistakes.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from minibert import families, objective, trace, tree
from minibert.errors import InputError
from minibert.golden import places
from minibert.golden.subject import Subject
from minibert.pairs import BLOCKS, PAIRS, observing
from minibert.trace import Key, Nesting


@dataclass(frozen=True)
class Replacement:
    """A wrong pair, both halves. faithful: its backward is the derivative of its forward; False where just that is the
    mistake. seen: what is inside it, as `pairs.Parts.seen`, where that is not what is inside the right one.
    """

    forward: Callable
    backward: Callable
    faithful: bool = True
    seen: Callable | None = None


def edited(f: Callable, edit: Callable[[dict[str, Any]], dict[str, Any]], faithful: bool = True) -> Replacement:
    """The op or block on other arguments: edit(arguments by name) -> those that change. The backward is its own, so
    what is differentiated changes by a constant at most.
    """
    f, backward = halves(f)
    names = list(inspect.signature(f).parameters)

    def forward(*args: Any, **constants: Any) -> tuple[np.ndarray, Any]:
        given = dict(zip(names, args, strict=False)) | constants
        return f(**{**given, **edit(given)})

    return Replacement(forward, backward, faithful)


def graded(f: Callable, edit: Callable[[Any, np.ndarray, Any], Any]) -> Replacement:
    """The right value and another gradient: edit(what the backward gives, dy, cache) -> what stands in its place."""
    f, backward = halves(f)
    return Replacement(f, lambda dy, c: edit(backward(dy, c), dy, c), faithful=False)


def noisy(name: str, backward: bool = True) -> Replacement:
    """An op or block whose gradients, or whose value, has noise added: what depends on them changes."""

    def edit(given: Any) -> Any:
        if isinstance(given, tuple):
            return tuple(map(edit, given))
        rng = np.random.default_rng(0)
        return tree.map(lambda a: a + (np.abs(a).max(initial=0) or 1) * rng.standard_normal(np.shape(a)), given)

    def value(*args: Any, **constants: Any) -> tuple[Any, Any]:
        y, c = first(*args, **constants)
        return edit(y), c

    first, second = (PAIRS[name].forward, PAIRS[name].backward) if name in PAIRS else (
        half.__wrapped__ for half in BLOCKS[name])  # fmt: skip
    return Replacement(*((first, lambda dy, c: edit(second(dy, c))) if backward else (value, second)), faithful=False)


def turned(f: Callable, **maps: tuple[Callable, Callable]) -> Replacement:
    """The op on arguments that are turned by linear maps, their gradients turned back: name = (map, its adjoint)."""
    f, backward = halves(f)
    names = list(inspect.signature(f).parameters)

    def forward(*args: Any, **constants: Any) -> tuple[np.ndarray, Any]:
        given = dict(zip(names, args, strict=False)) | constants
        return f(**{name: maps[name][0](a) if name in maps and a is not None else a for name, a in given.items()})

    def back(name: str, gradient: np.ndarray) -> np.ndarray:
        return maps[name][1](gradient) if name in maps else gradient

    def adjoint(dy: np.ndarray, c: Any) -> Any:
        got, waiting = backward(dy, c), iter(names)
        parts = [
            {name: back(name, gradient) for name, gradient in part.items()}
            if isinstance(part, dict) else back(next(waiting), part)
            for part in (got if isinstance(got, tuple) else (got,))
        ]  # fmt: skip
        return tuple(parts) if isinstance(got, tuple) else parts[0]

    return Replacement(forward, adjoint)


def relinear(**maps: tuple[Callable, Callable]) -> Replacement:
    """x Wᵀ + b with weight or bias turned (`turned`)."""
    return turned(PAIRS["linear"].forward, **maps)


def zeros(gradient: Any) -> Any:
    """Zeros in the shape of what a backward gives."""
    return tuple(map(zeros, gradient)) if isinstance(gradient, tuple) else tree.map(np.zeros_like, gradient)


def halves(f: Callable) -> tuple[Callable, Callable]:
    """Forward and backward of an op, or of a block as it is, so that only its parts are traced and no second block."""
    name = f.__name__
    return (f, PAIRS[name].backward) if name in PAIRS else tuple(half.__wrapped__ for half in BLOCKS[name])


@dataclass(frozen=True)
class Site:
    """One call of the right computation.

    path: of its cache; name: of its op or block; key: its place in the nesting; start: the order, among all sites, of
    the first call within it; params: paths of the parameters it is given as they are; tower: the network it belongs to,
    in a family of several ("generator"), else ""; place: as `activations` say ("layer 3"), "" where they don't; words:
    its path for people; data: a digest of what an op is given beside differentiable arrays.
    """

    path: str
    name: str
    key: Key
    start: int = 0
    params: tuple[str, ...] = ()
    tower: str = ""
    place: str = ""
    words: str = ""
    data: str = ""

    @property
    def local(self) -> str:
        """Its path within its network: what patterns of paths are about."""
        return local(self.path, {self.tower})

    @property
    def layer(self) -> int | None:
        """The number of the layer that it is in, or None."""
        number = re.search(r"\blayer (\d+)$", self.place)
        return int(number[1]) if number else None


def local(path: str, towers: Iterable[str]) -> str:
    """A path within its network: "encoder.0.…" of "generator.encoder.0.…", where that is one of the towers."""
    tower, _, rest = path.partition(".")
    return rest if rest and tower in towers else path


def sites(subject: Subject) -> list[Site]:
    """Every call of the subject's forward pass, in the order in which they end."""
    calls, where = _calls(subject), places.places(subject.family, subject.config)
    found = []
    for path, (name, key, params, data) in calls.items():
        start = next(i for i, (_, other, *_) in enumerate(calls.values()) if other[: len(key)] == key)
        place, first = where.of_call(path), path.partition(".")[0]
        tower = first if first in where.towers else places.tower(place)
        found.append(Site(path, name, key, start, params, tower, place, _words(path, where), data))
    return found


def reading(changed: Subject, at: Iterable[Site]) -> tuple[str, ...]:
    """Paths of the ops that are given other data in the changed subject: what reads first what was changed.

    () where that is not known: the changed subject does not run, or no op is given anything else.
    """
    try:
        calls = _calls(changed)
    except (InputError, ValueError, IndexError):
        return ()
    held = {path: data for path, (*_, data) in calls.items()}
    return tuple(site.path for site in at if site.name in PAIRS and held.get(site.path) != site.data)


def _calls(subject: Subject) -> dict[str, tuple[str, Key, tuple[str, ...], str]]:
    """By path, each call's name, key, the paths of the parameters it is given as they are, and `Site.data`."""
    held = {}
    leaves = {id(array): path for path, array in tree.items(subject.params)}

    def note(result: tuple, key: Key, name: str, args: tuple, constants: dict) -> None:
        params = tuple(leaves[id(a)] for a in (*args, *constants.values()) if id(a) in leaves)
        held[id(result[1])] = key, params, _digest(name, constants)

    module = families.family(subject.family)
    with observing(trace.located(note)), trace.recording() as record:
        _, cache = objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)
    return {path: (event.op, *held[id(event.cache)]) for path, event in record.named(cache).items()}


def _digest(name: str, constants: Mapping[str, Any]) -> str:
    """Of the data among an op's arguments: those by keyword alone."""
    if name not in PAIRS:
        return ""
    data = [(key, constants[key]) for key in _data(name) if key in constants]
    return hashlib.sha256(b"".join(key.encode() + _bytes(value) for key, value in data)).hexdigest()


@cache
def _data(name: str) -> list[str]:
    given = inspect.signature(PAIRS[name].forward).parameters.values()
    return [parameter.name for parameter in given if parameter.kind is parameter.KEYWORD_ONLY]


def _bytes(value: Any) -> bytes:
    return str(value.shape).encode() + value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()


def _words(path: str, where: places.Places) -> str:
    """A site's path for people: "encode.encoder.1.attention.add_norm.norm" -> "layer 1 attention norm"."""
    place = where.of_call(path)
    if places.kind(place) == "layer":
        path = place + path.removeprefix(where.paths[place])
    words = re.sub(r"(^|\.)encode\.", r"\1", path, count=1).replace("add_norm.norm", "norm").replace("tables.", "")
    return words.replace(".", " ").replace("_", " ")


@dataclass(frozen=True)
class Swaps:
    """A factory of observers (`Subject.around`) that puts replacements at sites."""

    at: Mapping[Key, Replacement]

    def __call__(self) -> Callable:
        nesting = Nesting()
        replaced: dict[int, tuple[Any, Replacement, str]] = {}  # by the id of the cache, which is kept alive here
        inside = [0]

        def substitute(f: Callable, args: tuple, constants: dict) -> Any:
            name = f.__name__.removesuffix("_backward")
            if inside[0]:
                return f(*args, **constants)
            if f.__name__ not in PAIRS and f.__name__ not in BLOCKS:
                held = replaced.get(id(args[1]), (None, None, ""))
                if held[2] != name:
                    return f(*args, **constants)
                del replaced[id(args[1])]  # its own calls with this cache are others
                try:
                    return run(held[1].backward, name, args, constants)
                finally:
                    replaced[id(args[1])] = held
            key = nesting.enter(name)
            try:
                replacement = self.at.get(key)
                if replacement is None:
                    return f(*args, **constants)
                result = run(replacement.forward, name, args, constants)
                replaced[id(result[1])] = (result[1], replacement, name)
                return result
            finally:
                nesting.leave()

        def run(half: Callable, name: str, args: tuple, constants: dict) -> Any:
            op = name in PAIRS
            inside[0] += op  # what an op's replacement calls is right, and still traced
            try:
                return half(*args, **constants)
            finally:
                inside[0] -= op

        return substitute


def swapped(subject: Subject, at: Mapping[Key, Replacement]) -> Subject:
    """The subject with replacements at these keys, besides those it has."""
    held = {key: r for swaps in subject.around if isinstance(swaps, Swaps) for key, r in swaps.at.items()}
    others = tuple(factory for factory in subject.around if not isinstance(factory, Swaps))
    return replace(subject, around=(*others, Swaps({**held, **at})))
