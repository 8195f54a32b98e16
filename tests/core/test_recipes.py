"""The recipes of reference/RECIPES.md, on a few lines in the layout of the data: rows that their tasks take."""

import gzip
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import pictures, rows

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "examples" / "recipes"
SYNSETS = {
    "noun": ["  1 This software and database is provided as is",
             "00000100 05 n 02 animal 0 beast 1 000 | a living organism that moves",
             *(f"00000{200 + n} 05 n 01 kind{n} 0 001 @ 00000100 n 0000 | an animal with {n + 2} legs; \"kind{n} ran\""
               for n in range(9))],
    "verb": ["00000100 38 v 01 go_away 0 000 01 + 02 00 | move out of a place; \"Go away!\""],
    "adj": ["00000100 00 a 02 able(p) 0 capable 0 001 ! 00000100 r 0101 | having the power"],
    "adv": ["00000100 02 r 01 well 0 001 ! 00000100 a 0101 | in a good way"],
}  # fmt: skip
MAN = r"""
.TH LS 1
.SH NAME
ls \- list directory contents
.SH DESCRIPTION
.PP
List information about the \fIFILE\fRs.
.B \-\-help
shows what there is to say about it and then exits
"""
MDOC = """
.Sh NAME
.Nm cat
.Nd join files
.Sh DESCRIPTION
The
.Nm
utility reads files one after the other and writes them to the standard output of the shell.
"""


REPLY = """Bob wrote:
> does it run
> on a Tuesday

It runs on every day
but Tuesday.

> thanks

Yes.
"""


