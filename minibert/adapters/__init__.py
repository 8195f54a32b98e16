"""Sub-trees added to any network, whose family's file knows of none of them: one file, one kind, found by its name.

    houlsby     an adapter at the end of each sub-layer, which `layers.add_norm` and `layers.add` apply
    lora        a matrix of low rank beside a weight, which is put into it before the network sees it
    pals        projected attention beside each layer, of several tasks each its own
    mix         one state of each token made of those behind all layers

The tree decides: what stands in a model's `params` is done. Each file offers

    PART                            what its sub-trees are called
    stand(leaves, shapes)           {path: shape} of those among these leaves; shapes: those of the network, by path
    inputs(params)                  optional: specs of what the network takes besides
    put(p, inputs) -> (p, c)        optional: the tree that the network gets in the place of p
    put_backward(g, c) -> g         what leads its gradient back
    after(out, c) -> out            optional: the outputs in the place of the network's; before it, "last" is "outputs"
    after_backward(dout, c) -> dout     which may leave a gradient in c, for `put_backward`
    shapes(network, size)           optional: a network's shapes with it, for "bert@adapter:3" (`grown`)
    traced(shapes)                  optional: rows of `activations` of what it computes, paths in the cache of `encode`

"bert@adapter:3" is the name of a family whose networks have adapters from the beginning, wherever a golden case or a
check asks for a family: "bert@adapter:3+tag" is one with a head.
"""

import functools
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from minibert import tree
from minibert.config import require

Tree = dict[str, Any]


@functools.cache
def kinds() -> tuple[ModuleType, ...]:
    """The files of this folder."""
    return tuple(import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__))


@functools.cache
def parts() -> frozenset[str]:
    """What the sub-trees are called."""
    return frozenset(kind.PART for kind in kinds())


def learns(path: str) -> bool:
    """Whether a parameter is in such a sub-tree."""
    return not parts().isdisjoint(path.split("."))


def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of all that is added among these leaves, by path, each of its own size; shapes: the rest's."""
    found: dict[str, tuple[int, ...]] = {}
    for kind in kinds():
        found |= kind.stand(leaves, shapes)
    return found


def require_fitting(own: dict[str, Any], shapes: dict[str, tuple[int, ...]], where: str) -> None:
    """InputError, which begins with where, unless these arrays, by path, are whole sub-trees that may stand beside a
    network of these shapes, and finite numbers.
    """
    due = stand(own, shapes)
    for path, array in own.items():
        fits = learns(path) and due.get(path) == array.shape and array.dtype.kind == "f"
        require(fits, f"{where}: {path!r}, {array.dtype} {array.shape}, is nothing that may stand beside this network")
        require(bool(np.isfinite(array).all()), f"{where}: {path!r} has entries that are NaN or infinite")
    lacking = sorted(due.keys() - own.keys())
    require(not lacking, f"{where}: lacking {', '.join(lacking[:1])}")


def names(params: Any) -> list[tuple[str, str, str]]:
    """(path, name, bijection) of what is added to a tree: no published model has it, so it is called by its path."""
    return [(path, path, "identity") for path, _ in tree.items(params) if learns(path)]


# ---- The network over a tree with more in it -------------------------------------------------------------------------
def over(module: ModuleType, params: Any) -> Any:
    """The family's module, of a tree with what it does not know about one that does (`Over`)."""
    if not isinstance(params, dict) or getattr(module, "GROWN", False):
        return module
    there = _there(params, set())
    own = tuple(kind for kind in kinds() if kind.PART in there and hasattr(kind, "put"))
    if not own:
        return module
    inputs = [tuple(kind.inputs(params).items()) if hasattr(kind, "inputs") else () for kind in own]
    return _over(module, own, tuple(inputs))


def _there(node: Any, found: set[str]) -> set[str]:
    """What stands in a tree, of `parts`."""
    if isinstance(node, dict):
        found |= parts() & node.keys()
        node = node.values()
    for child in node:
        if isinstance(child, dict | list):
            _there(child, found)
    return found


@functools.lru_cache(maxsize=64)
def _over(module: ModuleType, own: tuple[ModuleType, ...], inputs: tuple) -> "Over":
    return Over(module, own, {name: spec for some in inputs for name, spec in some})


