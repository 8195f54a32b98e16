"""Which known mistakes explain a candidate's tensors?

Mutants of the case's own subject are run, forced (`trials`), and held against the candidate: first the forward pass,
then, on top of what was found there, the gradients, then the optimizer's steps. A mutant explains a tensor when
rounding explains what it leaves of it, and it leaves far less than the right model; it is out where it makes a right
tensor wrong. Of those that explain, the fewest are named that explain all together. Where no single one explains a
tensor, two at once are tried. What nothing explains gets no name, and no clock decides. Beside something that nothing
explains a mistake has its name only where it explains all that it moves, and what is made straight of that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families
from minibert.config import nearest, require, shown
from minibert.errors import InputError
from minibert.golden import compare
from minibert.golden.case import Case
from minibert.golden.subject import Subject
from minibert.mistakes import going, words
from minibert.mistakes.catalogue import CATALOGUE, FORWARD, GRADIENTS, STEPS
from minibert.mistakes.cover import MANY, Part, grouped, wrong_of
from minibert.mistakes.evidence import Evidence, worst
from minibert.mistakes.order import Order
from minibert.mistakes.reach import Reach
from minibert.mistakes.rounds import MOST_PAIRS, Later, Memory, Round, differ, within
from minibert.mistakes.stepping import Steps
from minibert.mistakes.trials import EXPLAINED, SUSPECT, WIDE, Combined, Trial, Trials
from minibert.mistakes.words import Diagnosis, Found


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
    if _blank(case, candidate):
        return words.unknown(first, "each tensor is one number throughout: none of them is what was computed")
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


def _blank(case: Case, candidate: Mapping[str, Any]) -> bool:
    """Whether each computed tensor is one number throughout, where another is due."""
    computed = (key for key in candidate if case.entries[key].role not in ("weight", "input"))
    arrays = {key: array for key in computed if (array := np.asarray(candidate[key])).size > 1}
    blank = all((array == array.flat[0]).all() for array in arrays.values())
    return blank and any(np.ptp(case.tensor(key)) > 0 for key in arrays)


def _unlearnt(case: Case, subject: Subject, candidate: Mapping[str, Any]) -> list[str]:
    """The parameters' gradients that the candidate lacks, where it has most."""
    names = (name for _, name, *_ in families.family(subject.family).names(subject.config))
    learnt = {f"{GRADIENTS}/{name}" for name in names} & {*case.entries}
    lacking = learnt - {*candidate}
    return sorted(lacking) if 2 * len(lacking) < len(learnt) else []


