"""Weights that were not loaded: what stands in their place is random, so no mutant has it.

Where a candidate supplies what goes into a linear layer and what comes out, for more tokens than its kernel has
columns, least squares tell whether any kernel gives that, and which; a table's rows are what it gives for each id. That
is no mistake in arithmetic where it is like nothing of the model: not like what is due, in direction or size, nor what
another tensor gives, and where the weights themselves may be an initialiser's: independent numbers around 0.
"""

import inspect
from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import Any

import numpy as np

from minibert import ops, tree
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, Mutant, in_places
from minibert.mistakes.cover import Cover
from minibert.mistakes.swap import Replacement, Site, edited, swapped
from minibert.mistakes.trials import EXPLAINED
from minibert.mistakes.words import Found

Array = np.ndarray
Weights = dict[str, Array]
WHAT = "weights that are none of the model's"
SURPLUS = 2  # rows more than what is solved for
SMALL = 1e-6  # of the largest: none, in float32
RELATED, SAME = 0.5, 0.9  # correlations with what is due, and with what another tensor gives
NEAR = 1.25  # times: what is of about the size that is due
NAMED = 3  # places, of which each is said
SIGMAS = 5  # deviations that a mean of independent numbers may have from 0
TAILS = 6  # the fourth moment, of which a normal distribution has 3
PARALLEL, WIDTH = 0.99, 8  # the cosine of rows that are the same but for a scale, and how long they must be to tell
CLOSE = 1e-3  # of the largest: what least squares leave of the weights' digits


def unloaded(cover: Cover) -> list[Found]:
    """What of the model computes with weights that are none of the case's, beside what was found before, all of it at
    once; [] where nothing does.
    """
    runs, asked, found = cover.runs, [], {}
    run = runs.like(cover.right.found)
    tables = [array for _, array in tree.items(runs.subject.params) if array.ndim == 2]
    for site, given, unit, wrong in supplied(cover, KINDS) if run else ():
        if site.key in run.calls and site.key not in run.swaps:
            asked.append(site)
            made = _solved(site.name, given, unit, run.calls[site.key][0], tables) if wrong else None
            found |= {site: made} if made else {}
    if not found:
        return []
    at = {site.key: made for site, made in found.items()}
    where = next((where for where, held in in_places(asked) if {*held} == {*found}), None) or _listed([*found])
    silent = f"{GRADIENTS}/.*"  # a kernel may give the same for these tokens and pass another gradient on
    mutant = Mutant(WHAT, partial(swapped, at=at), where, sites=tuple(site.path for site in found), silent=silent)
    return [Found(CATALOGUE[id], mutant) for id in _names(asked, [*found])]


def _names(asked: list[Site], found: list[Site]) -> tuple[str, ...]:
    """What it may be called: all behind the prefix, tables and layers; heads alone; or some of the model."""
    encoding = {site for site in asked if site.local.startswith("encode.")}
    if encoding.isdisjoint(found):
        return ("C08", "C04")
    every = {site for site in encoding if site.layer is not None} < {*found} <= encoding
    return ("C08", "C05") if every else ("C08",)


def supplied(cover: Cover, names: Container[str]) -> Iterator[tuple[Site, Array, float, bool]]:
    """The calls of these ops of which the candidate has what they give, as rows: that, how far rounding may move it,
    and whether it is wrong.
    """
    runs, evidence = cover.runs, cover.evidence
    number = {key: i for i, key in enumerate(evidence.keys)}
    for site in runs.sites:
        held = runs.calls.held.get(site.key, {}).get("")
        i = number.get(f"{FORWARD}/{held.name}") if held and held.parts == 1 else None
        if site.name in names and i is not None and evidence.keys[i] in runs.given:
            unit = EXPLAINED * evidence.scales[i] * evidence.floors[i]
            yield site, _rows(runs.given[evidence.keys[i]]), unit, bool(cover.left[i])


def _solved(name: str, given: Array, unit: float, call: tuple[tuple, dict], tables: list[Array]) -> Replacement | None:
    """The op with weights of its own, where some give these rows and they are like none of the model's."""
    weights_of, others_of = KINDS[name]
    op, (args, constants) = getattr(ops, name), call
    due = _rows(op(*args, **constants)[0])
    if given.shape != due.shape:
        return None
    if _of_one_size(given, due) or _correlation(given, due) > RELATED:
        return None
    weights = weights_of(given, unit, *args, **constants)
    if weights is None or not _drawn(weights["weight"], _bound(op, args, constants)["weight"], tables):
        return None
    others = others_of(tables, *args, **constants)
    return None if any(_correlation(given, y) > SAME for y in others) else edited(op, lambda _: weights)


