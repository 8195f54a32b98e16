"""How many known mistakes customary criteria let pass: reference/BLINDNESS.md.

    python tests/benchmarks/blindness.py              says whether the page is that of this catalogue and these cases
    python tests/benchmarks/blindness.py --write      makes it again (about a minute)

Every entry that a family's case `published` catches is made there once, at all places where it can be, and the outputs
(`golden.others`) are held against those of the case as somebody would hold them who has no noise floor.
"""

import argparse
import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # when it is run by itself

from minibert.checkpoint import atomic  # noqa: E402
from minibert.golden import case as cases  # noqa: E402
from minibert.golden import compare, kills, levels, others  # noqa: E402
from minibert.golden.subject import cast, observe  # noqa: E402
from minibert.mistakes import CATALOGUE  # noqa: E402
from minibert.mistakes import page as catalogue  # noqa: E402
from minibert.mistakes.catalogue import FORWARD  # noqa: E402
from minibert.mistakes.swap import sites  # noqa: E402

PAGE = ROOT / "reference" / "BLINDNESS.md"
MOST = 12  # mistakes in the list of those that are furthest beyond rounding
NAMES = [criterion.name for criterion in others.CRITERIA]


class Made(NamedTuple):
    """A mistake in a case. passes: criteria that let it pass; values: what each of them measures; ratio: the largest
    error of an output over its float32 floor, 0 where none changes.
    """

    id: str
    case: str
    passes: frozenset[str]
    values: dict[str, float]
    ratio: float


def names() -> list[str]:
    """The cases: `published` of every family that has mistakes caught."""
    shipped = {f"{path.parent.name}/{path.name}" for path in cases.shipped()}
    return [name for folder in kills.folders() if (name := f"{folder}/published") in shipped and kills.read(folder)]


