"""Set Transformer: a twin in torch, permutations, points, the scale, vectors in the place of words."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error
from twins import set_transformer as twins

import minibert
from minibert import inference, objective, pooling, tree
from minibert.errors import InputError
from minibert.families import set_transformer
from minibert.tokenizers import wordpiece

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "cases": (36, "sizes of points and seeds, and a double of its own"),
    "tests": (170, "permutations, points, sets of words and a classifier beside a twin"),
    "family": (335, "no kin: its blocks and data stand in one file"),
}
CONFIGS = (
    {"num_inds": 4, "ln": True, "attention_scale": "head"},
    {"num_inds": 0, "ln": False, "num_outputs": 3},
    {"num_inds": 3, "decoder_layers": 0, "ln": True},
)
LABELS = {"labels": "target_token"}
PUBLISHED = [Published("set_transformer", "", LABELS, {}, CONFIGS, twin=twins.twin, terms=twins.terms)]
DIRECTORIES: dict = {}
VARIANTS = ({}, {"num_inds": 0, "ln": False}, {"attention_scale": "width", "decoder_layers": 0})
SMALL = {"dim_hidden": 6, "num_heads": 3, "num_layers": 2}
PARAMETERS = [
    ({"vocab_size": 2, "dim_input": 2}, ("lm",), 4 + 422_272),
]
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3], [2, 6, 10, 3, 1]],
    "attention_mask": [[1] * 5, [1] * 4 + [0]],
    "labels": [[7], [12]],
}
SIZES = {"dim_input": 5, "dim_hidden": 8, "num_heads": 2, "num_inds": 3, "decoder_layers": 1}
FIGURES = [
    Figures(
        "set_transformer",
        {
            "forward/loss": 4.254656645233,
            "gradients/embedding.weight": 1.586236062115,
            "gradients/enc.0.I": 1.047683366765,
            "gradients/dec.0.S": 2.137153796826,
            "gradients/enc.0.mab1.fc_q.weight": 0.606857350728,
        },
        SIZES,
        BATCH,
    ),
    Figures("set_transformer", {"forward/loss": 4.313467376391}, {**SIZES, "attention_scale": "head"}, BATCH),
    Figures("set_transformer", {"forward/loss": 5.281091328312}, {**SIZES, "num_inds": 0}, BATCH),
]


def made(seed: int = 0, **fields):
    model, rng = minibert.create("set_transformer", dtype="float64", **{**set_transformer.PROBE, **fields}), None
    rng = np.random.default_rng(seed)
    for value in tree.leaves(model.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return model, rng


@pytest.mark.parametrize("points", [0, 1, 4])
def test_order_is_no_matter(points):
    """Rows of SAB and ISAB go with the elements; what PMA makes of them, and the logits, stay; padding included."""
    model, rng = made(num_inds=points)
    ids, mask = rng.integers(0, 17, (3, 7)), (np.arange(7) < np.array([[7], [5], [3]])) * 1
    order = np.stack([rng.permutation(7) for _ in range(3)])
    moved = {"input_ids": np.take_along_axis(ids, order, 1), "attention_mask": np.take_along_axis(mask, order, 1)}
    first, second = model.encode(input_ids=ids, attention_mask=mask), model.encode(**moved)
    assert error(second["last_hidden_state"], first["last_hidden_state"]) < 1e-12
    for a, b in zip(second["hidden_states"], first["hidden_states"], strict=True):
        assert error(a, np.take_along_axis(b, order[..., None], 1)) < 1e-12
    sets = {"input_ids": ids, "attention_mask": mask}, moved
    losses = [model.loss({**given, "labels": ids[:, :2]}) for given in sets]
    assert error(losses[0][0], losses[1][0]) < 1e-13
    both = [model.loss_backward(cache) for _, cache in losses]
    assert all(error(a, b, 1.0) < 1e-11 for a, b in zip(*map(tree.leaves, both), strict=True))


def test_what_is_no_element_is_no_matter():
    model, rng = made()
    ids = rng.integers(0, 17, (2, 5))
    padded = np.pad(ids, [(0, 0), (2, 1)], constant_values=9)
    mask = np.pad(np.ones((2, 5), int), [(0, 0), (2, 1)])
    out, due = model.encode(input_ids=padded, attention_mask=mask), model.encode(input_ids=ids)
    assert error(out["last_hidden_state"], due["last_hidden_state"]) < 1e-13
    assert error(model.encode(input_ids=padded)["last_hidden_state"], due["last_hidden_state"]) > 1e-5


def test_of_one_point_each_element_takes_all():
    """C3 (b): one row of H, and probabilities of 1."""
    model, rng = made(num_inds=1)
    x, p = rng.standard_normal((2, 4, 5)), model.params["encoder"][0]
    c = set_transformer.induced_attention(x, p, **model.config.attending)[1]
    assert c["induce"]["feed_forward_norm"]["xhat"].reshape(2, -1).shape == (2, 6)
    assert (c["read"]["attention"]["probs"] == 1).all()


def test_the_scale_is_of_the_whole_width():
    """C3 (c): that of one head is another."""
    x = np.random.default_rng(0).standard_normal((2, 4, 6))
    p = made(num_inds=0, dim_input=6)[0].params["encoder"][0]
    head, whole = (pooling.set_attention(x, x, p, width=2, scale=n**-0.5)[0] for n in (2, 6))
    assert error(head, pooling.set_attention(x, x, p, width=2)[0]) == 0
    assert error(head, whole) > 1e-3
    assert set_transformer.Config().attending == {"width": 32, "scale": 128**-0.5}


def test_vectors_stand_in_the_place_of_words():
    model, rng = made()
    ids = rng.integers(0, 17, (2, 5))
    vectors = model.params["embeddings"]["word"]["weight"][ids]
    assert np.array_equal(model.encode(input_vectors=vectors)["last_hidden_state"],
                          model.encode(input_ids=ids)["last_hidden_state"])  # fmt: skip
    loss, cache = model.loss({"input_vectors": vectors, "labels": ids[:, :2]})
    g = model.loss_backward(cache)
    assert not g["embeddings"]["word"]["weight"].any()
    assert error(loss, model.loss({"input_ids": ids, "labels": ids[:, :2]})[0]) == 0
    with pytest.raises(InputError, match="input_ids or input_vectors: give one of them"):
        model.encode(input_ids=ids, input_vectors=vectors)


def test_a_text_is_the_set_of_its_words():
    """What a tokenizer puts around it is no element; its vector is the decoder's first, and no other is to be had."""
    model, _ = made()
    model.tokenizer = wordpiece.WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijkl"])
    texts = ["c a b b", "a", "b c b a"]
    vectors = inference.sentence_vectors(model, texts, set_transformer.POOLING)
    assert error(vectors[2], vectors[0]) < 1e-12
    for text, vector in zip(texts, vectors, strict=True):
        ids = [[model.tokenizer.tokens.index(word) for word in text.split()]]
        assert error(vector, model.encode(input_ids=np.array(ids))["last_hidden_state"][0, 0]) < 1e-12
    with pytest.raises(InputError, match="set_transformer gives no state of each token to pool: take 'pooler'"):
        inference.sentence_vectors(model, texts, "mean")


