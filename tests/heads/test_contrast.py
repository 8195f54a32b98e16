"""Contrast: what holds of InfoNCE whatever the scores are, and each way against numbers by hand."""

import numpy as np
import pytest

from minibert import gradcheck, ops
from minibert.heads import contrast

EVEN = {"pair_weights": np.ones(3)}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weights(by, width=4):
    return {"weight": drawn(width, width, seed=1)} if by == "bilinear" else {}


@pytest.mark.parametrize("by", contrast.WAYS)
@pytest.mark.parametrize("views", [2, 3])
def test_equal_scores_give_the_logarithm_of_their_number(by, views):
    s = np.repeat(drawn(1, views, 4), 3, axis=0)
    s[:, 1:] = s[:1, 1:2]
    assert contrast.loss(s, weights(by), EVEN, by=by)[0] == pytest.approx(np.log(3 * (views - 1)), abs=1e-14)


@pytest.mark.parametrize("by", contrast.WAYS)
@pytest.mark.parametrize("views", [2, 3])
def test_gradients(by, views):
    own = {"own": 0.3} if views == 3 else {}

    def f(s, p, **constants):
        return contrast.loss(s, p, {"pair_weights": np.array([1.0, 0.0, 0.5])}, **constants)

    gradcheck.require(f, lambda dy, c: contrast.loss_backward(dy, c)[:2], {"s": drawn(3, views, 4), "p": weights(by)},
                      {"by": by, "temperature": 0.4, **own})  # fmt: skip


def test_a_constant_on_all_scores_changes_nothing():
    """One more dimension, of which every u has 1 and every x has a."""
    s = drawn(3, 2, 4)
    more = np.concatenate([s, np.broadcast_to([[[1.0], [7.0]]], (3, 2, 1))], -1)
    (a, c), (b, d) = contrast.loss(s, {}, EVEN, by="dot"), contrast.loss(more, {}, EVEN, by="dot")
    assert a == pytest.approx(float(b), abs=1e-13)
    both = [contrast.loss_backward(np.ones(()), one)[0] for one in (c, d)]
    np.testing.assert_allclose(both[0], both[1][..., :4], atol=1e-13)


def test_simcse_by_hand():
    """Three rows, τ = 0.05: row i of cosines against column i."""
    s = drawn(3, 2, 4)
    one = s / np.linalg.norm(s, axis=-1, keepdims=True)
    z = one[:, 0] @ one[:, 1].T / 0.05
    due = np.mean([np.log(np.exp(row - row[i]).sum()) for i, row in enumerate(z)])
    assert contrast.loss(s, {}, EVEN, by="cosine")[0] == pytest.approx(due, rel=1e-13)
    same = np.repeat(drawn(3, 1, 4), 2, axis=1)
    _, c = contrast.loss(same, {}, EVEN, by="cosine")
    np.testing.assert_allclose(np.diag(c["loss"]["logits"]), 20, rtol=1e-13)


def test_only_the_own_hard_negative_is_raised():
    s = drawn(3, 3, 4)
    before, after = (contrast.loss(s, {}, EVEN, by="dot", own=own)[1]["loss"]["logits"] for own in (0.0, 2.0))
    due = np.zeros((3, 6))
    due[[0, 1, 2], [3, 4, 5]] = 2
    np.testing.assert_allclose(after - before, due, atol=1e-14)


def test_a_row_of_weight_0_is_not_asked_but_told_from():
    s, labels = drawn(3, 2, 4), {"pair_weights": np.array([1.0, 1.0, 0.0])}
    value, c = contrast.loss(s, {}, labels, by="dot")
    ds = contrast.loss_backward(np.ones(()), c)[0]
    assert not ds[2, 0].any()
    assert ds[2, 1].any()
    assert value != contrast.loss(s[:2], {}, {"pair_weights": np.ones(2)}, by="dot")[0]
    assert contrast.count(labels) == 2


def test_with_all_words_it_is_the_masked_loss():
    """InfoWord, table 1: the views of V rows are the words of a table, u the state of a masked token."""
    table, h, word = drawn(6, 4), drawn(1, 4, seed=3), 2
    s = np.stack([np.broadcast_to(h, (6, 4)), table], 1)
    asked = {"pair_weights": (np.arange(6) == word).astype(float)}
    due, cache = ops.cross_entropy(h @ table.T, labels=np.array([word]))
    value, c = contrast.loss(s, {}, asked, by="dot")
    assert value == pytest.approx(float(due), rel=1e-14)
    ds = contrast.loss_backward(np.ones(()), c)[0]
    dz = ops.cross_entropy_backward(np.ones(()), cache)
    np.testing.assert_allclose(ds[word, 0], (dz @ table)[0], rtol=1e-13)
    np.testing.assert_allclose(ds[:, 1], dz.T @ h, rtol=1e-13)


def test_what_is_never_exceeded():
    """log N - L is at most log N, however sure the scores are."""
    s = np.repeat(50 * np.eye(3)[:, None], 2, axis=1)
    value, c = contrast.loss(s, {}, EVEN, by="dot")
    assert 0 <= value < 1e-12
    assert contrast.right(c) is not None
