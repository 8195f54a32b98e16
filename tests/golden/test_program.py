"""A candidate that is a program: asked in lines of JSON, whatever it answers."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minibert import cli
from minibert.checkpoint import safetensors
from minibert.golden import case as cases
from minibert.golden import program

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ROOT / "reference" / "adapters"
CASE, EMBEDDINGS = "ops/gelu", "forward/bert.embeddings"
ANSWERS = """
import json, os, sys, time
answers = {"start": '{"families": ["ops", "bert"], "levels": [1]}', "case": "{}",
           "dump": '{"folder": %s}' % json.dumps(CASE)}
CHANGED
for line in sys.stdin:
    asked = json.loads(line)
    if asked["command"] == "stop":
        break
    said = answers[asked["command"]]
    if callable(said):
        said = said()
    print(said, flush=True)
"""


def command(folder, changed, case=CASE):
    """One that gives the case's own tensors, but for what is changed."""
    place = json.dumps(str(cases.folder() / case))
    text = ANSWERS.replace("CASE", place).replace("CHANGED", changed)
    (folder / "mine.py").write_text(text, encoding="utf-8")
    return shlex.join([sys.executable, "-S", "-E", str(folder / "mine.py")]) if os.name != "nt" else \
        subprocess.list2cmdline([sys.executable, "-S", "-E", str(folder / "mine.py")])  # fmt: skip


def test_what_a_program_gives_is_checked(tmp_path, capsys):
    """The case's own tensors are right, another case's are not; the report names the command and what it promised."""
    right = command(tmp_path, "")
    assert cli.main(["check", CASE, "--program", right, "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["candidate"]["source"] == right
    assert cli.main(["check", "ops/gelu_tanh", "--program", right]) == 1
    assert f"candidate {right}: " in capsys.readouterr().out


def test_levels_that_are_promised_and_not_given_are_said(tmp_path, capsys):
    case = cases.read("bert/published")
    safetensors.write(tmp_path / "few.safetensors", {EMBEDDINGS: case.tensor(EMBEDDINGS)})
    changed = f"answers['dump'] = json.dumps({{'folder': {str(tmp_path / 'few.safetensors')!r}}})"
    changed += "; answers['start'] = '{\"families\": [\"bert\"], \"levels\": [1, 2, 3]}'"
    assert cli.main(["check", "bert/published", "--program", command(tmp_path, changed)]) == 0
    assert "levels that the program says it gives, and does not: L2, L3\n" in capsys.readouterr().out


HOSTILE = {
    "dies": ("answers['case'] = lambda: sys.exit('out of memory')", "ended with 1 instead of an answer to 'case': out"),
    "dies at once": ("sys.exit(3)", "ended with 3 instead of an answer to 'start'"),
    "hangs": ("answers['dump'] = lambda: time.sleep(600)", "gave no answer to 'dump' within 1.5 s"),
    "closes": ("sys.stdin.readline(); os.close(1); time.sleep(600)", "closed its output instead of an answer"),
    "garbage": ("answers['dump'] = 'loading weights ...'", "answered 'dump' with 'loading weights ...', not with"),
    "another encoding": ("sys.stdout.buffer.write(bytes([255, 10])); sys.stdout.flush()", "answered 'start' with"),
    "an endless line": ("while True: sys.stdout.write('x' * 9999)", "answered 'start' with"),
    "a list": ("answers['case'] = '[]'", "answered 'case' with '[]', not with an object"),
    "refuses": ("answers['case'] = '{\"error\": \"no such op\"}'", "cannot do 'case': 'no such op'"),
    "no levels": ("answers['start'] = '{\"families\": [\"ops\"]}'", "answered \"start\" without a list 'levels'"),
    "levels beyond": ("answers['start'] = '{\"families\": [], \"levels\": [8]}'", "not numbers from 0 to 7"),
    "another family": ("answers['start'] = '{\"families\": [\"t5\"], \"levels\": []}'", "knows 't5', and case"),
    "no folder": ("answers['dump'] = '{\"folder\": 3}'", "answered \"dump\" without a \"folder\""),
    "nothing there": ("answers['dump'] = '{\"folder\": \"/nowhere/at/all\"}'", "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_a_program_does_is_one_line(tmp_path, capsys, monkeypatch, kind):
    changed, said = HOSTILE[kind]
    monkeypatch.setattr(program, "GRACE", 0.2)
    patience = "1.5" if kind == "hangs" else "60"
    assert cli.main(["check", CASE, "--program", command(tmp_path, changed), "--patience", patience]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert said in told


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX's")
def test_it_ends_with_what_it_started(tmp_path, capsys):
    changed = "import subprocess; child = subprocess.Popen(['sleep', '600']); sys.exit(str(child.pid))"
    assert cli.main(["check", CASE, "--program", command(tmp_path, changed)]) == 2
    pid = re.search(r"'start': (\d+)$", capsys.readouterr().err)[1]
    until = time.monotonic() + 60  # it is killed at once, and gone when the machine comes to it
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


@pytest.mark.parametrize("arguments", [[CASE], [CASE, "x", "--program", "cat"], [CASE, "--program", ""],
                                       [CASE, "--program", "python don't.py"],
                                       [CASE, "--program", "no-such-program-here"],
                                       [CASE, "--program", "cat", "--patience", "0"]])  # fmt: skip
def test_unusable_options_are_one_line(capsys, arguments):
    assert cli.main(["check", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("language", "file", "case", "level"), [
    ("node", "ops_in_javascript.js", "ops/layer_norm", None),
    ("perl", "bert_in_perl.pl", "bert/published", "L1"), ("perl", "bert_in_perl.pl", "bert/eps", "L1"),
])  # fmt: skip
def test_programs_in_other_languages(tmp_path, capsys, language, file, case, level):
    """Of at most 60 lines, in nothing but the language."""
    assert len((ADAPTERS / file).read_text(encoding="utf-8").splitlines()) <= 60
    if shutil.which(language) is None:
        pytest.skip(f"needs {language}")
    if language == "perl" and subprocess.run(["perl", "-MJSON::PP", "-e", "1"], capture_output=True).returncode:
        pytest.skip("needs Perl's JSON::PP")
    asked = ["check", case, "--program", f"{language} {(ADAPTERS / file).as_posix()}"]
    assert cli.main([*asked, "--claim", str(tmp_path / "claim.json")]) == 0, capsys.readouterr().out
    assert json.loads((tmp_path / "claim.json").read_text(encoding="utf-8"))["level"] == level


def test_the_page_says_what_is_asked():
    """Each command of the protocol as the page has it, in at most three pages."""
    text = (ROOT / "reference" / "INTERPRETING.md").read_text(encoding="utf-8")
    asked = [json.loads(line) for line in re.findall(r'`({"command".+?})`', text)]
    assert [one["command"] for one in asked] == ["start", "case", "dump", "stop"]
    assert asked[0]["protocol"] == program.PROTOCOL
    assert len(text.splitlines()) <= 165
