"""`minibert pretrain` from text to a directory that loads; interrupted, resumed; unusable input."""

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import cli, data, families, inference, pretraining, training
from minibert.config import from_fields
from minibert.corpus import Files, split
from minibert.errors import InputError
from minibert.families import bert, gpt2
from minibert.pretraining import PRESETS, pretrain
from minibert.tokenizers.byte_level import ByteLevelBPE

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"steps": 30, "batch_size": 4, "seq_length": 16, "vocab_size": 150, "duplicates": 2, "held_out": 0.2,
           "learning_rate": 0.01, "checkpoint_every": 4}
FIELDS = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
          "hidden_dropout_prob": 0.1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twenty documents of twelve sentences, each document about a few words of its own."""
    draw = random.Random(4)
    words = ["".join(draw.choices("abdegiklmnorstu", k=draw.randint(2, 6))) for _ in range(90)]
    documents = []
    for _ in range(20):
        own = draw.sample(words, 12)
        documents.append("\n".join(" ".join(draw.choices(own, k=draw.randint(3, 9))).capitalize() + "."
                                   for _ in range(12)))
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The run that nobody interrupted."""
    return pretrain("bert", [corpus], tmp_path_factory.mktemp("runs") / "whole", fields=FIELDS, **OPTIONS)


def arguments(corpus, out, resume=False):
    args = ["pretrain", "bert", "--out", str(out), "--checkpoint-every", "4"]
    if resume:
        return [*args, "--resume"]
    flags = ((f"--{name.replace('_', '-')}", str(value)) for name, value in OPTIONS.items())
    return [*args, "--corpus", str(corpus), *itertools.chain.from_iterable(flags),
            "--set", *(f"{name}={value}" for name, value in FIELDS.items())]


def started(corpus, out, before=""):
    """The command in a process of its own; before: what that runs first."""
    program = f"import sys; from minibert import cli, training\n{before}\nsys.exit(cli.main(sys.argv[1:]))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments(corpus, out, (out / "run.json").exists())]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)


def outcome(directory):
    """What must not depend on interruptions: weights, vocabulary, figures, and the log but for its clock."""
    log = [{k: v for k, v in entry.items() if k not in ("seconds", "tokens_per_second")}
           for entry in training.read_log(directory / "log.jsonl")]
    return [(directory / name).read_bytes() for name in ("model.safetensors", "vocab.txt", "report.json")], log


# ---- The whole way ---------------------------------------------------------------------------------------------------

def test_the_directory_loads_and_predicts(whole):
    """The result is a published directory with its tokenizer; the run beside it is complete."""
    model = minibert.load(whole)
    assert model.config.hidden_size == 8
    assert model.config.vocab_size == len(model.tokenizer) == 150
    encoding = model.tokenizer.encode("Some words.")
    assert np.isfinite(model.encode([encoding.ids])["last_hidden_state"]).all()
    assert [entry["step"] for entry in training.read_log(whole / "log.jsonl")] == list(range(1, 31))
    assert [path.name for path in training.checkpoints(whole)] == ["00000028", "00000030"]


def test_the_report_compares(whole, capsys):
    """MLM loss beside the unigram entropy, NSP accuracy beside its majority class and lower bound."""
    report = json.loads((whole / "report.json").read_text())
    assert set(report["terms"]) == set(report["accuracies"]) == {"masked_lm", "next_sentence"}
    assert 0 < report["unigram"]["entropy"] <= report["unigram"]["cross_entropy"]
    assert 0.5 <= report["majority"]["next_sentence"] < 1
    assert report["lower_bound"]["next_sentence"] < report["accuracies"]["next_sentence"]
    pretrain("bert", out=whole, resume=True)
    said = capsys.readouterr().out
    assert f"masked lm loss {report['terms']['masked_lm']:.3f}" in said
    assert f"unigram entropy of that text, {report['unigram']['entropy']:.3f}" in said
    assert "majority class" in said


