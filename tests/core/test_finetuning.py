"""`minibert finetune` and `predict`: rows in, a model and figures out, the same bits after an interruption."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from itertools import pairwise

import numpy as np
import pytest

import minibert
from minibert import cli, families, finetuning, memory, tasks, tokenizers, training, uses
from minibert.errors import InputError
from minibert.rows import docstrings
from minibert.uses import Piece
from tests.core.test_runs import KILLS, POSIX, PROGRAM, ROOT

GOOD, BAD, OTHER = ("fine", "great", "lovely"), ("poor", "awful", "dull"), ("film", "book", "the", "a", "was", "it")
SIZES = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
         "max_position_embeddings": 40, "initializer_range": 0.3, "hidden_dropout_prob": 0.05}  # fmt: skip
OPTIONS = {"steps": 8, "batch_size": 8, "accumulate": 1, "checkpoint_every": 3, "threads": 1, "learning_rate": 0.006,
           "weight_decay": 0.0}  # fmt: skip


def sentence(rng, words):
    chosen = [*rng.choice(OTHER, 4), rng.choice(words)]
    return " ".join(rng.permutation(chosen))


def data(folder):
    """Rows of each task that a word decides."""
    rng = np.random.default_rng(0)
    rows = [(label, sentence(rng, words)) for label, words in [("good", GOOD), ("bad", BAD)] * 20]
    table = "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows)
    (folder / "classify.tsv").write_text(table, encoding="utf-8")
    values = "value\ttext\n" + "".join(f"{(label == 'good') * 2.0}\t{text}\n" for label, text in rows)
    (folder / "regress.tsv").write_text(values, encoding="utf-8")
    tagged = [[(word, "B-GOOD" if word in GOOD else "O") for word in text.split()] for _, text in rows]
    columns = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in row) for row in tagged)
    (folder / "tag.conll").write_text(columns, encoding="utf-8")
    asked = []
    for _, text in rows:
        word = next((word for word in text.split() if word in GOOD), None)
        answers = [{"text": word, "answer_start": text.index(word)}] if word else []
        asked.append({"question": "what was it", "context": text, "answers": answers})
    chosen = []
    for i in range(0, 40, 2):
        place = int(rng.integers(2))
        choices = [rows[i + 1][1], rows[i][1]] if place else [rows[i][1], rows[i + 1][1]]
        chosen.append({"context": "it was", "choices": choices, "label": place})
    for name, some in (("answer", asked), ("choose", chosen)):
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small model, "model", and the rows."""
    folder = tmp_path_factory.mktemp("finetuning")
    words = [*GOOD, *BAD, *OTHER, "what"]
    learnt = tokenizers.tokenizer("wordpiece").train([" ".join(words)] * 3, 80, lowercase=True)
    model = minibert.create("bert", **SIZES, vocab_size=len(learnt), pad_token_id=learnt.pad_id)
    model.tokenizer = learnt
    model.save(folder / "model")
    data(folder)
    return folder


FILES = {"classify": "classify.tsv", "regress": "regress.tsv", "tag": "tag.conll", "tag_crf": "tag.conll",
         "answer": "answer.jsonl", "choose": "choose.jsonl"}  # fmt: skip


def tuned(place, task, out, **changes):
    given = {"train": place / FILES[task], "out": out, **OPTIONS, **changes}
    if task == "regress":
        given["columns"] = {"label": "value"}
    return finetuning.finetune(task, place / "model", **given)


def said(monkeypatch, capsys, *args, text=None):
    """The exit code, and what the command says on both streams."""
    if text is not None:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text.encode()), encoding="utf-8"))
    capsys.readouterr()
    code = cli.main([*map(str, args)])
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err.splitlines()


# (measure, at least, after so many steps) on rows that a word decides; a few steps only show that there is a figure
LEARNT = {"classify": ("accuracy", 0.9, 40), "answer": ("f1", 0.9, 30), "tag": ("entity_f1", 0, 3),
          "tag_crf": ("entity_f1", 0, 3), "regress": ("pearson", -1, 3), "choose": ("accuracy", 0, 3)}  # fmt: skip


