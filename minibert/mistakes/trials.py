"""Running mutants of a case's subject, and how far what they compute lies from a candidate.

A mutant is run *forced* (`golden.blocks`): wherever the candidate has a tensor, the computed one is held against it and
the candidate's goes on in its place. So what a mutant leaves of a tensor depends on the blocks between it and those
before it alone, and each wrong block is a question by itself, whatever else is wrong.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import is_
from typing import Any

import numpy as np

from minibert import families
from minibert.errors import InputError
from minibert.golden import blocks, compare, noise, places
from minibert.golden.case import Case
from minibert.golden.subject import Subject, Tensors, Walk, cast, observe, stepped
from minibert.mistakes import solving
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS, UNLISTED, Mistake, Mutant
from minibert.mistakes.ending import Ending, Endings
from minibert.mistakes.evidence import LEAST, Evidence, worst
from minibert.mistakes.swap import Site, Swaps, local, sites
from minibert.mistakes.words import Found
from minibert.progress import over

MOST_CASES = 8  # whose mutants are kept
EXPLAINED, SUSPECT = compare.EXPLAINED, compare.SUSPECT
TRIED = "known mistakes tried"  # what a terminal is told meanwhile
SOLVED = "values solved for"
WIDE = ("float32", "float64")
BETTER = 16  # times: what a mutant beyond EXPLAINED must leave less than the right model does
IMPOSSIBLE = (InputError, FloatingPointError, ValueError, IndexError, ZeroDivisionError)  # what cannot be computed
Combined = tuple[Found, ...]


@dataclass(frozen=True)
class Trial:
    """Mutants that were run together: the residual of each key, NaN where they say nothing of it, and their tensors as
    one row, where they were kept. acts: which tensors are others than without the last of them, where that is known:
    what is far off elsewhere in a tensor hides it from the residual.
    """

    found: Combined
    residuals: np.ndarray
    flat: np.ndarray | None = None
    acts: np.ndarray | None = None

    @property
    def ratio(self) -> float:
        """The largest residual."""
        return worst(self.residuals)

    @property
    def until(self) -> int:
        """The number of the first key that they do not explain."""
        bad = np.flatnonzero(self.residuals > SUSPECT)
        return int(bad[0]) if bad.size else len(self.residuals)

    @property
    def listed(self) -> bool:
        """Whether the catalogue has all of them."""
        return all(one.listed for one in self.found)


@dataclass(frozen=True)
class _RightModel:
    """What a case's own computation calls and what mutants are made of it, whoever is diagnosed."""

    sites: list[Site]
    calls: blocks.Calls
    mutants: dict[str, tuple[Mistake, list[Mutant]]]  # by id, with the entry that made them


_RIGHT: dict[tuple[Any, str], _RightModel] = {}  # of the cases that were asked last, by family and what they hold


def _right_model(case: Case, subject: Subject) -> _RightModel:
    """Looked at once for each case, however often that is read."""
    of = families.family(subject.family), json.dumps([case.facts, case.hashes], sort_keys=True)
    _RIGHT[of] = held = _RIGHT.pop(of, None) or _RightModel(sites(subject), blocks.calls(subject), {})
    for old in [*_RIGHT][:-MOST_CASES]:
        _RIGHT.pop(old, None)
    return held


