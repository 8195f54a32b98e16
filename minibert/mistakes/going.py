"""Mistakes of going on from token to token, another start and step in the place of a family's (`Mistake.going`), and of
what is written (`Mistake.writing`), held against cases of the kind "generation".
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minibert import tree
from minibert.golden import compare
from minibert.golden.case import Case
from minibert.golden.kinds import generation
from minibert.golden.subject import Tensors
from minibert.mistakes import words
from minibert.mistakes.catalogue import CATALOGUE, Mistake, Mutant
from minibert.mistakes.words import Diagnosis, Found

Array = np.ndarray
Tree = dict[str, Any]
Going = generation.Going
Maker = Callable[[ModuleType, int], Going]  # of a network and the length of the prompts
Way = Callable[..., Tensors]  # of a case, and a precision: what it holds, by another start and step or otherwise chosen

HELD: WeakKeyDictionary[Case, dict[tuple[str, str], tuple[Any, Tensors]]] = WeakKeyDictionary()  # see `_held`


# ---- Makers ----------------------------------------------------------------------------------------------------------
def begun(inputs: Callable[[Tree], Tree], then: Callable[[Tree], Tree] = lambda state: state) -> Callable:
    """The prompts read otherwise: inputs(those given), then(the state)."""
    return lambda network, _: (lambda p, config, given: then(network.start(p, config, inputs(given))), network.step)


def unmoved(network: ModuleType, length: int) -> Going:
    """The state kept beside, row by row as it was read, whichever beams took the rows since."""
    held: Tree = {}

    def start(p: Tree, config: Any, given: Tree) -> Tree:
        held.clear()
        return network.start(p, config, given)

    def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
        kept = held if held and len(tree.leaves(held)[0]) == len(ids) else state
        logits, after = network.step(p, config, ids, {**kept})
        held.update(after)
        return logits, after

    return start, step


# ---- Of a case -------------------------------------------------------------------------------------------------------
def trials(case: Case) -> Callable[[Mistake], list[Callable[[], str | None]]]:
    """Of an entry, for each way to make it, what gives the first key of the case that shows it."""
    return lambda mistake: [partial(_shows, case, way) for _, way in made(mistake, case)]


def made(mistake: Mistake, case: Case) -> list[tuple[str, Way]]:
    """(in words, how it is made) of an entry that concerns the case's family."""
    if not mistake.concerns(case.facts["family"]):
        return []
    goings = [(what, partial(_going, maker)) for what, maker in (mistake.going or {}).items()]
    return [*goings, *((what, partial(_writing, write)) for what, write in (mistake.writing or {}).items())]


def _going(maker: Maker, case: Case, dtype: Any = np.float64) -> Tensors:
    network = generation.writer(case.facts["family"], case.text().get("fills", {}))
    length = case.tensor("inputs/input_ids").shape[1]
    return generation.evaluate(case, going=maker(network, length))(np.dtype(dtype), ())


def _writing(write: Callable, case: Case, dtype: Any = np.float64) -> Tensors:
    return generation.evaluate(case, write=write)(np.dtype(dtype), ())


def diagnosis(case: Case, candidate: Mapping[str, Any], dtype: str, first: compare.Row) -> Diagnosis:
    """The mistakes that explain the candidate's tensors, whose first divergence is given."""
    explaining, tried = [], 0
    for mistake in CATALOGUE.values():
        for what, way in made(mistake, case):
            tried += 1
            left = _left(case, _held(case, mistake.id, what, way), candidate, dtype)
            if left is not None:
                explaining.append((left, Found(mistake, Mutant(what, lambda subject: subject))))
    if not explaining:
        return words.unknown(first, f"{tried} ways to go on wrongly tried")
    explaining.sort(key=lambda pair: pair[0])
    found = [*{one.id: one for _, one in reversed(explaining)}.values()][::-1]
    kind = "mistake" if len(found) == 1 else "tie"
    ratio = explaining[0][0]
    return Diagnosis(kind, found, ratio, first.key, words.named(found, kind, ratio, first.ratio or 0.0, dtype, ()))


def _held(case: Case, id: str, what: str, way: Way) -> Tensors:
    """What a way gives in float64, the same whoever is diagnosed: computed once for each case that was read."""
    held = HELD.setdefault(case, {})
    if (id, what) not in held or held[id, what][0] != _maker(way):
        held[id, what] = _maker(way), way(case)
    return held[id, what][1]


def _maker(way: partial) -> tuple[Callable, Any]:
    return way.func, way.args


def _compared(case: Case, computed: Tensors, given: Mapping[str, Any], dtype: str) -> Iterator[compare.Row]:
    """A row for each tensor that was computed and given, held against what was computed."""
    for key in (key for key in case.entries if key in computed and key in given):
        if np.shape(given[key]) != np.shape(computed[key]):
            yield compare.Row(key, "wrong", ratio=np.inf)
        else:
            entry, most = case.entries[key], np.abs(computed[key]).max()
            if computed[key].dtype.kind == "f" and np.isfinite(most):  # rounding of larger scores is larger
                entry = entry._replace(scale=max(entry.scale, float(most)))
            view = SimpleNamespace(entries={key: entry}, tensor=computed.__getitem__, unmoved={})
            yield from compare.compare(view, {key: given[key]}, dtype)


def _left(case: Case, computed: Tensors, candidate: Mapping[str, Any], dtype: str) -> float | None:
    """What this leaves of the candidate, over the noise floor; None where rounding does not explain it."""
    ratios = [_ratio(row) for row in _compared(case, computed, candidate, dtype)]
    return max(ratios) if ratios and max(ratios) <= compare.EXPLAINED else None


def _ratio(row: compare.Row) -> float:
    return np.inf if row.status == "nan" else row.ratio or 0.0


def _shows(case: Case, way: Way) -> str | None:
    truth = {key: case.tensor(key) for key in case.entries if key.startswith("forward/")}
    rows = _compared(case, truth, way(case), "float32")
    return next((row.key for row in rows if _ratio(row) > compare.SUSPECT), None)
