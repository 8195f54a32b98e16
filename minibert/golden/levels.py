"""How far a candidate agrees: levels L0 to L7, a claim that names versions and hashes, and a badge."""

import hashlib
import html
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from minibert import __version__, reading
from minibert.checkpoint import atomic
from minibert.errors import printable
from minibert.golden import kinds, places
from minibert.golden.candidate import Candidate
from minibert.golden.compare import BAD, SLOTS, Row
from minibert.golden.places import Places

FORMAT = "minibert-claim/1"
TITLES = ("tokens", "embeddings", "encoder", "heads", "losses", "gradients", "optimizer step", "trajectory")
COLOURS = ("#9f9f9f", "#a0522d", "#b8860b", "#7c8f1d", "#4c8c2b", "#2e8b57", "#1f7a8c", "#1d5fa8")


class Level(NamedTuple):
    """One level. state: reached, differs, missing (something it needs was not supplied), implied (so, but a later level
    is reached, which stands for it), absent (the case has none).

    right, supplied, total: tensors; needs: the keys that are missing for it.
    """

    number: int
    title: str
    state: str
    right: int
    supplied: int
    total: int
    needs: list[str]


def levels(case: Any, rows: list[Row]) -> list[Level]:
    """All eight levels. A level needs what stands at the end of its parts (the embeddings, the last layer of a stack,
    pooler and head outputs, all losses, every parameter's gradient, the loss and the parameters after each step); all
    else of it may be absent, but what is supplied must be right. A later level that is reached stands for what is
    missing of an earlier one; not for the tokens, which are needed where the case has a text, and which no other level
    waits for. An op or a block alone has no levels.
    """
    kind = kinds.of(case).LEVELS
    if kind is None:
        return []
    held: list[list[Row]] = [[] for _ in TITLES]
    where = places.of_case(case)
    number_of = _numbering(case, kind, where)
    for row in rows:
        held[number_of(row.key)].append(row)
    needed = _needed(case, where)
    found = []
    for number, (title, own) in enumerate(zip(TITLES, held, strict=True)):
        supplied = [row for row in own if row.status != "missing"]
        bad = [row for row in supplied if row.status in BAD]
        keys = {row.key for row in supplied}
        wanted = [row.key for row in own] if kind == "tokens" else [key for key in needed if number_of(key) == number]
        needs = [key for key in wanted if key not in keys]
        state = "differs" if bad else "missing" if needs else "reached" if wanted or supplied else "absent"
        found.append(Level(number, title, state, len(supplied) - len(bad), len(supplied), len(own), needs))
    last = max((level.number for level in found if level.state == "reached"), default=0)
    return [level._replace(state="implied") if level.state == "missing" and 0 < level.number < last else level
            for level in found]  # fmt: skip


def reached(found: list[Level]) -> Level | None:
    """The highest level reached with none below it missing or different, but for the tokens, which may be missing."""
    best = None
    for level in found:
        if level.state == "differs" or (level.state == "missing" and level.number):
            return best
        best = level if level.state == "reached" else best
    return best


FORWARD = {"embeddings": 1, "layer": 2, "head": 3}  # the level of an output, by where it stands


def _numbering(case: Any, kind: str, where: Places) -> Callable[[str], int]:
    """Key -> the number of its level."""
    first = f"steps/{min(case.facts['steps'], default=1)}/"
    learnt = any(key.startswith(first) and _is_parameter(key) for key in case.entries)

    def number(key: str) -> int:
        section, _, name = key.partition("/")
        if section in ("weights", "inputs") or kind == "tokens":
            return 0
        if section == "forward":
            return 4 if case.entries[key].role == "loss" else FORWARD.get(places.kind(where.of_tensor(name)), 3)
        if section == "gradients":
            return 5
        return 6 if learnt and key.startswith(first) else 7

    return number


