"""Pages that are collected and never written by hand: the index of the clauses, the table of systems.

    python tests/pages.py              says which are not what is collected
    python tests/pages.py --write      writes them
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference"
sys.path.insert(0, str(ROOT))  # when it is run by itself
CLAUSE = re.compile(r"^- \*\*([A-Z][A-Z0-9]*(?:-[A-Z]+)?-\d+)\*\*", re.MULTILINE)
INDEX = "Collected by `python tests/pages.py --write`.\n"
# general first, then the way of a text, then the families by their kin
ORDER = ("numbers", "operations", "names", "wordpiece", "byte_level", "unigram", "instances", "training", "bert")


def pages(folder: Path = REFERENCE) -> list[Path]:
    """The pages of the spec: those of ORDER, then the others by name."""
    found = sorted((folder / "spec").glob("*.md"))
    return sorted(found, key=lambda path: ORDER.index(path.stem) if path.stem in ORDER else len(ORDER))


def ids(text: str) -> list[str]:
    """The clauses that a page states, in its order."""
    return CLAUSE.findall(text)


def indexed(text: str) -> list[str]:
    """The clauses that the index lists."""
    return re.findall(r"\*\*([A-Z][A-Z0-9]*(?:-[A-Z]+)?-\d+)\*\*", text.partition(INDEX)[2])


def index(folder: Path = REFERENCE) -> str:
    """SPEC.md: what is written by hand at its top, then every clause by page and section.

    The index that is there is the list of ids that were given: a clause that it lists and no page states is an error.
    """
    before = (folder / "SPEC.md").read_text(encoding="utf-8")
    lines, stated = [], set()
    for path in pages(folder):
        text = path.read_text(encoding="utf-8")
        title, *sections = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)[1:]
        lines.append(f"\n### [{title}](spec/{path.name})\n")
        parts = [("", sections[0]), *zip(sections[1::2], sections[2::2], strict=True)]
        for heading, part in parts:
            if clauses := " ".join(f"**{id}**" for id in ids(part)):
                anchor = re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
                lines.append(f"- [{heading}](spec/{path.name}#{anchor}): {clauses}" if heading else f"- {clauses}")
        stated |= set(ids(text))
    if lost := set(indexed(before)) - stated:
        raise SystemExit(f"SPEC.md lists {', '.join(sorted(lost))}, which no page states: ids never change")
    return before.partition(INDEX)[0] + INDEX + "\n".join(lines) + "\n"


SYSTEM = re.compile(r"\*\*(.+?)\*\*: (.+?)\. Shown by `(.+?)`\. Held to: (.+)\.")


def systems(folder: Path = REFERENCE) -> str:
    """SYSTEMS.md: the line at the top of each page of the spec, and what the families' tests are compared with."""
    rows = []
    for path in pages(folder):
        top = " ".join(line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("> "))
        if found := SYSTEM.fullmatch(top):
            name, what, command, held = found.groups()
            rows.append(f"| [{name}](spec/{path.name}) | {what} | `{command}` | {held} |")
    return (
        "# What there is\n\nEach line is that at the top of the system's page; "
        f"{INDEX[0].lower()}{INDEX[1:]}\n"
        "| system | what it is | a command that shows it | held to |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n## Compared with published implementations\n\n"
        "In float64, with probe weights and no field at its default: the loss, every parameter's gradient and every\n"
        "named output of a module within 1e-12 (`tests/published.py`; each family's test declares its comparisons).\n"
        "\n"
        "| family | published class | configurations | terms (its labels) |\n|---|---|---|---|\n"
        + "\n".join(compared())
        + "\n"
    )


def compared() -> list[str]:
    """A row for each class that a family's test declares comparisons with (`PUBLISHED`)."""
    from published import declared

    counts: Counter[tuple[str, str, str]] = Counter()
    for family, several in declared("PUBLISHED"):
        for one in several:
            terms = ", ".join(f"{term} ({keyword})" for keyword, term in one.labels.items())
            counts[family, one.kind, terms] += len(one.configs)
    return [f"| [{family}](spec/{family}.md) | {kind} | {count} | {terms} |"
            for (family, kind, terms), count in counts.items()]  # fmt: skip


COLLECTED = {"SPEC.md": index, "SYSTEMS.md": systems}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    write, stale = parser.parse_args().write, []
    for name, collect in COLLECTED.items():
        path, text = REFERENCE / name, collect()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if write:
                path.write_text(text, encoding="utf-8")
    print("\n".join(f"{name}: {'written' if write else 'another'}" for name in stale) or "all as collected")
    return int(bool(stale) and not write)


if __name__ == "__main__":
    sys.exit(main())
