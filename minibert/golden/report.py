"""A comparison told to terminals, the answer first, and to machines as JSON; `page` has it as one HTML page."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from minibert import __version__
from minibert.config import shown
from minibert.errors import printable
from minibert.golden import answer, forms, kills, levels, others, precision, sources
from minibert.golden.answer import short, times, value
from minibert.golden.candidate import PRECISIONS, Candidate
from minibert.golden.compare import BAD, EXPLAINED, SLOTS, Row
from minibert.golden.mixups import Mixup

FORMAT = "minibert-check/1"
MOST = 6  # lines about wrong tensors
NAMES = 43  # columns of a table's names, in a terminal of 80
VERDICTS = {"nan": "not finite", "shape": "wrong shape", "padding": "only padding"}  # where it is not the status
COLOURS = {"right": "32", "padding": "32", "suspect": "33", "wrong": "31", "nan": "35", "shape": "31"}  # of a terminal


class Report(NamedTuple):
    """All that a check found. source: what the candidate is called; dtype: the precision it is judged in; diagnosis: of
    `minibert.mistakes`, or None; mixups: the wrong tensors; cut_off: whether what goes into the block of the first
    divergence was supplied; fits: the precision that its numbers are of; promised: the levels that a program says it
    gives; asked: the precision that it was asked for; looks: the precision that its errors look like; declared: the
    ids of what it is said to do otherwise.
    """

    case: Any
    candidate: Candidate
    source: str
    dtype: str
    rows: list[Row]
    first: Row | None
    levels: list[levels.Level]
    diagnosis: Any
    code: int
    mixups: Sequence[Mixup] = ()
    cut_off: bool = True
    fits: str | None = None
    promised: tuple[int, ...] = ()
    asked: str | None = None
    looks: precision.Looks | None = None
    declared: Sequence[str] = ()

    @property
    def variant(self) -> str | None:
        """The acceptable variant that the candidate computes, where that explains it."""
        return "; ".join(map(str, self.diagnosis.names)) if self.verdict == "variant" else None

    @property
    def verdict(self) -> str:
        """The outcome in a word: "right", or the kind of the diagnosis; "explained", too, by wrong tensors alone."""
        if self.diagnosis is not None:
            return self.diagnosis.kind
        return "right" if not self.code else "explained" if self.mixups else "unknown"

    @property
    def claim(self) -> dict[str, Any]:
        """See `levels.claim`."""
        claimed = levels.claim(self.case, self.candidate, self.dtype, self.levels, self.first, self.variant)
        return {**claimed, "agrees": claimed["agrees"] and not self.strange}

    @property
    def ruled_out(self) -> list[str]:
        """The known mistakes that float32 would have shown in what was supplied, wherever made, where nothing shows."""
        if self.first is not None or self.dtype not in ("float64", "float32"):
            return []
        given = {row.key for row in self.supplied if row.status == "right"}
        return sorted(id for id, kill in kills.of(self.case).items() if kill.key in given and not kill.missed)

    @property
    def strange(self) -> int:
        """How many outputs were given, where no name of theirs is the case's but that of a loss; else 0."""
        given = [name for name in self.candidate.unknown if sources.apart(name)[0] in ("", "forward")]
        outputs = (row.key for row in self.supplied if row.key.startswith("forward/"))
        known = any(self.case.entries[key].role != "loss" for key in outputs)
        due = any(row.key.startswith("forward/") for row in self.rows)
        return len(given) if due and not known else 0

    @property
    def beside(self) -> int:
        """How many tensors differ only on padding."""
        return sum(row.status == "padding" for row in self.rows)

    @property
    def supplied(self) -> list[Row]:
        """The rows of the tensors that the candidate has."""
        return [row for row in self.rows if row.status != "missing"]

    @property
    def own(self) -> list[Row]:
        """The rows that are wrong by themselves, not for what they are computed from; all wrong ones where no block
        can be judged by itself.
        """
        bad = [row for row in self.supplied if row.status in BAD]
        alone = any(row.alone is not None for row in self.rows)
        return [row for row in bad if not alone or self.accused(row)]

    def accused(self, row: Row) -> bool:
        """Whether a row is wrong by itself."""
        own = row.status in ("nan", "shape") or (row.status in BAD and (row.alone or 0) > EXPLAINED)
        return own or (self.first is not None and row.key == self.first.key)

    @property
    def others(self) -> list[others.Said]:
        """What customary criteria say of its outputs; nothing of tokens."""
        return [] if self.dtype == "int64" else others.said(self.case, self.candidate.tensors, self.candidate.partial)


