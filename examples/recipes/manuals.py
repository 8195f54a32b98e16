"""Manual pages: what a command does, from its description (summarize).

    python examples/recipes/manuals.py FOLDER OUT

FOLDER is one such as /usr/share/man/man1, whose pages may be compressed. The source is the first WORDS words of the
section DESCRIPTION, the target what the section NAME says behind the dash. Pages are read as plain text: what man and
mdoc macros set in bold or italics stays, tables and synopses are left out with the lines that begin them.
"""

import gzip
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from written import Row, written

WORDS = 150
_HEAD = re.compile(r'\.S[Hh]\s+"?([A-Za-z ]+)"?')
_SET = re.compile(r"\.(?:BR|BI|IR|IB|RB|RI|SM|SB|B|I|Nm|Nd|Ar|Fl|Cm|Pa|Xr|Em|Sy|Dv|Ev|Li|Ql)\s+(.*)")
_FONT = re.compile(r"\\[fm](?:\[[^]]*\]|\(..|.)|\\s[-+]?\d|\\[&/,^|%!:c]|\\\"[^\n]*")
_SIGNS = {"\\-": "-", "\\(aq": "'", "\\(dq": '"', "\\(em": "-", "\\(en": "-", "\\(bu": "", "\\(co": "", "\\(cq": "'",
          "\\(oq": "'", "\\(lq": '"', "\\(rq": '"', "\\ ": " ", "\\~": " ", "\\*(": "", "\\'": "'",
          "\\e": "\\"}  # fmt: skip


def rows(folder: Path) -> Iterator[Row]:
    """Pages of one text, which have several names, are one."""
    seen = set()
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        held = sections(gzip.decompress(data).decode("utf-8", "replace") if path.suffix == ".gz"
                        else data.decode("utf-8", "replace"))  # fmt: skip
        source = " ".join(held.get("DESCRIPTION", "").split()[:WORDS])
        target = re.split(r"\s+-+\s+", held.get("NAME", ""), maxsplit=1)[-1]
        if " - " in held.get("NAME", "") and len(source.split()) > 10 and target and source not in seen:
            seen.add(source)
            yield "manuals", source, {"source": source, "target": target}


def sections(page: str) -> dict[str, str]:
    """The text of each section by its name in capitals."""
    found, name = {}, ""
    for line in page.splitlines():
        if head := _HEAD.match(line):
            name = head[1].strip().upper()
        elif line.startswith((".", "'")):
            if text := _SET.match(line):
                dash = "- " if line.startswith(".Nd") else ""
                found[name] = f"{found.get(name, '')} {dash}{plain(text[1]).replace(chr(34), '')}"
        else:
            found[name] = f"{found.get(name, '')} {plain(line)}"
    return {name: " ".join(text.split()) for name, text in found.items()}


def plain(line: str) -> str:
    """Without what sets it."""
    line = _FONT.sub("", line)
    for sign, meant in _SIGNS.items():
        line = line.replace(sign, meant)
    return line


if __name__ == "__main__":
    written(sys.argv[2], rows(Path(sys.argv[1])))
