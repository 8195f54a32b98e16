"""Which layer is read: one state of each token made of those behind all layers (Peters et al. 2018, arXiv 1802.05365).

    h = γ Σ_k s_k h^k, s = softmax(w), h^0 what enters the first layer                                              (1)

A sub-tree "mix" at the top: weight (w, one for each of the 1 + L states), gamma (γ). w is 0 and γ 1 at the start, which
is the mean; a state that is left out has w = -1e9, as in AllenNLP's code, so that s is 0 to the bit: with one state
left it is that layer. What the family makes of the last state (a pooler) it then makes of h.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.config import require

Array = np.ndarray
Tree = dict[str, Any]

PART = "mix"
LEFT_OUT = -1e9
READ, MADE, POOLED = "hidden_states", "last_hidden_state", "pooler_output"


def added(params: Tree, count: int, only: tuple[int, ...] = ()) -> Tree:
    """The parameters, the same arrays, with (1) over `count` states, or those of them in `only`."""
    beyond = [k for k in only if not 0 <= k < count]
    require(not beyond, f"layer {''.join(map(str, beyond[:1]))}: there are 0, the embeddings, to {count - 1}")
    kind = tree.leaves(params)[0].dtype
    weight = np.array([0.0 if not only or k in only else LEFT_OUT for k in range(count)], kind)
    return {**params, PART: {"weight": weight, "gamma": np.ones(1, kind)}}


def shapes(network: Tree, size: int) -> Tree:
    """The network's shapes with a mix of so many states."""
    return {**network, PART: {"weight": (size,), "gamma": (1,)}}


def traced(network: Tree) -> list[tuple[str, str, str]]:
    """(name, path in the cache, place) of the mix."""
    return [(PART, f"{PART}.scalar_mix", "encoder")]


def shares(params: Tree) -> Array:
    """s: how much of each state is in the mix."""
    e = np.exp(params[PART]["weight"] - params[PART]["weight"].max())
    return e / e.sum()


def called(shares: Iterable[float]) -> dict[str, float]:
    """The shares by what they are of."""
    return {f"layer {k}" if k else "embeddings": float(share) for k, share in enumerate(shares)}


def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """See `minibert.adapters`."""
    own = leaves.get(f"{PART}.weight")
    return {f"{PART}.weight": own.shape, f"{PART}.gamma": (1,)} if np.ndim(own) == 1 else {}


def put(p: Tree, inputs: Tree) -> tuple[Tree, Tree]:
    """The tree without it."""
    return {name: child for name, child in p.items() if name != PART}, {"p": p[PART], "pooler": p.get("pooler")}


def after(out: Tree, c: Tree) -> Tree:
    """The outputs with (1) in the place of the last state, and of what is made of it."""
    states = out.get(READ, ())
    fits = len(states) == len(c["p"]["weight"]) and all(h.shape == out[MADE].shape for h in states)
    count = len(c["p"]["weight"])
    require(fits, f"{len(states)} states behind layers, and {count} weights to mix them: as many are due")
    y, c["scalar_mix"] = ops.scalar_mix(np.stack(states), **c["p"])  # (1)
    found = {**out, MADE: y}
    if POOLED in out:
        found[POOLED], c["pooled"] = layers.pooler(y, c["pooler"])
    return found


def after_backward(dout: Tree, c: Tree) -> Tree:
    """The cotangents of the network's outputs; the gradients of (1) and of the pooler stay in c."""
    dy, dout = dout[MADE], dict(dout)
    if "pooled" in c:
        dh, c["g_pooler"] = layers.pooler_backward(dout[POOLED], c["pooled"])
        dy, dout[POOLED] = dy + dh, np.zeros_like(dout[POOLED])
    dstates, c["g"] = ops.scalar_mix_backward(dy, c["scalar_mix"])
    given = dout.get(READ)
    dout[READ] = [*dstates] if given is None else [a + b for a, b in zip(dstates, given, strict=True)]
    return {**dout, MADE: np.zeros_like(dy)}


def put_backward(g: Tree, c: Tree) -> Tree:
    """The network's gradient, with those of the mix and of the pooler over it."""
    own = {"pooler": c["g_pooler"]} if "pooled" in c else {}
    return {**g, **own, PART: c["g"]}
