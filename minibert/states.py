"""What the state of a family with `start` and `step` looks like: found by reading a token or two, not written down.

A state fits if it has the places of one that the family gave for these parameters, and there as many dimensions, of the
same sizes; rows come first, and sizes that grow as tokens are read may be others, the same wherever they were the same.
Whole numbers (positions, bits) are none below 0 where the family's own are none.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from minibert import config as configs
from minibert import generation, signatures, tree
from minibert.config import require, shown
from minibert.errors import InputError

Array = np.ndarray
Like = tuple[Any, ...]  # states of a family, each having read more than the one before


def found(network: ModuleType, p: Any, config: Any) -> Like:
    """States of one row that have read 0, 1 and 2 tokens, and of sources as many as tokens at the end."""
    specs = {name: signatures.parse(text) for name, text in network.inputs(config).items()}
    sourced, ids = generation.WRITTEN in specs, np.zeros((1, 1), np.int64)
    states = []
    for length in (1, 2) if sourced else (2,):
        state = network.start(p, config, _source(specs, config, length) if sourced else {})
        states.append(state)
        for _ in range(length):
            try:
                _, state = network.step(p, config, ids, state)
            except InputError:  # the table has no such place
                return tuple(states)
            states.append(state)
    return tuple(states)


def _source(specs: Mapping[str, signatures.Spec], config: Any, length: int) -> dict[str, Array]:
    sizes = {**dict.fromkeys({dim for spec in specs.values() for dim in spec.dims}, length)}
    sizes |= {name: size for name, size in configs.to_fields(config).items() if name in sizes}
    shapes = {name: signatures.shape(spec, sizes) for name, spec in specs.items() if not spec.optional}
    return {name: np.zeros((1, *shape[1:]), np.int64) for name, shape in shapes.items()}


def check(state: Any, rows: int, like: Like) -> None:
    """InputError, one line, unless the state fits and has so many rows."""
    expected = "expected what `start` or `step` of this model returned"
    require(isinstance(state, dict | list), f"state {shown(state)}: {expected}")
    flat = tree.flatten(state)
    forms = [form for form in like if tree.map(_nothing, form) == tree.map(_nothing, state)]
    if not forms:
        due = tree.flatten(like[-1])
        odd = [f"it lacks {shown(path)}" for path in due if path not in flat]
        odd += [f"it has a foreign {shown(path)}" for path in flat if path not in due]
        raise InputError(f"state: {[*odd, 'its dicts and lists are others'][0]}; {expected}")
    places, sizes = [tree.flatten(form) for form in forms], {}
    for path, array in flat.items():
        own = [form[path] for form in places]
        shape = getattr(array, "shape", type(array).__name__)
        fits = isinstance(array, np.ndarray) and array.ndim == own[0].ndim and array.shape[:1] == (rows,)
        require(fits, f"state: {path!r} is {shape}, expected an array of {own[0].ndim} dimensions and {rows} rows")
        kinds = own[0].dtype.kind in "biu" and array.dtype.kind in "biu"
        require(kinds or array.dtype == own[0].dtype, f"state: {path!r} is {array.dtype}; {expected}")
        for axis, size in enumerate(array.shape[1:], 1):
            seen = tuple(one.shape[axis] for one in own)
            due = sizes.setdefault(seen, size) if len({*seen}) > 1 else seen[0]
            require(size == due, f"state: {path!r} has shape {shape}, expected {due} in place {axis}; {expected}")
        low = array.dtype.kind == "i" and bool((array < 0).any()) and all((one >= 0).all() for one in own)
        require(not low, f"state: {path!r} has numbers below 0; {expected}")


def _nothing(leaf: Any) -> None:
    return None
