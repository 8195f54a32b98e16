"""What explains a candidate, and how much of it: the fewest mutants that explain together what is wrong.

A mutant explains a tensor when rounding explains what it leaves of it, and it leaves far less than the right model; it
is out where it makes a right tensor wrong.
"""

from dataclasses import dataclass, replace

import numpy as np

from minibert.mistakes.catalogue import CATALOGUE
from minibert.mistakes.evidence import Evidence, worst
from minibert.mistakes.trials import BETTER, EXPLAINED, SUSPECT, WIDE, Combined, Trial, Trials
from minibert.mistakes.words import Found

MOST = 16  # of those that explain the same, so many are told apart
MANY = 16  # numbers of a tensor, of which the root mean square says something
CLEARLY, SLIGHTLY, LEAST = 2, 1.25, 0.1  # times as much left, times not more, floors below which all is nothing
ALL = 1e4  # times less than the right model leaves: nothing explains better what leaves but a few floors
RETRIED = 8  # mutants just beyond SUSPECT whose own noise is measured


@dataclass(frozen=True)
class Part:
    """What explains some of the wrong tensors: one mutant, or a pair; others that give the same there; further ones,
    with what they leave of them at most. exact: rounding explains what is left. declared: by who made the candidate.
    first: the number of the first tensor that it explains.
    """

    found: Combined
    tied: tuple[Combined, ...] = ()
    less: tuple[tuple[Combined, float], ...] = ()
    exact: bool = True
    declared: bool = False
    first: int = 0

    @property
    def mistakes(self) -> list[Found]:
        """All of a tie, each entry once, or both of a pair."""
        each = [*self.found] if len(self.found) > 1 else [one for tied in (self.found, *self.tied) for one in tied]
        once = {one.id: one for one in reversed(each)}
        found = each if len(self.found) > 1 else [*reversed(once.values())]
        also = [Found(CATALOGUE[id], one.mutant) for one in self.found for id in one.mutant.also]
        ids = [one.id for one in found] if len(self.found) == 1 else []
        behind = {one.id for one in found if ids and not set(ids).isdisjoint(one.mistake.cause_of)}
        ids = [id for id in ids if id not in behind]
        tied = {id: tuple(other for other in ids if other != id) for id in ids}
        return [replace(one, exact=self.exact, tied=tied.get(one.id, ()), behind=one.id in behind)
                for one in (*found, *also)]  # fmt: skip

    def __str__(self) -> str:
        """In words, as one of several: a pair, or one of a tie."""
        named = [str(one) for one in self.mistakes if not one.behind]
        return (" and " if self.kind == "pair" else " or ").join(named)

    @property
    def variant(self) -> bool:
        """Whether it is, or may be, what is legitimate if declared."""
        return self.declared or any(all(one.variant for one in some) for some in (self.found, *self.tied))

    @property
    def kind(self) -> str:
        """What it is by itself."""
        if not all(one.listed for one in self.found):
            return "explained"
        if self.variant:
            return "variant"
        if len(self.found) > 1 or self.found[0].mutant.also:
            return "pair"
        return "tie" if sum(not one.behind for one in self.mistakes) > 1 else "mistake"