@pytest.mark.parametrize("task", LEARNT)
def test_a_task_is_learnt_from_its_rows(task, place, tmp_path, monkeypatch, capsys):
    """Above the constant answer; the directory predicts what the report says, as published fields."""
    measure, least, steps = LEARNT[task]
    out = tuned(place, task, tmp_path / "run", steps=steps, dev=place / FILES[task], checkpoint_every=40)
    report = json.loads((out / "report.json").read_bytes())
    assert next(iter(report["measures"])) == measure
    assert report["measures"][measure] >= least
    assert steps < 30 or report["measures"][measure] > report["constant"][measure]
    printed = capsys.readouterr().out
    constant = f"{report['constant'][measure]:{'.3f' if task == 'regress' else '.1%'}}"
    assert f"the constant answer's {constant}" in printed
    assert (task == "answer") == ("threshold" in report)
    assert [entry["step"] for entry in training.read_log(out / "log.jsonl")] == [*range(1, steps + 1)]
    columns = ["--columns", "label=value"] if task == "regress" else []
    code, lines, errors = said(monkeypatch, capsys, "predict", out, place / FILES[task], "--json", *columns)
    assert (code, errors) == (0, [])
    rows = [json.loads(line) for line in lines]
    model = minibert.load(out)
    due = [*finetuning.rows.read(place / FILES[task], tasks.rows_of(task), {"label": "value"} if columns else None)]
    use = uses.of(model.uses[0])
    assert use.measures(model.uses[0], due, rows) == pytest.approx(report["measures"])
    new = {"classify": {"score", "scores"}, "regress": {"score"}, "answer": {"answer", "start", "end", "score"},
           "choose": {"choice", "score", "scores"}, "tag": set(), "tag_crf": set()}  # fmt: skip
    for row, own in zip(rows, due, strict=True):  # its own fields, what is said, and its own of the same names
        given = row.pop("given", {})
        assert {name: given.get(name, row[name]) for name in own} == own
        assert row.keys() == own.keys() | new[task]
        assert given.keys() == {"classify": {"label"}, "regress": {"label"}, "tag": {"tags"}, "tag_crf": {"tags"}}.get(
            task, set()
        )
    if task == "answer":
        assert all(row["context"][row["start"] : row["end"]] == row["answer"] for row in rows)
        assert {row["answer"] for row in rows} <= {*GOOD, ""}
    if task == "classify":
        code, (line,), _ = said(monkeypatch, capsys, "predict", out, text="the film was lovely\n")
        assert (code, line.split()[0]) == (0, "good")


def outcome(directory):
    """What must not depend on what happened on the way."""
    log = [{k: v for k, v in entry.items() if k not in ("seconds", "tokens_per_second")}
           for entry in training.read_log(directory / "log.jsonl")]  # fmt: skip
    names = ("model.safetensors", "config.json", "vocab.txt", "report.json")
    return [(directory / name).read_bytes() for name in names], log


def test_a_run_that_is_stopped_ends_with_the_same_bits(place, tmp_path, monkeypatch, capsys):
    """By Ctrl-C, taken up by what the record says; dropout is drawn; threads are no matter."""
    whole = tuned(place, "classify", tmp_path / "whole", threads=2, accumulate=2)
    taken = training.micro_batches

    def stopping(model, chosen, plan, step, dropout):
        if step == 4:
            signal.raise_signal(signal.SIGINT)
        return taken(model, chosen, plan, step, dropout)

    monkeypatch.setattr(training, "micro_batches", stopping)
    with pytest.raises(KeyboardInterrupt, match=r"step 5 of 8; continue with: minibert finetune classify .* --r"):
        tuned(place, "classify", tmp_path / "half", accumulate=2)
    monkeypatch.undo()
    code, _, errors = said(monkeypatch, capsys, "finetune", "classify", place / "model", "--out", tmp_path / "half",
                           "--resume")  # fmt: skip
    assert (code, errors[-1][:8]) == (0, "step 8/8")
    assert outcome(tmp_path / "half") == outcome(whole)
    other = tuned(place, "classify", tmp_path / "other", accumulate=2, seed=1)
    assert outcome(other)[0][0] != outcome(whole)[0][0]


