"""The wrong tensor: what differs from what is due, but is another tensor of the case, the same one turned, or an
elementary function of either (`forms`).

A hook one layer off, a norm's input for its output, query and key under each other's names, a gradient that lies the
other way, probabilities for logits: no arithmetic is wrong, so no known mistake explains it, and the repair is in the
name or in the dump.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minibert import families, objective, trace
from minibert.golden import axes, compare, forms
from minibert.golden.compare import BAD, EXPLAINED, Row
from minibert.golden.subject import Subject, observe, row_shape
from minibert.pairs import PAIRS, observing

NEARER = 8  # times that another tensor must be nearer than the one that is due
LOW = 0.01  # a floor beyond which many a tensor is like another
SCALAR = 1e-5  # of a single number, the floor above which equality says little
ITSELF = "itself"
MOST = 24  # tensors that are held against all forms, in the order in which they are computed


class Mixup(NamedTuple):
    """key: the case's name of what was given; equals: what it is; how: as what, in words, "" if just that; form:
    whether it is so but for an elementary function.
    """

    key: str
    equals: str
    how: str
    form: bool = False

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
    pool = Pool(case, dtype, _pool(case, subject))
    mixed, left = {}, []
    for row in bad:
        array = np.asarray(given[row.key])
        mixup = _of(pool, row, array)
        mixed |= {row.key: mixup} if mixup else {}
        if not mixup and (row.alone is None or row.alone > EXPLAINED):
            left.append(row)
    gradients = sum(row.key.startswith("gradients/") for row in bad)
    for row in [row for row in compare.causal(rows) if row in left][:MOST]:
        mixup = _formed(pool, row, np.asarray(given[row.key]), gradients == 1)
        mixed |= {row.key: mixup} if mixup else {}
    return [mixed[row.key] for row in bad if row.key in mixed]


def harmless(rows: list[Row], mixed: list[Mixup]) -> bool:
    """Whether all that is bad is another tensor, or another form of one, and something that is computed later is right:
    then no arithmetic is wrong. Of outputs something must be right that is made of them, where that can be told.
    """
    keys = {mixup.key for mixup in mixed}
    order = [row for row in compare.causal(rows) if row.status not in ("missing", "exempt")]
    last = max((i for i, row in enumerate(order) if row.status in BAD), default=len(order))
    if not all(row.key in keys for row in rows if row.status in BAD):
        return False
    later = [row for row in order[last + 1 :] if row.status == "right"]
    if any(mixup.how == forms.LOG_SOFTMAX for mixup in mixed):
        return False  # a loss of them is right as well
    if any(mixup.form and mixup.key.startswith("gradients/") for mixup in mixed):
        later = [row for row in later if row.key.startswith("steps/")]  # which alone are made of gradients
    alone = any(row.alone is not None for row in order)
    if any(mixup.form for mixup in mixed) and not alone:
        return False
    shown = alone and all(_made_of(row.key) for row in order[last : last + 1])
    if not shown or any(mixup.how == forms.MASK for mixup in mixed):
        return bool(later)
    return any(row.alone is not None and row.alone > EXPLAINED for row in later)


def _made_of(key: str) -> bool:
    """Whether a row behind it tells, by what its own block gives, that it is made of this."""
    return key.startswith("forward/") and not key.startswith("forward/loss")


class Pool:
    """All that a tensor may be instead. others: by shape (key, how, array)."""

    def __init__(self, case: Any, dtype: str, held: Iterator[tuple[str, str, np.ndarray]]):
        self.case, self.axes = case, axes.Axes(case)
        self.floors = {key: compare.floor(entry, dtype) or 0.0 for key, entry in case.entries.items()}
        self.others: dict[tuple[int, ...], list[tuple[str, str, np.ndarray]]] = {}
        for key, how, array in held:
            self.others.setdefault(array.shape, []).append((key, how, array))

    @cached_property
    def known(self) -> forms.Known:
        """What forms are made with."""
        return forms.Known.of(self.case, self.axes)

    def bar(self, *keys: str) -> float:
        """The error up to which rounding explains these, over their scale; 0 where there is no floor."""
        return EXPLAINED * min(max(self.floors.get(key, 0.0) for key in keys), LOW)

    def computed(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Those of the forward pass."""
        return (one for held in self.others.values() for one in held if one[0].startswith("forward/"))

    def added(self, key: str, own: np.ndarray) -> dict[str, np.ndarray]:
        """By name what may be missing of a tensor, or be too much: biases and other outputs."""
        name, found = key.partition("/")[2], {}
        for other, _, array in self.others.get(own.shape[-1:], []):
            if other.startswith("weights/") and other.endswith("bias"):
                mine = other.removeprefix("weights/").startswith(name)
                found.setdefault("its bias" if mine else other, array)
        found = dict(sorted(found.items(), key=lambda item: item[0] != "its bias"))
        for other, how, array in self.computed():
            fits = array.ndim == own.ndim and all(a in (1, b) for a, b in zip(array.shape, own.shape, strict=True))
            if fits and other != key:
                found[f"{other}{f' {how}' if how else ''}"] = array
        return found


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


