"""Pages, clauses and what shells complete: `minibert docs`, `spec`, `completion`."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minibert import cli, families
from minibert.analysis import op_page
from minibert.commands import completion, docs, spec
from minibert.golden import case
from minibert.golden.cases import recipes
from minibert.mistakes.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]


def printed(capsys, *words: str) -> str:
    assert cli.main([*words]) == 0
    return capsys.readouterr().out


# ---- docs ------------------------------------------------------------------------------------------------------------
def test_every_page_is_listed_and_printed(capsys):
    lines = printed(capsys, "docs").splitlines()
    pages = {path.relative_to(ROOT / "reference").as_posix().removesuffix(".md")
             for folder in ("", "spec", "mistakes") for path in (ROOT / "reference" / folder).glob("*.md")}  # fmt: skip
    pages |= {f"adapters/{path.name}" for path in (ROOT / "reference" / "adapters").glob("*.*")}
    assert {line.split()[0] for line in lines} == pages | {"softmax"}
    assert max(map(len, lines)) < 80
    assert all(len(line.split()) > 1 for line in lines)
    text = (ROOT / "reference" / "spec" / "bert.md").read_text(encoding="utf-8")
    for name in ("spec/bert", "bert", "reference/spec/bert.md", "spec/BERT.md"):
        assert printed(capsys, "docs", name) == text
    assert printed(capsys, "docs", "porting").startswith("# Port a model")


@pytest.mark.parametrize("name", ["PORTING", "spec/bert", "RUNS"])
def test_on_a_terminal_a_page_is_as_wide_as_it(name, capsys, monkeypatch):
    """Its words in their order; quotations stay such; code and tables line by line."""
    whole = printed(capsys, "docs", name)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown = printed(capsys, "docs", name)
    words, others = ([word for word in text.split() if word != ">"] for text in (shown, whole))  # ">": at every line
    assert words == others
    kept = [line for line in whole.splitlines() if line.startswith(("    ", "|", "#"))]
    assert len(kept) > 3
    assert [line for line in shown.splitlines() if line.startswith(("    ", "|", "#"))] == kept
    wide = [line for line in shown.splitlines() if len(line) > 79]
    assert all(line in whole.splitlines() and re.match(r"[|#.]|>>>| {3}", line) for line in wide), wide


def test_the_table_of_systems_names_commands_that_there_are():
    """Those behind && too; nothing is run."""
    shown = re.findall(r"`(minibert [^`]+)`", (ROOT / "reference" / "SYSTEMS.md").read_text(encoding="utf-8"))
    assert len(shown) > 40
    for line in itertools.chain.from_iterable(text.split(" && ") for text in shown):
        words = shlex.split(line.partition(" > ")[0])[1:]
        assert cli.parser(words).parse_args(words).run is not None, line


def test_the_readme_names_pages_that_are_printed(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"reference/[\w/]+\.md", text))
    assert len(named) > 4
    for name in named:
        assert printed(capsys, "docs", name)


# ---- spec ------------------------------------------------------------------------------------------------------------
def test_every_clause_of_the_index_is_found(capsys):
    index = (ROOT / "reference" / "SPEC.md").read_text(encoding="utf-8")
    ids = re.findall(r"\*\*([A-Z][A-Z0-9]*(?:-[A-Z]+)?-\d+)\*\*", index.partition("Collected by")[2])
    assert len(ids) > 200
    assert sorted(spec.clauses()) == sorted(ids)
    lines = printed(capsys, "spec").splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(ids)
    assert max(map(len, lines)) < 80


def test_clauses_and_cases_know_each_other():
    """Each clause is about a case, and each case is of some clause."""
    shipped = recipes()
    about = {id: spec.cases(clause, shipped) for id, clause in spec.clauses().items()}
    assert [id for id, names in about.items() if not names] == []
    assert sorted(shipped.keys() - {name for names in about.values() for name in names}) == []
    assert about["OP-GELU-1"] == ["ops/gelu"]
    assert about["TOK-UNI-3"] == ["tokenizer/unigram"]
    assert about["OP-ATT-3"] == ["ops/attention", "ops/attention-masked", "ops/merge_heads", "ops/split_heads"]



def test_a_clause_with_what_goes_wrong_without_it(capsys):
    for name in ("OP-ATT-2", "op-att-2"):
        text = printed(capsys, "spec", name)
        assert text.startswith("OP-ATT-2 (minibert docs spec/operations)\n  scale defaults to 1/√K, K the width of one")
        assert "exactly once, and not on the bias. [A04 A05 A06 A07 A08]\n" in text.replace("\n  ", " ")
        assert "\n  A04      scale 1/sqrt(hidden)\n" in text
        assert "A09" not in text
        assert "bert/published" in text
        assert max(map(len, text.splitlines())) < 80


def test_a_clause_keeps_its_formulas_and_ends_before_what_follows(capsys):
    text = printed(capsys, "spec", "OP-LSM-1")
    assert text.startswith("OP-LSM-1 (minibert docs spec/operations)\n  y_i = x_i")
    assert ">>>" not in text
    assert "golden cases it is about (minibert check CASE CANDIDATE)\n  ops/log_softmax, ops/softmax" in text
    for id, clause in spec.clauses().items():
        shown = re.sub(r"\s+", "", spec._filled(clause.text))
        assert shown == re.sub(r"\s+", "", clause.text), id
        assert "\n#" not in clause.text, id
        assert "\n- **" not in clause.text, id


# ---- completion ------------------------------------------------------------------------------------------------------
LINES = {  # what is typed: (some of what may follow, something that may not)
    "": (["check", "pretrain", "completion"], "--steps"),
    "golden v": (["verify"], "list"),
    "golden verify bert/pub": (["bert/published"], "bert/probe"),
    "check bert/published w": (["wrong-torch-port"], "right-torch-port"),
    "check bert/published x --dtype float": (["float32", "float64"], "bfloat16"),
    "pretrain e": (["electra"], "bert"),
    "pretrain --st": (["--steps"], "--seed"),
    "pretrain bert --ma": (["--masking", "--max-predictions"], "--similar"),
    "pretrain macbert --si": (["--similar"], "--seed"),
    "mistakes A0": (["A04"], "B01"),
    "mistakes --w": ([], "--write"),
    "gradcheck gelu": (["gelu", "gelu_tanh"], "relu"),
    "docs spec/be": (["spec/bert"], "spec/gpt2"),
    "spec OP-ATT-": (["OP-ATT-2"], "OP-LN-1"),
    "corrupt en": (["entity"], "span"),
}


def completed(shell: str, script: Path, line: str) -> list[str]:
    """What the shell offers, in a process."""
    *before, word = ["minibert", *line.split(" ")]
    if shell == "bash":
        words = " ".join(f"'{each}'" for each in (*before, word))
        program = f"COMP_WORDS=({words}); COMP_CWORD={len(before)}; _minibert; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        arguments = ["bash", "--norc", "-c", f". '{script}'; {program}"]
    elif shell == "zsh":
        words = " ".join(f"'{each}'" for each in (*before, word))
        stubs = "compdef() {}; compadd() { shift; print -l -- $@ }; _files() {}"
        arguments = ["zsh", "-f", "-c", f"{stubs}; . '{script}'; words=({words}); CURRENT={len(before) + 1}; _minibert"]
    else:
        arguments = ["fish", "--no-config", "-c", f"source '{script}'; complete -C 'minibert {line}'"]
    ran = subprocess.run(arguments, capture_output=True, encoding="utf-8", timeout=120)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    found = [each.partition("\t")[0] for each in ran.stdout.splitlines()]
    return [each for each in found if each.startswith(word)]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    places = list(completion.places())
    for name, make in completion.SHELLS.items():
        (folder / name).write_text(make(places), encoding="utf-8", newline="\n")
    return folder


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_completes_what_there_is(shell, scripts):
    if shutil.which(shell) is None or sys.platform == "win32":
        pytest.skip(f"no {shell} here")
    for line, (some, other) in LINES.items():
        found = completed(shell, scripts / shell, line)
        assert set(some) <= set(found), line
        assert other not in found, line


def test_what_is_completed_is_what_there_is():
    """Nothing is listed by hand: cases, families, mistakes, pages as the library has them."""
    places = {" ".join(place.begun): place for place in completion.places()}
    assert places["golden verify"].values == case.names()
    assert places["mistakes"].values == list(CATALOGUE)
    assert places["docs"].values == [*docs.pages(), *op_page.names()]
    assert places["pretrain"].values == families.names()
    assert {f"pretrain {name}" for name in families.names()} <= places.keys()
    assert "--write" not in places["mistakes"].options
    assert places["check"].options["--names"] == []
    assert places["check"].options["--every"] is None


def test_the_command_prints_the_script(capsys, scripts):
    assert printed(capsys, "completion", "bash") == (scripts / "bash").read_text(encoding="utf-8")
