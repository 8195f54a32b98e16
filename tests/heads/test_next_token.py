"""The head that asks for the next token: its loss by hand, what it counts, what nothing asks, its gradients."""

import math

import numpy as np
import pytest

from minibert import gradcheck, objective
from minibert.families import gpt2
from minibert.heads import next_token

V, D = 7, 5


def given(seed=0, rows=3, length=6):
    """States, a table, labels of which some ask nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, V, (rows, length))
    labels[0, 2] = labels[1, -1] = -100
    h, table = rng.standard_normal((rows, length, D)), rng.standard_normal((V, D))
    for array in (h, table, labels):
        array.flags.writeable = False
    return h, table, {"labels": labels}


def by_hand(h, table, labels):
    """The sum of -log softmax(z_t)[x_{t+1}], in plain loops, and how many there are."""
    asked = []
    for row, ids in zip(h.tolist(), labels["labels"].tolist(), strict=True):
        for t in range(len(ids) - 1):
            if ids[t + 1] != -100:
                z = [sum(a * b for a, b in zip(row[t], line, strict=True)) for line in table.tolist()]
                asked.append(math.log(sum(map(math.exp, z))) - z[ids[t + 1]])
    return math.fsum(asked), len(asked)


def test_the_loss_is_the_shifted_mean_by_hand():
    """(e) of B2; over other divisors where they are given."""
    h, table, labels = given()
    total, count = by_hand(h, table, labels)
    assert count == next_token.count(labels) == 13
    for divisor, rest in ((count, {}), (20.0, {"total": 20.0})):
        for dense in (False, True):
            value, _ = next_token.loss(h, None, labels, table=table, dense=dense, **rest)
            assert abs(float(value) - total / divisor) < 1e-14


@pytest.mark.parametrize("dense", [False, True])
def test_its_gradients(dense):
    h, table, labels = given(1)

    def forward(h, table):
        return next_token.loss(h, None, labels, table=table, dense=dense)

    def backward(dy, c):
        dh, g, dtable = next_token.loss_backward(dy, c)
        assert not g
        return dh, dtable

    found = gradcheck.check(forward, backward, {"h": h, "table": table})
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR
    c = forward(h, table)[1]
    dh = next_token.loss_backward(np.asarray(1.0), c)[0]
    asked = np.pad(labels["labels"][:, 1:] != -100, ((0, 0), (0, 1)))
    assert np.array_equal(dh.any(-1), asked)  # the last place asks nothing, nor that before a label of -100


def test_the_first_label_and_those_that_ask_nothing_are_no_matter():
    h, table, labels = given(2)
    first, _ = next_token.loss(h, None, labels, table=table)
    others = labels["labels"].copy()
    others[:, 0] = (others[:, 0] + 1) % V
    assert next_token.loss(h, None, {"labels": others}, table=table)[0] == first
    others[:, 1] = (others[:, 1] + 1) % V
    assert next_token.loss(h, None, {"labels": others}, table=table)[0] != first


def test_where_nothing_is_asked_the_loss_is_0():
    """Rows of one token, and labels of -100 alone."""
    h, table, labels = given(3)
    for states, ids in ((h[:, :1], labels["labels"][:, :1]), (h, np.full_like(labels["labels"], -100))):
        for dense in (False, True):
            value, c = next_token.loss(states, None, {"labels": ids}, table=table, dense=dense)
            dh, _, dtable = next_token.loss_backward(np.asarray(1.0), c)
            assert value == 0
            assert dh.shape == states.shape
            assert not dh.any()
            assert not dtable.any()
            assert next_token.count({"labels": ids}) == 0


def test_what_is_right():
    """Of the asked places those whose largest logit is the next token's."""
    h, table, labels = given(4)
    z = next_token.predict(h, None, table=table)
    following, asked = labels["labels"][:, 1:], labels["labels"][:, 1:] != -100
    hits = int(((z[:, :-1].argmax(-1) == following) & asked).sum())
    for dense in (False, True):
        found = next_token.right(next_token.loss(h, None, labels, table=table, dense=dense)[1])
        assert found == (hits, 13, None)
    assert 0 < hits < 13


def test_a_table_of_its_own_and_the_networks():
    """`shapes` has no bias; the term says whose table it is."""
    assert next_token.shapes(table=(V, D)) == {"decoder": {"weight": (V, D)}}
    for tied, part in ((True, None), (False, "lm")):
        config = gpt2.Config(**{**gpt2.PROBE, "tie_word_embeddings": tied})
        (term,) = gpt2.terms(config).values()
        assert (term.part, objective.needs(gpt2, config)) == (part, () if tied else (part,))


def test_drawn_labels_ask_nothing_of_padding():
    lengths = np.array([6, 4, 3])
    drawn = next_token.draw(np.random.default_rng(0), {"B": 3, "T": 6}, {"T": lengths}, table=(V, D))["labels"]
    assert (drawn[0, 1], *(drawn[1:] == -100).sum(1)) == (-100, 2, 3)
    assert next_token.count({"labels": drawn}) == 4 + 3 + 2
