"""A comparison told three ways: a table for terminals, JSON for machines, and one HTML page that needs nothing else."""

import html
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from minibert import __version__
from minibert.config import shown
from minibert.errors import printable
from minibert.golden import kills, levels, places, sources
from minibert.golden.candidate import Candidate
from minibert.golden.compare import BAD, EXPLAINED, SLOTS, SUSPECT, Row
from minibert.golden.mixups import Mixup
from minibert.golden.places import Places

FORMAT = "minibert-check/1"
MOST = 6  # lines about wrong tensors
NAMES = 46  # columns of a table's names, in a terminal of 80
VERDICTS = {"nan": "not finite", "shape": "wrong shape", "padding": "only padding"}  # where it is not the status
COLOURS = {"right": "32", "padding": "32", "suspect": "33", "wrong": "31", "nan": "35", "shape": "31"}  # of a terminal


class Report(NamedTuple):
    """All that a check found. source: what the candidate is called; dtype: the precision it is judged in; diagnosis: of
    `minibert.mistakes`, or None; mixups: the wrong tensors; cut_off: whether what goes into the block of the first
    divergence was supplied; fits: the precision that its numbers are of.
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

    @property
    def variant(self) -> str | None:
        """The acceptable variant that the candidate computes, where that explains it."""
        return "; ".join(map(str, self.diagnosis.mistakes)) if self.verdict == "variant" else None

    @property
    def verdict(self) -> str:
        """The outcome in a word: "right", or the kind of the diagnosis; "explained", too, by wrong tensors alone."""
        if self.diagnosis is not None:
            return self.diagnosis.kind
        return "right" if not self.code else "explained" if self.mixups else "unknown"

    @property
    def claim(self) -> dict[str, Any]:
        """See `levels.claim`."""
        return levels.claim(self.case, self.candidate, self.dtype, self.levels, self.first, self.variant)

    @property
    def ruled_out(self) -> list[str]:
        """The known mistakes that float32 would have shown in what was supplied, wherever made, where nothing shows."""
        if self.first is not None or self.dtype not in ("float64", "float32"):
            return []
        given = {row.key for row in self.supplied if row.status == "right"}
        return sorted(id for id, kill in kills.of(self.case).items() if kill.key in given and not kill.missed)

    @property
    def strange(self) -> int:
        """How many outputs were given, where no name of theirs is the case's; else 0."""
        given = [name for name in self.candidate.unknown if sources.apart(name)[0] in ("", "forward")]
        known = any(row.key.startswith("forward/") for row in self.supplied)
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


# ---- Sentences that all three share ----------------------------------------------------------------------------------
def headline(report: Report) -> str:
    """The outcome in a sentence."""
    counted, wrong = len(report.supplied), sum(row.status in BAD for row in report.supplied)
    if not wrong and all(row.floor == 0 for row in report.supplied):
        return f"right: all {counted} are equal"
    if not wrong and report.strange:
        others = f"rounding explains the other {counted} tensors"
        return f"not judged: none of the {report.strange} outputs has a name of the case's; {others}"
    if not wrong and report.beside:
        return f"acceptable: {report.beside} of {counted} tensors differ, only on padding, which nobody reads"
    if not wrong:
        return f"right: rounding explains all {counted} tensors"
    if report.variant is not None:
        return f"acceptable: {wrong} of {counted} tensors differ, as in a variant that is right where it is declared"
    if all(row.floor == 0 for row in report.supplied):
        return f"different: {wrong} of {counted} are not equal"
    return f"different: {wrong} of {counted} tensors are not explained by rounding"


