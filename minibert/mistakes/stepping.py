"""Mistakes of the optimizer: which ones explain a candidate's steps, on top of what explains its gradients."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np

from minibert.golden.subject import term_paths
from minibert.mistakes.catalogue import STEPS
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.trials import BETTER, EXPLAINED, SUSPECT, TRIED, Combined, Trial, Trials, explains, says_enough
from minibert.mistakes.words import Found
from minibert.progress import over

BASES = 4  # first halves of pairs that are tried


class Steps:
    """The search through a candidate's optimizer steps. base: what explains forward pass and gradients."""

    def __init__(self, trials: Trials, base: Combined, first: str):
        self.trials, self.base, self.held = trials, base, trials.steps
        self.first = first  # the first divergence

    def agree(self) -> bool:
        """Whether the base explains the steps, too."""
        last = self.whole
        if last is None or last.ratio <= (SUSPECT if self.base else EXPLAINED):
            return True
        if not self.base or explains(last, self.trials.free((), self.held, self._numbers())):
            return bool(self.base)
        own = self.trials.by_own_noise(last, self.held, self._numbers())
        return own is not None and own.ratio <= SUSPECT

    def first_wrong(self) -> str:
        """The first key of the steps that the base does not explain."""
        return self.held.keys[int(np.argmax(self.whole.residuals > EXPLAINED))]

    @cached_property
    def whole(self) -> Trial | None:
        """A run of the base through all steps."""
        return self.trials.free(self.base, self.held, self._numbers())

    def mistakes(self) -> list[Trial]:
        """Runs of the base with one mistake of the optimizer, or two, that explain the steps, the best first."""
        whole = self.whole
        if not self.trials.telling(self.held, whole.residuals > EXPLAINED):
            return []
        few = self._numbers(few=True)
        evidence = self._until(few)
        groups = [[found for found in self.trials.mutants if found.mutant.section == STEPS]]
        if not self.base:  # what only a later batch shows
            others = [found for found in self.trials.mutants if found.mutant.section != STEPS]
            groups += [[found for found in others if self._by_data(found)]]
        before = self.trials.free(self.base, evidence, few)
        left = max(SUSPECT, (before.ratio if before else 0) / BETTER)
        tried: list[Trial] = []
        for some in groups:
            chosen = self._silent(some, few[:-1])
            tried += self._run(((*self.base, found) for found in chosen), few, evidence, len(chosen))
            good = self._verified(trial for trial in tried if trial.ratio <= left)
            if good and good[0].ratio <= EXPLAINED:
                break
        if not good and before is not None:
            free = self.trials.solved(self._open(few), self.base, evidence, before.residuals, few)
            good = self._verified(self._run(((*self.base, found) for found in free), few, evidence, len(free)))
        if good or self.base:
            return good
        return self._verified(trial for trial in self._pairs(tried, few, evidence) if trial.ratio <= left)

    def _run(self, each: Iterable[Combined], steps: tuple[int, ...], evidence: Evidence, total: int) -> list[Trial]:
        wanted = (found for found in over(each, TRIED, total) if not self.trials.late())
        runs = (self.trials.free(found, evidence, steps) for found in wanted)
        return [trial for trial in runs if trial is not None and says_enough(trial)]

    def _verified(self, trials: Iterable[Trial]) -> list[Trial]:
        """The best of them that explain all steps."""
        near = sorted(trials, key=lambda t: t.ratio)[:6]
        if not near:
            return []
        whole = self.whole
        checked = [t for t in (self.trials.free(t.found, self.held, self._numbers()) for t in near) if t]
        good = [t for t in checked if explains(t, whole)]
        return sorted(good or self._by_own_noise(checked), key=lambda t: t.ratio)

    def _by_own_noise(self, trials: Iterable[Trial]) -> list[Trial]:
        """Those that explain most of what is wrong, and all by their own rounding: what divides by small numbers makes
        more of it.
        """
        wrong = self.whole.residuals > SUSPECT
        most = [t for t in trials if 2 * np.count_nonzero(wrong & (t.residuals <= SUSPECT)) > np.count_nonzero(wrong)]
        own = (self.trials.by_own_noise(t, self.held, self._numbers()) for t in most)
        return [t for t in own if t and explains(t, self.whole)]

    def _numbers(self, few: bool = False) -> tuple[int, ...]:
        held = sorted({int(key.split("/")[1]) for key in self.held.keys})
        if not few or held[0] > 2:
            return tuple(held)
        at = self.first.split("/")
        last = int(at[1]) if at[0] == STEPS else held[min(1, len(held) - 1)]
        return tuple(k for k in held if k <= last)

    def _until(self, steps: tuple[int, ...]) -> Evidence:
        """What the candidate holds of these steps."""
        numbers = {str(k) for k in steps}
        return self.held.only([i for i, key in enumerate(self.held.keys) if key.split("/")[1] in numbers])

    def _silent(self, chosen: list[Found], steps: tuple[int, ...]) -> list[Found]:
        """Those that leave these steps, in which nothing is wrong yet, as they are: the others need no later step."""
        before = self.trials.free(self.base, self._until(steps), steps) if steps else None
        if before is None or before.ratio > SUSPECT:
            return chosen
        for several in range(1, len(steps) + 1):  # most show at the first
            evidence = self._until(steps[:several])
            trials = self._run(((*self.base, found) for found in chosen), steps[:several], evidence, len(chosen))
            chosen = [trial.found[-1] for trial in trials if trial.ratio <= SUSPECT]
        return chosen

    def _open(self, few: tuple[int, ...]) -> list[Found]:
        """Mutants of the optimizer that leave a value open, with those of its likely values that leave the steps before
        the last as they are.
        """
        found = []
        for one in self.trials.mutants:
            free = one.mutant.free
            if free and one.mutant.section == STEPS:
                at = {value: replace(one, mutant=free.of(value)) for value in free.likely}
                silent = self._silent([*at.values()], few[:-1])
                values = tuple(value for value, other in at.items() if other in silent)
                found += [replace(one, mutant=replace(one.mutant, free=replace(free, likely=values)))] if values else []
        return found

    def _pairs(self, firsts: list[Trial], few: tuple[int, ...], evidence: Evidence) -> list[Trial]:
        """Two mistakes of the optimizer: the first explains furthest, or leaves fewest tensors wrong."""
        firsts = [t for t in firsts if t.listed and t.found[0].mutant.section == STEPS]
        firsts.sort(key=lambda t: (-t.until, np.count_nonzero(t.residuals > SUSPECT)))
        fewest = sorted(firsts, key=lambda t: np.count_nonzero(t.residuals > SUSPECT))
        bases = {id(t): t for t in (*firsts[:BASES], *fewest[:BASES])}.values()
        pairs = [(*a.found, *b.found) for a in bases for b in firsts if a.found[0].id != b.found[0].id]
        return self._run(pairs, few, evidence, len(pairs))

    def _by_data(self, found: Found) -> bool:
        """Whether a mutant acts on labels, masks or ids, so that the first batch may not show it."""
        at, terms = self.trials.sites, self.trials.module.terms(self.trials.subject.config)
        paths = {*term_paths(terms, (site.path for site in at)).values()}
        paths |= {site.path for site in at if site.name == "embedding"}
        return all(path in paths for path in found.mutant.sites)
