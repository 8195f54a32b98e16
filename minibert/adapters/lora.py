"""LoRA: a weight learns along few directions (Hu et al. 2021, arXiv 2106.09685, section 4.1).

    W' = W + s·B A,  A (R, I), B (O, R), s = α/R                                                                    (1)

A sub-tree "lora" beside a weight: down (A), up (B), scale (s, which nobody trains). B is 0 at the start, so that the
network begins as it was; A is drawn as PEFT draws it, from ±1/√I. No family's file knows of it: (1) is put in the place
of W before the network sees it, so it goes with every layer that there is, and `merged` leaves a network without it.
"""

import re
from typing import Any

import numpy as np

from minibert import kernels, tree
from minibert.config import require, whole
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

PART = "lora"
TARGETS = ("query", "value")  # section 4.2, and PEFT's of most models


# ---- The weight ------------------------------------------------------------------------------------------------------
@block
def low_rank(weight: Array, p: Tree) -> tuple[Array, Tree]:
    """(1): weight (O, I), p: down {weight (R, I)}, up {weight (O, R)}, scale {weight (1,)}."""
    down, up, scale = (p[name]["weight"] for name in ("down", "up", "scale"))
    product = up @ down
    return kernels.add(weight, scale * product), {"down": down, "up": up, "scale": scale, "product": product}


@block_backward
def low_rank_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dW = dW', g): dA = s Bᵀ dW', dB = s dW' Aᵀ, ds = Σ dW'∘B A."""
    down, up, scale = c["down"], c["up"], c["scale"]
    ds = (dy * c["product"]).sum().reshape(1)
    g = {"down": scale * (up.T @ dy), "up": scale * (dy @ down.T), "scale": ds}
    return dy, {name: {"weight": d} for name, d in g.items()}


# ---- In a tree -------------------------------------------------------------------------------------------------------
def added(
    params: Tree, rank: int, rng: np.random.Generator, *, scale: float = 1.0, targets: tuple[str, ...] = TARGETS
) -> Tree:  # fmt: skip
    """The parameters, the same arrays, with (1) of this rank, 1 or more, beside each weight of a sub-tree so called.

    InputError where none is.
    """
    whole("rank", rank, 1)
    flat = tree.flatten(params)
    found = [path for path, array in flat.items() if np.ndim(array) == 2 and path.split(".")[-2] in targets
             and path.endswith(".weight") and not path.startswith(("embeddings", "pals"))]  # fmt: skip
    require(bool(found), f"no layer is called {' or '.join(targets)}: nothing that a matrix of low rank goes with")
    for path in found:
        owner, (out, width), kind = path.removesuffix("weight"), flat[path].shape, flat[path].dtype
        flat[f"{owner}lora.down.weight"] = rng.uniform(-1, 1, (rank, width)).astype(kind) / kind.type(width**0.5)
        flat[f"{owner}lora.up.weight"] = np.zeros((out, rank), kind)
        flat[f"{owner}lora.scale.weight"] = np.full(1, scale, kind)
    return tree.unflatten(flat)


def learns(path: str) -> bool:
    """Whether a parameter is A or B of (1)."""
    return re.search(r"\.lora\.(down|up)\.", path) is not None


def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """See `minibert.adapters`: of each weight its own rank."""
    found = {}
    for path in leaves:
        if path.endswith(".lora.down.weight") and np.ndim(leaves[path]) == 2:
            owner, rank = path.removesuffix(".lora.down.weight"), len(leaves[path])
            if len(shapes.get(f"{owner}.weight", ())) == 2:
                out, width = shapes[f"{owner}.weight"]
                own = {"down": (rank, width), "up": (out, rank), "scale": (1,)}
                found |= {f"{owner}.lora.{name}.weight": shape for name, shape in own.items()}
    return found


def put(p: Any, inputs: Tree) -> tuple[Any, Any]:
    """The tree with W' in the place of W, and without what made it; caches by the same keys."""
    if isinstance(p, list):
        pairs = [put(child, inputs) for child in p]
        return [child for child, _ in pairs], dict(enumerate(own for _, own in pairs))
    if not isinstance(p, dict):
        return p, {}
    plain, c = {}, {}
    for name, child in p.items():
        if name != PART:
            plain[name], c[name] = put(child, inputs)
    if PART in p:
        plain["weight"], c[PART] = low_rank(p["weight"], p[PART])
    return plain, {name: own for name, own in c.items() if own}


def put_backward(g: Any, c: Any) -> Any:
    """The gradient of the tree that `put` got, of that of the tree that it gave."""
    if not c:
        return g
    if isinstance(g, list):
        return [put_backward(child, c.get(i)) for i, child in enumerate(g)]
    found = {name: put_backward(child, c.get(name)) for name, child in g.items()}
    if PART in c:
        found["weight"], found[PART] = low_rank_backward(g["weight"], c[PART])
    return found


def merged(params: Tree) -> Tree:
    """The parameters of a network that computes the same without it (PEFT's `merge_and_unload`)."""
    return put(params, {})[0]
