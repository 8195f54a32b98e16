"""One round of the search: what explains tensors that are wrong beside what was found.

Mutants are tried in groups, the likeliest first, until all that is wrong is explained: of a group first those of all
places, then the same at one place each, where that can tell more. Then values are solved for, and where no single
mutant explains a tensor, two at once are tried. `Round` is about the forward pass, `Later` about what comes after it.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice

import numpy as np

from minibert.mistakes import nearing, solving
from minibert.mistakes.catalogue import FORWARD, GRADIENTS
from minibert.mistakes.cover import Cover, Part
from minibert.mistakes.curves import curves
from minibert.mistakes.dropping import dropping
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.order import Order
from minibert.mistakes.reach import Reach
from minibert.mistakes.trials import EXPLAINED, SOLVED, SUSPECT, WIDE, Combined, Trial, Trials
from minibert.mistakes.unloaded import unloaded
from minibert.mistakes.words import Found
from minibert.progress import over

FAR = 1000 * SUSPECT  # floors: no rounding
MOST_PAIRS = 1000  # that are tried where no single mistake explains a block


@dataclass
class Memory:
    """What rounds over the same tensors leave to the next.

    reach: what depends on what; known: by the id of a mutant its last trial, what the base left then, and which tensors
    it moved; values: of what leaves one open, by the mutant and what it was solved from; spoilt: whether a mutant makes
    the forward pass wrong, by it and those of the forward pass that it stands on; several: the runs that several
    mistakes in one block may still take.
    """

    reach: Reach
    known: dict[int, tuple[Trial, np.ndarray, np.ndarray]] = field(default_factory=dict)
    values: dict[tuple, tuple] = field(default_factory=dict)
    spoilt: dict[tuple, bool] = field(default_factory=dict)
    several: int = field(default_factory=lambda: nearing.MOST)


class Round:
    """A round on the forward pass.

    before: what was found; wrong: which tensors that leaves wrong; chosen: the mutants in question; faint: nothing is
    wrong beyond doubt, so these are elsewhere the mistakes of before, if anything; pairs: so many may be tried.
    """

    def __init__(
        self, runs: Trials, evidence: Evidence, order: Order, memory: Memory, before: list[Part], wrong: np.ndarray,
        chosen: list[Found], faint: bool, pairs: int,
    ):  # fmt: skip
        self.runs, self.evidence, self.order, self.memory = runs, evidence, order, memory
        self.before, self.chosen, self.faint, self.pairs = before, chosen, faint, pairs
        self.base: Combined = tuple(one for part in before for one in part.found)
        self.cover = Cover(runs, evidence, runs.trial(self.base, evidence), wrong)
        self.foremost = int(np.argmax(wrong))
        self.trials: list[Trial] = []

    def parts(self) -> list[Part]:
        """What explains tensors that are wrong, in their order; [] where nothing does."""
        parts = self._by_one() or self._in_turn()
        if not parts and not self.faint:
            parts = self._unread() or self._read_off() or self._pairs() or self._several()
        return sorted(parts, key=lambda part: part.first)

    # ---- The stages
    def _by_one(self) -> list[Part]:
        """One of the likely mutants, where it explains all and can be told from the others."""
        return []

    def _in_turn(self) -> list[Part]:
        """The mutants, group by group, until nothing is left to explain."""
        for some in self._groups():
            put_off = self._staged(some)
            parts = self.cover.parts(self.trials)
            if self.cover.open.any():
                parts = self._solved(listed=True)
            if not self.cover.open.any():
                break
            if first := self._alone(parts):
                return first
            if put_off:
                self._tried(put_off)
                parts = self.cover.parts(self.trials)
        if self.cover.left.any():  # a value of what has no entry stands behind every name
            parts = self._solved(listed=False)
        if self.cover.left.any() and not self.runs.late():
            parts = self.cover.parts(self.cover.by_own_noise(self.trials))
        return [part for part in parts if not self.unfinished(part)]

    def _unread(self) -> list[Part]:
        """What acts within one call whose tensor is right, and goes into the first wrong one: a mistake made behind the
        place where the tensor was written.
        """
        every = [found for one in self.chosen for found in (one, *_inside([one]))]
        every = [found for found in every if found.mutant.sites and not found.mutant.silent]
        order, more = self.order, []
        for key in self._read_by(self.evidence.keys[self.foremost]):
            path = order.made.get(key.partition("/")[2], "")
            if path in order.number:
                first, last = order.start[path], order.number[path]
                within = [
                    found for found in every if all(first <= order.number[site] <= last for site in found.mutant.sites)
                ]
                spelled = re.escape(self.runs.spelled(key).partition("/")[2])
                more += [replace(found, mutant=replace(found.mutant, silent=f"({FORWARD}|{GRADIENTS})/{spelled}"))
                         for found in within]  # fmt: skip
        return [part for part in self.cover.parts(self._tried(more)) if not self.unfinished(part)]

    def _read_by(self, wrong: str) -> list[str]:
        """The right tensors of the candidate that go into the block of a wrong one."""
        right = (k for k, bad in zip(self.evidence.keys, self.cover.wrong, strict=True) if not bad)
        return [key for key in right if key in self.runs.given and wrong in self.runs.made_of([key])]

    def _read_off(self) -> list[Part]:
        """What drops at random, computes with weights that are none of the case's, or by any other activation."""
        readers = (dropping, unloaded, curves) if self.runs.dtype in WIDE else ()
        found = [one for read in readers for one in read(self.cover)]
        trials = self.runs.run([(*self.base, one) for one in found], self.evidence, len(found))
        return [part for part in self.cover.parts(trials) if not self.unfinished(part)]

    def _pairs(self) -> list[Part]:
        """Two mistakes in one block, for each block that no single one explains."""
        parts, cut = [], len(self.base)
        for key in np.flatnonzero(self.cover.left):
            if self.cover.left[key] and self.pairs and not self.runs.left:
                acting = [trial.found[cut:] for trial in self.cover.acting(self.trials, key)]
                sure = self._by_rows(acting)
                acting = sorted(acting, key=lambda found: (id(found[0]) not in sure, not self._expected(found)))
                pairs = _paired(acting, self.pairs, len(sure), self._expected)
                runs = self.runs.run(((*self.base, *pair) for pair in pairs), self.evidence, len(pairs))
                parts += [part for part in self.cover.parts(runs, key) if not self.unfinished(part)]
                self.pairs -= len(pairs)
        return parts

    def _several(self) -> list[Part]:
        """More mistakes in the first block that is wrong, and in what it turns out to be within."""
        if self.runs.dtype not in WIDE:
            return []
        key, order, memory = self.foremost, self.order, self.memory
        trials = [trial for trial in self.trials if not trial.found[-1].mutant.rounds]
        acting = [trial.found[-1] for trial in self.cover.acting(trials, key)]
        known, there = {id(one) for one in acting}, order.place_of(self.evidence.keys[key])
        others = [trial.found[-1] for trial in trials if trial.listed]
        others = [one for one in others if id(one) not in known and there in map(order.where.get, one.mutant.sites)]
        found, memory.several = nearing.nearing(self.cover, acting, others, key, memory.several)
        while parts := self.cover.parts(found):
            inside = within(parts[0], order, self.evidence, self.cover.left)
            if not inside or not self.unfinished(parts[0]):
                return parts[:1]
            key, start = inside[0][0], parts[0].found
            found, memory.several = nearing.nearing(self.cover, [], [*acting, *others], key, memory.several, start)
        return []

    def _by_rows(self, acting: list[Combined]) -> set[int]:
        """The ids of those by which other rows of a table are looked up, just those that have a gradient in the
        candidate: whatever else is wrong, it leaves these as they are. Of what gives the same, one.
        """
        runs = self.runs
        if runs.dtype not in WIDE or runs.evidence is self.evidence:
            return set()
        whole, right = runs.evidence, runs.trial(self.base, runs.evidence)
        if right is None:
            return set()
        before, due = whole.nothing(right.flat), whole.nothing(whole.values)
        other = [key for key in due if not np.array_equal(before[key], due[key])]
        tables = {site.path for site in runs.sites if site.name == "embedding"}
        found: dict[bytes, int] = {}
        for (one,) in acting if other else ():
            if not tables.isdisjoint(one.mutant.sites):
                trial = runs.trial((*self.base, one), whole)
                rows = whole.nothing(trial.flat) if trial else {}
                if any(np.array_equal(rows.get(key), due[key]) for key in other):
                    found.setdefault(trial.flat.tobytes(), id(one))
        return {*found.values()}

    def _expected(self, found: Combined) -> bool:
        """Whether it is acceptable, or was found elsewhere."""
        known = {(one.id, one.mutant.what) for one in self.base}
        return all(one.variant or (one.id, one.mutant.what) in known for one in found)

    # ---- Groups of mutants, and what is tried of one
    def _groups(self) -> list[list[Found]]:
        """Those that can act first at a wrong tensor, then the others that can act at or before one."""
        near, far, order, wrong = [], [], self.order, np.flatnonzero(self.cover.wrong)
        places = sorted({order.of(key) for key in self.evidence.keys})
        at_fault = {order.of(self.evidence.keys[i]) for i in wrong}
        unseen = order.unseen(self.evidence.keys)
        for found in self.chosen:
            paths = found.mutant.sites
            starts = min((order.start[path] for path in paths), default=0)
            begun = {order.start[path] for path in paths} | {order.number[path] + 1 for path in paths if path in unseen}
            shows = {places[after] for n in begun if (after := bisect_left(places, n)) < len(places)}
            if not paths or shows & at_fault or any(order.around([found.mutant], at) for at in at_fault):
                near.append(found)
            elif starts <= max(at_fault):
                far.append((max(at_fault) - starts, found))
        return [near, [found for _, found in sorted(far, key=lambda item: item[0])]]

    def _staged(self, some: list[Found]) -> list[Found]:
        """Tries the group; where that leaves something, at one place each what explains something everywhere: all of
        it, where not every activation was supplied.
        """
        trials, inner = self._tried(some), _inside(some)
        parts = self.cover.parts(trials)
        if inner and not self.cover.left.any():  # what is wrong in one place may be another mistake's made there
            places = {self.order.place(one.mutant) for part in parts for one in part.found} - {""}
            inner = [found for found in inner if self.order.place(found.mutant) in places]
        elif inner and self.runs.every(FORWARD):
            shown = {id(mutant) for t in trials if self.cover.explained(t).any()
                     for mutant in t.found[-1].mutant.inside}  # fmt: skip
            inner = [found for found in inner if id(found.mutant) in shown]
        if inner:
            self._tried(inner)
        return []

    def _alone(self, parts: list[Part]) -> list[Part]:
        """Those that explain the first wrong tensor, where what is behind it is another question."""
        return []

    # ---- Trials
    def _tried(self, some: list[Found]) -> list[Trial]:
        """Trials of each of these on top of the base, which are noted. What was tried on top of less, and changes
        nothing that the rest of the base does, leaves what it left, and elsewhere what the base leaves; a block may
        read what it did not.
        """
        now, held, fresh, known = self.cover.right.residuals, [], [], self.memory.known
        changes: dict[int, np.ndarray] = {}
        for found in some:
            trial, then, moved = known.get(id(found.mutant), (None, now, None))
            if id(then) not in changes:
                changes[id(then)] = differ(then, now)
            again = then is not now and ((moved & changes[id(then)]).any() or not self.order.reads_alike(found.mutant))
            if trial is None or again:
                fresh.append(found)
            else:
                held.append(Trial((*self.base, found), np.where(moved, trial.residuals, now), acts=trial.acts))
        tried = self.runs.run(((*self.base, found) for found in fresh), self.evidence, len(fresh), self.cover.right)
        for trial in tried:
            known[id(trial.found[-1].mutant)] = trial, now, differ(now, trial.residuals)
        place = {id(found): i for i, found in enumerate(some)}
        trials = sorted([*held, *tried], key=lambda trial: place[id(trial.found[-1])])
        self.trials += trials
        return trials

    def _solved(self, listed: bool) -> list[Part]:
        """Adds those that leave a value open, with the one that explains a block that nothing explains yet; what
        explains most then. listed: of entries of the catalogue, or of what has none.
        """
        cover, solved = self.cover, []
        trials = [trial for trial in self.trials if trial.listed is listed]
        free = [trial for trial in trials if trial.found[-1].mutant.free]
        for key in np.flatnonzero(cover.open):
            if cover.open[key]:
                later = cover.wrong & (np.arange(len(cover.left)) >= key)
                chosen = [trial.found[-1] for trial in free if cover.first_changed(trial) == key]
                found = self._values(chosen, np.where(later, cover.right.residuals, 0))
                solved += self.runs.run(((*self.base, one) for one in found), self.evidence, len(found))
                cover.parts([*trials, *solved])
        self.trials += solved
        return cover.parts(self.trials)

    def _values(self, chosen: list[Found], residuals: np.ndarray) -> list[Found]:
        """Those with the value that explains what goes wrong first by these residuals, each solved once while what it
        changes is what it was.
        """
        known, values, found = self.memory.known, self.memory.values, []
        wanted = np.isin(self.evidence.keys, [*solving.first_wrong(self.evidence, residuals)[0]])
        for one in over(chosen, SOLVED):
            then = known[id(one.mutant)][1] if id(one.mutant) in known else self.cover.right.residuals
            at = id(one.mutant), id(then), wanted.tobytes()
            if at not in values:
                values[at] = self.runs.solved([one], self.base, self.evidence, residuals), one, then  # kept: so are ids
            found += values[at][0]
        return found

    def unfinished(self, part: Part) -> bool:
        """Whether, within the calls that it replaces, something stays wrong that nothing explains: then it explains a
        row, and no mistake. Within a block, what it has nothing to do with may be wrong for another reason.
        """
        inside = within(part, self.order, self.evidence, self.cover.left)
        if not inside or any(path in self.order.ops for _, path in inside):
            return bool(inside)
        trial = self.runs.trial((*self.base, *part.found), self.evidence)
        return trial is None or any(self.cover.moved(trial)[i] for i, _ in inside)