def test_words_are_taken_out_of_each_set():
    rng = np.random.default_rng(0)
    documents = [[[5, 6, 7, 8], [9, 9]], [[*range(20, 33)]]]
    vocabulary = type("Vocabulary", (), {"pad": 0})
    data = set_transformer.Data(seq_length=8, duplicates=3, taken=2)
    rows = set_transformer.rows(documents, rng, vocabulary, data)
    batch = set_transformer.corrupt(rows, rng, vocabulary, data)
    whole = [[5, 6, 7, 8, 9, 9], [*range(20, 33)]]
    passages = [sorted(words[at : at + n]) for words in whole for n in range(3, 9) for at in range(len(words))]
    for held, rest, words in zip(rows["input_ids"], batch["input_ids"], batch["labels"], strict=True):
        assert sorted(held[held > 0]) in passages
        words = words[words > 0]
        assert len(words) == min(2, (held > 0).sum() // 2)
        assert sorted(held[held > 0]) == sorted([*rest[rest > 0], *words])
    assert objective.labels(set_transformer, set_transformer.Config()).keys() == {"labels"}


def test_a_classifier_reads_the_first_vector():
    """Behind it the release's last layer, with a bias; the order of the words is no matter to it either."""
    rng, task = np.random.default_rng(0), {"classify": {"classes": 3}}
    model = minibert.create("set_transformer", tasks=task, dtype="float64", **set_transformer.PROBE)
    ids, labels = rng.integers(0, 17, (4, 6)), np.array([0, 2, 1, 0])
    first = model.encode(input_ids=ids)["last_hidden_state"][:, 0]
    weights = model.state_dict()
    z = first @ weights["dec.2.weight"].T + weights["dec.2.bias"]
    assert error(model.predict({"input_ids": ids})["logits"], z) < 1e-13
    losses = [model.loss({"input_ids": given, "labels": labels}) for given in (ids, ids[:, ::-1])]
    assert error(losses[0][0], losses[1][0]) < 1e-13
    assert all(leaf.any() for leaf in tree.leaves(model.loss_backward(losses[0][1])["classify"]))