class Trials:
    """A case's mutants, run against a candidate. seconds: after which no further one is started."""

    def __init__(
        self, case: Case, subject: Subject, candidate: Mapping[str, Any], dtype: str, rows: list[compare.Row],
        seconds: float | None,
    ):  # fmt: skip
        self.subject, self.dtype = subject, dtype
        self.module = families.family(subject.family)
        self.ends = None if seconds is None else time.perf_counter() + seconds
        self.tried = self.left = 0
        judged = [r.key for r in compare.causal(rows) if r.key in candidate and r.status not in ("exempt", "undefined")]
        computed = [key for key in judged if key.startswith((f"{FORWARD}/", f"{GRADIENTS}/"))]
        self.evidence = Evidence(case, candidate, dtype, computed)
        self.forward = self.evidence.only([i for i, k in enumerate(computed) if k.startswith(f"{FORWARD}/")])
        self.steps = Evidence(case, candidate, dtype, [key for key in judged if key.startswith(f"{STEPS}/")])
        self.right_model = _right_model(case, subject)
        self.sites, self.calls = self.right_model.sites, self.right_model.calls
        self.given = blocks.finite(self.evidence.tensors())
        self.entries = {*case.entries}
        self.walk = Walk()
        self.base: Combined = ()  # what is run with everything
        self.kept: dict[tuple[int, ...], tuple[Tensors, Combined, blocks.Forced | None]] = {}  # see `like`
        self.endings: Endings | None = None  # of the last base
        self.beside: dict[tuple, tuple] = {}  # runs of what stands beside mutants that round
        self.others: dict[tuple[int, ...], tuple[Combined, bool]] = {}
        self.below: dict[tuple, tuple] = {}  # runs of what others stand on

    @cached_property
    def mutants(self) -> list[Found]:
        """Every mutant of every executable entry that concerns the family."""
        executable = [entry for entry in (*CATALOGUE.values(), *UNLISTED.values()) if entry.mutants]
        entries = [entry for entry in executable if entry.concerns(self.subject.family)]
        held = self.right_model.mutants
        for entry in entries:
            if entry.id not in held or held[entry.id][0] is not entry:
                held[entry.id] = entry, entry.mutants(self.subject, self.sites)
        return [Found(entry, mutant) for entry in entries for mutant in held[entry.id][1]]

    def silence(self, mutants: Iterable[Mutant]) -> Callable[[str], Any] | None:
        """Whether these mutants say nothing of a key."""
        patterns = [re.compile(m.silent) for m in mutants if m.silent]
        return (lambda key: any(p.fullmatch(self.spelled(key)) for p in patterns)) if patterns else None

    def spelled(self, key: str) -> str:
        """The key with the path of its tensor, within its network, for the published name."""
        *section, name = key.split("/", 2 if key.startswith(f"{STEPS}/") else 1)
        owner = name.partition(".")[2] if name.partition(".")[0] in compare.SLOTS else name
        return "/".join((*section, self.paths.get(owner, owner)))

    def every(self, section: str) -> bool:
        """Whether the candidate has each activation, or each of their gradients; losses have none."""
        names = (name for held in self.calls.held.values() for name, *_ in held.values())
        due = {f"{section}/{name}" for name in names}
        if section == GRADIENTS:
            due &= self.entries
        return bool(due) and due <= {*self.given}

    @cached_property
    def paths(self) -> dict[str, str]:
        """Published name -> path within the network: of a module's output in the cache, of a parameter in the tree."""
        rows = [(name, path) for name, path, *_ in self.module.activations(self.subject.config)]
        rows += [(name, path) for path, name, _ in self.module.names(self.subject.config)]
        towers = places.places(self.subject.family, self.subject.config).towers
        return {name: local(path, towers) for name, path in rows}

    # Runs
    def trial(self, found: Combined, evidence: Evidence, ending: Ending | None = None) -> Trial | None:
        """One forced run, a free one where the candidate's tensors do not fit into it; None where none can be made.
        ending: where it may end.
        """
        tensors = self._forced(found, evidence, self.subject, ending)
        if ending is not None and ending.number is not None:
            return Trial(found, ending.residuals)
        return self._unforced(found, evidence) if tensors is None else self._held(found, tensors, evidence)

    def _unforced(self, found: Combined, evidence: Evidence) -> Trial | None:
        """A free run of what cannot be forced. A tensor that is the same in a free run of what it stands on is not
        moved: it is left as a forced run of that leaves it, for what stood wrong before it in the candidate stays.
        """
        trial, base = self.free(found, evidence), self._standing(found)
        if trial is None or not self.given or len(base) == len(found):
            return trial
        free, forced = (self._once(run, base, evidence) for run in (self.free, self.trial))
        if free is None or forced is None:
            return trial
        same = evidence.distances(trial.flat, free.flat) <= LEAST
        flat = np.where(np.repeat(same, evidence.sizes), forced.flat, trial.flat)
        return replace(trial, residuals=np.where(same, forced.residuals, trial.residuals), flat=flat)

    def _once(self, run: Callable, found: Combined, evidence: Evidence) -> Trial | None:
        """What `free` or `trial` gives of these mutants, which others stand on, kept."""
        key = run.__name__, id(evidence), id(self.given), *map(id, found)
        if key not in self.below:
            made = run(found, evidence), evidence, self.given, found  # kept: so are ids
            others = {k: held for k, held in self.below.items() if held[3] in ((), found)}  # one base at a time
            self.below = {**others, key: made}
        return self.below[key][0]

    def _standing(self, found: Combined) -> Combined:
        """What these mutants are on top of: the base, where they are."""
        cut = len(self.base)
        return self.base if cut <= len(found) and all(map(is_, self.base, found)) else ()

    def free(self, found: Combined, evidence: Evidence, steps: tuple[int, ...] = ()) -> Trial | None:
        """One run from the case's own data to the end, through these optimizer steps, too."""
        tensors = self._freely(found, steps, self.subject)
        return None if tensors is None else self._held(found, tensors, evidence, False, steps)

    def _freely(self, found: Combined, steps: tuple[int, ...], subject: Subject) -> Tensors | None:
        self.tried += 1
        if steps and not any(one.mutant.after for one in found):  # of which the steps alone are looked at
            return _computed(found, lambda: stepped(changed(subject, found), steps, self.walk))
        return _computed(found, lambda: _written(found, observe(changed(subject, found), steps)))

    def run(
        self, each: Iterable[Combined], evidence: Evidence, total: int, right: Trial | None = None
    ) -> list[Trial]:  # fmt: skip
        """The trials of each of these, so many in all, that say something of enough, and no NaN where the candidate has
        numbers; no tensors are kept. right: what they stand on, from which they are told (`Trial.acts`). What rounds is
        not tried beside another: so many ways explain a number by chance.
        """
        cut = len(self.base)
        each = (found for found in each if len(found) < cut + 2 or not any(one.mutant.rounds for one in found[cut:]))
        trials = (self._shortly(found, evidence) for found in over(each, TRIED, total) if not self.late())
        held = (t for t in trials if t is not None and (t.flat is None or not evidence.loses(t.flat)))
        acts = (lambda flat: None) if right is None else partial(evidence.differ, right.flat)
        told = (replace(t, flat=None, acts=None if t.flat is None else acts(t.flat)) for t in held)
        return [trial for trial in told if says_enough(trial)]

    def _shortly(self, found: Combined, evidence: Evidence) -> Trial | None:
        """The trial. Of a run that ended early the residual of the gradient at which it did, the others the base's."""
        like, mutants = self._like(found), [one.mutant for one in found]
        if like is None or any(mutant.free or mutant.after for mutant in mutants):
            return self.trial(found, evidence)
        if self.endings is None or self.endings.run is not like or self.endings.evidence is not evidence:
            self.endings = Endings(like, evidence)
        rounds = any(mutant.rounds for mutant in mutants)
        return self.trial(found, evidence, Ending(self.endings, self.silence(mutants), rounds))

    def _held(
        self, found: Combined, tensors: Tensors, evidence: Evidence, forced: bool = True, steps: tuple[int, ...] = ()
    ) -> Trial:  # fmt: skip
        flat = evidence.flat(tensors, self.silence(one.mutant for one in found))
        if self.dtype not in WIDE or not any(one.mutant.rounds for one in found):
            return Trial(found, evidence.residuals(flat), flat)
        beside = tuple(one for one in found if not one.mutant.rounds)
        key = id(evidence), id(self.given), forced, steps, *map(id, beside)
        if key not in self.beside:
            run = self.like(beside) if forced else None
            right = run and evidence.flat(_written(beside, run.computed), self.silence(one.mutant for one in beside))
            free = None if forced else self.free(beside, evidence, steps)
            self.beside[key] = free.flat if free else right, evidence, self.given, beside  # kept: so are ids
        right = self.beside[key][0]
        return Trial(found, evidence.residuals(flat) if right is None else evidence.mostly(flat, right), flat)

    def _forced(
        self, found: Combined, evidence: Evidence, subject: Subject, ending: Ending | None = None
    ) -> Tensors | None:  # fmt: skip
        self.tried += 1
        backward = len(evidence.keys) > len(self.forward.keys)

        def compute() -> Tensors:
            like = self._like(found) if subject is self.subject else None
            return _written(found, self._run(found, subject, backward, like, ends=ending).computed)

        return _computed(found, compute)

    def _run(
        self, found: Combined, subject: Subject, backward: bool, like: blocks.Forced | None, kept: bool = False,
        ends: Ending | None = None,
    ) -> blocks.Forced:  # fmt: skip
        edited = changed(subject, found)
        renamed = edited.config is not subject.config and self._names(edited) != self._names(subject)
        renamed = renamed or (edited.batches is not subject.batches and self._calls_others(found, edited))
        swaps = {key: r for around in edited.around if isinstance(around, Swaps) for key, r in around.at.items()}
        edited = replace(edited, around=tuple(f for f in edited.around if not isinstance(f, Swaps)))
        like = None if renamed or edited.around else like
        at = blocks.calls(edited) if renamed else self.calls
        return blocks.Forced(edited, self._given(found), at, swaps, backward, like, kept, like and ends)

    def _given(self, found: Combined) -> Tensors:
        """The candidate's tensors of which these mutants say something."""
        silent = self.silence(one.mutant for one in found)
        if any(one.mutant.renames for one in found):
            return {}
        return {key: array for key, array in self.given.items() if not (silent and silent(key))}

    def _like(self, found: Combined) -> blocks.Forced | None:
        """A run of which that of these mutants is a part: of the base alone, where they are on top of it."""
        base = self._standing(found)
        base = () if len(base) == len(found) else base
        if not found or any(one.mutant.renames for one in found[len(base) :]):
            return None
        return self.like(base)

    def like(self, base: Combined = ()) -> blocks.Forced | None:
        """A run of these mutants, kept for those of others on top of them; None where it cannot be made."""
        key = id(self.given), *map(id, base)
        if key not in self.kept:
            run = _computed(base, lambda: self._run(base, self.subject, True, None, kept=True))
            others = {k: held for k, held in self.kept.items() if not (base and held[1])}  # one of a base at a time
            self.kept = {**others, key: (self.given, base, run)}  # what the key is of stays alive
        return self.kept[key][2]

    def made_of(self, keys: Iterable[str]) -> set[str]:
        """The forward pass's tensors that are made straight of these: with noise they come out else."""
        given, rng = dict(self.given), np.random.default_rng(0)
        for key in keys:
            given[key] = given[key] + 0.1 * np.abs(given[key]).max() * rng.normal(size=given[key].shape)
        due, got = self.like().computed, blocks.Forced(self.subject, given, self.calls, backward=False).computed
        return {key for key, array in got.items() if key in due and not np.array_equal(array, due[key])}

    def _calls_others(self, found: Combined, edited: Subject) -> bool:
        """Whether other inputs let a network make other calls, as one without global tokens does."""
        key = tuple(id(one.mutant) for one in found)
        if key not in self.others:
            other = blocks.calls(edited).held.keys() != self.calls.held.keys()
            self.others[key] = found, other  # found is kept: so is its id
        return self.others[key][1]

    def _names(self, subject: Subject) -> list[tuple]:
        """What the subject calls its tensors, and where they come from."""
        return [(name, path) for name, path, *_ in self.module.activations(subject.config)]

    def solved(
        self, chosen: Iterable[Found], base: Combined, evidence: Evidence, residuals: np.ndarray,
        steps: tuple[int, ...] = (),
    ) -> list[Found]:  # fmt: skip
        """Those that leave a value open, on top of a base, with the one that explains what goes wrong first by these
        residuals.
        """
        wanted, units = solving.first_wrong(evidence, residuals)
        left = worst(residuals[np.isin(evidence.keys, [*wanted])])
        if not self.telling(evidence, np.isin(evidence.keys, [*wanted])):
            return []

        def run(found: Found, mutant: Mutant) -> Tensors:
            combined = (*base, replace(found, mutant=mutant))
            run = partial(self._freely, combined, steps) if steps else partial(self._forced, combined, evidence)
            tensors = run(self.subject)
            return {key: evidence.shaped(key, a.shape, (tensors or {}).get(key)) for key, a in wanted.items()}

        mutants = []
        chosen = [one for one in chosen if one.mutant.free]
        for one in over(chosen, SOLVED) if len(chosen) > 1 else chosen:
            mutant = None if self.late() else solving.solved(one.mutant, partial(run, one), wanted, units, left)
            mutants += [replace(one, mutant=mutant)] if mutant else []
        return mutants

    def telling(self, evidence: Evidence, at: np.ndarray) -> bool:
        """Whether what explains these tensors does not do so by chance: in 16 bits a loss or a norm is a number within
        4 of some hundred floors, which one of a thousand mutants always gives.
        """
        return self.dtype in WIDE or int(evidence.sizes[at].sum()) >= solving.FEW

    @property
    def bound(self) -> float:
        """What is left beyond this, no rounding explains: 64 floors of 16 bits are half of a tensor."""
        return SUSPECT if self.dtype in WIDE else 2 * EXPLAINED

    def late(self) -> bool:
        """Whether the time is up; counts the mutants that this keeps from being tried."""
        late = self.ends is not None and time.perf_counter() > self.ends
        self.left += late
        return late

    def by_own_noise(self, trial: Trial, evidence: Evidence, steps: tuple[int, ...] = ()) -> Trial | None:
        """The trial judged by what rounding does to these mutants, where that is more than to the right model. steps:
        of the optimizer, through which it was a free run.
        """
        narrow = noise.PRECISIONS.get(self.dtype if self.dtype != "float32" else "float64")
        single = cast(self.subject, np.float32, (noise.rounded(narrow[0]),) if narrow else ())
        if steps:
            whole, tensors = self.free(trial.found, evidence, steps), self._freely(trial.found, steps, single)
        else:
            whole, tensors = self.trial(trial.found, evidence), self._forced(trial.found, evidence, single)
        if whole is None or tensors is None:
            return None
        flat = evidence.flat(tensors, self.silence(one.mutant for one in trial.found))
        difference = np.abs(flat - whole.flat)
        difference[~np.isfinite(difference)] = 0
        own = np.maximum.reduceat(difference, evidence.starts)
        if self.dtype == "float64":
            own = own * (compare.ROUNDOFF["float64"] / compare.ROUNDOFF["float32"])
        return replace(trial, residuals=evidence.residuals(whole.flat, own))


