"""Families from outside the package, of pixels, of word vectors, a recurrent one: what holds for a family holds for
them, by what their files say alone.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import minibert
from minibert import batches, cli, families, gradcheck, layers, objective, pairs, signatures, training, tree
from minibert.errors import InputError
from minibert.objective import Term
from minibert.pretraining import pretrain
from tests import toys
from tests.toys import classes, toy_rnn, toy_vit, toy_word2vec

NAMES = ["toy_rnn", "toy_vit", "toy_word2vec"]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """For these tests alone."""
    monkeypatch.setattr(families, "_registered", {})
    assert toys.register() == NAMES


def created(name: str, seed: int = 0, **given):
    module = families.family(name)
    model = minibert.create(name, seed=seed, **{**module.PROBE, "dtype": "float64", "initializer_range": 0.4, **given})
    return model, batches.example(module, model.config, np.random.default_rng(seed))


def test_they_are_families():
    assert set(NAMES) < set(families.names())
    assert families.family("toy-vit") is toy_vit
    assert families.register(toy_vit) is toy_vit
    with pytest.raises(InputError, match="there is a family 'bert'"):
        families.register(type(families)("elsewhere.bert"))
    with pytest.raises(InputError, match=r"elsewhere.mine is no family: it lacks Config, .*shapes, .*names"):
        families.register(type(families)("elsewhere.mine"))
    half = type(families)("elsewhere.half")
    vars(half).update({name: value for name, value in vars(toy_word2vec).items() if name not in ("__name__", "QUICK")})
    with pytest.raises(InputError, match=r"elsewhere.half is no family: it lacks QUICK$"):
        families.register(half)
    half.QUICK, half.Data = {}, type("Data", (), {"seq_length": 3, "vocab_size": 9, "lowercase": True})
    with pytest.raises(InputError, match=r"elsewhere.half is no family: it lacks Data.duplicates$"):
        families.register(half)
    for wrong, said in ((None, "None is no module"), (type(families)("wwm"), "there is a family 'wwm'")):
        with pytest.raises(InputError, match=said):
            families.register(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_whole_loss(name):
    assert max(gradcheck.family_errors(name).values()) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_as_they_are_declared(name):
    """Every output of `encode` satisfies its spec, in the dimensions of the inputs."""
    model, batch = created(name)
    given = {key: value for key, value in batch.items() if key in model.module.inputs(model.config)}
    out, sizes = model.encode(**given), {**vars(model.config), **batches.dims(model.module, model.config, batch)}
    assert out.keys() == model.module.outputs(model.config).keys()
    for key, text in model.module.outputs(model.config).items():
        signatures.check(key, out[key], signatures.parse(text), sizes)


def test_what_does_not_fit_is_refused_by_name():
    model, batch = created("toy_vit")
    with pytest.raises(InputError, match=r"unknown input 'input_ids'"):
        model.encode(input_ids=[[1, 2]])
    with pytest.raises(InputError, match=r"pixel_values: shape \(3, 2, 5, 6\) does not fit, image_size is 6"):
        model.encode(batch["pixel_values"][:, :, :5])
    with pytest.raises(InputError, match="the batch lacks 'labels'"):
        model.loss({"pixel_values": batch["pixel_values"]})
    with pytest.raises(InputError, match=r"config field 'depths' is 3; allowed: a list"):
        minibert.create("toy_vit", depths=3)
    with pytest.raises(InputError, match=r"config field 'depths\[1\]' is 'x'; allowed: int"):
        minibert.create("toy_vit", depths=[1, "x"])


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_they_are_the_same_model(name, tmp_path):
    model, batch = created(name, dtype="float32")
    model.save(tmp_path)
    again = minibert.load(tmp_path)
    assert (again.family, again.config) == (name, model.config)
    assert again.loss(batch)[0] == model.loss(batch)[0]
    for path, array in tree.items(model.params):
        assert np.array_equal(tree.get(again.params, path), array), path
    names = {published: path for path, published, _ in model.module.names(model.config)}
    assert model.state_dict().keys() == names.keys()


@pytest.mark.parametrize("name", NAMES)
def test_trained_on_batches_of_ones_own(name, tmp_path):
    """The loop knows neither tokens nor masks: the loss falls, and a run taken up again ends with the same bits."""
    model, batch = created(name, dtype="float32")
    plan = training.Plan(steps=40, learning_rate=0.05, checkpoint_every=10, batch_size=len(batch), optimizer="adamw",
                         schedule="linear", accumulate=1)  # fmt: skip
    before = float(model.loss(batch)[0])
    training.fit(model, plan, tmp_path, lambda step: [batch])
    assert float(model.loss(batch)[0]) < 0.7 * before
    logged = training.read_log(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in logged] == list(range(1, 41))
    for checkpoint in (tmp_path / "checkpoints").glob("*40"):
        training.discard(checkpoint)
    again, _ = created(name, dtype="float32")
    training.fit(again, plan, tmp_path, lambda step: [batch])
    for path, array in tree.items(model.params):
        assert np.array_equal(tree.get(again.params, path), array), path


def test_a_state_of_one_vector_writes_on():
    """Greedy and with beams as by reading the whole anew each time, prompts padded on the left as by themselves."""
    model, _ = created("toy_rnn", 3)
    prompts = [[3, 1, 4, 1, 5], [9, 2, 6], [7]]
    padded = np.array([[0] * (5 - len(prompt)) + prompt for prompt in prompts])
    mask = np.arange(5) >= np.array([[5 - len(prompt)] for prompt in prompts])
    for width in (1, 3):
        given = {"max_new_tokens": 6, "num_beams": width}
        together = model.generate(padded, attention_mask=mask, **given)
        for prompt, row in zip(prompts, together, strict=True):
            alone = model.generate([prompt], **given)[0]
            assert row[5 - len(prompt) :].tolist() == alone.tolist()
            if width == 1:
                run = (toy_rnn, model.params, model.config)
                for at in range(len(prompt), len(alone)):
                    logits = objective.predict(*run, {"input_ids": alone[None, :at]}, "next_token", (0, -1))
                    assert logits.argmax() == alone[at]


def test_rows_are_cut_along_the_letters_that_are_ragged():
    """A context's words, whatever they are called; pixels not at all."""
    model, _ = created("toy_word2vec")
    module, config = model.module, model.config
    given = batches.example(module, config, np.random.default_rng(1), {"B": 6, "C": 4})
    sizes = given["context_mask"].sum(1)
    assert batches.lengths(module, config, given)["C"].tolist() == sizes.tolist()
    short = np.flatnonzero(sizes == 2)
    cut = batches.taken(module, config, given, short)
    assert cut["context_ids"].shape == (len(short), 2)
    assert cut["targets"].shape == (len(short), 4)
    assert batches.size(module, config, given) == sizes.sum()
    assert (np.diff(sizes[batches.by_length(module, config, given)]) >= 0).all()
    pixels, picture = created("toy_vit")
    assert batches.lengths(pixels.module, pixels.config, picture) == {}
    assert batches.size(pixels.module, pixels.config, picture) == 3
    rows = batches.taken(pixels.module, pixels.config, picture | {"dropout": np.ones(3)}, np.array([2, 0]))
    assert np.array_equal(rows["pixel_values"], picture["pixel_values"][[2, 0]])


