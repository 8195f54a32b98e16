"""A comparison as one self-contained HTML page without scripts: the answer as its heading, then what it rests on."""

import html
import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from minibert import __version__
from minibert.errors import printable
from minibert.golden import answer, clauses, levels, places, report
from minibert.golden.compare import BAD, EXPLAINED, SUSPECT, Row
from minibert.golden.places import Places

STYLE = """
:root { --ink: #1c2330; --dim: #667085; --line: #d9dee7; --paper: #fff; --soft: #f5f7fa; --good: #2e8b57; --c0: #d8f0dd;
  --c1: #b9e3c2;
  --c2: #fbe39a; --c3: #f6b26b; --c4: #e8775a; --c5: #c0392b; --nan: #7d3c98; --none: #eef0f4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #384152; --paper: #151a23; --soft: #1d2430; --good: #57b981;
    --c0: #1d4429; --c1: #2a6238; --c2: #77631c; --c3: #96591d; --c4: #a94432; --c5: #d0392a; --nan: #8e44ad;
    --none: #262e3b } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  overflow-wrap: anywhere; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
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
.answer dt { float: left; clear: left; width: 8.5rem; color: var(--dim) }
.answer dd { margin: 0 0 .35rem 8.5rem; overflow-wrap: anywhere }
.outcome { border-left: 5px solid var(--c1); border-radius: 0 6px 6px 0; background: var(--soft); padding: .7rem 1rem;
  margin: 1rem 0; font-weight: 600 }
.outcome.bad { border-color: var(--c5) }
.dim { color: var(--dim) }
.curves { display: flex; flex-wrap: wrap; gap: 1rem 2rem }
figure { margin: 0; flex: 1 1 20rem; max-width: 36rem }
figcaption { font-size: .82rem; color: var(--dim) }
svg { display: block; width: 100% }
svg text { font: 8.5px system-ui, "DejaVu Sans", sans-serif; fill: var(--dim) }
svg polyline { fill: none; stroke: var(--c5); stroke-width: 1.3 }
svg .grid { stroke: var(--line); stroke-width: .6 }
svg .bar { stroke: var(--good); stroke-width: 1; stroke-dasharray: 4 2 }
svg .fine { fill: var(--dim) }
svg .own, svg .first { fill: var(--c5); stroke: var(--paper) }
svg .first { stroke: var(--ink); stroke-width: 1.5 }
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
.cell.pale.pale { background: color-mix(in srgb, var(--c4) 22%, var(--paper)); color: var(--dim) }
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
@media (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem }
  .answer dt { float: none }
  .answer dd { margin-left: 0 }
  .map th { min-width: 5.4rem; max-width: 5.4rem; white-space: normal; overflow-wrap: anywhere; padding-right: .3rem }
  .map thead th { min-width: 0 }
  .map thead span { white-space: nowrap }
  .cell { min-width: 1.5rem; font-size: .62rem }
  .cell a { padding: 0 .1rem } }
"""


def page(found: report.Report) -> str:
    """The report as one self-contained page without scripts."""
    where = places.of_case(found.case)
    told = [(name, rows) for name, rows in report.sections(found.rows) if any(_known(row) for row in rows)]
    entries = _entries(found)
    body = [
        *_answer(found, entries),
        *_curves(found, where),
        f"<h2>Error map</h2>{_legend(found)}",
        *(_map(name, rows, found, where) for name, rows in told),
        f"<h2>Diagnosis</h2>{_block(report.diagnosis_lines(found), entries)}" if found.diagnosis else "",
        f"<h2>Levels</h2>{_level_table(found)}" if found.levels else "",
        "<h2>Every tensor</h2>",
        *(_text_lines([*report.remarks(found), *report.evidence_lines(found)])),
        *(_section(name, rows) for name, rows in report.sections(found.supplied)),
        *_read(entries),
        f'<p class="dim">minibert {__version__}. Case {levels.fingerprint(found.case)}, candidate '
        f"{found.candidate.sha256} (SHA-256).</p>",
    ]
    title = _text(f"{found.case.name}: {answer.headline(found)}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>' + "\n".join(
        [*filter(None, body), "</body></html>\n"]
    )


# ---- The answer ------------------------------------------------------------------------------------------------------
def _entries(found: report.Report) -> dict[str, Any]:
    """The catalogue's entries that the diagnosis names."""
    named = [] if found.diagnosis is None else found.diagnosis.mistakes
    return {one.id: one.mistake for one in named if one.listed}


