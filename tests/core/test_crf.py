"""The linear-chain CRF beside all labels tried one by one, and beside the published implementation."""

import itertools

import numpy as np
import pytest
from draws import RNG, same, the_same_draws  # noqa: F401

import reference
from minibert import ops

NAMES = ("start_transitions", "transitions", "end_transitions")


def scores(classes, rng=RNG):
    return {name: rng.standard_normal((classes,) * (1 + (name == "transitions"))) for name in NAMES}


def tried(emissions, p, mask):
    """By row, {labels: score} of every chain, by the equation."""
    found = []
    for e, bits in zip(emissions, mask, strict=True):
        chain, ways = e[bits.astype(bool)], {}
        for y in itertools.product(range(e.shape[1]), repeat=len(chain)):
            steps = sum(chain[t, k] for t, k in enumerate(y))
            steps += sum(p["transitions"][i, j] for i, j in itertools.pairwise(y))
            ways[y] = p["start_transitions"][y[0]] + steps + p["end_transitions"][y[-1]] if y else 0.0
        found.append(ways)
    return found


def test_the_partition_the_marginals_and_the_best_are_those_of_all_labels():
    """Three classes, four steps, padding at the end and within; the gradient of a sum is P minus the labels' counts."""
    e, p, y = RNG.standard_normal((3, 4, 3)), scores(3), RNG.integers(0, 3, (3, 4))
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 0]])
    loss, c = ops.crf_loss(e, **p, labels=np.where(mask, y, -100), mask=mask, denominator=1.0)
    de, g = ops.crf_loss_backward(np.asarray(1.0), c)
    due, marginals, pairs = 0.0, np.zeros_like(e), np.zeros((3, 3))
    for row, ways in enumerate(tried(e, p, mask)):
        there, weights = np.flatnonzero(mask[row]), np.exp([*ways.values()])
        right = tuple(y[row, there])
        due += np.log(weights.sum()) - ways[right]
        for labels, share in [*zip(ways, weights / weights.sum(), strict=True), (right, -1.0)]:
            marginals[row, there, labels] += share
            np.add.at(pairs, (labels[:-1], labels[1:]), share)
    same(loss, due)
    same(de, marginals)
    same(g["transitions"], pairs)
    assert not de[mask == 0].any()
    found, best = ops.viterbi(e, **p, mask=mask)
    for row, ways in enumerate(tried(e, p, mask)):
        top = max(ways, key=ways.get)
        assert tuple(found[row, mask[row] == 1]) == top
        assert abs(best[row] - ways[top]) < 1e-13
    assert (found[mask == 0] == -1).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_best_labels_are_the_doubles_where_scores_are_equal(seed):
    """Scores 0 and 1: many ways are the best; rows of any length, and one of nothing."""
    rng = np.random.default_rng(seed)
    p = {name: rng.integers(0, 2, (2,) * (1 + (name == "transitions"))).astype(float) for name in NAMES}
    e, mask = rng.integers(0, 2, (5, 4, 2)).astype(float), rng.integers(0, 2, (5, 4))
    mask[0], mask[1] = 0, 1
    labels, best = reference.double("viterbi")(e.tolist(), *(p[name].tolist() for name in NAMES), mask=mask.tolist())
    found = ops.viterbi(e, **p, mask=mask)
    assert found[0].tolist() == labels
    assert found[1].tolist() == best


def test_it_is_the_published_one():
    """Loss, every gradient, and the labels found, of rows of unequal length."""
    torch = pytest.importorskip("torch", reason="the published implementation is torch's")
    published = pytest.importorskip("torchcrf", reason="pytorch-crf is the published implementation")
    e, p, y = RNG.standard_normal((4, 6, 5)), scores(5), RNG.integers(0, 5, (4, 6))
    mask = np.arange(6) < np.array([6, 1, 3, 5])[:, None]
    theirs = published.CRF(5, batch_first=True).double()
    with torch.no_grad():
        for name, a in p.items():
            getattr(theirs, name).copy_(torch.tensor(a))
    given = torch.tensor(e, requires_grad=True)
    for reduction, denominator in (("mean", None), ("sum", 1.0), ("token_mean", float(mask.sum()))):
        theirs.zero_grad()
        given.grad = None
        due = -theirs(given, torch.tensor(y), mask=torch.tensor(mask), reduction=reduction)
        due.backward()
        loss, c = ops.crf_loss(e, **p, labels=y, mask=mask, denominator=denominator)
        de, g = ops.crf_loss_backward(np.asarray(1.0), c)
        same(loss, due.detach().numpy())
        same(de, given.grad.numpy())
        for name in NAMES:
            same(g[name], getattr(theirs, name).grad.numpy())
    found = ops.viterbi(e, **p, mask=mask)[0]
    assert [row[bits].tolist() for row, bits in zip(found, mask, strict=True)] == theirs.decode(
        torch.tensor(e), mask=torch.tensor(mask)
    )