# ---- Sentences that all forms share ----------------------------------------------------------------------------------
def evidence_lines(report: Report) -> list[str]:
    """What the first divergence is measured by."""
    row = report.first
    if row is None or row.error is None:
        return []
    lines = []
    if row.floor:
        beyond = f"{times(row.ratio)} the noise floor: {row.verdict}"
        lines.append(f"error where it first diverges: {row.error:.1e}, {beyond}")
        lines.append(f"  noise floor: {row.floor:.1e}, which is what rounding in {report.dtype} does")
    if row.absolute is not None:
        lines.append(f"  tolerance it would have needed: {row.error:.1e} relative, {row.absolute:.1e} absolute")
    return lines


def level_lines(report: Report) -> list[str]:
    """A line a level, and the claim."""
    if not report.levels:
        return []
    lines = []
    for level in report.levels:
        if level.state == "absent":
            continue
        words = {"reached": "reached", "differs": "differs", "missing": "not claimed: tensors missing",
                 "implied": "implied by a later level; tensors missing"}[level.state]  # fmt: skip
        lacks = f", such as {level.needs[0]}" if level.state in ("missing", "implied") else ""
        told = f"{words}{lacks} ({level.right} right of {level.total})"
        if level.state == "missing" and not level.supplied:
            told = f"not given ({answer.tensors(level.total)})"
        lines.append(f"  L{level.number} {level.title:<15}{told}")
    against = "levels" if report.variant is None else "levels, against the variant"
    return [against, *lines, f"claim: {levels.label(levels.reached(report.levels))}"]


def remarks(report: Report) -> list[str]:
    """What was not compared."""
    missing, unknown = len(report.rows) - len(report.supplied), report.candidate.unknown
    lines = []
    if report.fits is not None and report.fits != report.candidate.dtype:
        judged = "judged as those" if report.fits == report.dtype else f"--dtype {report.fits} judges them so"
        lines.append(f"your {report.candidate.dtype} tensors are {report.fits} values: {judged}")
    if report.asked and PRECISIONS.index(report.dtype) > PRECISIONS.index(report.asked):
        lines.append(f"asked for {report.asked}, given {report.dtype}: judged as {report.dtype}")
    if missing:
        absent = [level for level in report.levels if level.state == "missing" and not level.supplied]
        whole = sum(level.total for level in absent) == missing
        which = f", all of {' and '.join(f'L{level.number}' for level in absent)}" if whole else ""
        lines.append(f"not supplied: {missing} of the case's {answer.tensors(len(report.rows))}{which}")
    if unknown:
        listed = ", ".join(map(shown, unknown[:3])) + (", …" if len(unknown) > 3 else "")
        lines.append(f"unknown to the case, not compared: {len(unknown)} ({listed})")
    if absent := report.candidate.absent:
        some = ", ".join(map(shown, absent[:3])) + (", …" if len(absent) > 3 else "")
        lines.append(f"in the map of names, not in the candidate: {len(absent)} ({some})")
    lines += [f"{note['read']}: {_counted(note['names'])}" for note in report.candidate.read]
    lines += [f"not taken: {why}" for why in report.candidate.refused]
    if report.candidate.partial:
        lines.append(f"given at some positions alone: {_counted(list(report.candidate.partial))}")
    lacking = [f"L{one.number}" for one in report.levels if one.number in report.promised and one.state == "missing"]
    if lacking:
        lines.append(f"levels that the program says it gives, and does not: {', '.join(lacking)}")
    unseen = [id for id in report.declared if report.diagnosis is None or id not in report.diagnosis.ids]
    if unseen:
        lines.append(f"declared, and not seen in these tensors: {', '.join(unseen)}")
    if report.beside:
        lines.append(f"differs only on padding, which nobody reads: {answer.tensors(report.beside)}")
        masked = [row.key for row in report.rows if row.status == "padding" and _behind_mask(row)]
        lines += [f"of these behind the mask, where the case has them before it: {_counted(masked)}"] if masked else []
    if report.ruled_out:
        lines.append(f"known mistakes that would have shown in these tensors: {len(report.ruled_out)}")
    return lines