class Cover:
    """The fewest mutants that explain together what is wrong. right: a run of what was found before; wrong: which of
    the evidence's tensors that leaves wrong; left: those of them that nothing explains yet.
    """

    def __init__(self, runs: Trials, evidence: Evidence, right: Trial, wrong: np.ndarray):
        self.runs, self.evidence, self.right = runs, evidence, right
        self.wrong, self.left, self.loose = wrong, wrong.copy(), np.zeros(len(wrong), bool)
        self.known: dict[int, tuple[Trial, bool, int]] = {}  # by id of a trial, which is kept: so is its id
        self.own: dict[int, tuple[Trial, Trial]] = {}  # the same, with the trial judged by its own rounding

    @property
    def open(self) -> np.ndarray:
        """What a value may still explain: what nothing explains, and what is explained but nearly."""
        return self.left | self.loose

    def parts(self, trials: list[Trial], key: int | None = None) -> list[Part]:
        """Of the trials those that explain most of what is left, one after the other, with their ties; key: a tensor
        that they have to explain, if any is given. Without one the cover begins anew.
        """
        if key is None:
            self.left, self.loose = self.wrong.copy(), np.zeros(len(self.wrong), bool)
        good = [trial for trial in trials if self._accepted(trial) and (key is None or self.explained(trial)[key])]
        parts = []
        while self.left.any():
            scores = [self._score(trial) for trial in good]
            best = min(scores, default=(0, 0))
            if best[0] == 0:
                break
            same = [trial for trial, score in zip(good, scores, strict=True) if score == best]
            same = _alike([(trial, self.explained(trial) & self.left) for trial in same])
            cut, at = len(self.right.found), self.explained(same[0]) & self.left
            parts.append(part := grouped(self.runs, same, self.evidence, cut, at))
            chosen = next(trial for trial in same if trial.found[cut:] == part.found)
            self.loose |= self.explained(chosen) & self.left & self._nearly(chosen)
            self.left &= ~(self.explained(chosen) | self.hushed(chosen))
        return parts

    def explained(self, trial: Trial) -> np.ndarray:
        """The wrong tensors of which rounding explains what the mutants leave, or nearly."""
        before, after = self.right.residuals, trial.residuals
        exact = (after <= EXPLAINED) & (before > EXPLAINED) & (after <= before / 4)
        nearly = SUSPECT if self.runs.dtype in WIDE else EXPLAINED  # 64 floors of 16 bits are half of a tensor
        return self.wrong & (exact | (after <= np.minimum(nearly, before / BETTER)))

    def acting(self, trials: list[Trial], key: int) -> list[Trial]:
        """Those that change a wrong tensor and make no right one wrong, the nearest first."""
        moved = [self.moved(t)[key] or (t.acts is not None and t.acts[key]) for t in trials]
        found = [t for t, there in zip(trials, moved, strict=True) if t.listed and there and not self.spoils(t)]
        return sorted(found, key=lambda t: t.residuals[key])

    def by_own_noise(self, trials: list[Trial]) -> list[Trial]:
        """The trials; those that leave far less than the right model are judged by their own rounding."""
        far = {id(t): worst((t.residuals / self.right.residuals)[self.moved(t) & self.wrong]) for t in trials}
        close = [t for t in trials if 0 < far[id(t)] <= 1 / BETTER and not self._settles(t)]
        moved = {id(t): self.moved(t) & self.wrong for t in close}
        close.sort(key=lambda t: (-np.count_nonzero(moved[id(t)]), worst(t.residuals[moved[id(t)]])))
        better = {id(t): self.runs.by_own_noise(t, self.evidence) for t in close[:RETRIED]}
        # what leaves far less than its own rounding is not what was rounded
        better = {at: t for at, t in better.items() if t and t.residuals[self.first_changed(t)] > 1 / SUSPECT}
        return [better.get(id(t), t) for t in trials]

    def _own(self, trial: Trial) -> Trial:
        """The trial, judged by its own rounding where that of the right model does not explain all of it."""
        if worst(trial.residuals[self.explained(trial) & self.left]) <= EXPLAINED:
            return trial
        if id(trial) not in self.own:
            self.own[id(trial)] = trial, self.runs.by_own_noise(trial, self.evidence) or trial
        return self.own[id(trial)][1]

    def _nearly(self, trial: Trial) -> np.ndarray:
        """The tensors that a value, or another mutant, may explain better."""
        return self._own(trial).residuals > np.maximum(EXPLAINED, self.right.residuals / ALL)

    def _settles(self, trial: Trial) -> bool:
        """Whether it explains all that it changes."""
        return self._accepted(trial) and self._score(trial)[1] == 0

    def moved(self, trial: Trial) -> np.ndarray:
        """The tensors that it changes."""
        before, after = self.right.residuals, trial.residuals
        number = ~np.isnan(after) & (np.isinf(before) != np.isinf(after))  # where the candidate has none
        return number | (np.abs(after - before) > 1e-6 * (1 + before))

    def hushed(self, trial: Trial) -> np.ndarray:
        """The tensors of which it says nothing, for whoever makes these mistakes may hold one of two things there."""
        silence = self.runs.silence(one.mutant for one in trial.found)
        return np.array([silence is not None and bool(silence(key)) for key in self.evidence.keys])

    def first_changed(self, trial: Trial) -> int:
        """The number of the first wrong tensor that it changes, or does away with, if any."""
        return self._of(trial)[2]

    def _of(self, trial: Trial) -> tuple[Trial, bool, int]:
        """What does not depend on what is left: whether it is accepted, and the first tensor that it changes."""
        if id(trial) not in self.known:
            gone = np.isnan(trial.residuals) & ~np.isnan(self.right.residuals)
            if (gone & self.wrong).any():
                gone &= ~self.hushed(trial)
            first = int(np.argmax((self.moved(trial) | gone) & self.wrong))
            self.known[id(trial)] = trial, self._explains_first(trial, first), first
        return self.known[id(trial)]

    def _score(self, trial: Trial) -> tuple[int, int]:
        """(minus how many of what is left it explains, how many it changes and does not explain), to be small."""
        explained = self.explained(trial)
        return -np.count_nonzero(explained & self.left), np.count_nonzero(self.moved(trial) & self.wrong & ~explained)

    def _accepted(self, trial: Trial) -> bool:
        """Whether it explains the first wrong tensor that it changes, by more than chance, and makes nothing wrong that
        is right.
        """
        return self._of(trial)[1]

    def _explains_first(self, trial: Trial, first: int) -> bool:
        explained = self.explained(trial)
        if not explained[first] or not self.runs.telling(self.evidence, explained):
            return False
        most = self.right.residuals[explained].max() / BETTER
        return not self.spoils(trial, max(EXPLAINED, min(SUSPECT, most)))

    def spoils(self, trial: Trial, bound: float = SUSPECT) -> bool:
        """Whether it makes a right tensor wrong."""
        before, after = self.right.residuals, trial.residuals
        return bool((~self.wrong & (after > np.maximum(bound, 1.01 * before))).any())


