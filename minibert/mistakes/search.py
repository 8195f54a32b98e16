"""Which known mistakes explain a candidate's tensors?

Mutants of the case's own subject are run, forced (`trials`), and held against the candidate: first the forward pass,
then, on top of what was found there, the gradients, then the optimizer's steps. A mutant explains a tensor when
rounding explains what it leaves of it, and it leaves far less than the right model; it is out where it makes a right
tensor wrong. Of those that explain, the fewest are named that explain all together. Where no single one explains a
tensor, two at once are tried. What nothing explains gets no name, and no clock decides.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any

import numpy as np

from minibert import families
from minibert.config import nearest, require, shown
from minibert.errors import InputError
from minibert.golden import blocks, compare
from minibert.golden.case import Case
from minibert.golden.subject import Subject, term_paths
from minibert.mistakes import going, solving, words
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS, Mutant
from minibert.mistakes.evidence import Evidence, worst
from minibert.mistakes.stepping import Steps
from minibert.mistakes.swap import noisy, swapped
from minibert.mistakes.trials import BETTER, EXPLAINED, SUSPECT, WIDE, Combined, Trial, Trials
from minibert.mistakes.words import Diagnosis, Found
from minibert.pairs import PAIRS

MOST = 16  # of those that explain the same, so many are told apart
MOST_PAIRS = 1000  # that are tried where no single mistake explains a block
RETRIED = 8  # mutants just beyond SUSPECT whose own noise is measured


def diagnose(
    case: Case,
    candidate: Mapping[str, Any],
    dtype: str,
    seconds: float | None = None,
    declared: Iterable[str] = (),
) -> Diagnosis:
    """What explains the candidate's tensors (by key), computed in `dtype`.

    seconds: after which no further mutant is started; None: all are tried, so that no clock decides what is found.
    declared: ids of entries that the candidate is said to have.
    """
    declared = [id.upper() if id.upper() in CATALOGUE else id for id in declared]
    for id in declared:
        require(id in CATALOGUE, f"no known mistake {shown(id)}{nearest(id, CATALOGUE)}")
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
    if first.key.partition("/")[0] not in (FORWARD, GRADIENTS, STEPS):
        return words.unknown(first, "what was given differs: the candidate started from something else")
    with np.errstate(all="ignore"):
        lacking = _unlearnt(case, subject, candidate) if first.key.startswith(f"{GRADIENTS}/") else []
        if lacking:  # because no gradient reaches them, maybe
            filled = {**candidate, **{key: np.zeros(case.entries[key].shape) for key in lacking}}
            search = _Search(case, subject, filled, dtype, compare.compare(case, filled, dtype), first, seconds)
            found = search.diagnosis(declared)
            if found.unexplained is None and found.kind in ("mistake", "tie"):
                own = found.first_divergence in candidate
                return found if own else replace(found, first_divergence=first.key)
        return _Search(case, subject, candidate, dtype, rows, first, seconds).diagnosis(declared)


def _unlearnt(case: Case, subject: Subject, candidate: Mapping[str, Any]) -> list[str]:
    """The parameters' gradients that the candidate lacks, where it has most."""
    names = (name for _, name, *_ in families.family(subject.family).names(subject.config))
    learnt = {f"{GRADIENTS}/{name}" for name in names} & {*case.entries}
    lacking = learnt - {*candidate}
    return sorted(lacking) if 2 * len(lacking) < len(learnt) else []


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
        return self.declared or all(one.variant for one in self.found) or any(t[0].variant for t in self.tied)

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


