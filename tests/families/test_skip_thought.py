"""Skip-thought: a twin in torch, two decoders and their one output, sums, theano's files, more words."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error
from twins import skip_thought as twins

import minibert
from minibert import tree
from minibert.corruption import consecutive
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import skip_thought
from minibert.published import skip_thought as files
from minibert.tokenizers.words import Words

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (320, "a GRU of two ways, two decoders, files of theano, more words from word2vec's vectors"),
    "tests": (180, "beside a twin in torch: what two pages of facts ask for, files of theano, more words"),
    "cases": (35, "terms beside the loss"),
}
CONFIGS = ({"encoder": "bi", "conditioning": "gates"}, {"encoder": "uni", "conditioning": "state"},
           {"encoder": "bi", "conditioning": "state"})  # fmt: skip
OWN = {"dim_word": 7, "dim": 10, "floor": 0.01}
PUBLISHED = [
    Published("skip_thought", "", {"previous_labels": "previous", "next_labels": "next"}, OWN, CONFIGS,
              twin=twins.twin, terms=twins.terms)
]  # fmt: skip
DIRECTORIES: dict = {}
VARIANTS = ({}, {"encoder": "uni", "conditioning": "state", "floor": 0.0})
SMALL = {"dim_word": 3, "dim": 2}
GRU = 3 * 2400 * (620 + 2400 + 1)
PARAMETERS = [
    ({}, (), 20000 * 620 + 3 * GRU + 20000 * 2401),
    ({}, ("lm", *skip_thought.SIDES.values()), 20000 * 620 + GRU),
    ({"encoder": "bi"}, ("lm", *skip_thought.SIDES.values()), 20000 * 620 + 2 * 3 * 1200 * (620 + 1200 + 1)),
]
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3], [2, 6, 10, 3, 3]],
    "attention_mask": [[1] * 5, [1, 1, 1, 1, 0]],
    "previous_labels": [[4, 8, 3], [13, 3, -100]],
    "next_labels": [[7, 12, 3], [5, 3, -100]],
}
FIGURES = [
    Figures("skip_thought", {
        "forward/loss": 5.560480498311,
        "gradients/Wemb": 0.257696654154,
        "gradients/encoder.weight_hh_l0": 0.093951923182,
        "gradients/decoder_f.weight_ih_l0": 0.153949110591,
        "gradients/ff_logit.weight": 0.450539002675,
    }, {"dim_word": 6}, BATCH),
    Figures("skip_thought", {"forward/loss": 6.364661547086, "gradients/encoder_r.bias_ih_l0": 0.124270528106},
            {"dim_word": 6, "encoder": "bi", "conditioning": "gates"}, BATCH),
]  # fmt: skip


def model(seed: int = 0, **fields):
    made = minibert.create("skip_thought", dtype="float64", **{**skip_thought.PROBE, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


def drawn(rng, rows=3):
    labels = {f"{side}_labels": rng.integers(0, 17, (rows, 4)) for side in skip_thought.SIDES}
    return {"input_ids": rng.integers(0, 17, (rows, 5)), **labels}


def summed(made, batch):
    """The release's loss."""
    loss, c = made.loss(batch, denominators=dict.fromkeys(skip_thought.SIDES, 1.0))
    return float(loss), tree.flatten(made.loss_backward(c))


@pytest.mark.parametrize("by", skip_thought.WAYS)
def test_the_sum_of_a_batch_is_that_of_its_rows(by):
    """(c) of B6, (d) of B25."""
    made, rng = model(conditioning=by)
    batch = drawn(rng)
    whole, slopes = summed(made, batch)
    ones = [summed(made, {name: a[n : n + 1] for name, a in batch.items()}) for n in range(3)]
    assert whole == pytest.approx(sum(value for value, _ in ones), rel=1e-13)
    assert all(error(slopes[path], sum(g[path] for _, g in ones)) < 1e-12 for path in slopes)
    twice, _ = summed(made, {name: np.concatenate([a, a]) for name, a in batch.items()})
    assert twice == pytest.approx(2 * whole, rel=1e-13)


def test_the_shared_output_learns_from_both_decoders():
    """(d) of B6, (b) of B25."""
    made, rng = model()
    batch, due = drawn(rng), 0
    for side in skip_thought.SIDES:
        one = {**batch, f"{side}_labels": np.full((3, 4), -100)}
        due = due + summed(made, one)[1]["lm.decoder.weight"]
    assert error(summed(made, batch)[1]["lm.decoder.weight"], due) < 1e-13


def test_a_decoder_reads_zeros_then_the_words_before():
    """(b) of B6, (c) of B25."""
    made, rng = model()
    table, labels = made.params["embeddings"]["word"], rng.integers(0, 17, (2, 4))
    labels[0, 1] = -100
    x, _ = skip_thought.words_before(table, labels=labels)
    assert not x[:, 0].any()
    assert not x[0, 2].any()
    assert np.array_equal(x[1, 1:], table["weight"][labels[1, :-1]])


