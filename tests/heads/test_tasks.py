"""Heads of tasks over any family: their losses and gradients, what they are called, what is refused."""

import json

import numpy as np
import pytest

import minibert
import reference
from minibert import batches, families, gradcheck, objective, summaries, tasks, training, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.golden import case as files
from minibert.golden import checking, make
from minibert.heads import choice, classification, crf, span_answer, tagging
from tests.toys import toy_rnn, toy_vit

B, T, D = 3, 4, 5
PROBLEMS = classification.PROBLEMS


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(families, "_registered", {"toy_vit": toy_vit, "toy_rnn": toy_rnn})


def made(family, given, seed=0):
    """A model with tasks at its family's PROBE, weights that hide little, and a batch."""
    rng, module = np.random.default_rng(seed), families.family(family)
    spread = families.own(module, {"initializer_range": 0.4})
    model = minibert.create(family, tasks=given, **{**module.PROBE, **spread, "dtype": "float64"})
    model.params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    batch = batches.example(model.network, model.config, rng)
    if model.network.summary(model.config).at == "end":
        batch["input_ids"][..., 2] = model.config.eos_token_id
    return model, batch


# ---- The heads alone -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("problem", PROBLEMS[1:])
def test_other_losses_of_classification_against_fifty_digits(problem):
    """The first is among `gradcheck.examples`, as are the other heads."""
    rng = np.random.default_rng(1)
    p, s = {"weight": rng.standard_normal((2, D)), "bias": rng.standard_normal(2)}, rng.standard_normal((B, D))
    labels = {"multi_label_classification": rng.integers(0, 2, (B, 2)), "regression": rng.standard_normal((B, 2))}
    given = {"labels": {"labels": labels[problem].astype(float)}, "problem_type": problem}
    ours, args = classification.loss, {"s": s, "p": p}
    double = reference.double("classification")
    found = gradcheck.exact(ours, lambda dy, c: classification.loss_backward(dy, c)[:2], double, args, given)
    assert max(found.values()) < gradcheck.EXACT_BAR
    lists = tree.map(lambda a: a.tolist() if isinstance(a, np.ndarray) else a, {**args, **given})
    assert abs(ours(**args, **given)[0] - double(**lists)) < 1e-14


def test_what_is_right_and_what_is_counted():
    """By hand: two of three rows; whole rows of bits; asked tokens; both ends."""
    eye = {"weight": np.eye(2), "bias": np.zeros(2)}
    z = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0]])
    asked = {"labels": np.array([0, 1, -100])}
    right, counted, held = classification.right(classification.loss(z, eye, asked, problem_type=PROBLEMS[0])[1])
    assert (right, counted, held.tolist(), classification.count(asked)) == (2, 2, [1, 1], 2.0)
    bits = {"labels": np.array([[1, 1], [0, 1], [1, 0]])}
    c = classification.loss(z, eye, bits, problem_type=PROBLEMS[1])[1]
    assert (classification.right(c), classification.count(bits)) == ((3, 3, None), 3.0)
    values = {"labels": np.array([0.5, 1.0, 2.0])}
    one = {"weight": np.ones((1, 2)), "bias": np.zeros(1)}
    value, c = classification.loss(z, one, values, problem_type=PROBLEMS[2])
    assert value == pytest.approx((2.5**2 + 0 + 0) / 3)
    assert (classification.right(c), classification.count(values)) == (None, 3.0)
    tags = {"labels": np.array([[0, -100, 1]])}
    right, counted, _ = tagging.right(tagging.loss(z[None], eye, tags)[1])
    assert (right, counted, tagging.count(tags)) == (1, 2, 2.0)
    chain = {name: np.zeros((2,) * (1 + (name == "transitions"))) for name in crf.shapes(width=2, classes=2)["crf"]}
    chain["transitions"][0, 0] = 9.0  # of tokens 0 and 2, whose largest logits say 0, 0 in the first row, 1, 0 behind
    rows, tags = np.stack([z, z[[1, 0, 2]]]), {"labels": np.array([[0, -100, 0], [1, -100, 0]])}
    c = crf.loss(rows, {"classifier": eye, "crf": chain}, tags)[1]
    right, counted, held = crf.right(c)
    assert (right, counted, held.tolist(), crf.count(tags)) == (3, 4, [3, 1], 4.0)
    found = crf.decode(crf.predict(rows, {"classifier": eye}), {"crf": chain}, np.array([[1, 0, 1]] * 2))
    assert found.tolist() == [[0, -1, 0], [0, -1, 0]]
    ends = {"start_positions": np.array([0, 0]), "end_positions": np.array([0, 1])}
    c = span_answer.loss(np.stack([z, z[::-1]]), eye, ends)[1]  # the starts' logits 2, 0, 3; the ends' 1, 1, -1
    assert (span_answer.right(c)[:2], span_answer.count(ends)) == ((1, 2), 2.0)
    texts = {"labels": np.array([2, 0])}
    right, counted, held = choice.right(choice.loss(np.stack([z, z]), {**one}, texts)[1])
    assert (right, counted, held.tolist(), choice.count(texts)) == (1, 2, [1, 0, 1], 2.0)


