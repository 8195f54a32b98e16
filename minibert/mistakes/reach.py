"""What depends on a call of the right computation, and so which mutants are likely: by runs with noise in one place.

A mutant that changes what a call gives changes, but for chance, whatever depends on that. Where some of this is right,
the mutant is not likely to be what is looked for, and others are tried before it.
"""

from functools import cache, cached_property, partial

import numpy as np

from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, Mutant
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.order import Order
from minibert.mistakes.swap import noisy, swapped
from minibert.mistakes.trials import EXPLAINED, SUSPECT, WIDE, Trials
from minibert.mistakes.words import Found

SEEN = 1e-6  # of the floor: what changes by more depends on a call


class Reach:
    """The tensors of an evidence that depend on a call, as masks."""

    def __init__(self, runs: Trials, evidence: Evidence, order: Order):
        self.runs, self.evidence = runs, evidence
        by_key = {site.key: site for site in runs.sites}
        self.sites = {site.path: site for site in runs.sites}
        self.outermost = {site.path: by_key.get(site.key[:1], site).path for site in runs.sites}  # layer, head, loss
        owner = {published: path for path, published, *_ in runs.module.names(runs.subject.config)}
        self.owners = [owner.get(key.partition("/")[2], "") for key in evidence.keys]
        self.order, self.numbers = order, np.array([order.of(key) for key in evidence.keys])
        self.far = SUSPECT if runs.dtype in WIDE else EXPLAINED  # 64 floors of 16 bits are half of a tensor
        self.changed, self.own = cache(self._changed), cache(self._own)

    def gradients(self, path: str) -> np.ndarray:
        """What depends on the gradients that the call's backward gives."""
        return ~(self.changed(path, GRADIENTS) <= SEEN)

    def value(self, path: str) -> np.ndarray:
        """What depends on the call's value, by far."""
        return self.changed(path, FORWARD) > self.far

    def passed_on(self, path: str) -> np.ndarray:
        """What depends on the gradients that the call's backward passes on, by far."""
        return (self.changed(path, GRADIENTS) > self.far) & ~self.own(path)

    def forward_is_right(self, right: np.ndarray) -> bool:
        """Whether some of what depends on each of the outermost calls is right."""
        behind = [some for path in {*self.outermost.values()} if (some := self.value(path)).any()]
        return bool(behind) and all((some & right).any() for some in behind)

    def reaches(self, mutant: Mutant, number: int) -> bool:
        """Whether a mutant of a backward can change this tensor at all."""
        calls = {self.outermost[path] for path in mutant.sites}
        return not calls or any(self.own(path)[number] or self.passed_on(path)[number] for path in calls)

    def likely(self, mutant: Mutant, right: np.ndarray, wrong: np.ndarray) -> bool:
        """Whether it may explain the first wrong tensor and leave right what is right."""
        calls, first = {self.outermost[path] for path in mutant.sites}, int(np.argmax(wrong))
        if not calls:
            return True
        if mutant.section == FORWARD:
            reached = any(some(path)[first] for path in calls for some in (self.value, self.passed_on, self.own))
            return reached and not any((self.value(path) & right).any() for path in calls)
        spoils = {path for path in calls if (self.passed_on(path) & right).any()}
        if any(not (self.own(path) & wrong).any() for path in spoils):
            return False
        return any(self.own(path)[first] or (self.passed_on(path)[first] and path not in spoils) for path in calls)

    def _own(self, path: str) -> np.ndarray:
        """What the call and those within it make, and the gradients of the parameters that they are given."""
        first, last = self.order.start[path], self.order.number[path]
        params = {param for site in self.runs.sites[first : last + 1] for param in site.params}
        return np.array([owner in params for owner in self.owners]) | (
            (first <= self.numbers) & (self.numbers < last))  # fmt: skip

    def _changed(self, path: str, section: str) -> np.ndarray:
        """How far each tensor moves, over the floor, with noise in the call's value or in what its backward gives."""
        site = self.sites[path]
        noise = partial(swapped, at={site.key: noisy(site.name, section == GRADIENTS)})
        probe = Found(next(iter(CATALOGUE.values())), Mutant("", noise, section=section))
        trial = self.runs.trial((probe,), self.evidence)
        return np.full(len(self.evidence.keys), np.nan) if trial is None else np.abs(trial.residuals - self.before)

    @cached_property
    def before(self) -> np.ndarray:
        """What the right model leaves."""
        return self.runs.trial((), self.evidence).residuals
