"""Between a tree of arrays and the flat dict under published names: a family's `names` table, row by row.

A row is (path in the tree, published name, bijection). A bijection is what turns our tensor into the published one:
steps, separated by blanks, of

    identity   transpose   reshape:6x4->6x2x2 (our shape -> the published one)   split

Rows with the same published name are its equal parts along the first axis, in the order of the rows; "split" marks
them for the reader and does nothing itself.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from minibert import tree as trees

Row = tuple[str, str, str]


def to_published(tree: Any, rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """The flat dict under published names of a tree of parameters, gradients or moments; absent heads stay absent."""
    leaves = trees.flatten(tree)
    parts: dict[str, list[np.ndarray]] = {}
    for path, name, bijection in rows:
        if path in leaves:
            parts.setdefault(name, []).append(_applied(leaves[path], bijection))
    return {name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for name, arrays in parts.items()}


def from_published(flat: dict[str, np.ndarray], rows: Iterable[Row]) -> Any:
    """The tree of the published tensors, the inverse of `to_published`; rows whose tensor is absent are left out."""
    rows = [row for row in rows if row[1] in flat]
    counts = Counter(name for _, name, _ in rows)
    parts = {name: iter(np.split(flat[name], n) if n > 1 else [flat[name]]) for name, n in counts.items()}
    return trees.unflatten({path: _undone(next(parts[name]), bijection) for path, name, bijection in rows})


def _applied(array: np.ndarray, bijection: str) -> np.ndarray:
    for kind, _, after in _steps(bijection):
        array = array.T if kind == "transpose" else array.reshape(after) if kind == "reshape" else array
    return array


def _undone(array: np.ndarray, bijection: str) -> np.ndarray:
    for kind, before, _ in reversed(_steps(bijection)):
        array = array.T if kind == "transpose" else array.reshape(before) if kind == "reshape" else array
    return np.asarray(array, order="C")


def _applied_shape(shape: tuple[int, ...], bijection: str) -> tuple[int, ...]:
    for kind, _, after in _steps(bijection):
        shape = shape[::-1] if kind == "transpose" else after if kind == "reshape" else shape
    return shape


def _steps(bijection: str) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """(kind, our shape, published shape) of each step; the shapes are () but for reshape."""
    steps = []
    for step in bijection.split():
        kind, _, shapes = step.partition(":")
        before, after = ([int(n) for n in re.findall(r"\d+", side)] for side in f"{shapes}->".split("->")[:2])
        steps.append((kind, tuple(before), tuple(after)))
    return steps


def published_shapes(shapes: Any, rows: Iterable[Row]) -> dict[str, tuple[int, ...]]:
    """Published name -> shape."""
    ours, published = trees.flatten(shapes), {}
    for path, name, bijection in rows:
        first, *others = _applied_shape(ours[path], bijection)
        published[name] = (first + (published[name][0] if name in published else 0), *others)
    return published