class Later(Round):
    """A round on the gradients, and on what of the forward pass shows in them alone."""

    def _by_one(self) -> list[Part]:
        """Where cotangents are missing, a mutant that is wrong somewhere changes all that is before it: so there are
        few likely ones (`Reach`).
        """
        if self.faint or self.runs.every(GRADIENTS):
            return []
        told = self.runs.forward.keys and self.runs.dtype in WIDE
        chosen = [found for found in self.chosen if found.mutant.section == GRADIENTS or not told]
        reach, right, wrong = self.memory.reach, self._right, self.cover.wrong
        put_off = self._staged(chosen, lambda found: reach.likely(found.mutant, right, wrong))
        parts = self.cover.parts(self.trials)
        if self.cover.open.any() and put_off:
            self._tried(put_off)
            parts = self.cover.parts(self.trials)
        one = len(parts) == 1 and not self.cover.open.any() and not self.unfinished(parts[0])
        if not one:
            self.trials = []
        return parts if one else []

    def _tried(self, some: list[Found]) -> list[Trial]:
        return super()._tried([found for found in some if not self._spoils_forward(found)])

    def _spoils_forward(self, found: Found) -> bool:
        """Whether it makes a right tensor of the forward pass wrong by so much that no rounding and no value of its own
        can be why: then its gradients need not be computed.
        """
        forward = self.runs.forward
        if found.mutant.section != FORWARD or found.mutant.free or not forward.keys or self.runs.dtype not in WIDE:
            return False
        of = id(found.mutant), *(id(one.mutant) for one in self.base if one.mutant.section == FORWARD)
        if of not in self.memory.spoilt:
            trial = self.runs.trial((*self.base, found), forward)
            at = [self.evidence.keys.index(key) for key in forward.keys]
            self.memory.spoilt[of] = trial is not None and bool((self._right[at] & (trial.residuals > FAR)).any())
        return self.memory.spoilt[of]

    @cached_property
    def _right(self) -> np.ndarray:
        return self.cover.right.residuals <= EXPLAINED

    def _unread(self) -> list[Part]:
        return []

    def _read_off(self) -> list[Part]:
        return []

    def _several(self) -> list[Part]:
        return []

    def _groups(self) -> list[list[Found]]:
        """Mutants of gradients, first those that reach the first wrong one, before those of the forward pass, where
        that was supplied or is known to be right; 16 bits may hide there what its gradients show.
        """
        own = [found for found in self.chosen if found.mutant.section == GRADIENTS]
        rest = [found for found in self.chosen if found.mutant.section != GRADIENTS]
        reach = self.memory.reach
        right = self.runs.forward.keys or reach.forward_is_right(self._right)
        if not right or self.runs.dtype not in WIDE:
            return [[*own, *rest]]
        reaching = [reach.reaches(found.mutant, self.foremost) for found in own]
        return [[found for found, there in zip(own, reaching, strict=True) if there],
                [found for found, there in zip(own, reaching, strict=True) if not there], rest]  # fmt: skip

    def _staged(self, some: list[Found], may: Callable[[Found], bool] = lambda found: True) -> list[Found]:
        """Tries what changes a backward everywhere, then the same in some places; what was put off for now. Where every
        cotangent is supplied, a place shows by itself what the whole shows there, so those alone are tried of which the
        whole explains something; else all, where the whole explains not all, or of the same place, where it is but one.
        may: whether a mutant is tried at all.
        """
        whole = {_kind(found) for found in some if not found.mutant.where and found.mutant.section == GRADIENTS}
        placed = [found for found in some if _kind(found) in whole and found.mutant.where]
        kept = {id(found) for found in placed}
        trials = self._tried([found for found in some if id(found) not in kept and may(found)])
        inner = [found for found in (*placed, *_inside(some)) if may(found)]
        if not inner:
            return []
        if self.runs.every(GRADIENTS):
            self._where_it_shows(trials, inner)
            return []
        return self._where_it_may_be(trials, inner)

    def _where_it_shows(self, trials: list[Trial], inner: list[Found]) -> None:
        """Tries at one place what explains something everywhere, or was not tried so, then, for what several calls add
        to shows in none of them alone, the others that reach what is left.
        """
        told = {_kind(t.found[-1]) for t in trials}
        shown = {_kind(t.found[-1]) for t in trials if self.cover.explained(t).any()}
        first = [found for found in inner if _kind(found) in shown or _kind(found) not in told]
        self.cover.parts([*trials, *self._tried(first)])
        if self.cover.left.any():
            kept, left = {id(found) for found in first}, self.cover.left
            self._tried(
                [
                    found
                    for found in inner
                    if id(found) not in kept
                    and any(self.memory.reach.gradients(path)[left].any() for path in found.mutant.sites)
                ]
            )

    def _where_it_may_be(self, trials: list[Trial], inner: list[Found]) -> list[Found]:
        """Tries these at one place each: where the first wrong tensor is explained, those at the same place, or where
        it is made, and what explains it everywhere; the others are put off.
        """
        parts, later = self.cover.parts(trials), []
        if not self.cover.open[self.foremost]:
            wheres = {self.order.where.get(path) for part in parts for one in part.found for path in one.mutant.sites
                      if len(one.mutant.sites) == 1}  # fmt: skip
            single = [(found, *found.mutant.sites) for found in inner if len(found.mutant.sites) == 1]
            near = {id(found) for found, path in single
                    if self.order.where.get(path) in wheres or self.memory.reach.own(path)[self.foremost]}  # fmt: skip
            if self.cover.open.any():
                explain = [t for t in trials if self.cover.explained(t)[self.foremost]]
                shown = {_kind(t.found[-1]) for t in explain}
                near |= {id(found) for found in inner if _kind(found) in shown}
                later = [found for found in inner if id(found) not in near]
            inner = [found for found in inner if id(found) in near]
        self._tried(inner)
        return later

    def _alone(self, parts: list[Part]) -> list[Part]:
        if not self.runs.forward.keys:
            return []
        return [part for part in parts if part.first == self.foremost and part.exact and not self.unfinished(part)]