class _Search(Trials):
    def __init__(
        self, case: Case, subject: Subject, candidate: Mapping[str, Any], dtype: str, rows: list[compare.Row],
        first: compare.Row, seconds: float | None,
    ):  # fmt: skip
        super().__init__(case, subject, candidate, dtype, rows, seconds)
        self.first = first
        self.parts: list[Part] = []
        self.reach: dict[str, np.ndarray] = {}
        self.before: dict[tuple[int, bool], dict] = {}  # see `_known`
        self.later: list[Found] = []  # at one place each, that need not be tried while something explains the first
        self.values: dict[tuple, tuple] = {}  # by the mutant and what it was solved from: its values
        self.pairs = MOST_PAIRS  # that may still be tried
        self.through: Trial | None = None  # a run of what was found through the optimizer's steps
        self.where = {site.path: site.place for site in self.sites}
        self.order = {site.path: i for i, site in enumerate(self.sites)}
        self.start = {site.path: site.start for site in self.sites}
        self.owner = {published: path for path, published, *_ in self.module.names(subject.config)}
        self.unlearnt = _unlearnt(case, subject, candidate)
        self.right, forced = self.free((), self.evidence), self.trial((), self.evidence)
        beyond = (forced.residuals > SUSPECT) & (self.right.residuals <= EXPLAINED)
        if beyond.any() or not _wrong(forced).any():
            # what was written is not what was gone on with; or what is wrong shows only where it has grown
            self.given = {}

    # Deciding
    def diagnosis(self, declared: Iterable[str]) -> Diagnosis:
        """What explains the candidate."""
        for id in declared:
            self._declared(id)
        acting = [found for found in self.mutants if found.mutant.section == FORWARD]
        while self._explain(self.forward, acting):
            pass
        self._drop_unfinished()
        if not self.parts and self._grown():
            self._explain_grown(acting)
        self.parts = [self._settled(part) for part in self.parts]
        told, before = self._forward_told(), [*self.parts]
        later = [found for found in self.mutants if found.mutant.section in (FORWARD, GRADIENTS)]
        silent = [found for found in later if found.mutant.silent]  # of what is wrong there, maybe
        while self._explain(self.evidence, later if told else silent):
            told = told or self._forward_told()
        if not told and self._left(self.evidence) is not None:
            self.parts = before
        self._drop_needless()
        self.parts = [self._without_gradient(part) for part in self.parts]
        self.parts = [self._stepped(part) if part.found[0].mutant.section == GRADIENTS else part for part in self.parts]
        left = self._left(self.evidence)
        if left is None or (not self.parts and self.first.key.startswith(f"{STEPS}/")):
            left = self._explain_steps() if self.steps.keys else left
        return self._said(left)

    def _drop_needless(self) -> None:
        """Drops parts without which nothing more is wrong: what was found later explains what they did."""
        for part in [part for part in self.parts if not part.declared]:
            rest = tuple(one for other in self.parts if other is not part for one in other.found)
            if not rest:
                return
            trials = self._beside(self.evidence, self.found), self.trial(rest, self.evidence)
            if None not in trials and not (self._wrong(trials[1]) & ~self._wrong(trials[0])).any():
                self.parts = [other for other in self.parts if other is not part]

    def _grown(self) -> bool:
        """Whether, in 16 bits, the forward pass is wrong, and by itself no block of it is."""
        if not self.given or self.dtype in WIDE or not self.forward.keys:
            return False
        forced, free = self.trial((), self.forward), self.free((), self.forward)
        return free is not None and not _wrong(forced).any() and _wrong(free).any()

    def _explain_grown(self, acting: list[Found]) -> None:
        """Explains the forward pass as a whole; what nothing explains so has grown from rounding alone."""
        given, self.given = self.given, {}
        while self._explain(self.forward, acting):
            pass
        if not self.parts:
            self.given = given

    @property
    def found(self) -> Combined:
        """What was found, one of each tie."""
        return tuple(one for part in self.parts for one in part.found)

    def _forward_told(self) -> bool:
        """Whether the forward pass is explained, but for numbers that prove nothing in 16 bits: a gradient that follows
        from what nobody knows has no name of its own.
        """
        trial = self._beside(self.forward, self.found)
        if trial is None:
            return not self.forward.keys
        wrong = self._wrong(trial)
        return not wrong.any() or not self.telling(self.forward, wrong)

    def _left(self, evidence: Evidence) -> str | None:
        """The first tensor that is wrong beside what was found, or None."""
        trial = self._beside(evidence, self.found)
        if trial is None:
            return self.first.key
        wrong = np.flatnonzero(self._wrong(trial))
        return evidence.keys[wrong[0]] if wrong.size else None

    def _wrong(self, trial: Trial) -> np.ndarray:
        """The tensors that are wrong beside what was found: what is only suspect then is no further mistake."""
        return trial.residuals > SUSPECT if self.parts else _wrong(trial)

    def _beside(self, evidence: Evidence, found: Combined) -> Trial | None:
        """What was found, run together, and judged by its own rounding where that is larger."""
        trial = self.trial(found, evidence)
        if trial is None or not found or trial.ratio <= EXPLAINED:
            return trial
        return self.by_own_noise(trial, evidence) or trial

    def _declared(self, id: str) -> None:
        """Adds the entry's mutant that leaves the fewest tensors wrong, unless these are more than without it."""
        mutants = [found for found in self.mutants if found.id == id]
        mutants = [found for found in mutants if not found.mutant.where] or mutants
        trials = [self.trial((*self.found, *more), self.evidence) for more in ((), *((found,) for found in mutants))]
        without, *trials = ((np.count_nonzero(t.residuals > SUSPECT), t.ratio, t) for t in trials if t is not None)
        count, _, best = min(trials, key=lambda item: item[:2], default=without)
        if count <= without[0] and best is not without[-1]:
            self.parts.append(Part(best.found[-1:], declared=True))

    # ---- One section
    def _explain(self, evidence: Evidence, chosen: list[Found]) -> bool:
        """Adds what explains tensors that are wrong beside what was found; whether anything does."""
        base, right = self.found, self._beside(evidence, self.found)
        self.base = base
        if right is None or not _wrong(right).any() or not self.telling(evidence, _wrong(right)):
            return False
        faint = bool(self.parts) and not self._wrong(right).any()
        if faint:  # no further mistake, but the same ones elsewhere, too, maybe
            known = {one.id for part in self.parts for one in part.mistakes}
            chosen = [found for found in chosen if found.id in known]
        cover, trials = _Cover(self, evidence, self.trial(base, evidence), _wrong(right)), []
        foremost = int(np.argmax(cover.wrong))
        for some in self._ordered(evidence, cover.wrong, chosen):
            self.later = []
            trials += (self._staged if evidence is not self.forward else self._forward_staged)(cover, base, some)
            parts = cover.parts(trials)
            if cover.open.any():
                trials += self._solved(cover, [trial for trial in trials if trial.listed], base)
                parts = cover.parts(trials)
            if not cover.open.any():
                break
            first = [part for part in parts if part.first == foremost and part.exact and not self._leaves(part, cover)]
            if first and evidence is not self.forward and self.forward.keys:  # what is behind it is another question
                self.parts += first
                return True
            if self.later:
                trials += self._tried(cover, base, self.later)
                parts = cover.parts(trials)
        if cover.left.any():  # a value of what has no entry stands behind every name
            trials += self._solved(cover, [trial for trial in trials if not trial.listed], base)
            parts = cover.parts(trials)
        if cover.left.any() and not self.late():
            parts = cover.parts(cover.by_own_noise(trials))
        parts = [part for part in parts if not self._leaves(part, cover)]
        if not parts and not faint and evidence is self.forward:
            parts = cover.parts(more := self._unread(cover, base, chosen))
            parts = [part for part in parts if not self._leaves(part, cover)]
            trials += more
        if not parts and not faint:
            parts = self._pairs(cover, trials)
        self.parts += sorted(parts, key=lambda part: part.first)
        return bool(parts)

    def _tried(self, cover: "_Cover", base: Combined, some: list[Found]) -> list[Trial]:
        """Trials of each of these on top of the base. What was tried on top of less, and changes nothing that the rest
        of the base does, leaves what it left, and elsewhere what the base leaves; a block may read what it did not.
        """
        now, held, fresh, known = cover.right.residuals, [], [], self._known(cover.evidence)
        differ: dict[int, np.ndarray] = {}
        for found in some:
            trial, then, moved = known.get(id(found.mutant), (None, now, None))
            if id(then) not in differ:
                differ[id(then)] = _differ(then, now)
            if trial is None or (moved & differ[id(then)]).any() or not self._reads_alike(found.mutant):
                fresh.append(found)
            else:
                held.append(Trial((*base, found), np.where(moved, trial.residuals, now)))
        tried = self.run(((*base, found) for found in fresh), cover.evidence, len(fresh))
        for trial in tried:
            known[id(trial.found[-1].mutant)] = trial, now, _differ(now, trial.residuals)
        place = {id(found): i for i, found in enumerate(some)}
        return sorted([*held, *tried], key=lambda trial: place[id(trial.found[-1])])

    def _known(self, evidence: Evidence) -> dict[int, tuple[Trial, np.ndarray, np.ndarray]]:
        """By the id of a mutant its last trial, what the base left then, and which tensors it moved."""
        return self.before.setdefault((id(evidence), bool(self.given)), {})

    def _reads_alike(self, mutant: Mutant) -> bool:
        """Whether it changes known calls, of which each gives another value wherever it is given one: not so a block
        within which the candidate's tensors stand.
        """
        return bool(mutant.sites) and self.wide.isdisjoint(mutant.sites)

    @cached_property
    def wide(self) -> set[str]:
        """Paths of the blocks within which there are tensors of the case."""
        around = {key[:n] for key in self.calls.held for n in range(1, len(key))}
        return {site.path for site in self.sites if site.key in around}

    def _forward_staged(self, cover: "_Cover", base: Combined, some: list[Found]) -> list[Trial]:
        """The same of a forward pass; where that leaves something, trials at one place each of what explains something
        everywhere: of all, where not every activation was supplied.
        """
        trials = self._tried(cover, base, some)
        inner = [(found, mutant) for found in some for mutant in found.mutant.inside]
        if not inner:
            return trials
        parts = cover.parts(trials)
        if not cover.left.any():  # what is wrong in one place may be another mistake's that is made there
            places = {self._place_of(one.mutant) for part in parts for one in part.found} - {""}
            inner = [(found, mutant) for found, mutant in inner if self._place_of(mutant) in places]
        elif self._every(FORWARD):
            shown = {id(t.found[-1].mutant) for t in trials if cover.explained(t).any()}
            inner = [(found, mutant) for found, mutant in inner if id(found.mutant) in shown]
        return trials + self._tried(cover, base, [Found(found.mistake, mutant) for found, mutant in inner])

    def _unread(self, cover: "_Cover", base: Combined, chosen: list[Found]) -> list[Trial]:
        """Trials of what acts within one call whose tensor is right, and goes into the first wrong one: a mistake made
        behind the place where the tensor was written.
        """
        paths = {name: path for name, path, *_ in self.module.activations(self.subject.config)}
        every = [found for one in chosen for found in (one, *(replace(one, mutant=m) for m in one.mutant.inside))]
        every = [found for found in every if found.mutant.sites and not found.mutant.silent]
        more = []
        for key in self._read_by(cover.evidence.keys[int(np.argmax(cover.wrong))], cover):
            path = paths.get(key.partition("/")[2], "")
            if path in self.order:
                first, last = self.start[path], self.order[path]
                within = [found for found in every
                          if all(first <= self.order[site] <= last for site in found.mutant.sites)]
                spelled = re.escape(self._spelled(key).partition("/")[2])
                more += [replace(found, mutant=replace(found.mutant, silent=f"({FORWARD}|{GRADIENTS})/{spelled}"))
                         for found in within]  # fmt: skip
        return self._tried(cover, base, more)

    def _read_by(self, wrong: str, cover: "_Cover") -> list[str]:
        """The right tensors of the candidate that go into the block of a wrong one."""
        right = [k for k, bad in zip(cover.evidence.keys, cover.wrong, strict=True) if not bad and k in self.given]
        due, found, rng = self.like().computed.get(wrong), [], np.random.default_rng(0)
        for key in right:
            held = self.given[key]
            given = {**self.given, key: held + 0.1 * np.abs(held).max() * rng.normal(size=held.shape)}
            got = blocks.Forced(self.subject, given, self.calls, backward=False).computed.get(wrong)
            found += [key] if due is not None and not np.array_equal(got, due) else []
        return found

    def _staged(self, cover: "_Cover", base: Combined, some: list[Found]) -> list[Trial]:
        """Trials of what changes a backward everywhere, then of the same in some places. Where every cotangent is
        supplied, a place shows by itself what the whole shows there, so those alone are tried of which the whole
        explains something; else all, where the whole explains not all, or of the same place, where it is but one.
        """
        of = lambda found: (found.id, found.mutant.what)  # noqa: E731
        whole = {of(found) for found in some if not found.mutant.where and found.mutant.section == GRADIENTS}
        inner = [found for found in some if of(found) in whole and found.mutant.where]
        kept = {id(found) for found in inner}
        trials = self._tried(cover, base, [found for found in some if id(found) not in kept])
        inner += [Found(found.mistake, mutant) for found in some for mutant in found.mutant.inside]
        if not inner:
            return trials
        if self._every(GRADIENTS):
            told = {of(t.found[-1]) for t in trials}
            shown = {of(t.found[-1]) for t in trials if cover.explained(t).any()}
            first = [found for found in inner if of(found) in shown or of(found) not in told]
            trials += self._tried(cover, base, first)
            cover.parts(trials)
            if not cover.left.any():
                return trials
            kept = {id(found) for found in first}  # what several calls add to shows in none of them alone
            inner = [found for found in inner if id(found) not in kept
                     and any(self._reached(path, cover.evidence)[cover.left].any() for path in found.mutant.sites)]
        else:
            parts, foremost = cover.parts(trials), int(np.argmax(cover.wrong))
            if not cover.open[foremost]:
                places = {self.where.get(path) for part in parts for one in part.found for path in one.mutant.sites
                          if len(one.mutant.sites) == 1}  # fmt: skip
                near = [found for found in inner if len(found.mutant.sites) == 1
                        and self.where.get(found.mutant.sites[0]) in places]  # fmt: skip
                if cover.open.any():  # for now
                    shown, near = {of(t.found[-1]) for t in trials if cover.explained(t)[foremost]}, {*map(id, near)}
                    near = [found for found in inner if id(found) in near or of(found) in shown]
                    self.later = [found for found in inner if id(found) not in {*map(id, near)}]
                inner = near
        return trials + self._tried(cover, base, inner)

    def _place_of(self, mutant: Mutant) -> str:
        """The place, as "layer 3", of all calls that it replaces; "" where there are several, or none."""
        found = {place for path in mutant.sites if (place := self.where.get(path)) is not None}
        return found.pop() if len(found) == 1 else ""

    def _reached(self, path: str, evidence: Evidence) -> np.ndarray:
        """The tensors that change with what the backward of this call gives."""
        if path not in self.reach:
            site = next(site for site in self.sites if site.path == path)
            probe = Mutant("", partial(swapped, at={site.key: noisy(site.name)}), section=GRADIENTS)
            trial = self.trial((Found(next(iter(CATALOGUE.values())), probe),), evidence)
            none = np.ones(len(evidence.keys), bool)
            self.reach[path] = none if trial is None else ~(
                np.abs(trial.residuals - self.trial((), evidence).residuals) <= 1e-6)  # fmt: skip
        return self.reach[path]

    def _every(self, section: str) -> bool:
        """Whether the candidate has each activation, or its gradient, that the case has."""
        names = (name for held in self.calls.held.values() for name, *_ in held.values())
        due = {f"{section}/{name}" for name in names} & self.entries
        return bool(due) and due <= {*self.given}

    def _leaves(self, part: Part, cover: "_Cover") -> bool:
        """Whether, within the calls that it replaces, something stays wrong that nothing explains: then it explains a
        row, and no mistake. Within a block, what it has nothing to do with may be wrong for another reason.
        """
        inside = self._within(part, cover.evidence, cover.left)
        ops = {site.path for site in self.sites if site.name in PAIRS}
        if not inside or any(path in ops for _, path in inside):
            return bool(inside)
        trial = self.trial((*cover.right.found, *part.found), cover.evidence)
        return trial is None or any(cover.moved(trial)[i] for i, _ in inside)

    def _within(self, part: Part, evidence: Evidence, wrong: np.ndarray) -> list[tuple[int, str]]:
        """Which of these tensors are made within a call that a part replaces, and the paths of those calls."""
        if not wrong.any():
            return []
        place, start, order = self._places(), self.start, self.order
        at = {i: place(evidence.keys[i]) for i in np.flatnonzero(wrong)}
        paths = {path for one in part.found for path in one.mutant.sites}
        return [(i, path) for i, there in at.items() for path in paths if start[path] <= there <= order[path]]

    def _drop_unfinished(self) -> None:
        """Drops what replaces calls within which, after all that was found, a tensor of the forward pass is wrong."""
        trial = self._beside(self.forward, self.found)
        if trial is not None and self.parts:
            wrong = self._wrong(trial)
            self.parts = [part for part in self.parts if part.declared or not self._within(part, self.forward, wrong)]

    def _solved(self, cover: "_Cover", trials: list[Trial], base: Combined) -> list[Trial]:
        """Those that leave a value open, with the one that explains a block that nothing explains yet."""
        solved: list[Trial] = []
        for key in np.flatnonzero(cover.open):
            if cover.open[key]:
                later = cover.wrong & (np.arange(len(cover.left)) >= key)
                chosen = [t.found[-1] for t in trials if t.found[-1].mutant.free and cover.first_changed(t) == key]
                found = self._solved_at(cover, chosen, base, np.where(later, cover.right.residuals, 0))
                solved += self.run(((*base, one) for one in found), cover.evidence, len(found))
                cover.parts([*trials, *solved])
        return solved

    def _solved_at(self, cover: "_Cover", chosen: list[Found], base: Combined, residuals: np.ndarray) -> list[Found]:
        """Those with the value that explains what goes wrong first by these residuals, each solved once while what it
        changes is what it was.
        """
        known, found = self._known(cover.evidence), []
        wanted = np.isin(cover.evidence.keys, [*solving.first_wrong(cover.evidence, residuals)[0]])
        for one in chosen:
            then = known[id(one.mutant)][1] if id(one.mutant) in known else cover.right.residuals
            at = id(one.mutant), id(then), wanted.tobytes()
            if at not in self.values:
                self.values[at] = self.solved([one], base, cover.evidence, residuals), one, then  # kept for their ids
            found += self.values[at][0]
        return found

    def _pairs(self, cover: "_Cover", trials: list[Trial]) -> list[Part]:
        """Two mistakes in one block, for each block that no single one explains."""
        parts, cut = [], len(self.found)
        for key in np.flatnonzero(cover.left):
            if cover.left[key] and self.pairs and not self.left:
                acting = [trial.found[cut:] for trial in cover.acting(trials, key)]
                pairs = _paired(sorted(acting, key=lambda found: not self._likely(found)), self.pairs, self._likely)
                parts += cover.parts(self.run(((*self.found, *p) for p in pairs), cover.evidence, len(pairs)), key)
                self.pairs -= len(pairs)
        return parts

    def _likely(self, found: Combined) -> bool:
        """Whether it is acceptable, or was found elsewhere."""
        known = {(one.id, one.mutant.what) for part in self.parts for one in part.found}
        return all(one.variant or (one.id, one.mutant.what) in known for one in found)

    def _places(self) -> Callable[[str], int]:
        """The order, among the sites, of the call that makes a forward key's tensor; after all of them for a loss."""
        paths = {name: path.partition(":")[0] for name, path, *_ in self.module.activations(self.subject.config)}
        called = {held.name for names in self.calls.held.values() for held in names.values()}
        losses = term_paths(self.module.terms(self.subject.config), self.order)
        paths |= {name: path for name, path in losses.items() if name in called}
        return lambda key: self.order.get(paths.get(key.partition("/")[2], ""), len(self.sites))

    def _ordered(self, evidence: Evidence, wrong: np.ndarray, chosen: list[Found]) -> list[list[Found]]:
        """Those that can act first at a wrong tensor, then the others that can act at or before one; those of gradients
        before those of the forward pass, where that was supplied or is known to be right.
        """
        if evidence is not self.forward:
            own = [found for found in chosen if found.mutant.section == GRADIENTS]
            rest = [found for found in chosen if found.mutant.section != GRADIENTS]
            if not (self.forward.keys or self._passed(evidence, wrong)):
                return [[*own, *rest]]
            earliest = self._earliest(evidence.keys[int(np.argmax(wrong))])
            behind = [max(map(self.order.get, found.mutant.sites), default=earliest) >= earliest for found in own]
            reaching = [found for found, there in zip(own, behind, strict=True) if there]
            return [reaching, [found for found, there in zip(own, behind, strict=True) if not there], rest]
        near, far = [], []
        place = self._places()
        places = sorted({place(key) for key in evidence.keys})
        at_fault = {place(evidence.keys[i]) for i in np.flatnonzero(wrong)}
        for found in chosen:
            paths = found.mutant.sites
            starts = min((self.start[path] for path in paths), default=0)
            shows = {places[after] for path in paths if (after := bisect_left(places, self.start[path])) < len(places)}
            inside = any(self.start[path] <= at <= self.order[path] for path in paths for at in at_fault)
            if not paths or shows & at_fault or inside:
                near.append(found)
            elif starts <= max(at_fault):
                far.append((max(at_fault) - starts, found))
        return [near, [found for _, found in sorted(far, key=lambda item: item[0])]]

    def _passed(self, evidence: Evidence, wrong: np.ndarray) -> bool:
        """Whether a gradient behind the last layer with a wrong one is right: then so are the pass and the loss."""
        if any(site.tower for site in self.sites):
            return False
        places = ((site.params, i if "layer" in site.place else -1) for i, site in enumerate(self.sites))
        layer = {param: place for params, place in places for param in params}
        last = np.array([layer.get(self.owner.get(key.partition("/")[2]), -1) for key in evidence.keys])
        told = np.array([bool(np.any(evidence.truth(key))) for key in evidence.keys])
        heads = {path for path in layer if not path.startswith(("encoder", "decoder", "embeddings"))}
        wrong_heads = any(self.owner.get(evidence.keys[i].partition("/")[2]) in heads for i in np.flatnonzero(wrong))
        return not wrong_heads and last[~wrong & told].max(initial=-1) > last[wrong].max(initial=-1)

    def _earliest(self, key: str) -> int:
        """The first, in the order of the sites, of the calls whose gradients can reach a key's tensor."""
        name = key.partition("/")[2]
        used = [site.start for site in self.sites if self.owner.get(name) in site.params]
        rows = [path.partition(":")[0] for row, path, *_ in self.module.activations(self.subject.config) if row == name]
        return min([*used, *(self.start[path] for path in rows if path in self.start)], default=0)

    def _settled(self, part: Part) -> Part:
        """Of a tie in the forward pass, those that leave the fewest gradients wrong."""
        if not part.tied or len(self.forward.keys) == len(self.evidence.keys):
            return part
        others = tuple(one for other in self.parts if other is not part for one in other.found)
        left = []
        for found in (part.found, *part.tied):
            trial = self.trial((*found, *others), self.evidence)
            left.append((np.inf if trial is None else np.count_nonzero(trial.residuals > SUSPECT), found))
        least = min(count for count, _ in left)
        first, *rest = (found for count, found in left if count == least)
        return replace(part, found=first, tied=tuple(rest))

    def _without_gradient(self, part: Part) -> Part:
        """Of a tie, those that give no gradient to what has none in the candidate, which has the other parameters'."""
        if not part.tied or not self.unlearnt:
            return part
        others, kept = tuple(one for other in self.parts if other is not part for one in other.found), []
        for found in (part.found, *part.tied):
            tensors = self._forced((*found, *others), self.evidence, self.subject) or {}
            if all(not np.any(tensors.get(key, np.nan)) for key in self.unlearnt):
                kept.append(found)
        return replace(part, found=kept[0], tied=tuple(kept[1:])) if kept else part

    def _stepped(self, part: Part) -> Part:
        """Of a tie, those that leave the fewest tensors of the steps wrong."""
        if not part.tied or not self.steps.keys:
            return part
        numbers = tuple(sorted({int(key.split("/")[1]) for key in self.steps.keys}))
        others = tuple(one for other in self.parts if other is not part for one in other.found)
        trials = [self.free((*found, *others), self.steps, numbers) for found in (part.found, *part.tied)]
        left = [np.inf if t is None else np.count_nonzero(t.residuals > SUSPECT) for t in trials]
        every = zip((part.found, *part.tied), left, strict=True)
        kept = [found for found, count in every if count == min(left) < np.inf]
        return replace(part, found=kept[0], tied=tuple(kept[1:])) if kept else part

    def _explain_steps(self) -> str | None:
        """Adds what explains the optimizer's steps, of which nothing before is to blame; the first key that is left."""
        steps = Steps(self, self.found, self.first.key)
        agree = steps.agree()
        if not agree and any(part.tied for part in self.parts):
            self.parts = [self._stepped(part) for part in self.parts]
            steps = Steps(self, self.found, self.first.key)
            agree = steps.agree()
        if agree:
            self.through = steps.whole
            return None if self.parts else self.first.key
        good = steps.mistakes()
        if not good:
            return steps.first_wrong()
        everything, self.through = np.ones(len(self.steps.keys), bool), good[0]
        self.parts.append(_grouped(self, good, self.steps, len(self.found), everything))
        return None

    # ---- Saying it
    def _said(self, left: str | None) -> Diagnosis:
        """The diagnosis; left: the first tensor that nothing found explains."""
        told = _once([part for part in self.parts if part.kind != "explained" or left is None])
        if not told and not self.left:
            return self._without_name()
        mistakes = [one for part in told for one in part.mistakes]
        kinds = {part.kind for part in told}
        kind = told[0].kind if len(told) == 1 else "variant" if kinds == {"variant"} else "several"
        if self.left:
            kind = "unfinished"
        elif left is not None and kinds == {"variant"}:
            kind = "unknown"
        ratio, right = self._ratio(), max(self.right.ratio, self.first.ratio or 0)
        beside = [*self._others(told), *self._further(left)]
        lines = words.named(mistakes, kind, ratio, right, self.dtype, beside, map(str, told) if len(told) > 1 else None)
        faint = next((k for k, r in zip(self.evidence.keys, self.right.residuals, strict=True) if r > EXPLAINED), None)
        return Diagnosis(kind, mistakes, ratio, faint or self.first.key, lines, left, self.found)

    def _ratio(self) -> float:
        """What is left of the tensors that are explained, over the noise floor."""
        before = tuple(one for one in self.found if one.mutant.section != STEPS)
        trials = (self._beside(self.evidence, before), self.through)
        return max(worst(t.residuals[~(t.residuals > SUSPECT)]) for t in trials if t is not None)

    def _others(self, told: list[Part]) -> list[str]:
        """Lines about what explains the same as well, or less well."""
        lines = []
        for part in told:
            if len(part.found) > 1 or len(told) > 1:
                others = [" and ".join(map(str, found)) for found in part.tied[:3]]
                lines += [f"{' and '.join(map(str, part.found))}: as well explained by {other}" for other in others]
            less = ((" and ".join(map(str, found)), ratio) for found, ratio in part.less[:3])
            lines += [f"less well explained by {others} ({ratio:.0f} times the floor)" for others, ratio in less]
        return lines

    def _further(self, left: str | None) -> list[str]:
        """Lines about what nothing explains, and about what was not tried."""
        lines = [] if left is None else [f"no known mistake explains what is further wrong, from {left} on"]
        return [*lines, f"{self.left} mutants not tried, for want of time"] if self.left else lines

    def _without_name(self) -> Diagnosis:
        told = [" and ".join(map(str, part.found)) for part in self.parts]
        entries = sum(1 for m in CATALOGUE.values() if m.mutants and m.concerns(self.subject.family))
        more = [f"a part of it is explained by {one}, which has no entry in the catalogue" for one in told]
        tried = f"{len(self.mutants)} mutants of {entries} known mistakes, in {self.tried} runs"
        return words.unknown(self.first, "; ".join((tried, *more)))