def changed(subject: Subject, found: Iterable[Found]) -> Subject:
    """The subject with these mutants in it, one after the other."""
    for one in found:
        subject = one.mutant.change(subject)
    return subject


def _written(found: Combined, tensors: Tensors) -> Tensors:
    for one in found:
        tensors = one.mutant.after(tensors) if one.mutant.after else tensors
    return tensors


def _computed(found: Combined, compute: Callable[[], Tensors]) -> Tensors | None:
    """None where it cannot be computed. Mutants that were not made for each other may fail in any way."""
    try:
        return compute()
    except Exception as error:
        if len(found) > 1 or isinstance(error, IMPOSSIBLE):
            return None
        raise


def says_enough(trial: Trial) -> bool:
    """Whether the mutants speak of at least half of what the candidate supplies."""
    return 2 * np.count_nonzero(~np.isnan(trial.residuals)) >= len(trial.residuals)


def explains(trial: Trial, right: Trial) -> bool:
    """Rounding explains what the mutants leave, and they leave far less than the right model."""
    spoken = ~np.isnan(trial.residuals)
    before, ratio = worst(right.residuals[spoken]), trial.ratio
    return (ratio <= EXPLAINED < before and ratio <= before / 4) or ratio <= min(SUSPECT, before / BETTER)