def test_without_transitions_it_is_a_softmax_at_each_step():
    e, y = RNG.standard_normal((2, 4, 3)), RNG.integers(0, 3, (2, 4))
    p = {name: 0 * a for name, a in scores(3).items()}
    loss, c = ops.crf_loss(e, **p, labels=y)
    due, own = ops.cross_entropy(e, labels=y, denominator=2.0)
    same(loss, due)
    same(ops.crf_loss_backward(np.asarray(1.0), c)[0], ops.cross_entropy_backward(np.asarray(1.0), own))


def test_padding_changes_nothing_and_a_row_of_it_counts_nothing():
    e, p, y = RNG.standard_normal((2, 3, 4)), scores(4), RNG.integers(0, 4, (2, 3))
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    loss, c = ops.crf_loss(e, **p, labels=y, mask=mask)
    longer = np.full((3, 5, 4), np.nan)
    longer[:2, :3] = np.where(mask[..., None], e, np.nan)
    labels, wide = np.full((3, 5), -100), np.zeros((3, 5), np.int64)
    labels[:2, :3], wide[:2, :3] = np.where(mask, y, -100), mask
    again, more = ops.crf_loss(longer, **p, labels=labels, mask=wide)
    assert again == loss
    de, g = ops.crf_loss_backward(np.asarray(1.0), more)
    due, own = ops.crf_loss_backward(np.asarray(1.0), c)
    assert np.array_equal(de[:2, :3], due)
    assert not de[2].any()
    assert not de[:, 3:].any()
    for name in NAMES:
        same(g[name], own[name])
    nothing, c = ops.crf_loss(e, **p, labels=y, mask=0 * mask)
    assert nothing == 0
    assert not any(a.any() for a in (lambda de, g: (de, *g.values()))(*ops.crf_loss_backward(np.asarray(1.0), c)))


def test_what_must_not_follow_never_does():
    """Labels O, B, I: I only behind B or I, whatever the scores say; the loss of labels that may be is finite."""
    e, p = RNG.standard_normal((8, 6, 3)), scores(3)
    e[..., 2] += 3
    p["transitions"][0, 2] = p["start_transitions"][2] = 5.0
    before = np.pad(ops.viterbi(e, **p)[0], ((0, 0), (1, 0)))
    assert ((before[:, :-1] == 0) & (before[:, 1:] == 2)).any()
    p["transitions"][0, 2] = p["start_transitions"][2] = -np.inf
    found = np.pad(ops.viterbi(e, **p)[0], ((0, 0), (1, 0)))
    assert not ((found[:, :-1] == 0) & (found[:, 1:] == 2)).any()
    loss, c = ops.crf_loss(e, **p, labels=found[:, 1:])
    de, g = ops.crf_loss_backward(np.asarray(1.0), c)
    assert np.isfinite(loss)
    assert all(np.isfinite(a).all() for a in (de, *g.values()))
    assert g["transitions"][0, 2] == 0


def test_large_scores_do_not_overflow_and_cost_no_accuracy():
    """float32 emissions around 1e4: loss and gradient are as exact as these; of likely labels not below 0."""
    e, p = (1e4 + RNG.standard_normal((2, 5, 3))).astype(np.float32), scores(3)
    p, y = {name: a.astype(np.float32) for name, a in p.items()}, RNG.integers(0, 3, (2, 5))
    wide = {name: a.astype(np.float64) for name, a in p.items()}
    with np.errstate(over="raise", invalid="raise"):
        loss, c = ops.crf_loss(e, **p, labels=y)
        de, _ = ops.crf_loss_backward(np.float32(1.0), c)
    due, own = ops.crf_loss(e.astype(np.float64), **wide, labels=y)
    same(loss, due, 1e-6)
    same(de, ops.crf_loss_backward(np.asarray(1.0), own)[0], 1e-6)
    assert loss.dtype == de.dtype == np.float32
    e[np.arange(2)[:, None], np.arange(5), y] += 1e3
    assert ops.crf_loss(e, **p, labels=y)[0] >= 0