def _alike(trials: list[tuple[Trial, np.ndarray]]) -> list[Trial]:
    """Those that explain the same tensors as the first."""
    _, first = trials[0]
    return [trial for trial, explained in trials if np.array_equal(explained, first)]


def wrong_of(right: Trial, bound: float = SUSPECT) -> np.ndarray:
    """The tensors that a mistake is to explain: those beyond rounding, what is only suspect where nothing is worse."""
    certain = right.residuals > bound
    return certain if certain.any() else right.residuals > EXPLAINED


def _nearest(trials: list[Trial], evidence: Evidence) -> list[Trial]:
    """Those of which no other leaves clearly less of a tensor, and nowhere more: by root mean squares, which what hides
    within the tolerance of 16 bits does not reach.
    """
    left = np.array([evidence.spreads(t.flat) for t in trials])
    many = evidence.sizes >= MANY

    def nearer(one: np.ndarray, other: np.ndarray) -> bool:
        told = many & ~np.isnan(one - other)
        clearly, more = other > np.maximum(CLEARLY * one, LEAST), one > np.maximum(SLIGHTLY * other, LEAST)
        return bool((clearly & told).any() and not (more & told).any())

    kept = [t for t, own in zip(trials, left, strict=True) if not any(nearer(one, own) for one in left)]
    return kept or trials


def grouped(runs: Trials, good: list[Trial], evidence: Evidence, cut: int, at: np.ndarray) -> Part:
    """The best of the trials, which explain the same tensors, with those that give the same ones; at: which they are;
    cut: so many mutants of each trial were found before.
    """
    listed = sorted((t for t in good if t.listed), key=lambda t: worst(t.residuals[at])) or good
    whole = [trial if trial.flat is not None else runs.trial(trial.found, evidence) for trial in listed[:MOST]]
    near = _nearest(whole, evidence)
    best = near[0]
    tied = [t for t in near if worst(evidence.distances(t.flat, best.flat)) <= EXPLAINED]
    less = tuple((t.found[cut:], worst(t.residuals[at])) for t in whole if t not in tied)
    single = [t for t in tied if not any(one.mutant.also for one in t.found[cut:])]
    tied = single or tied  # one mistake that gives the same as two at once is said, not the two
    best = tied[0]
    exact = worst(listed[0].residuals[at]) <= EXPLAINED
    return Part(best.found[cut:], tuple(t.found[cut:] for t in tied[1:]), less, exact, first=int(np.argmax(at)))
