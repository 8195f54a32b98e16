"""Adapters: a bottleneck in each sub-layer that ends in a norm or begins with one.

Houlsby et al. 2019, arXiv 1902.00751; google-research/adapter-bert. `layers.add_norm` and `layers.add` apply what
stands in the tree; no family's file knows of it. Near 0 at the start, so that the network begins as it was.
"""

from typing import Any

import numpy as np

from minibert import tree
from minibert.config import whole

Tree = dict[str, Any]

PART = "adapter"
STD = 1e-3  # of a fresh adapter's weights (section 2.1: near-identity)


def shapes(network: Tree, width: int) -> Tree:
    """A network's shapes with adapters of this width A: in each sub-tree with a norm and what attends or feeds
    forward.
    """

    def grown(node: Any) -> Any:
        if isinstance(node, list):
            return [grown(child) for child in node]
        if not isinstance(node, dict):
            return node
        found = {name: grown(child) for name, child in node.items()}
        if "norm" in node and ("query" in node or "in" in node):
            d = node["norm"]["weight"][0]
            down, up = {"weight": (width, d), "bias": (width,)}, {"weight": (d, width), "bias": (d,)}
            found["adapter"] = {"down": down, "up": up}
        return found

    return grown(network)


def added(params: Tree, width: int, rng: np.random.Generator, up: float = STD) -> Tree:
    """The parameters, the same arrays, with fresh adapters of this width, 1 or more; up: the deviation of what leads
    out of them; with 0 the network begins as it was to the bit.
    """
    whole("width", width, 1)
    flat = tree.flatten(params)
    kind = next(iter(flat.values())).dtype
    for path, shape in tree.items(shapes(tree.map(np.shape, params), width)):
        if learns(path):
            std = 0.0 if path.endswith("bias") else up if ".up." in path else STD
            values = std * rng.standard_normal(shape)
            flat[path] = values.astype(kind)
    return tree.unflatten(flat)


def learns(path: str) -> bool:
    """Whether a parameter is an adapter's."""
    return ".adapter." in path


def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """See `minibert.adapters`: each of its own width."""
    found = {}
    for owner in dict.fromkeys(path.partition(".adapter.")[0] for path in leaves if learns(path)):
        norm, own = shapes.get(f"{owner}.norm.weight"), leaves.get(f"{owner}.adapter.down.bias")
        if norm is not None and np.ndim(own) == 1:
            (d,), a = norm, len(own)
            one = {"down.weight": (a, d), "down.bias": (a,), "up.weight": (d, a), "up.bias": (d,)}
            found |= {f"{owner}.adapter.{leaf}": shape for leaf, shape in one.items()}
    return found