# ---- Any family ------------------------------------------------------------------------------------------------------
ONE = {"classify": {"classify": {"classes": 3}}, "regress": {"regress": {}}, "tag": {"tag": {"classes": 4}},
       "answer": {"answer": {}}, "choose": {"choose": {}}, "tag_crf": {"tag_crf": {"classes": 3}},
       "three": {"classify": {"classes": 3}, "tag": {"classes": 2}, "answer": {}}}  # fmt: skip
# an encoder with a layer over its summary, a decoder, one text into another, two networks, pixels, a recurrent one;
# each head once over most, and every head over one
MEET = [("roberta", "classify"), ("roberta", "choose"), ("electra", "choose"), ("gpt2", "classify"), ("gpt2", "tag"),
        ("t5", "regress"), ("bert", "tag_crf"), ("bert", "three"), ("toy_vit", "classify"),
        ("toy_rnn", "classify")]  # fmt: skip


@pytest.mark.parametrize(("family", "name"), MEET)
def test_whole_gradients_by_finite_differences(family, name):
    """Dropout drawn; every tensor has a gradient, of its own shape."""
    model, batch = made(family, ONE[name])
    checked, network, config = model.checked(batch), model.network, model.config
    places = network.dropouts(config, batches.dims(network, config, batch))
    assert checked["dropout"].keys() == {name for name, (_, rate) in places.items() if rate}
    cache = model.loss(batch)[1]
    gradient = model.loss_backward(cache)
    assert tree.map(np.shape, gradient) == tree.map(np.shape, model.params)
    own = [*model.tasks, *([tasks.SUMMARY] if tasks.SUMMARY in gradient else [])]
    assert all(np.any(leaf) for part in own for leaf in tree.leaves(gradient[part]) if leaf.shape != (1,))

    def loss(p):
        return objective.loss(network, p, config, checked)[0]

    found = gradcheck.directional(loss, model.params, gradient, np.random.default_rng(1), 2)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR


def test_dropout_of_heads_is_the_batchs_or_none():
    model, batch = made("roberta", ONE["classify"])
    places = batch["dropout"].keys()
    assert {"classifier.dropout", "classifier.dropout@1"} <= places
    with_it, without = model.loss(batch)[0], model.loss({**batch, "dropout": {}})[0]
    assert with_it != without
    off = {name: np.ones_like(keep) for name, keep in batch["dropout"].items() if name.startswith("classifier")}
    rate = model.config.hidden_dropout_prob
    logits = model.predict(batch)["logits"]
    kept = objective.loss(model.network, model.params, model.config, {**model.checked(batch), "dropout": off})[1]
    summary = np.tanh(kept["encode"]["summary"]["dense"]["x"] @ model.params["summary"]["weight"].T
                      + model.params["summary"]["bias"]) / (1 - rate)  # fmt: skip
    head = model.params["classify"]
    assert np.allclose(kept["classify"]["loss"]["logits"], summary @ head["weight"].T + head["bias"], atol=1e-13)
    assert not np.allclose(kept["classify"]["loss"]["logits"], logits)


