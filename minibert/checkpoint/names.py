"""Between a tree of arrays and the flat dict under published names: a family's `names` table, row by row.

A row is (path in the tree, published name, bijection). A bijection is what turns our tensor into the published one:
steps, separated by blanks, of

    identity   transpose   reshape:6x4->6x2x2 (our shape -> the published one)   split   split:1

Rows with the same published name are its equal parts, in the order of the rows, along the axis that "split" says, the
first without one. Steps before it are each part's, those behind it the joined tensor's: with them heads interleave, as
in "reshape:8x6->2x1x4x6 split:1 reshape:2x3x4x6->24x6".
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minibert import tree as trees

Naming = tuple[str, str, str]
Step = tuple[str, tuple[int, ...], tuple[int, ...]]  # kind, our shape, the published one; the shapes only of a reshape


def to_published(tree: Any, rows: Iterable[Naming]) -> dict[str, np.ndarray]:
    """The flat dict under published names of a tree of parameters, gradients or moments; absent heads stay absent."""
    leaves = trees.flatten(tree)
    parts: dict[str, list[np.ndarray]] = {}
    last: dict[str, tuple[int, list[Step]]] = {}
    for path, name, bijection in rows:
        if path in leaves:
            own, axis, joined = _steps(bijection)
            parts.setdefault(name, []).append(_applied(leaves[path], own))
            last[name] = axis, joined
    whole = {name: held[0] if len(held) == 1 else np.concatenate(held, last[name][0]) for name, held in parts.items()}
    return {name: _applied(array, last[name][1]) for name, array in whole.items()}


def from_published(flat: dict[str, np.ndarray], rows: Iterable[Naming]) -> Any:
    """The tree of the published tensors, the inverse of `to_published`; rows whose tensor is absent are left out."""
    rows = [row for row in rows if row[1] in flat]
    counts = Counter(name for _, name, _ in rows)
    parts: dict[str, Iterator[np.ndarray]] = {}
    leaves = {}
    for path, name, bijection in rows:
        own, axis, joined = _steps(bijection)
        if name not in parts:
            whole = _undone(flat[name], joined)
            parts[name] = iter(np.split(whole, counts[name], axis) if counts[name] > 1 else [whole])
        leaves[path] = np.asarray(_undone(next(parts[name]), own), order="C")
    return trees.unflatten(leaves)


def published_shapes(shapes: Any, rows: Iterable[Naming]) -> dict[str, tuple[int, ...]]:
    """Published name -> shape."""
    rows, leaves, found = list(rows), trees.flatten(shapes), {}
    counts = Counter(name for _, name, _ in rows)
    for path, name, bijection in rows:
        own, axis, joined = _steps(bijection)
        part = list(_shape(leaves[path], own))
        part[axis] *= counts[name]
        found[name] = _shape(tuple(part), joined)
    return found


def _applied(array: np.ndarray, steps: list[Step]) -> np.ndarray:
    for kind, _, after in steps:
        array = array.T if kind == "transpose" else array.reshape(after)
    return array


def _undone(array: np.ndarray, steps: list[Step]) -> np.ndarray:
    for kind, before, _ in reversed(steps):
        array = array.T if kind == "transpose" else array.reshape(before)
    return array


def _shape(shape: tuple[int, ...], steps: list[Step]) -> tuple[int, ...]:
    for kind, _, after in steps:
        shape = shape[::-1] if kind == "transpose" else after
    return shape


def _steps(bijection: str) -> tuple[list[Step], int, list[Step]]:
    """(the steps of each part, the axis along which the parts lie, the steps of what they are joined to)."""
    own: list[Step] = []
    joined: list[Step] = []
    axis, there = 0, own
    for step in bijection.split():
        kind, _, shapes = step.partition(":")
        if kind == "split":
            axis, there = int(shapes or 0), joined
        elif kind != "identity":
            before, after = ([int(n) for n in re.findall(r"\d+", side)] for side in f"{shapes}->".split("->")[:2])
            there.append((kind, tuple(before), tuple(after)))
    return own, axis, joined
