"""reference/mistaken_ports: the list says what the dumps are, some are made again, checkers are scored by the rules."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import unmoved
from minibert.mistakes.catalogue import CATALOGUE

FOLDER = Path(__file__).resolve().parents[2] / "reference" / "mistaken_ports"


def _module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made  # they name each other
    spec.loader.exec_module(made)
    return made


DUMPS, MAKE, SCORE = (_module(f"{name}") for name in ("dumps", "make", "score"))
ENTRIES = {entry["id"]: entry for entry in DUMPS.manifest()["dumps"]}
PLANTS = {plant["id"]: plant for plant in MAKE.plants()}


def test_the_list_is_of_what_is_there():
    stored = {path.stem for path in (FOLDER / "dumps").iterdir()}
    assert stored == set(ENTRIES) == {name for name, plant in PLANTS.items() if DUMPS.stored(name, "link" in plant)}
    assert {DUMPS.twin(entry) for entry in ENTRIES.values()} == set((FOLDER / "right").iterdir())
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.npz")) < 8_000_000
    real = [entry for entry in ENTRIES.values() if entry["origin"] == "real"]
    assert len(ENTRIES) >= 60
    assert len(real) >= 15
    assert len({entry["stack"] for entry in ENTRIES.values()}) >= 3
    assert all(re.fullmatch(r"https://github\.com/\S+/(issues|pull)/\d+", entry["link"]) for entry in real)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_what_the_plant_is(name):
    entry, plant = ENTRIES[name], PLANTS[name]
    assert all(entry[field] == plant[field] for field in ("stack", "case", "kind", "what"))
    assert entry["split"] == DUMPS.split(name)
    assert entry["answers"] == plant.get("answers", [])
    assert all(id in CATALOGUE for ids in entry["answers"] for id in ids if " " not in id)
    assert entry["first"], "what does not show is no dump of a mistake"


@pytest.mark.parametrize("name", list(ENTRIES)[::12])
def test_a_dump_shows_what_the_list_says(name):
    found = DUMPS.whole(ENTRIES[name])
    assert set(found) <= set(DUMPS.keys(ENTRIES[name]["kind"], ENTRIES[name]["case"]))
    beyond = MAKE.visible(found, PLANTS[name])
    assert (len(beyond), MAKE.firsts(beyond)) == (ENTRIES[name]["beyond"], ENTRIES[name]["first"])


SINGLE = {DUMPS.twin(entry): name for name, entry in ENTRIES.items() if entry["kind"] != "bfloat16"}


@pytest.mark.parametrize("name", sorted(SINGLE.values()))
def test_a_right_twin_is_right(name):
    """In float32, but for what nobody owes: after steps, of GPT-2's one bias the third that is the keys'."""
    entry = ENTRIES[name]
    beyond = MAKE.visible(DUMPS.whole_twin(entry), entry)
    assert [key for key in beyond if not key.endswith("c_attn.bias")] == []


def _again(name, tolerance):
    """The dump made anew is the stored one, but for what only rounding moves, which each processor moves elsewhere."""
    found, stored = MAKE.dump(PLANTS[name]), DUMPS.whole(ENTRIES[name])
    assert found.keys() == stored.keys()
    case = cases.read(DUMPS.GOLDEN / ENTRIES[name]["case"])
    for key, value in found.items():
        scale = np.abs(stored[key]).max(initial=1e-3)
        got, due = (unmoved.settled(key, array, case.tensor, case.unmoved) for array in (value, stored[key]))
        np.testing.assert_allclose(got, due, rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name.startswith("ng")][::4])
def test_numpys_are_made_again(name):
    _again(name, 1e-4)


@pytest.mark.parametrize("name", ["tb05", "tg02"])
def test_torchs_are_made_again(name):
    pytest.importorskip("torch", reason="its ports are transformers' models: install minibert[oracle]")
    pytest.importorskip("transformers", reason="its ports are transformers' models: install minibert[oracle]")
    if name not in ENTRIES or MAKE.metadata.version("transformers") != DUMPS.manifest()["made with"]["transformers"]:
        pytest.skip("the edits are of another version of transformers")
    _again(name, 1e-4)


def test_verdicts_are_worth_what_the_page_says():
    entry = {"id": "x01", "answers": [["A04"], ["A05", "E19"]]}
    worth = {"exact": [["A04"]], "tied": [["A04"], ["A06"]], "wrong": [["A06"]], "none": []}
    assert {name: SCORE.judged({"answers": given}, entry) for name, given in worth.items()} == {n: n for n in worth}
    assert SCORE.judged({"answers": [["E19", "A05"]]}, entry) == "exact"  # both hold
    assert SCORE.judged({"answers": [["A05"]]}, entry) == "wrong"  # one of two is not all
    assert SCORE.judged({"answers": [["x01"]]}, entry) == "exact"  # in the benchmark's own names
    assert SCORE.judged({"answers": [["A04"]]}, {"id": "x02", "answers": []}) == "wrong"  # what has no entry


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("blind*.toml")))
def test_a_blind_list_says_what_is_there(name):
    blind = {plant["id"]: plant for plant in MAKE.plants(FOLDER / name)}
    assert not blind.keys() & PLANTS.keys()
    for plant in blind.values():
        named = [id for ids in (plant.get("near", ()), *plant.get("answers", ())) for id in ids]
        assert all(id in CATALOGUE for id in named), plant["id"]
        assert sum(name in plant for name in ("answers", "near", "of", "right")) <= 1  # none: nothing comes near
        for id in plant.get("of", ()):
            assert all(edit in plant["edits"] for edit in blind[id]["edits"])


def test_an_edit_within_a_class(tmp_path):
    (tmp_path / "port.py").write_text("class A:\n    n = 1\n\n\nclass B:\n    n = 1\n", encoding="utf-8")
    edits = [["port", "A", "n = 1", "n = 2"], ["port", "B", "n = 1", "n = 3"]]
    text = MAKE.source(tmp_path / "port.py", edits, "port")
    assert text == "class A:\n    n = 2\n\n\nclass B:\n    n = 3\n"
    with pytest.raises(SystemExit, match="is it another version"):
        MAKE.source(tmp_path / "port.py", [*edits, ["port", "B", "n = 2", "n = 4"]], "port")


def test_of_several_mistakes_and_of_one_without_an_entry():
    entries = {"x01": {"answers": [["A04"], ["A05"]]}, "x02": {"answers": [], "near": ["L25"]}, "x03": {"answers": []}}
    said = {"answers": [["A05", "L25"], ["A05", "E19"]]}
    assert SCORE.hits(said, {"of": ["x01", "x02", "x03"]}, entries) == 2
    assert SCORE.judged({"answers": [["L25"]]}, {"id": "x02", **entries["x02"]}) == "near"


def test_another_checker_is_scored(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "import json, sys\nimport numpy as np\n"
        "right = len(np.load(sys.argv[2])) > 1000\n"
        "print(json.dumps({'right': right, 'answers': [['A01']], 'first': None}))", encoding="utf-8")  # fmt: skip
    name = next(name for name in ENTRIES if name.startswith("ng"))
    command = f'"{sys.executable}" "{tmp_path / "mine.py"}"'
    arguments = ["score.py", "--checker", command, "--json", str(tmp_path / "v.json"), name]
    monkeypatch.setattr(sys, "argv", arguments)
    SCORE.main()
    assert "recall 1.000 (0 of 1 mistaken ones missed)" in capsys.readouterr().out
    assert json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))["dumps"][0]["name"] == "wrong"


def test_minibert_names_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score.py", "ja02"])
    SCORE.main()
    assert re.search(r"^all +1 +1 +1 ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(("said", "wrong"), [
    ({}, '"right" is not true or false'), ({"right": 1}, '"right" is not true or false'), ([], '"right" is not'),
    ({"right": False, "answers": "A04"}, '"answers" is no list of lists of ids'),
    ({"right": False, "answers": ["A04"]}, '"answers" is no list of lists of ids'),
    ({"right": False, "first": 3}, '"first" is no name'),
])  # fmt: skip
def test_a_verdict_that_says_something_else_is_refused(said, wrong):
    assert wrong in SCORE.unfit(said)
    assert SCORE.unfit({"right": False, "answers": [["A04"]], "first": None}) is None


def test_a_verdict_changes_no_fact_of_the_list(tmp_path, monkeypatch, capsys):
    """Whatever else a checker prints, as a kind of its own."""
    said = {"right": False, "answers": [["A04"]], "kind": "strange", "visible": False}
    (tmp_path / "mine.py").write_text(f"print({json.dumps(said)!r})", encoding="utf-8")
    name = next(iter(ENTRIES))
    monkeypatch.setattr(sys, "argv", ["score.py", "--checker", f"{sys.executable} {tmp_path / 'mine.py'}", name])
    SCORE.main()
    assert "strange" not in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [
    (["zz99"], "no dumps zz99"), (["--folder", "nowhere"], "holds no manifest.json"),
    (["--json", "nowhere/v.json"], "no such folder to write into"),
])  # fmt: skip
def test_what_cannot_be_scored_is_said_before(words, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score.py", *words])
    with pytest.raises(SystemExit) as ended:
        SCORE.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("ids", "said"), [(["-o", "new", "tb0x"], "plants.toml has no tb0x"), (["tb01"], "-o DIR")])
def test_what_is_not_made(ids, said, monkeypatch, capsys, tmp_path):
    """An unknown dump, and some dumps alone, whose list would take the place of the list of all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["make.py", *ids])
    monkeypatch.setattr(MAKE, "listed", lambda folder, made: pytest.fail("a list was written"))
    with pytest.raises(SystemExit) as ended:
        MAKE.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