def _answer(found: report.Report, entries: dict[str, Any]) -> list[str]:
    """Heading and outcome; then first divergence, what to do, what others would have said."""
    verdict, cause = answer.headline(found), answer.cause(found)
    facts = f"{len(found.supplied)} of {answer.tensors(len(found.rows))}, judged as {found.dtype}"
    outcome = f'<p class="outcome{" bad" if found.code else ""}">{_text(_begun(verdict))}.</p>' if cause else ""
    parts = {"first divergence": _divergence(found), "what to do": _linked(answer.next_step(found), entries),
             "others say": _text(answer.others(found).partition(": ")[2]) if found.first is not None else "",
             "wrong tensors": "<br>".join(map(_text, found.mixups[: report.MOST]))}  # fmt: skip
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in parts.items() if text)
    return [
        f"<h1>{_linked(_begun(cause or verdict), entries)}</h1>",
        outcome,
        f'<dl class="answer">{rows}</dl>',
        f"<p>Candidate <code>{_text(found.source)}</code> against <code>{_text(found.case.name)}</code>: "
        f"{_text(facts)}.</p>",
        f'<p class="dim">{_text(found.case.facts["title"])}</p>',
    ]


def _divergence(found: report.Report) -> str:
    if found.first is None:
        return ""
    link = f'<a href="#{_cell_of(found.first)}"><code>{_text(found.first.key)}</code></a>'
    return "<br>".join([link, *(_text(line.strip()) for line in answer.first_lines(found)[1:])])


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _linked(text: str, entries: Iterable[str]) -> str:
    """The text with links to what `_read` has of entries and clauses."""
    escaped, known = re.sub("`(.+?)`", r"<code>\1</code>", _text(text)), _clauses(entries)
    for kind, ids in (("entry", entries), ("clause", known)):
        for id in ids:
            escaped = re.sub(rf"(?<![\w#-]){re.escape(id)}(?![\w-])", f'<a href="#{kind}-{id}">{id}</a>', escaped)
    return escaped


def _clauses(entries: Any) -> list[str]:
    """The ids of the clauses that entries name."""
    held = entries.values() if isinstance(entries, dict) else ()
    return list(dict.fromkeys(id for entry in held for id in clauses.named(entry.clause)))


def _read(entries: dict[str, Any]) -> list[str]:
    """The entries that were named, and their clauses."""
    if not entries:
        return []
    stated = clauses.clauses()
    parts = []
    for id, entry in entries.items():
        rows = (("right", entry.right), ("clause", entry.clause), ("seen in", entry.evidence))
        listed = "".join(f"<dt>{name}</dt><dd>{_linked(text, entries)}</dd>" for name, text in rows if text)
        parts.append(f'<h3 id="entry-{id}">{id}: {_text(entry.title)}</h3><dl class="answer">{listed}</dl>')
    for id in _clauses(entries):
        if id in stated:
            parts.append(f'<h3 id="clause-{id}">{id}, {stated[id].page}</h3>{_block(stated[id].text.splitlines())}')
    return ["<h2>What is right</h2>", *parts]


# ---- Error over depth ------------------------------------------------------------------------------------------------
WIDE, HIGH, LEFT, FOOT = 360, 150, 34, 22  # of a curve, in its own units


def _curves(found: report.Report, where: Places) -> list[str]:
    """How the error goes on through the forward pass, and from the loss back."""
    parts = dict(report.sections(found.rows))
    wanted = {"forward": parts.get("forward", []),
              "gradients of outputs, from the loss back": parts.get("gradients of outputs", [])[::-1]}  # fmt: skip
    drawn = [(title, [row for row in rows if row.ratio is not None and row.floor]) for title, rows in wanted.items()]
    figures = [_curve(title, rows, found, where) for title, rows in drawn if len(rows) > 3]
    told = "The line is each tensor's error over its noise floor, the dots the same of its own block alone."
    return ["<h2>Error over depth</h2>", f"<p>{told}</p>", f'<div class="curves">{"".join(figures)}</div>'] * bool(
        figures
    )