def within(part: Part, order: Order, evidence: Evidence, wrong: np.ndarray) -> list[tuple[int, str]]:
    """Which of these tensors are made within a call that a part replaces, and the paths of those calls."""
    mutants = [one.mutant for one in part.found]
    return [(i, path) for i in np.flatnonzero(wrong) for path in order.around(mutants, order.of(evidence.keys[i]))]


def _inside(some: Iterable[Found]) -> list[Found]:
    """The same mutants at one place each."""
    return [replace(found, mutant=mutant) for found in some for mutant in found.mutant.inside]


def _kind(found: Found) -> tuple[str, str]:
    """What is the same at all places."""
    return found.id, found.mutant.what


def differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of which tensors two trials leave not the same."""
    return ~((np.abs(one - other) <= 1e-6 * (1 + np.abs(one))) | (one == other) | (np.isnan(one) & np.isnan(other)))


def _paired(acting: list[Combined], most: int, sure: int, likely: Callable[[Combined], bool]) -> list[Combined]:
    """Pairs of them, at most so many: the first, of which so many are sure, with all others, then the likely ones,
    which stand before the rest, with all others, then those near the front with each other.
    """
    first = sure + sum(map(likely, acting[sure:]))
    with_sure = ((i, j) for j in range(len(acting)) for i in range(min(j, sure)))
    with_likely = ((i, j) for j in range(sure, len(acting)) for i in range(sure, min(j, first)))
    pairs = chain(with_sure, with_likely, ((i, j) for j in range(len(acting)) for i in range(first, j)))
    fitting = (
        (*acting[i], *acting[j]) for i, j in pairs if acting[i][0].id != acting[j][0].id or acting[i][0].mutant.where
    )
    return list(islice(fitting, most))
