"""The kill matrix, a file a family: each entry is caught somewhere, and what is committed is what the mutants give."""

import os
import re
from pathlib import Path
from random import Random

import numpy as np
import pytest

from minibert import cli
from minibert.checkpoint import safetensors
from minibert.golden import case as files
from minibert.golden import checking, compare, kills, report
from minibert.golden.subject import observe, stepped
from minibert.mistakes import CATALOGUE, commands, matrix, page

ROOT = Path(__file__).resolve().parents[2]
HELD = {folder: kills.read(folder) for folder in kills.folders()}
# .ci/run asks every entry in every case, and there every mutant in those of ops, six in BERT's, three in others'; else
# an entry is asked in one of the folders that catch it and in another, however many there are, and there one mutant.
# Ops have mutants of every family's entries, and in their file a change of one family's shows: an entry is asked in all
# of their cases that catch it, and in a few others
EVERY = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))
MOST = {"ops": None, "bert": 6} if EVERY else {"ops": None}
AGAIN = "run `minibert mistakes --write`"


@pytest.mark.parametrize("id", [m.id for m in CATALOGUE.values() if m.executable and m.shows != "nowhere"])
def test_some_case_catches_it(id):
    assert any(id in held for held in HELD.values()), f"no shipped case catches {id} at float32 tolerance"


def test_every_row_is_of_an_entry_and_of_a_case():
    for folder, held in HELD.items():
        assert held, folder
        there = {path.name: files.read(path) for path in files.shipped() if path.parent.name == folder}
        for id, rows in held.items():
            assert CATALOGUE[id].executable, id
            for case, kill in rows.items():
                read = there[case]
                assert len(kill.missed) < kill.made, (id, folder, case)
                assert kill.key in read.entries or read.text() is not None, (id, folder, case)


def test_what_is_written_is_read():
    """The rows as they are, and no more than their own folder's."""
    text = (files.folder() / "macbert" / kills.FILE).read_text(encoding="utf-8")
    assert kills.dumps(HELD["macbert"]) == text
    case = files.read("macbert/published")
    assert kills.of(case) == {id: rows["published"] for id, rows in HELD["macbert"].items() if "published" in rows}
    assert kills.catching("A04")["macbert"] == HELD["macbert"]["A04"]


def test_a_right_port_has_none_of_the_mistakes_that_its_case_catches(tmp_path):
    """Of those that would show in what it handed over: all of it, and the forward pass alone."""
    file = files.folder().parent / "candidates" / "right-torch-port.safetensors"
    whole = checking.report_of("bert/published", file)
    assert {"A04", "O03", "S01"} <= set(whole.ruled_out)
    assert "E08" not in whole.ruled_out  # some of its mutants show nowhere here
    assert f"known mistakes that would have shown in these tensors: {len(whole.ruled_out)}" in report.remarks(whole)
    part = {name: array for name, array in safetensors.read(file).items() if name.startswith("forward/")}
    safetensors.write(tmp_path / "part.safetensors", part)
    shown = set(checking.report_of("bert/published", tmp_path / "part.safetensors").ruled_out)
    assert {"A04", "S01"} <= shown < set(whole.ruled_out)
    assert "O03" not in shown
    wrong = checking.report_of("bert/published", file.with_name("wrong-torch-port.safetensors"), seconds=0)
    assert wrong.ruled_out == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "pages"), [("tokenizer", []), ("bert_wwm", ["bert_wwm"])])
def test_a_folder_is_written_and_no_other_file(name, pages, monkeypatch, capsys):
    """A family's page and what its cases catch, where it has them."""
    written = {}
    monkeypatch.setattr(commands.atomic, "write_text", lambda path, text: written.update({path: text}))
    assert cli.main(["mistakes", "--write", name]) == 0
    paths = [page.path(family) for family in pages]
    paths += [files.folder() / name / kills.FILE] if name in HELD else []
    assert written == {path: path.read_text(encoding="utf-8") for path in paths}
    assert capsys.readouterr().out == "".join(f"{path}\n" for path in paths)


