"""ERNIE of Baidu: the table of tasks, units in stages, the polarity of pairs, dialogue."""

import numpy as np
import pytest
from published import Published, example, probed

import minibert
from minibert import pretraining, tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import ernie

LABELS = {"labels": "masked_lm", "next_sentence_label": "next_sentence"}
TASKS = {"use_task_id": True, "task_type_vocab_size": 4}
PUBLISHED = [
    Published("ernie", "ErnieForPreTraining", labels=LABELS, configs=({"hidden_act": "relu"},)),
    Published("ernie", "ErnieForPreTraining", labels=LABELS, fields=TASKS,
              configs=({"hidden_act": "relu"}, {"hidden_act": "gelu", "tie_word_embeddings": False})),
]  # fmt: skip
PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (290, "a table of tasks, three kinds of units, dialogue as rows or as batches in turn"),
    "tests": (150, "units of three kinds, two formats of rows, batches in turn"),
}
DIRECTORIES = {
    "ErnieForPreTraining": {"pooler", "mlm", "nsp"},
    "ErnieForMaskedLM": {"mlm"},
    "ErnieForNextSentencePrediction": {"pooler", "nsp"},
    "ErnieModel": {"pooler"},
}
VARIANTS = ({"use_task_id": False}, {"use_task_id": True})
PARAMETERS = [({}, ("mlm", "nsp"), 99_866_112), ({"use_task_id": True}, ("mlm", "nsp"), 99_868_416)]
RUNS = [({"units": "entities"}, {}), ({"units": "phrases", "format": "dialogue"}, {"use_task_id": True})]


# ---- The table of tasks ----------------------------------------------------------------------------------------------
def test_with_a_table_of_zeros_it_is_the_model_without_one():
    model, plain = probed("ernie", 2, **TASKS), probed("ernie", 2)
    for path, value in tree.items(plain.params):
        value[...] = tree.get(model.params, path)
    batch = example(model)
    assert model.loss(batch)[0] != plain.loss({k: v for k, v in batch.items() if k != "task_type_ids"})[0]
    model.params["embeddings"]["task_type"]["weight"][...] = 0
    (loss, c), (due, d) = model.loss(batch), plain.loss({k: v for k, v in batch.items() if k != "task_type_ids"})
    assert loss == due
    g, expected = tree.flatten(model.loss_backward(c)), tree.flatten(plain.loss_backward(d))
    assert all(np.array_equal(g[path], expected[path]) for path in expected)


def test_only_rows_of_tasks_that_stand_in_the_batch_learn():
    model = probed("ernie", 2, **TASKS)
    batch = example(model)
    for used in ([1], [0, 3]):
        batch["task_type_ids"] = np.resize(used, batch["input_ids"].shape)
        g = model.loss_backward(model.loss(batch)[1])["embeddings"]["task_type"]["weight"]
        assert {*np.nonzero(np.abs(g).max(1))[0].tolist()} == {*used}
    del batch["task_type_ids"]
    zeros = {**batch, "task_type_ids": np.zeros_like(batch["input_ids"])}
    assert model.loss(batch)[0] == model.loss(zeros)[0]


def test_labels_and_columns_turned_give_the_same_loss():
    model = probed("ernie", 2)
    batch = example(model)
    loss = model.loss(batch)[0]
    turned = {**batch, "next_sentence_labels": 1 - batch["next_sentence_labels"]}
    assert abs(model.loss(turned)[0] - loss) > 1e-3
    for leaf in model.params["nsp"].values():
        leaf[...] = leaf[::-1].copy()
    assert abs(model.loss(turned)[0] - loss) < 1e-13


# ---- Units -----------------------------------------------------------------------------------------------------------
VOCABULARY = Vocabulary(300, 1, 2, 3, 0, np.arange(300) >= 250, (0, 1, 2, 3))


