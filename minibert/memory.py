"""What a training step holds: every array that the forward pass leaves for the backward, by its place in the cache."""

import inspect
import re
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, buffers, tree
from minibert.config import shown, whole
from minibert.errors import InputError
from minibert.model import Model

MOST = 2**31 - 1  # rows: NumPy has no larger arrays of them, whatever the memory


class Held(NamedTuple):
    """Arrays at one place of the cache, all layers together ("encoder.*.attention"), and their bytes."""

    place: str
    arrays: int
    bytes: int


def activations(model: Any, rows: int, length: int | None, keep: str = "caches") -> list[Held]:
    """What a loss over `rows` x `length` tokens keeps for its backward, largest first; parameters are not counted.

    The forward pass is run, with dropout as configured and 15 % of the positions predicted, and its cache walked; an
    array that several places share is counted at the first. length: None where rows do not differ in length. keep: as
    in `Model.loss`.
    """
    if not isinstance(model, Model):
        raise InputError(f"model {shown(model)}: expected what `minibert.load` returns")
    rows, rng = whole("rows", rows, 1, MOST), np.random.default_rng(0)
    dims = {"B": rows}
    if letters := model.network.lengths(model.config):
        most = batches.longest(model.network, model.config)
        length = whole("length", length, min(4, most or 4), most)
        dims |= {"M": max(1, round(0.15 * length)), **dict.fromkeys(letters, length)}
    batch = batches.example(model.network, model.config, rng, dims)
    buffers.release()  # memory used again may be larger than what stands on it
    cache = model.loss(batch, keep=keep)[1]
    seen = {id(_owner(array)) for array in tree.leaves(model.params)}
    held: dict[str, list[int]] = {}
    for path, array in _arrays("", cache):
        owner = _owner(array)
        if id(owner) not in seen:
            seen.add(id(owner))
            place = held.setdefault(re.sub(r"\.\d+(?=\.|$)", ".*", path).removeprefix("."), [0, 0])
            place[0] += 1
            place[1] += owner.nbytes
    return sorted((Held(place, *sizes) for place, sizes in held.items()), key=lambda h: -h.bytes)


def _arrays(path: str, node: Any) -> Any:
    """(path, array) of every array in a cache."""
    if isinstance(node, np.ndarray):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _arrays(f"{path}.{key}", value)
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _arrays(f"{path}.{i}", value)
    elif inspect.isfunction(node):  # of a layer that is run again: what it reads from around it
        for cell in node.__closure__ or ():
            yield from _arrays(path, cell.cell_contents)


def _owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view shows; `sliding_window_view` puts an object between the two."""
    while True:
        base = array.base
        shown_by = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if not isinstance(shown_by, np.ndarray):
            return array
        array = shown_by
