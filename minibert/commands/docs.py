"""`minibert docs [PAGE]`: the pages that come with minibert, wherever it is installed."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from minibert import gradcheck, reading
from minibert.analysis import op_page
from minibert.config import nearest, require
from minibert.errors import InputError
from minibert.options import ending
from minibert.progress import filled


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "print a page: how to port a model, what conforms, what goes wrong"
    command = commands.add_parser("docs", help=about, description=f"{about.capitalize()}.",
                                  epilog=ending("docs", "docs PORTING", "docs softmax"))  # fmt: skip
    command.set_defaults(run=_docs)
    which = "such as PORTING, or an op such as softmax; default: a line for each"
    page = command.add_argument("page", nargs="?", metavar="PAGE", help=which)
    page.completer = lambda: [*pages(), *op_page.names()]


def pages() -> dict[str, Path]:
    """The pages and adapters of `reference/` by their names there, without `.md`."""
    package = gradcheck.doubles()
    require(package is not None, "the reference files are not installed: no pages here")
    folder = Path(package.__file__).parent
    found = [path for kind in ("*.md", "spec/*.md", "mistakes/*.md", "adapters/*.*") for path in folder.glob(kind)]
    return {path.relative_to(folder).as_posix().removesuffix(".md"): path for path in sorted(found)}


def page(name: str) -> Path:
    """The page of that name, also as README has it (`reference/PORTING.md`), also without its folder."""
    known, asked = pages(), name.replace("\\", "/").removeprefix("reference/").removesuffix(".md").lower()
    for spelled in (asked, f"spec/{asked}"):
        for each, path in known.items():
            if each.lower() == spelled:
                return path
    near = nearest(asked.upper(), known) or nearest(asked, [*known, *op_page.names()])
    raise InputError(f"no page {name!r}{near}; `minibert docs` lists them")


def _docs(args: argparse.Namespace) -> None:
    if args.page in op_page.names():
        text = op_page.page(args.page)
        print(_fitted(text) if sys.stdout.isatty() else text, end="")
        return
    if args.page is not None:
        path = page(args.page)
        text = reading.text(path)
        print(_fitted(text) if path.suffix == ".md" and sys.stdout.isatty() else text, end="")
        return
    for name, path in pages().items():
        print(f"{name:<31}{_title(path)}")
    print(f"{'softmax':<31}an op, both passes; so for {len(op_page.names()) - 1} others")


def _fitted(text: str) -> str:
    """A page as wide as the terminal: paragraphs, items of lists and quotations are filled, code and tables stay as
    they are.
    """
    return "".join(f"{_filled(line) if plain else line}\n" for line, plain in _paragraphs(text))


def _filled(paragraph: str) -> str:
    quoted = paragraph.startswith(_QUOTED)
    said = filled(paragraph, sys.stdout, 2 * (quoted or _ITEM.match(paragraph) is not None))
    return said.replace("\n  ", f"\n{_QUOTED}") if quoted else said


_ITEM = re.compile(r"- |\d+\. ")
_QUOTED = "> "


def _paragraphs(text: str) -> list[tuple[str, bool]]:
    """(a paragraph, item of a list or quotation in one line, True), and (a line of anything else, False)."""
    found: list[tuple[str, bool]] = []
    fenced = False  # inside a block of code
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        plain = not fenced and re.match(r"(?!```)[^\s|#>]", line) is not None
        goes_on = plain or (not fenced and re.match(r" {2,3}\S", line) is not None)
        quoted = not fenced and line.startswith(_QUOTED)
        if quoted and found and found[-1][0].startswith(_QUOTED):
            found[-1] = f"{found[-1][0]} {line.removeprefix(_QUOTED).strip()}", True
        elif quoted:
            found.append((line, True))
        elif found and found[-1][1] and not found[-1][0].startswith(_QUOTED) and goes_on and not _ITEM.match(line):
            found[-1] = f"{found[-1][0]} {line.strip()}", True
        else:
            found.append((line, plain))
    return found


def _title(path: Path) -> str:
    """The first line, of a program that of its docstring."""
    first = reading.text(path).lstrip('#/" ').partition("\n")[0]
    return first.strip('" ') if len(first) < 49 else f"{first[:47].rpartition(' ')[0]} …"