class _Search(Trials):
    def __init__(
        self, case: Case, subject: Subject, candidate: Mapping[str, Any], dtype: str, rows: list[compare.Row],
        first: compare.Row, seconds: float | None,
    ):  # fmt: skip
        super().__init__(case, subject, candidate, dtype, rows, seconds)
        self.first = first
        self.parts: list[Part] = []
        self.order = Order(self)
        self.memories: dict[tuple[int, bool], Memory] = {}  # by the evidence, and whether its tensors are given
        self.pairs = MOST_PAIRS  # that may still be tried
        self.through: Trial | None = None  # a run of what was found through the optimizer's steps
        self.unlearnt = _unlearnt(case, subject, candidate)
        self.right, forced = self.free((), self.evidence), self.trial((), self.evidence)
        beyond = (forced.residuals > SUSPECT) & (self.right.residuals <= EXPLAINED)
        if beyond.any() or not wrong_of(forced).any():
            # what was written is not what was gone on with; or what is wrong shows only where it has grown
            self.given = {}

    # ---- Deciding
    def diagnosis(self, declared: Iterable[str]) -> Diagnosis:
        """What explains the candidate."""
        for id in declared:
            self._declared(id)
        self._explain_forward()
        self._explain_gradients()
        left = self._left(self.evidence)
        if left is None or (not self.parts and self.first.key.startswith(f"{STEPS}/")):
            left = self._explain_steps() if self.steps.keys else left
        return self._said(self._lacking() if left is None else left)

    def _explain_forward(self) -> None:
        """Adds what explains the forward pass, of ties what its gradients speak for."""
        acting = [found for found in self.mutants if found.mutant.section == FORWARD]
        while self._explain(self.forward, acting) or self._widened(self.forward, acting):
            pass
        self._drop_unfinished()
        if not self.parts and self._grown():
            self._explain_grown(acting)
        self.parts = [self._settled(part) for part in self.parts]

    def _widened(self, evidence: Evidence, acting: list[Found]) -> bool:
        """Whether more is explained where what was found in one place is made in all: there another mistake hid it."""
        before, trial = self.parts, self._beside(evidence, self.found)
        wrong = np.zeros(0, bool) if trial is None else self._wrong(trial)
        placed = [part for part in before if len(part.found) == 1 and part.found[0].mutant.where]
        for part in placed if wrong.any() else ():
            one, same = part.found[0], {tied[0].id for tied in part.tied} <= {part.found[0].id}
            for whole in (found for found in acting if same and not found.mutant.where and found.alike(one)):
                self.parts = [Part((whole,), exact=part.exact, first=part.first) if p is part else p for p in before]
                wide = self._beside(evidence, self.found)
                if wide is not None and not (self._wrong(wide) & ~wrong).any() and self._explain(evidence, acting):
                    return True
                self.parts = before
        return False

    def _explain_gradients(self) -> None:
        """Adds what explains the gradients; where the forward pass is not explained, all of them, or nothing."""
        told, before = self._forward_told(), [*self.parts]
        later = [found for found in self.mutants if found.mutant.section in (FORWARD, GRADIENTS)]
        silent = [] if told else self._silent_there(later)
        alone = not self.forward.keys
        while self._explain(self.evidence, later if told else silent) or (
            alone and self._widened(self.evidence, later)):
            told = told or self._forward_told()
        if not told and self._left(self.evidence) is not None:
            self.parts = before
        self._drop_needless()
        self.parts = [self._without_gradient(part) for part in self.parts]
        self.parts = [self._stepped(part) if part.found[0].mutant.section == GRADIENTS else part for part in self.parts]

    def _silent_there(self, chosen: list[Found]) -> list[Found]:
        """Those that say nothing of some tensor of the forward pass that is wrong beside what was found."""
        trial = self._beside(self.forward, self.found)
        wrong = np.zeros(0, bool) if trial is None else self._wrong(trial)
        keys = [key for key, one in zip(self.forward.keys, wrong, strict=True) if one]
        silences = ((found, self.silence([found.mutant])) for found in chosen if found.mutant.silent)
        return [found for found, silence in silences if any(map(silence, keys))]

    def _drop_needless(self) -> None:
        """Drops parts without which nothing more is wrong: what was found later explains what they did, or what gives
        the same as another part does.
        """
        for part in [part for part in self.parts if not part.declared]:
            others = [other for other in self.parts if other is not part]
            whole = self._beside(self.evidence, self.found)
            if not others or whole is None:
                return
            wrong = self._wrong(whole)
            for rest in self._told_otherwise(others):
                trial = self.trial(tuple(one for other in rest for one in other.found), self.evidence)
                if trial is not None and not (self._wrong(trial) & ~wrong).any():
                    self.parts = rest
                    break

    def _told_otherwise(self, parts: list[Part]) -> Iterator[list[Part]]:
        """These parts, then with one of what gives the same in the place of one of them, under all of its names."""
        yield parts
        for i, part in enumerate(parts):
            for other in part.tied:
                way = [(one.mutant.what, one.mutant.where) for one in other]
                names = (found for found in (part.found, *part.tied) if found is not other)
                same = tuple(f for f in names if [(one.mutant.what, one.mutant.where) for one in f] == way)
                yield [*parts[:i], replace(part, found=other, tied=same), *parts[i + 1 :]]

    def _grown(self) -> bool:
        """Whether, in 16 bits, the forward pass is wrong, and by itself no block of it is."""
        if not self.given or self.dtype in WIDE or not self.forward.keys:
            return False
        forced, free = self.trial((), self.forward), self.free((), self.forward)
        return free is not None and not wrong_of(forced).any() and wrong_of(free).any()

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
        return trial.residuals > self.bound if self.parts else wrong_of(trial, self.bound)

    def _lacking(self) -> str | None:
        """The first tensor that the candidate has wrong, and what was found gives none of, though it knows what it is:
        of what it does without, nothing is due, or 0.
        """
        evidence, trial = self.evidence, self._beside(self.evidence, self.found)
        if trial is None or not self.parts or not np.isnan(trial.residuals).any():
            return None
        silence = self.silence(one.mutant for one in trial.found)
        right = self.trial((), evidence).residuals
        wrong = np.isnan(trial.residuals) & (right > self.bound)
        wrong &= _some(evidence)
        some = (key for key, one in zip(evidence.keys, wrong, strict=True) if one)
        return next((key for key in some if not (silence and silence(key))), None)

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

    def _explain(self, evidence: Evidence, chosen: list[Found]) -> bool:
        """Adds what explains tensors that are wrong beside what was found; whether anything does."""
        self.base = self.found
        right = self._beside(evidence, self.base)
        wrong = np.zeros(0, bool) if right is None else wrong_of(right, self.bound)
        if not wrong.any() or not self.telling(evidence, wrong):
            return False
        faint = bool(self.parts) and not self._wrong(right).any()
        if faint:
            known = {one.id for part in self.parts for one in part.mistakes}
            chosen = [found for found in chosen if found.id in known]
        memory = self._memory(evidence)
        kind = Round if evidence is self.forward else Later
        this = kind(self, evidence, self.order, memory, self.parts, wrong, chosen, faint, self.pairs)
        parts, self.pairs = this.parts(), this.pairs
        self.parts = [*self.parts, *parts]
        return bool(parts)

    def _memory(self, evidence: Evidence) -> Memory:
        """What rounds over these tensors leave to the next."""
        at = id(evidence), bool(self.given)
        if at not in self.memories:
            self.memories[at] = Memory(Reach(self, evidence, self.order))
        return self.memories[at]

    def _drop_unfinished(self) -> None:
        """Drops what replaces calls within which, after all that was found, a tensor of the forward pass is wrong."""
        trial = self._beside(self.forward, self.found)
        if trial is not None and self.parts:
            inside = partial(within, order=self.order, evidence=self.forward, wrong=self._wrong(trial))
            self.parts = [part for part in self.parts if part.declared or not inside(part)]

    def _settled(self, part: Part) -> Part:
        """Of a tie in the forward pass, those that leave the fewest gradients wrong."""
        if not part.tied or len(self.forward.keys) == len(self.evidence.keys):
            return part
        others = tuple(one for other in self.parts if other is not part for one in other.found)
        left = []
        for found in (part.found, *part.tied):
            trial = self.trial((*found, *others), self.evidence)
            left.append((np.inf if trial is None else np.count_nonzero(trial.residuals > self.bound), found))
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
        self.parts.append(grouped(self, good, self.steps, len(self.found), everything))
        return None

    def _sure(self, part: Part) -> bool:
        """Whether a part is a name though something else stays wrong: rounding explains what it leaves, nothing that it
        moves stays wrong with what it explains, nor, in the same layer or part, what is made straight of that.
        """
        if part.declared or part.variant:
            return True
        evidence, whole = self.evidence, self._beside(self.evidence, self.found)
        without = self.trial(tuple(one for p in self.parts if p is not part for one in p.found), evidence)
        if not part.exact or whole is None or without is None:
            return False
        wrong = self._wrong(whole)
        moved = differ(without.residuals, whole.residuals) & ~(np.abs(without.residuals - whole.residuals) <= EXPLAINED)
        moved &= ~np.isnan(whole.residuals)
        told = moved & (without.residuals > EXPLAINED) & ~wrong
        if not self.forward.keys:  # a gradient of 0 follows from this, or from a forward pass without the parameter
            told &= _some(evidence)
        if not told.any():
            return False
        forward = np.array([key.startswith(f"{FORWARD}/") for key in evidence.keys])
        if (told & forward).any():
            told &= forward
        if evidence.sizes[told].sum() >= MANY:  # of a few numbers all that follows has to be right
            moved &= forward == forward[np.argmax(told)]
        return not (moved & wrong).any() and not self._goes_on(told & forward, wrong & forward)

    def _goes_on(self, told: np.ndarray, wrong: np.ndarray) -> bool:
        """Whether wrong tensors are made straight of these, which are explained, in the same layer or part."""
        keys = self.evidence.keys
        some = [key for key, one in zip(keys, told, strict=True) if one and key in self.given]
        near = [key for key, one in zip(keys, wrong, strict=True)
                if one and any(self.order.beside(other, key) for other in some)]  # fmt: skip
        return bool(near) and bool(self.made_of(some).intersection(near))

    # ---- Saying it
    def _said(self, left: str | None) -> Diagnosis:
        """The diagnosis; left: the first tensor that nothing found explains."""
        told = _once([part for part in self.parts if left is None or (part.kind != "explained" and self._sure(part))])
        if not told and not self.left:
            return self._without_name()
        told.sort(key=lambda part: part.variant)
        mistakes = [one for part in told for one in part.mistakes]
        kinds = {part.kind for part in told}
        kind = told[0].kind if len(told) == 1 else "variant" if kinds == {"variant"} else "several"
        if self.left:
            kind = "unfinished"
        elif left is not None and kinds == {"variant"}:
            kind = "unknown"
        ratio, right = self._ratio(), max(self.right.ratio, self.first.ratio or 0)
        beside = [*self._others(told), *self._further(left)]
        each = [str(part) for part in told if not part.variant or kinds == {"variant"}] if len(told) > 1 else None
        acceptable = [str(part) for part in told if part.variant and kinds != {"variant"}]
        lines = words.named(mistakes, kind, ratio, right, self.dtype, beside, each, acceptable)
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
            one, *more = part.found
            places = [found[0].place or " everywhere" for found in part.tied if not more and one.alike(found[0])]
            lines += [f"{one}: as well{', or'.join(places[:3])}"] if places and len(told) == 1 else []
            if len(told) == 1 and not more:  # of the same entry, which has its name once
                ways = dict.fromkeys(f[0].mutant.what for f in part.tied if f[0].id == one.id and not one.alike(f[0]))
                lines += [f"{one}: as well explained by {one.id}: {what}" for what in [*ways][:3]]
            less = ((" and ".join(map(str, found)), ratio) for found, ratio in part.less[:3])
            lines += [f"less well explained by {others} ({ratio:.0f} times the floor)" for others, ratio in less]
        return lines

    def _further(self, left: str | None) -> list[str]:
        """Lines about what nothing explains, and about what was not tried."""
        if self.left:
            return [f"{self.left} mutants not tried, for want of time"]
        return [] if left is None else [f"no known mistake explains what is further wrong, from {left} on"]

    def _without_name(self) -> Diagnosis:
        near = [f"{one} comes near, and leaves something wrong that goes with it"
                for part in self.parts if part.kind != "explained" for one in part.found]  # fmt: skip
        told = [" and ".join(map(str, part.found)) for part in self.parts if part.kind == "explained"]
        entries = sum(1 for m in CATALOGUE.values() if m.mutants and m.concerns(self.subject.family))
        more = [f"a part of it is explained by {one}, which has no entry in the catalogue" for one in told]
        tried = f"{len(self.mutants)} mutants of {entries} known mistakes, in {self.tried} runs"
        return words.unknown(self.first, "; ".join((tried, *near, *more)))


def _some(evidence: Evidence) -> np.ndarray:
    """Of which tensors the candidate has more than zeros."""
    return np.logical_or.reduceat(evidence.values != 0, evidence.starts)


def _once(told: list[Part]) -> list[Part]:
    """Without parts whose one mistake is made everywhere by another of them: it has one name."""
    one = {id(part): [found for found in part.mistakes if not found.behind] for part in told}
    everywhere = {(found.id, found.mutant.what): part for part in told if len(one[id(part)]) == 1
                  for found in one[id(part)] if not found.mutant.where}  # fmt: skip
    return [part for part in told if len(one[id(part)]) != 1
            or everywhere.get((one[id(part)][0].id, one[id(part)][0].mutant.what), part) is part]  # fmt: skip
