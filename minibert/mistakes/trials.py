"""Running mutants of a case's subject, and whether what they compute explains a candidate."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.errors import InputError
from minibert.golden import compare, places
from minibert.golden.case import Case
from minibert.golden.subject import Subject, Tensors, observe
from minibert.mistakes import solving
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS, UNLISTED, Change, Mutant
from minibert.mistakes.evidence import Elsewhere, Evidence, Guard, worst
from minibert.mistakes.swap import Key, local, sites
from minibert.mistakes.words import Found
from minibert.pairs import BLOCKS
from minibert.progress import over

EXPLAINED, SUSPECT = compare.EXPLAINED, compare.SUSPECT
TRIED = "known mistakes tried"  # what a terminal is told meanwhile
SOLVED = "values solved for"
BETTER = 16  # times: what a mutant beyond EXPLAINED must leave less than the right model does
RETRIED = 8  # mutants just beyond SUSPECT whose own noise is measured


@dataclass(frozen=True)
class Trial:
    """A mutant that was run: its tensors as one row, its residual for each key, and the number of the first key that it
    does not explain. flat is None where its run ended early.
    """

    found: tuple[Found, ...]
    change: Change
    flat: np.ndarray | None
    residuals: np.ndarray
    until: int

    @property
    def ratio(self) -> float:
        """The largest residual."""
        return np.inf if self.flat is None else worst(self.residuals)


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
        self.steps = Evidence(case, candidate, dtype, [key for key in judged if key.startswith(f"{STEPS}/")])
        self.sites = sites(subject)
        self.guarded = self._guarded()
        self.right = self.trial((), lambda s: s)

    @cached_property
    def mutants(self) -> list[Found]:
        """Every mutant of every executable entry that concerns the family."""
        executable = [entry for entry in (*CATALOGUE.values(), *UNLISTED.values()) if entry.mutants]
        entries = [entry for entry in executable if entry.concerns(self.subject.family)]
        return [Found(entry, mutant) for entry in entries for mutant in entry.mutants(self.subject, self.sites)]

    def _guarded(self) -> dict[Key, list[tuple[int, str, np.ndarray, float, float]]]:
        """What a mutant's forward pass is held against, by site."""
        paths = defaultdict(list)
        for name, path, *_ in self.module.activations(self.subject.config):
            paths[f"{FORWARD}/{name}"].append(path.partition(":")[::2])
        keys, e, at = {site.path: site.key for site in self.sites}, self.evidence, {}
        for i, key in enumerate(e.keys):
            values = e.values[e.starts[i] : e.starts[i] + e.sizes[i]].reshape(e.shapes[i])
            values = np.where(e.unmoved.get(key, False), np.nan, values)  # padding that was never computed
            held = paths[key]
            fits = len(held) < 2 or values.shape[-1] % len(held) == 0
            parts = np.split(values, len(held), -1) if len(held) > 1 and fits else [values]
            for (path, part), own in zip(held, parts, strict=False):
                if path in keys and fits:
                    at.setdefault(keys[path], []).append((i, part, own.reshape(-1), e.scales[i], e.floors[i]))
        return at

    def _guard(self, mutants: list[Mutant]) -> Guard:
        """The guard of these mutants: not inside what they replace, where calls may stand in another order."""
        paths = {path for mutant in mutants for path in mutant.sites}
        replaced = {site.key for site in self.sites if site.path in paths and site.name in BLOCKS}
        silent = self._silence(mutants) or (lambda key: False)
        return Guard(
            {
                key: [item for item in items if not silent(self.evidence.keys[item[0]])]
                for key, items in self.guarded.items()
                if not any(key[:n] in replaced for n in range(len(key)))
            }
        )

    def _silence(self, mutants: list[Mutant]) -> Callable[[str], Any] | None:
        """Whether these mutants say nothing of a key."""
        patterns = [re.compile(m.silent) for m in mutants if m.silent]
        return (lambda key: any(p.fullmatch(self._spelled(key)) for p in patterns)) if patterns else None

    def _spelled(self, key: str) -> str:
        """The key with the path of its tensor, within its network, for the published name."""
        *section, name = key.split("/", 2 if key.startswith(f"{STEPS}/") else 1)
        owner = name.partition(".")[2] if name.partition(".")[0] in compare.SLOTS else name
        return "/".join((*section, self.paths.get(owner, owner)))

    @cached_property
    def paths(self) -> dict[str, str]:
        """Published name -> path within the network: of a module's output in the cache, of a parameter in the tree."""
        rows = [(name, path) for name, path, *_ in self.module.activations(self.subject.config)]
        rows += [(name, path) for path, name, _ in self.module.names(self.subject.config)]
        towers = places.places(self.subject.family, self.subject.config).towers
        return {name: local(path, towers) for name, path in rows}

    def trial(
        self,
        found: tuple[Found, ...],
        change: Change,
        steps: tuple[int, ...] = (),
        evidence: Evidence | None = None,
        guarded: bool = False,
    ) -> Trial | None:
        """One run; None where it cannot be made."""
        evidence = evidence or self.evidence
        self.tried += 1
        mutants = [one.mutant for one in found]
        changed = change(self.subject)
        if guarded:
            changed = replace(changed, around=(*changed.around, self._guard(mutants)))
        try:
            tensors = _observed(changed, mutants, steps)
        except Elsewhere as astray:
            return Trial(found, change, None, np.zeros(0), astray.index)
        if tensors is None:
            return None
        flat = evidence.flat(tensors, self._silence(mutants))
        residuals = evidence.residuals(flat)
        bad = np.flatnonzero(residuals > SUSPECT)
        return Trial(found, change, flat, residuals, int(bad[0]) if bad.size else len(residuals))

    def run(self, chosen: Iterable[Found], base: Trial | None = None) -> list[Trial]:
        """The trials of these mutants, on top of a base, that say something of enough."""
        trials = []
        for found in over([*chosen], TRIED):
            if self.late():
                continue
            change = found.mutant.change if base is None else both(base.change, found.mutant.change)
            trial = self.trial((*(base.found if base else ()), found), change, guarded=True)
            if trial is not None and self._says_enough(trial):
                trials.append(trial)
        return trials

    def solved(
        self,
        chosen: Iterable[Found],
        base: Trial | None = None,
        steps: tuple[int, ...] = (),
        evidence: Evidence | None = None,
    ) -> list[Found]:
        """Those that leave a value open, on top of a base, with the one that explains what goes wrong first."""
        evidence, base = evidence or self.evidence, base or self.right
        wanted, units = solving.first_wrong(evidence, base.residuals)
        shapes = {key: array.shape for key, array in wanted.items()}

        def run(mutant: Mutant) -> Tensors:
            mutants = [*(one.mutant for one in base.found), mutant]
            tensors = _observed(both(base.change, mutant.change)(self.subject), mutants, steps) or {}
            return {key: evidence.shaped(key, shape, tensors.get(key)) for key, shape in shapes.items()}

        found = []
        for one in over([one for one in chosen if one.mutant.free and not self.late()], SOLVED):
            mutant = solving.solved(one.mutant, run, wanted, units)
            found += [replace(one, mutant=mutant)] if mutant else []
        return found

    def late(self) -> bool:
        """Whether the time is up; counts the mutants that this keeps from being tried."""
        late = self.ends is not None and time.perf_counter() > self.ends
        self.left += late
        return late

    def _says_enough(self, trial: Trial) -> bool:
        """Whether the mutant speaks of at least half of what the candidate supplies."""
        return trial.flat is None or 2 * np.count_nonzero(~np.isnan(trial.residuals)) >= len(trial.residuals)

    def explains(self, trial: Trial, right: Trial | None = None) -> bool:
        """Rounding explains what the mutant leaves, and it leaves far less than the right model."""
        if trial.flat is None:
            return False
        spoken = ~np.isnan(trial.residuals)
        before = worst((right or self.right).residuals[spoken])
        ratio = trial.ratio
        return (ratio <= EXPLAINED < before and ratio <= before / 4) or ratio <= min(SUSPECT, before / BETTER)

    def explaining(self, trials: list[Trial]) -> list[Trial]:
        """Those that explain, best first; where none does, the nearest are judged by their own noise."""
        good = [trial for trial in trials if self.explains(trial)]
        if not good and self.dtype in ("float32", "float64"):
            close = [t for t in trials if t.flat is not None and t.ratio <= self.right.ratio / BETTER]
            close.sort(key=lambda t: t.ratio)
            good = [better for t in close[:RETRIED] if (better := self._by_own_noise(t)) and self.explains(better)]
        return sorted(good, key=lambda trial: trial.ratio)

    def _by_own_noise(self, trial: Trial) -> Trial | None:
        """The trial judged by what rounding does to this mutant, where that is more than to the right model."""
        changed = trial.change(self.subject)
        single = replace(changed, params=tree.map(lambda a: a.astype(np.float32), changed.params))
        mutants = [one.mutant for one in trial.found]
        tensors = _observed(single, mutants)
        if tensors is None:
            return None
        flat = self.evidence.flat(tensors, self._silence(mutants))
        difference = np.abs(flat - trial.flat)
        difference[~np.isfinite(difference)] = 0
        own = np.maximum.reduceat(difference, self.evidence.starts)
        if self.dtype == "float64":
            own = own * (compare.ROUNDOFF["float64"] / compare.ROUNDOFF["float32"])
        return replace(trial, residuals=self.evidence.residuals(trial.flat, own))


def both(first: Change, second: Change) -> Change:
    """One change after the other."""
    return lambda subject: second(first(subject))


def _observed(subject: Subject, mutants: Iterable[Mutant], steps: tuple[int, ...] = ()) -> Tensors | None:
    try:
        tensors = observe(subject, steps)
    except (InputError, FloatingPointError, ValueError, IndexError, ZeroDivisionError):
        return None
    for one in mutants:
        tensors = one.after(tensors) if one.after else tensors
    return tensors