def test_word_vectors_from_text_to_report(tmp_path, capsys):
    """`pretrain` with the data functions and options of the family: better than always saying no; resumed, the same."""
    rng, words = np.random.default_rng(0), [a + b for a in "bdfgklmn" for b in "aeiou"]
    lines = []
    for document in range(60):  # words of a document come from five of forty
        own = words[document % 8 * 5 :][:5]
        lines += ["\n".join(" ".join(rng.choice(own, 8)) + "." for _ in range(6)), ""]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    options = {"vocab_size": 80, "seed": 1, "held_out": 0.3, "window": 3, "drawn": 2}
    run = pretrain("toy_word2vec", [tmp_path / "text.txt"], tmp_path / "run", **options)
    report = json.loads((run / "report.json").read_bytes())
    assert report["lower_bound"]["negative_sampling"] > report["majority"]["negative_sampling"] > 0.6
    assert "negative sampling accuracy" in capsys.readouterr().out
    model = minibert.load(run)
    assert model.config.most == 6
    assert objective.counts(model.module, model.config, {"signs": np.ones((2, 3))}) == {"negative_sampling": 6}
    with pytest.raises(InputError, match="toy_word2vec has no option 'masking'"):
        pretrain("toy_word2vec", [tmp_path / "text.txt"], tmp_path / "other", masking="dynamic")