@pytest.mark.parametrize("name", ["classify", "regress", "tag", "tag_crf", "answer", "choose"])
def test_micro_batches_add_up_to_the_large_one(name):
    model, batch = made("bert", ONE[name])
    batch.pop("dropout")
    if name == "answer":  # whose softmax is over the padding beside a row, too
        batch.pop("attention_mask")
    parts = [batches.taken(model.network, model.config, batch, rows) for rows in (np.array([0]), np.array([1, 2]))]
    whole, gradient = training.gradient(model, [batch])
    cut, added = training.gradient(model, parts)
    assert abs(whole["loss"] - cut["loss"]) < 1e-12
    for path, array in tree.items(gradient):
        assert np.allclose(array, tree.get(added, path), rtol=0, atol=1e-12), path
    assert training.evaluation(model, batch, batch_size=2)["loss"] == pytest.approx(whole["loss"], abs=1e-12)


def test_predictions_are_the_losss_logits():
    for name, logits in (("classify", {"logits": (3, 3)}), ("tag", {"logits": (3, 7, 4)}),
                         ("answer", {"start_logits": (3, 7), "end_logits": (3, 7)}),
                         ("choose", {"logits": (3, 3)})):  # fmt: skip
        model, batch = made("bert", ONE[name])
        batch.pop("dropout")
        found = model.predict(batch)
        assert {key: array.shape for key, array in found.items()} == logits
        c = model.loss(batch)[1][name]["loss"]["logits"]
        assert np.array_equal(c, np.stack([*found.values()], 1) if name == "answer" else found["logits"])
    model, batch = made("bert", ONE["three"])
    assert [*model.predict(batch)] == ["classify_logits", "tag_logits", "answer_start_logits", "answer_end_logits"]
    terms = model.loss({name: batch[name] for name in ("input_ids", "tag_labels")})[1]["terms"]
    assert terms.keys() == {"tag"}


def test_the_token_that_stands_for_a_row():
    """The first; the last that is no padding id; the last of the mask; the last end token."""
    model, _ = made("gpt2", ONE["classify"])
    ids = np.array([[1, 5, 2, 3, 5], [1, 2, 3, 5, 5]])  # 5 is the padding id
    head = model.params["classify"]
    states = model.encode(ids)["last_hidden_state"]
    due = states[[0, 1], [3, 2]] @ head["weight"].T
    assert np.allclose(model.predict({"input_ids": ids})["logits"], due, atol=1e-14)
    mask = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    plain, _ = made("toy_rnn", ONE["classify"])
    states = plain.encode(input_ids=ids, attention_mask=mask)["last_hidden_state"]
    due = states[[0, 1], [1, 4]] @ plain.params["classify"]["weight"].T + plain.params["classify"]["bias"]
    assert np.allclose(plain.predict({"input_ids": ids, "attention_mask": mask})["logits"], due, atol=1e-14)
    model, _ = made("bart", ONE["classify"])
    with pytest.raises(InputError, match=r"input_ids\[1\] has no end token, 4"):
        model.predict({"input_ids": [[1, 4, 2], [1, 2, 3]]})
    one, two = (model.predict({"input_ids": [[4, 1, end, 2]]})["logits"] for end in (4, 3))
    assert not np.allclose(one, two)


