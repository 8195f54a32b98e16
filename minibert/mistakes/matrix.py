"""The kill matrix: which shipped case catches which mistake, at float32 tolerance (see `golden.kills`).

A case catches a mutant when rounding cannot explain the difference in some tensor (beyond 64 times its float32 floor);
a tokenizer case when some vector comes out otherwise, a masking case when its law is broken, a case of generation when
what another start and step give is beyond that, too. An entry counts as caught
by a case when one of its mutants is.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import numpy as np

from minibert.checkpoint import strictjson
from minibert.errors import InputError
from minibert.golden import case as files
from minibert.golden import cases, compare, kinds, make, shares
from minibert.golden.case import Case
from minibert.golden.kills import Kill
from minibert.golden.kinds import tokenizer
from minibert.golden.kinds.family import subject_of
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject, Tensors, Walk, cast, observe, stepped
from minibert.mistakes import going
from minibert.mistakes.catalogue import CATALOGUE, GRADIENTS, STEPS, Mistake, Mutant
from minibert.mistakes.ops import data, tokens
from minibert.mistakes.swap import Site, Swaps, sites
from minibert.progress import over

# the first key that shows a mutant, None where none does, UNMADE where it cannot be made
Trial = Callable[[], Any]
UNMADE = object()


def kills(folder: str, ids: Iterable[str] | None = None) -> dict[str, dict[str, Kill]]:
    """{entry: {case: Kill}} of the shipped cases of a folder, for all executable entries or those named."""
    chosen = [CATALOGUE[id] for id in ids] if ids is not None else [m for m in CATALOGUE.values() if m.executable]
    found: dict[str, dict[str, Kill]] = {}
    with np.errstate(all="ignore"):
        for path in sorted(path for path in files.shipped() if path.parent.name == folder):
            tried = trials(files.read(path))
            for mistake in over(chosen, f"{folder}/{path.name}: mistakes"):
                try:
                    shown = [trial() for trial in tried(mistake)]
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                    where = f"{mistake.id} in case {folder}/{path.name}"
                    raise InputError(f"{where}: {type(error).__name__}: {error}") from error
                if kill := _kill(shown):
                    found.setdefault(mistake.id, {})[path.name] = kill
    return {mistake.id: found[mistake.id] for mistake in chosen if mistake.id in found}


def _kill(keys: list[Any]) -> Kill | None:
    shown = [key for key in keys if key is not None and key is not UNMADE]
    missed = tuple(i for i, key in enumerate(keys) if key is None)
    return Kill(len(shown) + len(missed), shown[0], missed) if shown else None


def trials(case: Case) -> Callable[[Mistake], list[Trial]]:
    """What makes the trials of an entry in a case: one for each of its mutants."""
    return TRIALS.get(case.facts["kind"], Runs)(case)


# ---- Cases that are text ---------------------------------------------------------------------------------------------
def _by_vectors(case: Case) -> Callable[[Mistake], list[Trial]]:
    text = case.text()
    right = tokenizer.tokenizer(text)

    def first(mistake: Mistake) -> str | None:
        for vector in text["vectors"]:
            given = vector["text"], vector["pair"], vector["max_length"]
            if mistake.tokenize(right, *given) != tokens.encoded(right, *given):
                return f"tokens of {vector['text'][:20]!r}"
        return None

    kind = text.get("kind", "wordpiece")
    return lambda m: [partial(first, m)] if m.tokenize and kind in m.tokenizers else []


def _by_law(case: Case) -> Callable[[Mistake], list[Trial]]:
    text = case.text()
    broken = shares.broken if "name" in text["rule"] else data.broken

    def tried(mistake: Mistake) -> list[Trial]:
        rule = mistake.rule and mistake.rule_of(text["rule"].get("name", "bert"))
        return [lambda: next(iter(broken(rule, text)), None)] if rule else []

    return tried


TRIALS = {"tokenizer": _by_vectors, "masking": _by_law, "generation": going.trials}


# ---- Cases with tensors ----------------------------------------------------------------------------------------------
class Runs:
    """A case's computation with mutants in it. times: how many float32 floors rounding cannot explain."""

    times = compare.SUSPECT

    def __init__(self, case: Case):
        self.case, self.steps = case, tuple(case.facts["steps"])
        computed = {key: e for key, e in case.entries.items() if e.role not in ("weight", "input")}
        judged = {key: (e, floor) for key, e in computed.items() if (floor := compare.floor(e, "float32"))}
        self.due = {key: (case.tensor(key), e.scale, floor) for key, (e, floor) in judged.items()}
        self.walk, self.made = Walk(), {}
        if case.whole:
            self.subject = cast(case.subject(), np.float64)
            self.sites = sites(self.subject)
            return
        family, fields, pair = case.facts["family"] or "bert", case.facts["config"], case.facts["pair"]
        self.subject, self.sites, made = _surrogate(family, strictjson.dumps(fields if case.facts["family"] else {}))
        if pair in {site.name for site in self.sites}:
            self.made = made
        else:  # an op of which that family has none
            self.sites = [*self.sites, Site(pair, pair, ((pair, 0),))]
        self.places = kinds.of(case).places(pair, self.sites)

    def __call__(self, mistake: Mistake) -> list[Trial]:
        return [partial(self.first, mutant) for mutant in self._mutants(mistake)]

    def _mutants(self, mistake: Mistake) -> list[Mutant]:
        """Made once for all cases of ops and blocks that the same network stands in for."""
        if mistake.id not in self.made or self.made[mistake.id][0] is not mistake:
            self.made[mistake.id] = mistake, mistake.mutants(self.subject, self.sites) if mistake.mutants else []
        return self.made[mistake.id][1]

    def first(self, mutant: Mutant) -> Any:
        """The first key that shows the mutant; see Trial."""
        if not self.case.whole:
            return self._alone(mutant)
        if mutant.section == STEPS and not self.steps:
            return UNMADE
        seen: Tensors = {}
        found: list[str] = []

        def shows(tensors: Tensors) -> bool:
            seen.update(tensors)
            if mutant.after and not any(key.startswith(f"{GRADIENTS}/") for key in seen):  # it edits all of a pass
                return False
            key = self._shows(mutant.after(seen) if mutant.after else tensors)
            found.extend([key] if key else [])
            return bool(found)

        try:
            changed = mutant.change(self.subject)
            if mutant.section == STEPS:
                stepped(changed, self.steps, self.walk, shows)
            else:
                observe(changed, self.steps, shows)
        except (ValueError, IndexError) as error:  # made for other shapes, unless numbers are none: no step is made
            if not (seen or mutant.section == STEPS) or not isinstance(error, InputError):
                return UNMADE
        return found[0] if found else None

    def tensors(self, mutant: Mutant, steps: tuple[int, ...] = ()) -> Tensors:
        """All that a mutant that can be made gives."""
        if not self.case.whole:
            return make.computed(self.case, around=(self.swaps(mutant),))
        got = observe(mutant.change(self.subject), steps)
        return mutant.after(got) if mutant.after else got

    def swaps(self, mutant: Mutant) -> Swaps | None:
        """Of an op or block: the replacements that fall on it, at the place it has there; None: there are none."""
        around = [factory for factory in mutant.change(self.subject).around if isinstance(factory, Swaps)]
        return self._only(around[0]) if around else None

    def _alone(self, mutant: Mutant) -> Any:
        """Of an op or block."""
        swaps = self.swaps(mutant)
        try:
            return UNMADE if swaps is None else self._shows(make.computed(self.case, around=(swaps,)))
        except (AttributeError, TypeError, ValueError, IndexError):  # made for a place in a whole model
            return UNMADE

    def _only(self, swaps: Swaps) -> Swaps | None:
        """The replacements at the first of the case's places that has any, as they are nested in the case."""
        pair = self.case.facts["pair"]
        for place in self.places:
            depth = len(place.key)
            own = {((pair, 0), *key[depth:]): r for key, r in swaps.at.items() if key[:depth] == place.key}
            if own:
                return Swaps(own)
        return None

    def _shows(self, got: Tensors) -> str | None:
        for key, (truth, scale, floor) in self.due.items():
            if key in got:
                value = np.asarray(got[key])
                if value.shape != truth.shape or not compare.error(value, truth, scale) <= self.times * floor:
                    return key
        return None


@cache
def _surrogate(family: str, fields: bytes) -> tuple[Subject, list[Site], dict[str, tuple[Mistake, list[Mutant]]]]:
    """(a small family subject, so that mutants of an op's or block's case can be made: its swaps are what is used; its
    sites; what entries made of it, by id). fields: of its configuration, as JSON.
    """
    build = cases.hook(family, "recipe") or CaseRecipe
    subject = cast(subject_of(build("", family, config=strictjson.loads(fields, family), steps=()))[0], np.float64)
    return subject, sites(subject), {}