# ---- What explains, and how much of it -------------------------------------------------------------------------------
class _Cover:
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
            parts.append(part := _grouped(self.runs, same, self.evidence, cut, at))
            chosen = next(trial for trial in same if trial.found[cut:] == part.found)
            self.loose |= self.explained(chosen) & self.left & (self._own(chosen).residuals > EXPLAINED)
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
        found = [t for t in trials if t.listed and self.moved(t)[key] and not self._spoils(t, SUSPECT)]
        return sorted(found, key=lambda t: t.residuals[key])

    def by_own_noise(self, trials: list[Trial]) -> list[Trial]:
        """The trials; those that leave far less than the right model are judged by their own rounding."""
        far = {id(t): worst((t.residuals / self.right.residuals)[self.moved(t) & self.wrong]) for t in trials}
        close = [t for t in trials if 0 < far[id(t)] <= 1 / BETTER and not self._settles(t)]
        close = sorted(close, key=lambda t: worst(t.residuals[self.moved(t)]))[:RETRIED]
        better = {id(t): self.runs.by_own_noise(t, self.evidence) for t in close}
        return [better.get(id(t)) or t for t in trials]

    def _own(self, trial: Trial) -> Trial:
        """The trial, judged by its own rounding where that of the right model does not explain all of it."""
        if worst(trial.residuals[self.explained(trial) & self.left]) <= EXPLAINED:
            return trial
        if id(trial) not in self.own:
            self.own[id(trial)] = trial, self.runs.by_own_noise(trial, self.evidence) or trial
        return self.own[id(trial)][1]

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
        return not self._spoils(trial, max(EXPLAINED, min(SUSPECT, most)))

    def _spoils(self, trial: Trial, bound: float) -> bool:
        before, after = self.right.residuals, trial.residuals
        return bool((~self.wrong & (after > np.maximum(bound, 1.01 * before))).any())