@POSIX
def test_killed_at_any_moment(place, tmp_path):
    """Kill -9 before one of the run's operations on files, again and again: the bits of a run that nobody disturbed.

    Once; `MINIBERT_KILLS=60` kills 20 times.
    """
    whole, draw, out, kills = tuned(place, "classify", tmp_path / "whole"), random.Random(KILLS), None, 0
    for attempt in itertools.count():
        out = out or tmp_path / f"{attempt}"
        flags = itertools.chain.from_iterable((f"--{name.replace('_', '-')}", value) for name, value in OPTIONS.items())
        flags = ["--resume"] if (out / "run.json").exists() else ["--train", place / FILES["classify"], *flags]
        die = draw.randint(1, 160) if kills < KILLS // 3 else 0
        args = [die, "", out, "finetune", "classify", place / "model", "--out", out, *flags]
        process = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, args)], capture_output=True, timeout=120,
                                 env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, check=False)
        if process.returncode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.returncode == 0, process.stderr
        assert outcome(out) == outcome(whole)
        if not die:
            break
        out = None
    print(f"{kills} kills, {attempt + 1} starts")


def test_without_a_file_docstrings_are_told_apart(place, tmp_path, monkeypatch, capsys):
    """Those of the standard library, here a small one; a task without such rows says what it has."""
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: tmp_path / "lib")
    (tmp_path / "lib").mkdir()
    for module, words in (("fine", GOOD), ("poor", BAD)):
        texts = [f"This function says that the {word} {other} was a {first}." for word in words for other in OTHER
                 for first in words]  # fmt: skip
        body = "".join(f'def f():\n    """{text}"""\n' for text in texts)
        (tmp_path / "lib" / f"{module}.py").write_text(body, encoding="utf-8")
    out = finetuning.finetune("classify", place / "model", out=tmp_path / "run", **{**OPTIONS, "steps": 2})
    report = json.loads((out / "report.json").read_bytes())
    assert minibert.load(out).uses[0].settings.labels == ("fine", "poor")
    assert 0 < report["rows"] < 54
    code, _, errors = said(monkeypatch, capsys, "finetune", "tag", place / "model", "--out", tmp_path / "tag")
    assert (code, "tag has no rows of its own" in errors[-1]) == (2, True)


def test_a_head_that_is_there_is_trained_on_and_another_replaced(place, tmp_path, monkeypatch, capsys):
    first = tuned(place, "classify", tmp_path / "first")
    _, lines, _ = said(monkeypatch, capsys, "info", first)
    assert "task: classify, 2 classes: bad, good" in lines
    given = {**OPTIONS, "steps": 1, "learning_rate": 1e-12}
    again = finetuning.finetune("classify", first, place / "classify.tsv", out=tmp_path / "again", **given)
    before, after = (minibert.load(folder).params["classify"]["weight"] for folder in (first, again))
    assert np.abs(before - after).max() < 1e-6
    several = minibert.load(place / "model").with_task(
        "classify", labels=["bad", "good"], problem_type="multi_label_classification"
    )
    several.save(tmp_path / "several")  # of the same classes each may hold: another question
    rows = place / "classify.tsv"
    single = finetuning.finetune("classify", tmp_path / "several", rows, out=tmp_path / "one", **given)
    assert minibert.load(single).uses[0].settings.problem_type == "single_label_classification"
    tagger = finetuning.finetune("tag", first, place / "tag.conll", out=tmp_path / "tag", **given)
    assert minibert.load(tagger).tasks == ("tag",)


def test_frozen_trains_the_head_alone(place, tmp_path):
    out = tuned(place, "classify", tmp_path / "run", transfer="frozen")
    model, before = minibert.load(out), minibert.load(place / "model")
    own = model.params["embeddings"]["word"]["weight"]
    assert np.array_equal(own, before.params["embeddings"]["word"]["weight"])
    head = before.with_task("classify", labels=["bad", "good"])
    assert not np.array_equal(model.params["classify"]["weight"], head.params["classify"]["weight"])