def _kernel(given: Array, unit: float, x: Array, weight: Array, bias: Array | None = None) -> Weights | None:
    """Kernel and bias that give these rows, where rows enough say that any do: the bias as it is or 0, whichever lets
    the kernel be smaller, for behind a norm a kernel may do what a bias does; else any.
    """
    rows = _rows(x)
    if bias is None:
        kernel = _least(rows, given, unit)
        return None if kernel is None else {"weight": kernel}
    may_be = [(_least(rows, given - offset, unit), offset) for offset in (bias, np.zeros_like(bias))]
    may_be = [(kernel, offset) for kernel, offset in may_be if kernel is not None]
    if may_be:
        kernel, offset = min(may_be, key=lambda item: np.linalg.norm(item[0]))
        return {"weight": kernel, "bias": offset}
    both = _least(np.pad(rows, ((0, 0), (0, 1)), constant_values=1.0), given, unit)
    return None if both is None else {"weight": both[:, :-1], "bias": both[:, -1]}


def _least(rows: Array, given: Array, unit: float) -> Array | None:
    """The least kernel (out, in) that gives these rows within `unit`, where rows enough say that any does."""
    u, s, v = np.linalg.svd(rows, full_matrices=False)
    kept = s > SMALL * s[0]
    along = u[:, kept].T @ given
    if len(rows) - kept.sum() < SURPLUS or np.abs(given - u[:, kept] @ along).max() > unit:
        return None
    return ((v[kept].T / s[kept]) @ along).T


def _of_kernels(tables: list[Array], x: Array, weight: Array, bias: Array | None = None) -> Iterator[Array]:
    """What the model's tensors give, one or two of them, one after the other."""
    rows, kernels = _rows(x), [w for table in tables for w in (table, table.T)]
    once = [rows @ w.T for w in kernels if w.shape[1] == rows.shape[1]]
    yield from (y for y in once if y.shape[1] == len(weight))
    yield from (y @ w.T for y in once for w in kernels if w.shape == (len(weight), y.shape[1]))


def _table(given: Array, unit: float, weight: Array, *, ids: Array, **_: Any) -> Weights | None:
    """The table that gives these rows, where some ids come again."""
    each, first, again = np.unique(ids, return_index=True, return_inverse=True)
    rows = given[first]
    if ids.size - each.size < SURPLUS or np.abs(given - rows[again.reshape(-1)]).max() > unit:
        return None
    table = weight.copy()
    table[each] = rows
    return {"weight": table}


def _of_tables(tables: list[Array], weight: Array, *, ids: Array, **_: Any) -> Iterator[Array]:
    yield from (t[ids.reshape(-1) % len(t)] for t in tables if t.shape[1] == weight.shape[1])


KINDS: dict[str, tuple[Callable, Callable]] = {"linear": (_kernel, _of_kernels), "embedding": (_table, _of_tables)}


def _bound(op: Callable, args: tuple, constants: dict) -> dict[str, Any]:
    return inspect.signature(op).bind(*args, **constants).arguments


def _drawn(new: Array, own: Array, tables: list[Array]) -> bool:
    """Whether an initialiser may have drawn these, and no known numbers were turned round, added to or left out."""
    changed = (new != own).any(1) & new.any(1)
    a, b = (np.asarray(each[changed], np.float64) for each in (new, own))
    deviation = a.std() if a.size else 0.0
    if not deviation or abs(a.mean()) > SIGMAS * deviation / np.sqrt(a.size) or (a**4).mean() > TAILS * deviation**4:
        return False
    of_size, of_own = np.sort(np.abs(a), None), np.sort(np.abs(b), None)
    if np.abs(of_size / of_size[-1] - of_own / (of_own[-1] or 1)).max() <= CLOSE:
        return False  # the same ones in another order
    more = np.linalg.svd(a - b, compute_uv=False)
    if 2 * (more > CLOSE * more[0]).sum() <= len(more) or _correlation(np.abs(a), np.abs(b)) > RELATED:
        return False
    kernels = [*tables, *(table.T for table in tables), b.T]
    return not any(_parallel(rows, kernel) for rows in (a, a.T) for kernel in kernels)


def _parallel(rows: Array, others: Array) -> bool:
    """Whether half of the rows are some of the others but for a scale."""
    if rows.shape[1] != others.shape[1] or rows.shape[1] < WIDTH:
        return False
    x, y = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-300) for each in (rows, others))
    return bool(2 * (np.abs(x @ y.T).max(1) > PARALLEL).sum() >= len(rows))


def _correlation(given: Array, other: Array) -> float:
    """How alike two tensors are but for a scale and a row that is added to all: from 0 to 1."""
    a, b = given - given.mean(0), other - other.mean(0)
    return abs(float((a * b).sum())) / (float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0)


def _of_one_size(given: Array, due: Array) -> bool:
    """Whether two tensors are as large, but for a row that is added to all, or one is nothing else."""
    a, b = (float(np.linalg.norm(y - y.mean(0))) for y in (given, due))
    return b / NEAR <= a <= b * NEAR or a <= SMALL * b


def _rows(a: Array) -> Array:
    return np.asarray(a, np.float64).reshape(-1, np.shape(a)[-1])


def _listed(found: list[Site]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(site.words for site in found[:NAMED]) + more
