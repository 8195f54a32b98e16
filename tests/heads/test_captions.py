"""Captions: a decoder behind any network's states, from rows to what is written."""

import json

import numpy as np
import pytest
from draws import NOT_DRAWN

import minibert
from minibert import batches, finetuning, tree, uses
from minibert.errors import InputError
from minibert.heads import captioning
from minibert.uses import captioning as use

OPTIONS = {"batch_size": 8, "accumulate": 1, "threads": 1, "learning_rate": 0.01, "checkpoint_every": 400}
SAID = ("a dark one", "a bright one , really", "half")
SEEN = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def drawn(width=8, **sizes):
    rng = np.random.default_rng(1)
    shapes = captioning.shapes(width=width, **{"classes": 5, "longest": 6, **sizes})
    return tree.map(lambda shape: 0.7 * rng.standard_normal(shape), shapes), rng.standard_normal((3, 4, width))


def test_what_is_predicted_is_what_the_loss_reads():
    """Word by word with what is kept, as all words at once; the loss of the likeliest words is that of their logits."""
    p, h = drawn()
    z = captioning.predict(h, p, seen=SEEN)
    words = z.argmax(-1)
    assert z.shape == (3, 6, 5)
    loss, c = captioning.loss(h, p, {"labels": words}, seen=SEEN)
    shares = np.exp(z - z.max(-1, keepdims=True))
    due = -np.log(shares.max(-1) / shares.sum(-1)).mean()
    assert float(loss) == pytest.approx(due, rel=1e-12)
    assert captioning.right(c)[:2] == (18, 18)


def test_states_that_are_not_there_do_not_count():
    p, h = drawn()
    others = np.where(SEEN[..., None], h, 3.0)
    asked = {"labels": np.array([[1, 2, 0], [3, 0, -100], [4, 4, 0]])}
    assert captioning.loss(others, p, asked, seen=SEEN)[0] == captioning.loss(h, p, asked, seen=SEEN)[0]
    assert captioning.loss(others, p, asked)[0] != captioning.loss(h, p, asked)[0]
    assert captioning.count(asked) == 8


def test_heads_divide_the_width():
    assert [captioning._heads(width, 0) for width in (48, 6, 5)] == [4, 2, 1]
    with pytest.raises(InputError, match="parts is 3; it must divide the width of the states, 8"):
        captioning.shapes(width=8, classes=3, parts=3)
    p, h = drawn(longest=2)
    with pytest.raises(InputError, match="but longest is 2"):
        captioning.loss(h, p, {"labels": np.array([[1, 2, 0]] * 3)})


@pytest.mark.parametrize("family", ["vit", "bert", "bart", "audio_bert"])
def test_any_network_is_told_in_words(family):
    """One head, no code for the pair: loss, gradients of network and decoder, and predictions of one size."""
    module = minibert.families.family(family)
    model = minibert.create(family, tasks={"caption": {"classes": 5, "depth": 1}}, dtype="float64", **module.PROBE)
    batch = batches.example(model.network, model.config, np.random.default_rng(0))
    loss, cache = model.loss(batch)
    g = model.loss_backward(cache)
    assert np.isfinite(loss)
    assert g.keys() > {"caption"}
    assert all(np.abs(array).max() > 0 for array in tree.leaves({"c": g["caption"]["embeddings"]["word"], **g}))
    inputs = {name: array for name, array in batch.items() if name not in ("labels", "dropout")}
    assert model.predict(inputs)["logits"].shape == (3, 8, 5)


@pytest.fixture
def files(tmp_path):
    rng, rows = np.random.default_rng(0), []
    light = np.arange(24) % 3
    pictures = (rng.random((24, 8, 8)) * 60 + 95 * light[:, None, None]).astype(np.uint8)
    np.save(tmp_path / "all.npy", pictures)
    for i, kind in enumerate(light):
        rows.append({"picture": "all.npy", "number": i, "caption": f"  {SAID[(0, 2, 1)[kind]]}"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


FIELDS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@NOT_DRAWN
def test_pictures_are_told_in_words(files):
    """Each word for word; what is saved says what the report was made of; a run of the same rows goes on from it."""
    given = {"dev": files / "rows.jsonl", "fields": FIELDS, "steps": 250, **OPTIONS}
    out = finetuning.finetune("caption", "vit", files / "rows.jsonl", out=files / "run", **given)
    report, model = json.loads((out / "report.json").read_bytes()), minibert.load(out)
    assert (report["measures"]["exact_match"], report["constant"]["exact_match"]) == (1, pytest.approx(1 / 3))
    (task,) = model.uses
    assert task.settings.labels == ("</s>", ",", "a", "bright", "dark", "half", "one", "really")
    assert task.settings.longest == 6
    rows = [*minibert.rows.read(files / "rows.jsonl", "caption picture")]
    said = [*uses.answered(model, task, (("", row) for row in rows), 512)]
    assert [one["text"] for one in said] == [" ".join(row["caption"].split()) for row in rows]
    assert all(-1 < one["score"] < 0 for one in said)
    again = finetuning.finetune("caption", out, files / "rows.jsonl", out=files / "again", steps=1, **OPTIONS)
    assert minibert.load(again).uses == model.uses


def test_texts_are_told_in_words(tmp_path):
    rows = [{"text": f"it was {word} {i}", "caption": f"so {word}"} for i, word in enumerate(["dark", "bright"] * 8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given = {"dev": tmp_path / "rows.jsonl", "fields": FIELDS, "steps": 150, **OPTIONS}
    out = finetuning.finetune("caption", "bert", tmp_path / "rows.jsonl", out=tmp_path / "run", **given)
    assert json.loads((out / "report.json").read_bytes())["measures"]["exact_match"] == 1


def test_captions_that_cannot_be_learnt():
    rows = [{"caption": "a b"}, {"caption": "c"}]
    task = minibert.tasks.made("caption", use.settings("caption", rows))
    for caption, said in (("a d", "'d' is no label of the training rows"),
                          ("a b c", "3 words, and the longest of the training rows has 2")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            use.target(task, {"caption": caption}, None)
    assert use.target(task, {"caption": "b a"}, None) == {"labels": [2, 1, 0]}
    with pytest.raises(InputError, match="a caption has the word </s>, which stands for its end"):
        use.settings("caption", [{"caption": "a </s>"}])
    never = np.zeros((2, 4))
    never[:, 1] = 9.0
    assert use.said(task, {}, [], [{"logits": never}])["text"] == "a a"  # no end: as long as it may be
