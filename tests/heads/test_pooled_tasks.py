"""Heads that pool states themselves, LSTMs under tags, relations between marked parts, two texts beside each other."""

import json
import sys
from io import BytesIO, TextIOWrapper

import numpy as np
import pytest

import minibert
import reference
from minibert import cli, families, finetuning, gradcheck, objective, pooling, tasks, tokenizers, tree, uses
from minibert.errors import InputError
from minibert.heads import classification, lstm_tagging, relation, similarity
from tests.heads.test_tasks import made

RNG = np.random.default_rng(5)
HOW = ("cnn", "lstm", "rcnn")
SEEN = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])


def drawn(shapes):
    return tree.map(lambda shape: 0.7 * RNG.standard_normal(shape), shapes)


def exact(name, loss, backward, args, given):
    """Value and gradients beside the double's, at 50 digits."""
    double = reference.double(name)
    assert max(gradcheck.exact(loss, backward, double, args, given).values()) < gradcheck.EXACT_BAR
    lists = tree.map(lambda a: a.tolist() if isinstance(a, np.ndarray) else a, {**args, **given})
    assert abs(loss(**args, **given)[0] - double(**lists)) < 1e-14


# ---- The heads alone -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", HOW)
def test_a_pooled_head_whole_against_fifty_digits(how):
    """States to loss: the double of the pooling, and that of classification over it."""
    size = {"cnn": {"filters": 2, "windows": (2, 3)}}.get(how, {"hidden": 1, "layers": 1})
    block = {"cnn": "text_convolution", "lstm": "lstm_pooling", "rcnn": "rcnn_pooling"}[how]
    own = drawn(pooling.shapes(how, 2, **size))
    own = own if how == "lstm" else tree.map(abs, own)  # that ReLU lets something through
    head = drawn({"weight": (3, {"cnn": 4, "lstm": 2, "rcnn": 4}[how]), "bias": (3,)})
    labels, problem = {"labels": np.array([2, 0])}, classification.PROBLEMS[0]

    def loss(x, ps, p, *, seen):
        s, c = pooling.pooled(x, ps, how=how, seen=seen)
        value, other = classification.loss(s, p, labels, problem_type=problem)
        return value, (c, other)

    def backward(dy, c):
        ds, g, _ = classification.loss_backward(dy, c[1])
        return *pooling.pooled_backward(ds, c[0]), g

    def double(x, ps, p, *, seen):
        s = reference.double(block)(x, ps, seen=seen)
        return reference.double("classification")(s, p, {"labels": [2, 0]}, problem)

    x = abs(RNG.standard_normal((2, 4, 2)))
    found = gradcheck.exact(loss, backward, double, {"x": x, "ps": own, "p": head}, {"seen": SEEN})
    assert max(found.values()) < gradcheck.EXACT_BAR


def test_padding_is_no_matter_to_tags_behind_lstms():
    x, p = RNG.standard_normal((2, 4, 2)), drawn(lstm_tagging.shapes(width=2, classes=3, units=1))
    longer = np.concatenate([np.where(SEEN[..., None], x, 1e3), np.full((2, 1, 2), 1e3)], 1)
    z = lstm_tagging.predict(longer, p, seen=np.pad(SEEN, ((0, 0), (0, 1))))
    assert np.allclose(z[:, :4][SEEN == 1], lstm_tagging.predict(x, p, seen=SEEN)[SEEN == 1], rtol=0, atol=1e-14)


def test_what_is_asked_of_relations():
    h, p = RNG.standard_normal((2, 4, 3)), drawn(relation.shapes(width=3, classes=3))
    places = {"head_positions": np.array([3, 1]), "tail_positions": np.array([0, 1])}
    none = {"labels": np.array([-100, 1])}
    c = relation.loss(h, p, none, **places)[1]
    assert (relation.count(none), relation.right(c)[1]) == (1.0, 1)
    assert np.array_equal(relation.predict(h, p, **places)[1], c["loss"]["logits"][1])


@pytest.mark.parametrize("by", similarity.WAYS[:2])  # the third is among `gradcheck.examples`
def test_likeness_against_fifty_digits(by):
    s, labels = RNG.standard_normal((3, 2, 3)), {"labels": np.array([0.0, 1.0, 0.3])}
    s[0, 1] = s[0, 0] + 0.3 * s[0, 1]  # a pair that is alike, and should not be
    given = {"labels": labels, "by": by, "margin": 0.5, "p": similarity.shapes(width=3, by=by, slices=2)}
    exact("similarity", similarity.loss, lambda dy, c: similarity.loss_backward(dy, c)[0], {"s": s}, given)


