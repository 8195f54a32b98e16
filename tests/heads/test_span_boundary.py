"""The span boundary head beside its scalar loops, 50 digits, a planted fault and the values of the spec's example."""

import numpy as np
import pytest
from published import example, probed

import minibert
import reference
from minibert import gradcheck, objective, tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import spanbert
from minibert.heads import span_boundary


def error(got, true):
    return float(np.abs(got - true).max() / np.abs(true).max())


def head_case():
    rng = np.random.default_rng(0)
    fields = {**spanbert.PROBE, "hidden_size": 6, "vocab_size": 7, "span_position_size": 4, "initializer_range": 0.4}
    model = minibert.create("spanbert", dtype="float64", **fields)
    p = tree.map(lambda a: a + 0.3 * rng.standard_normal(a.shape), model.params)
    args = {name: rng.standard_normal((2, 3, 6)) for name in ("left", "right")}
    args |= {"p": p["sbo"], "table": p["embeddings"]["word"]["weight"]}
    own = {"places": np.array([[0, 2, 0], [1, 1, 0]]), "eps": 1e-3}
    return args, {**own, "act": "gelu_new"}, {**own, "activation": "gelu_new"}


def test_the_boundary_head_against_its_double_and_fifty_digits():
    args, constants, doubled = head_case()
    ours = span_boundary.sbo_head(**args, **constants)[0]
    lists = tree.map(lambda a: a.tolist() if isinstance(a, np.ndarray) else a, {**args, **doubled})
    assert error(ours, np.array(reference.double("sbo_head")(**lists))) < 1e-13
    pair = span_boundary.sbo_head, span_boundary.sbo_head_backward
    found = gradcheck.exact(*pair, reference.double("sbo_head"), args, constants, doubled)
    assert max(found.values()) < gradcheck.EXACT_BAR, found


def test_a_lost_part_of_the_backward_is_seen():
    args, constants, doubled = head_case()

    def wrong(dy, c):
        dleft, dright, g, dtable = span_boundary.sbo_head_backward(dy, c)
        return dright, dleft, g, dtable

    found = gradcheck.exact(span_boundary.sbo_head, wrong, reference.double("sbo_head"), args, constants, doubled)
    assert found["left"] > 1e-3


def fill(shape, k):
    j = np.arange(np.prod(shape))
    return (0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k)).reshape(shape)


def test_the_published_values():
    """The spec's example of the head: logits of three places, and the summed loss of two targets."""
    dense = [{"weight": fill((4, 12), 2), "bias": fill((4,), 3)}, {"weight": fill((4, 4), 6), "bias": fill((4,), 7)}]
    norm = [{"weight": 1 + fill((4,), k), "bias": fill((4,), k + 1)} for k in (4, 8)]
    p = {
        "position": {"weight": fill((5, 4), 1)},
        **{name: {"dense": dense[i], "norm": norm[i]} for i, name in enumerate(("first", "second"))},
        "decoder": {"bias": fill((7,), 11)},
    }
    x, places = fill((6, 4), 0), np.arange(3)
    y = span_boundary.sbo_head(x[[1] * 3], x[[4] * 3], p, fill((7, 4), 10), places=places, act="gelu", eps=1e-12)[0]
    assert y[0, :3] == pytest.approx([0.990585397094, 1.051401981575, 0.075467765713], abs=1e-11)
    assert y[1, 2:5] == pytest.approx([1.155509219147, 1.061812035172, -0.530489886871], abs=1e-11)
    assert y[2, 4:] == pytest.approx([-1.048445939559, -0.437590181806, 1.043641349458], abs=1e-11)
    nll = np.log(np.exp(y).sum(-1)) - y[np.arange(3), [3, 5, 0]]
    assert nll[:2].sum() == pytest.approx(5.268648227235351, rel=1e-13)


# ---- What the objective sees -----------------------------------------------------------------------------------------
def case(seed, **fields):
    model = probed("spanbert", seed, **{"span_position_size": 7, "max_span": 4, **fields})
    batch = example(model, seed)
    left = [[1, 1, 1, 1], [0, 3, 3, 0], [2, 2, 0, 0], [0] * 4]  # spans of 1 to 4 tokens, two in a row, none
    right = [[6, 6, 6, 6], [2, 5, 5, 0], [5, 5, 0, 0], [0] * 4]
    batch["span_boundaries"] = np.stack([left, right], axis=-1)
    batch["span_positions"] = np.array([[0, 1, 2, 3], [0, 0, 0, 0], [1, 0, 0, 0], [0] * 4])
    batch["span_ids"] = np.random.default_rng(seed).integers(0, model.config.vocab_size, (4, 4))
    return model, batch


def test_a_state_inside_the_span_matters_to_the_masked_token_alone():
    """Position embeddings perturbed in a network without attention: h inside changes (8), h beside it all of (15)."""
    model, batch = case(2, num_hidden_layers=1)
    for part in model.params["encoder"][0]["attention"]["output"].values():
        part[...] = 0
    batch["span_boundaries"], batch["span_positions"] = np.tile([1, 5], (4, 4, 1)), np.tile([0, 1, 2, 2], (4, 1))
    batch["masked_lm_positions"] = np.tile([2, 3, 4, 4], (4, 1))
    before = model.loss(batch)[1]["terms"]
    for position, changed in ((3, {"masked_lm"}), (1, {"span_boundary"}), (5, {"span_boundary"}), (6, set())):
        table = model.params["embeddings"]["position"]["weight"]
        kept = table[position].copy()
        table[position] = np.roll(kept, 1)
        after = model.loss(batch)[1]["terms"]
        table[position] = kept
        assert {term for term in after if after[term] != before[term]} == changed