@pytest.mark.parametrize("units", ernie.UNITS)
def test_whole_units_each_by_itself_and_treated_token_by_token(units):
    """Over 100,000 tokens: unions of units, 15 % of the units, 80/10/10 a token, no special token, no id 0."""
    rng = np.random.default_rng(7)
    ids = rng.integers(4, 300, (2000, 64)).astype(np.int32)
    ids[:, 0], ids[:, 30], ids[:, 60], ids[:, 61:] = 1, 2, 2, 0
    ids[:, 5:8] = (10, 11, 12)  # a phrase, or an entity, in every row
    ids[:, 8] = 20
    present = (np.arange(64) < 61) * np.ones((2000, 1), int)
    rows = {"input_ids": ids, "input_mask": present, "segment_ids": 0 * ids, "next_sentence_labels": ids[:, 0]}
    data, known = ernie.Data(units=units), frozenset({(10, 11, 12)})
    made = ernie.corrupt(rows, rng, VOCABULARY, data, known)
    used = made["masked_lm_weights"] > 0
    where = np.zeros(ids.shape, bool)
    where[np.nonzero(used)[0], made["masked_lm_positions"][used]] = True
    assert np.array_equal(ids[where], made["masked_lm_ids"][used])
    assert not np.isin(ids[where], (0, 1, 2)).any()
    now, old = made["input_ids"][where], ids[where]
    assert np.array_equal(made["input_ids"][~where], ids[~where])
    together = where[:, 5] == where[:, 6]
    assert (together & (where[:, 6] == where[:, 7])).all() == (units != "pieces")
    if units != "pieces":
        inside = VOCABULARY.continues[ids][:, 1:] & ~np.isin(ids[:, :-1], (0, 1, 2))
        assert (where[:, 1:] == where[:, :-1])[inside].all()
        mixed = (made["input_ids"][:, 5] == 3) != (made["input_ids"][:, 6] == 3)
        assert mixed[where[:, 5]].mean() > 0.2  # 2 · 0.8 · 0.2 of one draw a token; none of one a unit
    n = len(old)
    for share, due in (((now == 3).mean(), 0.8 + 0.1 / 299), ((now == old).mean(), 0.1 + 0.1 / 299)):
        assert abs(share - due) < 4 * np.sqrt(due * (1 - due) / n), share
    assert not (now == 0).any()
    rate = where[:, 5].mean() if units != "pieces" else where[:, 5:8].mean()
    assert abs(rate - 0.15) < 4 * np.sqrt(0.15 * 0.85 / 2000)


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def test_consecutive_segments_have_label_1():
    documents = [[[4 + d * 30 + s * 3 + i for i in range(3)] for s in range(10)] for d in range(90)]
    made = ernie.rows(documents, np.random.default_rng(0), Vocabulary(2800, 1, 2, 3), ernie.Data(seq_length=24))
    plain = made["input_ids"] > 3
    a, b = (np.where(plain & (made["segment_ids"] == n), made["input_ids"], 0) for n in (0, 1))
    apart = (a.max(1) - 4) // 30 != (b.max(1) - 4) // 30
    assert np.array_equal(made["next_sentence_labels"][apart], 0 * made["next_sentence_labels"][apart])
    assert (made["next_sentence_labels"][~apart] == 1).mean() > 0.95  # a partner may come from the same document
    assert 0.3 < made["next_sentence_labels"].mean() < 0.7


# ---- Text and dialogue in turn ---------------------------------------------------------------------------------------
def test_batches_of_text_and_dialogue_take_turns(corpus, tmp_path, monkeypatch):
    """Roles are rows 2 and 3 of the table of types; every tenth conversation is held out; too few are refused."""
    file, read = tmp_path / "talk.txt", []
    file.write_text("\n\n".join(f"why word{n}\nso word{n}\nwell word{n}" for n in range(30)), encoding="utf-8")
    chosen = pretraining._chosen
    monkeypatch.setattr(pretraining, "_chosen", lambda *given: read.append(chosen(*given)) or read[-1])
    few = {"steps": 4, "batch_size": 4, "seq_length": 24, "held_out": 0.2, "threads": 1, "vocab_size": 300}
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    given = {**few, "conversations": str(file), "fields": sizes}
    run = pretraining.pretrain("ernie", [corpus / "text.txt"], tmp_path / "run", **given)
    assert minibert.load(run).config.type_vocab_size == 4
    kinds = [{*np.unique(rows["segment_ids"][rows["input_mask"] == 1]).tolist()} for rows in read]
    assert kinds == [{0, 1}, {2, 3}] * 2
    tokenizer, own = minibert.load(run).tokenizer, ernie.Data(conversations=str(file))
    train, apart = (ernie.handed(tokenizer, own, part) for part in ("train", "held_out"))
    assert (len(train), len(apart)) == (27, 3)
    file.write_text("a\nb\nc", encoding="utf-8")
    with pytest.raises(InputError, match="1 conversations"):
        ernie.handed(tokenizer, own, "train")
    with pytest.raises(InputError, match="two types and two roles"):
        ernie.fields(own, {"type_vocab_size": 2})