def digest() -> str:
    """Of all that the page depends on: what the cases catch, the cases themselves, the criteria."""
    parts = [f"{c.name} {c.bar}" for c in others.CRITERIA] + [f"{others.RELATIVE}"]
    for name in names():
        held = kills.of(golden := cases.read(name))
        parts.append(levels.fingerprint(golden))
        parts += [f"{id} {kill.made} {kill.missed}" for id, kill in sorted(held.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def made(name: str, ids: list[str] | None = None) -> list[Made]:
    """Each entry that the case catches, or those of these ids, made there at all places."""
    golden, found = cases.read(name), []
    subject = cast(golden.subject(), np.float64)
    at, caught = sites(subject), kills.of(golden)
    truth = {key: golden.tensor(key) for key in levels.ends(golden)}
    for id in caught if ids is None else ids:
        if CATALOGUE[id].mutants is None:
            continue
        mutants = [m for i, m in enumerate(CATALOGUE[id].mutants(subject, at)) if i not in caught[id].missed]
        if not mutants:
            continue
        tensors = truth
        if mutants[0].section == FORWARD:  # elsewhere no output changes
            try:
                tensors = {**truth, **observe(mutants[0].change(subject), ())}
            except (ValueError, IndexError):
                continue  # not a number anywhere, which all see; or made for other shapes
            tensors = mutants[0].after(tensors) if mutants[0].after else tensors
        found.append(_judged(id, golden, {key: tensors[key] for key in truth if key in tensors}))
    return found


def _judged(id: str, golden: cases.Case, tensors: dict[str, np.ndarray]) -> Made:
    alike = {key: a for key, a in tensors.items() if np.shape(a) == golden.entries[key].shape}
    if len(alike) < len(tensors):  # another shape is seen by everybody
        return Made(id, golden.name, frozenset(), {}, np.inf)
    said = others.said(golden, alike, {})
    rows = [row for row in compare.compare(golden, alike, "float32") if row.ratio is not None]
    ratio = max((row.ratio for row in rows), default=0.0)
    passes = frozenset(one.criterion for one in said if one.passes)
    return Made(id, golden.name, passes, {one.criterion: one.value for one in said}, ratio)


def _row(title: str, held: list[Made]) -> str:
    passed = Counter(name for one in held for name in one.passes)
    shares = " | ".join(f"{passed[name]} ({100 * passed[name] / len(held):.0f} %)" for name in NAMES)
    return f"| {title} | {len(held)} | {shares} |"


def refused() -> tuple[int, list[str]]:
    """How many whole-model cases there are, and of each precision a row: how many absolute tolerances refuse, where the
    outputs are off by what rounding does.
    """
    golden = [case for path in cases.shipped() if (case := cases.read(path)).facts["kind"] == "family"]
    rows = []
    for dtype in ("float32", "float16", "bfloat16"):
        off = [[compare.floor(case.entries[key], dtype) for key in levels.ends(case)] for case in golden]
        sizes = [[case.entries[key].scale for key in levels.ends(case)] for case in golden]
        most = [max((f * s for f, s in zip(a, b, strict=True) if f is not None), default=0.0)
                for a, b in zip(off, sizes, strict=True)]  # fmt: skip
        counts = " | ".join(str(sum(error > bar for error in most)) for bar in TOLERANCES)
        rows.append(f"| {dtype} | {len(golden)} | {counts} |")
    return len(golden), rows


TOLERANCES = [criterion.bar for criterion in others.CRITERIA if not criterion.least]


def markdown(found: list[Made]) -> str:
    """The page."""
    head = "| | made | " + " | ".join(f"{name} passes" for name in NAMES) + " |\n|---|---|" + "---|" * len(NAMES)
    seen = [one for one in found if one.ratio > compare.SUSPECT]
    hidden = [one for one in found if one.ratio <= compare.SUSPECT]
    parts = [
        _row("**all**", found), _row("an output is wrong beyond rounding", seen),
        _row("only losses, gradients or steps are", hidden),
    ]  # fmt: skip
    by_kind = [(title, [one for one in seen if catalogue.begin(one.id) == letter])
               for letter, title in catalogue.sections().items()]  # fmt: skip
    by_case = [(name, [one for one in seen if one.case == name]) for name in dict.fromkeys(one.case for one in seen)]
    worst: dict[str, Made] = {}
    for one in sorted(seen, key=lambda one: -one.ratio):
        if "cosine" in one.passes and np.isfinite(one.ratio):
            worst.setdefault(one.id, one)
    listed = [f"| {one.id} | {CATALOGUE[one.id].title} | {one.case} | {one.values['cosine']:.4f} | "
              f"{one.values['1e-3']:.0e} | {one.ratio:.0e} |" for one in [*worst.values()][:MOST]]  # fmt: skip
    entries = len({one.id for one in found})
    right, rows = refused()
    return TEXT.format(
        entries=entries, cases=len(by_case), runs=len(found), digest=digest(), head=head, all="\n".join(parts),
        kinds="\n".join(_row(title, held) for title, held in by_kind if held),
        families="\n".join(_row(name, held) for name, held in by_case),
        right=right, refused="\n".join(rows),
        right_head=" | ".join(f"{bar:.0e} refuses".replace("e-0", "e-") for bar in TOLERANCES),
        worst="\n".join(listed).replace("e+0", "e"),
    )  # fmt: skip


TEXT = """# How blind customary criteria are

Elsewhere an implementation passes when its outputs have a cosine or a correlation (PCC) of at least 0.99 with those of
the published one, or when no entry is off by more than 1e-3 or 1e-5 (`allclose`, with 1e-5 of the entry's size). Here
are {entries} known mistakes, each made in the cases `published` of {cases} families in which `check` sees it: {runs}
wrong models. Each criterion is given what it is customarily given: the last layer's output and the heads', every one of
which has to pass.

{head}
{all}

What changes no output passes all four: losses, gradients and optimizer steps are not looked at.

## And right models that they refuse

The same criteria on right models, whose outputs are off by their noise floor in that precision: all {right} whole-model
cases. One number for all precisions and sizes is too wide for float32 and too narrow for sixteen bits.

| | cases | {right_head} |
|---|---|---|---|
{refused}

## Of those that make an output wrong beyond rounding, by kind

{head}
{kinds}

## The same by case

{head}
{families}

## Far beyond rounding, and a cosine passes it

Rounding is the largest error of an output over what float32 does to it (`check` allows 4, and 64 is a mistake).

| id | mistake | case | cosine | largest error | times rounding |
|---|---|---|---|---|---|
{worst}

The models are small, with weights that show mistakes. Generated by `python tests/benchmarks/blindness.py --write` from
{digest} (what is caught, cases, criteria); a test says when it is old.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        with np.errstate(all="ignore"):
            atomic.write_text(PAGE, markdown([one for name in names() for one in made(name)]))
        return 0
    stale = digest() not in PAGE.read_text(encoding="utf-8")
    print("of another catalogue or other cases: --write makes it again" if stale else "as of this catalogue")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