def mail(subject, body, kind="text/plain"):
    return f"From x Thu Aug 22 2002\nReceived: from y\nSubject: {subject}\nContent-Type: {kind}\n\n{body}"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Runs a recipe over files: what it wrote, {file: rows}."""
    monkeypatch.syspath_prepend(str(RECIPES))

    def run(recipe, files):
        for name, data in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        given = [str(tmp_path / "in")] if recipe != "docstrings" else []
        monkeypatch.setattr(sys, "argv", [recipe, *given, str(tmp_path / "out")])
        runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
        found = {}
        for path in sorted((tmp_path / "out").glob("*.jsonl")):
            found.setdefault(path.name.partition(".")[0], []).extend(
                json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())  # fmt: skip
        return found

    return run


def usable(task, held):
    """The rows, each of which its task takes as it stands."""
    needed = tuple(name for name, column in rows.tasks.TASKS[task].items() if column.must(True))
    assert all(rows.tasks.row(task, json.loads(json.dumps(row)), needed) == row for row in held)
    return held


def test_brown(made):
    text = "\n\n\tThe/at Grand/jj-tl Jury/nn-tl said/vbd ./.\n\n\n\tand\\/or/cc laissez-faire/fw-nn-hl ./.\n"
    found = made("brown", {"ca01": text, "cj01": text, "cats.txt": "ca01 news\ncj01 learned\n", "README": "x"})
    assert usable("tag", found["tags"])[:2] == [
        {"tokens": ["The", "Grand", "Jury", "said", "."], "tags": ["at", "jj", "nn", "vbd", "."]},
        {"tokens": ["and\\/or", "laissez-faire", "."], "tags": ["cc", "nn", "."]},
    ]
    assert usable("classify", found["genres"])[0] == {
        "text": "The Grand Jury said . and\\/or laissez-faire .", "label": "news"}  # fmt: skip
    lines = "\n".join(f"It/pps was/bedz {n}/cd ./." for n in range(6))
    found = made("brown", {"ck01": lines, "cats.txt": "ck01 fiction\n"})
    stories = usable("summarize", found["stories"])
    assert len(stories) == 2
    assert stories[0] == {"source": "It was 0 . It was 1 . It was 2 . It was 3 .", "target": "It was 4 ."}


def test_spam(made):
    mails = {"spam-1/1": mail("Win", "<p>Now &nbsp; free</p>", "text/html"), "easy-ham-2/1": mail("Re: x", "Hi\nyou"),
             "hard-ham-1/1": mail("Re: x", "Hi\nyou"), "easy-ham-1/2": mail("Re: y", REPLY)}  # fmt: skip
    found = made("spam", {f"{name}.json": json.dumps({"group": name[:-2], "text": text})
                          for name, text in mails.items()})  # fmt: skip
    assert {"text": "Re: x Hi you", "label": "ham"} in usable("classify", found["mails"])
    assert {"text": "Win Now free", "label": "spam"} in found["mails"]
    assert len(found["mails"]) == 3
    due = [{"source": "does it run on a Tuesday", "target": "It runs on every day but Tuesday."}]
    assert usable("summarize", found["replies"]) == due


def test_wordnet(made):
    found = made("wordnet", {f"data.{part}": "\n".join(lines) + "\n" for part, lines in SYNSETS.items()})
    kinds = usable("classify", found["kinds"])
    assert {"text": "move out of a place", "label": "verb.motion"} in kinds
    assert {"text": "having the power", "label": "adj.all"} in kinds
    assert len(kinds) == 13
    for row in usable("choose", found["choices"]):
        right = row["choices"][row["label"]]
        assert f"| {right}" in next(line for line in SYNSETS["noun"] if f" {row['context']} " in line)
        assert len(set(row["choices"])) == 4
    answers = usable("answer", found["headwords"])
    assert len(answers) == 10
    for row in answers:
        assert (f": {row['question']}." in row["context"]) == bool(row["answers"])
        for answer in row["answers"]:
            assert row["context"][answer["answer_start"] :].startswith(f"{answer['text']}: {row['question']}.")
    assert not all(row["answers"] for row in answers)
    text = {"text": "kind3: an animal with 5 legs", "head": [0, 5], "tail": [10, 16], "label": "hypernym"}
    assert text in usable("relate", found["relations"])
    marked = {"text": "# kind3 #: an $ animal $ with 5 legs", "label": "hypernym"}
    assert marked in usable("classify", found["marked"])
    assert {"text": "。 kind3 。: an animal with 5 legs", "label": "noun.animal"} in usable("classify", found["typed"])
    above = {"text": "an animal with 5 legs", "pair": "a living organism that moves", "label": 1.0}
    assert above in usable("similar", found["likeness"])
    assert {row["label"] for row in found["likeness"]} == {0.0, 1.0}
    assert {"source": "what is kind3?", "target": "an animal with 5 legs"} in usable("summarize", found["questions"])
    words = {"tokens": ["an", "animal", "with", "5", "legs"], "tags": [*"OKOOO"]}
    assert words in usable("tag", found["keywords"])


def test_entries(tmp_path, monkeypatch):
    """Definitions behind their word, and examples, as the reader of WordNet knows them."""
    (tmp_path / "dict").mkdir()
    for part, lines in SYNSETS.items():
        (tmp_path / "dict" / f"data.{part}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["entries.py", str(tmp_path / "dict"), str(tmp_path / "entries.txt")])
    runpy.run_path(str(RECIPES / "entries.py"), run_name="__main__")
    (document,) = (tmp_path / "entries.txt").read_text(encoding="utf-8").split("\n\n")
    lines = document.splitlines()
    assert lines[:3] == ["animal: a living organism that moves.", "kind0: an animal with 2 legs.", "kind0 ran"]
    assert lines[-4:-2] == ["go away: move out of a place.", "Go away!"]
    assert lines[-2:] == ["able: having the power.", "well: in a good way."]


def test_manuals(made):
    found = made("manuals", {"ls.1.gz": gzip.compress(MAN.encode()), "cat.1": MDOC, "dir.1": MAN})["manuals"]
    assert sorted(usable("summarize", found), key=str) == [
        {"source": "List information about the FILEs. --help shows what there is to say about it and then exits",
         "target": "list directory contents"},
        {"source": "The utility reads files one after the other and writes them to the standard output of the shell.",
         "target": "join files"},
    ]  # fmt: skip


def test_captions(tmp_path, monkeypatch):
    """Pictures of each digit, and what is written about them agrees with how they were drawn."""
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.setattr(sys, "argv", ["captions.py", str(tmp_path), "60"])
    runpy.run_path(str(RECIPES / "captions.py"), run_name="__main__")
    held = [*rows.read(tmp_path / "captions.train.jsonl", "caption picture"),
            *rows.read(tmp_path / "captions.dev.jsonl", "caption picture")]  # fmt: skip
    assert sorted(row["number"] for row in held) == [*range(60)]
    assert pictures.one(held[0]["picture"], held[0]["number"]).shape == (1, 12, 12)
    for row in held:
        assert re.fullmatch(r"an? (faint )?\w+, (upright|tilted left|tilted right)", row["caption"])
        assert pictures.NAMES[row["number"] % 10] in row["caption"]
    plain, said = pictures.captioned(60, 12)
    assert np.array_equal(plain.pixels, pictures.drawn(60, 12).pixels)
    right, left = ([i for i in range(60) if said[i].endswith(f"tilted {side}")] for side in ("right", "left"))
    across = [(p[:, :6] * np.arange(12)).sum() / p[:, :6].sum() - (p[:, 6:] * np.arange(12)).sum() / p[:, 6:].sum()
              for p in plain.pixels]  # fmt: skip
    assert np.mean([across[i] for i in right]) > np.mean([across[i] for i in left])  # the upper half


def test_docstrings(made, tmp_path, monkeypatch):
    library = tmp_path / "library"
    library.mkdir()
    doc = 'def f():\n    """Return it.\n\n    This one returns the value that it was given before.\n    """\n'
    (library / "one.py").write_text(doc, encoding="utf-8")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(library))
    found = made("docstrings", {})
    source = "This one returns the value that it was given before."
    assert usable("summarize", found["first-lines"]) == [{"source": source, "target": "Return it."}]
    assert usable("classify", found["modules"]) == [{"text": source, "label": "one"}]


def test_the_page_names_what_there_is():
    page = (ROOT / "reference" / "RECIPES.md").read_text(encoding="utf-8")
    for path in RECIPES.glob("*.py"):
        assert path.name == "written.py" or f"examples/recipes/{path.name}" in page
    known = {word for task in rows.tasks.TASKS for word in task.split()}
    assert all(name in page for name in (*rows.FORMATS, *known))