def _of(pool: Pool, row: Row, array: np.ndarray) -> Mixup | None:
    """What is another tensor, or the same turned."""
    floor = pool.floors[row.key]
    if not floor or not np.isfinite(array).all() or not array.size or (array.size == 1 and floor > SCALAR):
        return None
    if array.size > 1 and (array == array.flat[0]).all():
        return None

    def equal(given: np.ndarray, truth: np.ndarray, *keys: str) -> bool:
        within = pool.bar(row.key, *keys) * float(np.abs(truth).max(initial=0))
        alike = bool(within) and given.shape == truth.shape and float(np.abs(given - truth).max()) <= within
        return alike and (truth.size == 1 or forms.enough(truth, within, bits=forms.EQUAL_BITS))

    own = np.asarray(pool.case.tensor(row.key))
    if (row.ratio or np.inf) < NEARER:
        return None
    for how, turned in _turned(pool.axes, row.key, array, own.shape):
        if equal(turned, own):
            return Mixup(row.key, ITSELF, how)
    shapes = [("", array)] + ([("transposed", array.T)] if array.ndim == 2 else [])
    for how, form in shapes:
        equals = [(key, inside) for key, inside, truth in pool.others.get(form.shape, ())
                  if (key != row.key or inside) and equal(form, truth, key)]  # fmt: skip
        if equals:
            key, inside = min(equals, key=lambda one: _far(row.key, *one))
            return Mixup(row.key, key, ", ".join(filter(None, (inside, how, _relation(row.key, key)))))
    return None


def _formed(pool: Pool, row: Row, array: np.ndarray, single: bool) -> Mixup | None:
    """What is a function of the tensor, or of another. single: whether no other gradient is wrong."""
    bar, key = pool.bar(row.key), row.key
    own = np.asarray(pool.case.tensor(key), np.float64)
    if not bar or not array.size or (array.size == 1 and bar > EXPLAINED * SCALAR) or (row.ratio or np.inf) < NEARER:
        return None
    array = array.astype(np.float64)
    scale = float(np.abs(own).max(initial=0))
    if key.endswith("scores"):
        probs = key.replace("scores", "probs")
        words = forms.with_mask(array, own, scale, pool.case.tensor(probs) if probs in pool.case.entries else None, bar)
        if words:
            return Mixup(key, ITSELF, words, True)
    constant = array.size > 1 and (array == array.flat[0]).all()
    state = key.startswith("steps/") and array.size > 1
    if constant or state or not np.isfinite(array).all():
        return None
    if key.startswith("gradients/") and not single:
        return None
    with np.errstate(all="ignore"):
        for due in forms.itself(pool.known, key, array, own, scale, pool.added(key, own)):
            if due.holds(bar):
                return Mixup(key, ITSELF, due.words, True)
        if not key.startswith("forward/") or array.size == 1:
            return None
        found = []
        for other, how, truth in pool.computed():
            if other != key and truth.ndim - array.ndim in (0, 1) and truth.size >= array.size:
                size = float(np.abs(truth).max(initial=0))
                due = next((due for due in forms.another(pool.known, array, truth.astype(np.float64), size)
                            if due.holds(pool.bar(key, other))), None)  # fmt: skip
                found += [(_far(key, other, how), other, ", ".join(filter(None, (how, due.words))))] if due else []
    return Mixup(key, *min(found)[1:], True) if found else None


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
