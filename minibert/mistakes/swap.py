"""Putting another pair in the place of an op or block: in every place where it is called, or in some.

A site is a call of the right computation, named by the path of its cache (`trace.Record.named`). Within a run it is
recognised by where it stands in the nesting of calls (the second `linear` of the first `self_attention` of …), so a
replaced block does not shift what follows. Everything goes through the context variable of `pairs`: threads don't see
each other's mistakes.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from minibert import families, objective, trace, tree
from minibert.golden.subject import Subject
from minibert.pairs import BLOCKS, PAIRS, observing

Key = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Replacement:
    """A wrong pair, both halves. faithful: its backward is the derivative of its forward; False where just that is the
    mistake.
    """

    forward: Callable
    backward: Callable
    faithful: bool = True


@dataclass(frozen=True)
class Site:
    """One call of the right computation.

    path: of its cache; name: of its op or block; key: its place in the nesting; start: the order, among all sites, of
    the first call within it; params: paths of the parameters it is given as they are; tower: the network it belongs to,
    in a family of several ("generator"), else "".
    """

    path: str
    name: str
    key: Key
    start: int = 0
    params: tuple[str, ...] = ()
    tower: str = ""

    @property
    def local(self) -> str:
        """Its path within its network: what patterns of paths are about."""
        return self.path.removeprefix(f"{self.tower}.") if self.tower else self.path


def local(path: str, params: Any) -> str:
    """A parameter's path within its network, in a tree of several: "encoder.0.…" of "generator.encoder.0.…"."""
    tower, _, rest = path.partition(".")
    return rest if isinstance(params, dict) and _is_network(params.get(tower)) else path


def _is_network(value: Any) -> bool:
    return isinstance(value, dict) and not {"encoder", "mlm"}.isdisjoint(value)


class Nesting:
    """Where in the nesting of observed calls we are."""

    def __init__(self) -> None:
        self.stack: list[Key] = [()]
        self.counts: Counter[Key] = Counter()

    def enter(self, name: str) -> Key:
        same = (*self.stack[-1], (name, 0))
        key = (*self.stack[-1], (name, self.counts[same]))
        self.counts[same] += 1
        self.stack.append(key)
        return key

    def leave(self) -> None:
        self.stack.pop()


def sites(subject: Subject) -> list[Site]:
    """Every call of the subject's forward pass, in the order in which they end."""
    nesting, keys, given = Nesting(), {}, {}
    leaves = {id(array): path for path, array in tree.items(subject.params)}

    def follow(f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ not in PAIRS and f.__name__ not in BLOCKS:
            return f(*args, **constants)
        key = nesting.enter(f.__name__)
        result = f(*args, **constants)
        nesting.leave()
        keys[id(result[1])] = key
        given[key] = tuple(leaves[id(a)] for a in (*args, *constants.values()) if id(a) in leaves)
        return result

    module = families.family(subject.family)
    with observing(follow), trace.recording() as record:
        _, cache = objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)
    found = [(path, event.op, keys[id(event.cache)]) for path, event in record.named(cache).items()]
    towers = {match[1] for path, *_ in found if (match := re.match(r"(\w+)\.encode\.", path))}
    return [
        Site(path, name, key, next(i for i, (*_, k) in enumerate(found) if k[: len(key)] == key), given[key],
             tower if (tower := path.partition(".")[0]) in towers else "")
        for path, name, key in found
    ]  # fmt: skip


@dataclass(frozen=True)
class Swaps:
    """A factory of observers (`Subject.around`) that puts replacements at sites."""

    at: Mapping[Key, Replacement]

    def __call__(self) -> Callable:
        nesting = Nesting()
        replaced: dict[int, tuple[Any, Replacement]] = {}  # by the id of the cache, which is kept alive here
        inside = [0]

        def substitute(f: Callable, args: tuple, constants: dict) -> Any:
            if inside[0]:
                return f(*args, **constants)
            if f.__name__ not in PAIRS and f.__name__ not in BLOCKS:
                _, replacement = replaced.get(id(args[1]), (None, None))
                return f(*args, **constants) if replacement is None else run(replacement.backward, args, constants)
            key = nesting.enter(f.__name__)
            try:
                replacement = self.at.get(key)
                if replacement is None:
                    return f(*args, **constants)
                result = run(replacement.forward, args, constants)
                replaced[id(result[1])] = (result[1], replacement)
                return result
            finally:
                nesting.leave()

        def run(half: Callable, args: tuple, constants: dict) -> Any:
            inside[0] += 1  # what a replacement calls is right, and still traced
            try:
                return half(*args, **constants)
            finally:
                inside[0] -= 1

        return substitute


def swapped(subject: Subject, at: Mapping[Key, Replacement]) -> Subject:
    """The subject with replacements at these keys, besides those it has."""
    held = {key: r for swaps in subject.around if isinstance(swaps, Swaps) for key, r in swaps.at.items()}
    others = tuple(factory for factory in subject.around if not isinstance(factory, Swaps))
    return replace(subject, around=(*others, Swaps({**held, **at})))
