"""Nested dicts and lists with arrays at the leaves: parameters, caches and gradients share this one shape."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert.errors import InputError

NODES = (dict, list)


def items(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs (dotted path, leaf) in the tree's order; list indices are path parts: "encoder.0.norm.bias"."""
    found: list[tuple[str, Any]] = []
    _collect(tree, prefix, found)  # a generator in a generator for each level took three times as long
    return iter(found)


def _collect(tree: Any, prefix: str, found: list[tuple[str, Any]]) -> None:
    if not isinstance(tree, NODES):
        found.append((prefix[:-1], tree))
        return
    for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(child, NODES):
            _collect(child, f"{prefix}{key}.", found)
        else:
            found.append((f"{prefix}{key}", child))


def flatten(tree: Any) -> dict[str, Any]:
    """The flat dict of `items`; InputError for a tree so deep that it is none of a model."""
    try:
        return dict(items(tree))
    except RecursionError:
        raise InputError("a tree of arrays is nested too deeply: give one like a model's params") from None


def unflatten(flat: dict[str, Any]) -> Any:
    """The inverse of `flatten`: a level whose keys are 0, 1, 2, … becomes a list."""
    root: dict = {}
    for path, leaf in flat.items():
        *parents, last = path.split(".")
        node = root
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = leaf
    return _lists(root)


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    children = {key: _lists(child) for key, child in node.items()}
    if children and set(children) == {str(i) for i in range(len(children))}:
        return [children[str(i)] for i in range(len(children))]
    return children


def map(f: Callable, tree: Any, *rest: Any) -> Any:
    """A new tree of f(leaf, …) over trees of the same keys."""
    if isinstance(tree, dict):
        return {key: map(f, child, *(r[key] for r in rest)) for key, child in tree.items()}
    if isinstance(tree, list):
        return [map(f, child, *(r[i] for r in rest)) for i, child in enumerate(tree)]
    return f(tree, *rest)


def leaves(tree: Any) -> list[Any]:
    """The leaves, in the tree's own order."""
    return [leaf for _, leaf in items(tree)]


def get(tree: Any, path: str) -> Any:
    """The leaf or sub-tree at a dotted path."""
    for part in path.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


def merged(a: Any, b: Any) -> Any:
    """The tree a with what b has besides; of two leaves at one path b's."""
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return b
    return {**a, **{key: merged(a[key], child) if key in a else child for key, child in b.items()}}


def zeros_like(tree: Any) -> Any:
    """A tree of zeros with the same keys, shapes and dtypes."""
    return map(np.zeros_like, tree)


def add(a: Any, b: Any) -> Any:
    """The sum of two trees with the same keys: what a shared sub-tree's two gradients become."""
    return map(np.add, a, b)
