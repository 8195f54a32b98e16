"""`minibert check`: a candidate against a case, from files to the exit code."""

import argparse
import copy
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from minibert.checkpoint import atomic
from minibert.config import nearest, require, shown
from minibert.errors import printable, shortened
from minibert.golden import (
    blocks,
    candidate,
    grading,
    layouts,
    levels,
    mixups,
    padding,
    page,
    precision,
    program,
    report,
    sources,
    supplied,
    tokens,
)
from minibert.golden import case as cases
from minibert.golden.compare import BAD, Row, compare, error, first_divergence
from minibert.golden.subject import Subject, cast, observe
from minibert.options import ending
from minibert.progress import doing, filled

Path = str | os.PathLike


def parser(commands: Any) -> None:
    """Adds `check` to the command line."""
    about = "compare somebody's tensors with a golden case and name the mistake"
    examples = ending(
        "check bert/published wrong-torch-port", "check bert/published mine.safetensors --names map.json",
        "check bert/published mine.npz --html report.html --badge level.svg",
        "check bert/published --program ./mine", one="a difference",
    )  # fmt: skip
    command = commands.add_parser("check", help=about, description=f"{about.capitalize()}.", epilog=examples)
    command.set_defaults(run=_run)
    which = "the name of a shipped case (golden list), or a folder"
    command.add_argument("case", metavar="CASE", help=which).completer = cases.names
    held = "a file or directory of safetensors, .npz or .npy; for a tokenizer case a JSON file of ids; or a shipped "
    held += f"one: {', '.join(candidate.shipped())}"
    command.add_argument("given", metavar="CANDIDATE", nargs="?", help=held).completer = candidate.shipped
    started = "instead of CANDIDATE: a program that is asked for its tensors (minibert docs INTERPRETING)"
    command.add_argument("--program", metavar="COMMAND", help=started)
    longest = f"how long it may take to answer, in seconds; default {program.PATIENCE:g}"
    command.add_argument("--patience", type=float, metavar="N", default=program.PATIENCE, help=longest)
    command.add_argument("--names", metavar="MAP.json", help="their names -> the case's, where they differ")
    command.add_argument("--suggest-names", metavar="MAP.json", help="write such a map, guessed from the contents")
    computed = "what the candidate was computed in; default: what its tensors are stored in, or whose numbers they are"
    lies = "how kernels lie in the dump; default auto: as their contents say"
    command.add_argument("--layout", choices=layouts.NAMES, default="auto", help=lies)
    command.add_argument("--dtype", choices=(*candidate.PRECISIONS, grading.INT8), help=computed)
    command.add_argument("--json", metavar="FILE", help="write the whole report for machines")
    command.add_argument("--html", metavar="FILE", help="write it as one page, with an error map")
    command.add_argument("--claim", metavar="FILE", help="write the level reached, with versions and hashes")
    command.add_argument("--badge", metavar="FILE", help="write the level reached as an SVG badge")
    command.add_argument("--weights", metavar="DIR", help="the published directory of a case made --from one")
    limit = "start no further attempt at the mistake after N seconds; default: try all, whatever the machine's load"
    command.add_argument("--seconds", type=float, metavar="N", help=limit)
    known = "what you do otherwise on purpose, by its id in the catalogue of mistakes: G01, for one"
    command.add_argument("--declare", nargs="+", default=(), metavar="ID", help=known)
    command.add_argument("--every", action="store_true", help="a line for every tensor")


def _run(args: argparse.Namespace) -> int:
    one = "give either CANDIDATE, your tensors, or --program COMMAND, which writes them"
    require((args.given is None) != (args.program is None), one)
    if args.program is None:
        return _checked(args, args.given)
    with program.dumped(args.program, cases.read(args.case), _wide(args.dtype), args.patience) as given:
        return _checked(args, given.path, given)


def _wide(dtype: str | None) -> str | None:
    """What a program is asked to compute in: int8 is its own affair."""
    return None if dtype == grading.INT8 else dtype