def _curve(title: str, rows: list[Row], found: report.Report, where: Places) -> str:
    step = (WIDE - LEFT - 6) / max(1, len(rows) - 1)
    top = max(2, math.ceil(max(_log(row.ratio) for row in rows)))

    def at(i: int, ratio: float) -> tuple[float, float]:
        return LEFT + i * step, 8 + (HIGH - FOOT - 8) * (top - _log(ratio)) / (top + 2)

    def level(ratio: float, kind: str, text: str) -> str:
        y = at(0, ratio)[1]
        return (f'<line class="{kind}" x1="{LEFT}" x2="{WIDE - 6}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{LEFT - 3}" y="{y + 3:.1f}" text-anchor="end">{text}</text>')  # fmt: skip

    ticks = "".join(level(10.0**n, "grid", f"1e{n}") for n in range(3, top + 1, max(3, top // 3)))
    lines = ticks + level(EXPLAINED, "bar", f"{EXPLAINED} ×")
    line = " ".join("{:.1f},{:.1f}".format(*at(i, row.ratio)) for i, row in enumerate(rows))
    dots = "".join(_dot(row, at(i, row.alone), found) for i, row in enumerate(rows) if row.alone is not None)
    return (f'<figure><figcaption>{_text(title)}</figcaption><svg viewBox="0 0 {WIDE} {HIGH}" role="img" '
            f'aria-label="error over depth: {_text(title)}">{lines}<polyline points="{line}"/>{dots}'
            f"{_places(rows, where, at)}</svg></figure>")  # fmt: skip


def _places(rows: list[Row], where: Places, at: Any) -> str:
    """Where each part of the model begins, below the curve; of many parts not all have room for a name."""
    begins = [(i, where.of_tensor(row.key.partition("/")[2])) for i, row in enumerate(rows)]
    begins = [(i, name) for n, (i, name) in enumerate(begins) if name and (n == 0 or begins[n - 1][1] != name)]
    out, free = [], 0.0
    for i, name in begins:
        x, _ = at(i, 1)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{HIGH - FOOT}"/>')
        width = 4.6 * len(name) + 6
        if x >= free and x + width <= WIDE + 8:
            out.append(f'<text x="{x:.1f}" y="{HIGH - 8}">{_text(name)}</text>')
            free = x + width
    return "".join(out)


def _dot(row: Row, place: tuple[float, float], found: report.Report) -> str:
    bad = row.status in BAD and found.accused(row)
    kind = "first" if found.first is not None and row.key == found.first.key else "own" if bad else "fine"
    x, y = place
    title = f"<title>{_text(row.key)}: {answer.short(row.ratio)} times, alone {answer.short(row.alone)}</title>"
    circle = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS[kind]}">{title}</circle>'
    return f'<a href="#{_anchor(row)}">{circle}</a>'


_RADIUS = {"first": 4, "own": 3, "fine": 1.5}


def _log(ratio: float) -> float:
    return math.log10(min(max(ratio, 1e-2), 1e12))


# ---- Parts -----------------------------------------------------------------------------------------------------------
def _text(value: Any) -> str:
    return html.escape(printable(str(value)))


def _block(lines: Sequence[str], entries: Any = ()) -> str:
    return f"<pre>{chr(10).join(_linked(line, entries) for line in lines)}</pre>"


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


def _legend(found: report.Report) -> str:
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
    used = {_kind(row) for row in found.rows}
    shown = " ".join(f'<span class="chip k{kind}">{text}</span>' for kind, text in chips if kind in used)
    pale = any(_inherits(found, row) for row in found.rows)
    what = "Each cell is a tensor's error over its noise floor, which is what rounding does."
    what += " Framed: wrong by itself; thick: the first." if found.own else ""
    what += " Pale: it only inherits the error of what comes before it." if pale else ""
    return f"<p>{what}</p><p>{shown}</p>"


def _map(title: str, rows: list[Row], found: report.Report, where: Places) -> str:
    """Cells over parts of the model and their tensors: parts that are alike share columns, others name their own."""
    parts = [(name, list(held)) for name, held in groupby(rows, key=lambda row: where.group(report.called(row)))]
    tables = []
    for columns, same in groupby(parts, key=lambda part: [_within(row, part[0]) for row in part[1]]):
        alike = list(same)
        shared = len(alike) > 1 and len(columns) > 1
        heads = "".join(f"<th><span>{_text(column)}</span></th>" for column in columns)
        lines = [f"<thead><tr><td></td>{heads}</tr></thead>"] if shared else []
        for name, held in alike:
            labels = [""] * len(held) if shared or len(held) == 1 else columns
            cells = "".join(_cell(row, found, label) for row, label in zip(held, labels, strict=True))
            lines.append(f'<tr><th scope="row">{_text(name).replace(".", ".<wbr>")}</th>{cells}</tr>')
        tables.append(f'<table class="map">{"".join(lines)}</table>')
    inner = f'<div class="scroll">{"".join(tables)}</div>'
    opened = " open" if title.startswith(("forward", "gradients")) else ""
    return f"<details{opened}><summary>{_text(title)}</summary>{inner}</details>"


def _within(row: Row, part: str) -> str:
    """A tensor's name inside its part, its slot last."""
    short, full = report.called(row), report.called(row, full=True)
    inner = short.removeprefix(part).removeprefix(".") or "output"
    return f"{inner} ({full.partition('.')[0]})" if full != short else inner


def _inherits(found: report.Report, row: Row) -> bool:
    """Whether it is wrong for what comes before it alone."""
    return row.status in BAD and row.alone is not None and not found.accused(row)


def _cell(row: Row, found: report.Report, label: str) -> str:
    marks = {"missing": "", "exempt": "exempt", "undefined": "–", "nan": "NaN", "shape": "shape", "padding": "padding"}
    text = marks.get(row.status) or (row.verdict if row.floor == 0 else answer.short(row.ratio))
    own = " pale" if _inherits(found, row) else " own" if row.status in BAD and found.accused(row) else ""
    framed = " first" if found.first is not None and row.key == found.first.key else own
    inner = f"<small>{_text(label)}</small>{text}" if label else text
    inner = f'<a href="#{_anchor(row)}">{inner}</a>' if _known(row) else inner
    kind, title = f"cell k{_kind(row)}{framed}", f"{_text(row.key)}: {_text(row.verdict)}"
    return f'<td class="{kind}" id="{_cell_of(row)}" title="{title}">{inner}</td>'


def _cell_of(row: Row) -> str:
    return f"cell:{_anchor(row)}"


def _anchor(row: Row) -> str:
    return _text(row.key.replace(" ", "_"))


def _level_table(found: report.Report) -> str:
    words = {"reached": ("1", "reached"), "differs": ("4", "differs"), "missing": ("none", "not claimed"),
             "implied": ("0", "implied by a later level")}  # fmt: skip
    lines = []
    for level in found.levels:
        if level.state == "absent":
            continue
        kind, word = words[level.state]
        lacks = f"; missing: {level.needs[0]}" if level.needs else ""
        more = f" and {len(level.needs) - 1} more" if len(level.needs) > 1 else ""
        counts = f"{level.right} right of {level.supplied} supplied, {level.total} in the case{lacks}{more}"
        chip = f'<span class="chip k{kind}">{word}</span>'
        lines.append(f"<tr><td>L{level.number} {level.title}</td><td>{chip}</td><td>{_text(counts)}</td></tr>")
    claimed = _text(levels.label(levels.reached(found.levels)))
    return f'<p>Claim: <b>{claimed}</b></p><div class="scroll"><table class="levels">{"".join(lines)}</table></div>'


def _section(title: str, rows: list[Row]) -> str:
    heads = "".join(f'<th class="n">{head}</th>' for head in ("error", "floor", "× floor", "alone"))
    lines = []
    for row in rows:
        cells = "".join(f'<td class="n">{number}</td>' for number in report.numbers(row))
        seen = ""
        if row.status in BAD and row.got is not None:
            got, due = answer.apart(row.got, row.expected)
            seen = f"{got} for {due} at {list(row.index)}"
        chip = f'<span class="chip k{_kind(row)}">{_text(row.verdict)}</span>'
        name = _text(report.called(row, full=True))
        lines.append(
            f'<tr id="{_anchor(row)}"><td>{name}</td>{cells}<td>{chip}</td><td class="n">{_text(seen)}</td></tr>'
        )
    head = f"<thead><tr><th>tensor</th>{heads}<th>verdict</th><th></th></tr></thead>"
    bad = sum(row.status in BAD for row in rows)
    summary = f"{title}: {answer.tensors(len(rows))}" + (f", {bad} not explained by rounding" if bad else "")
    body = f'<div class="scroll"><table class="rows">{head}<tbody>{"".join(lines)}</tbody></table></div>'
    opened = " open" if bad or title == "forward" else ""
    return f"<details{opened}><summary>{_text(summary)}</summary>{body}</details>"