def first_lines(report: Report) -> list[str]:
    """Where it first goes wrong, and by how much."""
    row = report.first
    if row is None:
        return ["first divergence: none"]
    lines = [f"first divergence: {row.key}"]
    if row.status == "nan":
        return [*lines, f"  {row.got} at {list(row.index)}, where {_value(row.expected)} is due"]
    if row.status == "shape":
        return [*lines, f"  {row.verdict}"]
    at = f" at {list(row.index)}" if row.index else ""
    if row.got is None:
        lines.append(f"  they part{at}")
    else:
        lines.append(f"  got {_value(row.got)}{at}, where {_value(row.expected)} is due")
    if row.floor:
        error = f"  error {row.error:.1e} is {_times(row.ratio)} the noise floor {row.floor:.1e} of {report.dtype}"
        lines.append(f"{error}: {row.verdict}")
    if row.absolute is not None:
        lines.append(f"  tolerance it would have needed: {row.error:.1e} relative, {row.absolute:.1e} absolute")
    if row.alone is not None and row.alone > EXPLAINED and not report.cut_off:
        lines.append("  it or something before it is wrong: what goes into its block was not supplied")
    elif row.alone is not None and row.alone > EXPLAINED:
        lines.append("  its own block is wrong: given the candidate's tensors before it, something else is due")
    elif row.alone is not None:
        lines.append(
            "  its own block is right: what comes before it, and was not supplied or is within rounding, is not"
        )
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
        lines.append(f"  L{level.number} {level.title:<15}{words}{lacks} ({level.right} right of {level.total})")
    against = "levels" if report.variant is None else "levels, against the variant"
    return [against, *lines, f"claim: {levels.label(levels.reached(report.levels))}"]


def remarks(report: Report) -> list[str]:
    """What was not compared."""
    missing, unknown = len(report.rows) - len(report.supplied), report.candidate.unknown
    lines = []
    if report.fits is not None and report.fits != report.candidate.dtype:
        judged = "judged as those" if report.fits == report.dtype else f"--dtype {report.fits} judges them so"
        lines.append(f"your {report.candidate.dtype} tensors are {report.fits} values: {judged}")
    if missing:
        lines.append(f"not supplied: {missing} of the case's {len(report.rows)} tensors")
    if unknown:
        listed = ", ".join(map(shown, unknown[:3])) + (", …" if len(unknown) > 3 else "")
        lines.append(f"unknown to the case, not compared: {len(unknown)} ({listed})")
    lines += [f"{note['read']}: {_counted(note['names'])}" for note in report.candidate.read]
    lines += [f"not taken: {why}" for why in report.candidate.refused]
    if report.candidate.partial:
        lines.append(f"given at some positions alone: {_counted(list(report.candidate.partial))}")
    if report.beside:
        lines.append(f"differs only on padding, which nobody reads: {report.beside} tensors")
    if report.ruled_out:
        lines.append(f"known mistakes that would have shown in these tensors: {len(report.ruled_out)}")
    return lines


def _counted(names: Sequence[str]) -> str:
    """ "24 tensors (NAME, NAME, …)"."""
    listed = ", ".join(map(shown, names[:2])) + (", …" if len(names) > 2 else "")
    return f"{len(names)} tensor{'' if len(names) == 1 else 's'} ({listed})"


def mixup_lines(report: Report) -> list[str]:
    """The wrong tensors."""
    if not report.mixups:
        return []
    more = [f"  and {len(report.mixups) - MOST} more"] if len(report.mixups) > MOST else []
    return ["the wrong tensor:", *(f"  {mixup}" for mixup in report.mixups[:MOST]), *more]


def diagnosis_lines(report: Report) -> list[str]:
    """What explains the difference."""
    return [] if report.diagnosis is None else list(report.diagnosis.lines)


# ---- Terminal --------------------------------------------------------------------------------------------------------
def table(report: Report, colour: bool = False, every: bool = False) -> Iterator[str]:
    """The lines of the report. Of each part of the model, what is right and what only inherits an error are folded into
    a line each, unless `every` tensor is wanted.
    """
    facts = f"{len(report.supplied)} tensors, judged as {report.dtype}"
    yield printable(f"case {report.case.name}, candidate {report.source}: {facts}")
    lines, where = [], places.of_case(report.case)
    for title, rows in sections(report.supplied):
        lines.append((title, None))
        for name, part in groupby(rows, key=lambda row: _part(row, where)):
            held = list(part)
            lines += [(_name(row, full=True), row) for row in held] if every else _folded(name, held, report.first)
    lines = [(printable(name), row) for name, row in lines]
    yield f"{'':<{NAMES}}{'error':>8}{'x floor':>8}{'alone':>7}  verdict"
    for name, row in lines:
        yield from [name] if row is None else _lines(row, name, colour)
    yield "x floor: error over noise floor, which tells what rounding does"
    yield "alone: the same, given the candidate's own tensors before it"
    told = (*remarks(report), *first_lines(report), *mixup_lines(report), *level_lines(report))
    yield from map(printable, ("", *told))
    if diagnosis := diagnosis_lines(report):
        yield from map(printable, ("", *diagnosis))
    yield from ("", _painted(headline(report), "32" if report.code == 0 else "31", colour))


