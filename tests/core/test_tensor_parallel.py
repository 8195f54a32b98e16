"""A layer split over ranks, its table and its loss: equal to the whole; what is exchanged; layouts of checkpoints."""

import itertools

import numpy as np
import pytest

import minibert
from minibert import layers, ops, tensor_parallel, tree
from minibert.errors import InputError

RANKS = (1, 2, 4)
WIDTH = 3  # of one head, of which there are four


def error(got, true):
    return np.abs(got - true).max() / max(np.abs(true).max(), 1e-300)


def whole(seed=0):
    """A layer's parameters, its input, and every option away from its default."""
    rng = np.random.default_rng(seed)
    fields = {"vocab_size": 9, "hidden_size": 12, "num_attention_heads": 4, "num_hidden_layers": 1,
              "intermediate_size": 8}  # fmt: skip
    p = minibert.create("megatron_bert", dtype="float64", **fields).params["encoder"][0]
    p = tree.map(lambda a: rng.standard_normal(a.shape), p)
    x = rng.standard_normal((2, 5, 12))
    keep = {name: rng.random(x.shape) < 0.8 for name in ("attention", "feed_forward")}
    given = {"act": "gelu_new", "eps": 1e-3, "keep": keep, "rate": 0.2, "scale": 0.7,
             "dropout": (rng.random((2, 4, 5, 5)) < 0.8) / 0.8,
             "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)[:, None, None]}  # fmt: skip
    for array in [*tree.leaves(p), x]:
        array.flags.writeable = False
    return p, x, given, rng.standard_normal(x.shape)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_split_layer_is_the_whole_one(ranks):
    """(a), (b) of B3: value, the gradient of the input and of every parameter; what is whole is the same on all."""
    p, x, given, dy = whole()
    y, c = layers.pre_norm_layer(x, p, heads=4, **given)
    dx, g = layers.pre_norm_layer_backward(dy, c)
    held = tensor_parallel.shards(p, ranks=ranks, width=WIDTH)
    found, own = tensor_parallel.layer(x, held, width=WIDTH, **given)
    dfound, gs = tensor_parallel.layer_backward(dy, own)
    assert error(found, y) < 1e-12
    assert error(dfound, dx) < 1e-12
    again = tensor_parallel.joined(gs)
    largest = max(np.abs(a).max() for a in tree.leaves(g))
    assert tree.flatten(again).keys() == tree.flatten(g).keys()
    for path, true in tree.items(g):
        assert np.abs(tree.get(again, path) - true).max() < 1e-12 * max(np.abs(true).max(), 1e-3 * largest), path
    for path in ("attention.norm.weight", "feed_forward.norm.bias", "attention.output.bias", "feed_forward.out.bias"):
        assert all(np.array_equal(tree.get(gs[0], path), tree.get(other, path)) for other in gs)
    back = tensor_parallel.joined(held)
    assert all(np.array_equal(tree.get(back, path), array) for path, array in tree.items(p))
    assert held[0]["attention"]["query"]["weight"].shape == (12 // ranks, 12)
    assert held[0]["attention"]["output"]["weight"].shape == (12, 12 // ranks)


def test_four_sums_are_exchanged(monkeypatch):
    """Two forward, two backward, however many ranks there are."""
    sums, reduced = [], tensor_parallel.reduced
    monkeypatch.setattr(tensor_parallel, "reduced", lambda parts: (sums.append(len(parts)), reduced(parts))[1])
    p, x, given, dy = whole()
    _, c = tensor_parallel.layer(x, tensor_parallel.shards(p, ranks=4, width=WIDTH), width=WIDTH, **given)
    assert sums == [4, 4]
    tensor_parallel.layer_backward(dy, c)
    assert sums == [4] * 4


def test_a_bias_on_every_rank_is_seen(monkeypatch):
    """Pitfall 4 of B3: it would count p times."""
    p, x, given, _ = whole()
    y, _ = layers.pre_norm_layer(x, p, heads=4, **given)
    held = tensor_parallel.shards(p, ranks=2, width=WIDTH)
    monkeypatch.setattr(tensor_parallel, "_unbiased", lambda p, end: p)
    assert error(tensor_parallel.layer(x, held, width=WIDTH, **given)[0], y) > 1e-2


def test_heads_stay_whole():
    p, *_ = whole()
    for ranks in (3, 8, 0):
        with pytest.raises(InputError, match=f"cannot be split over {ranks} ranks"):
            tensor_parallel.shards(p, ranks=ranks, width=WIDTH)


# ---- The vocabulary --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("ranks", "smoothing"), [*itertools.product(RANKS, (0.0, 0.1))])
def test_the_loss_of_a_split_vocabulary_is_the_whole_one_s(ranks, smoothing):
    """(c) of B3: labels at the first and last row of every share; an ignored one; logits far apart."""
    rng, size = np.random.default_rng(1), 8 // ranks
    z = 3 * rng.standard_normal((10, 8)) + np.array([0, 700])[np.arange(10) % 2][:, None]
    labels = np.array([0, size - 1, min(size, 7), 7, 8 - size, 2, 3, 4, -100, 5])
    value, c = ops.smoothed_cross_entropy(z, labels=labels, smoothing=smoothing, ignore=-100)
    dz = ops.smoothed_cross_entropy_backward(np.asarray(0.7), c)
    found, own = tensor_parallel.cross_entropy(np.split(z, ranks, 1), labels=labels, ignore=-100, smoothing=smoothing)
    parts = tensor_parallel.cross_entropy_backward(np.asarray(0.7), own)
    assert error(found, value) < 1e-13
    assert error(np.concatenate(parts, 1), dz) < 1e-12
    plain = ops.cross_entropy(z, labels=labels, ignore=-100)[0]
    assert (error(found, plain) < 1e-13) == (smoothing == 0)


@pytest.mark.parametrize("ranks", RANKS)
def test_the_look_up_of_a_split_table_is_the_whole_one_s(ranks):
    rng = np.random.default_rng(2)
    table, ids, dy = rng.standard_normal((8, 3)), rng.integers(0, 8, (2, 6)), rng.standard_normal((2, 6, 3))
    ids[0] = [0, 1, 3, 4, 7, 7]
    y, c = ops.embedding(table, ids=ids)
    found, own = tensor_parallel.embedding(tensor_parallel.rows(table, ranks), ids=ids)
    assert np.array_equal(found, y)
    g = np.concatenate(tensor_parallel.embedding_backward(dy, own))
    assert error(g, ops.embedding_backward(dy, c)["weight"]) < 1e-13


def test_padding_rows_of_the_table_change_the_loss():
    """They take part in the softmax: 5 rows over two ranks, to a multiple of 2·4."""
    rng = np.random.default_rng(3)
    table, h, labels = rng.standard_normal((5, 3)), rng.standard_normal((4, 3)), np.array([0, 4, 2, 3])
    held = tensor_parallel.rows(table, 2, multiple=4)
    assert [part.shape for part in held] == [(4, 3)] * 2
    wide = tensor_parallel.cross_entropy([h @ part.T for part in held], labels=labels)[0]
    due = ops.cross_entropy(np.pad(h @ table.T, ((0, 0), (0, 3))), labels=labels)[0]
    assert error(wide, due) < 1e-13
    assert wide > ops.cross_entropy(h @ table.T, labels=labels)[0]


# ---- Layouts ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", tensor_parallel.QKV_LAYOUTS)
@pytest.mark.parametrize("rest", [(), (5,)])
def test_layouts_are_permutations_and_come_back(layout, rest):
    """(e) of B3: heads 2, width 3."""
    qkv = list(np.arange(18 * int(np.prod(rest))).reshape(3, 6, *rest))
    one = tensor_parallel.fused(qkv, layout, heads=2)
    assert sorted(one.ravel()) == list(range(one.size))
    again = tensor_parallel.parted(one, layout, heads=2)
    assert all(np.array_equal(a, b) for a, b in zip(again, qkv, strict=True))


def test_the_three_layouts_in_numbers():
    q, k, v = np.arange(12).reshape(3, 4)  # two heads of two: q 0-3, k 4-7, v 8-11
    found = [tensor_parallel.fused([q, k, v], layout, heads=2).tolist() for layout in tensor_parallel.QKV_LAYOUTS]
    assert found == [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
        [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11],
    ]
    with pytest.raises(InputError, match="layout"):
        tensor_parallel.fused([q, k, v], "3", heads=2)


def test_scores_divided_and_multiplied_by_the_layer_s_number_are_the_same():
    """(f) of B3: `apply_query_key_layer_scaling` is about rounding."""
    rng = np.random.default_rng(4)
    q, k, v = rng.standard_normal((3, 1, 2, 4, 3))
    plain, _ = ops.attention(q, k, v, scale=3**-0.5)
    for number in (1, 7, 24):
        scores = number * (q @ k.swapaxes(-1, -2) / (number * 3**0.5))
        probs = np.exp(scores - scores.max(-1, keepdims=True))
        assert error(probs / probs.sum(-1, keepdims=True) @ v, plain) < 1e-13