# ---- What cannot be used ---------------------------------------------------------------------------------------------
def test_what_cannot_be_used_is_one_line(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "one.tsv").write_text("label\ttext\ngood\tx\ngood\ty\n", encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("label\ttext\ngood\tx\nso-so\ty\n", encoding="utf-8")
    lines = (json.dumps({"context": "x", "choices": [*"abc"[:n]], "label": 0}) for n in (2, 3))
    (tmp_path / "choices.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "one.conll").write_text("x O\n\ny O\n", encoding="utf-8")
    mixed = ({"text": "x", "label": label} for label in ("a", ["b"], ["a"]))
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, mixed)), encoding="utf-8")
    choices, model, train, out = tmp_path / "choices.jsonl", place / "model", place / "classify.tsv", tmp_path / "out"
    cases = {
        "unknown task 'clasify'; did you mean 'classify'": ["clasify", model],
        "is not a directory with a model": ["classify", tmp_path / "none"],
        "every row has the label 'good'": ["classify", model, "--train", tmp_path / "one.tsv", "--held-out", "1"],
        "line 3: label: 'so-so' is no label of the training rows; there are: bad, good":
            ["classify", model, "--train", train, "--dev", tmp_path / "dev.tsv"],
        "rows have 2 and 3 choices": ["choose", model, "--train", choices, "--dev", choices],
        "of which 0 would be held out": ["classify", model, "--train", train, "--held-out", "0.001"],
        "without rows to learn from": ["classify", model, "--dev", train],
        "write COLUMN=NAME": ["classify", model, "--train", train, "--columns", "text"],
        "line 1: the header has no column 'label'": ["regress", model, "--train", place / "regress.tsv"],
        "--seq-length is 4; it must be from 8 to 8,192": ["classify", model, "--train", train, "--seq-length", "4"],
        "--held-out is 0.0; it must be positive": ["classify", model, "--train", train, "--held-out", "0"],
        "every word has the tag 'O'": ["tag", model, "--train", tmp_path / "one.conll", "--held-out", "1"],
        "of some rows the label is a list, of others it is none":
            ["classify", model, "--train", tmp_path / "mixed.jsonl", "--held-out", "1"],
        "there are: full, frozen": ["classify", model, "--train", train, "--transfer", "most"],
        "holds no run to resume": ["classify", model, "--resume"],
    }  # fmt: skip
    for words, args in cases.items():
        code, _, errors = said(monkeypatch, capsys, "finetune", *args, "--out", out)
        assert (code, len(errors)) == (2, 1), (words, errors)
        assert words in errors[0], errors
        assert not out.exists()
    code, _, errors = said(monkeypatch, capsys, "pretrain", "bert+classify", "--out", out)
    assert (code, len(errors), "finetune" in errors[0], out.exists()) == (2, 1, True, False)
    code, _, errors = said(monkeypatch, capsys, "predict", model, text="x\n")
    assert (code, len(errors)) == (2, 1)
    assert "has no head of a task, and one is needed: minibert finetune TASK" in errors[0]


def test_a_run_of_other_rows_or_another_model_is_not_resumed(place, tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.tsv"
    rows.write_text((place / "classify.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    out = tuned(place, "classify", tmp_path / "run", train=rows)
    again = ["finetune", "classify", place / "model", "--out", out]
    code, _, errors = said(monkeypatch, capsys, *again, "--resume", "--steps", "13")
    assert (code, "--steps is 13, but" in errors[-1]) == (2, True)
    code, _, errors = said(monkeypatch, capsys, *again)
    assert (code, "holds a run: continue it with --resume" in errors[-1]) == (2, True)
    before = rows.read_text(encoding="utf-8")
    for changed in (before + "good\tthe fine book\n", before.replace("good\t", "kind\t")):
        rows.write_text(changed, encoding="utf-8")
        code, _, errors = said(monkeypatch, capsys, *again, "--resume")
        assert (code, "the model or the rows of" in errors[-1]) == (2, True)
    record = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**record, "request": {"task": "classify"}}), encoding="utf-8")
    code, _, errors = said(monkeypatch, capsys, *again, "--resume")
    assert (code, "run.json is damaged: 'directory' is missing" in errors[-1]) == (2, True)


