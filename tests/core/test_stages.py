"""What the benchmarks of transfer print and draw, from figures made up here, and a curve of a run."""

import importlib
import json
import re
import sys
from argparse import Namespace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import minibert
from minibert import tokenizers, training

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
stages, transfer, tables = map(importlib.import_module, ("stages", "transfer", "tasks"))

CURVES = {"nothing": [[0.1, 0.2, 0.4], [0.1, 0.3, 0.5]], "general": [[0.1, 0.4, 0.6], [0.2, 0.3, 0.4]]}


def test_differences_are_paired():
    assert transfer.spread([0.5, 0.7]) == "0.600 ± 0.141"
    assert transfer.less([0.5, 0.8], [0.4, 0.5]) == "+0.200 ± 0.100"
    reports = [{"measures": {"accuracy": value}, "learning": 0.5, "shares": [0.25, 0.75]} for value in (0.5, 0.8)]
    base = [{"measures": {"accuracy": value}} for value in (0.4, 0.5)]
    due = "mix             accuracy 0.650 ± 0.212; +0.200 ± 0.100; 50.00% learn; layers 0.25 0.75"
    assert transfer.row("mix", reports, base) == due


def test_curves_say_when_they_are_where_the_first_ends():
    *_, first, second = stages.curves_said(CURVES, Namespace(every=10))
    assert first == "| nothing | 0.450 ± 0.071 | +0.000 ± 0.000 | 20, 20 |"
    assert second == "| general | 0.500 ± 0.141 | +0.050 ± 0.150 | 10, never |"


def test_curves_are_drawn_where_their_values_are():
    drawn = ElementTree.fromstring(stages.picture(CURVES, 10))
    lines = [line.get("points") for line in drawn.iter("{http://www.w3.org/2000/svg}polyline") if line.get("fill")]
    assert len(lines) == 6  # two seeds and their mean, of two
    x, y = zip(*(map(float, point.split(",")) for point in lines[2].split()), strict=True)
    assert x == pytest.approx([stages.LEFT + part * stages.WIDE for part in (0, 0.5, 1)], abs=0.06)
    heights = [(stages.TOP + stages.HIGH - value) / stages.HIGH * 0.6 for value in y]
    assert heights == pytest.approx([0.1, 0.25, 0.45], abs=1e-3)


def test_tables_of_stages_and_of_several_tasks():
    def of(value):
        return {"measures": {"accuracy": value}, "constant": {"accuracy": 0.1}}

    *_, second, constant = stages.two_stage_said({"at once": [of(0.5), of(0.7)], "after": [of(0.6), of(0.6)]}, None)
    assert (second, constant) == ("| after | 0.600 ± 0.000 | +0.000 ± 0.100 |", "constant answer: 0.100")
    four = [{task: of(value + i / 10) for i, task in enumerate(stages.FOUR)} for value in (0.1, 0.2)]
    other = [{task: of(value + 0.25) for task in stages.FOUR} for value in (0.1, 0.4)]
    head, _, row, _ = stages.several_said({"alone": four, "shared": other}, None)
    assert head.startswith("| arm | classify, accuracy | tag, accuracy | regress, accuracy | relate, accuracy | mean")
    assert row == f"| shared |{' 0.500 ± 0.212 |' * 4} +0.200 ± 0.100 |"


def test_rows_held_out_have_classes_that_are_learnt(tmp_path):
    rows = {"train": [{"label": "a"}, {"label": "b"}], "dev": [{"label": "b"}, {"label": "c"}, {"label": 1.5}]}
    lines = [[json.dumps(row) for row in own] for own in rows.values()]
    assert tables.parts(*lines, 0, 0)[1] == [lines[1][0], lines[1][2]]
    far = [{"text": "x" * 300, "head": [0, 1], "tail": [at, at + 1], "label": "a"} for at in (9, 99, 101, 250)]
    for part in rows:
        (tmp_path / f"relations.{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in far))
    (folder := tmp_path / "out").mkdir()
    made = stages.files(Namespace(data=tmp_path, rows=0, held_out=0), folder, "relations")
    assert sorted(json.loads(line)["tail"][0] for line in made["train"].read_text().splitlines()) == [9, 99]


def test_a_curve_begins_before_the_first_update_and_ends_with_the_model(tmp_path, monkeypatch):
    words = ("fine", "poor", "film", "the")
    learnt = tokenizers.tokenizer("wordpiece").train([" ".join(words)] * 3, 60, lowercase=True)
    model = minibert.create("bert", vocab_size=len(learnt), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                            intermediate_size=12, max_position_embeddings=16, initializer_range=0.3)  # fmt: skip
    model.tokenizer = learnt
    model.save(tmp_path / "model")
    lines = [{"text": f"{word} film", "label": word} for word in words[:2] * 8]
    monkeypatch.setattr(stages, "RATE", 0.05)
    measured = []
    monkeypatch.setattr(stages, "_right", lambda own, judged: measured.append(
        training.evaluation(own, judged)["accuracies"]["classify"]) or measured[-1])  # fmt: skip
    args = Namespace(tokens=16, steps=40, every=10)
    found = stages.curve(tmp_path / "model", tmp_path / "run", {"train": lines, "dev": lines}, args, 0)
    assert found == measured
    assert len(found) == 5
    assert found[0] < found[-1] == 1.0


def test_the_page_has_commands_that_there_are():
    """python tests/benchmarks/stages.py TABLE …, as it stands in reference/SCIENCE.md."""
    page = (ROOT / "reference" / "SCIENCE.md").read_text(encoding="utf-8")
    assert {*re.findall(r"tests/benchmarks/stages\.py\s+([\w-]+)", page)} == stages.TABLES.keys()
