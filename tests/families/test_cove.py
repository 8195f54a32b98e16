"""CoVe: a twin in torch, rows in any order, attention, what is fed back, vectors that are given."""

import numpy as np
from figures import Figures
from published import Published, error
from twins import cove as twins

import minibert
from minibert import batches, gradcheck, tree
from minibert.families import cove
from minibert.tokenizers.words import Words

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (380, "an encoder, a decoder that attends and is fed back, a state, vectors that are given"),
    "mistakes": (135, "what is fed back, attended to and combined, and a state"),
    "tests": (155, "beside a twin in torch: what its page asks for, a state, and vectors that are given"),
    "cases": (35, "what is generated, beside the cases that all families have"),
}
CONFIGS = ({"residual_embeddings": True, "decoder_layers": 2}, {"residual_embeddings": False, "decoder_layers": 1})
OWN = {"embedding_dim": 7, "hidden": 5, "target_dim": 6, "decoder_dim": 8}
PUBLISHED = [Published("cove", "", {"labels": "next_token"}, OWN, CONFIGS, twin=twins.twin, terms=twins.terms)]
DIRECTORIES: dict = {}
VARIANTS = ({}, {"residual_embeddings": True, "decoder_layers": 2, "n_layers": 1})
SMALL = {"embedding_dim": 2, "hidden": 2, "n_layers": 1, "target_dim": 2, "decoder_dim": 2, "vocab_size": 9}
MT = 2 * 4 * 300 * (300 + 300 + 2) + 2 * 4 * 300 * (600 + 300 + 2)
PARAMETERS = [({"vocab_size": 1}, ("writer", "lm"), 300 + MT)]
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3], [2, 6, 10, 3, 1]],
    "attention_mask": [[1] * 5, [1, 1, 1, 1, 0]],
    "decoder_input_ids": [[0, 4, 8, 12], [0, 13, 3, 14]],
    "labels": [[4, 8, 12, 1], [13, 3, 1, -100]],
}
FIGURES = [
    Figures("cove", {
        "forward/loss": 2.796526978454,
        "gradients/vectors.weight": 0.012798388723,
        "gradients/rnn.weight_hh_l1_reverse": 0.010293529980,
        "gradients/decoder.rnn.weight_hh_l1": 0.009474033014,
        "gradients/decoder.combine.weight": 0.248654164325,
        "gradients/decoder.out.bias": 0.347325626769,
    }, {"embedding_dim": 6, "target_dim": 5, "decoder_dim": 7}, BATCH),
]  # fmt: skip