def test_lines_of_standard_input(place, tmp_path, monkeypatch, capsys):
    """Blank ones are passed over; columns have the names that are given."""
    out = tuned(place, "classify", tmp_path / "run", steps=1)
    code, lines, _ = said(monkeypatch, capsys, "predict", out, text="fine\n\npoor\n")
    assert (code, len(lines)) == (0, 2)
    row = json.dumps({"text": "id7", "sentence": "fine"}) + "\n"
    code, lines, _ = said(monkeypatch, capsys, "predict", out, "--json", "--columns", "text=sentence", text=row)
    assert (code, json.loads(lines[0])["text"]) == (0, "fine")
    code, _, errors = said(monkeypatch, capsys, "predict", out, "texts.txt")
    assert code == 2
    assert errors[-1].endswith("texts.txt: texts, a line each, are given on standard input: minibert predict DIR < "
                               "FILE")  # fmt: skip
    code, _, errors = said(monkeypatch, capsys, "predict", out, "--columns", "foo=bar", text=row)
    assert (code, len(errors)) == (2, 1)


def test_more_classes_than_a_thousand(place, tmp_path):
    """As many as rows say, saved and loaded again."""
    rows = [{"text": "the fine film", "label": f"class {i}"} for i in range(1100)]
    for name, some in (("train", rows), ("dev", rows[:2])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    given = {**OPTIONS, "steps": 1, "seq_length": 8, "dev": tmp_path / "dev.jsonl", "out": tmp_path / "run"}
    out = finetuning.finetune("classify", place / "model", tmp_path / "train.jsonl", **given)
    assert len(minibert.load(out).uses[0].settings.labels) == 1100


def test_a_class_that_only_rows_held_out_have(place, tmp_path, capsys):
    """Is known where they are of the same file; of a file of their own it is refused. Rows are as long as is read."""
    rows = [{"text": f"the film {word}", "label": word} for word in GOOD * 4] + [{"text": "a book", "label": "rare"}]
    given, files = {**OPTIONS, "steps": 1, "held_out": 1}, [tmp_path / f"{i}.jsonl" for i in range(len(rows))]
    for i, file in enumerate(files):
        file.write_text("\n".join(map(json.dumps, rows[i:] + rows[:i])), encoding="utf-8")
    asked, module = finetuning.Options(held_out=1), families.family("bert")
    apart = [finetuning._parts({"task": "classify", "train": str(file)}, module, asked)[1][0][1] for file in files]
    last = apart.index(rows[-1])
    out = finetuning.finetune("classify", place / "model", files[last], out=tmp_path / "run", **given)
    assert minibert.load(out).uses[0].settings.labels == (*sorted(GOOD), "rare")
    assert "pieces of up to 40 tokens; 1 rows held out" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "dev.jsonl").write_text(json.dumps(rows[-1]), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:-1])), encoding="utf-8")
    with pytest.raises(InputError, match=r"dev.jsonl, line 1: label: 'rare' is no label of the training rows"):
        finetuning.finetune("classify", place / "model", tmp_path / "train.jsonl", dev=tmp_path / "dev.jsonl",
                            out=tmp_path / "other", **given)


def test_several_classes_may_hold(place, tmp_path, monkeypatch, capsys):
    """Labels that are lists, in JSON lines and in cells: F1 over all of them, what is said is a list."""
    rows = [{"text": text, "label": ["good"] * (word in GOOD) + ["short"] * (i % 2)} for i, (word, text) in enumerate(
        (word, f"the {word} film") for word in [*GOOD, *BAD] * 4)]  # fmt: skip
    table = "text\tlabel\n" + "".join(f"{row['text']}\t{json.dumps(row['label'])}\n" for row in rows)
    (tmp_path / "rows.tsv").write_text(table, encoding="utf-8")
    assert [*finetuning.rows.read(tmp_path / "rows.tsv", "classify")] == rows
    given = {**OPTIONS, "steps": 30, "dev": tmp_path / "rows.tsv", "out": tmp_path / "run"}
    out = finetuning.finetune("classify", place / "model", tmp_path / "rows.tsv", **given)
    model, report = minibert.load(out), json.loads((out / "report.json").read_bytes())
    assert model.uses[0].settings.problem_type == "multi_label_classification"
    assert report["measures"]["f1"] > report["constant"]["f1"]
    assert 0 <= report["measures"]["accuracy"] <= 1
    code, (line,), _ = said(monkeypatch, capsys, "predict", out, "--json", text="the fine film\n")
    assert (code, [*json.loads(line)["scores"]], type(json.loads(line)["label"])) == (0, ["good", "short"], list)
    one = {"text": "x", "label": "good"}
    (tmp_path / "one.jsonl").write_text(json.dumps(one), encoding="utf-8")
    files = ["--train", tmp_path / "rows.tsv", "--dev", tmp_path / "one.jsonl", "--out", tmp_path / "no"]
    code, _, errors = said(monkeypatch, capsys, "finetune", "classify", place / "model", *files)
    assert (code, "line 1: label: no list, unlike those of the training rows" in errors[-1]) == (2, True)


