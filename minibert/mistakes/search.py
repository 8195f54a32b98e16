"""Which known mistake explains a candidate's tensors?

Mutants of the case's own subject are run and compared with the candidate: first those that act where it first goes
wrong, then the others, then pairs. A mutant explains the candidate when rounding explains what is left, and it does so
far better than the right model. Everything the candidate supplies is evidence, what precedes the first divergence too.
Where nothing explains it, no name is given.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minibert.errors import InputError
from minibert.golden import compare
from minibert.golden.case import Case
from minibert.golden.subject import Subject, term_paths
from minibert.mistakes import going, words
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS
from minibert.mistakes.evidence import Evidence, worst
from minibert.mistakes.trials import BETTER, EXPLAINED, SUSPECT, TRIED, Trial, Trials, both
from minibert.mistakes.words import Diagnosis, Found
from minibert.progress import over

BASES = 4  # first halves of pairs that are tried


def diagnose(case: Case, candidate: Mapping[str, Any], dtype: str, seconds: float | None = None) -> Diagnosis:
    """The mistake, tie, pair or variant that explains the candidate's tensors (by key), computed in `dtype`.

    seconds: after which no further mutant is started; None: all are tried, so that no clock decides what is found.
    """
    rows = compare.compare(case, candidate, dtype)
    first = compare.first_divergence(rows)
    if first is None:
        return Diagnosis("right", [], None, None, ["rounding explains every tensor"])
    if case.facts["kind"] == "generation":
        return going.diagnosis(case, candidate, dtype, first)
    try:
        subject = case.subject()
    except InputError as error:
        return words.unknown(first, f"no mutants: {error}")
    with np.errstate(all="ignore"):
        return _Search(case, subject, candidate, dtype, rows, first, seconds).diagnosis()


class _Search(Trials):
    def __init__(
        self, case: Case, subject: Subject, candidate: Mapping[str, Any], dtype: str, rows: list[compare.Row],
        first: compare.Row, seconds: float | None,
    ):  # fmt: skip
        super().__init__(case, subject, candidate, dtype, rows, seconds)
        self.first = first
        self._agreeing: dict[int, bool] = {}

    # What to try first
    def _places(self) -> Callable[[str], int]:
        """The order, among the sites, of the call that makes a forward key's tensor; after all of them for a loss."""
        paths = {name: path.partition(":")[0] for name, path, *_ in self.module.activations(self.subject.config)}
        order = {site.path: i for i, site in enumerate(self.sites)}
        paths |= term_paths(self.module.terms(self.subject.config), order)
        return lambda key: order.get(paths.get(key.partition("/")[2], ""), len(self.sites))

    def ordered(self, section: str, divergence: str | None) -> tuple[list[Found], list[Found]]:
        """(mutants that can act first at the divergence, the others that can act at or before it)."""
        near, far = [], []
        start = {site.path: site.start for site in self.sites}
        order = {site.path: i for i, site in enumerate(self.sites)}
        place = self._places()
        places = sorted({place(key) for key in self.evidence.keys if key.startswith(f"{FORWARD}/")})
        at = place(divergence) if section == FORWARD and divergence else None
        for found in self.mutants:
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

    # Deciding
    def diagnosis(self) -> Diagnosis:
        """What explains the candidate."""
        section = self.first.key.partition("/")[0]
        if section not in (FORWARD, GRADIENTS, STEPS):
            return words.unknown(self.first, "what was given differs: the candidate started from something else")
        good = self._first_half(section) if section != STEPS else self._faint() or [self.right]
        if not good:
            pair = self._pairs()
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

    def _faint(self) -> list[Trial]:
        """What explains tensors before the steps that are only suspect."""
        suspect = next((i for i, ratio in enumerate(self.right.residuals) if ratio > EXPLAINED), None)
        if suspect is None:
            return []
        return self._first_half(self.evidence.keys[suspect].partition("/")[0], self.evidence.keys[suspect])

    def _first_half(self, section: str, key: str | None = None) -> list[Trial]:
        near, far = self.ordered(section, key or self.first.key)
        self.trials = self.run(near)
        good = self.explaining(self.trials)
        if not good:
            self.trials += self.run(self.solved(near))
            good = self.explaining(self.trials)
        faint = self.right.ratio < SUSPECT * BETTER  # so that where it first shows may be later than where it acts
        if not good or faint:
            self.trials += self.run(far)
            good = self.explaining(self.trials)
        if not good:
            self.trials += self.run(self.solved(far))
            good = self.explaining(self.trials)
        return good

    def _pairs(self) -> list[Trial]:
        """Two mistakes: the first explains the tensors furthest, the second what then is the first divergence."""
        further = [t for t in self.trials if t.until > self.right.until]
        further = sorted(further, key=lambda t: (-t.until, t.ratio))[: 16 * BASES]
        # within what a mutant replaces nothing was held against it yet
        wholes = [t if t.flat is not None else self.trial(t.found, t.change) for t in further]
        wholes = [t for t in wholes if t and t.until > self.right.until]
        bases: list[Trial] = []
        for whole in sorted(wholes, key=lambda t: (-t.until, t.ratio)):
            if all(worst(self.evidence.distances(whole.flat, b.flat)) > EXPLAINED for b in bases):
                bases.append(whole)
        for base in bases[:BASES]:
            key = self.evidence.keys[min(base.until, len(self.evidence.keys) - 1)]
            near, _ = self.ordered(key.partition("/")[0], key)
            near = [f for f in near if f.listed]
            good = self.explaining(self.run((f for f in near if f.id != base.found[0].id or f.mutant.where), base))
            if good:
                return good
        return []

    # Optimizer steps
    def _steps_agree(self, trial: Trial) -> bool:
        if id(trial) not in self._agreeing:
            self._agreeing[id(trial)] = self._agrees(trial)
        return self._agreeing[id(trial)]

    def _agrees(self, trial: Trial) -> bool:
        steps = self._step_numbers()
        last = self.trial(trial.found, trial.change, steps, self.steps)
        if last is None or last.ratio <= (SUSPECT if trial.found else EXPLAINED):
            return True
        return bool(trial.found) and self.explains(last, self.trial((), lambda s: s, steps, self.steps))

    def _step_numbers(self, few: bool = False) -> tuple[int, ...]:
        held = sorted({int(key.split("/")[1]) for key in self.steps.keys})
        if not few or held[0] > 2:
            return tuple(held)
        at = self.first.key.split("/")
        last = int(at[1]) if at[0] == STEPS else held[min(1, len(held) - 1)]
        return tuple(k for k in held if k <= last)

    def _step_mutants(self, base: Trial) -> list[Trial]:
        """Mistakes of the optimizer on top of what explains forward pass and gradients."""
        few = self._step_numbers(few=True)
        evidence = self._until(few)
        chosen = [found for found in self.mutants if found.mutant.section == STEPS]
        if not base.found:  # what only a later batch shows
            chosen += [found for found in self.mutants if found.mutant.section != STEPS and self._by_data(found)]
        chosen = self._silent(chosen, base, few[:-1])
        before = self.trial(base.found, base.change, few, evidence)
        trials, rest = [], []
        for found in over(chosen, TRIED):
            if self.late():
                continue
            trial = self.trial((*base.found, found), both(base.change, found.mutant.change), few, evidence)
            if trial is not None and trial.ratio <= max(SUSPECT, (before.ratio if before else 0) / BETTER):
                trials.append(trial)
            elif trial is not None:
                rest.append(trial)
        whole = self.trial(base.found, base.change, self._step_numbers(), self.steps)

        def verified(trials: list[Trial]) -> list[Trial]:
            near = sorted(trials, key=lambda t: t.ratio)[:6]
            checked = [self.trial(t.found, t.change, self._step_numbers(), self.steps) for t in near]
            return sorted((t for t in checked if t and self.explains(t, whole)), key=lambda t: t.ratio)

        good = verified(trials)
        if not good and before is not None:
            free = self.solved(self._open(base, few), before, few, evidence)
            of_free = [self.trial((*base.found, f), both(base.change, f.mutant.change), few, evidence) for f in free]
            good = verified([trial for trial in of_free if trial])
        if good or base.found:
            return good
        return verified(self._step_pairs([*trials, *rest], before, few, evidence))

    def _until(self, steps: tuple[int, ...]) -> Evidence:
        """What the candidate holds of these steps."""
        numbers = {str(k) for k in steps}
        return self.steps.only([i for i, key in enumerate(self.steps.keys) if key.split("/")[1] in numbers])

    def _silent(self, chosen: list[Found], base: Trial, steps: tuple[int, ...]) -> list[Found]:
        """Those that leave these steps, in which nothing is wrong yet, as they are: the others need no later step."""
        if not steps:
            return chosen
        evidence = self._until(steps)
        before = self.trial(base.found, base.change, steps, evidence)
        if before is None or before.ratio > SUSPECT:
            return chosen
        kept = []
        for found in over(chosen, TRIED):
            if not self.late():
                trial = self.trial((*base.found, found), both(base.change, found.mutant.change), steps, evidence)
                kept += [found] if trial is not None and trial.ratio <= SUSPECT else []
        return kept

    def _open(self, base: Trial, few: tuple[int, ...]) -> list[Found]:
        """Mutants of the optimizer that leave a value open, with those of its likely values that leave the steps before
        the last as they are.
        """
        found = []
        for one in self.mutants:
            free = one.mutant.free
            if free and one.mutant.section == STEPS:
                at = {value: replace(one, mutant=free.of(value)) for value in free.likely}
                silent = self._silent([*at.values()], base, few[:-1])
                values = tuple(value for value, other in at.items() if other in silent)
                found += [replace(one, mutant=replace(one.mutant, free=replace(free, likely=values)))] if values else []
        return found

    def _step_pairs(
        self, firsts: list[Trial], before: Trial, few: tuple[int, ...], evidence: Evidence
    ) -> list[Trial]:
        """Two mistakes of the optimizer: the first explains furthest, or leaves fewest tensors wrong."""
        firsts = [t for t in firsts if t.found[0].listed and t.found[0].mutant.section == STEPS]
        firsts.sort(key=lambda t: (-t.until, np.count_nonzero(t.residuals > SUSPECT)))
        fewest = sorted(firsts, key=lambda t: np.count_nonzero(t.residuals > SUSPECT))
        trials = []
        for one in {id(t): t for t in (*firsts[:BASES], *fewest[:BASES])}.values():
            for other in over(firsts, TRIED):
                if other.found[0].id != one.found[0].id and not self.late():
                    change = both(one.change, other.change)
                    trial = self.trial((*one.found, *other.found), change, few, evidence)
                    if trial is not None and trial.ratio <= max(SUSPECT, before.ratio / BETTER):
                        trials.append(trial)
        return trials

    def _by_data(self, found: Found) -> bool:
        """Whether a mutant acts on labels, masks or ids, so that the first batch may not show it."""
        terms = term_paths(self.module.terms(self.subject.config), (site.path for site in self.sites)).values()
        paths = {*terms, *(site.path for site in self.sites if site.name == "embedding")}
        return all(path in paths for path in found.mutant.sites)

    # Saying it
    def _named(self, good: list[Trial], more: str = "") -> Diagnosis:
        listed = [trial for trial in good if all(f.listed for f in trial.found)]
        if not listed:
            return self._without_name(good[0])
        best = listed[0]
        of_steps = len(best.flat) == len(self.steps.values) != len(self.evidence.values)
        evidence = self.steps if of_steps else self.evidence
        tied = [t for t in listed if worst(evidence.distances(t.flat, best.flat)) <= EXPLAINED]
        others = [t for t in listed if t not in tied]
        best = tied[0]
        also = [CATALOGUE[id] for id in best.found[0].mutant.also]
        if len(best.found) > 1 or also:
            kind, found = "pair", [*best.found, *(Found(mistake, best.found[0].mutant) for mistake in also)]
        else:
            by_id: dict[str, Found] = {}
            for trial in tied:
                by_id.setdefault(trial.found[0].id, trial.found[0])
            found = list(by_id.values())
            kind = "variant" if any(f.variant for f in found) else "mistake" if len(found) == 1 else "tie"
        if len(best.found) > 1 and len(tied) > 1:
            beside = [f"as well explained by {' and '.join(map(str, t.found))}" for t in tied[1:4]]
        else:
            beside = [f"less well explained by {t.found[0]} ({t.ratio:.0f} times the floor)" for t in others[:3]]
        right = max(self.right.ratio, self.first.ratio or 0)
        lines = words.named(found, kind, best.ratio, right, self.dtype, [*beside, *([more] if more else [])])
        faint = next((k for k, r in zip(self.evidence.keys, self.right.residuals, strict=True) if r > EXPLAINED), None)
        return Diagnosis(kind, found, best.ratio, faint or self.first.key, lines)

    def _without_name(self, change: Trial | None = None) -> Diagnosis:
        if change is not None:
            return words.explained(self.first, change.found, change.ratio, max(self.right.ratio, self.first.ratio or 0),
                                   self.dtype)  # fmt: skip
        entries = sum(1 for m in CATALOGUE.values() if m.mutants and m.concerns(self.subject.family))
        told = f"{self.tried - 1} mutants of {entries} known mistakes tried"
        if self.left:
            told += f"; {self.left} more not, for want of time"
        return words.unknown(self.first, told)