def sections(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """(title, rows): weights, inputs, forward, gradients of outputs and of parameters, each step."""
    outputs = {_name(row) for row in rows if row.key.startswith("forward/")}

    def title(row: Row) -> str:
        section, _, name = row.key.partition("/")
        if section == "gradients":
            return "gradients of outputs" if name in outputs else "gradients of parameters"
        return f"after step {name.partition('/')[0]}" if section == "steps" else section

    titles = dict.fromkeys(title(row) for row in rows)
    return ((name, [row for row in rows if title(row) == name]) for name in titles)


def _part(row: Row, where: Places) -> str:
    """What a folded table takes together: a part of the model; after a step all parameters, all moments of a kind."""
    name, full = _name(row), _name(row, full=True)
    if row.key.startswith("tokens/"):
        return "texts"
    if not row.key.startswith("steps/"):
        return where.group(name)
    return full.partition(".")[0] if name != full else "parameters" if "." in name else name


def _folded(name: str, rows: list[Row], first: Row | None) -> list[tuple[str, Row]]:
    """(name, row) of the tensors to be seen by themselves, and of the worst of those that are like each other."""

    def kind(row: Row) -> str:
        if row.status not in BAD:
            return "only on padding" if row.status == "padding" else "right"
        own = row.status in ("nan", "shape") or (row.alone or 0) > EXPLAINED
        own = own or (first is not None and row.key == first.key)
        return "" if own else "inherit an error" if row.alone is not None else "differ"

    if not rows[0].key.startswith("forward/"):  # elsewhere their order says little
        kinds = ("right", "only on padding", "", "inherit an error", "differ")
        rows = sorted(rows, key=lambda row: kinds.index(kind(row)))
    lines = []
    for like, held in groupby(rows, key=kind):
        alike = list(held)
        if like and len(alike) > 1:
            worst = max(alike, key=lambda row: row.ratio or 0)
            lines.append((f"{name} ({len(alike)} {like})", worst))
        else:
            lines += [(_name(row, full=True), row) for row in alike]
    return lines


def _lines(row: Row, name: str, colour: bool) -> list[str]:
    """A row of the table; of a name that is too long for its column the numbers stand below it."""
    error, _, ratio, alone = _numbers(row)
    above, name = ([], name) if len(name) <= NAMES - 2 else ([f"  {name}"], "")
    verdict = _painted(VERDICTS.get(row.status, row.status), COLOURS.get(row.status, ""), colour)
    return [*above, f"  {name:<{NAMES - 2}}{error:>8}{ratio:>8}{alone:>7}  {verdict}"]


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def _name(row: Row, full: bool = False) -> str:
    """The tensor's name: without its section, for states without the step, and unless `full` without the slot."""
    section, _, name = row.key.partition("/")
    if section != "steps":
        return name
    name = name.partition("/")[2]
    slot, _, owner = name.partition(".")
    return owner if slot in SLOTS and not full else name


def _value(value: float | None, form: str = ".6g") -> str:
    return "" if value is None else format(value, form)


def _numbers(row: Row) -> tuple[str, str, str, str]:
    """Error, floor, ratio and ratio alone; nothing for whole numbers, which are equal or not."""
    if row.floor == 0:
        return ("", "", "", "")
    return (_value(row.error, ".1e"), _value(row.floor, ".1e"), _short(row.ratio), _short(row.alone))


def _short(ratio: float | None) -> str:
    """A ratio in at most six characters."""
    if ratio is None or math.isnan(ratio):
        return ""
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}" if ratio < 9999.5 else f"{ratio:.0e}".replace("e+0", "e")


def _times(ratio: float) -> str:
    return f"{_short(ratio)} times"