def test_measures_of_what_is_said_by_hand():
    """Of a GLUE task with two classes F1 is that of the class 1; several that hold; several values."""
    use, two = uses.of(tasks.made("classify", {})), tasks.made("classify", {"labels": ["0", "1"]})
    right, guess = ([{"label": label} for label in labels] for labels in ("0011", "0001"))
    assert use.measures(two, right, guess)["f1"] == pytest.approx(2 / 3)
    other = tasks.made("classify", {"labels": ["a", "b"], "problem_type": use.SEVERAL})
    sides = [[{"label": label} for label in labels] for labels in ([["a"], ["a", "b"], []], [["a"], ["b"], []])]
    assert use.measures(other, *sides) == {"f1": pytest.approx(2 * 2 / (2 * 2 + 1)), "accuracy": pytest.approx(2 / 3)}
    assert use.constant(other, sides[0] + sides[0][:1], sides[0]) == [{"label": ["a"]}] * 3
    values = tasks.made("regress", {"classes": 2})
    found = use.said(values, {}, [], [{"logits": np.array([1.5, -2.0])}])
    assert found == {"label": [1.5, -2.0], "scores": {"LABEL_0": 1.5, "LABEL_1": -2.0}}
    assert finetuning.rows.measures("glue-mrpc") == ("accuracy", "f1")
    assert finetuning.rows.measures("tsv") == finetuning.rows.measures(None) == ()


def test_a_threshold_under_which_there_is_no_answer():
    """Where it makes F1 highest; of rows that all have an answer none is sought."""
    use, task = uses.of(tasks.made("answer", {})), tasks.made("answer", {"threshold": 1.5})
    rows = [{"answers": [{"text": word}] * bool(word)} for word in ("a", "", "c", "")]
    best = [{"answer": word, "start": 1, "end": 2, "score": score} for word, score in
            (("a", 3.0), ("b", -1.0), ("c", -0.5), ("d", -2.0))]  # fmt: skip
    assert use.tuned(rows, best) == {"threshold": -0.5}
    assert use.tuned(rows[::2], best[::2]) == use.tuned(rows[1::2], best[1::2]) == {}
    found = use.judged(task, best[0]), use.judged(task, {**best[1], "score": 1.5}), use.judged(task, best[2])
    assert [one["answer"] for one in found] == ["a", "b", ""]
    none = use.said(task, {"context": "x"}, [Piece([], {"first": 1, "places": []})],
                    [{"start_logits": np.ones(2), "end_logits": np.ones(2)}])  # fmt: skip
    assert none == {"answer": "", "start": 0, "end": 0, "score": -2.0}


