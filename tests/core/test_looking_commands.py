"""prune, probe and surface on the command line."""

import json

import numpy as np
import pytest
from test_filling import TEXT, encoder

import minibert
from minibert import cli, tree
from minibert.tokenizers.wordpiece import WordPiece

LABELS = ("animal", "place")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A folder with a classifier, what it began as, and rows."""
    folder = tmp_path_factory.mktemp("looking")
    sizes = {"num_attention_heads": 4, "max_position_embeddings": 40}
    encoder("bert", WordPiece.train(TEXT * 3, 60), **sizes).save(folder / "start")
    model = minibert.load(folder / "start")
    tasks = {"classify": {"labels": LABELS}}
    fields = minibert.config.to_fields(model.config)
    end = minibert.create("bert", 1, tasks=tasks, **fields)
    end.tokenizer = model.tokenizer
    end.save(folder / "end")
    texts = ["the cat sat", "a dog ran", "the mat"] * 4
    rows = [{"text": text, "label": LABELS[i % 2]} for i, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tags = [{"tokens": ["the", "cat"], "tags": ["D", "N"]}] * 2
    (folder / "tags.jsonl").write_text("\n".join(map(json.dumps, tags)), encoding="utf-8")
    return folder


def said(capsys, *words):
    assert cli.main([*map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys, *words):
    assert cli.main([*map(str, words)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("by", ["gradient", "leaving-out"])
def test_prune_writes_a_model_with_so_many_heads(held, tmp_path, capsys, by):
    out = tmp_path / "small"
    lines = said(capsys, "prune", held / "end", "--rows", held / "rows.jsonl", "--by", by, "--keep", 3, "--out", out)
    assert [line.split()[0] for line in lines if " heads, " in line] == ["8", "7", "6", "5", "4", "3", "2"]
    fields = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert sum(len(gone) for gone in fields["pruned_heads"].values()) == 5
    small, whole = minibert.load(out), minibert.load(held / "end")
    rows = {path: len(a) for path, a in tree.items(small.params) if path.endswith("query.weight")}
    assert sum(rows.values()) == 3 * 4
    assert {small.family: small.tasks} == {"bert": whole.tasks}
    assert len(said(capsys, "predict", out, held / "rows.jsonl")) == 12


def test_prune_says_what_is_wrong(held, tmp_path, capsys):
    rows = ("--rows", held / "rows.jsonl")
    assert "no head of one task" in refused(capsys, "prune", held / "start", *rows)
    assert "--keep and --out go together" in refused(capsys, "prune", held / "end", *rows, "--keep", 3)
    assert "from 2 to 8" in refused(capsys, "prune", held / "end", *rows, "--keep", 1, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    t5 = minibert.create("t5", tasks={"classify": {"labels": LABELS}}, vocab_size=60, d_model=8, d_kv=4, d_ff=8,
                         num_layers=1, num_heads=2, eos_token_id=3)  # fmt: skip
    t5.tokenizer = minibert.load(held / "start").tokenizer
    t5.save(tmp_path / "t5")
    assert cli.main(["prune", str(tmp_path / "t5"), *map(str, rows)]) == 2
    shown = capsys.readouterr()
    assert "its heads stay" in shown.err
    assert not shown.out  # not a line of what can't be done


def test_heads_that_a_file_says_are_gone_are_checked(held, tmp_path, capsys):
    said(capsys, "prune", held / "end", "--rows", held / "rows.jsonl", "--keep", 3, "--out", tmp_path / "small")
    path = tmp_path / "small" / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    for wrong in ([1], {"7": [0]}, {"0": [0, 1, 2, 3]}, {"0": [4]}, {"0": [True]}, {"0": "1"}, {"0": [0]}):
        path.write_text(json.dumps({**fields, "pruned_heads": wrong}), encoding="utf-8")
        assert str(tmp_path) in refused(capsys, "info", tmp_path / "small"), wrong


def test_probe_shows_each_layer(held, capsys):
    lines = said(capsys, "probe", held / "start", "tag", held / "tags.jsonl")
    assert lines[0].startswith("2 to learn from, 2 asked, 2 classes")
    assert [line.split()[0] for line in lines[1:]] == ["embeddings", "layer", "layer"]
    assert [line.split()[-1] for line in lines[1:]] == ["1.0000"] * 3  # it has seen the same
    lines = said(capsys, "probe", held / "start", "classify", held / "rows.jsonl")
    assert lines[0].startswith("6 to learn from, 6 asked")
    assert "column 'tokens'" in refused(capsys, "probe", held / "start", "tag", held / "rows.jsonl")
    endless = ("classify", held / "rows.jsonl", "--decay", "inf")
    assert "expected a number from 0 to 1e+06" in refused(capsys, "probe", held / "start", *endless)


def test_surface_begins_and_ends_where_the_models_are(held, tmp_path, capsys):
    rows = ("--rows", held / "rows.jsonl")
    lines = said(capsys, "surface", held / "start", held / "end", *rows, "--steps", 5)
    places = {float(line.split()[0]): float(line.split()[1]) for line in lines[1:]}
    model = minibert.load(held / "end")
    batches = [*minibert.uses.batched(model, [*minibert.rows.placed(held / "rows.jsonl", "classify")], 512, 16)]
    assert [*places] == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert places[1.0] == pytest.approx(np.mean([model.loss(batch)[0] for batch in batches]), abs=6e-4)
    picture = tmp_path / "plane.svg"
    lines = said(capsys, "surface", held / "start", held / "end", *rows, "--steps", 3, "--other", held / "end",
                 "-o", picture)  # fmt: skip
    grid = np.array([[float(cell) for cell in line.split()[1:]] for line in lines[1:4]])
    np.testing.assert_allclose(grid, grid.T, atol=2e-3)  # both directions are one
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert "name another end" in refused(capsys, "surface", held / "start", held / "end", *rows, "-o", picture)


# ---- Languages -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def spoken(held):
    """Texts in two languages that share no word, and dictionaries."""
    texts = {"one": "the cat ran, a dog\n\n", "other": "on mats\n\n"}
    for name, text in texts.items():
        (held / f"{name}.txt").write_text(text * 8, encoding="utf-8")
    rows = [{"text": text, "label": "animal"} for text in ("the cat sat", "a dog ran", "the mat", "a mat", "sat", "on")]
    (held / "animals.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (held / "same.tsv").write_text("the\tthe\ncat\tcat\ndog\tdog\nran\tRan\nowl\towl\n", encoding="utf-8")
    (held / "turned.tsv").write_text("the\tcat\ncat\tthe\n", encoding="utf-8")
    return held


def test_align_finds_what_is_the_same(spoken, capsys):
    texts = (spoken / "one.txt", spoken / "one.txt")
    lines = said(capsys, "align", spoken / "start", spoken / "same.tsv", *texts)
    assert lines[0].startswith("4 of 5 pairs stand in both texts; by chance 0.5208")
    assert [line.split()[-2:] for line in lines[2:]] == [["1.0000", "1.0000"]] * 3
    lines = said(capsys, "align", spoken / "start", spoken / "turned.tsv", *texts)
    assert [line.split()[-2:] for line in lines[2:]] == [["0.5000", "0.5000"]] * 3
    other = (spoken / "one.txt", spoken / "other.txt")
    few = refused(capsys, "align", spoken / "start", spoken / "same.tsv", *other)
    assert "same.tsv: of its 5 pairs 0 stand in both texts" in few


def test_languages_tells_texts_apart_that_are(spoken, tmp_path, capsys):
    picture = tmp_path / "languages.svg"
    given = ("--tokens", 20, "-o", picture)
    lines = said(capsys, "languages", spoken / "start", f"a={spoken / 'one.txt'}", f"b={spoken / 'one.txt'}", *given)
    assert lines[0] == "20 tokens of each of 2 languages learnt from, as many asked; chance 0.5000"
    assert len(lines[0].replace("20", "2,000")) < 80
    assert [line.split()[-1] for line in lines[2:5]] == ["0.0000"] * 3
    assert [float(line.split()[-2]) for line in lines[2:5]] == [0.5] * 3
    lines = said(capsys, "languages", spoken / "start", f"a={spoken / 'one.txt'}", f"b={spoken / 'other.txt'}", *given)
    assert all(float(line.split()[-1]) > 0.1 and float(line.split()[-2]) == 1 for line in lines[2:5])
    text = picture.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert text.count('r="6"') == 6  # a mean of each language and layer
    (tmp_path / "short.txt").write_text("the cat\n", encoding="utf-8")
    short = (f"a={spoken / 'one.txt'}", f"b={tmp_path / 'short.txt'}")  # one sentence: none is left to be asked
    assert "short.txt has no token" in refused(capsys, "languages", spoken / "start", *short)
    assert "give NAME=FILE twice" in refused(capsys, "languages", spoken / "start", f"a={spoken / 'one.txt'}")


def test_shift_by_nothing_changes_nothing(spoken, tmp_path, capsys):
    picture = tmp_path / "shift.svg"
    texts = ("--from", spoken / "one.txt", "--to", spoken / "other.txt")
    given = ("shift", spoken / "end", spoken / "animals.jsonl", "--share", 0, -90, 90, "-o", picture)
    lines = said(capsys, *given, *texts)
    grid = [[float(cell) for cell in line.split()[-3:]] for line in lines[2:5]]
    model = minibert.load(spoken / "end")
    (task,) = model.uses
    placed = [*minibert.rows.placed(spoken / "animals.jsonl", "classify")]
    answers = [*minibert.uses.answered(model, task, placed, 40)]
    right = np.mean([row["label"] == answer["label"] for (_, row), answer in zip(placed, answers, strict=True)])
    assert [line[0] for line in grid] == [pytest.approx(right, abs=1e-4)] * 3
    assert any(line[1] != line[2] for line in grid)
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    lines = said(capsys, *given, "--from", spoken / "one.txt", "--to", spoken / "one.txt")
    assert all(len({*line.split()[-3:]}) == 1 for line in lines[2:5])
    no_head = ("shift", spoken / "start", spoken / "rows.jsonl", *texts)
    assert "no head of one task" in refused(capsys, *no_head)
    assert "must end in .svg" in refused(capsys, *given[:-1], tmp_path / "x.png", *texts)
    assert "cannot read" in refused(capsys, *given, "--from", spoken / "none.txt", "--to", spoken / "one.txt")