def test_cosines_by_hand():
    """Of parallel, opposite and right-angled vectors, and of one that is 0."""
    u = np.array([[1.0, 2.0], [1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    v = np.array([[2.0, 4.0], [0.0, 2.0], [-3.0, -4.0], [1.0, 1.0]])
    y, c = pooling.cosine(u, v)
    assert np.allclose(y, [1, 0, -1, 0], rtol=0, atol=1e-15)
    du, dv = pooling.cosine_backward(np.ones(4), c)
    assert np.allclose(du, [[0, 0], [0, 1], [0, 0], [0, 0]], rtol=0, atol=1e-15)
    assert np.allclose(dv, [[0, 0], [0.5, 0], [0, 0], [0, 0]], rtol=0, atol=1e-15)


def test_the_margin_of_a_contrastive_loss():
    """By hand: alike with y 1, far enough apart with y 0 costs nothing; a pair within the margin its half square."""
    e = np.eye(2)
    s = np.stack([np.stack([e[0], e[0]]), np.stack([e[0], e[1]]), np.stack([e[0], e[0]])])
    value, c = similarity.loss(s, {}, {"labels": np.array([1, 0, 0])}, by="contrastive", margin=0.5)
    assert value == pytest.approx(0.5 * 0.25 / 3)
    assert similarity.predict(s, {}, by="contrastive").tolist() == [1, 0, 1]
    dx = similarity.loss_backward(np.ones(()), c)[0]
    assert not dx[:2].any()
    assert similarity.right(c) is None


# ---- Any family ------------------------------------------------------------------------------------------------------
MEET = [("roberta", {"classify_cnn": {"classes": 3}}), ("gpt2", {"classify_lstm": {"classes": 3}}),
        ("bert", {"classify_rcnn": {"classes": 2, "size": 3}}), ("gpt2", {"regress": {"pooling": "layers"}}),
        ("t5", {"classify": {"pooling": "attention"}}), ("bert", {"tag_lstm": {"classes": 3}}),
        ("electra", {"relate": {"classes": 3}}), ("albert", {"similar": {"by": "tensor"}}),
        ("roberta", {"similar": {"by": "contrastive", "pooling": ""}}),
        ("awd_lstm", {"classify_ulmfit": {"size": 3, "dropout": 0.2}}), ("bert", {"classify": {"pooling": "concat"}}),
        ("bert", {"tag": {}, "relate": {}, "classify": {"pooling": "max"}})]  # fmt: skip


@pytest.mark.parametrize(("family", "given"), MEET)
def test_whole_gradients_by_finite_differences(family, given, tmp_path):
    """Dropout drawn; every tensor has a gradient, and is loaded again as it was saved."""
    model, batch = made(family, given)
    checked, network, config = model.checked(batch), model.network, model.config
    gradient = model.loss_backward(model.loss(batch)[1])
    assert tree.map(np.shape, gradient) == tree.map(np.shape, model.params)
    none = ("key.bias", *pooling.FOLLOWED)
    assert all(np.any(leaf) for path, leaf in tree.items(gradient) if not path.endswith(none))

    def loss(p):
        return objective.loss(network, p, config, checked)[0]

    found = gradcheck.directional(loss, model.params, gradient, np.random.default_rng(1), 1)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR
    model.save(tmp_path / "model")
    again = minibert.load(tmp_path / "model")
    assert again.uses == model.uses
    inputs = {name: array for name, array in batch.items() if name != "dropout"}
    for name, array in model.predict(inputs).items():
        assert np.array_equal(array, again.predict(inputs)[name])


def test_padding_is_no_matter_to_what_pools():
    for how in pooling.POOLINGS:
        model, batch = made("bert", {"classify": {"pooling": how}})
        ids, mask = batch["input_ids"], batch["attention_mask"]
        wide = np.pad(ids, ((0, 0), (0, 1)), constant_values=7), np.pad(mask, ((0, 0), (0, 1)))
        short, long = (model.predict({"input_ids": i, "attention_mask": m})["logits"] for i, m in ((ids, mask), wide))
        assert np.allclose(short, long, rtol=0, atol=1e-13), how


REFUSED = {
    "task 'classify': config field 'pooling' is 'most'; allowed": {"classify": {"pooling": "most"}},
    "tasks that pool a row's states in several ways: 'cnn', 'max'":
        {"classify_cnn": {}, "regress": {"pooling": "max"}},
    "task 'similar' has rows of several texts": {"similar": {}, "classify": {}},
    "config field 'by' is 'dot'; allowed: cosine": {"similar": {"by": "dot"}},
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_is_refused(words):
    with pytest.raises(InputError) as refused:
        minibert.create("bert", tasks=REFUSED[words], **families.family("bert").PROBE)
    assert words in str(refused.value)


def test_places_of_marks_are_asked_for_and_in_range():
    model, batch = made("bert", {"relate": {}})
    with pytest.raises(InputError, match="lacks 'head_positions'"):
        model.predict({"input_ids": batch["input_ids"]})
    with pytest.raises(InputError, match=r"tail_positions\[0\] is 99"):
        model.loss({**batch, "tail_positions": [99, 0, 0]})


# ---- Rows ------------------------------------------------------------------------------------------------------------
SIZES = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
         "max_position_embeddings": 40, "initializer_range": 0.3}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small model, and rows of relations and of pairs that a word decides."""
    folder = tmp_path_factory.mktemp("pooled")
    words, rng = "ann ulm bob rome was born in lives near the fine poor film", np.random.default_rng(0)
    learnt = tokenizers.tokenizer("wordpiece").train([words] * 3, 60, lowercase=True)
    model = minibert.create("bert", **SIZES, vocab_size=len(learnt), pad_token_id=learnt.pad_id)
    model.tokenizer = learnt
    model.save(folder / "model")
    related, alike = [], []
    for i in range(24):
        one, other = rng.permutation(["ann", "ulm", "bob", "rome"])[:2]
        text = f"{one} {'was born in' if i % 2 else 'lives near'} {other}"
        spans = [[0, len(one)], [len(text) - len(other), len(text)]]
        head, tail = spans if i % 3 else spans[::-1]
        related.append({"text": text, "head": head, "tail": tail, "label": "born" if i % 2 else "near"})
        pair = rng.choice(["fine film", "poor film"], 2)
        alike.append({"text": pair[0], "pair": pair[1], "label": 1 + 4 * int(pair[0] == pair[1])})
    classed = [{"text": row["text"], "label": row["label"]} for row in related]
    for name, some in (("relate", related), ("similar", alike), ("classify", classed)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("task", "more"), [("relate", {}), ("similar", {"by": "contrastive"}), ("classify_cnn", {}),
                                            ("classify", {"pooling": "mean"})])  # fmt: skip
def test_rows_are_learnt(task, more, place, tmp_path):
    """Above the constant answer; what is saved predicts what the report says."""
    rows = place / f"{task.partition('_')[0]}.jsonl"
    options = {"steps": 40, "batch_size": 8, "accumulate": 1, "threads": 1, "learning_rate": 0.01, "dropout_steps": 1}
    out = finetuning.finetune(task, place / "model", rows, dev=rows, out=tmp_path / "run", **options, **more)
    report, model = json.loads((out / "report.json").read_bytes()), minibert.load(out)
    first = next(iter(report["measures"]))
    assert report["measures"][first] > report["constant"][first] + 0.2
    due = [*finetuning.rows.read(rows, tasks.rows_of(task))]
    said = [*uses.answered(model, model.uses[0], (("", row) for row in due), 40)]
    assert uses.of(model.uses[0]).measures(model.uses[0], due, said) == pytest.approx(report["measures"])
    if task == "similar":
        assert all(1 - 1e-4 < row["label"] < 5 + 1e-4 for row in said)


def test_a_choice_that_a_task_has_not_is_refused(place, tmp_path):
    for task, more, words in (("answer", {"pooling": "max"}, "--pooling: answer has no such choice"),
                              ("classify", {"by": "tensor"}, "--by: classify has no such choice")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            finetuning._given(task, finetuning.Options(**more))


def test_marks_stand_around_both_parts(place):
    """Whichever is first, also one within the other; of a long text what is around them; too far apart is an error."""
    use, tokenizer = uses.of(tasks.made("relate", {})), minibert.load(place / "model").tokenizer
    row = {"text": "ann was born in ulm", "head": [16, 19], "tail": [0, 3]}
    text, opened = use.marked(row)
    assert (text, text[opened["head"]], text[opened["tail"]]) == (" # ann #  was born in  @ ulm @ ", "@", "#")
    text, opened = use.marked({"text": "the fine film", "head": [0, 13], "tail": [4, 8]})
    assert text == " @ the  # fine #  film @ "
    assert (text[opened["head"]], text[opened["tail"]]) == ("@", "#")
    (piece,) = use.pieces(tokenizer, row, 40)
    tokens = piece.encodings[0].tokens
    assert [tokens[piece.about[name] + 1] for name in ("head", "tail")] == ["ulm", "ann"]
    long = {"text": "the film " * 20 + "ann was born in ulm" + " the film" * 20, "head": [180, 183], "tail": [196, 199]}
    (piece,) = use.pieces(tokenizer, long, 16)
    tokens = piece.encodings[0].tokens
    assert len(tokens) == 16
    assert [tokens[piece.about[name] + 1] for name in ("head", "tail")] == ["ann", "ulm"]
    with pytest.raises(InputError, match="head and tail stand 7 tokens from each other, and 6 are read"):
        use.pieces(tokenizer, long, 8)


def test_a_row_that_cannot_be_read_is_named(place, tmp_path, monkeypatch, capsys):
    out = finetuning.finetune("relate", place / "model", train=place / "relate.jsonl", out=tmp_path / "run", steps=1)
    far = f"ann {'was ' * 60}ulm"
    rows = [{"text": "ann was ulm", "head": [0, 3], "tail": [8, 11]},
            {"text": far, "head": [0, 3], "tail": [len(far) - 3, len(far)]}]  # fmt: skip
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(lines.encode()), encoding="utf-8"))
    for args, where in (([str(tmp_path / "rows.jsonl")], "rows.jsonl"), ([], "standard input")):
        assert cli.main(["predict", str(out), *args]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert f"{where}, line 2: head and tail stand 123 tokens from each other" in errors[-1]