class Over:
    """A family's module over trees with more in them; what is not said here is the module's."""

    def __init__(self, module: ModuleType, own: tuple[ModuleType, ...], inputs: dict[str, str]) -> None:
        self.module, self._kinds, self._inputs, self.__name__ = module, own, inputs, module.__name__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.module, name)
        return self._putting(name, found) if name in READING else found

    def _putting(self, name: str, f: Callable) -> Callable:
        """A function of the module that reads parameters: of what is put in their place."""
        if name == "loss_backward":
            return lambda c: self._back(f(c), c["over"])
        if name == "loss":
            return self._loss
        at = READING[name]

        def read(*args: Any, **given: Any) -> Any:
            p, _ = self._put(args[at], {})
            return f(*args[:at], p, *args[at + 1 :], **given)

        return read

    def _put(self, p: Tree, inputs: Tree) -> tuple[Tree, Tree]:
        c: Tree = {}
        for kind in self._kinds:
            p, c[kind.PART] = kind.put(p, inputs)
        return p, c

    def _back(self, g: Tree, c: Tree) -> Tree:
        for kind in reversed(self._kinds):
            g = kind.put_backward(g, c[kind.PART])
        return g

    def _loss(self, p: Tree, config: Any, batch: Tree, **given: Any) -> tuple[Any, Tree]:
        p, c = self._put(p, batch)
        value, own = self.module.loss(p, config, batch, **given)
        return value, {**own, "over": c}

    def inputs(self, config: Any) -> dict[str, str]:
        """The module's, and what is read besides."""
        return {**self.module.inputs(config), **self._inputs}

    def encode(self, p: Tree, config: Any, inputs: Tree, *, keep: Any = "caches") -> tuple[Tree, Tree]:
        """The module's outputs of what stands in the place of p, or what is made of them."""
        p, c = self._put(p, inputs)
        after = [kind for kind in self._kinds if hasattr(kind, "after")]
        keep = "outputs" if after and keep == "last" else keep
        given = {name: value for name, value in inputs.items() if name not in self._inputs}
        out, c["network"] = self.module.encode(p, config, given, keep=keep)
        for kind in after:
            out = kind.after(out, c[kind.PART])
        return out, c

    def encode_backward(self, dout: Tree, c: Tree) -> Tree:
        """The gradient tree like p."""
        for kind in reversed(self._kinds):
            dout = kind.after_backward(dout, c[kind.PART]) if hasattr(kind, "after_backward") else dout
        return self._back(self.module.encode_backward(dout, c["network"]), c)


@functools.lru_cache(maxsize=64)
def grown(module: ModuleType, said: str) -> "Grown":
    """The family's module with sub-trees of a kind in its shapes: "adapter:3", "pals:4", "mix:3"."""
    part, _, size = said.partition(":")
    kind = next((kind for kind in kinds() if part == kind.PART and hasattr(kind, "shapes")), None)
    fits = kind is not None and re.fullmatch("[1-9][0-9]{0,4}", size) is not None
    require(fits, f"{said!r} is nothing that a family could have in its shapes")
    return Grown(module, kind, int(size), said)


class Grown(Over):
    """A family's module whose shapes have sub-trees of a kind in them."""

    GROWN = True

    def __init__(self, module: ModuleType, kind: ModuleType, size: int, said: str) -> None:
        inputs = {} if not hasattr(kind, "put") or not hasattr(kind, "inputs") else {kind.PART: "?(B)<1"}
        super().__init__(module, (kind,) if hasattr(kind, "put") else (), inputs)
        self._kind, self._size, self.__name__ = kind, size, f"{module.__name__}@{said}"
        self.KIN = module.__name__.rpartition(".")[2]  # whose mistakes and laws hold here, but no double
        self.golden_double = lambda subject: None

    def shapes(self, config: Any) -> Tree:
        """The module's, and those of the kind."""
        return self._kind.shapes(self.module.shapes(config), self._size)

    def names(self, config: Any) -> list[tuple[str, str, str]]:
        """The module's, and those of what is added, by their paths."""
        return [*self.module.names(config), *names(self.shapes(config))]

    def activations(self, config: Any) -> list[tuple[str, str, str, str]]:
        """The module's, and those of what is added, by their paths."""
        rows = [(name, path.replace("encode.", "encode.network.", 1), kind, place)
                for name, path, kind, place in self.module.activations(config)]  # fmt: skip
        traced = getattr(self._kind, "traced", lambda shapes: [])(self.shapes(config))
        return rows + [(name, f"encode.{path}", "", place) for name, path, place in traced]


# functions of a family that read parameters, and which of their arguments these are
READING = {"start": 0, "step": 0, "predict": 0, "stage": 0, "sample": 1, "loss": 0, "loss_backward": 0}