@pytest.mark.parametrize("by", skip_thought.WAYS)
def test_the_vector_reaches_every_word(by):
    """At each step of both decoders, whichever way; and the last word's label changes no state."""
    made, rng = model(conditioning=by)
    x, p = rng.standard_normal((2, 4, 5)), made.params["decoder_f"]
    s = rng.standard_normal((2, 6))
    one, other = (skip_thought.conditioned_gru(x, vector, p, by=by)[0] for vector in (s, s + 0.1))
    assert (abs(one - other).max((0, 2)) > 1e-4).all()
    gates = p["weight_ih"].shape[1] - x.shape[-1]
    assert gates == (6 if by == "gates" else 0)


def test_padding_changes_no_vector():
    """(a) of B25, in both directions."""
    made, rng = model()
    ids = rng.integers(0, 17, (2, 5))
    wide = np.pad(ids, [(0, 0), (0, 3)], constant_values=11)
    found = made.encode(input_ids=wide, attention_mask=(np.arange(8) < 5)[None] * np.ones((2, 1), int))
    assert error(found["pooler_output"], made.encode(input_ids=ids)["pooler_output"]) < 1e-15


def test_files_of_theano_are_turned():
    """Gates r and u beside each other, (in, out); the candidate's apart."""
    made, _ = model(conditioning="state")
    arrays = {"Wemb": made.params["embeddings"]["word"]["weight"]}
    p = made.params
    for name, own in (("encoder", p["encoder"]["forward"]), ("encoder_r", p["encoder"]["backward"]),
                      ("decoder_f", p["decoder_f"]), ("decoder_b", p["decoder_b"])):  # fmt: skip
        n = own["weight_hh"].shape[1]
        for leaf, parts in (("weight_ih", "W Wx"), ("weight_hh", "U Ux"), ("bias_ih", "b bx")):
            gates, candidate = parts.split()
            arrays |= {f"{name}_{gates}": own[leaf][: 2 * n].T, f"{name}_{candidate}": own[leaf][2 * n :].T}
    arrays |= {"ff_logit_W": p["lm"]["decoder"]["weight"].T, "ff_logit_b": p["lm"]["decoder"]["bias"]}
    found, due = tree.flatten(files.of_theano(arrays, made.config)), tree.flatten(p)
    assert found.keys() == due.keys()
    assert all(np.array_equal(found[path], due[path]) for path in due)


def test_more_words_come_by_a_linear_map():
    """Where E = M v on the words that both know, every other word is M v, too; sentences with it have vectors."""
    rng = np.random.default_rng(1)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    made, _ = model(vocab_size=len(tokens))
    made.tokenizer = Words(tokens, lowercase=True)
    known, vectors, matrix = [*"hgfedcbaxyz"], rng.standard_normal((11, 3)), rng.standard_normal((3, 5))
    table = made.params["embeddings"]["word"]["weight"]
    table[5:] = (vectors @ matrix)[:8][::-1]
    wider = skip_thought.with_words(made, known, vectors)
    assert wider.tokenizer.tokens[-3:] == ["x", "y", "z"]
    assert error(wider.params["embeddings"]["word"]["weight"][-3:], vectors[-3:] @ matrix) < 1e-12
    assert np.array_equal(wider.params["embeddings"]["word"]["weight"][: len(tokens)], table)
    batch = {**drawn(rng), "input_ids": np.array([[2, 5, 3]])}
    batch = {name: a[:1] % 13 for name, a in batch.items()}
    assert wider.loss(batch)[0] == pytest.approx(float(made.loss(batch)[0]), rel=1e-14)
    with pytest.raises(InputError, match="2 words stand in both vocabularies, and a vector has 3 numbers"):
        skip_thought.with_words(made, ["a", "b", "x"], vectors[:3])
    a, b = rng.standard_normal((2, 4)), rng.standard_normal((2, 6))
    assert np.allclose(np.linalg.norm(skip_thought.combined(a, b), axis=1), 2**0.5)


def test_rows_are_a_sentence_and_those_beside_it():
    vocabulary = Vocabulary(30, 0, 1, None, 2)
    made = consecutive.triples([[[3], [4, 4], [5], [6]], [[7], [8]]], np.random.default_rng(0), vocabulary, 8, 1)
    rows = {row[1]: (before[0], behind[0]) for row, before, behind in
            zip(made["input_ids"].tolist(), made["previous_labels"], made["next_labels"], strict=True)}  # fmt: skip
    assert rows == {4: (3, 5), 5: (4, 6)}
    assert made["decoder_attention_mask"].sum(1).max() == 3
    with pytest.raises(InputError, match="no document has three sentences"):
        consecutive.triples([[[3], [4]]], np.random.default_rng(0), vocabulary, 8, 1)
