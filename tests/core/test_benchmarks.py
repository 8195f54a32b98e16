"""What the benchmarks rest on and nobody would miss: peers that agree, counts of operations, the memory meter."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from draws import some

import minibert
from minibert import training
from minibert.tokenizers.words import Words

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # whose files import one another
names = ("generation", "growth", "jobs", "measures", "memory", "minilm", "peers", "pretraining", "side_by_side",
         "tasks", "translation")  # fmt: skip
modules = map(importlib.import_module, names)
more = ("chinese", "equal_compute", "grained", "likeness", "translated_features", "word_senses")
chinese, equal_compute, grained, likeness, translated, word_senses = map(importlib.import_module, more)
generation, growth, jobs, measures, memory, minilm, peers, pretraining, side_by_side, tables, translation = modules

SMALL = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "initializer_range": 0.4,  # at 0.02 attention is the same everywhere, whatever its scores
}
ROWS, LENGTH = 3, 15


@pytest.fixture
def model():
    """Random biases and norms too: zeros and ones would hide what is left out."""
    model, rng = jobs.network(0, **SMALL), np.random.default_rng(1)
    for name, array in model.state_dict().items():
        if array.ndim == 1:
            array += rng.standard_normal(array.shape).astype(array.dtype) / 5
            assert np.shares_memory(array, model.state_dict()[name])
    return model


def needed(peer):
    for package in ("jax",) if "JAX" in peer else ("torch", "transformers"):
        pytest.importorskip(package, reason=f"{package}: {peer} of the benchmarks is not compared")


# torch.compile takes too long for a test, and ONNX's export nearly: the benchmark itself compares them before it times
@pytest.mark.parametrize("peer", ["transformers eager", "JAX"])
def test_forward_peers_compute_the_same(model, peer):
    needed(peer)
    ids = jobs.data(model, ROWS, LENGTH, 2)["input_ids"]
    ours = model.encode(ids)["last_hidden_state"]
    jobs.agree(ours, peers.FORWARD[peer](model, ids)(), 1e-5, peer)


@pytest.mark.parametrize("peer", ["transformers eager", "torch, gathering", "JAX, gathering"])
def test_step_peers_take_the_same_steps(model, peer, monkeypatch):
    needed(peer)
    monkeypatch.setattr(peers, "RATE", 0.01)  # so that each step tells
    monkeypatch.setattr(peers, "DECAY", 0.5)
    theirs = peers.STEP[peer](model, jobs.data(model, ROWS, LENGTH, 2))
    monkeypatch.setattr(peers, "STEP", {})
    ours = jobs.step(model, ROWS, LENGTH, 2).runs["minibert"]
    a, b = ([run() for _ in range(4)] for run in (ours, theirs))
    assert a[3] < a[0] - 0.05, "the steps change nothing, so their agreement says nothing"
    jobs.agree(a, b, 1e-4 * a[0], peer)


@pytest.mark.parametrize("targets", [None, 11])
def test_products_are_all_that_a_job_multiplies(model, targets):
    work = list(measures.products(model.config, ROWS, LENGTH, targets))
    c, n = model.config, ROWS * LENGTH
    layer = 2 * n * (4 * c.hidden_size**2 + 2 * c.hidden_size * c.intermediate_size + 2 * LENGTH * c.hidden_size)
    total = c.num_hidden_layers * layer + 2 * ROWS * c.hidden_size**2
    if targets:
        total += 2 * targets * c.hidden_size * (c.hidden_size + c.vocab_size) + 2 * ROWS * c.hidden_size * 2
    assert measures.operations(work) == total * (3 if targets else 1)


def test_torch_counts_the_same_operations(model):
    needed("torch")
    from torch.utils.flop_counter import FlopCounterMode

    batch = jobs.data(model, ROWS, LENGTH, 2)
    for run, targets in (
        (peers.eager(model, batch["input_ids"]), None),
        (peers.gathering_step(model, batch), batch["masked_lm_ids"].size),
    ):
        with FlopCounterMode(display=False) as counter:
            run()
        work = list(measures.products(model.config, ROWS, LENGTH, targets))
        assert counter.get_total_flops() == measures.operations(work)


def test_products_alone_multiply_what_is_listed(model, monkeypatch):
    work = list(measures.products(model.config, ROWS, LENGTH, 11))
    run, counted, product = measures.alone(work), [], np.matmul

    def counting(a, b, out=None):
        counted.append(2 * a.size * b.shape[-1])
        return product(a, b, out=out)

    monkeypatch.setattr(np, "matmul", counting)
    run()
    assert sum(counted) == measures.operations(work)


@pytest.mark.skipif(not measures.CLEAR.exists(), reason="memory is read from Linux's /proc")
def test_the_memory_meter_shows_what_is_touched():
    for _ in range(2):  # what was freed before is seen again
        grown, array = measures.growth(lambda: np.ones(25_000_000))
        assert grown == pytest.approx(200, abs=10)
        del array
    grown, _ = measures.growth(lambda: [np.ones(12_500_000).sum() for _ in range(3)])
    assert grown == pytest.approx(100, abs=10), "one at a time, so the peak is one"
    ours = np.ones(25_000_000)
    assert measures.growth(lambda: ours.sum())[0] == pytest.approx(0, abs=10), "held before, so not grown by"


def test_contestants_are_timed_in_turn(monkeypatch):
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    monkeypatch.setattr(measures, "calls", lambda run: 2 if run is runs["a"] else 3)
    seconds = measures.seconds(runs, 2)
    assert "".join(order) == "aabbb" * 2
    assert {name: len(s) for name, s in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("theirs", "bar", "what"),
    [
        (np.array([1.0, 2.1]), 0.01, "differ by 1.0e-01"),
        (np.array([1.0, np.nan]), 0.01, "differ by nan"),
        (np.array([1.0]), 0.01, "shape"),
        ([1, 3], None, "another output"),
    ],
)
def test_nothing_is_timed_where_outputs_differ(theirs, bar, what, monkeypatch):
    monkeypatch.setattr(measures, "seconds", lambda *_: pytest.fail("timed"))
    ours = [1, 2] if bar is None else np.array([1.0, 2.0])
    with pytest.raises(jobs.Differ, match=what):
        jobs.figures(jobs.Job({"minibert": lambda: ours, "peer": lambda: theirs}, [], bar), 1)


def test_the_second_output_counts_too():
    """A peer whose first loss is right and whose update is wrong."""
    losses = {"minibert": iter([3.0, 2.0]), "peer": iter([3.0, 2.5])}
    runs = {name: (lambda each=each: next(each)) for name, each in losses.items()}
    with pytest.raises(jobs.Differ, match=r"peer: the outputs differ by 5\.0e-01"):
        jobs.figures(jobs.Job(runs, [], 1e-4), 1)


def test_what_is_not_installed_is_named():
    def missing():
        raise ModuleNotFoundError("No module named 'x'", name="x")

    def unfit():
        raise peers.Absent("no C++ compiler is installed")

    runs, absent = jobs.present({"one": missing, "two": unfit, "three": lambda: int})
    assert runs == {"three": int}
    assert absent == ["one: x is not installed", "two: no C++ compiler is installed"]


def test_a_table_of_known_figures():
    ceiling = measures.CEILING
    measured = {
        "seconds": {"minibert": [2.0, 4.0, 3.0], "peer": [1.0, 1.0, 2.0], "products alone": [1.0, 2.0, 1.0],
                    "NumPy's BLAS": [1.0, 1.0, 1.5], "torch": [9.0, 9.0, 9.0]},
        "grown": {"minibert": 12.3, "peer": None},
        "tokens": 600,
        "operations": ceiling // 2,
        "absent": ["other: x is not installed"],
    }  # fmt: skip
    lines = side_by_side.table("job", json.loads(json.dumps(measured)))
    assert [" ".join(line.split()) for line in lines] == [
        "job median s ratio lowest highest MB tokens/s ceiling products",
        "minibert 3.0000 1.00 1.00 1.00 12 200 25% 50%",
        "peer 1.0000 2.00 1.50 4.00 600 50% 100%",
        "products alone 1.0000 2.00 2.00 3.00 50% 100%",
        "other: x is not installed",
    ]


def test_small_jobs_of_text_run(monkeypatch, tmp_path):
    """The same ids as the Rust tokenizer, where that is installed, and instances of 128 tokens at most."""
    (tmp_path / "empty.py").write_text('"""A module."""\n', encoding="utf-8")
    topics = jobs.corpus.default_documents(tmp_path)  # pydoc's, without the library
    monkeypatch.setattr(jobs, "sentences", lambda: tuple(sentence for topic in topics for sentence in topic))
    job = jobs.wordpiece(60_000)
    ours = job.runs["minibert"]()
    for name, run in job.runs.items():
        jobs.agree(ours, run(), None, name)
    assert job.tokens(ours) > 10_000
    assert sum(len(line.encode()) + 1 for line in jobs.passages(60_000)) == pytest.approx(60_000, abs=2_000)
    job = jobs.building(3, 60_000)
    batch = job.runs["minibert"]()
    assert job.tokens(batch) == sum(int((row != 0).sum()) for row in batch["input_ids"])


def test_a_coretype_is_pointed_out():
    about = {"threads": 2, "versions": {"numpy": "2", "jax": None}, "core": "Haswell", "ceilings": {"torch": 9.0}}
    assert len(list(side_by_side.heading({**about, "coretype": None}))) == 2
    *_, line = side_by_side.heading({**about, "coretype": "Haswell"})
    assert line.startswith("OPENBLAS_CORETYPE=Haswell is set")


# ---- growth.py -------------------------------------------------------------------------------------------------------
START = {"rows": 2, "length": 64, "width": 64, "vocabulary": 4096}


def held(**sizes):
    """The least of two: what other threads of the process (a progress bar's) take meanwhile is counted, too."""
    return min(growth.memory(*growth.network(**{**START, **sizes}))[0] for _ in range(2))


@pytest.mark.parametrize("name", some([*growth.SIZES], 2))
def test_bytes_held_are_a_polynomial_of_its_degree(name):
    """Equal steps of a size: the first differences of the bytes are equal, with length the second ones."""
    bytes_ = np.array([held(**{name: START[name] * k}) for k in range(2, 4 + growth.DEGREES[name])])
    differences = np.diff(bytes_, growth.DEGREES[name])
    assert (np.diff(bytes_) > 0).all()
    assert np.ptp(differences) <= growth.TRIFLES * np.diff(bytes_).min()


def curve(seconds, held, sizes=(1, 2, 4, 8, 16)):
    costs = [growth.Cost(seconds(s), held(s), 1, *(growth.products(s, 8, 64, 99), 1.0)) for s in sizes]
    return list(zip(sizes, costs, strict=True))


def test_growth_of_a_planted_fault_is_seen():
    linear, square = (lambda s: 5 + s), (lambda s: 5 + s * s)
    assert list(growth.worse("rows", curve(lambda s: s, linear))) == []
    (line,) = growth.worse("rows", curve(lambda s: s**1.5, linear))
    assert line.startswith("seconds: power 1.50")
    (line,) = growth.worse("rows", curve(lambda s: s, square))
    assert line == "bytes held: 192 more in the last step, allowed 96 after 48 in the one before"


def test_growth_counts_the_products_of_the_benchmark():
    sizes = {"rows": 3, "length": 24, "width": 128, "vocabulary": 77}
    model, batch = growth.network(**sizes)
    work = list(measures.products(model.config, 3, 24, batch["masked_lm_ids"].size))
    assert 2 * growth.products(**sizes) == measures.operations(work)


# ---- Pre-training ----------------------------------------------------------------------------------------------------
def test_a_held_out_loss_is_compared_with_the_guess_without_context():
    import minibert
    from minibert.families import bert

    report = {"terms": {"masked_lm": 5.0, "next_sentence": 0.7}, "unigram": {"entropy": 6.0},
              "classes": {"next_sentence": [0.5, 0.5]}}  # fmt: skip
    found = list(pretraining.guesses(minibert.create("bert", **bert.PROBE), report))
    assert found == [("masked_lm", 5.0, 6.0), ("next_sentence", 0.7, pytest.approx(np.log(2)))]


@pytest.mark.parametrize(("loss", "code"), [(5.0, 0), (6.0, 1)])
def test_a_family_that_has_not_learnt_to_look_at_the_context_fails(loss, code, monkeypatch, capsys):
    found = [("masked_lm", loss, 6.0), ("next_sentence", 9.0, 0.7)]
    monkeypatch.setattr(pretraining, "trained", lambda name, steps: (found, 3.0))
    assert pretraining.main(["--each-kind"]) == code
    assert f"| bert | masked_lm | {loss:.3f} | 6.000 | {6 - loss:.3f} | 3 |" in capsys.readouterr().out
    assert "roberta" not in pretraining.kinds()


# ---- Generation ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("peer", [False, True])
def test_with_a_cache_and_without_the_same_tokens_are_written(peer, monkeypatch, capsys):
    if peer:
        needed("torch")
        needed("transformers")
    else:
        monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    sizes = {"vocab_size": 50, "n_positions": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.4}
    runs = generation.contestants("gpt2", sizes, 20, 2)
    found = [run() for run in runs.values()]
    assert found[0].shape == (2, 36)
    assert all(np.array_equal(found[0], other) for other in found)
    assert ("transformers" in runs) is peer
    assert ("torch is not installed" in capsys.readouterr().out) is not peer


def test_a_text_into_another_is_written_as_by_the_published_class():
    needed("torch")
    needed("transformers")
    sizes = {"vocab_size": 50, "max_position_embeddings": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 2,
             "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
             "init_std": 0.4}  # fmt: skip
    ours, theirs = (run() for run in generation.contestants("bart", sizes, 20, 2).values())
    assert np.array_equal(ours, theirs)


def test_tokens_that_differ_without_the_cache_fail(monkeypatch, capsys):
    ids = {"with the cache": np.zeros((1, 18)), "without": np.ones((1, 18))}
    monkeypatch.setattr(generation, "contestants", lambda *_: {name: lambda name=name: ids[name] for name in ids})
    assert generation.main(["gpt2-tiny", "--tokens", "2"]) == 1
    assert "which DIFFER without the cache" in capsys.readouterr().out


def test_a_dictionary_has_the_word_that_stands_with_another_most_often():
    texts = ("open file", "close file", "open", "the file"), ("Datei öffnen", "Datei schließen", "öffnen", "die Datei")
    pairs = list(zip(*texts, strict=True))
    found = translation.dictionary(pairs)
    assert (found["open"], found["file"], found["the"]) == ("öffnen", "Datei", "die")


def test_what_is_apart_shares_no_text_with_what_is_learnt():
    pairs = [("Perl", "Perl"), ("_Open…", "Ö_ffnen…"), ("Close it", "Schließen"), ("a b c d e", "1 2 3 4 5")]
    found = {name: which.tolist() for name, which in translation.parts([("open", "öffnen")], pairs)}
    assert found == {"all": [True] * 4, "translated": [False, True, True, True], "apart": [False, False, True, True],
                     "sentences": [False, False, False, True]}  # fmt: skip


# ---- Memory ----------------------------------------------------------------------------------------------------------
def test_a_memory_says_what_a_window_of_its_reach_says():
    """Of each token, in float64, and a shorter window something else."""
    sizes = {"vocab_size": 17, "cutoffs": (6,), "d_model": 8, "d_embed": 8, "n_head": 2, "d_head": 3, "d_inner": 11}
    made = minibert.create("transformer_xl", 0, "float64", **sizes, div_val=2, n_layer=2, init_std=0.6)
    ids = np.random.default_rng(0).integers(0, 17, 30)
    (own, _), (short, _), (whole, _) = memory.compared(made, ids, 4, 9, 5).values()
    assert own == pytest.approx(whole, abs=1e-12)
    assert abs(own - short) > 1e-4


# ---- Tasks -----------------------------------------------------------------------------------------------------------
def test_a_fine_tuning_beside_transformers(tmp_path):
    """The same losses, step for step, of a small network in the place of MiniLM."""
    needed("transformers eager")
    learnt = minibert.tokenizers.tokenizer("wordpiece").train(["a good film", "a bad book"] * 3, 40, lowercase=True)
    own = minibert.create("bert", **{**SMALL, "vocab_size": len(learnt)})
    own.tokenizer = learnt
    own.save(tmp_path / "model")
    rows = [{"text": text, "label": label} for text, label in (("a good film", "yes"), ("a bad book", "no")) * 4]
    plan = training.Plan(steps=3, batch_size=4, optimizer="adamw", learning_rate=1e-2, warmup=1, schedule="linear",
                         weight_decay=0.01, clip_norm=1.0)  # fmt: skip
    found = minilm.compared(tmp_path / "model", "classify", rows, plan, 12)
    assert found["difference"] < 1e-12
    assert found["first"] != found["last"]


def test_a_table_of_tasks_names_its_rows():
    """Mean and deviation over the seeds, by hand; rows of known tags; every table's task has rows in a recipe."""
    given = {"constant": {"f1": 0.25}, "rows": 1200}
    reports = [{"measures": {"f1": f, "exact_match": f / 2}, **given} for f in (0.5, 0.7)]
    line = tables.row("pre-trained", reports)
    assert line == "pre-trained         f1 0.600 ± 0.141; exact_match 0.300 ± 0.071; constant 0.250; 1,200 rows"
    train, dev = ([json.dumps({"tags": [*tags]}) for tags in some] for some in (["ab", "b", "c"], ["bc", "a", "bb"]))
    assert tables.parts(train, dev, 2, 2) == (train[:2], [dev[1], dev[2]])
    assert tables.parts(train, dev, 0, 0) == (train, dev)
    assert next(iter(tables.arms("similar", "m", "n"))) == "cosine, as it is"
    page = (Path(__file__).parents[2] / "reference" / "RECIPES.md").read_text(encoding="utf-8")
    assert all(f"`{table.file}`" in page for table in tables.TABLES.values() if table.file)


# ---- Chinese ---------------------------------------------------------------------------------------------------------
def test_a_vocabulary_of_words_takes_none_apart():
    """Words that stand twice, and one unknown token for each other; a sentence of Chinese lines alone is text."""
    known = chinese.of_words(["系统 用户 系统", "用户 文件 ls"], 100)
    assert known.tokens[5:] == ["用户", "系统"]
    measured = chinese.entropies(known, ["系统 用户 系统", "用户 文件 ls"], ["系统 文件 用户 用户"])
    assert (measured["unknown in training"], measured["unknown held out"]) == (2 / 6, 1 / 4)
    assert measured["characters a token"] == 2.0
    assert chinese._lines("列出目录内容，不包括隐藏。再列一次文件。\nls -l /usr/share/doc\n") == [
        "列出目录内容，不包括隐藏。", "再列一次文件。"]  # fmt: skip


def test_both_grains_are_compared_with_fine_tokens_seed_by_seed():
    alone = [{"fine right": 0.5}, {"fine right": 0.6}]
    both = [{"fine right": right, "coarse right": 0.4, "distance": 0.1} for right in (0.6, 0.8)]
    lines = grained.table({"fine tokens alone": alone, "both grains, λ = 1": both})
    assert lines[0] == "| | fine right | coarse right | distance |"
    assert lines[2] == "| fine tokens alone | 0.550 ± 0.071 |  |  |"
    assert lines[3].startswith("| both grains, λ = 1 | 0.700 ± 0.141 (+0.150 ± 0.050) | 0.400 ± 0.000 (-0.150 ± 0.050)")


@pytest.mark.parametrize("name", ["lstm", "awd_lstm", "gpt"])
def test_widths_with_which_families_have_as_many_parameters(name):
    """Within 2 %, in the family's own proportions, and 2 % fewer multiplications in 2 % fewer parameters or so."""
    usual = {field: equal_compute.families.family(name).QUICK[field] for field in equal_compute.widths(name, 600_000)}
    found = equal_compute.widths(name, 600_000)
    assert equal_compute.parameters(name, found) == pytest.approx(600_000, rel=0.02)
    scale = {found[field] / usual[field] for field in usual}
    assert max(scale) / min(scale) < 1.02
    assert equal_compute.multiplications(name, found) < equal_compute.multiplications(name, {})
    with pytest.raises(SystemExit, match="no width has 40 parameters"):
        equal_compute.widths(name, 40)


def test_perplexities_are_of_the_same_pieces_and_those_of_the_report(tmp_path, capsys):
    """Of a run's own rows what its report says; other pieces are refused."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"the {a} of the {b} is not a {c} ." for a in "abcd" for b in "efgh" for c in "ijkl"))
    given = {"corpus_files": [text], "steps": 1, "seed": 0, "seq_length": 16, "batch_size": 2, "threads": 1}
    for run, size, fields in (("gpt2-0", 290, {"n_embd": 8, "n_head": 2}), ("lstm-0", 290, {"nhid": 8}),
                              ("lstm-1", 260, {"nhid": 8})):  # fmt: skip
        own = {"vocab_size": size, "fields": fields, "out": tmp_path / run}
        minibert.pretraining.pretrain(run[:-2], **given, **own)
    capsys.readouterr()
    equal_compute.perplexities(tmp_path, ["gpt2", "lstm"], 1)
    said = capsys.readouterr().out
    due = json.loads((tmp_path / "gpt2-0" / "report.json").read_bytes())["perplexities"]["next_token"]
    carried = json.loads((tmp_path / "lstm-0" / "report.json").read_bytes())["perplexities"]["next_token"]
    assert f"{due:.1f}" in said
    assert f"{carried:.1f}" in said
    shutil.copytree(tmp_path / "gpt2-0", tmp_path / "gpt2-1")
    with pytest.raises(SystemExit, match="other pieces than gpt2"):
        equal_compute.perplexities(tmp_path, ["gpt2", "lstm"], 2)


def test_sentences_of_word_vectors_are_means_of_known_words():
    """An unknown word changes nothing; as created, other draws give other vectors, and one draw the same ones."""
    model = minibert.create("word2vec", 0, vocab_size=8, vector_size=5)
    model.tokenizer = Words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "the", "dog"])
    rows = model.params["embeddings"]["word"]["weight"]
    found = likeness.vectors(model, ["the cat", "the xylophone cat", "nothing here"])
    assert np.allclose(found[:2], rows[[6, 5]].mean(0), atol=1e-7)
    assert not found[2].any()
    one, again, other = (likeness.untrained(model, seed) for seed in (1, 1, 2))
    texts = ["the dog"]
    assert np.array_equal(likeness.vectors(one, texts), likeness.vectors(again, texts))
    assert not np.allclose(likeness.vectors(one, texts), likeness.vectors(other, texts))


def test_figures_of_likeness():
    share, area = likeness.figures(np.array([[0.9, 0.1], [0.2, 0.3], [0.5, 0.5], [0.7, 0.6]]))
    assert share == (1 + 0 + 0.5 + 1) / 4
    assert area == np.mean([(a > b) + 0.5 * (a == b) for a in (0.9, 0.2, 0.5, 0.7) for b in (0.1, 0.3, 0.5, 0.6)])


def test_two_groups_are_told_and_equal_vectors_are_not():
    sense = np.arange(10) // 5
    apart = np.where(sense[:, None] == sense, 0.9, 0.1) + 0.1 * np.eye(10)
    assert word_senses.said(apart) == "within a sense 0.900, across 0.100; nearest of the same sense: 10 of 10"
    assert "nearest of the same sense: 0 of 10" in word_senses.said(1.1 * np.eye(10) + 1 - apart)
    assert word_senses.said(np.ones((10, 10))).endswith("(all are equal)")
    assert all(len(rows) == 10 and all(word in row for row in rows) for word, rows in word_senses.SENTENCES.items())


def test_features_of_cove_beside_its_vectors_alone(tmp_path):
    """Three models over one table: the words', the run's, one with another encoder."""
    model = minibert.create("cove", 0, vocab_size=8, embedding_dim=4, hidden=3, target_dim=4, decoder_dim=6)
    model.tokenizer = Words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "the", "dog"])
    x = minibert.load(translated.words_alone(model, tmp_path / "x"))
    new, again = (minibert.load(translated.new_encoder(model, 5, tmp_path / name)) for name in "ab")
    ids = np.array([[5, 6, 7]])
    due, found, other = (held.encode(ids)["last_hidden_state"] for held in (model, new, x))
    assert np.array_equal(other, due[..., :4])
    assert np.array_equal(found[..., :4], other)
    assert not np.allclose(found[..., 4:], due[..., 4:], atol=1e-3)
    assert np.array_equal(found, again.encode(ids)["last_hidden_state"])
