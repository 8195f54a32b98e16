"""The kill matrix: which shipped case catches which mistake, at float32 tolerance.

A case catches a mutant when rounding cannot explain the difference in some tensor (beyond 64 times its float32 floor);
a tokenizer case when some vector comes out otherwise, a masking case when its law is broken. An entry counts as caught
by a case when one of its mutants is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import tree
from minibert.checkpoint import strictjson
from minibert.errors import InputError
from minibert.golden import case as cases
from minibert.golden import compare, make, shares, vectors
from minibert.golden.case import Case
from minibert.golden.subject import Subject, Tensors, observe
from minibert.mistakes.catalogue import CATALOGUE, STEPS, Mistake, Mutant
from minibert.mistakes.ops import data, tokens
from minibert.mistakes.swap import Site, Swaps, sites

Row = dict[str, Any]  # caught, mutants, tensor: how many of how many, and the first tensor that shows the first of them


def matrix(ids: Iterable[str] | None = None, names: Iterable[str] | None = None) -> dict[str, Any]:
    """{"cases": names, "mistakes": {id: {case: Row}}} of executable entries, all or those named."""
    chosen = [CATALOGUE[id] for id in ids] if ids is not None else [m for m in CATALOGUE.values() if m.executable]
    read = [cases.read(path) for path in cases.shipped()]
    read = [case for case in read if names is None or case.name in set(names)]
    rows: dict[str, dict[str, Row]] = {mistake.id: {} for mistake in chosen}
    with np.errstate(all="ignore"):
        for case in read:
            for id, row in _rows(case, chosen):
                if row["mutants"]:
                    rows[id][case.name] = row
    return {"cases": [case.name for case in read], "mistakes": rows}


def _rows(case: Case, chosen: list[Mistake]) -> Iterator[tuple[str, Row]]:
    kind = case.facts["kind"]
    if kind == "tokenizer":
        tried = case.text().get("kind", "wordpiece")
        yield from ((m.id, _by_vectors(case, m)) for m in chosen if m.tokenize and tried in m.tokenizers)
    elif kind == "masking":
        yield from ((m.id, _by_law(case, m)) for m in chosen if m.rule)
    elif kind in ("family", "block", "op"):
        runs = _Runs(case)
        yield from ((m.id, runs.row(m)) for m in chosen if m.mutants)


def _by_vectors(case: Case, mistake: Mistake) -> Row:
    text = case.text()
    tokenizer = vectors.tokenizer(text)
    for vector in text["vectors"]:
        given = vector["text"], vector["pair"], vector["max_length"]
        if mistake.tokenize(tokenizer, *given) != tokens.encoded(tokenizer, *given):
            return {"caught": 1, "mutants": 1, "tensor": f"tokens of {vector['text'][:20]!r}"}
    return {"caught": 0, "mutants": 1, "tensor": None}


def _by_law(case: Case, mistake: Mistake) -> Row:
    text = case.text()
    rule = mistake.rule_of(text["rule"].get("name", "bert"))
    if rule is None:
        return {"caught": 0, "mutants": 0, "tensor": None}
    wrong = shares.broken(rule, text) if "name" in text["rule"] else data.broken(rule, text)
    return {"caught": int(bool(wrong)), "mutants": 1, "tensor": wrong[0] if wrong else None}


class _Runs:
    """A case's computation with mutants in it."""

    def __init__(self, case: Case):
        self.case, self.kind = case, case.facts["kind"]
        self.truth = {key: case.tensor(key) for key, e in case.entries.items() if e.role not in ("weight", "input")}
        self.subject = case.subject() if self.kind == "family" else _surrogate(case)
        wide = tree.map(lambda a: a.astype(np.float64), self.subject.params)
        self.subject = replace(self.subject, params=wide)
        self.sites = sites(self.subject)

    def row(self, mistake: Mistake) -> Row:
        """How many of the entry's mutants this case catches."""
        found, tensor, count = 0, None, 0
        for mutant in mistake.mutants(self.subject, self.sites):
            got = self.tensors(mutant)
            if got is None:
                continue
            count += 1
            key = self._first(got)
            if key is None and self.kind == "family" and mutant.section != STEPS and self.case.facts["steps"]:
                key = self._first(self.tensors(mutant, late=True))  # what only a later batch shows
            found, tensor = found + (key is not None), tensor or key
        return {"caught": found, "mutants": count, "tensor": tensor}

    def tensors(self, mutant: Mutant, late: bool = False) -> Tensors | None:
        """What the case would hold with this mutant; None where it cannot be made here."""
        if self.kind == "family":
            if mutant.section == STEPS and not self.case.facts["steps"]:
                return None
            steps = tuple(self.case.facts["steps"]) if late or mutant.section == STEPS else ()
            changed = mutant.change(self.subject)
            try:
                tensors = observe(changed, steps)
            except InputError:  # not a number: no step is made
                tensors = observe(changed, ())
            return mutant.after(tensors) if mutant.after else tensors
        around = [factory for factory in mutant.change(self.subject).around if isinstance(factory, Swaps)]
        swaps = _only(around[0], self.case, self.sites) if around else None
        try:
            return None if swaps is None else make.computed(self.case, around=(swaps,))
        except (AttributeError, TypeError, ValueError, IndexError):  # made for a place in a whole model
            return None

    def _first(self, got: Tensors) -> str | None:
        for key, truth in self.truth.items():
            entry, floor = self.case.entries[key], compare.floor(self.case.entries[key], "float32")
            if key in got and floor:
                value = np.asarray(got[key])
                alike = value.shape == truth.shape
                if not alike or not compare.error(value, truth, entry.scale) <= compare.SUSPECT * floor:
                    return key
        return None