def _checked(args: argparse.Namespace, path: Path, given: program.Given | None = None) -> int:
    if args.suggest_names is not None:
        atomic.require_writable(args.suggest_names)
        return suggest_names(args.case, path, args.suggest_names)
    options = ("names", "dtype", "json", "html", "claim", "badge", "weights", "every", "seconds", "layout", "declare")
    return check(args.case, path, by=given, **{name: getattr(args, name) for name in options})


def check(
    case: Path,
    given: Path,
    names: Path | None = None,
    dtype: str | None = None,
    json: Path | None = None,
    html: Path | None = None,
    claim: Path | None = None,
    badge: Path | None = None,
    weights: Path | None = None,
    every: bool = False,
    seconds: float | None = None,
    layout: str = "auto",
    declare: Sequence[str] = (),
    by: program.Given | None = None,
) -> int:
    """Compares, prints the report and writes the files asked for; 0 where rounding, or a declared variant, explains it.

    case: a folder or a shipped case's name; given: the candidate's file or directory; names: a name map; dtype: the
    precision that the candidate was computed in, else that which its numbers fit (`precision`), or int8, which is
    graded (`grading`); weights: the published directory that the case refers to; every: a line for every tensor;
    seconds: after which the search for the mistake ends, else it tries all it knows; layout: how kernels lie, one of
    `layouts.NAMES`; declare: ids of known mistakes that are made on purpose; by: the program that wrote them, if one
    did. Raises InputError for unusable input.
    """
    for path in (json, html, claim, badge):
        if path is not None:
            atomic.require_writable(path)  # before the search, not after it
    if dtype == grading.INT8:
        none = "a run in int8 is graded, not judged: there is no page, claim or badge of it"
        require(not (html or claim or badge), none)
        return _graded(case, given, names, layout, json)
    found = report_of(case, given, names, dtype, weights, seconds, layout, declare)
    if by is not None:
        found = found._replace(source=by.command, promised=by.levels, asked=by.dtype)
    for line in report.table(found, _coloured(), every):
        print(filled(line, sys.stdout))
    for path, make in (
        (json, lambda: levels.dumps(report.fields(found))),
        (html, lambda: page.page(found)),
        (claim, lambda: levels.dumps(found.claim)),
        (badge, lambda: levels.badge(found.claim)),
    ):
        if path is not None:
            atomic.write_text(path, make())
    return found.code


def _graded(case: Path, given: Path, names: Path | None, layout: str, json: Path | None) -> int:
    """Prints how far each tensor lies from the case's; 1 where one is farther off than int8 brings a right model."""
    golden = cases.read(case)
    tensors = golden.facts["kind"] not in ("tokenizer", "masking")
    require(tensors, f"case {golden.name} holds no tensors that int8 could move")
    held = candidate.matched(candidate.read(given), golden, names and candidate.read_names(names, golden), layout)
    found = grading.grades(golden, held.tensors, held.partial)
    for line in grading.lines(golden.name, str(given), found):
        print(filled(line, sys.stdout))
    if json is not None:
        atomic.write_text(json, levels.dumps(grading.fields(golden.name, str(given), found)))
    return int(bool(grading.different(found)))


def report_of(
    case: Path,
    given: Path,
    names: Path | None = None,
    dtype: str | None = None,
    weights: Path | None = None,
    seconds: float | None = None,
    layout: str = "auto",
    declare: Sequence[str] = (),
) -> report.Report:
    """The comparison itself; arguments as of `check`."""
    require(seconds is None or seconds >= 0, f"seconds is {seconds}: a number from 0 on")
    for id in declare:
        from minibert.mistakes import CATALOGUE  # where something is declared alone: all of it takes a while

        require({id, id.upper()} & CATALOGUE.keys(), f"no known mistake {shown(id)}{nearest(id, CATALOGUE)}")
    golden = cases.read(case)
    if golden.facts["kind"] == "tokenizer":
        return _tokens(golden, given)
    require(golden.facts["kind"] != "masking", f"case {golden.name} holds statistics, which no tensors can be held to")
    stored = candidate.read(given)
    held = candidate.matched(stored, golden, None if names is None else candidate.read_names(names, golden), layout)
    other = {key for key, entry in golden.entries.items() if entry.role in ("weight", "input")}
    values = {key: array[held.partial.get(key, ...)] for key, array in held.tensors.items() if key not in other}
    fits = precision.fits(values, held.dtype)
    dtype = dtype or fits
    require(dtype in candidate.PRECISIONS, f"dtype {dtype!r}: one of {', '.join(candidate.PRECISIONS)}")
    held = held._replace(read=[*held.read, *_renamed(golden, stored, held.unknown)])
    with doing("comparing the tensors"), np.errstate(all="ignore"):  # a candidate's numbers may be of any size
        found = _compared(golden, held, str(given), dtype, weights, seconds, declare)
        looks = found.looks if fits == dtype else None  # whose numbers are narrower has been told so
        return found._replace(fits=fits, looks=looks, declared=_spelled(declare))


def _spelled(declare: Sequence[str]) -> tuple[str, ...]:
    """The ids as the catalogue spells them."""
    if not declare:
        return ()
    from minibert.mistakes import CATALOGUE

    return tuple(id.upper() if id.upper() in CATALOGUE else id for id in declare)


def _renamed(golden: cases.Case, stored: Iterable[str], unknown: Collection[str]) -> Iterator[dict[str, Any]]:
    """A note as of `layouts.notes` for each other name of a leaf that was read as the case's."""
    leaf = lambda name: re.split(r"[./]", name)[-1]  # noqa: E731
    own, strange = {*map(leaf, golden.entries)}, {*unknown}
    given = [name for name in stored if name not in strange]
    for theirs, ours in sources.LEAVES.items():
        if theirs not in own and (names := [name for name in given if leaf(name) == theirs]):
            yield {"read": f"{theirs} read as {ours}", "names": names}


def _compared(
    golden: cases.Case, held: candidate.Candidate, source: str, dtype: str, weights: Path | None, seconds: float | None,
    declared: Sequence[str],
) -> report.Report:  # fmt: skip
    """The report on tensors."""
    subject = cast(golden.subject(weights), np.float64) if _whole(golden, weights) else None
    alone = _alone(golden, held, subject)
    shapes = {key: array.shape for key, (_, array) in held.misshapen.items()}
    rows = compare(golden, held.tensors, dtype, held.partial, alone, shapes)
    first = first_divergence(rows)
    judged, diagnosis, wrong = rows, None, _mixups(golden, held, rows, dtype, subject)
    if any(row.status in BAD and row.status != "shape" for row in rows) and not mixups.harmless(rows, wrong):
        owed = _owed(golden, held, rows, weights)
        others = {mixup.key for mixup in wrong if not mixup.form}
        diagnosis = _as_declared(_diagnosis(owed, held, dtype, seconds, declared, others), _spelled(declared))
        covered = {row.key for row in rows if row.status in BAD} <= {mixup.key for mixup in wrong}
        if covered and subject is not None and diagnosis is not None and diagnosis.kind != "unfinished":
            partly = diagnosis.kind == "unknown" or diagnosis.unexplained is not None
            diagnosis = None if partly else diagnosis  # what they are says all, and mistakes less
        if diagnosis is not None and diagnosis.mistakes and diagnosis.unexplained is None:
            wrong = [mixup for mixup in wrong if not mixup.form]  # they are that mistake's
        if diagnosis is not None and diagnosis.kind == "variant":
            judged = _rejudged(golden, held, dtype, diagnosis, weights)
    fine = first is None or (diagnosis is not None and diagnosis.kind == "variant" and not shapes)
    with cases.replaying(golden):
        cut_off = supplied.of(subject, held.tensors | held.unshared, first)
    reached = levels.levels(golden, judged)
    found = report.Report(
        golden, held, source, dtype, rows, first, reached, diagnosis, int(not fine), wrong, cut_off
    )
    if diagnosis is not None and diagnosis.kind in ("unknown", "unfinished") and not diagnosis.mistakes:
        found = found._replace(looks=precision.looks(
            rows, dtype, lambda name: compare(golden, held.tensors, name, held.partial, alone, shapes),
            lambda: grading.like(grading.grades(golden, held.tensors, held.partial))))  # fmt: skip
    return found._replace(code=1) if found.strange else found


def _as_declared(diagnosis: Any, declared: Sequence[str]) -> Any:
    """The diagnosis, in whose words what is declared is no condition."""
    if diagnosis is None or diagnosis.kind != "variant" or not {*diagnosis.ids} <= {*declared}:
        return diagnosis
    lines = [line.replace("acceptable variant, if declared:", "as declared:", 1) for line in diagnosis.lines]
    return replace(diagnosis, lines=lines)


def _mixups(
    golden: cases.Case, held: candidate.Candidate, rows: list[Row], dtype: str, subject: Subject | None
) -> list[mixups.Mixup]:
    """The wrong tensors among those that were given whole."""
    whole = {key: array for key, array in held.tensors.items() if key not in held.partial}
    unlike = {key: array for key, (_, array) in held.misshapen.items() if array.size <= candidate.LARGEST}
    given = whole | held.unshared | unlike
    with cases.replaying(golden):
        return mixups.found(golden, rows, given, dtype, subject)


def _rejudged(
    golden: cases.Case, held: candidate.Candidate, dtype: str, diagnosis: Any, weights: Path | None
) -> list[Row]:
    """The rows against what the variant computes; its floors are at least what float32 makes of it."""
    subject = golden.subject(weights)
    mutants = [found.mutant for found in diagnosis.together]

    def computed(dtype: type) -> dict[str, np.ndarray]:
        made = cast(subject, dtype)
        for mutant in mutants:
            made = mutant.change(made)
        tensors = observe(made, tuple(golden.facts["steps"]))
        for mutant in mutants:
            tensors = mutant.after(tensors) if mutant.after else tensors
        return tensors

    truth, single, entries = computed(np.float64), computed(np.float32), {}
    for key, entry in golden.entries.items():
        if key in truth and entry.noise.get("float32") is not None:
            own = error(single[key], truth[key], entry.scale)
            entry = entry._replace(noise={**entry.noise, "float32": max(entry.noise["float32"], own)})
        entries[key] = entry
    view = SimpleNamespace(entries=entries, tensor=lambda key: truth[key] if key in truth else golden.tensor(key),
                           unmoved=golden.unmoved)  # fmt: skip
    return compare(view, held.tensors, dtype, held.partial)


def _tokens(golden: cases.Case, given: Path) -> report.Report:
    """The report on a tokenizer."""
    with cases.replaying(golden):
        held, rows = tokens.read(given, golden)
        first = next((row for row in rows if row.status == "wrong"), None)
        diagnosis = None if first is None else tokens.diagnosis(golden, held, first)
    found = levels.levels(golden, rows)
    return report.Report(golden, held, str(given), "int64", rows, first, found, diagnosis, int(first is not None))


def suggest_names(case: Path, given: Path, path: Path) -> int:
    """Writes a name map for what the case does not know by name, guessed from shapes and contents, and prints it."""
    golden, stored = cases.read(case), candidate.read(given)
    found = candidate.suggest(stored, golden)
    known = len(sources.sources(stored, golden, {}))
    require(
        bool(found), f"{given}: no tensor with an unknown name has the shape and nearly the contents of one of the case"
    )
    names = [shortened(printable(guess.name), 120) for guess in found]
    width = max(map(len, names))
    for name, guess in zip(names, found, strict=True):
        turned = ", transposed" if guess.transposed else ""
        guessed = f"{name:<{width}}  {printable(guess.key)}{turned} (they differ by {guess.distance:.1e})"
        print(filled(guessed, sys.stdout))
    atomic.write_text(path, levels.dumps(candidate.name_map(found)))
    rest = len(stored) - known - len(found)
    counted = f"{len(found)} name{'' if len(found) == 1 else 's'} suggested, {known} known already"
    print(filled(printable(f"{counted}, {rest} like nothing in the case; written to {path}"), sys.stdout))
    return 0