def test_an_unknown_folder_is_one_line(capsys):
    assert cli.main(["mistakes", "--write", "berd"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("minibert: error: no mistakes and no shipped cases of 'berd'; did you mean 'bert'?")
    assert f"; there are: {', '.join(sorted({*HELD, *page.homes()})[:9])}" in line
    assert line.count("\n") == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("folder", HELD)
def test_what_is_committed_is_what_the_mutants_give(folder):
    """Of each entry one case, mostly of those that catch it, and some of its mutants there; of ops more cases."""
    names = sorted(path.name for path in files.shipped() if path.parent.name == folder)
    chosen: dict[str, list] = {name: [] for name in names}
    for id, mistake in CATALOGUE.items():
        if not (EVERY or folder == "ops" or asked(id, folder)):
            continue
        draw, rows = Random(f"{folder} {id} {len(names)}"), [*HELD[folder].get(id, {})]
        drawn = draw.choice(rows if rows and draw.random() < 0.75 else names)
        some = {*rows, *draw.sample(names, 2)} if folder == "ops" else {drawn}
        for name in names if EVERY else sorted(some):
            chosen[name] += [(mistake, draw)] if mistake.executable else []
    ran = 0
    for name, drawn in chosen.items():
        tried = matrix.trials(files.read(f"{folder}/{name}")) if drawn else None
        for mistake, draw in drawn:
            ran += agreed(tried, mistake, HELD[folder].get(mistake.id, {}).get(name), draw, (mistake.id, folder, name))
    assert ran >= (10 if folder == "bert" else 1), "too few mutants were made"


def asked(id, folder):
    """Whether the entry is asked in the folder where not all are."""
    catching = [name for name, held in HELD.items() if id in held]
    return folder == Random(id).choice(catching or [None]) or Random(f"{folder} {id}").random() < 1 / len(HELD)


def test_every_entry_is_asked_where_it_is_caught():
    for id in {id for held in HELD.values() for id in held}:
        assert any(asked(id, folder) for folder, held in HELD.items() if id in held), id


def agreed(tried, mistake, kill, draw, where):
    """How many mutants were made and show where it is committed that they do: some that are drawn, or all of them."""
    trials, made, first = tried(mistake), 0, None
    most = MOST.get(where[1], 3 if EVERY else 1)
    for number in range(len(trials)) if most is None else draw.sample(range(len(trials)), len(trials)):
        with np.errstate(all="ignore"):
            key = trials[number]()
            if key is matrix.UNMADE:
                continue
            made += 1
            missed = kill is None or number in kill.missed
            assert (key is None) == missed or borderline(tried, trials[number]), (*where, number, key, AGAIN)
        first = first or key
        if made == most:
            break
    if most is None:
        assert kill is None or made == kill.made, (*where, made, AGAIN)
        assert kill is None or first == kill.key or kill.missed, (*where, first, kill.key, AGAIN)
    return made


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_first_key_that_shows_is_that_of_all_tensors_together():
    """Though no more is computed than until one shows: a mutant of each section, and one that edits what is written."""
    case = files.read("macbert/published")
    tried = matrix.trials(case)
    for id in ("A04", "G09", "O02", "O03", "E10", "H01", "S16"):
        trial = tried(CATALOGUE[id])[0]
        (mutant,) = trial.args
        tensors = observe(mutant.change(tried.subject), tried.steps)
        whole = mutant.after(tensors) if mutant.after else tensors
        assert trial() == tried._shows(whole), id
        if mutant.section == "steps":  # what the right steps came by serves them while they are where these were
            stepped(tried.subject, tried.steps, tried.walk)
            again = stepped(mutant.change(tried.subject), tried.steps, tried.walk)
            assert all(np.array_equal(array, tensors[key]) for key, array in again.items()), id
    parts = []
    observe(tried.subject, tried.steps, lambda tensors: (parts.append(tensors), False)[1])
    assert [{key.split("/")[0] for key in part} for part in parts] == [{"forward"}, {"gradients"}, {"steps"}, {"steps"}]
    whole = observe(tried.subject, tried.steps)
    assert [key for part in parts for key in part] == [*whole]
    assert all(np.array_equal(part[key], whole[key]) for part in parts for key in part)
    asked = []
    observe(tried.subject, tried.steps, lambda tensors: asked.append(tensors) or True)
    assert [*asked[0]] == [*parts[0]]
    assert len(asked) == 1


def borderline(tried, trial):
    """Whether it shows at half the limit and not at twice: other builds of the linear algebra may then part."""
    if not isinstance(tried, matrix.Runs):
        return False
    found = []
    for times in (compare.SUSPECT / 2, compare.SUSPECT * 2):
        tried.times = times
        found.append(trial() is None)
    tried.times = compare.SUSPECT
    return found[0] != found[1]


# ---- Entries to be contributed ---------------------------------------------------------------------------------------
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
TEMPLATE = next(code for code in CODE if "entry(" in code)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (TEMPLATE, 0, "caught by macbert probe published\n"),
        (TEMPLATE.replace("1 / a[", "a[").replace("[-1]}", "[-1] ** -0.5}"), 1, "no shipped case shows A91"),
        (TEMPLATE.replace('"attention", edited', '"atention", edited'), 1, "no case's computation has what it"),
        (TEMPLATE.replace('a["q"]', 'a["Q"]'), 2, "A91 in case macbert/probe: KeyError: 'Q'"),
        (TEMPLATE.replace("OP-ATT-2", "OP-ATT-99"), 2, "A91: the spec has no clause OP-ATT-99"),
        ("x = 1\n", 2, "enters no mistake"),
        (TEMPLATE.replace("A91", "A04"), 2, "ValueError: A04 is entered twice"),
        ("import nowhere\n", 2, "ModuleNotFoundError: No module named 'nowhere'"),
        (None, 2, "mine.py is no file FILE.py with entries"),
    ],
)
def test_an_entry_of_one_s_own_is_tried(text, code, said, tmp_path, monkeypatch, capsys):
    """As CONTRIBUTING.md has it, and what may go wrong with it."""
    monkeypatch.setattr(kills, "folders", lambda: ["macbert"])
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    before = dict(CATALOGUE)
    try:
        assert cli.main(["mistakes", "--try", str(path)]) == code
    finally:
        CATALOGUE.clear()
        CATALOGUE.update(before)
    told = capsys.readouterr()
    assert said in told.out + told.err


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["A92"], 0, "A92 "),
        (["A93"], 2, "mine.py enters no 'A93'; did you mean 'A92'?; it enters: A91, A92"),
        (["A92", "--show"], 2, "--show and --try are both given"),
    ],
)
def test_one_entry_of_several_is_tried(asked, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kills, "folders", lambda: ["macbert"])
    path = tmp_path / "mine.py"
    path.write_text(TEMPLATE + TEMPLATE[TEMPLATE.index("entry(") :].replace("A91", "A92"), encoding="utf-8")
    before = dict(CATALOGUE)
    try:
        assert cli.main(["mistakes", "--try", str(path), *asked]) == code
    finally:
        CATALOGUE.clear()
        CATALOGUE.update(before)
    told = capsys.readouterr()
    assert said in told.out + told.err
    assert "A91" not in told.out