def _behind_mask(row: Row) -> bool:
    return row.key.endswith("scores") and row.got is not None and row.got <= forms.MASKED


def _counted(names: Sequence[str]) -> str:
    """ "24 tensors (NAME, NAME, …)"."""
    listed = ", ".join(map(shown, names[:2])) + (", …" if len(names) > 2 else "")
    return f"{answer.tensors(len(names))} ({listed})"


def mixup_lines(report: Report) -> list[str]:
    """The wrong tensors; where what is computed later is wrong as well, the mistake may be no mere name."""
    if not report.mixups:
        return []
    title = "the wrong tensor:" if report.diagnosis is None else "given, or computed, was another tensor:"
    more = [f"  and {len(report.mixups) - MOST} more"] if len(report.mixups) > MOST else []
    return [title, *(f"  {mixup}" for mixup in report.mixups[:MOST]), *more]


def diagnosis_lines(report: Report) -> list[str]:
    """What explains the difference."""
    return [] if report.diagnosis is None else list(report.diagnosis.lines)


# ---- Terminal --------------------------------------------------------------------------------------------------------
def table(report: Report, colour: bool = False, every: bool = False) -> Iterator[str]:
    """The lines of the report: the answer, then what it rests on. Of the tensors those that are wrong by themselves are
    listed, alike ones of all layers in a line, or `every` one of them.
    """
    verdict, *more = answer.lines(report)
    yield _painted(verdict, "32" if report.code == 0 else "31", colour)
    yield from more
    facts = f"{answer.tensors(len(report.supplied))}, judged as {report.dtype}"
    yield from ("", printable(f"case {report.case.name}, candidate {report.source}: {facts}"))
    yield from _rows(report, colour, every)
    told = [*remarks(report), *evidence_lines(report), *mixup_lines(report), *level_lines(report)]
    yield from map(printable, told)
    diagnosis = [line for line in diagnosis_lines(report) if line not in more]
    yield from map(printable, ["", *diagnosis] if diagnosis else [])


def _rows(report: Report, colour: bool, every: bool) -> Iterator[str]:
    """The table: every row, or those that are wrong by themselves."""
    chosen = {row.key for row in report.own}
    lines: list[tuple[str, Row | None]] = []
    for title, rows in sections(report.supplied):
        if held := [row for row in rows if every or row.key in chosen]:
            lines.append((title, None))
            lines += [(called(row, full=True), row) for row in held] if every else _folded(held)
    if not lines:
        return
    if not every:
        wrong = sum(row.status in BAD for row in report.supplied)
        yield f"wrong by itself: {len(chosen)} of the {wrong} that differ{answer.s(wrong)} (--every lists all tensors)"
    yield f"{'':<{NAMES}}{'error':>8}{'x floor':>8}{'alone':>7}  verdict"
    for name, row in lines:
        yield from [name] if row is None else _lines(row, printable(name), colour)
    yield "x floor: error over noise floor, which tells what rounding does"
    yield "alone: the same, given the candidate's own tensors before it"


