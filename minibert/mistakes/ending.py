"""Where a run of a mutant may end: at the first gradient that it changes, where that is far from the candidate's.

Where parameters' gradients alone are given, the first of them that a mutant changes is to be explained, or the mutant
explains nothing (`cover`). Most show there that they don't, and the rest of their backward need not be run.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert.golden.blocks import Forced
from minibert.mistakes.evidence import Evidence
from minibert.trace import Key

FAR = 64_000  # floors: no rounding, and no mutant's own
MOVED = 1e-6  # of what was left: what changes by more is another number
NOWHERE = ("",)  # a path that leads to no array
TINY = float(np.finfo(float).tiny)  # where there is no scale at all


class Endings:
    """The gradients that single calls of a run give, where no tensor that is made later precedes them in the evidence.

    left: what the run leaves of each tensor; at: of a call's backward the gradients, by where they stand in its result;
    whole: the same of what may be replaced as a whole, with the gradients of all calls within.
    """

    def __init__(self, run: Forced, evidence: Evidence):
        self.run, self.evidence = run, evidence
        self.left = evidence.residuals(evidence.flat(run.computed))
        self.most = np.maximum(2 * evidence.largest(evidence.values), evidence.scales)
        self.least = np.maximum(0.1 * evidence.scales, 1e-3 * self.most.max(initial=0))
        numbers = {id(run.computed[key]): i for i, key in enumerate(evidence.keys) if key in run.computed}
        found: dict[int, tuple[Key, tuple]] = {}
        paths: dict[tuple[Key, int], tuple] = {}
        for key, (_, result) in run.backwards.items():
            for path, array in _arrays(result):
                if (i := numbers.get(id(array))) is not None:
                    found.setdefault(i, (key, path))
                    paths[key, i] = path
        later = min({*range(len(evidence.keys))} - {*found}, default=len(evidence.keys))  # what several calls give
        self.at: dict[Key, list[tuple[tuple, int, float]]] = {}
        self.whole: dict[Key, list[tuple[tuple, int, float]]] = {}
        for i, (key, path) in reversed(found.items()):
            if i < later:
                later = i
                left = self.residual(i, run.computed[evidence.keys[i]])
                self.at.setdefault(key, []).insert(0, (path, i, left))
                for around in (key[:n] for n in range(1, len(key) + 1)):
                    self.whole.setdefault(around, []).insert(0, (paths.get((around, i), NOWHERE), i, left))

    def residual(self, number: int, array: np.ndarray, of: Callable = np.max) -> float:
        """How far the candidate's tensor of that number lies from this, at most or in the middle, over the floor at
        this one's scale (`Evidence.unit`), or a wider one: what is due to others is not known yet.
        """
        start = self.evidence.starts[number]
        values = self.evidence.values[start : start + self.evidence.sizes[number]]
        scale = max(min(float(np.abs(array).max(initial=0)), self.most[number]), self.least[number], TINY)
        return float(of(np.abs(values - np.reshape(array, -1))) / (scale * self.evidence.floors[number]))


class Ending:
    """Of one run: number, residual: of the gradient at which it ends; number None as long as it doesn't. silent: of
    which keys it says nothing; rounds: of what rounds most entries are far, and not one that fell the other way.
    """

    def __init__(self, endings: Endings, silent: Callable[[str], Any] | None = None, rounds: bool = False):
        self.endings, self.silent, self.rounds, self.over = endings, silent, rounds, False
        self.number, self.residual = None, 0.0

    def __call__(self, key: Key, result: Any, whole: bool = False) -> bool:
        """Whether it ends behind this call's backward. whole: what is within did not say so: it was replaced."""
        at = self.endings.whole if whole else self.endings.at
        for path, number, before in () if self.over else at.get(key, ()):
            array, evidence = _follow(result, path), self.endings.evidence
            if self.silent and self.silent(evidence.keys[number]):
                continue
            if np.shape(array) != evidence.shapes[number]:
                self.over = True
                break
            after = self.endings.residual(number, array)
            if not abs(after - before) <= MOVED * (1 + before):
                self.over = True
                if (self.endings.residual(number, array, np.median) if self.rounds else after) > FAR:
                    self.number, self.residual = number, after
                break
        return self.number is not None

    @property
    def residuals(self) -> np.ndarray:
        """The residual of the gradient at which it ended; the others are those of the run that it stands on."""
        found = self.endings.left.copy()
        found[self.number] = self.residual
        return found


def _arrays(tree: Any, path: tuple = ()) -> Iterator[tuple[tuple, np.ndarray]]:
    """Each array of a tree of dicts, lists and tuples, with the keys that lead there."""
    if isinstance(tree, np.ndarray):
        yield path, tree
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _arrays(value, (*path, key))


def _follow(tree: Any, path: tuple) -> Any:
    """What these keys lead to, None where they lead nowhere."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree
