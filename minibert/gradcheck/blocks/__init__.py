"""Examples of blocks and heads, one file for each module that has some, found by its name: `layers`, `pooling`, `crf`.

    examples(rng)           pairs with small arguments (`Example`), drawn from a generator that is the file's own

A family's file NAME.py here has the blocks that no other module has, such as a layer of its own.
"""

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.families import bert
from minibert.model import create

Tree = Any


@dataclass
class Example:
    """One pair with arguments for it, and its double's name and constants."""

    name: str
    forward: Callable
    backward: Callable
    args: dict[str, Tree]
    constants: dict[str, Any]
    double_constants: dict[str, Any] = field(default_factory=dict)


def names() -> list[str]:
    """The files there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def examples(seed: int) -> Iterator[Example]:
    """Those of all files."""
    for name in names():
        yield from import_module(f"{__name__}.{name}").examples(own(seed, name))


# ---- What several files use ------------------------------------------------------------------------------------------
def own(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each name, so that what is drawn for one does not depend on the others."""
    return np.random.default_rng([seed, *name.encode()])


def drawn(rng: np.random.Generator, shapes: Tree, spread: float = 0.7) -> Tree:
    """Normal arrays of a tree of shapes."""
    return tree.map(lambda shape: spread * rng.standard_normal(shape), shapes)


def network(rng: np.random.Generator) -> tuple[Tree, Any]:
    """The parameters and the configuration of a BERT of width 4, every tensor away from its first values."""
    small = {**bert.PROBE, "hidden_size": 4, "intermediate_size": 5, "vocab_size": 7}
    model = create("bert", **small, dtype="float64", initializer_range=0.4)
    return tree.map(lambda a: a + 0.3 * rng.standard_normal(a.shape), model.params), model.config


def states(rng: np.random.Generator) -> np.ndarray:
    """Of two texts of three tokens, (2, 3, 4)."""
    return rng.standard_normal((2, 3, 4))


def loss_of(head: Any, states: dict[str, np.ndarray], labels: Tree, p: Tree, **constants: Any) -> Example:
    """The loss of a head that has no table, whole."""

    def backward(dloss: np.ndarray, c: Tree) -> tuple[np.ndarray, Tree]:
        return head.loss_backward(dloss, c)[:2]

    return Example(families.named(head), head.loss, backward, {**states, "p": p}, {"labels": labels, **constants})