# ---- Making one ------------------------------------------------------------------------------------------------------
def test_a_head_over_a_model_that_is_there():
    """The network is copied, heads of pre-training go; the seed decides what is new."""
    given = {"dtype": "float64", **families.family("bert").PROBE}
    model = minibert.create("bert", **given)
    one, two, other = (model.with_task("classify", seed=seed, classes=3) for seed in (0, 0, 1))
    assert (one.tasks, model.tasks, one.left) == (("classify",), (), ())
    assert one.params.keys() == {"embeddings", "encoder", "pooler", "classify"}
    assert one.params["classify"]["weight"].shape == (3, 8)
    for path, array in tree.items(one.params):
        assert np.array_equal(array, tree.get(two.params, path)), path
    assert not np.array_equal(one.params["classify"]["weight"], other.params["classify"]["weight"])
    word = one.params["embeddings"]["word"]["weight"]
    assert np.array_equal(word, model.params["embeddings"]["word"]["weight"])
    assert not np.shares_memory(word, model.params["embeddings"]["word"]["weight"])
    both = one.with_task("tag", classes=2)
    assert both.tasks == ("classify", "tag")
    assert np.array_equal(both.params["classify"]["weight"], one.params["classify"]["weight"])
    model.params.pop("pooler")  # what a task reads and the file lacks is new
    assert "pooler" in model.with_task("classify", classes=2).params
    assert "pooler" not in model.with_task("tag", classes=2).params


def test_of_two_networks_the_discriminator_is_used():
    model = minibert.create("electra", **families.family("electra").PROBE)
    tagger = model.with_task("tag", classes=2)
    assert tagger.config.role == "discriminator"
    assert tagger.params.keys() == {"embeddings", "project", "encoder", "tag"}
    own = model.params["discriminator"]["encoder"][0]["attention"]["query"]["weight"]
    assert np.array_equal(tagger.params["encoder"][0]["attention"]["query"]["weight"], own)


REFUSED = {
    "unknown task 'clasify'; did you mean 'classify'": {"clasify": {}},
    "task 'classify': unknown config field 'clases'; did you mean 'classes'": {"classify": {"clases": 3}},
    "task 'classify': classes is 0; it must be from 1": {"classify": {"classes": 0}},
    "task 'classify': config field 'problem_type' is 'rank'; allowed: single": {"classify": {"problem_type": "rank"}},
    "task 'tag': 2 labels of 3 classes": {"tag": {"classes": 3, "labels": ["a", "b"]}},
    "task 'choose' has rows of several texts: it stands alone": {"choose": {}, "tag": {}},
    "expected a dict of its settings": {"tag": 3},
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_tasks_that_do_not_fit_are_refused(words):
    with pytest.raises(InputError) as refused:
        minibert.create("bert", tasks=REFUSED[words], **families.family("bert").PROBE)
    assert words in str(refused.value)


def test_batches_that_do_not_fit_are_refused():
    model, batch = made("bert", ONE["classify"])
    for change, words in (({"labels": [0, 1, 3]}, r"labels\[2\] is 3: not in \[0, 3\), nor -100"),
                          ({"labels": [0, 1]}, "labels: shape"), ({"labels": None}, "labels"),
                          ({"masked_lm_ids": 1}, "unknown input 'masked_lm_ids'")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            model.loss({**batch, **change})
    several, batch = made("bert", {"classify": {"classes": 3, "problem_type": PROBLEMS[1]}})
    with pytest.raises(InputError, match=r"labels\[0, 1\] is 2: neither 0 nor 1"):
        several.loss({**batch, "labels": [[0, 2, 1]] * 3})
    answering, asked = made("bert", ONE["answer"])
    with pytest.raises(InputError, match=r"end_positions\[1\] is before start_positions\[1\]"):
        answering.loss({**asked, "start_positions": [0, 3, 1], "end_positions": [0, 2, 1]})
    model, batch = made("bert", ONE["classify"])
    with pytest.raises(InputError, match="lacks 'labels'"):
        model.loss({"input_ids": batch["input_ids"]})
    with pytest.raises(InputError, match="has a head for 'classify'"):
        model.with_task("classify")
    bare = minibert.create("bert", **families.family("bert").PROBE)
    with pytest.raises(InputError, match="no head of a task: with_task makes one"):
        bare.predict({"input_ids": [[1]]})
    several, _ = made("bert", ONE["three"])
    with pytest.raises(InputError, match="the batch has labels of no term; there are classify: classify_labels; tag:"):
        several.loss({"input_ids": [[1, 2]]})


# ---- Directories -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("family", "given"), [
    ("bert", {"classify": {"labels": ["good", "bad", "so-so"], "dropout": 0.3}}), ("roberta", ONE["regress"]),
    ("bert", {"classify": {"classes": 1, "problem_type": "regression"}}), ("electra", ONE["choose"]),
    ("gpt2", ONE["tag"]), ("albert", ONE["three"]), ("bart", ONE["answer"]),
    ("roberta", ONE["tag_crf"]),
])  # fmt: skip
def test_a_directory_holds_the_tasks(family, given, tmp_path):
    model, batch = made(family, given)
    model.save(tmp_path)
    again = minibert.load(tmp_path)
    assert (again.uses, again.left) == (model.uses, ())
    assert again.state_dict().keys() == model.state_dict().keys()
    assert again.loss(batch)[0] == model.loss(batch)[0]