def _folded(rows: list[Row]) -> list[tuple[str, Row]]:
    """(name, row): of the tensors whose names differ in the layer's number alone the worst, with how many there are."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(re.sub(r"(?<=\.)\d+(?=\.)", "*", called(row, full=True)), []).append(row)
    return [(called(held[0], full=True), held[0]) if len(held) == 1 else
            (f"{name} ({len(held)})", max(held, key=lambda row: row.ratio or math.inf)) for name, held in alike.items()]


def sections(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """(title, rows): weights, inputs, forward, gradients of outputs and of parameters, each step."""
    outputs = {called(row) for row in rows if row.key.startswith("forward/")}

    def title(row: Row) -> str:
        section, _, name = row.key.partition("/")
        if section == "gradients":
            return "gradients of outputs" if name in outputs else "gradients of parameters"
        return f"after step {name.partition('/')[0]}" if section == "steps" else section

    titles = dict.fromkeys(title(row) for row in rows)
    return ((name, [row for row in rows if title(row) == name]) for name in titles)


def _lines(row: Row, name: str, colour: bool) -> list[str]:
    """A row of the table; of a name that is too long for its column the numbers stand below it."""
    error, _, ratio, alone = numbers(row)
    above, name = ([], name) if len(name) <= NAMES - 2 else ([f"  {name}"], "")
    verdict = _painted(VERDICTS.get(row.status, row.status), COLOURS.get(row.status, ""), colour)
    return [*above, f"  {name:<{NAMES - 2}}{error:>8}{ratio:>8}{alone:>7}  {verdict}"]


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def called(row: Row, full: bool = False) -> str:
    """The tensor's name: without its section, for states without the step, and unless `full` without the slot."""
    section, _, name = row.key.partition("/")
    if section != "steps":
        return name
    name = name.partition("/")[2]
    slot, _, owner = name.partition(".")
    return owner if slot in SLOTS and not full else name


def numbers(row: Row) -> tuple[str, str, str, str]:
    """Error, floor, ratio and ratio alone; nothing for whole numbers, which are equal or not."""
    if row.floor == 0:
        return ("", "", "", "")
    return (value(row.error, ".1e"), value(row.floor, ".1e"), short(row.ratio), short(row.alone))


# ---- JSON ------------------------------------------------------------------------------------------------------------
def fields(report: Report) -> dict[str, Any]:
    """The whole report as JSON has it; what is infinite or NaN becomes text."""
    claimed, diagnosis = report.claim, report.diagnosis
    return {
        "format": FORMAT,
        "minibert": __version__,
        "outcome": answer.headline(report),
        "answer": answer.lines(report),
        "exit_code": report.code,
        "case": claimed["case"],
        "candidate": {"source": report.source, **claimed["candidate"]},
        "dtype": report.dtype,
        "verdict": report.verdict,
        "mistakes": [] if diagnosis is None else [_json_found(found) for found in diagnosis.mistakes],
        "precision": {
            "judged": report.dtype,
            "fits": report.fits if report.fits != report.dtype else None,
            **({"looks_like": [*report.looks.names]} if report.looks else {}),
        },
        "others": [{name: _json(value) for name, value in said._asdict().items()} for said in report.others],
        "first_divergence": None if report.first is None else _json_first(report),
        "diagnosis": None
        if diagnosis is None
        else {
            "kind": diagnosis.kind,
            "mistakes": [str(found) for found in diagnosis.names],
            "ratio": _json(diagnosis.ratio),
            "unexplained": diagnosis.unexplained,
            "text": list(diagnosis.lines),
        },
        "level": claimed["level"],
        "levels": [level._asdict() for level in report.levels],
        "wrong_tensors": [mixup._asdict() for mixup in report.mixups],
        "layouts": report.candidate.read,
        "not_taken": report.candidate.refused,
        "only_padding": [row.key for row in report.rows if row.status == "padding"],
        "unknown": report.candidate.unknown,
        "partial": list(report.candidate.partial),
        "ruled_out": report.ruled_out,
        "remarks": remarks(report),
        "rows": [_json_row(row) for row in report.rows],
    }


def _json_first(report: Report) -> dict[str, Any]:
    """block: "wrong", "right", "unsure" (what goes into it was not supplied), or None where it is not known."""
    row = report.first
    known = "right" if (row.alone or 0) <= EXPLAINED else "wrong" if report.cut_off else "unsure"
    return {**_json_row(row), "block": None if row.alone is None else known}


def _json_row(row: Row) -> dict[str, Any]:
    return {**{name: _json(value) for name, value in row._asdict().items()}, "verdict": row.verdict}


def _json_found(found: Any) -> dict[str, Any]:
    """A mistake; of what has no entry the id is None. tied: the ids of others that give the same tensors; behind: no
    name of its own, but why another may be so.
    """
    id, where, what = found.id if found.listed else None, found.mutant.where, found.mutant.what
    return {"id": id, "where": where, "what": what, "exact": found.exact, "tied": [*found.tied], "behind": found.behind}


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
