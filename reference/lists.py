"""Loops over nested lists: the only machinery the doubles share."""
from decimal import Decimal


def shape(x) -> list[int]:
    return [len(x), *shape(x[0])] if isinstance(x, list) else []


def each(n: int, f, *arrays):
    """f over the last n dimensions of the first array, in step along the leading dimensions all arrays share."""
    if len(shape(arrays[0])) == n:
        return f(*arrays)
    return [each(n, f, *parts) for parts in zip(*arrays, strict=True)]


def broadcast(x, to: list[int]):
    """x repeated along missing leading dimensions and dimensions of length 1."""
    if len(shape(x)) < len(to):
        return [broadcast(x, to[1:])] * to[0]
    return [broadcast(part, to[1:]) for part in (x * to[0] if len(x) == 1 else x)] if to else x


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def mapped(f, tree):
    """f at every leaf of nested dicts and lists; tuples become lists."""
    if isinstance(tree, dict):
        return {name: mapped(f, part) for name, part in tree.items()}
    return [mapped(f, part) for part in tree] if isinstance(tree, list | tuple) else f(tree)


def leaves(tree: list) -> list:
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, list) else [tree]


def convert(tree):
    """The same tree with every float as the Decimal of exactly that value, all else as it is."""
    return mapped(lambda leaf: Decimal(leaf) if isinstance(leaf, float) else leaf, tree)