# ---- JSON ------------------------------------------------------------------------------------------------------------
def fields(report: Report) -> dict[str, Any]:
    """The whole report as JSON has it; what is infinite or NaN becomes text."""
    claimed, diagnosis = report.claim, report.diagnosis
    return {
        "format": FORMAT,
        "minibert": __version__,
        "outcome": headline(report),
        "exit_code": report.code,
        "case": claimed["case"],
        "candidate": {"source": report.source, **claimed["candidate"]},
        "dtype": report.dtype,
        "verdict": report.verdict,
        "mistakes": [] if diagnosis is None else [_json_found(found) for found in diagnosis.mistakes],
        "precision": {"judged": report.dtype, "fits": report.fits if report.fits != report.dtype else None},
        "first_divergence": None if report.first is None else _json_row(report.first),
        "diagnosis": None
        if diagnosis is None
        else {
            "kind": diagnosis.kind,
            "mistakes": [str(found) for found in diagnosis.mistakes],
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
        "rows": [_json_row(row) for row in report.rows],
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {**{name: _json(value) for name, value in row._asdict().items()}, "verdict": row.verdict}


def _json_found(found: Any) -> dict[str, Any]:
    """A mistake; of what has no entry the id is None."""
    id = found.id if found.listed else None
    return {"id": id, "where": found.mutant.where, "what": found.mutant.what, "exact": found.exact}


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# ---- HTML ------------------------------------------------------------------------------------------------------------
STYLE = """
:root { --ink: #1c2330; --dim: #667085; --line: #d9dee7; --paper: #fff; --soft: #f5f7fa; --c0: #d8f0dd; --c1: #b9e3c2;
  --c2: #fbe39a; --c3: #f6b26b; --c4: #e8775a; --c5: #c0392b; --nan: #7d3c98; --none: #eef0f4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #384152; --paper: #151a23; --soft: #1d2430; --c0: #1d4429;
    --c1: #2a6238; --c2: #77631c; --c3: #96591d; --c4: #a94432; --c5: #d0392a; --nan: #8e44ad; --none: #262e3b } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .2rem }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; color: var(--dim); font-weight: 600 }
p { margin: .3rem 0 }
a { color: inherit }
code, pre, td.n, .cell, .rows td:first-child { font-size: .84em; font-family: ui-monospace, "SF Mono", Menlo, Consolas,
  "DejaVu Sans Mono", monospace }
pre { white-space: pre-wrap; background: var(--soft); border: 1px solid var(--line); border-radius: 6px;
  margin: .5rem 0; padding: .8rem 1rem }
summary { cursor: pointer; font-weight: 600; margin: .5rem 0 }
table { border-collapse: collapse }
.outcome { border-left: 5px solid var(--c1); border-radius: 0 6px 6px 0; background: var(--soft); padding: .7rem 1rem;
  margin: 1rem 0; font-weight: 600 }
.outcome.bad { border-color: var(--c5) }
.dim { color: var(--dim) }
.scroll { overflow-x: auto }
.rows { width: 100% }
.rows th { text-align: left; font-size: .8rem; color: var(--dim) }
.rows td, .rows th { padding: .22rem .6rem; border-bottom: 1px solid var(--line) }
.rows td.n, .rows th.n { text-align: right; white-space: nowrap }
.rows td:first-child { overflow-wrap: anywhere }
.rows tr:target td { background: var(--soft) }
.chip { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .82rem; white-space: nowrap }
.map { margin: 0 }
.map th { font-weight: 400; font-size: .78rem; color: var(--dim); text-align: right; padding: 0 .6rem 0 0;
  white-space: nowrap; min-width: 12rem }
.map thead th { padding: .2rem 0 .3rem; text-align: center; vertical-align: bottom; min-width: 0 }
.map thead span { writing-mode: vertical-rl; transform: rotate(180deg) }
.cell { min-width: 3.2rem; height: 1.7rem; text-align: center; border: 2px solid var(--paper); padding: 0 }
.cell a { text-decoration: none; display: block; padding: 0 .5rem }
.cell small { display: block; font-family: system-ui, "DejaVu Sans", sans-serif; font-size: .8em; opacity: .75 }
.cell.own { box-shadow: inset 0 0 0 1.5px var(--ink) }
.cell.first { box-shadow: inset 0 0 0 3px var(--ink); font-weight: 700 }
.k0 { background: var(--c0) }
.k1 { background: var(--c1) }
.k2 { background: var(--c2) }
.k3 { background: var(--c3) }
.k4 { background: var(--c4) }
.k5 { background: var(--c5); color: #fff }
.knan { background: var(--nan); color: #fff }
.knone { background: var(--none); color: var(--dim) }
.levels td { padding: .2rem .9rem .2rem 0 }
"""


def page(report: Report) -> str:
    """The report as one self-contained page without scripts."""
    bad = any(row.status in BAD for row in report.supplied)
    facts = f"{len(report.supplied)} of {len(report.rows)} tensors, judged as {report.dtype}"
    title, where = f"{report.case.name}: {headline(report)}", places.of_case(report.case)
    told = [(name, rows) for name, rows in sections(report.rows) if any(_known(row) for row in rows)]
    body = [
        f"<h1>{_text(report.case.name)}</h1>",
        f'<p class="dim">{_text(report.case.facts["title"])}</p>',
        f"<p>Candidate <code>{_text(report.source)}</code>: {_text(facts)}.</p>",
        f'<p class="outcome{" bad" if report.code else ""}">{_text(headline(report).capitalize())}.</p>',
        "<h2>First divergence</h2>" if bad else "",
        _block([*first_lines(report), *mixup_lines(report)]) if bad else "",
        f"<h2>Diagnosis</h2>{_block(diagnosis_lines(report))}" if report.diagnosis else "",
        f"<h2>Levels</h2>{_level_table(report)}" if report.levels else "",
        f"<h2>Error map</h2>{_legend(report)}",
        *(_map(name, rows, report.first, where) for name, rows in told),
        "<h2>Every tensor</h2>",
        *(_text_lines(remarks(report))),
        *(_section(name, rows) for name, rows in sections(report.supplied)),
        f'<p class="dim">minibert {__version__}. Case {levels.fingerprint(report.case)}, candidate '
        f"{report.candidate.sha256} (SHA-256).</p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>' + "\n".join(
        [*filter(None, body), "</body></html>\n"]
    )


def _text(value: Any) -> str:
    return html.escape(printable(str(value)))


def _block(lines: list[str]) -> str:
    return f"<pre>{chr(10).join(map(_text, lines))}</pre>"


def _text_lines(lines: list[str]) -> list[str]:
    return [f'<p class="dim">{_text(line)}</p>' for line in lines]


def _known(row: Row) -> bool:
    return row.status != "missing"


def _kind(row: Row) -> str:
    """The colour of a row."""
    if row.status in ("missing", "exempt", "undefined"):
        return "none"
    if row.status == "nan":
        return "nan"
    if row.status in ("shape", "padding"):
        return "5" if row.status == "shape" else "0"
    bars = (1, EXPLAINED, SUSPECT, 1e4, 1e8)
    return str(sum(row.ratio > bar for bar in bars))


def _legend(report: Report) -> str:
    chips = (
        ("0", "within the noise floor"),
        ("1", f"up to {EXPLAINED}: rounding explains it"),
        ("2", f"up to {SUSPECT}: more than rounding"),
        ("3", "rounding cannot explain it"),
        ("4", "beyond 10⁴"),
        ("5", "beyond 10⁸"),
        ("nan", "not finite"),
        ("none", "not supplied or not judged"),
    )
    used = {_kind(row) for row in report.rows}
    shown = " ".join(f'<span class="chip k{kind}">{text}</span>' for kind, text in chips if kind in used)
    what = "Each cell is a tensor's error over its noise floor. Framed: the block itself is wrong; thick: the first."
    return f"<p>{what}</p><p>{shown}</p>"


def _map(title: str, rows: list[Row], first: Row | None, where: Places) -> str:
    """Cells over parts of the model and their tensors: parts that are alike share columns, others name their own."""
    parts = [(name, list(held)) for name, held in groupby(rows, key=lambda row: where.group(_name(row)))]
    tables = []
    for columns, same in groupby(parts, key=lambda part: [_within(row, part[0]) for row in part[1]]):
        alike = list(same)
        shared = len(alike) > 1 and len(columns) > 1
        heads = "".join(f"<th><span>{_text(column)}</span></th>" for column in columns)
        lines = [f"<thead><tr><td></td>{heads}</tr></thead>"] if shared else []
        for name, held in alike:
            labels = [""] * len(held) if shared or len(held) == 1 else columns
            cells = "".join(_cell(row, first, label) for row, label in zip(held, labels, strict=True))
            lines.append(f'<tr><th scope="row">{_text(name)}</th>{cells}</tr>')
        tables.append(f'<table class="map">{"".join(lines)}</table>')
    inner = f'<div class="scroll">{"".join(tables)}</div>'
    opened = " open" if title.startswith(("forward", "gradients")) else ""
    return f"<details{opened}><summary>{_text(title)}</summary>{inner}</details>"


def _within(row: Row, part: str) -> str:
    """A tensor's name inside its part, its slot last."""
    name, full = _name(row).removeprefix(part).removeprefix(".") or "output", _name(row, full=True)
    return f"{name} ({full.partition('.')[0]})" if full != _name(row) else name


def _cell(row: Row, first: Row | None, label: str) -> str:
    marks = {"missing": "", "exempt": "exempt", "undefined": "–", "nan": "NaN", "shape": "shape", "padding": "padding"}
    text = marks.get(row.status) or (row.verdict if row.floor == 0 else _short(row.ratio))
    own = " own" if row.status in BAD and (row.alone or 0) > EXPLAINED else ""
    framed = " first" if first is not None and row.key == first.key else own
    inner = f"<small>{_text(label)}</small>{text}" if label else text
    inner = f'<a href="#{_anchor(row)}">{inner}</a>' if _known(row) else inner
    return f'<td class="cell k{_kind(row)}{framed}" title="{_text(row.key)}: {_text(row.verdict)}">{inner}</td>'


def _anchor(row: Row) -> str:
    return _text(row.key.replace(" ", "_"))


def _level_table(report: Report) -> str:
    words = {"reached": ("1", "reached"), "differs": ("4", "differs"), "missing": ("none", "not claimed"),
             "implied": ("0", "implied by a later level")}  # fmt: skip
    lines = []
    for level in report.levels:
        if level.state == "absent":
            continue
        kind, word = words[level.state]
        lacks = f"; missing: {level.needs[0]}" if level.needs else ""
        more = f" and {len(level.needs) - 1} more" if len(level.needs) > 1 else ""
        counts = f"{level.right} right of {level.supplied} supplied, {level.total} in the case{lacks}{more}"
        chip = f'<span class="chip k{kind}">{word}</span>'
        lines.append(f"<tr><td>L{level.number} {level.title}</td><td>{chip}</td><td>{_text(counts)}</td></tr>")
    claimed = _text(levels.label(levels.reached(report.levels)))
    return f'<p>Claim: <b>{claimed}</b></p><table class="levels">{"".join(lines)}</table>'


def _section(title: str, rows: list[Row]) -> str:
    heads = "".join(f'<th class="n">{head}</th>' for head in ("error", "floor", "× floor", "alone"))
    lines = []
    for row in rows:
        cells = "".join(f'<td class="n">{number}</td>' for number in _numbers(row))
        seen = ""
        if row.status in BAD and row.got is not None:
            seen = f"{_value(row.got)} for {_value(row.expected)} at {list(row.index)}"
        chip = f'<span class="chip k{_kind(row)}">{_text(row.verdict)}</span>'
        name = _text(_name(row, full=True))
        lines.append(
            f'<tr id="{_anchor(row)}"><td>{name}</td>{cells}<td>{chip}</td><td class="n">{_text(seen)}</td></tr>'
        )
    head = f"<thead><tr><th>tensor</th>{heads}<th>verdict</th><th></th></tr></thead>"
    bad = sum(row.status in BAD for row in rows)
    summary = f"{title}: {len(rows)} tensors" + (f", {bad} not explained by rounding" if bad else "")
    body = f'<div class="scroll"><table class="rows">{head}<tbody>{"".join(lines)}</tbody></table></div>'
    opened = " open" if bad or title == "forward" else ""
    return f"<details{opened}><summary>{_text(summary)}</summary>{body}</details>"