def model(seed: int = 0, **fields):
    made = minibert.create("cove", dtype="float64", **{**cove.PROBE, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


def decoding(made, rng, rows=2, source=4, steps=3):
    own = {name: made.params["writer"][name] for name in ("layers", "attention", "combine")}
    z = rng.standard_normal((rows, steps, made.config.target_dim))
    return z, rng.standard_normal((rows, source, made.config.both)), own


def test_rows_may_come_in_any_order():
    """(b) of B5: whatever their lengths."""
    made, rng = model()
    ids, mask = rng.integers(0, 17, (4, 6)), np.arange(6) < np.array([[3], [6], [1], [4]])
    due = made.encode(input_ids=ids, attention_mask=mask * 1)["last_hidden_state"]
    order = rng.permutation(4)
    found = made.encode(input_ids=ids[order], attention_mask=mask[order] * 1)["last_hidden_state"]
    assert np.array_equal(found, due[order])
    alone = made.encode(input_ids=ids[:1, :3])["last_hidden_state"]
    assert error(due[:1, :3], alone) < 1e-15


def test_without_its_matrix_attention_is_even():
    """(c) of B5, over the words that are there."""
    made, rng = model()
    z, memory, p = decoding(made, rng)
    p = {**p, "attention": tree.zeros_like(p["attention"])}
    _, c = cove.attentional_decoder(z, memory, p, seen=np.array([[1, 1, 1, 1], [1, 1, 1, 0]]))
    for own in c["steps"]:
        assert np.allclose(own["attention"]["probs"][:, 0, 0], [[0.25] * 4, [1 / 3, 1 / 3, 1 / 3, 0]])


def test_three_steps_fed_back_have_their_gradient():
    """(d) of B5: every argument by differences."""
    made, rng = model(decoder_layers=2, hidden=1, target_dim=1, decoder_dim=2)
    z, memory, p = decoding(made, rng, source=3)
    pair = cove.attentional_decoder, cove.attentional_decoder_backward
    gradcheck.require(*pair, {"z": z, "memory": memory, "p": p}, {"seen": np.array([[1, 1, 1], [1, 1, 0]])})
    y, _ = cove.attentional_decoder(z, memory, p)
    other = {**p, "combine": {**p["combine"], "bias": p["combine"]["bias"] + 0.1}}
    assert abs(cove.attentional_decoder(z, memory, other)[0] - y)[:, 2].max() > 1e-3


def test_what_is_written_word_by_word_is_what_is_written_at_once():
    made, rng = model(decoder_layers=2)
    source, ids = rng.integers(0, 17, (2, 5)), rng.integers(0, 17, (2, 4))
    mask = np.array([[1] * 5, [1, 1, 1, 0, 0]])
    h = made.encode(input_ids=source, attention_mask=mask, decoder_input_ids=ids)["target_state"]
    state = made.start(input_ids=source, attention_mask=mask)
    for t in range(4):
        logits, state = made.step(ids[:, t], state)
        own = made.params["lm"]["decoder"]
        assert error(logits, h[:, t] @ own["weight"].T + own["bias"]) < 1e-13


def test_a_feature_is_the_word_s_vector_and_what_its_sentence_makes_of_it():
    made, rng = model(residual_embeddings=True)
    ids = rng.integers(0, 17, (2, 5))
    out = made.encode(input_ids=ids)
    x, h = np.split(out["last_hidden_state"], [made.config.embedding_dim], -1)
    assert np.array_equal(x, made.params["embeddings"]["word"]["weight"][ids])
    assert np.array_equal(h, out["hidden_states"][-1])
    assert "target_state" not in out


def test_an_encoder_alone_is_read(tmp_path):
    """Its decoder is left behind."""
    made, rng = model()
    ids = rng.integers(0, 17, (1, 4))
    due = made.encode(input_ids=ids)["last_hidden_state"]
    made.params = {name: p for name, p in made.params.items() if name not in ("writer", "lm")}
    made.save(tmp_path)
    again = minibert.load(tmp_path)
    assert "writer" not in again.params
    assert np.array_equal(again.encode(input_ids=ids)["last_hidden_state"], due)


def test_vectors_that_are_given_stay(tmp_path):
    (tmp_path / "words.txt").write_text("2 3\nthe 1 2 3\ncat 4 5 6\n", encoding="utf-8")
    data = cove.Data(vectors=str(tmp_path / "words.txt"))
    fields = cove.fields(data, {"hidden": 4})
    assert fields == {"hidden": 4, "embedding_dim": 3, "fixed_vectors": True}
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "the"]
    made, _ = model(**{**fields, "vocab_size": 8})
    made.tokenizer = Words(tokens, lowercase=True)
    cove.begun(made, data, None)
    table = made.params["embeddings"]["word"]["weight"]
    assert table[5].tolist() == [4, 5, 6]
    assert table[7].tolist() == [1, 2, 3]
    assert not table[:5].any()
    assert cove.stage(made.params, made.config, 0, 9) == ("embeddings",)
    assert cove.fields(cove.Data(), {}) == {"fixed_vectors": False}


def test_where_no_target_is_read_it_is_the_labels_a_place_later():
    """Behind the id that begins a target; what asks nothing is read as padding."""
    model = minibert.create("cove", dtype="float64", **cove.PROBE)
    batch = batches.example(cove, model.config, np.random.default_rng(0))
    batch["labels"][0, 1] = -100
    read = np.where(batch["labels"] < 0, model.config.pad_token_id, batch["labels"])
    read = np.concatenate([np.full_like(read[:, :1], model.config.decoder_start_token_id), read[:, :-1]], 1)
    due, others = model.loss({**batch, "decoder_input_ids": read})[0], model.loss(batch)[0]
    del batch["decoder_input_ids"]
    assert model.loss(batch)[0] == due != others
