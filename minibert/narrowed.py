"""Attention with fewer heads than the configuration says: the tree decides (`layers.self_attention` counts rows)."""

from typing import Any

import numpy as np

PARTS = ("query", "key", "value", "output")


def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]], heads: int | None) -> dict[str, tuple[int, ...]]:
    """The shapes, by path, of query, key, value and output where all of them have fewer heads than `shapes` says, at
    least one: as many as the query's rows make. heads: how many there are by the configuration; None: not known.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path, due in shapes.items():
        owner, _, last = path.rpartition(".query.")
        if not heads or last != "weight" or not all(f"{owner}.{part}.weight" in shapes for part in PARTS):
            continue
        rows = np.shape(leaves.get(path))[:1]
        if rows and 0 < rows[0] < due[0] and rows[0] * heads % due[0] == 0:
            for part in PARTS[:3]:
                for leaf in ("weight", "bias"):
                    if (name := f"{owner}.{part}.{leaf}") in shapes:
                        found[name] = (rows[0], *shapes[name][1:])
            out = f"{owner}.output.weight"
            found[out] = (shapes[out][0], rows[0])
    return found