@pytest.mark.parametrize("most", [8, 16, 40])
def test_a_question_leaves_room_for_the_context(tokenizer, most):
    """Half of a row, without its marks, whatever its length; windows still have all of the context."""
    use, context = uses.of(tasks.made("answer", {})), " ".join([*OTHER] * 3)
    for count in (1, 3, 100):
        row = {"question": "what " * count, "context": context}
        pieces = use.pieces(tokenizer, row, most)
        assert max(len(piece.encodings[0]) for piece in pieces) <= most
        assert {piece.about["first"] - 2 for piece in pieces} == {min(count, (most - 3) // 2)}  # [CLS] question [SEP]
        assert {span for piece in pieces for span in piece.about["places"]} == {*tokenizer.spans(context)[1]}


@pytest.mark.parametrize(("family", "task"), [("t5", "classify"), ("bart", "choose")])
def test_what_ends_its_texts_with_a_token_of_their_own_is_measured_before_it_is_trained(family, task):
    """The state of the last end token stands for a row; a drawn example has one."""
    model = minibert.create(family, **families.family(family).PROBE).with_task(task)
    assert sum(held.bytes for held in memory.activations(model, 2, 7)) > 0


# ---- Pieces ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tokenizer(place):
    return minibert.load(place / "model").tokenizer


def test_windows_of_a_context(tokenizer):
    """Every token of the context is in one; they overlap; the answer is asked where a window has all of it."""
    use, task = uses.of(tasks.made("answer", {})), tasks.made("answer", {})
    context = " ".join([*OTHER] * 6)
    row = {"question": "what", "context": context, "answers": [{"text": "film book", "answer_start": 0}]}
    pieces = use.pieces(tokenizer, row, 16)
    places = [piece.about["places"] for piece in pieces]
    assert {span for held in places for span in held} == {*tokenizer.spans(context)[1]}
    assert all(len(piece.encodings[0]) <= 16 for piece in pieces)
    assert all(a[-1] > b[0] for a, b in pairwise(places))
    for piece in pieces:
        first, held = piece.about["first"], piece.about["places"]
        asked = use.target(task, row, piece)
        inside = held[0][0] == 0 and held[-1][1] >= len("film book")
        assert (asked["start_positions"] > 0) == inside
        if inside:
            span = held[asked["start_positions"] - first][0], held[asked["end_positions"] - first][1]
            assert context[slice(*span)].strip() == "film book"
    x = {"start_logits": np.zeros(16), "end_logits": np.zeros(16)}
    x["start_logits"][pieces[1].about["first"]] = x["end_logits"][pieces[1].about["first"] + 1] = 3
    found = use.said(task, row, pieces, [x if i == 1 else {n: np.zeros(16) for n in x} for i in range(len(pieces))])
    start, end = places[1][0][0], places[1][1][1]
    assert (found["answer"], found["score"]) == (context[start:end].strip(), 6.0)
    nothing = use.said(task, row, pieces, [{n: np.eye(16)[0] for n in x}] * len(pieces))
    assert (nothing["answer"], nothing["start"], nothing["end"]) == ("", 0, 0)


def test_first_pieces_of_words(tokenizer):
    """Each word once, at its first piece, over as many windows as it takes."""
    use, task = uses.of(tasks.made("tag", {})), tasks.made("tag", {"labels": ["O", "X"]})
    words = ["the", "film.book", "was", "a", "great.lovely", "it"] * 3
    row = {"tokens": words, "tags": ["X" if word == "film.book" else "O" for word in words]}
    pieces = use.pieces(tokenizer, row, 12)
    assert len(pieces) > 1
    seen = [word for piece in pieces for word in piece.about["words"]]
    assert seen == [*range(len(words))]
    for piece in pieces:
        tags, tokens = use.target(task, row, piece)["labels"], piece.encodings[0].tokens
        assert len(tags) == len(tokens) <= 12
        for word, place in piece.about["words"].items():
            assert words[word].startswith(tokens[place])
            assert tags[place] == (words[word] == "film.book")
        assert sum(tag != -100 for tag in tags) == len(piece.about["words"])
    logits = [{"logits": np.eye(2)[[int(place in {p for w, p in piece.about["words"].items() if w % 6 == 1})
                                    for place in range(len(piece.encodings[0]))]]} for piece in pieces]  # fmt: skip
    assert use.said(task, row, pieces, logits)["tags"] == row["tags"]


def test_words_without_a_piece_go_on_with_what_stands_before():
    use = uses.of(tasks.made("tag", {}))
    row, piece = {"tokens": ["x"] * 5}, Piece([], {"words": {1: 0, 3: 1}})
    logits = [{"logits": np.eye(3)[[0, 2]]}]
    for labels, due in ((["B-A", "I-A", "O"], ["O", "B-A", "I-A", "O", "O"]), (["n", "v", "x"], [*"nnnxx"])):
        assert use.said(tasks.made("tag", {"labels": labels}), row, [piece], logits)["tags"] == due
    nothing = [Piece([], {"words": {}})]
    assert use.said(tasks.made("tag", {"labels": ["n", "v"]}), row, nothing, logits)["tags"] == ["n"] * 5