def test_unused_slots_and_targets_of_none():
    model, batch = case(4)
    loss, cache = model.loss(batch)
    more = {"span_boundaries": np.tile([3, 4], (4, 2, 1)), "span_positions": np.ones((4, 2), int)}
    more["span_ids"] = np.full((4, 2), 9)
    wider = {**batch, **{name: np.concatenate([batch[name], value], axis=1) for name, value in more.items()}}
    assert model.loss(wider)[0] == loss
    none = {**batch, "span_boundaries": np.zeros_like(batch["span_boundaries"])}
    empty, cache = model.loss(none)
    assert cache["terms"]["span_boundary"] == 0
    assert empty == cache["terms"]["masked_lm"]
    assert not any(a.any() for a in tree.leaves(model.loss_backward(cache)["sbo"]))
    dense = objective.loss(model.module, model.params, model.config, model.checked(batch), dense=True)
    assert error(dense[0], loss) < 1e-14
    assert objective.counts(model.module, model.config, batch)["span_boundary"] == 9
    right, counted, ones = objective.right(model.loss(batch)[1])["span_boundary"]
    assert (counted, ones) == (9, None)
    assert 0 <= right <= 9
    with pytest.raises(InputError, match="span_positions"):
        model.loss({**batch, "span_positions": batch["span_positions"] + 1})
    with pytest.raises(InputError, match="span_ids"):
        model.loss({name: value for name, value in batch.items() if name != "span_ids"})


def test_corrupted_rows_have_the_targets_of_their_spans():
    """A row at a time: what lies beside a span is no target, its place and its token are the original's."""
    rng = np.random.default_rng(1)
    size = 60
    continues = np.arange(size) >= 45
    vocabulary = Vocabulary(size, 2, 3, 4, 0, continues, (0, 1, 2, 3, 4))
    documents = [[rng.integers(5, size, rng.integers(3, 12)).tolist() for _ in range(20)] for _ in range(10)]
    options = spanbert.Data(seq_length=32, rate=0.2)
    pool = np.array([i for d in documents for s in d for i in s])
    rows = spanbert.rows(documents, rng, vocabulary, options)
    batch = spanbert.corrupt(rows, rng, vocabulary, options, pool)
    assert not rows["segment_ids"].any()
    ids, slots = rows["input_ids"], options.slots
    assert batch["masked_lm_weights"].sum() == np.minimum(np.ceil(0.2 * (rows["input_mask"].sum(1) - 2)), slots).sum()
    used = span_boundary._used(batch)
    assert used.sum() > 0.8 * batch["masked_lm_weights"].sum()
    for b, n in np.argwhere(used):
        left, right = batch["span_boundaries"][b, n]
        at = left + 1 + batch["span_positions"][b, n]
        targets = set(batch["masked_lm_positions"][b][batch["masked_lm_weights"][b] > 0].tolist())
        assert set(range(left + 1, right)) <= targets
        assert not {left, right} & targets
        assert batch["span_ids"][b, n] == ids[b, at]
        assert left < at < right
        assert rows["input_mask"][b, [left, right]].all()
        assert not np.isin(ids[b, [left, right]], (2, 3)).any()
    for name in ("span_boundaries", "span_positions", "span_ids"):
        assert not batch[name][~used].any()
    made = batch["input_ids"][batch["input_ids"] != ids]
    assert set(made.tolist()) - {vocabulary.mask} <= set(pool.tolist())
    one = spanbert.corrupt(rows, rng, vocabulary, options, np.array([7]))  # a corpus of one word
    assert set(one["input_ids"][one["input_ids"] != ids].tolist()) == {vocabulary.mask, 7}
    long = spanbert.Data(seq_length=32, rate=0.7)
    places = spanbert.corrupt(rows, rng, vocabulary, long, pool)["span_positions"]
    assert places.max() == spanbert.Config.max_span - 1
    fields = {**spanbert.PROBE, "vocab_size": size, "max_position_embeddings": 32, "max_span": 15}
    assert np.isfinite(minibert.create("spanbert", **fields).loss(batch)[0])


def test_random_tokens_follow_the_training_text():
    """Drawing from the counts of a text is drawing from the text in the order of its ids, whatever its shards."""
    rng = np.random.default_rng(0)
    texts = [[" ".join(map(str, rng.integers(2, 9, 7))) for _ in range(3)] for _ in range(4)]

    class Digits:
        ids = staticmethod(lambda text: list(map(int, text.split())))
        __len__ = staticmethod(lambda: 11)

    def counted(count):
        return count(Digits(), None, texts[:1]) + count(Digits(), None, texts[1:])

    pool = spanbert.study(Digits(), None, counted)
    tokens = sorted(i for document in texts for sentence in document for i in Digits.ids(sentence))
    assert len(pool) == len(tokens)
    assert pool[np.arange(len(tokens))].tolist() == tokens
