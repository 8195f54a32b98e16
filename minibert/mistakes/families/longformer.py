"""Mistakes of Longformer: windows, global tokens and their projections, what padding sees."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, tree, windowed
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

Array = np.ndarray
Tree = dict[str, Any]
QKV = ("query", "key", "value")
INSIDE = r"encode\.encoder\.\d+\.attention"
WINDOWS = rf"{INSIDE}\.windows\.\d+"


def own(*makers: Callable) -> list[Callable]:
    """The makers for Longformer and its kin."""
    return [only("longformer", maker) for maker in makers]


def attending(what: str, edit: Callable[[dict[str, Any]], dict[str, Any]], **fields: Any) -> Callable:
    """`windowed_attention` on other arguments."""
    return swap(what, "windowed_attention", edited(windowed.windowed_attention, edit), INSIDE, **fields)


def seeing(what: str, edit: Callable[[windowed.Sight], dict[str, Array]]) -> Callable:
    """With another Sight."""
    return attending(what, lambda given: {"seen": given["seen"]._replace(**edit(given["seen"]))})


def windows(what: str, size: Callable[[int], int]) -> Callable:
    """With another w, where that is another one."""
    return attending(what, lambda given: {"window": max(1, size(given["window"]))})


# ---- Projections -----------------------------------------------------------------------------------------------------
def _one_set(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    return windowed.windowed_attention.__wrapped__(x, {**p, "global": {name: p[name] for name in QKV}}, **given)


def _one_set_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, g = windowed.windowed_attention_backward.__wrapped__(dy, c)
    both = {name: tree.add(g[name], g["global"][name]) for name in QKV}
    return dx, {**g, **both, "global": tree.map(np.zeros_like, g["global"])}


ONE_SET = Replacement(_one_set, _one_set_backward)


def _far_columns(x: Array, p: Tree, *, seen: windowed.Sight, **given: Any) -> tuple[Array, Tree]:
    """Keys and values of global tokens are k' and v' for everybody: the share of their columns in the context is that
    of a pass whose ordinary projections are those; made as a difference of two gathers.
    """
    heads, c = len(p["query"]["weight"]) // given["width"], {}
    for name in ("key", "value"):
        far, c[name] = layers.projected(x, p["global"], name, heads=heads)
        c[f"far_{name}"], c[f"{name}_gather"] = windowed._picked(far, seen)
    kept = iter((c["far_key"], c["far_value"]))
    y, c["inside"] = _with_picked(lambda own: next(kept), x, p, seen=seen, **given)
    return y, c


def _with_picked(pick: Callable[[Array], Array], x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """`windowed_attention` whose global tokens' keys and values are pick(those that are due)."""
    from minibert.pairs import observing

    def around(f: Callable, args: tuple, constants: dict) -> Any:
        made = f(*args, **constants)
        if f.__name__ == "gather" and constants["positions"] is given["seen"].places and len(found) < 2:
            found.append(pick(made[0]))
            b, h, g, k = found[-1].shape
            return found[-1].swapaxes(1, 2).reshape(b, g, h * k), made[1]
        return made

    found: list[Array] = []
    with observing(around):
        return windowed.windowed_attention.__wrapped__(x, p, **given)
