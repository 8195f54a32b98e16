"""Attention with fewer heads than the configuration says: the tree decides (`layers.self_attention` counts rows).

In a published config.json FIELD says which heads are gone, {layer: [head, …]}; of those that are left nothing follows
from which they were.
"""

import re
from typing import Any

import numpy as np

from minibert.config import require, shown

PARTS = ("query", "key", "value", "output")
FIELD = "pruned_heads"
Shapes = dict[str, tuple[int, ...]]


def stand(leaves: dict[str, Any], shapes: Shapes, heads: int | None) -> Shapes:
    """The shapes, by path, of query, key, value and output where all of them have fewer heads than `shapes` says, at
    least one: as many as the query's rows make. heads: how many there are by the configuration; None: not known.
    """
    found: Shapes = {}
    for owner, due in _owners(shapes).items() if heads else ():
        rows = np.shape(leaves.get(f"{owner}.query.weight"))[:1]
        if rows and 0 < rows[0] < due and rows[0] * heads % due == 0:
            found |= _of_rows(owner, rows[0], shapes)
    return found


def _owners(shapes: Shapes) -> dict[str, int]:
    """The rows of the query of each sub-tree that attends."""
    found = {path.rpartition(".query.")[0]: due[0] for path, due in shapes.items() if path.endswith(".query.weight")}
    return {owner: due for owner, due in found.items() if all(f"{owner}.{part}.weight" in shapes for part in PARTS)}


def _of_rows(owner: str, rows: int, shapes: Shapes) -> Shapes:
    names = (f"{owner}.{part}.{leaf}" for part in PARTS[:3] for leaf in ("weight", "bias"))
    out = f"{owner}.output.weight"
    return {name: (rows, *shapes[name][1:]) for name in names if name in shapes} | {out: (shapes[out][0], rows)}


# ---- Files -----------------------------------------------------------------------------------------------------------
def _numbered(shapes: Shapes) -> dict[str, str]:
    """{number of a layer: its attention} where one stack of layers attends to itself; else none."""
    found = [match for owner in _owners(shapes) if (match := re.fullmatch(r"(\w+)\.(\d+)\.attention", owner))]
    return {match[2]: match[0] for match in found} if len({match[1] for match in found}) == 1 else {}


def said(leaves: dict[str, Any], shapes: Shapes, heads: int | None) -> dict[str, list[int]]:
    """FIELD of a tree: as many heads of a layer as are gone, the first ones. InputError where no layer's number says
    whose they are.
    """
    narrow, layers = stand(leaves, shapes, heads), _numbered(shapes)
    gone = {}
    for owner, due in _owners(shapes).items():
        if f"{owner}.query.weight" in narrow:
            number = next((number for number, path in layers.items() if path == owner), None)
            require(number is not None, f"{owner} has fewer heads than the config says: no published file can say so")
            gone[number] = [*range(heads - narrow[f"{owner}.query.weight"][0] * heads // due)]
    return gone


def due(field: Any, shapes: Shapes, heads: int | None) -> Shapes:
    """The shapes of a tree without the heads that FIELD names; InputError for what is none."""
    layers, rows, found = _numbered(shapes), _owners(shapes), dict(shapes)
    fits = isinstance(field, dict) and field.keys() <= layers.keys() and bool(heads)
    require(fits, f"{FIELD} is {shown(field)}: expected lists of heads, by the number of the layer")
    for number, gone in field.items():
        whole = isinstance(gone, list) and all(type(h) is int and 0 <= h < heads for h in gone)
        left = heads - len({*gone}) if whole else 0
        require(left > 0, f"{FIELD} of layer {number} is {shown(gone)}: expected some, not all, of 0 to {heads - 1}")
        if gone:
            found |= _of_rows(layers[number], rows[layers[number]] * left // heads, shapes)
    return found
