"""Steps that touch a few rows of large tables: computed on these rows alone.

A family says which tables a batch reads row by row (`touched`); a step then takes the rows of its words out, computes
gradient and update as ever, and puts them back. Rows that no word of the step names would have had gradient 0 and
stayed as they are (`optim.ROWWISE`), so that no bit of the tables depends on it.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert import objective, optim, ranks, tree
from minibert.model import Model

Batch = dict[str, Any]
Rows = dict[str, np.ndarray]  # the rows of each table, by its path


class Part(NamedTuple):
    """A model with a few rows of its tables: what a step asks of a `Model`."""

    network: Any
    config: Any
    params: Any

    def loss(self, batch: Batch, denominators: dict[str, float], keep: str) -> tuple[np.ndarray, Any]:
        return objective.loss(self.network, self.params, self.config, batch, denominators=denominators, keep=keep)

    def loss_backward(self, cache: Any) -> Any:
        return objective.loss_backward(cache)


def applies(network: Any, optimizer: str, decay: float) -> bool:
    """Whether untouched rows stay as they are."""
    return hasattr(network, "touched") and optimizer in optim.ROWWISE and decay == 0


def cut(model: Model, parts: list[Batch]) -> tuple[Part, list[Batch], Rows]:
    """(the model with these rows of its tables, the batches with their places in the place of ids, which rows they
    are); what is in no such table is shared with the model.
    """
    found: Rows = {}
    flat, parts = tree.flatten(model.params), [dict(part) for part in parts]
    for tables, fields in model.network.touched(model.config):
        places = [(part, field) for part in parts for field in fields]
        known = [np.asarray(part[field]) for part, field in places]
        here = np.unique(np.concatenate([array.reshape(-1) for array in known]))
        ids = np.unique(np.concatenate(ranks.group().gathered(here)))  # every rank's, so that all have the same rows
        ids = ids[ids >= 0]  # what is ignored is below
        for (part, field), array in zip(places, known, strict=True):
            part[field] = np.where(array >= 0, np.searchsorted(ids, array), array)
        found |= dict.fromkeys(tables, ids)
    return Part(model.network, model.config, taken(flat, found)), parts, found


def taken(flat: Any, rows: Rows) -> Any:
    """A tree with these rows of its tables, copied."""
    return tree.unflatten({path: a[rows[path]] if path in rows else a for path, a in tree.flatten(flat).items()})


def put(target: Any, source: Any, rows: Rows) -> None:
    """Writes rows that were taken back to where they came from."""
    whole = tree.flatten(target)
    for path, array in tree.items(source):
        if path in rows:
            whole[path][rows[path]] = array