def test_a_chain_has_the_names_that_people_give_it():
    """A linear layer and pytorch-crf's module beside the encoder; beside other tasks its own."""
    model, _ = made("bert", ONE["tag_crf"])
    own = {name for name in model.state_dict() if not name.startswith("bert.")}
    chain = {f"crf.{name}" for name in ("start_transitions", "transitions", "end_transitions")}
    assert own == {"classifier.weight", "classifier.bias", *chain}
    both, _ = made("bert", {**ONE["tag_crf"], **ONE["tag"]})
    assert {"tag_crf.crf.transitions", "tag.weight"} <= both.state_dict().keys()


def test_a_class_without_its_head_is_an_encoder(tmp_path):
    """As checkpoints have it that say a class and hold less."""
    minibert.create("bert", **families.family("bert").PROBE).save(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**fields, "architectures": ["BertForTokenClassification"]}), encoding="utf-8")
    assert minibert.load(tmp_path).tasks == ()
    model = minibert.create("bert", tasks={"tag": {"classes": 3}}, **families.family("bert").PROBE)
    model.save(tmp_path)
    fields = json.loads(path.read_text(encoding="utf-8"))
    for change, words in (({"id2label": {"0": "a", "2": "b"}}, "'id2label' is {'0': 'a', '2': 'b'}: expected a name"),
                          ({"id2label": 5}, "'id2label' is 5: expected a name"),
                          ({"id2label": {"0": "a", "1": "b"}}, "'classifier.bias' is (3,), config.json says (2,)"),
                          ({"minibert_tasks": {"tag": {"classes": 9}}}, "config.json says (9,)"),
                          ({"minibert_tasks": ["tag"]}, "expected a dict")):  # fmt: skip
        path.write_text(json.dumps({**fields, **change}), encoding="utf-8")
        with pytest.raises(InputError) as refused:
            minibert.load(tmp_path)
        assert words in str(refused.value)


# ---- Golden cases ----------------------------------------------------------------------------------------------------
def test_a_family_and_its_task_are_checked_as_a_family_is(tmp_path, monkeypatch):
    """A case of "roberta+classify": who reads another token (K02) is told where it shows."""
    case = files.read("tasks/classify")
    assert case.facts["family"] == "roberta+classify"
    with monkeypatch.context() as patch:
        patch.setitem(summaries.PLACES, "first", lambda ids, mask, shape, config: np.ones(shape[0], np.int64))
        wrong = {key: array for key, array in make.computed(case).items() if key in case.entries}
    safetensors.write(tmp_path / "wrong.safetensors", wrong)
    found = checking.report_of("tasks/classify", tmp_path / "wrong.safetensors", seconds=0)
    assert found.diagnosis.first_divergence == "forward/classifier.dense"
    assert minibert.create("bert+tag", **families.family("bert").PROBE).tasks == ("tag",)
    with pytest.raises(InputError, match="unknown task 'clasify'; did you mean 'classify'"):
        families.family("bert+clasify")


@pytest.mark.parametrize(("task", "settings"), [("classify", {"classes": 2}), ("tag", {"classes": 2}), ("choose", {})])
@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_is_a_share(task, settings, rate):
    with pytest.raises(InputError, match="'dropout' is "):
        minibert.create("bert", **families.family("bert").PROBE).with_task(task, **settings, dropout=rate)
