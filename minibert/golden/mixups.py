"""The wrong tensor: what differs from what is due, but is another tensor of the case, or the same one turned.

A hook one layer off, a norm's input for its output, query and key under each other's names, a gradient that lies the
other way: no arithmetic is wrong, so no known mistake explains it, and the repair is in the name or in the dump.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert import families, objective, trace
from minibert.golden import axes, compare
from minibert.golden.compare import BAD, EXPLAINED, Row
from minibert.golden.subject import Subject, observe, row_shape
from minibert.pairs import PAIRS, observing

NEARER = 8  # times that another tensor must be nearer than the one that is due
LOW = 0.01  # a floor beyond which many a tensor is like another
SCALAR = 1e-5  # of a single number, the floor above which equality says little


class Mixup(NamedTuple):
    """key: the case's name of what was given; equals: what it is; how: as what, in words, "" if just that."""

    key: str
    equals: str
    how: str

    def __str__(self) -> str:
        return f"{self.key} is {self.equals}{f', {self.how}' if self.how else ''}"


def found(
    case: Any, rows: list[Row], given: Mapping[str, np.ndarray], dtype: str, subject: Subject | None = None
) -> list[Mixup]:
    """Those among the bad rows. given: by key, in whatever shape; subject: the case's, whose inner tensors are looked
    at too.
    """
    bad = [row for row in rows if row.status in BAD and row.key in given]
    if not bad:
        return []
    known = axes.Axes(case)
    others: dict[tuple[int, ...], list[tuple[str, str, np.ndarray]]] = {}
    for key, how, array in _pool(case, subject):
        others.setdefault(array.shape, []).append((key, how, array))
    return [mixup for row in bad if (mixup := _of(case, known, row, np.asarray(given[row.key]), dtype, others))]


def harmless(rows: list[Row], mixed: list[Mixup]) -> bool:
    """Whether all that is bad is another tensor, and something that is computed later is right: then no arithmetic is
    wrong.
    """
    keys = {mixup.key for mixup in mixed}
    order = [row for row in compare.causal(rows) if row.status not in ("missing", "exempt")]
    last = max((i for i, row in enumerate(order) if row.status in BAD), default=len(order))
    return all(row.key in keys for row in rows if row.status in BAD) and any(
        row.status == "right" for row in order[last + 1 :]
    )


def _pool(case: Any, subject: Subject | None) -> Iterator[tuple[str, str, np.ndarray]]:
    """(key, how, array) of all that a tensor may be instead, the case's own first."""
    seen = set()
    for key, entry in case.entries.items():
        if np.dtype(entry.dtype).kind == "f":
            seen.add(key)
            yield key, "", case.tensor(key)
    if subject is None:
        return
    for key, array in observe(subject, ()).items():
        if key not in seen:
            yield key, "which the case does not hold", array
    yield from _inside(subject)


def _inside(subject: Subject) -> Iterator[tuple[str, str, np.ndarray]]:
    """What goes into each norm and comes out of each op that has no name of its own, in its published shape."""
    module, entering = families.family(subject.family), {}

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        result = f(*args, **constants)
        if f.__name__ in PAIRS and f.__name__.endswith("norm") and args:
            entering[id(result[1])] = args[0]
        return result

    with observing(noted), trace.recording() as record:
        cache = objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)[1]
    lead = row_shape(module, subject.config, subject.batches[0])
    named = {path.partition(":")[0]: (name, kind) for name, path, kind, *_ in module.activations(subject.config)}
    for path, event in record.named(cache).items():
        owner = next((start for start in _starts(path) if start in named), None)
        if owner is None or id(event.cache) not in entering:
            continue
        name, kind = named[owner]
        array = np.asarray(entering[id(event.cache)])
        array = array.reshape(*lead, -1) if kind == "rows" else array
        yield f"forward/{name}", "before its norm", array


def _starts(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _of(
    case: Any, known: axes.Axes, row: Row, array: np.ndarray, dtype: str, others: Mapping[tuple[int, ...], list]
) -> Mixup | None:
    floor = compare.floor(case.entries[row.key], dtype)
    if not floor or not np.isfinite(array).all() or not array.size or (array.size == 1 and floor > SCALAR):
        return None
    if array.size > 1 and (array == array.flat[0]).all():
        return None
    bar = EXPLAINED * min(floor, LOW)

    def equal(given: np.ndarray, truth: np.ndarray) -> bool:
        scale = float(np.abs(truth).max(initial=0))
        return bool(scale) and given.shape == truth.shape and float(np.abs(given - truth).max()) <= bar * scale

    own = np.asarray(case.tensor(row.key))
    off = (row.ratio or np.inf) * floor
    if off < NEARER * floor:
        return None
    for how, turned in _turned(known, row.key, array, own.shape):
        if equal(turned, own):
            return Mixup(row.key, "itself", how)
    forms = [("", array)] + ([("transposed", array.T)] if array.ndim == 2 else [])
    for how, form in forms:
        equals = [(key, inside) for key, inside, truth in others.get(form.shape, ())
                  if (key != row.key or inside) and equal(form, truth)]  # fmt: skip
        if equals:
            key, inside = min(equals, key=lambda one: _far(row.key, *one))
            return Mixup(row.key, key, ", ".join(filter(None, (inside, how, _relation(row.key, key)))))
    return None


def _turned(
    known: axes.Axes, key: str, array: np.ndarray, due: tuple[int, ...]
) -> Iterator[tuple[str, np.ndarray]]:
    """(words, array) of a tensor with its axes in other orders."""
    if array.ndim == len(due) == 2 and array.shape == due[::-1]:
        yield "transposed", array.T
    if array.shape == due and array.ndim > 2:
        for a, b, words in ((-1, -2, "its last two axes swapped"), (0, 1, "its first two axes swapped")):
            turned = array.swapaxes(a, b)
            if turned.shape == due:
                yield words, turned
    for reading in known.orders(key):
        if array.size == int(np.prod([reading.sizes[letter] for letter in reading.order])) and not reading.own:
            yield f"its numbers in the order {axes.told(reading, ())}", reading.taken(array.reshape(-1)).reshape(due)


def _far(key: str, other: str, how: str) -> tuple:
    """How far-fetched it is that one tensor is another."""
    same = _plain(key) == _plain(other)
    return (key.partition("/")[0] != other.partition("/")[0], bool(how), not same, abs(len(key) - len(other)))


def _plain(key: str) -> str:
    return re.sub(r"\d+", "#", key)


def _relation(key: str, other: str) -> str:
    """What the other one is to it, in words; "" where its name says all."""
    (section, name), (where, theirs) = key.split("/", 1), other.split("/", 1)
    if section == where == "forward" and key != other and _plain(key) == _plain(other):
        return "of another layer"
    if section == "steps" and where == "weights":
        return "as it was before the first step"
    if section == "steps" and where == "steps" and name.partition("/")[2] == theirs.partition("/")[2]:
        return "of another step"
    if {section, where} == {"forward", "gradients"} and name == theirs:
        return "the gradient of it" if where == "gradients" else "not its gradient"
    return ""
