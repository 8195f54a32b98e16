"""Which known mistake explains a candidate's tensors?

Mutants of the case's own subject are run and compared with the candidate: first those that act where it first goes
wrong, then the others, then pairs. A residual is max over tensors of |candidate - mutant| / (scale · noise floor); a
mutant explains the candidate when rounding explains what is left, and it does so far better than the right model.
Everything the candidate supplies is evidence, what precedes the first divergence too. Where nothing explains it, no
name is given.
"""

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minibert import families, objective, trace, tree
from minibert.errors import InputError
from minibert.golden import case as cases
from minibert.golden import compare
from minibert.golden.case import Case
from minibert.golden.subject import Subject, Tensors, observe, term_paths
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS, UNLISTED, Mistake, Mutant
from minibert.mistakes.swap import Key, Nesting, sites
from minibert.pairs import BLOCKS, PAIRS

EXPLAINED, SUSPECT = compare.EXPLAINED, compare.SUSPECT
BETTER = 16  # times: what a mutant beyond EXPLAINED must leave less than the right model does
BASES = 4  # first halves of pairs that are tried
ASTRAY = 65536  # times the floor: a forward tensor so far off is not a matter of a mutant's own noise
RETRIED = 8  # mutants just beyond SUSPECT whose own noise is measured


@dataclass(frozen=True)
class Found:
    """A mutant that explains the candidate."""

    mistake: Mistake
    mutant: Mutant

    @property
    def id(self) -> str:
        """The entry's id."""
        return self.mistake.id

    @property
    def variant(self) -> bool:
        """Whether it is legitimate if declared."""
        return self.mistake.variant if self.mutant.variant is None else self.mutant.variant

    @property
    def listed(self) -> bool:
        """Whether it is an entry of the catalogue."""
        return self.id in CATALOGUE

    def __str__(self) -> str:
        where = f" in {self.mutant.where}" if self.mutant.where else ""
        return f"{self.id}{where}: {self.mutant.what}"


@dataclass(frozen=True)
class Diagnosis:
    """What explains a candidate.

    kind: "right", "mistake" (one), "tie" (several that can't be told apart), "pair" (two at once), "variant"
    (legitimate if declared) or "unknown". mistakes: those found; ratio: what is left over the noise floor;
    first_divergence: a key or None; lines: all of it as text.
    """

    kind: str
    mistakes: list[Found]
    ratio: float | None
    first_divergence: str | None
    lines: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The entries' ids, each once."""
        return list(dict.fromkeys(found.id for found in self.mistakes))


def diagnose(case: Case, candidate: Mapping[str, Any], dtype: str, seconds: float | None = None) -> Diagnosis:
    """The mistake, tie, pair or variant that explains the candidate's tensors (by key), computed in `dtype`.

    seconds: after which no further mutant is started; None: all are tried, so that no clock decides what is found.
    """
    rows = compare.compare(case, candidate, dtype)
    first = compare.first_divergence(rows)
    if first is None:
        return Diagnosis("right", [], None, None, ["rounding explains every tensor"])
    try:
        subject = case.subject()
    except InputError as error:
        return _unknown(first, [], f"no mutants: {error}")
    with np.errstate(all="ignore"):
        return _Search(case, subject, candidate, dtype, rows, first, seconds).diagnosis()


