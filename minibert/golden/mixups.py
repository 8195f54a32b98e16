"""The wrong tensor: what differs from what is due, but is another tensor of the case, the same one turned, or an
elementary function of either (`forms`).

A hook one layer off, a norm's input for its output, query and key under each other's names, a gradient that lies the
other way, probabilities for logits: no arithmetic is wrong, so no known mistake explains it, and the repair is in the
name or in the dump.
"""

import math
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
RELATIONS = ("of another layer", "of another step")
NOTHING = 1e-6  # of what errors are divided by: a gradient that is 0 but for rounding
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
        mixup = _formed(pool, row, np.asarray(given[row.key]), gradients > 1)
        mixed |= {row.key: mixup} if mixup else {}
    for row in bad if mixed else ():
        if row.key not in mixed and (mixup := _as_others(pool, row, given, mixed)):
            mixed[row.key] = mixup
    if gradients > 1:  # one alone may have been written out so, several only if all were
        forms_of = {mixed[row.key].how if row.key in mixed else "" for row in bad if row.key.startswith("gradients/")}
        drop = len(forms_of) > 1
        mixed = {key: one for key, one in mixed.items() if not (drop and one.form and key.startswith("gradients/"))}
    return [mixed[row.key] for row in bad if row.key in mixed]


def _as_others(
    pool: "Pool", row: Row, given: Mapping[str, np.ndarray], mixed: Mapping[str, Mixup]
) -> Mixup | None:
    """What is to its name as others, which are sure, are to theirs, though too little or too near to say it alone."""
    array, entry = np.asarray(given[row.key]), pool.case.entries[row.key]
    bar, own = pool.bar(row.key), np.asarray(pool.case.tensor(row.key), np.float64)
    if not bar or not np.isfinite(array).all():
        return None
    pairs = {_difference(one.key, one.equals) for one in mixed.values() if not one.how or one.how in RELATIONS}
    for a, b in sorted(pairs - {("", "")}):
        parts = re.split(r"([./])", row.key)
        for n in (n for n, part in enumerate(parts) if part == a):
            other = "".join([*parts[:n], b, *parts[n + 1 :]])
            if other in pool.case.entries and pool.case.entries[other].shape == array.shape:
                truth = np.asarray(pool.case.tensor(other))
                size = float(np.abs(truth).max(initial=0))
                within = pool.bar(row.key, other) * (size if size > NOTHING * entry.scale else entry.scale)
                if float(np.abs(array - truth).max(initial=0)) <= within:
                    return Mixup(row.key, other, _relation(row.key, other))
    section = row.key.partition("/")[0]
    words = {one.how for one in mixed.values() if one.form and one.equals == ITSELF and one.key.startswith(section)}
    if row.alone is not None and row.alone <= EXPLAINED and section != "gradients":
        words = set()  # it is made of what is so
    words |= {one.how for one in mixed.values() if one.how.startswith(forms.ROUNDED)}
    with np.errstate(all="ignore"):
        dues = _dues(pool, row.key, array.astype(np.float64), own) if words else ()
        due = next((due for due in dues if due.words in words and due.holds(bar, sure=False)), None)
    if not due and section == "gradients" and len(words) == 1 and np.abs(own).max(initial=0) < NOTHING * entry.scale:
        one = next(key for key, mixup in mixed.items() if mixup.how in words and key.startswith(section))
        times = abs(forms.fitted(np.asarray(given[one]), np.asarray(pool.case.tensor(one))))
        if np.abs(array).max() <= max(1, times) * bar * entry.scale:
            return Mixup(row.key, ITSELF, *words, True)
    return due and Mixup(row.key, ITSELF, due.words, True)


def _difference(key: str, other: str) -> tuple[str, str]:
    """The one part in which two keys differ; ("", "") where it is not one."""
    own, theirs = (re.split(r"[./]", one) for one in (key, other))
    apart = [(a, b) for a, b in zip(own, theirs, strict=False) if a != b]
    return apart[0] if len(own) == len(theirs) and len(apart) == 1 else ("", "")


