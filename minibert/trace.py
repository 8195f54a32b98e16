"""What every op of a run returned, and the cotangent its backward received, named by the paths in the run's cache.

    with trace.recording() as record:
        loss, cache = model.loss(batch)
        model.loss_backward(cache)
    record.named(cache)["encode.encoder.0.attention.query"].output
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import tree
from minibert.pairs import BLOCKS, PAIRS, observing

Key = tuple[tuple[str, int], ...]


@dataclass
class Event:
    """One op or block of a run: its name, cache and output, and after the backward its cotangent and gradients."""

    op: str
    cache: Any
    output: np.ndarray
    cotangent: np.ndarray | None = None
    gradients: Any = None

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """(value, cotangent) of a part that the op declares (`pairs.Parts`), such as attention's "scores"."""
        return PAIRS[self.op].parts.seen(name, self.cache, self.cotangent)


class Record:
    """The events of a run, in the order in which they ended; a block ends after its ops."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._of_cache: dict[int, Event] = {}

    def observe(self, f: Callable, args: tuple, constants: dict) -> Any:
        result = f(*args, **constants)
        name = f.__name__
        if name in PAIRS or name in BLOCKS:
            event = Event(name, result[1], result[0])
            self.events.append(event)
            self._of_cache[id(event.cache)] = event
            return result
        dy, cache = (*args, *constants.values())[:2]
        if id(cache) in self._of_cache:
            event = self._of_cache[id(cache)]
            event.cotangent, event.gradients = dy, result
        return result

    def named(self, cache: Any) -> dict[str, Event]:
        """The events by the dotted path of their cache within `cache`, in forward order."""
        paths, known = {}, self._of_cache
        pending = [("", cache)]
        while pending:
            path, node = pending.pop()
            if id(node) in known:
                paths[id(node)] = path.removeprefix(".")
            if isinstance(node, tree.NODES):
                children = node.items() if isinstance(node, dict) else enumerate(node)
                pending += [(f"{path}.{key}", child) for key, child in children
                            if isinstance(child, tree.NODES) or id(child) in known]  # most are arrays
        return {paths[id(e.cache)]: e for e in self.events if id(e.cache) in paths}


@contextlib.contextmanager
def recording() -> Iterator[Record]:
    """Records every op and block called in this context."""
    record = Record()
    with observing(record.observe):
        yield record


class Nesting:
    """Where in the nesting of observed calls we are: the second `linear` of the first `self_attention` of ….

    So a call is recognised whatever others have inside them.
    """

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


def located(note: Callable[[tuple, Key, str, tuple, dict], object]) -> Callable:
    """An observer that tells note(result, key, name, arguments, constants) of each forward call when it ends; result:
    (value, cache).
    """
    nesting = Nesting()

    def follow(f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ not in PAIRS and f.__name__ not in BLOCKS:
            return f(*args, **constants)
        key = nesting.enter(f.__name__)
        result = f(*args, **constants)
        nesting.leave()
        note(result, key, f.__name__, args, constants)
        return result

    return follow
