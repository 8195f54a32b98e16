"""Batches of any family: how many rows they have, how long each is, and rows cut to the longest among them.

Which dimension of which array differs from row to row is said by data: a family's `lengths` names the ragged letters,
the specs of its inputs and labels say where each stands.
"""

import functools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from minibert import objective, signatures, tree

Array = np.ndarray
Batch = dict[str, Any]
PADDING = 100  # tokens computed for nothing that cost about as much as one more batch (measured with MiniLM)
TOKENS = 8192  # of a batch, padding included


@functools.lru_cache(maxsize=64)
def specs(network: ModuleType, config: Any) -> dict[str, signatures.Spec]:
    """The Spec of every input and label, under each of its spellings."""
    found = {**network.inputs(config), **objective.labels(network, config)}
    spelled = {other: found[name] for other, name in getattr(network, "SPELLINGS", {}).items() if name in found}
    return {name: signatures.parse(text) for name, text in {**found, **spelled}.items()}


def count(batch: Mapping[str, Any]) -> int:
    """How many rows a batch has: every array has them in front."""
    return len(next(array for name, held in batch.items() if name != "dropout" for array in tree.leaves(held)))


def longest(network: ModuleType, config: Any) -> int | None:
    """How long a row may be along the first ragged letter; None where all rows are of one size, or have no end."""
    return next((most for _, most in network.lengths(config).values()), None)


def alike(sizes: Sequence[int], most: int) -> list[list[int]]:
    """The rows of these sizes in batches of at most `most` and about TOKENS, the longest first: a batch ends before its
    padding would be more than PADDING.
    """
    found: list[list[int]] = [[]]
    padding = 0
    for row in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        batch = found[-1]
        longest = sizes[batch[0]] if batch else sizes[row]
        padding += longest - sizes[row]
        if padding > PADDING or len(batch) == most or (batch and (len(batch) + 1) * longest > TOKENS):
            found.append(batch := [])
            padding = 0
        batch.append(row)
    return found if found[0] else []


def lengths(network: ModuleType, config: Any, batch: Mapping[str, Any]) -> dict[str, Array]:
    """For each ragged letter, how long each row is, (B,): to the last place that is there, all of it where the input
    that says so is absent; of a row of several texts the longest of them.
    """
    known, found = specs(network, config), {}
    spellings = getattr(network, "SPELLINGS", {})
    for letter, (name, _) in network.lengths(config).items():
        given = next((array for key, array in batch.items() if spellings.get(key, key) == name), None)
        axes = [i for i, dim in enumerate(known[name].of(given)) if dim == letter] if given is not None else []
        if axes:
            there = np.moveaxis(np.asarray(given) != 0, axes[-1], -1)  # of queries and keys the keys
            there = there.reshape(len(given), -1, there.shape[-1]).any(1)  # of several texts, or queries, the longest
            found[letter] = np.where(there.any(1), there.shape[1] - there[:, ::-1].argmax(1), 0)
            continue
        found[letter] = np.full(count(batch), dims(network, config, batch).get(letter, 0))
    return found


def taken(network: ModuleType, config: Any, batch: Mapping[str, Array], rows: Array) -> Batch:
    """These rows, every array cut along its ragged letters to the longest of them."""
    chosen = {name: tree.map(lambda array: array[rows], held) for name, held in batch.items()}
    most = {letter: int(sizes.max()) for letter, sizes in lengths(network, config, chosen).items()}
    known = specs(network, config)

    def cut(name: str, held: Any) -> Any:
        def ends(array: Array) -> tuple[slice, ...]:
            return tuple(slice(most.get(dim)) for dim in known[name].of(array) if dim != "...")

        return tree.map(lambda array: np.ascontiguousarray(array[ends(array)] if name in known else array), held)

    return {name: cut(name, held) for name, held in chosen.items()}


def by_length(
    network: ModuleType, config: Any, batch: Mapping[str, Array], *, longest_first: bool = False
) -> Array:
    """The rows' numbers in the order of their lengths along the first ragged letter; equals as they stood."""
    sizes = next(iter(lengths(network, config, batch).values()), None)
    if sizes is None:
        return np.arange(count(batch))
    return np.argsort(-sizes if longest_first else sizes, kind="stable")


def dims(network: ModuleType, config: Any, batch: Mapping[str, Any]) -> dict[str, int]:
    """The size of each letter that the specs of a batch's arrays name."""
    known = specs(network, config)
    named = ((known[name].of(array), np.shape(array)) for name, held in batch.items() if name in known
             for array in tree.leaves(held))  # fmt: skip
    return {dim: size for dims, shape in named for dim, size in zip(dims, shape, strict=False) if len(dim) == 1}


def example(network: ModuleType, config: Any, rng: np.random.Generator, sizes: dict[str, int] | None = None) -> Batch:
    """The network's example, with labels that its terms' heads draw where it has none; sizes: by letter."""
    batch = network.example(rng, config, sizes)
    if hasattr(network, "loss"):
        return batch
    there = {**dims(network, config, batch), **(sizes or {})}
    rows = {letter: np.asarray(of) for letter, of in lengths(network, config, batch).items()}
    for term in network.terms(config).values():
        if not objective.asking(term).keys() <= batch.keys():
            drawn = term.head.draw(rng, there, rows, **term.sizes)
            inputs = term.inputs.values()
            batch |= {name if name in inputs else f"{term.prefix}{name}": array for name, array in drawn.items()}
    return batch


def inputs(network: ModuleType, config: Any, rng: np.random.Generator) -> Batch:
    """What the network's example has of its inputs alone."""
    known = network.inputs(config)
    return {name: array for name, array in example(network, config, rng).items() if name in known}


def size(network: ModuleType, config: Any, batch: Mapping[str, Array]) -> int:
    """The tokens of a batch: the sum of its rows' lengths; its rows where no letter is ragged."""
    found = lengths(network, config, batch)
    return int(sum(sizes.sum() for sizes in found.values())) if found else count(batch)