def _surrogate(case: Case) -> Subject:
    """A small family subject, so that mutants of an op's or block's case can be made: its swaps are what is used."""
    family = case.facts["family"] or "bert"
    config = case.facts["config"] if case.facts["kind"] == "block" else make.published(family)
    return make.subject_of(make.Recipe("", family, config=config, steps=(), low=None))[0]


def _only(swaps: Swaps, case: Case, at: list[Site]) -> Swaps | None:
    """The replacements that fall on this case's op or block, at the place it has there."""
    pair = case.facts["pair"]
    if case.facts["kind"] == "block":
        own = {key: r for key, r in swaps.at.items() if key[0] == (pair, 0)}
    else:
        named = [r for key, r in swaps.at.items() if key[-1][0] == pair]
        own = {((pair, 0),): named[0]} if named else {}
    return Swaps(own) if own else None


# Entries of which shipped cases could show a mutant, and none does yet.
PENDING: dict[str, str] = {}


def observable(mistake: Mistake) -> bool:
    """Whether some shipped case has to catch the entry."""
    return mistake.executable and mistake.shows != "nowhere" and mistake.id not in PENDING


def dumps(found: dict[str, Any]) -> str:
    """The matrix as JSON, a line for each entry."""
    lines = [f'  "{id}": {strictjson.dumps(row).decode()}' for id, row in found["mistakes"].items()]
    names = strictjson.dumps(found["cases"]).decode()
    return f'{{\n "cases": {names},\n "mistakes": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def page(found: dict[str, Any]) -> str:
    """The matrix for reading: each entry's cases, each case's entries, what nothing catches and why."""
    by_case: dict[str, list[str]] = {name: [] for name in found["cases"]}
    lines = ["# The kill matrix", "", __doc__.split("\n\n", 1)[1].strip(), ""]
    caught = {id: [c for c, row in rows.items() if row["caught"]] for id, rows in found["mistakes"].items()}
    mutants = sum(max((row["mutants"] for row in rows.values()), default=0) for rows in found["mistakes"].values())
    lines += [f"{sum(map(bool, caught.values()))} of {len(caught)} executable entries are caught, with up to {mutants} "
              "mutants in a case.", "", "| entry | shows first in | cases that catch it (mutants caught / made) |",
              "|---|---|---|"]  # fmt: skip
    for id, rows in found["mistakes"].items():
        hits = [f"{name} {rows[name]['caught']}/{rows[name]['mutants']}" for name in caught[id]]
        first = next((rows[name]["tensor"] for name in caught[id]), None)
        title, shown = CATALOGUE[id].title.replace("|", ","), f"`{first}`" if first else ""
        lines.append(f"| {id} {title} | {shown} | {', '.join(hits) or 'none'} |")
        for name in caught[id]:
            by_case[name].append(id)
    lines += ["", "## By case", "", "| case | entries caught |", "|---|---|"]
    lines += [f"| {name} | {len(ids)}: {' '.join(ids)} |" for name, ids in by_case.items() if ids]
    lines += ["", "## Caught by no case", ""]
    for mistake in CATALOGUE.values():
        if mistake.reason and not caught.get(mistake.id):
            lines.append(f"- {mistake.id} {mistake.title}: {mistake.reason}.")
    lines += [f"- {id} {CATALOGUE[id].title}: {why}." for id, why in PENDING.items() if not caught.get(id)]
    lines += ["", "## Waiting for their families", ""]
    waiting = [m for m in CATALOGUE.values() if not m.executable and not m.reason]
    lines.append(", ".join(f"{m.id} ({m.families})" for m in waiting) + ".")
    return "\n".join(lines) + "\n"