# ---- Evidence --------------------------------------------------------------------------------------------------------
class Evidence:
    """A candidate's tensors in causal order, and how far others lie from them."""

    def __init__(self, case: Case, candidate: Mapping[str, Any], dtype: str, keys: Iterable[str]):
        self.truth = case.tensor
        self.keys: list[str] = []
        floors = []
        for key in keys:
            entry, array = case.entries[key], np.asarray(candidate[key])
            floor = compare.floor(entry, dtype)
            if array.size and array.shape == entry.shape and floor:
                self.keys.append(key)
                floors.append(floor)
        self.shapes = [case.entries[key].shape for key in self.keys]
        arrays = [np.asarray(candidate[key], np.float64).reshape(-1) for key in self.keys]
        self.sizes = np.array([a.size for a in arrays], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])[:-1].astype(np.int64)
        self.values = np.concatenate(arrays) if arrays else np.zeros(0)
        self.floors = np.array(floors)
        self.scales = np.array([case.entries[key].scale for key in self.keys])
        groups = [cases.scaled_with(key) for key in self.keys]
        number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        self.groups = np.array([number[group] if group else -1 for group in groups], np.int64)

    def flat(self, tensors: Mapping[str, Any], silent: Callable[[str], Any] | None = None) -> np.ndarray:
        """The tensors in one row; NaN-free gaps are +inf where a key is absent, of another shape, or silent."""
        parts = []
        for key, shape, size in zip(self.keys, self.shapes, self.sizes, strict=True):
            array = None if silent and silent(key) else self.shaped(key, shape, tensors.get(key))
            parts.append(np.full(size, np.inf) if array is None else np.asarray(array, np.float64).reshape(-1))
        return np.concatenate(parts)

    def shaped(self, key: str, shape: tuple[int, ...], array: Any) -> Any:
        """The array in the case's shape; of one that differs by row where the case has one for all, the oddest row."""
        if array is None or np.shape(array) == shape:
            return array
        if not shape or shape[0] != 1 or np.size(array) % max(1, int(np.prod(shape))):
            return None
        rows, truth = np.reshape(array, (-1, *shape[1:])), self.truth(key)
        if key.startswith(f"{GRADIENTS}/"):
            return rows.sum(0, keepdims=True)
        return rows[np.abs(rows - truth).reshape(len(rows), -1).max(1).argmax()][None]

    def residuals(self, flat: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Per key |candidate - flat| over the noise floor; NaN where `flat` says nothing.

        spread: per key, the mutant's own rounding error, where that is known to be larger.
        """
        return self.distances(self.values, flat, spread)

    def distances(self, a: np.ndarray, b: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Per key |a - b| over the noise floor at b's scale."""
        if not len(self.keys):
            return np.zeros(0)
        difference = np.abs(a - b)
        unknown = np.isnan(b)
        difference[np.isnan(a) & unknown] = 0
        if unknown.any():  # where NaN begins must agree; how far it spreads is a matter of what multiplies it by 0
            later = int(self.starts.searchsorted(int(unknown.argmax()), "right"))
            start = self.starts[later] if later < len(self.starts) else len(b)
            difference[start:][(unknown | np.isnan(a))[start:]] = 0
        difference[np.isnan(difference)] = np.inf
        worst = np.maximum.reduceat(difference, self.starts)
        unit = self.unit(b)
        if spread is not None:
            unit = np.maximum(unit, spread)
        found = worst / unit
        found[np.isposinf(b[self.starts])] = np.nan
        return found

    def unit(self, b: np.ndarray) -> np.ndarray:
        """Per key scale · floor, the scale of b by the rule of `case.scale`, at least a tenth of the right one."""
        largest = np.maximum.reduceat(np.nan_to_num(np.abs(b), nan=0.0, posinf=0.0), self.starts)
        group = np.zeros(self.groups.max(initial=0) + 1)
        inside = self.groups >= 0
        np.maximum.at(group, self.groups[inside], largest[inside])
        scale = np.where(inside, np.maximum(largest, 1e-3 * group[self.groups]), largest)
        return np.maximum(scale, 0.1 * self.scales) * self.floors


def _worst(residuals: np.ndarray) -> float:
    return float(np.nanmax(residuals, initial=0.0))


class Elsewhere(Exception):
    """A mutant that has left the candidate; `index` is that of the first key on which they differ."""

    def __init__(self, index: int):
        self.index = index


class Guard:
    """A factory of observers that end a mutant's run where its forward pass leaves the candidate for good.

    at: for each site's key, (index in the evidence, part of an attention op or "", values, scale, floor).
    """

    def __init__(self, at: Mapping[Key, list[tuple[int, str, np.ndarray, float, float]]]):
        self.at = at

    def __call__(self) -> Callable:
        nesting = Nesting()

        def watch(f: Callable, args: tuple, constants: dict) -> Any:
            name = f.__name__
            if name not in PAIRS and name not in BLOCKS:
                return f(*args, **constants)
            key = nesting.enter(name)
            y, cache = f(*args, **constants)
            nesting.leave()
            for index, part, values, scale, floor in self.at.get(key, ()):
                found = trace.Event(name, cache, y).part(part)[0] if part else y
                if found.size == values.size:
                    difference = np.abs(found.reshape(-1) - values)
                    unit = max(scale, float(np.abs(found).max())) * floor
                    if float(np.nanmax(difference, initial=0.0)) > ASTRAY * unit:
                        raise Elsewhere(index)
            return y, cache

        return watch


# ---- The search ------------------------------------------------------------------------------------------------------
@dataclass
class _Trial:
    """A mutant that was run: its tensors as one row, its residual for each key and the largest of them."""

    found: tuple[Found, ...]
    change: Callable[[Subject], Subject]
    flat: np.ndarray | None
    residuals: np.ndarray
    until: int  # index of the first key that it does not explain

    @property
    def ratio(self) -> float:
        return np.inf if self.flat is None else _worst(self.residuals)


class _Search:
    def __init__(
        self,
        case: Case,
        subject: Subject,
        candidate: Mapping[str, Any],
        dtype: str,
        rows: list[compare.Row],
        first: compare.Row,
        seconds: float | None,
    ):
        self.case, self.subject, self.dtype, self.first = case, subject, dtype, first
        self.rows, self.ends = rows, None if seconds is None else time.perf_counter() + seconds
        self.tried = self.left = 0
        self.whole = objective.needs(families.family(subject.family), subject.config)
        judged = [r.key for r in compare.causal(rows) if r.key in candidate and r.status not in ("exempt", "undefined")]
        computed = [key for key in judged if key.startswith((f"{FORWARD}/", f"{GRADIENTS}/"))]
        self.evidence = Evidence(case, candidate, dtype, computed)
        self.stepped = [key for key in judged if key.startswith(f"{STEPS}/")]
        self.steps = Evidence(case, candidate, dtype, self.stepped)
        self.sites = sites(subject)
        self._agreeing: dict[int, bool] = {}
        self.guarded = self._guarded()
        self.right = self._trial((), lambda s: s)

    # What is there to try
    def mutants(self) -> Iterator[Found]:
        """Every mutant of every executable entry."""
        for mistake in (*CATALOGUE.values(), *UNLISTED.values()):
            if mistake.mutants is not None:
                for mutant in mistake.mutants(self.subject, self.sites):
                    yield Found(mistake, mutant)

    def _places(self) -> Callable[[str], int]:
        """The order, among the sites, of the call that makes a forward key's tensor; after all of them for a loss."""
        module = families.family(self.subject.family)
        paths = {name: path.partition(":")[0] for name, path, *_ in module.activations(self.subject.config)}
        order = {site.path: i for i, site in enumerate(self.sites)}
        paths |= term_paths(module.terms(self.subject.config), order)
        return lambda key: order.get(paths.get(key.partition("/")[2], ""), len(self.sites))

    def ordered(self, section: str, divergence: str | None) -> tuple[list[Found], list[Found]]:
        """(mutants that can act first at the divergence, the others that can act at or before it)."""
        near, far = [], []
        start = {site.path: site.start for site in self.sites}
        order = {site.path: i for i, site in enumerate(self.sites)}
        place = self._places()
        places = sorted({place(key) for key in self.evidence.keys if key.startswith(f"{FORWARD}/")})
        at = place(divergence) if section == FORWARD and divergence else None
        for found in self.mutants():
            mutant = found.mutant
            if mutant.section == STEPS or (section == FORWARD and mutant.section != FORWARD):
                continue
            if section == GRADIENTS:
                near.append(found) if mutant.section == GRADIENTS else far.append((0, found))
                continue
            if not mutant.sites:
                near.append(found)
                continue
            starts = min(start[path] for path in mutant.sites)
            after = bisect_left(places, starts)
            shows = places[after] if after < len(places) else len(self.sites)
            if at is None or shows == at or any(start[path] <= at <= order[path] for path in mutant.sites):
                near.append(found)
            elif starts <= at:
                far.append((at - starts, found))
        return near, [found for _, found in sorted(far, key=lambda item: item[0])]

    # Running mutants
    def _guarded(self) -> dict[Key, list[tuple[int, str, np.ndarray, float, float]]]:
        """What a mutant's forward pass is held against, by site."""
        module = families.family(self.subject.family)
        paths = {f"{FORWARD}/{name}": path for name, path, *_ in module.activations(self.subject.config)}
        keys, e, at = {site.path: site.key for site in self.sites}, self.evidence, {}
        for i, key in enumerate(e.keys):
            path, _, part = paths.get(key, "").partition(":")
            if path in keys:
                values = e.values[e.starts[i] : e.starts[i] + e.sizes[i]]
                at.setdefault(keys[path], []).append((i, part, values, e.scales[i], e.floors[i]))
        return at

    def _guard(self, mutants: list[Mutant]) -> Guard:
        """The guard of these mutants: not inside what they replace, where calls may stand in another order."""
        paths = {path for mutant in mutants for path in mutant.sites}
        replaced = {site.key for site in self.sites if site.path in paths and site.name in BLOCKS}
        silent = _silence(mutants) or (lambda key: False)
        return Guard(
            {
                key: [item for item in items if not silent(self.evidence.keys[item[0]])]
                for key, items in self.guarded.items()
                if not any(key[:n] in replaced for n in range(len(key)))
            }
        )

    def _observed(self, subject: Subject, mutant: Iterable[Mutant], steps: tuple[int, ...] = ()) -> Tensors | None:
        try:
            tensors = observe(subject, steps)
        except (InputError, FloatingPointError, ValueError, IndexError, ZeroDivisionError):
            return None
        for one in mutant:
            tensors = one.after(tensors) if one.after else tensors
        return tensors

    def _trial(
        self,
        found: tuple[Found, ...],
        change: Callable[[Subject], Subject],
        steps: tuple[int, ...] = (),
        evidence: Evidence | None = None,
        guarded: bool = False,
    ) -> _Trial | None:
        evidence = evidence or self.evidence
        self.tried += 1
        mutants = [one.mutant for one in found]
        changed = change(self.subject)
        if guarded:
            changed = replace(changed, around=(*changed.around, self._guard(mutants)))
        try:
            tensors = self._observed(changed, mutants, steps)
        except Elsewhere as astray:
            return _Trial(found, change, None, np.zeros(0), astray.index)
        if tensors is None:
            return None
        flat = evidence.flat(tensors, _silence(mutants))
        residuals = evidence.residuals(flat)
        bad = np.flatnonzero(residuals > SUSPECT)
        return _Trial(found, change, flat, residuals, int(bad[0]) if bad.size else len(residuals))

    def _run(self, chosen: Iterable[Found], base: _Trial | None = None) -> list[_Trial]:
        trials = []
        for found in chosen:
            if self._late():
                continue
            change = found.mutant.change if base is None else _both(base.change, found.mutant.change)
            trial = self._trial((*(base.found if base else ()), found), change, guarded=True)
            if trial is not None and self._says_enough(trial):
                trials.append(trial)
        return trials

    def _late(self) -> bool:
        """Whether the time is up; counts the mutants that this keeps from being tried."""
        late = self.ends is not None and time.perf_counter() > self.ends
        self.left += late
        return late

    def _says_enough(self, trial: _Trial) -> bool:
        """Whether the mutant speaks of at least half of what the candidate supplies."""
        return trial.flat is None or 2 * np.count_nonzero(~np.isnan(trial.residuals)) >= len(trial.residuals)

    def explains(self, trial: _Trial, right: _Trial | None = None) -> bool:
        """Rounding explains what the mutant leaves, and it leaves far less than the right model."""
        if trial.flat is None:
            return False
        spoken = ~np.isnan(trial.residuals)
        before = _worst((right or self.right).residuals[spoken])
        ratio = trial.ratio
        return (ratio <= EXPLAINED < before and ratio <= before / 4) or ratio <= min(SUSPECT, before / BETTER)

    def explaining(self, trials: list[_Trial], right: _Trial | None = None) -> list[_Trial]:
        """Those that explain, best first; where none does, the nearest are judged by their own noise."""
        good = [trial for trial in trials if self.explains(trial, right)]
        if not good and self.dtype in ("float32", "float64"):
            close = [t for t in trials if t.flat is not None and t.ratio <= self.right.ratio / BETTER]
            close.sort(key=lambda t: t.ratio)
            good = [better for t in close[:RETRIED] if (better := self._by_own_noise(t)) and self.explains(better)]
        return sorted(good, key=lambda trial: trial.ratio)

    def _by_own_noise(self, trial: _Trial) -> _Trial | None:
        """The trial judged by what rounding does to this mutant, where that is more than to the right model."""
        changed = trial.change(self.subject)
        single = replace(changed, params=tree.map(lambda a: a.astype(np.float32), changed.params))
        mutants = [one.mutant for one in trial.found]
        tensors = self._observed(single, mutants)
        if tensors is None:
            return None
        flat = self.evidence.flat(tensors, _silence(mutants))
        difference = np.abs(flat - trial.flat)
        difference[~np.isfinite(difference)] = 0
        own = np.maximum.reduceat(difference, self.evidence.starts)
        if self.dtype == "float64":
            own = own * (compare.ROUNDOFF["float64"] / compare.ROUNDOFF["float32"])
        return replace(trial, residuals=self.evidence.residuals(trial.flat, own))

    # Deciding
    def diagnosis(self) -> Diagnosis:
        section = self.first.key.partition("/")[0]
        if section not in (FORWARD, GRADIENTS, STEPS):
            return _unknown(self.first, [], "what was given differs: the candidate started from something else")
        good = self._first_half(section) if section != STEPS else self._faint() or [self.right]
        if not good:
            pair = self._pairs(section)
            return self._named(pair) if pair else self._without_name()
        trial = good[0]
        if section == STEPS and not trial.found and self._steps_agree(trial):
            return self._without_name()
        if self.steps.keys and not self._steps_agree(trial):
            later = self._step_mutants(trial)
            if later:
                return self._named(later)
            if section == STEPS:
                return self._without_name()
            return self._named(good, "the optimizer steps have a further difference that no known mistake explains")
        return self._named(good)

    def _faint(self) -> list[_Trial]:
        """What explains tensors before the steps that are only suspect."""
        suspect = next((i for i, ratio in enumerate(self.right.residuals) if ratio > EXPLAINED), None)
        if suspect is None:
            return []
        return self._first_half(self.evidence.keys[suspect].partition("/")[0], self.evidence.keys[suspect])

    def _first_half(self, section: str, key: str | None = None) -> list[_Trial]:
        near, far = self.ordered(section, key or self.first.key)
        self.trials = self._run(near)
        good = self.explaining(self.trials)
        faint = self.right.ratio < SUSPECT * BETTER  # so that where it first shows may be later than where it acts
        if not good or faint:
            more = self._run(far)
            self.trials += more
            good = self.explaining(self.trials)
        return good

    def _steps_agree(self, trial: _Trial) -> bool:
        if id(trial) not in self._agreeing:
            self._agreeing[id(trial)] = self._agrees(trial)
        return self._agreeing[id(trial)]

    def _agrees(self, trial: _Trial) -> bool:
        steps = self._step_numbers()
        last = self._trial(trial.found, trial.change, steps, self.steps)
        if last is None or last.ratio <= (SUSPECT if trial.found else EXPLAINED):
            return True
        return bool(trial.found) and self.explains(last, self._trial((), lambda s: s, steps, self.steps))

    def _step_numbers(self, few: bool = False) -> tuple[int, ...]:
        held = sorted({int(key.split("/")[1]) for key in self.steps.keys})
        if not few or held[0] > 2:
            return tuple(held)
        at = self.first.key.split("/")
        last = int(at[1]) if at[0] == STEPS else held[min(1, len(held) - 1)]
        return tuple(k for k in held if k <= last)

    def _step_mutants(self, base: _Trial) -> list[_Trial]:
        """Mistakes of the optimizer on top of what explains forward pass and gradients."""
        few = self._step_numbers(few=True)
        early = {str(k) for k in few}
        evidence = self._steps_evidence(early)
        chosen = [found for found in self.mutants() if found.mutant.section == STEPS]
        if not base.found:  # what only a later batch shows
            chosen += [found for found in self.mutants() if found.mutant.section != STEPS and self._by_data(found)]
        before = self._trial(base.found, base.change, few, evidence)
        trials, rest = [], []
        for found in chosen:
            if self._late():
                continue
            change = _both(base.change, found.mutant.change)
            trial = self._trial((*base.found, found), change, few, evidence)
            if trial is not None and trial.ratio <= max(SUSPECT, (before.ratio if before else 0) / BETTER):
                trials.append(trial)
            elif trial is not None:
                rest.append(trial)
        whole = self._trial(base.found, base.change, self._step_numbers(), self.steps)

        def verified(trials: list[_Trial]) -> list[_Trial]:
            near = sorted(trials, key=lambda t: t.ratio)[:6]
            checked = [self._trial(t.found, t.change, self._step_numbers(), self.steps) for t in near]
            return sorted((t for t in checked if t and self.explains(t, whole)), key=lambda t: t.ratio)

        good = verified(trials)
        if good or base.found:
            return good
        return verified(self._step_pairs([*trials, *rest], before, few, evidence))

    def _step_pairs(
        self, firsts: list[_Trial], before: _Trial, few: tuple[int, ...], evidence: Evidence
    ) -> list[_Trial]:
        """Two mistakes of the optimizer: the first explains furthest, or leaves fewest tensors wrong."""
        firsts = [t for t in firsts if t.found[0].listed and t.found[0].mutant.section == STEPS]
        firsts.sort(key=lambda t: (-t.until, np.count_nonzero(t.residuals > SUSPECT)))
        fewest = sorted(firsts, key=lambda t: np.count_nonzero(t.residuals > SUSPECT))
        trials = []
        for first in dict.fromkeys(map(id, [*firsts[:BASES], *fewest[:BASES]])):
            one = next(t for t in firsts if id(t) == first)
            for other in firsts:
                if other.found[0].id != one.found[0].id and not self._late():
                    change = _both(one.change, other.change)
                    trial = self._trial((*one.found, *other.found), change, few, evidence)
                    if trial is not None and trial.ratio <= max(SUSPECT, before.ratio / BETTER):
                        trials.append(trial)
        return trials

    def _by_data(self, found: Found) -> bool:
        """Whether a mutant acts on labels, masks or ids, so that the first batch may not show it."""
        terms = families.family(self.subject.family).terms(self.subject.config)
        paths = {*term_paths(terms, (site.path for site in self.sites)).values()}
        return all(path in paths or ".tables." in path for path in found.mutant.sites)

    def _steps_evidence(self, numbers: set[str]) -> Evidence:
        chosen = [i for i, key in enumerate(self.steps.keys) if key.split("/")[1] in numbers]
        part = object.__new__(Evidence)
        part.truth = self.steps.truth
        part.keys, part.shapes = ([getattr(self.steps, n)[i] for i in chosen] for n in ("keys", "shapes"))
        part.sizes = self.steps.sizes[chosen]
        part.starts = np.concatenate([[0], np.cumsum(part.sizes)])[:-1].astype(np.int64)
        part.values = np.concatenate(
            [self.steps.values[self.steps.starts[i] : self.steps.starts[i] + self.steps.sizes[i]] for i in chosen]
        )
        part.floors, part.scales, part.groups = (getattr(self.steps, n)[chosen] for n in ("floors", "scales", "groups"))
        return part

    def _pairs(self, section: str) -> list[_Trial]:
        """Two mistakes: the first explains the tensors furthest, the second what then is the first divergence."""
        bases: list[_Trial] = []
        for trial in sorted(self.trials, key=lambda t: (-t.until, t.ratio))[: 4 * BASES]:
            if trial.until > self.right.until and len(bases) < BASES:
                whole = trial if trial.flat is not None else self._trial(trial.found, trial.change)
                if whole and all(_worst(self.evidence.distances(whole.flat, b.flat)) > EXPLAINED for b in bases):
                    bases.append(whole)
        for base in bases:
            key = self.evidence.keys[min(base.until, len(self.evidence.keys) - 1)]
            near, _ = self.ordered(key.partition("/")[0], key)
            near = [f for f in near if f.listed]
            good = self.explaining(self._run((f for f in near if f.id != base.found[0].id or f.mutant.where), base))
            if good:
                return good
        return []

    # Saying it
    def _named(self, good: list[_Trial], more: str = "") -> Diagnosis:
        listed = [trial for trial in good if all(f.listed for f in trial.found)]
        if not listed:
            return self._without_name(good[0])
        good = listed
        best = good[0]
        of_steps = len(best.flat) == len(self.steps.values) != len(self.evidence.values)
        evidence = self.steps if of_steps else self.evidence
        tied = [t for t in good if _worst(evidence.distances(t.flat, best.flat)) <= EXPLAINED]
        tied = [t for t in tied if t.found[0].mistake.concerns(self.subject.family)] or tied
        best = tied[0]
        beside = [t for t in good if t not in tied]
        also = [CATALOGUE[id] for id in best.found[0].mutant.also]
        if len(best.found) > 1 or also:
            found = [*best.found, *(Found(mistake, best.found[0].mutant) for mistake in also)]
            kind = "pair"
        else:
            by_id: dict[str, Found] = {}
            for trial in tied:
                by_id.setdefault(trial.found[0].id, trial.found[0])
            found = list(by_id.values())
            kind = "variant" if any(f.variant for f in found) else "mistake" if len(found) == 1 else "tie"
        lines = [*_headline(kind, found), *(line for f in found for line in _entry(f))]
        lines.append(
            f"what it leaves is at most {best.ratio:.1f} times the noise floor of {self.dtype}; "
            f"the right model leaves {_times(max(self.right.ratio, self.first.ratio or 0))}"
        )
        if len(best.found) > 1 and len(tied) > 1:
            lines += [f"as well explained by {' and '.join(map(str, t.found))}" for t in tied[1:4]]
        elif beside:
            lines += [f"less well explained by {t.found[0]} ({t.ratio:.0f} times the floor)" for t in beside[:3]]
        if more:
            lines.append(more)
        faint = next((k for k, r in zip(self.evidence.keys, self.right.residuals, strict=True) if r > EXPLAINED), None)
        return Diagnosis(kind, found, best.ratio, faint or self.first.key, lines)

    def _without_name(self, change: _Trial | None = None) -> Diagnosis:
        if change is not None:
            told = " and ".join(str(f) for f in change.found)
            return _unknown(self.first, [], f"what explains it, to {change.ratio:.1f} times the noise floor: {told}")
        told = f"{self.tried - 1} mutants of {sum(1 for m in CATALOGUE.values() if m.mutants)} known mistakes tried"
        if self.left:
            told += f"; {self.left} more not, for want of time"
        return _unknown(self.first, getattr(self, "trials", []), told)


def _silence(mutants: list[Mutant]) -> Callable[[str], Any] | None:
    patterns = [re.compile(m.silent) for m in mutants if m.silent]
    return (lambda key: any(p.fullmatch(key) for p in patterns)) if patterns else None


def _both(first: Callable[[Subject], Subject], second: Callable[[Subject], Subject]) -> Callable[[Subject], Subject]:
    return lambda subject: second(first(subject))


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio < 1e6 else f"{ratio:.0e} times"


def _unknown(first: compare.Row, trials: list[_Trial], more: str) -> Diagnosis:
    lines = [f"no known mistake explains this; first divergence at {first.key} ({first.verdict})"]
    lines.append(more)
    return Diagnosis("unknown", [], first.ratio, first.key, lines)


def _headline(kind: str, found: list[Found]) -> list[str]:
    names = " and ".join(str(f) for f in found)
    return [
        {
            "mistake": f"the mistake is {names}",
            "tie": "these mistakes give the same tensors here, one of them it is: " + "; ".join(map(str, found)),
            "variant": "acceptable variant, if declared: " + "; ".join(map(str, found)),
            "pair": f"two mistakes: {names}",
        }[kind]
    ]


def _entry(found: Found) -> list[str]:
    m = found.mistake
    clause = f" ({m.clause})" if m.clause else ""
    return [f"  {m.id} {m.title}", f"    right: {m.right}{clause}", f"    seen in: {m.evidence}"]