def _needed(case: Any, where: Places) -> list[str]:
    """The keys without which a level is not reached."""
    last, keys = {}, []
    first = next((key for key, entry in case.entries.items() if entry.role == "input"), None)
    forward = [key.partition("/")[2] for key in case.entries if key.startswith("forward/")]
    outside = {name for name in forward if places.kind(where.of_tensor(name)) != "layer"}
    for key, entry in case.entries.items():
        section, _, name = key.partition("/")
        if section == "forward" and entry.role != "loss":
            owners = (name[:i] for i, letter in enumerate(name) if letter == "." and name[:i] in outside)
            place, group = where.of_tensor(name), where.group(name)
            if places.kind(place) == "embeddings":
                group = place
            elif name in outside:
                group = next(owners, group)
            else:
                group = f"{places.tower(place)} layers"  # the last one of a stack stands for those before it
            last[group] = key
            continue
        tokens = key == first and case.facts["text"] is not None
        state = section == "steps" and (_is_parameter(key) or name.endswith("/loss"))
        if tokens or state or entry.role in ("loss", "gradient"):
            keys.append(key)
    return [*last.values(), *keys]


def ends(case: Any) -> list[str]:
    """The keys of the outputs without which the encoder and the heads are not reached."""
    where = places.of_case(case)
    inside = (key for key in _needed(case, where) if key.startswith("forward/") and case.entries[key].role != "loss")
    return [key for key in inside if places.kind(where.of_tensor(key.partition("/")[2])) != "embeddings"]


def _is_parameter(key: str) -> bool:
    """Whether a key of the steps is that of a parameter."""
    state = key.split("/", 2)[2]
    return state.partition(".")[0] not in (*SLOTS, "loss", "learning_rate", "gradient_norm")


def label(level: Level | None) -> str:
    """ "L5 gradients", or that there is none."""
    return "no level" if level is None else f"L{level.number} {level.title}"


def claim(
    case: Any, candidate: Candidate, dtype: str, found: list[Level], first: Row | None, variant: str | None = None
) -> dict[str, Any]:
    """What may be published: which minibert compared what with what, in which precision, and the level.

    variant: the declared variant that the candidate computes, against which its levels then are.
    """
    best = reached(found)
    return {
        "format": FORMAT,
        "minibert": __version__,
        "case": {"name": case.name, "sha256": fingerprint(case), "minibert": case.facts["version"]},
        "candidate": {"sha256": candidate.sha256, "tensors": len(candidate.tensors)},
        "dtype": dtype,
        "agrees": first is None or variant is not None,
        "variant": variant,
        "level": None if best is None else f"L{best.number}",
        "title": None if best is None else best.title,
        "levels": {f"L{level.number}": level.state for level in found},
        "first_divergence": None if first is None else first.key,
    }


def fingerprint(case: Any) -> str:
    """The SHA-256 of case.json, which holds that of every tensor."""
    return hashlib.sha256(reading.contents(atomic.place(case.path / "case.json"))).hexdigest()


def badge(claimed: dict[str, Any]) -> str:
    """The claim as an SVG badge."""
    if claimed["level"] is not None:
        right, colour = f"{claimed['level']} {claimed['title']}", COLOURS[int(claimed["level"][1:])]
    elif claimed["agrees"]:
        right, colour = "agrees" if not claimed["levels"] else "no level", COLOURS[4 if not claimed["levels"] else 0]
    else:
        right, colour = "differs", "#c0392b"
    right += f" · {claimed['dtype']}"
    left_width, right_width = 66, 16 + round(6.4 * len(right))
    width, middle = left_width + right_width, left_width + right_width / 2
    title = html.escape(printable(f"minibert {claimed['minibert']}: case {claimed['case']['name']}: {right}"))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left_width}" height="20" fill="#444"/>
<rect x="{left_width}" width="{right_width}" height="20" fill="{colour}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left_width / 2}" y="14">minibert</text><text x="{middle}" y="14">{html.escape(right)}</text></g>
</svg>
"""


def dumps(value: dict[str, Any]) -> str:
    """JSON for people and machines; in ASCII, as which every name can be written."""
    return json.dumps(value, allow_nan=False, indent=2) + "\n"