def _alone(golden: cases.Case, held: candidate.Candidate, subject: Subject | None) -> dict[str, np.ndarray]:
    """What each block should have given by itself; nothing where the case is no whole family or lacks weights."""
    if subject is None:
        return {}
    with cases.replaying(golden):
        return blocks.expected(subject, held.tensors | held.unshared)


def _whole(golden: cases.Case, weights: Path | None) -> bool:
    """Whether all of the computation can be done again, to the loss: not where the published directory has no heads."""
    held, objective = golden.facts["weights"], golden.facts["objective"]
    return golden.whole and objective is not None and ("file" in (held or {}) or weights is not None)


def _diagnosis(
    golden: cases.Case, held: candidate.Candidate, dtype: str, seconds: float | None, declared: Sequence[str],
    mixed: set[str],
) -> Any:  # fmt: skip
    """What `minibert.mistakes` says of the tensors that were given as the case has them; where it knows no name for
    them all, of those that are no other tensor of the case.
    """
    from minibert import mistakes

    other = {key.replace("forward/", "gradients/") for key in held.unshared}
    whole = {key: array for key, array in held.tensors.items() if key not in other}
    found = mistakes.diagnose(golden, whole, dtype, seconds, declared)
    chosen = [one for one in found.mistakes if one.id in _spelled(declared)]
    idle = {one.id for one in chosen if not _shows(golden, held, one.mutant, dtype)}
    if idle:
        declared = [id for id in _spelled(declared) if id not in idle]
        found = mistakes.diagnose(golden, whole, dtype, seconds, declared)
    rest = {key: array for key, array in whole.items() if key not in mixed}
    if not mixed or (found.kind != "unknown" and found.unexplained is None):
        return found
    found = mistakes.diagnose(golden, rest, dtype, seconds, declared)
    return found if found.kind != "right" else None


def _shows(golden: cases.Case, held: candidate.Candidate, mutant: Any, dtype: str) -> bool:
    """Whether a mutant changes any of the tensors that were given."""
    with cases.replaying(golden):
        made = observe(mutant.change(golden.subject()), tuple(golden.facts["steps"]))
        made = mutant.after(made) if mutant.after else made
    given = {key: array for key, array in made.items() if key in held.tensors}
    return any(row.status in BAD for row in compare(golden, given, dtype))


def _owed(golden: cases.Case, held: candidate.Candidate, rows: list[Row], weights: Path | None) -> cases.Case:
    """The case with its weights at hand, without positions that were not given, and without padding where the
    candidate's is its own, was never computed, or is made of what was not given.
    """
    masks = padding.unread(golden)
    if not held.partial and not any(row.status == "padding" for row in rows):
        masks = padding.skipped(masks, held.tensors)
    for key, given in held.partial.items():
        shape = golden.entries[key].shape
        masks[key] = np.broadcast_to(~given[..., None], shape) | masks.get(key, False)
    view = copy.copy(golden)
    view.unmoved, view.subject = {**golden.unmoved, **masks}, lambda: _subject(golden, weights)
    return view


def _subject(golden: cases.Case, weights: Path | None) -> Subject:
    """The case's; InputError where its published directory has no heads, so that there is no loss."""
    headless = golden.facts["kind"] == "pipeline" and golden.facts["objective"] is None
    require(not headless, f"the directory of case {golden.name} has no heads, so no loss can be computed again")
    return golden.subject(weights)


def _coloured() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