def test_the_same_seed_gives_the_same_bits(whole, corpus, tmp_path):
    """Whatever the threads; and another seed gives others."""
    again = pretrain("bert", [corpus], tmp_path / "again", fields=FIELDS, threads=3, **OPTIONS)
    assert outcome(again) == outcome(whole)
    other = pretrain("bert", [corpus], tmp_path / "other", fields=FIELDS, seed=1, **OPTIONS)
    assert outcome(other) != outcome(whole)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_rows_of_like_length_share_a_micro_batch(accumulate, corpus, tmp_path, monkeypatch):
    """The step's rows, each once and no longer than the next: every micro-batch is as wide as its longest."""
    steps = []

    def fit(model, plan, run, batches, **_):
        steps.extend((plan, batches(step)) for step in range(3))
        raise RuntimeError

    made, rows = data.made, {}
    monkeypatch.setattr(data, "made", lambda *a: rows.setdefault(a[2], made(*a)))
    monkeypatch.setattr(training, "fit", fit)
    options = {**OPTIONS, "batch_size": 12, "accumulate": accumulate, "format": "sentence-pair", "masking": "static",
               "seq_length": 64, "vocab_size": 300}
    with pytest.raises(RuntimeError):
        pretrain("roberta", [corpus], tmp_path / "run", fields=FIELDS, **options)
    for step, (plan, parts) in enumerate(steps):
        assert len(parts) == accumulate
        lengths = [part["input_mask"].sum(axis=1) for part in parts]
        assert (np.diff(np.concatenate(lengths)) >= 0).all()
        assert [part["input_ids"].shape for part in parts] == [(12 // accumulate, found.max()) for found in lengths]
        chosen = rows["train"][training.order(step, 12, len(rows["train"]), plan.seed)]
        served = np.concatenate([part["masked_lm_ids"] for part in parts])
        assert sorted(served.tolist()) == sorted(chosen["masked_lm_ids"].tolist())
        assert len(set(np.concatenate(lengths).tolist())) > 2


def test_a_run_goes_on_from_a_model(whole, corpus, tmp_path, monkeypatch, capsys):
    """Where the model stood, with its vocabulary and sizes; stopped and resumed it ends with the same bits."""
    text = tmp_path / "other.txt"
    text.write_text("\n\n".join(corpus.read_text("utf-8").split("\n\n")[:6]), encoding="utf-8")
    given = {"start": whole, **OPTIONS, "steps": 6, "vocab_size": 9}
    on = pretrain("bert", [text], tmp_path / "on", **given)
    assert (on / "vocab.txt").read_bytes() == (whole / "vocab.txt").read_bytes()
    assert minibert.load(on).config == minibert.load(whole).config
    assert re.search(r"start +bert: [\d,]+ parameters taken over, 0 new", capsys.readouterr().out)
    fresh = pretrain("bert", [text], tmp_path / "fresh", fields=FIELDS, vocabulary=whole, **{**OPTIONS, "steps": 6})
    first, anew = (training.read_log(run / "log.jsonl")[0]["loss"] for run in (on, fresh))
    assert first < anew - 0.3
    save = training.save_checkpoint

    def stopped(*given):
        save(*given)
        raise RuntimeError("stopped")

    monkeypatch.setattr(training, "save_checkpoint", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        pretrain("bert", [text], tmp_path / "parts", **given)
    monkeypatch.undo()
    assert outcome(pretrain("bert", out=tmp_path / "parts", resume=True)) == outcome(on)
    shutil.copytree(whole, moved := tmp_path / "moved")
    pretrain("bert", [text], tmp_path / "short", **{**given, "start": moved})
    shutil.copy(on / "model.safetensors", moved / "model.safetensors")
    with pytest.raises(InputError, match="has changed since the run began"):
        pretrain("bert", out=tmp_path / "short", resume=True)


def test_a_run_goes_on_from_a_model_of_its_kin_alone(whole, corpus, tmp_path, capsys):
    """A head of another shape begins anew; no kin, or another vocabulary, is refused."""
    run = pretrain("structbert", [corpus], tmp_path / "run", start=whole, **{**OPTIONS, "steps": 1})
    assert minibert.load(run).family == "structbert"
    new = sum(a.size for a in minibert.load(run).params["nsp"].values())
    assert f"taken over, {new} new" in capsys.readouterr().out
    with pytest.raises(InputError, match="is bert, no kin to gpt2"):
        pretrain("gpt2", [corpus], tmp_path / "no", start=whole)
    with pytest.raises(InputError, match="has its vocabulary"):
        pretrain("bert", [corpus], tmp_path / "no", start=whole, vocabulary=whole)
    assert not (tmp_path / "no").exists()
    assert cli.main(["pretrain", "bert", "--from", str(tmp_path), "--out", str(tmp_path / "no")]) == 2


def test_a_vocabulary_can_be_reused(whole, corpus, tmp_path):
    out = pretrain("bert", [corpus], tmp_path / "run", fields=FIELDS, vocabulary=whole, **{**OPTIONS, "steps": 2})
    assert (out / "vocab.txt").read_bytes() == (whole / "vocab.txt").read_bytes()


def test_a_config_file_and_set(corpus, tmp_path):
    """--set is stronger than --config; a published file's other keys are passed over."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**FIELDS, "model_type": "bert", "vocab_size": 120, "max_position_embeddings": 40}))
    out = tmp_path / "run"
    options = {**OPTIONS, "steps": 1, "vocab_size": None}
    pretrain("bert", [corpus], out, config=config, fields={"hidden_size": 12}, **options)
    model = minibert.load(out)
    assert (model.config.hidden_size, model.config.vocab_size, model.config.max_position_embeddings) == (12, 120, 40)


def test_a_file_that_is_not_there_is_said_before_the_text_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "_surveyed", lambda request: pytest.fail("the text is read"))
    for family, option in (("bert", "vocabulary"), ("macbert", "similar"), ("bert_wwm", "segmenter")):
        with pytest.raises(InputError, match=r"cannot read .*absent: there is no such file or directory"):
            pretrain(family, out=tmp_path / "run", **{option: str(tmp_path / "absent")})


@pytest.mark.parametrize(("module", "preset"), [(m, name) for m in (bert, gpt2) for name in (*PRESETS, *m.PRESETS)])
def test_presets_make_valid_runs(module, preset):
    """Every preset's options and fields are known and in range, and a caller can't change the preset."""
    options, fields = pretraining._preset(preset, module)
    pretraining.options_of(module, options)
    from_fields(module.Config, fields)
    assert preset in PRESETS or options["learning_rate"] == 0.128 / fields[module.WIDTH]
    fields[module.WIDTH] = 7
    assert pretraining._preset(preset, module)[1][module.WIDTH] != 7


# ---- From left to right ----------------------------------------------------------------------------------------------

RUNNING = {**OPTIONS, "vocab_size": 300, "steps": 8}
NARROW = {"n_embd": 16, "n_layer": 1, "n_head": 2}
END = "<|endoftext|>"


@pytest.fixture(scope="module")
def running(corpus, tmp_path_factory):
    """A run of GPT-2 over text in which its special token is spelt out."""
    text = tmp_path_factory.mktemp("corpus") / "text.txt"
    text.write_text(corpus.read_text(encoding="utf-8").replace(".", f" {END}.", 9), encoding="utf-8")
    return pretrain("gpt2", [text], tmp_path_factory.mktemp("runs") / "run", fields=NARROW, **RUNNING)


def test_running_text_is_learnt_and_judged_by_its_perplexity(running, capsys):
    """A vocabulary with one special token, which the config names; figures that follow from the loss."""
    model, report = minibert.load(running), json.loads((running / "report.json").read_text())
    assert model.tokenizer.specials == {"bos": END, "eos": END, "unk": END}
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (0, 0, None)
    assert model.config.vocab_size == len(model.tokenizer) == 300
    loss, entropy = report["terms"]["next_token"], report["unigram"]["entropy"]
    assert report["perplexities"] == {"next_token": np.exp(loss)}
    assert report["unigram"]["perplexity"] == np.exp(entropy)
    pretrain("gpt2", out=running, resume=True)
    said = capsys.readouterr().out
    perplexity = f"perplexity {np.exp(loss):.1f}, the unigram's {np.exp(entropy):.1f};"
    bits = report["bits_per_character"]["next_token"]
    by_words = report["perplexities_per_word"]["next_token"]
    assert np.log(by_words) / np.log(2) > 3 * bits  # a word is longer than three characters with its blank
    known = f"{bits:.3f} bits a character, perplexity of words {by_words:,.0f}; {perplexity}"
    assert f"entropy of that text, {entropy:.3f}; {known}" in " ".join(said.split())
    assert "no masking" in said


def test_a_perplexity_that_no_number_holds(running, tmp_path, monkeypatch):
    evaluation = training.evaluation
    monkeypatch.setattr(training, "evaluation", lambda *a, **k: {**evaluation(*a, **k), "terms": {"next_token": 800.0}})
    with pytest.raises(InputError, match="held-out figures are not finite"):
        pretrain("gpt2", out=shutil.copytree(running, tmp_path / "run"), resume=True)


def test_sentences_are_joined_by_blanks_where_a_family_says_so(running):
    """The vocabulary is that of whole documents, as their text reads; so are its pieces."""
    request = json.loads((running / "run.json").read_text())["request"]
    texts, _ = split(Files(request["corpus_files"]), RUNNING["held_out"])
    joined = [" ".join(document) for document in texts]
    made, own = (minibert.load(running).tokenizer, {"specials": gpt2.SPECIALS})
    assert ByteLevelBPE.train(joined, 300, **own).tokens == made.tokens
    assert ByteLevelBPE.train([s for document in texts for s in document], 300, **own).tokens != made.tokens
    for text, document in zip(joined, texts, strict=True):
        assert [i for sentence in data.spoken(gpt2, document) for i in made.ids(sentence)] == made.ids(text)
    assert [*data.spoken(bert, ["a b.", "c."])] == ["a b.", "c."]


def test_what_a_left_to_right_model_lacks_is_said(running, capsys):
    """No mask to fill, no token around a text, none to pad with."""
    model = minibert.load(running)
    vectors = inference.sentence_vectors(model, ["Some words of it.", "a"])
    assert np.isfinite(vectors).all()
    alone = inference.sentence_vectors(model, ["a"])
    assert np.abs(vectors[1] - alone[0]).max() < 1e-6  # padding is no part of it
    states = model.encode([model.tokenizer.encode("a").ids])["last_hidden_state"]
    assert np.abs(states[0].mean(0) - alone[0]).max() < 1e-6  # nor is any token's type
    for texts, options, said in ((["a", ""], {}, "empty text"), (["a"], {"pooling": "cls"}, "take 'mean'")):
        with pytest.raises(InputError, match=said):
            inference.sentence_vectors(model, texts, **options)
    with pytest.raises(InputError, match="gpt2 has no head that fills masks"):
        inference.masked_words(model, "a")
    roberta = minibert.create("roberta", vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    roberta.tokenizer = model.tokenizer
    with pytest.raises(InputError, match="no mask token"):
        inference.masked_words(roberta, "a <mask>")
    with pytest.raises(InputError, match="no token to pad with"):
        inference.sentence_vectors(roberta, ["a", "Some words of it."])
    assert np.isfinite(inference.sentence_vectors(roberta, ["a", "b"])).all()


@pytest.mark.parametrize(("content", "args", "said"), [
    ("One short text.\n\nAnother one here.\n", [], "has 16 tokens, fewer than a row of 32: give more text"),
    ("One document only. It has two sentences.\n", [], "hold out"),
    ("a" * 3000, [], "hold out"),
    ("\n\n".join(["a" * 200] * 9), [], "the documents repeat each other"),
    (None, ["--seq-length", 8000], "fewer than a row of 8000"),
    (None, ["--vocab-size", 256], "below the 257 special tokens and bytes"),
    (None, ["--set", "eos_token_id=7"], "'eos_token_id' is 7, but the rows are made with the vocabulary's 0"),
    (None, ["--set", "pad_token_id=7"], "'pad_token_id' is 7, but the vocabulary has no such token"),
    (None, ["--masking", "static"], "gpt2 has no option 'masking'"),
])
def test_text_that_gives_no_rows(content, args, said, corpus, tmp_path, capsys):
    if content is not None:
        corpus = tmp_path / "text.txt"
        corpus.write_text(content, encoding="utf-8")
    args = ["--seq-length", 32, "--vocab-size", 300, *args]
    assert said in refused(capsys, "gpt2", "--corpus", corpus, "--out", tmp_path / "run", *args)
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_without_the_tokens_that_rows_need(running, whole, corpus, tmp_path, capsys):
    for family, place, said in (("bert", running, "no cls token"), ("roberta", running, "no cls token"),
                                ("gpt2", whole, "no end of text token")):
        args = ("--corpus", corpus, "--out", tmp_path / "run", "--vocabulary", place)
        assert said in refused(capsys, family, *args)


def test_a_config_of_another_vocabulary(running, corpus, tmp_path):
    """Its special ids give way to those of the vocabulary that is learnt."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**NARROW, "vocab_size": 300, "bos_token_id": 50256, "eos_token_id": 50256}))
    out = pretrain("gpt2", [corpus], tmp_path / "run", config=config, **{**RUNNING, "steps": 1, "vocab_size": None})
    assert minibert.load(out).config.eos_token_id == 0


def test_default_directories_are_numbered(corpus, tmp_path, monkeypatch):
    """Without --out nothing is overwritten, and --resume takes the newest."""
    monkeypatch.chdir(tmp_path)
    options = {**OPTIONS, "steps": 1}
    assert [str(pretrain("bert", [corpus], fields=FIELDS, **options)) for _ in range(2)] == [
        str(Path("runs", "bert")), str(Path("runs", "bert-2"))]
    assert pretrain("bert", resume=True) == Path("runs", "bert-2")


# ---- Interrupted -----------------------------------------------------------------------------------------------------
# Killed: tests/core/test_runs.py

WAITING = """
show = training.Progress.show
def waiting(progress, step, *text, **made):
    if progress.what == "step" and step == 3:
        print("step 3", flush=True)
        sys.stdin.read()
    show(progress, step, *text, **made)
training.Progress.show = waiting
"""


@pytest.mark.skipif(os.name == "nt", reason="a console's Ctrl-C can't be sent to one process on Windows")
def test_ctrl_c(whole, corpus, tmp_path):
    """Exit code 130, one line that says how to go on, and the same bits when one does."""
    out = tmp_path / "run"
    process = started(corpus, out, WAITING)
    assert "step 3\n" in iter(process.stdout.readline, ""), process.communicate()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130, error
    last = error.splitlines()[-1]
    assert "stopped after step 3 of 30" in last
    assert f"continue with: minibert pretrain bert --out {out} --resume" in last
    assert len(training.read_log(out / "log.jsonl")) == 3
    assert training.checkpoints(out)[-1].name == "00000003"
    process = started(corpus, out)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert outcome(out) == outcome(whole)


@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_data_of_several_shards(masking, corpus, tmp_path, monkeypatch):
    """Killed in training, its data damaged: the bits of a run that nobody disturbed, whose data are gone at its end."""
    monkeypatch.setattr(data, "SHARD", 1500)
    options = {**OPTIONS, "steps": 8, "masking": masking}
    whole = pretrain("bert", [corpus], tmp_path / "whole", fields=FIELDS, **options)
    assert not (whole / "data").exists()
    fit, out = training.fit, tmp_path / "run"

    def cut(model, plan, run, batches, **_):
        for step in range(4):
            batches(step)
        raise RuntimeError("killed")

    monkeypatch.setattr(training, "fit", cut)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain("bert", [corpus], out, fields=FIELDS, **options)
    monkeypatch.setattr(training, "fit", fit)
    shards = sorted((out / "data").iterdir())
    assert [path.name[:5] for path in shards].count("train") >= 4
    rows = shards[1] / data.ROWS
    rows.write_bytes(rows.read_bytes()[:-100] + b"\xff" * 100)
    shutil.rmtree(shards[2])
    shutil.rmtree(shards[-1])
    pretrain("bert", out=out, resume=True, processes=2)
    assert outcome(out) == outcome(whole)
    assert not (out / "data").exists()
    assert json.loads((out / "run.json").read_bytes())["request"]["masking"] == masking
    assert "processes" not in (out / "run.json").read_text()


# ---- Unusable input --------------------------------------------------------------------------------------------------

def refused(capsys, *args):
    """The one line that the command says with exit code 2."""
    capsys.readouterr()
    assert cli.main(["pretrain", *map(str, args)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len([line for line in error if not line.startswith("step ")]) == 1, error
    return error[-1]


@pytest.mark.parametrize(("args", "said"), [
    (["--steps", 0], "steps is 0"), (["--steps", "many"], "argument --steps"), (["--accumulate", 3], "not a multiple"),
    (["--set", "hidden_sise=8"], "hidden_size"), (["--set", "num_attention_heads=3"], "num_attention_heads"),
    (["--preset", "tinny"], "tiny"), (["--optimizer", "adam"], "optimizer"), (["--seq-length", 4], "seq_length"),
    (["--vocab-size", 20], "vocabulary_size"), (["--config", "missing.json"], "missing.json"),
    (["--vocabulary", "missing"], "missing"), (["--set", "max_position_embeddings=8"], "allows, 8"),
    (["--processes", 0], "processes is 0"), (["--processes", "two"], "argument --processes"),
    (["--held-out", 40], "hold out"), (["--dtype", "float16"], "dtype"), (["--seed", -1], "seed"),
])
def test_wrong_options(args, said, corpus, tmp_path, capsys):
    assert said in refused(capsys, "bert", "--corpus", corpus, "--out", tmp_path / "run", *args)


@pytest.mark.parametrize("family", families.names())
def test_sizes_that_a_family_names(family, tmp_path):
    """Each is planned, or refused in a line; those that are the defaults have no width of their own."""
    for size in families.family(family).PRESETS:
        with pytest.raises(InputError) as said:
            pretrain(family, [tmp_path / "missing"], tmp_path / "run", preset=size)
        assert re.search("cannot read .*missing|the model would have", str(said.value))


def test_cutoffs_beyond_a_small_vocabulary_are_left_out(corpus, tmp_path, capsys):
    """Unless they are asked for."""
    few = {"steps": 1, "batch_size": 2, "seq_length": 16}
    held = minibert.load(pretrain("transformer_xl", [corpus], tmp_path / "run", **few))
    assert held.config.cutoffs == ()
    assert "cutoffs   [] instead of [1000]: the vocabulary has " in capsys.readouterr().out
    with pytest.raises(InputError, match=r"'cutoffs' is \(1000,\); allowed: rising numbers between 0 and vocab_size"):
        pretrain("transformer_xl", [corpus], tmp_path / "other", fields={"cutoffs": [1000]}, **few)


def test_what_a_process_refuses(corpus, tmp_path, capsys):
    """The one line of an error in a process that makes data; what was begun is taken back."""
    (tmp_path / "words.txt").write_text("one two", encoding="utf-8")
    args = [*arguments(corpus, tmp_path / "run")[2:], "--segmenter", tmp_path / "words.txt", "--processes", 2]
    assert "no word of two or more Chinese" in refused(capsys, "wwm", *args)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("content", "said"), [
    (b"", "no text"), (b"\n \n\t\n", "no text"), (b"Good line.\nBad \xff line.\n", "not UTF-8"),
    (b"One document only. It has two sentences.\n", "hold out"), (None, "cannot read")])
def test_unusable_corpus(content, said, tmp_path, capsys):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    assert said in refused(capsys, "bert", "--corpus", path, "--out", tmp_path / "run")


@pytest.mark.parametrize(("family", "args", "said"), [
    ("bert", ["--units", "words"], "bert has no option 'units'"),
    ("albert", ["--units", "word"], "did you mean 'words'"),
    ("electra", ["--units", "words"], "units is 'words'"),
    ("macbert", ["--units", "pieces"], "no option 'units'"),
    ("bert", ["--segmenter", "words.txt"], "no option 'segmenter'"),
    ("wwm", ["--similar", "words.json"], "no option 'similar'"),
    ("macbert", ["--entities", "words.txt"], "no option 'entities'"),
    ("albert", ["--format", "pair"], "format is 'pair'"),
    ("roberta", ["--set", "next_sentence=true"], "'next_sentence' is True; the rows"),
    ("roberta", ["--format", "segment-pair", "--set", "next_sentence=false"], "in the format segment-pair need True"),
    ("spanbert", ["--set", "max_span=3"], "'max_span' is 3; the rows that are made need 15"),
    ("bert", ["--set", f"pad_token_id={'[' * 100_000}"], "'pad_token_id' is"),
])
def test_options_of_another_family(family, args, said, corpus, tmp_path, capsys):
    """What a family has no use for is refused before anything is made, not passed over."""
    assert said in refused(capsys, family, "--corpus", corpus, "--out", tmp_path / "run", *args)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("family", "args", "content", "said"), [
    ("wwm", ["--units", "entities", "--entities"], "\n", "no entity"),
    ("wwm", ["--units", "entities", "--entities"], "\u706b\u661f\n", "no entity"),
    ("macbert", ["--similar"], "{}", "no word with a similar one that"),
    ("macbert", ["--similar"], '{"": [""], "\u706b": ["\u661f"]}', "no word with a similar one that"),
])
def test_nothing_usable_handed_in(family, args, content, said, corpus, tmp_path, capsys):
    path = tmp_path / "given"
    path.write_text(content, encoding="utf-8")
    assert said in refused(capsys, family, "--corpus", corpus, "--out", tmp_path / "run", *args, path)


def test_files_handed_in_are_found_from_elsewhere(corpus, tmp_path, monkeypatch):
    """A run begun with a relative path is resumed from another directory."""
    options = {**OPTIONS, "steps": 2, "similar": "similar.json"}
    (tmp_path / "similar.json").write_text('{"a": ["b"]}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    out = pretrain("macbert", [corpus], tmp_path / "run", fields=FIELDS, **options)
    before = (out / "report.json").read_bytes()
    (out / "report.json").unlink()
    monkeypatch.chdir(corpus.parent)
    pretrain("macbert", out=out, resume=True)
    assert (out / "report.json").read_bytes() == before


def test_padding_is_the_vocabularys(corpus, tmp_path, capsys):
    said = refused(capsys, "bert", "--corpus", corpus, "--out", tmp_path / "run", "--set", "pad_token_id=50")
    assert "the vocabulary's 0" in said


def test_no_targets_held_out(corpus, tmp_path, capsys):
    """Spans that fill a row have no boundary: the report doesn't call the loss of nothing better than unigrams."""
    options = {**OPTIONS, "steps": 1, "rate": 0.99, "max_predictions": OPTIONS["seq_length"], "lowercase": True}
    pretrain("spanbert", [corpus], tmp_path / "run", fields=FIELDS, **options)
    said = capsys.readouterr().out
    assert "span boundary: no targets" in said
    assert "span boundary loss" not in said


def test_unknown_family_and_option(corpus, tmp_path, capsys):
    assert "unknown family 'brt'" in refused(capsys, "brt", "--corpus", corpus, "--out", tmp_path / "run")
    with pytest.raises(InputError, match="bert has no option 'step'; did you mean 'steps'"):
        pretrain("bert", [corpus], tmp_path / "run", step=3)


@pytest.mark.parametrize("family", ["bert", "spanbert", "macbert", "wwm-ext"])
def test_text_held_out_is_unknown_and_judged(family, corpus, tmp_path, monkeypatch):
    """Every document says a character of its own: the vocabulary knows none of those held out, what is judged all."""
    documents = corpus.read_text(encoding="utf-8").strip().split("\n\n")
    signs = [chr(0x4E00 + n) for n in range(len(documents))]
    signed = (document.replace(".", f" {sign}.") for document, sign in zip(documents, signs, strict=True))
    (tmp_path / "text.txt").write_text("\n\n".join(signed), encoding="utf-8")
    judged, evaluation = [], training.evaluation
    monkeypatch.setattr(training, "evaluation", lambda *a, **k: judged.append(a[1]) or evaluation(*a, **k))
    options = {**OPTIONS, "steps": 1, "vocab_size": 300}
    tokens = minibert.load(pretrain(family, [tmp_path / "text.txt"], tmp_path / "run", fields=FIELDS, **options)
                           ).tokenizer.tokens
    known = set(signs) & set(tokens)
    assert len(known) == 0.8 * len(signs)
    truth = judged[0]["input_ids"].copy()
    rows, slots = np.nonzero(judged[0]["masked_lm_weights"])
    truth[rows, judged[0]["masked_lm_positions"][rows, slots]] = judged[0]["masked_lm_ids"][rows, slots]
    seen = {tokens[i] for i in truth.flat}
    assert "[UNK]" in seen
    assert not known & seen


def test_unwritable_output(corpus, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "bert", "--corpus", corpus, "--out", tmp_path / "file" / "run")
    assert "file" in refused(capsys, "bert", "--corpus", corpus, "--out", tmp_path / "file")


def test_a_run_is_never_overwritten(whole, corpus, tmp_path, capsys):
    before = outcome(whole)
    assert "--resume" in refused(capsys, "bert", "--corpus", corpus, "--out", whole)
    assert outcome(whole) == before
    (tmp_path / "thesis.tex").write_text("")
    assert "not empty" in refused(capsys, "bert", "--corpus", corpus, "--out", tmp_path)


def test_resuming_what_does_not_agree(whole, corpus, tmp_path, capsys):
    """Other options, no run, another corpus: each refused in one line."""
    assert "steps is 31" in refused(capsys, "bert", "--out", whole, "--resume", "--steps", 31)
    assert "seed" in refused(capsys, "bert", "--out", whole, "--resume", "--seed", 1)
    assert "fields" in refused(capsys, "bert", "--out", whole, "--resume", "--set", "hidden_size=16")
    assert "no run" in refused(capsys, "bert", "--out", tmp_path, "--resume")
    for text in ("{}", "[]"):
        (tmp_path / "run.json").write_text(text)
        assert "not the record of a run" in refused(capsys, "bert", "--out", tmp_path, "--resume")
    text = tmp_path / "text.txt"
    text.write_bytes(corpus.read_bytes())
    out = pretrain("bert", [text], tmp_path / "run", fields=FIELDS, **{**OPTIONS, "steps": 1})
    pretrain("bert", [text], out, resume=True, steps=1, fields=FIELDS)  # what agrees may be repeated
    text.write_bytes(corpus.read_bytes() + b"One more sentence.\n")
    assert "has changed" in refused(capsys, "bert", "--out", out, "--resume")


def test_other_instances_are_noticed(whole, tmp_path, capsys):
    """Data that another version of something makes differently can't continue a run's bits."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    run = json.loads((out / "run.json").read_text())
    run["instances_sha256"] = "0" * 64
    (out / "run.json").write_text(json.dumps(run))
    assert "start a new run" in refused(capsys, "bert", "--out", out, "--resume")


def test_divergence_is_said(corpus, tmp_path, capsys):
    """A learning rate far too high ends in one line, not in a model of NaN."""
    args = arguments(corpus, tmp_path / "run")[1:]
    assert "not finite" in refused(capsys, *args, "--learning-rate", "1e30", "--clip-norm", "1e30")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_run_that_cannot_begin_leaves_nothing(corpus, tmp_path):
    """Its directory can be asked for again, corrected; hidden files that were there stay."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".keep").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="vocab"):
        pretrain("bert", [corpus], tmp_path / "run", fields=FIELDS, **{**OPTIONS, "vocab_size": 6})
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".keep"]
    pretrain("bert", [corpus], tmp_path / "run", fields=FIELDS, **{**OPTIONS, "steps": 1})