def harmless(rows: list[Row], mixed: list[Mixup]) -> bool:
    """Whether all that is bad is another tensor, or another form of one, and something that is computed later is right:
    then no arithmetic is wrong. Of outputs something must be right that is made of them, where that can be told.
    """
    keys = {mixup.key for mixup in mixed}
    if mixed and all(mixup.how.startswith(forms.ROUNDED) for mixup in mixed):
        return all(row.key in keys for row in rows if row.status in BAD)  # who goes on with such numbers has others
    keys |= {row.key for row in rows if row.key == "forward/loss" and (row.alone or math.inf) <= EXPLAINED}
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

    def affine(self, key: str, own: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight, bias) of norms within a module."""
        name, found = f"weights/{key.partition('/')[2]}", []
        for other, _, weight in self.others.get(own.shape[-1:], []):
            bias = other.removesuffix("weight") + "bias"
            if other.startswith(name) and other.endswith("weight") and bias in self.case.entries and weight.all():
                found.append((weight, self.case.tensor(bias)))
        return found

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
    for how, reading in _orders(pool.axes, row.key, own) if array.shape == own.shape else ():
        if equal(array, reading.taken(own).reshape(own.shape)):
            return Mixup(row.key, ITSELF, f"viewed as {how} where it had to be transposed to that")
    shapes = [("", array)] + ([("transposed", array.T)] if array.ndim == 2 else [])
    for how, form in shapes:
        equals = [(key, inside) for key, inside, truth in pool.others.get(form.shape, ())
                  if (key != row.key or inside) and equal(form, truth, key) and _nearer(form, truth, own)]  # fmt: skip
        if equals:
            key, inside = min(equals, key=lambda one: _far(row.key, *one))
            return Mixup(row.key, key, ", ".join(filter(None, (inside, how, _relation(row.key, key)))))
    if array.shape == own.shape:
        within = pool.bar(row.key) * float(np.abs(own).max(initial=0))
        for how, back, bits in forms.reordered(array, own, pool.axes.heads):
            if equal(back, own) and forms.enough(own, within, bits=forms.BITS + bits):
                return Mixup(row.key, ITSELF, how)
    return None


def _nearer(given: np.ndarray, other: np.ndarray, own: np.ndarray) -> bool:
    """Whether it is much nearer to another tensor than to its own, where that can be told."""
    return given.shape != own.shape or NEARER * np.abs(given - other).max() <= np.abs(given - own).max()


def _formed(pool: Pool, row: Row, array: np.ndarray, several: bool) -> Mixup | None:
    """What is a function of the tensor, or of others. several: whether other gradients are wrong as well."""
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
    if constant or not np.isfinite(array).all():
        return None
    with np.errstate(all="ignore"):
        for due in _dues(pool, key, array, own):
            if due.holds(bar) and not (several and key.startswith("gradients/") and array.shape != own.shape):
                return Mixup(key, ITSELF, due.words, True)
        if not key.startswith("forward/") or array.size == 1:
            return None
        found = []
        for other, how, truth in pool.computed():
            if other != key and truth.ndim - array.ndim in (0, 1) and truth.size >= array.size:
                size = float(np.abs(truth).max(initial=0))
                truth, bar = truth.astype(np.float64), pool.bar(key, other)
                due = next((due for due in forms.another(pool.known, array, truth, size) if due.holds(bar)), None)
                if due and any(one.words == due.words and one.holds(NEARER * bar, sure=False)
                               for one in forms.another(pool.known, own, truth, size)):  # fmt: skip
                    continue  # what is due is that, too
                found += [(_far(key, other, how), other, ", ".join(filter(None, (how, due.words))))] if due else []
        found = found or list(_sums(pool, key, array, own))
    return Mixup(key, *min(found)[1:], True) if found else None


def _dues(pool: Pool, key: str, array: np.ndarray, own: np.ndarray) -> Iterator[forms.Due]:
    """The forms in which a tensor may be itself."""
    scale = float(np.abs(own).max(initial=0))
    others, affine = (pool.added(key, own), pool.affine(key, own)) if key.startswith("forward/") else ({}, ())
    return forms.itself(pool.known, key, array, own, scale, others, affine)


def _sums(pool: Pool, key: str, array: np.ndarray, own: np.ndarray) -> Iterator[tuple[tuple, str, str]]:
    """(how far-fetched, key, words) where it is the sum, or the difference, of two others."""
    held = [(other, how, np.broadcast_to(truth, array.shape)) for other, how, truth in pool.computed() if other != key
            and truth.ndim == array.ndim and all(a in (1, b) for a, b in zip(truth.shape, array.shape, strict=True))]
    few = slice(0, array.size, max(1, array.size // forms.PROBE))
    probes = np.array([truth.reshape(-1)[few] for _, _, truth in held] or np.zeros((0, 1)))
    for i, (one, how, truth) in enumerate(held):
        for sign, verb in ((1, "plus"), (-1, "minus")):
            rest = sign * (array.reshape(-1)[few] - probes[i])
            near = np.abs(rest - probes).max(-1) <= forms.FAR_OFF * np.abs(array).max()
            for j in (j for j in np.flatnonzero(near) if j != i and (j > i or sign < 0)):
                other, inside, addend = held[j]
                scale = float(max(np.abs(truth).max(), np.abs(addend).max()))
                words = ", ".join(filter(None, (how, f"{verb} {other}", inside)))
                telling = min((truth, addend), key=lambda a: float(np.abs(a).max()))
                due = forms.Due(words, array, truth + sign * addend, scale, 0, telling)
                bar = pool.bar(key, one, other)
                if due.holds(bar) and not due._replace(given=own).holds(NEARER * bar, sure=False):
                    yield _far(key, one, how), one, words


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
    if array.size != math.prod(due):
        return
    for words, reading in _orders(known, key, array):
        yield f"its numbers in the order {words}", reading.taken(array).reshape(due)
    if len(due) > 1:
        yield "its numbers with the first axis fastest, as Fortran has them", array.reshape(due[::-1]).T


def _orders(known: axes.Axes, key: str, array: np.ndarray) -> Iterator[tuple[str, axes.Reading]]:
    """(words, reading) of every order but the case's in which a tensor of this size may lie."""
    orders = known.orders(key)
    for reading in [*orders, *(one._replace(order="BTKH") for one in orders if one.order == "BTHK")]:
        if not reading.own and array.size == math.prod(reading.sizes[letter] for letter in reading.order):
            yield axes.told(reading, ()), reading


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
