"""A mistake in at most eight lines: where it is made, the number that is right, the one that comes out, and why."""

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibert.errors import printable, shortened
from minibert.golden import case as files
from minibert.golden import kills, shares
from minibert.golden.case import Case
from minibert.golden.kinds import tokenizer
from minibert.mistakes import going, matrix
from minibert.mistakes.catalogue import CATALOGUE, Mistake
from minibert.mistakes.ops import data, tokens

MOST, WIDTH = 8, 79


def lines(id: str) -> list[str]:
    """At most MOST lines, by the smallest shipped case that shows the entry; what stands instead where none does."""
    mistake = CATALOGUE[id]
    told = [("wrong", f"{id}: {mistake.title}"), ("right", f"{mistake.right} ({mistake.clause})")]
    shown = next((found for case in _cases(mistake) if (found := _shown(mistake, case))), None)
    why = "it cannot be run here: no code makes it" if not mistake.executable else "no shipped case shows it in numbers"
    told += shown or [("shown", why)]
    filled = [textwrap.wrap(printable(text), WIDTH, initial_indent=f"{name:<9}", subsequent_indent=" " * 9)
              for name, text in told]  # fmt: skip
    return _cut(filled)


def _cut(filled: list[list[str]]) -> list[str]:
    """The paragraphs, the longest ones cut until all have room."""
    while sum(map(len, filled)) > MOST:
        longest = max(filled, key=len)
        longest[-2:] = [f"{longest[-2][: WIDTH - 2]} …"]
    return [line for paragraph in filled for line in paragraph]


def _cases(mistake: Mistake) -> Iterator[Case]:
    """The cases that show an entry, the smallest first: of an op, of text, of a whole model."""
    caught = kills.catching(mistake.id)
    first = [folder for folder in ("ops", "tokenizer", "masking") if folder in caught]
    for folder in [*first, *(folder for folder in caught if folder not in first)]:
        for name in caught[folder]:
            yield files.read(f"{folder}/{name}")


def _shown(mistake: Mistake, case: Case) -> list[tuple[str, str]] | None:
    kind = case.facts["kind"]
    with np.errstate(all="ignore"):
        if kind == "tokenizer":
            return _tokens(mistake, case)
        if kind == "masking":
            return _law(mistake, case)
        if kind == "generation":
            ways = ((f"{what}, in {case.name}", way(case)) for what, way in going.made(mistake, case))
            truth = {key: case.tensor(key) for key in case.entries if key.startswith("forward/")}
            return next((found for made, got in ways if (found := _entry(made, got, truth))), None)
        return _run(mistake, case)


def _tokens(mistake: Mistake, case: Case) -> list[tuple[str, str]] | None:
    text = case.text()
    right = tokenizer.tokenizer(text)
    for vector in text["vectors"]:
        given = vector["text"], vector["pair"], vector["max_length"]
        due, got = tokens.encoded(right, *given), mistake.tokenize(right, *given)
        if got != due:
            said = [_pieces(right, ids) for ids, _ in (due, got)]
            if said[0] == said[1]:
                said = [f"token types {types}" for _, types in (due, got)]
            read = f"{shortened(repr(given[0]), 120)}, in {case.name}"
            return [("text", read), *zip(("due", "got"), (shortened(one, 200) for one in said), strict=True)]
    return None


def _pieces(vocabulary: Any, ids: list[int]) -> str:
    return " ".join(vocabulary.tokens[i] if i < len(vocabulary) else f"#{i}" for i in ids)


def _law(mistake: Mistake, case: Case) -> list[tuple[str, str]] | None:
    text = case.text()
    broken = shares.broken if "name" in text["rule"] else data.broken
    found = broken(mistake.rule_of(text["rule"].get("name", "bert")), text)
    return [("law", f"{case.name}: not as it should be: {', '.join(found)}")] if found else None


def _run(mistake: Mistake, case: Case) -> list[tuple[str, str]] | None:
    runs = matrix.Runs(case)
    for mutant in mistake.mutants(runs.subject, runs.sites) if mistake.mutants else ():
        key = runs.first(mutant)
        if isinstance(key, str):
            made = f"{mutant.what}: {mutant.where or 'everywhere'}, in {case.name}"
            steps = runs.steps if key.startswith("steps/") else ()
            return _entry(made, runs.tensors(mutant, steps), {key: runs.due[key][0]}, key)
    return None


def _entry(made: str, got: dict[str, Any], truth: dict[str, Any], key: str = "") -> list[tuple[str, str]] | None:
    """The entry of a tensor that is furthest off: of the one named, else of the first that is off."""
    for name in [key] if key else [name for name in truth if name in got]:
        a, b = np.asarray(got[name], float), np.asarray(truth[name], float)
        if a.shape != b.shape:
            return [("made", made), ("in", name), ("due", f"shape {b.shape}"), ("got", f"shape {a.shape}")]
        away = np.where(np.isfinite(a), np.abs(a - b), np.inf)
        if away.size and away.max() > 1e-6 * max(np.abs(b).max(), 1e-300):
            index = np.unravel_index(int(away.argmax()), away.shape)
            place = f" at {[int(i) for i in index]}" if index else ""
            digits = next((n for n in (6, 9) if f"{a[index]:.{n}g}" != f"{b[index]:.{n}g}"), 17)
            due, found = (f"{value[index]:.{digits}g}" for value in (b, a))
            return [("made", made), ("in", f"{name}{place}"), ("due", due), ("got", found)]
    return None
