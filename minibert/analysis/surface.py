"""The loss along the way that training went, and across it: a line, or a plane, in the space of all parameters.

Goodfellow et al. 2015, arXiv 1412.6544, section 2; Li et al. 2018, arXiv 1712.09913, sections 3 and 4; Hao et al. 2019,
arXiv 1908.05620, section 3 (BERT's fine-tuning).

    line        L(θ₀ + α (θ₁ - θ₀)), α = 0 the start, 1 the end                                                      (1)
    plane       L(θ₀ + α δ₁ + β δ₂), δ₁ = θ₁ - θ₀, δ₂ another end less the start, or drawn                           (2)
    drawn       a normal tree of which each row of a matrix has the norm of that row of θ₁, vectors 0 (filter-wise)  (3)
    projection  (α, β) of θ: the least |θ - θ₀ - α δ₁ - β δ₂|, of directions that need not be at right angles        (4)
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert import tree
from minibert.config import require

Array = np.ndarray
Tree = Any
Loss = Callable[[Tree], float]


def difference(end: Tree, start: Tree) -> Tree:
    """δ of two trees of the same shapes."""
    a, b = tree.flatten(end), tree.flatten(start)
    fits = a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)
    require(fits, "start and end are parameters of different networks")
    return tree.map(np.subtract, end, start)


def drawn(like: Tree, rng: np.random.Generator) -> Tree:
    """(3)."""

    def one(array: Array) -> Array:
        if array.ndim < 2:
            return np.zeros_like(array)
        noise = rng.standard_normal(array.shape).astype(array.dtype)
        axes = tuple(range(1, array.ndim))
        sizes = [np.sqrt((a * a).sum(axes, keepdims=True)) for a in (array, noise)]
        return noise * (sizes[0] / sizes[1]).astype(array.dtype)

    return tree.map(one, like)


def line(loss: Loss, start: Tree, end: Tree, places: Sequence[float]) -> Array:
    """(1) at each place α."""
    return plane(loss, start, difference(end, start), tree.map(np.zeros_like, start), places, [0.0])[:, 0]


def plane(
    loss: Loss, start: Tree, one: Tree, other: Tree, along: Sequence[float], across: Sequence[float]
) -> Array:
    """(2) at each α and β: (len(along), len(across)). one, other: the directions δ₁ and δ₂."""

    def at(a: float, b: float) -> float:
        return float(loss(tree.map(lambda t, u, v: t + t.dtype.type(a) * u + t.dtype.type(b) * v, start, one, other)))

    return np.array([[at(a, b) for b in across] for a in along])


def projection(point: Tree, start: Tree, one: Tree, other: Tree) -> tuple[float, float]:
    """(4): where a tree lies in the plane."""
    away, first, second = (np.concatenate([a.ravel().astype(np.float64) for a in tree.leaves(t)])
                           for t in (difference(point, start), one, other))  # fmt: skip
    gram = np.array([[first @ first, first @ second], [first @ second, second @ second]])
    along, across = np.linalg.solve(gram, np.array([away @ first, away @ second]))
    return float(along), float(across)


def rolled_back(end: Tree, start: Tree, back: Callable[[str], bool]) -> Tree:
    """The end, but for the parameters at the paths for which back(path) is true: those are the start's."""
    difference(end, start)  # whether they fit
    before = tree.flatten(start)
    return tree.unflatten({path: before[path] if back(path) else a for path, a in tree.flatten(end).items()})
