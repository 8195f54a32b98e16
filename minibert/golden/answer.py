"""The answer of a check, before all that it rests on: verdict, mistake, first divergence, what to do and what others
would have said, in at most ten lines that fit 80 columns.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from minibert.config import shown
from minibert.errors import printable
from minibert.golden import kills, mixups
from minibert.golden.compare import BAD, EXPLAINED, Row

LINES, COLUMNS = 10, 80


def lines(report: Any) -> list[str]:
    """The answer as text, nothing of it longer than 80 columns."""
    first = [line for text in first_lines(report) for line in _fitted(text, 2)] if report.first is not None else []
    advice = _fitted(f"do: {next_step(report)}", 2)
    said = _fitted(others(report), 2) if report.first is not None else []
    known, least = cause(report), 3 if report.mixups else 1  # two names take three lines
    if LINES - 1 - len([*first, *advice, *said]) < min(least, len(_fitted(known, 3))):
        said = _fitted(others(report), 1)
    held = [*first, *advice, *said]
    mistake = _fitted(known, max(1, min(3, LINES - 1 - len(held))))
    if report.mixups and mistake and mistake[-1].endswith(" …"):
        held = [*first, *advice]
        mistake = _fitted(known, max(1, min(3, LINES - 1 - len(held))))
    return [*_fitted(headline(report), max(1, LINES - len(mistake) - len(held))), *mistake, *held]


def _fitted(text: str, most: int) -> list[str]:
    """The text in so many lines, the further ones indented, and what does not fit left out."""
    if not text:
        return []
    begin = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(printable(text.strip()), COLUMNS - 1, initial_indent=begin, subsequent_indent=f"{begin}  ",
                         max_lines=most, placeholder=" …")  # fmt: skip


def headline(report: Any) -> str:
    """The outcome in a sentence."""
    counted, wrong = len(report.supplied), sum(row.status in BAD for row in report.supplied)
    if not wrong and report.supplied and all(row.key.startswith(("weights/", "inputs/")) for row in report.supplied):
        return f"right as far as it goes: {tensors(counted)} of the case's own, and nothing that was computed from them"
    if not wrong and all(row.floor == 0 for row in report.supplied):
        return f"right: all {counted} are equal" if counted > 1 else "right: the one is equal"
    if not wrong and report.strange:
        others = f"rounding explains the other {tensors(counted)}"
        return f"not judged: none of the {report.strange} outputs has a name of the case's; {others}"
    if not wrong and report.beside:
        differs = f"{report.beside} of {tensors(counted)} differ{s(report.beside)}"
        return f"acceptable: {differs}, only on padding, which nobody reads"
    if not wrong:
        unknown = len(report.candidate.unknown)
        more = f"; {unknown} more {'has' if unknown == 1 else 'have'} no name of the case's" if unknown else ""
        refused = len(report.candidate.refused)
        more += f"; {refused} more {'was' if refused == 1 else 'were'} not taken, see below" if refused else ""
        return f"right: rounding explains {'all ' if counted > 1 else 'the '}{tensors(counted)}{more}"
    if report.variant is not None:
        differs = f"{wrong} of {tensors(counted)} differ{s(wrong)}"
        declared = "right if declared" if _open(report) else "declared"
        return f"acceptable: {differs}, as in a variant that is {declared}"
    are = "is" if wrong == 1 else "are"
    if all(row.floor == 0 for row in report.supplied):
        return f"different: {wrong} of {counted} {are} not equal"
    return f"different: {wrong} of {tensors(counted)} {are} not explained by rounding"


def tensors(count: int) -> str:
    """ "1 tensor", "2 tensors"."""
    return f"{count} tensor{'' if count == 1 else 's'}"


def s(count: int) -> str:
    """The ending of a verb behind so many."""
    return "s" if count == 1 else ""


def cause(report: Any) -> str:
    """The mistake, or the wrong tensors, in a sentence; "" where nothing is wrong."""
    mixed = report.mixups
    if report.diagnosis is None:
        return _wrong_tensors(mixed) if mixed else ""
    if report.diagnosis.kind == "unknown" and not report.diagnosis.mistakes:
        other = next((one for one in mixed if report.first is not None and one.key == report.first.key), None)
        if report.looks is not None and report.looks.names == ("int8",):
            return "no known mistake explains this; int8's errors would be as large"
        if report.looks is not None and report.looks.everywhere:
            looks = f"it looks as if computed in {report.looks}: every error is within what that does"
            return f"{looks}, and no known mistake explains them"
        return "no known mistake explains this" + (f"; given, or computed, {was(other)}" if other else "")
    if report.dtype == "int64":  # tokens, whose lines begin with the text
        named = "; ".join(f"{found.id} {found.mistake.title}" for found in report.diagnosis.mistakes)
        return f"{'the mistake is' if report.diagnosis.kind == 'mistake' else 'one of these mistakes it is:'} {named}"
    line, left = report.diagnosis.lines[0], report.diagnosis.unexplained
    if left is None or report.diagnosis.kind in ("unknown", "unfinished"):
        return line
    return f"{line.replace('the mistake is', 'one mistake is', 1)}; and something else is wrong, from {left} on"


def was(mixup: Any) -> str:
    """ "was X under the name Y"."""
    return f"for {mixup.key} was {mixup.equals}{f', {mixup.how}' if mixup.how else ''}"


def _wrong_tensors(mixed: Sequence[Any]) -> str:
    """All in a sentence: what they have in common first."""
    if len(mixed) == 1:
        return f"the wrong tensor: {mixed[0]}"
    hows = {mixup.how for mixup in mixed}
    if len(hows) == 1 and "" not in hows:
        return f"{len(mixed)} wrong tensors, each {mixed[0].how}: {mixed[0].key} is {mixed[0].equals}, …"
    return f"the wrong tensor: {mixed[0]}, and {len(mixed) - 1} more"


def brief(report: Any) -> str:
    """The same for a line that may be cut: the ids first."""
    found = report.diagnosis
    if found is None or not found.mistakes:
        return cause(report) or headline(report)
    ids = dict.fromkeys(one.id for one in found.names)
    return f"one of {', '.join(ids)}" if found.kind == "tie" else "; ".join(map(str, found.names))


def first_lines(report: Any) -> list[str]:
    """Where it first goes wrong, by how much, and whether its own block is wrong."""
    row = report.first
    if row is None:
        return ["first divergence: none"]
    lines = [f"first divergence: {row.key}"]
    if row.status == "nan":
        count = "1 number is" if row.lost == 1 else f"{row.lost:,} numbers are"
        return [*lines, f"  {row.got} at {list(row.index)}, where {value(row.expected)} is due; {count} not finite"]
    if row.status == "shape":
        return [*lines, f"  {row.verdict}"]
    at = f" at {list(row.index)}" if row.index else ""
    beyond = f": {times(row.ratio)} rounding" if row.floor else ""
    if row.got is None:
        lines.append(f"  they part{at}")
    else:
        got, due = apart(row.got, row.expected)
        lines.append(f"  got {got}{at}, where {due} is due{beyond}")
    if row.alone is not None and row.alone > EXPLAINED and not report.cut_off:
        lines.append("  it or something before it is wrong: what goes into its block was not supplied")
    elif row.alone is not None and row.alone > EXPLAINED:
        lines.append("  its own block is wrong: given your tensors before it, something else is due")
    elif row.alone is not None:
        lines.append("  its own block is right: the fault is before it, not supplied or too small there")
    return lines


def next_step(report: Any) -> str:
    """What to do next, in a sentence."""
    if report.strange:
        return "`--suggest-names MAP.json` guesses from the contents what yours are called here"
    if report.verdict in NEXT:
        return NEXT[report.verdict](report)
    if report.diagnosis is None:
        return _given(report)
    return _unknown(report)


def _right(report: Any) -> str:
    lacking = next((level for level in report.levels if level.state == "missing"), None)
    if lacking is not None:
        more = f" and {len(lacking.needs) - 1} more" if len(lacking.needs) > 1 else ""
        return f"for L{lacking.number} {lacking.title} supply {shown(lacking.needs[0]).strip(chr(39))}{more}"
    return "ask the next case (`minibert golden list`)"


def _repair(report: Any) -> str:
    entry = next((found.mistake for found in report.diagnosis.names if found.listed), None)
    if entry is None:
        return "undo it"
    clause = f" ({entry.clause.partition(';')[0]})" if entry.clause else ""
    return f"right is {entry.right}{clause}; `minibert mistakes {entry.id}`"


def _open(report: Any) -> list[str]:
    """The ids of the variants that are not declared yet."""
    ids = dict.fromkeys(found.id for found in report.diagnosis.names if found.listed)
    return [id for id in ids if id not in report.declared]


def _variant(report: Any) -> str:
    undeclared = _open(report)
    return f"say so where you publish it: --declare {' '.join(undeclared)}" if undeclared else _right(report)


def _tie(report: Any) -> str:
    """The case of the same family, or else of ops, that shows some of a tie and not the others, if any does."""
    ids = [*dict.fromkeys(found.id for found in report.diagnosis.names if found.listed)]
    for folder in dict.fromkeys((report.case.name.partition("/")[0], "ops")):
        held = kills.read(folder)
        for case in dict.fromkeys(case for id in ids for case in held.get(id, {})):
            showing = [id for id in ids if case in held.get(id, {})]
            if len(showing) < len(ids) and f"{folder}/{case}" != report.case.name:
                return f"check case {folder}/{case}, too, which shows {', '.join(showing)} alone of them"
    told = " and ".join(f"`minibert mistakes {id}`" for id in ids[:2])
    return f"see what is right of each: {told}" if told else "undo it"


def _unknown(report: Any) -> str:
    """Where to look, by what the block of the first divergence gives by itself."""
    row: Row | None = report.first
    if report.looks is not None:
        asked = " or ".join(f"--dtype {name}" for name in report.looks.names)
        return f"if you compute in {report.looks}, and only then, say so: {asked}"
    if row is None or row.status in ("nan", "shape") or row.alone is None:
        return "repair it first: what follows is its consequence (`minibert docs PORTING`)"
    if row.alone <= EXPLAINED:
        return "supply more tensors before it"
    if not report.cut_off:
        return "supply what goes into its block"
    return f"look at {row.key}, given what goes into it; then at its ops alone (cases ops/…)"


def _given(report: Any) -> str:
    """What to do about a wrong tensor."""
    if not report.mixups and report.first.status == "shape":
        return f"give all of it, in the shape {report.first.shape[1]} or another that `minibert docs PORTING` lists"
    if any(mixup.form for mixup in report.mixups) and not mixups.harmless(report.rows, report.mixups):
        return "see whether it is computed so, or only written out so: nothing that is made of it is right here"
    if any(mixup.form for mixup in report.mixups):
        return "repair how it is written out, not the model: what is computed from it is right"
    return "give the tensor itself under that name: repair the hook, or the map of names"


NEXT = {
    "right": _right,
    "mistake": _repair,
    "pair": _repair,
    "several": _repair,
    "tie": _tie,
    "variant": _variant,
    "explained": lambda report: "undo it" if report.diagnosis else _given(report),
    "unfinished": lambda report: _unknown(report) if report.looks else
    "leave out --seconds: then all known mistakes are tried",
}  # fmt: skip


def others(report: Any) -> str:
    """What customary criteria say of the outputs, beside what rounding says of the first divergence."""
    if not report.others:
        return ""
    said = "; ".join(map(str, report.others))
    ratio = report.first.ratio if report.first is not None else 0
    over = "fail" if ratio is None else f"{times(ratio)} over" if ratio > EXPLAINED else "pass"
    return f"others, of the outputs: {said}; rounding, here: {over}"


def value(number: float | None, form: str = ".6g") -> str:
    return "" if number is None else format(number, form)


def apart(got: float, expected: float | None) -> tuple[str, str]:
    """Both numbers in the digits that it takes to tell them apart, six at least."""
    for form in (".6g", ".9g", ".12g", ".17g"):
        said = value(got, form), value(expected, form)
        if said[0] != said[1]:
            return said
    return value(got), value(expected)


def short(ratio: float | None) -> str:
    """A ratio in at most six characters."""
    if ratio is None or math.isnan(ratio):
        return ""
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}" if ratio < 9999.5 else f"{ratio:.0e}".replace("e+0", "e")


def times(ratio: float) -> str:
    return f"{short(ratio)} times"