def _once(told: list[Part]) -> list[Part]:
    """Without parts whose one mistake is made everywhere by another of them: it has one name."""
    one = {id(part): [found for found in part.mistakes if not found.behind] for part in told}
    everywhere = {(found.id, found.mutant.what): part for part in told if len(one[id(part)]) == 1
                  for found in one[id(part)] if not found.mutant.where}  # fmt: skip
    return [part for part in told if len(one[id(part)]) != 1
            or everywhere.get((one[id(part)][0].id, one[id(part)][0].mutant.what), part) is part]  # fmt: skip


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of which tensors two trials leave not the same."""
    return ~((np.abs(one - other) <= 1e-6 * (1 + np.abs(one))) | (one == other) | (np.isnan(one) & np.isnan(other)))


def _alike(trials: list[tuple[Trial, np.ndarray]]) -> list[Trial]:
    """Those that explain the same tensors as the first."""
    _, first = trials[0]
    return [trial for trial, explained in trials if np.array_equal(explained, first)]


def _wrong(right: Trial) -> np.ndarray:
    """The tensors that a mistake is to explain: those beyond rounding, what is only suspect where nothing is worse."""
    certain = right.residuals > SUSPECT
    return certain if certain.any() else right.residuals > EXPLAINED


def _grouped(runs: Trials, good: list[Trial], evidence: Evidence, cut: int, at: np.ndarray) -> Part:
    """The best of the trials, which explain the same tensors, with those that give the same ones; at: which they are;
    cut: so many mutants of each trial were found before.
    """
    listed = sorted((t for t in good if t.listed), key=lambda t: worst(t.residuals[at])) or good
    whole = [trial if trial.flat is not None else runs.trial(trial.found, evidence) for trial in listed[:MOST]]
    best = whole[0]
    tied = [t for t in whole if worst(evidence.distances(t.flat, best.flat)) <= EXPLAINED]
    less = tuple((t.found[cut:], worst(t.residuals[at])) for t in whole if t not in tied)
    single = [t for t in tied if not any(one.mutant.also for one in t.found[cut:])]
    tied = single or tied  # one mistake that gives the same as two at once is said, not the two
    best = tied[0]
    exact = worst(listed[0].residuals[at]) <= EXPLAINED
    return Part(best.found[cut:], tuple(t.found[cut:] for t in tied[1:]), less, exact, first=int(np.argmax(at)))


def _paired(acting: list[Combined], most: int, likely: Callable[[Combined], bool]) -> list[Combined]:
    """Pairs of them, at most so many: the likely ones, which stand before, with all others, then those near the front
    with each other.
    """
    first = sum(map(likely, acting))
    with_likely = ((i, j) for j in range(len(acting)) for i in range(min(j, first)))
    pairs = chain(with_likely, ((i, j) for j in range(len(acting)) for i in range(first, j)))
    fitting = (
        (*acting[i], *acting[j]) for i, j in pairs if acting[i][0].id != acting[j][0].id or acting[i][0].mutant.where
    )
    return list(islice(fitting, most))