def test_help_says_what_the_data_functions_of_the_family_take(capsys):
    assert cli.main(["pretrain", "toy_word2vec", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "words on either side; default 2" in " ".join(shown.split())
    assert "--masking" not in shown
    assert cli.main(["pretrain", "toy_vit"]) == 2
    assert "toy_vit is not trained from text" in capsys.readouterr().err
    assert toy_word2vec.Data.__doc__


def test_a_block_s_name_is_taken_once():
    """Traces and mistakes know blocks by their names: a second one would take the place of the first unsaid."""
    def layer(x, p):
        return x, {}

    layer.__module__, layer.__name__ = "elsewhere.mine", "encoder_layer"
    with pytest.raises(ValueError, match=r"minibert\.layers has a pair or block 'encoder_layer': give elsewhere\.mine"):
        pairs.block(layer)
    assert pairs.BLOCKS["encoder_layer"][0] is layers.encoder_layer


def test_a_term_without_parameters_of_its_own_predicts(monkeypatch):
    head = SimpleNamespace(predict=lambda h, p, *, table: h @ table.T, LABELS={})
    monkeypatch.setattr(toy_word2vec, "terms", lambda config: {"word": Term(head, None, "hidden", table="in.weight")})
    model, batch = created("toy_word2vec")
    inputs = {name: batch[name] for name in ("context_ids", "context_mask")}
    logits = objective.predict(toy_word2vec, model.params, model.config, inputs, "word")
    assert np.array_equal(logits, model.encode(**inputs)["hidden"] @ model.params["in"]["weight"].T)


# ---- Terms that a batch may leave out --------------------------------------------------------------------------------
@pytest.fixture
def two_tasks(monkeypatch):
    """The picture's class, and the class of another question: either may be asked."""
    module = type(classes)("others")
    vars(module).update({name: value for name, value in vars(classes).items() if not name.startswith("__")})
    module.LABELS = {"other_labels": "(B)<classes"}
    module.loss = lambda h, p, labels, **given: classes.loss(h, p, {"labels": labels["other_labels"]}, **given)
    module.count = lambda labels: float(len(labels["other_labels"]))
    module.draw = lambda rng, dims, lengths, *, classes, **_: {"other_labels": rng.integers(0, classes, dims["B"])}
    sizes = {"width": 8, "classes": 3}
    terms = {"classification": Term(classes, "classifier", sizes=sizes, optional=True),
             "others": Term(module, "other", sizes=sizes, weight=0.5, optional=True)}  # fmt: skip
    names, own = toy_vit.names, [(f"other.{leaf}", f"other.{leaf}", "identity") for leaf in ("weight", "bias")]
    monkeypatch.setattr(toy_vit, "terms", lambda config: terms)
    monkeypatch.setattr(toy_vit, "names", lambda config: [*names(config), *own])
    return created("toy_vit")


def test_a_batch_asks_the_terms_of_which_it_has_labels(two_tasks):
    """Each alone, both; what is not asked has gradient 0; the terms add up with their weights."""
    model, batch = two_tasks
    both, cache = model.loss(batch)
    whole = model.loss_backward(cache)
    summed, terms = None, {}
    for label, other in (("labels", "other_labels"), ("other_labels", "labels")):
        cache = model.loss({name: value for name, value in batch.items() if name != other})[1]
        part = model.loss_backward(cache)
        assert tree.flatten(part).keys() == tree.flatten(model.params).keys()
        assert not part["classifier" if label == "other_labels" else "other"]["weight"].any()
        summed, terms = part if summed is None else tree.add(summed, part), {**terms, **cache["terms"]}
        assert objective.right(cache).keys() == cache["terms"].keys()
    assert both == terms["classification"] + 0.5 * terms["others"]
    for path, array in tree.items(whole):
        assert np.allclose(array, tree.get(summed, path), rtol=0, atol=1e-14), path
    with pytest.raises(InputError, match="labels of no term; there are classification: labels; others: other_labels"):
        model.loss({"pixel_values": batch["pixel_values"]})


def test_micro_batches_that_ask_different_terms_add_up(two_tasks, tmp_path):
    model, batch = two_tasks
    one = {name: value for name, value in batch.items() if name != "other_labels"}
    other = {name: value for name, value in batch.items() if name != "labels"}
    measured, gradient = training.gradient(model, [one, other, one])
    assert measured["terms"].keys() == {"classification", "others"}
    a, b = (model.loss_backward(model.loss(part)[1]) for part in (one, other))
    for path, array in tree.items(gradient):
        assert np.allclose(array, tree.get(a, path) + tree.get(b, path), rtol=0, atol=1e-14), path
    plan = training.Plan(steps=4, batch_size=3, checkpoint_every=4)
    training.fit(model, plan, tmp_path, lambda step: [one] if step % 2 else [other])
    assert [*training.read_log(tmp_path / "log.jsonl")[1]["terms"]] == ["classification"]


def test_terms_that_share_a_part_or_read_the_layers_add_up(monkeypatch):
    """Two terms with one head's parameters; a third that reads every layer's states (a mean of them)."""
    layered = SimpleNamespace(
        LABELS={"target": "(B,P,hidden_size)"}, BASELINE="none", count=lambda labels: 1.0, shapes=lambda: {},
        loss=lambda h, p, labels, **_: (np.sum(np.mean(h, 0) * labels["target"]), {"h": h, "target": labels["target"]}),
        loss_backward=lambda d, c: ([d * c["target"] / len(c["h"])] * len(c["h"]), {}, None), draw=None, right=None,
    )  # fmt: skip
    sizes = {"width": 8, "classes": 3}
    terms = {"first": Term(classes, "classifier", sizes=sizes), "layers": Term(layered, None, "hidden_states"),
             "second": Term(classes, "classifier", sizes=sizes, weight=0.3)}  # fmt: skip
    monkeypatch.setattr(toy_vit, "terms", lambda config: terms)
    model = minibert.create("toy_vit", **{**toy_vit.PROBE, "dtype": "float64", "initializer_range": 0.4})
    rng = np.random.default_rng(0)
    labels = {"labels": rng.integers(0, 3, 3), "target": rng.normal(size=(3, 5, 8))}
    batch = {**toy_vit.example(rng, model.config), **labels}
    gradient = objective.loss_backward(objective.loss(toy_vit, model.params, model.config, batch)[1])
    found = gradcheck.directional(
        lambda p: objective.loss(toy_vit, p, model.config, batch)[0], model.params, gradient, np.random.default_rng(1)
    )
    assert max(found.values()) < 1e-9


def test_labels_that_two_terms_need_are_needed(monkeypatch):
    """A label of a required and an optional term is required, whichever comes last."""
    for flags in ((False, True), (True, False)):
        terms = {str(i): Term(classes, f"head{i}", optional=flag) for i, flag in enumerate(flags)}
        monkeypatch.setattr(toy_vit, "terms", lambda config, terms=terms: terms)
        assert objective.labels(toy_vit, None) == classes.LABELS


def test_batches_of_trees(monkeypatch):
    """Memories and states have rows, too: counted, taken and measured with the others, whatever comes first."""
    specs = {"mems": "[(B,M,width)]", "state": "?{(B,...)}", **toy_word2vec.inputs(None)}
    monkeypatch.setattr(toy_word2vec, "inputs", lambda config: specs)
    model, batch = created("toy_word2vec")
    mems, state = [np.arange(4 * 2 * 5.0).reshape(4, 2, 5)] * 2, {"cells": [np.arange(12.0).reshape(4, 3)]}
    batch = {"mems": mems, "state": state, **batch}
    batches.specs.cache_clear()
    assert batches.count(batch) == 4
    assert batches.dims(toy_word2vec, model.config, batch)["M"] == 2
    cut = batches.taken(toy_word2vec, model.config, batch, np.array([2, 0]))
    assert np.array_equal(cut["mems"][1], mems[1][[2, 0]])
    assert np.array_equal(cut["state"]["cells"][0], state["cells"][0][[2, 0]])
    assert cut["context_ids"].shape == (2, 2)
    batches.specs.cache_clear()


def test_a_kin_with_an_encode_of_its_own_has_a_step_of_its_own():
    """The step of its kin's network would give other numbers than its encode."""
    same, other = (type(families)(f"elsewhere.{name}") for name in ("same", "other"))
    same.__getattr__ = families.inherited("gpt2")
    exec("from minibert import families\n__getattr__ = families.inherited('gpt2')\n"
         "def encode(p, config, inputs, *, keep='caches'): ...", vars(other))  # fmt: skip
    assert same.step is families.family("gpt2").step
    assert not hasattr(other, "step")
    assert not hasattr(other, "start")
    assert other.terms is families.family("gpt2").terms
