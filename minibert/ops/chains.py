"""A linear-chain conditional random field: its loss, its best path."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.ops.losses import reciprocal
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(b,3,m),(m),(m,m),(m)->()", labels="(b,3)<m", mask="(b,3)?")
def crf_loss(
    emissions: Array,
    start_transitions: Array,
    transitions: Array,
    end_transitions: Array,
    *,
    labels: Array,
    mask: Array | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ_rows (log Z - score(labels)) / denominator, in nats: what labels are worth against all others of their row
    (Lafferty et al. 2001; Lample et al. 2016, arXiv 1603.01360, section 2.2).

    score(y) = start[y_1] + Σ_t e[t, y_t] + Σ_t A[y_(t-1), y_t] + end[y_T], Z = Σ_y exp score(y) over all y, by the
    forward algorithm: α_t(j) = e[t, j] + log Σ_i exp(α_(t-1)(i) + A[i, j]).

    emissions (B, T, K), labels (B, T); transitions (K, K), from the row to the column, start and end (K,), under their
    names in published checkpoints. mask: bits (B, T), 1 = in the chain; what is not is left out, wherever it stands,
    and its label may be anything. denominator: how many rows have a chain, unless given; one without counts nothing.
    """
    e, order, lengths = _chains(emissions, mask)
    e = e - _top(e, 2)  # what all labels of a step share cancels: with it log Z and the score would be large
    y = np.where(_within(lengths, e), np.take_along_axis(labels, order, 1), 0)
    w = (lengths > 0).astype(e.dtype)
    w = w * reciprocal(w, denominator)
    alpha, norms = [], []  # α less log Σ α, which is added up by itself: of a long chain α would be large
    for t in range(e.shape[1]):
        a = e[:, t] + (_log_sum_exp(alpha[-1][:, :, None] + transitions, 1) if t else start_transitions)
        norms.append(_log_sum_exp(a, 1))
        alpha.append(a - _finite(norms[-1])[:, None])
    alpha, rows, last = np.stack(alpha, 1), np.arange(len(e)), np.maximum(lengths - 1, 0)
    steps = np.take_along_axis(e, y[..., None], 2)[..., 0]
    steps[:, 0] += start_transitions[y[:, 0]]
    steps[:, 1:] += transitions[y[:, :-1], y[:, 1:]]
    ends = _log_sum_exp(alpha[rows, last] + end_transitions, 1) - end_transitions[y[rows, last]]
    nll = np.where(_within(lengths, e), np.stack(norms, 1) - steps, 0).sum(1) + ends  # log Z - score
    loss = np.where(w == 0, 0, w * nll).sum(dtype=e.dtype)
    c = {"e": e, "order": order, "lengths": lengths, "labels": y, "weights": w, "alpha": alpha}
    c |= {"start": start_transitions, "transitions": transitions, "end": end_transitions}
    return np.asarray(loss), {**c, "length": emissions.shape[1]}


@backward
def crf_loss_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # dlog Z/de[t, j] = P(y_t = j), dlog Z/dA[i, j] = Σ_t P(y_(t-1) = i, y_t = j), by the backward algorithm:
    # β_T = end, β_t(i) = log Σ_j exp(A[i, j] + e[t+1, j] + β_(t+1)(j)); P(y_t) = softmax(α_t + β_t), of pairs the
    # softmax of α_t(i) + A[i, j] + e[t+1, j] + β_(t+1)(j); of the score 1 for each label and each pair of them
    e, alpha, transitions, y = c["e"], c["alpha"], c["transitions"], c["labels"]
    w, inside, rows = dy * c["weights"], _within(c["lengths"], e), np.arange(len(e))
    last = inside & ~np.pad(inside[:, 1:], ((0, 0), (0, 1)))
    de, dtransitions = np.empty_like(e), np.zeros_like(transitions)
    beta = np.broadcast_to(c["end"], e[:, 0].shape)
    for t in reversed(range(e.shape[1])):
        if t + 1 < e.shape[1]:
            ahead = transitions + (e[:, t + 1] + beta)[:, None]  # (B, K, K)
            pairs = _weighed(alpha[:, t, :, None] + ahead, np.where(inside[:, t + 1], w, 0))
            dtransitions += pairs.sum(0)
            np.subtract.at(dtransitions, (y[:, t], y[:, t + 1]), w * inside[:, t + 1])
            beta = np.where(last[:, t, None], c["end"], _log_sum_exp(ahead - _top(ahead, (1, 2)), 2))
        de[:, t] = _weighed(alpha[:, t] + beta, np.where(inside[:, t], w, 0))
        de[rows, t, y[:, t]] -= w * inside[:, t]
    whole = np.zeros((len(e), c["length"], e.shape[2]), e.dtype)
    np.put_along_axis(whole, c["order"][..., None], de, 1)
    dend = (de * last[..., None]).sum((0, 1))
    return whole, {"start_transitions": de[:, 0].sum(0), "transitions": dtransitions, "end_transitions": dend}


def _weighed(scores: Array, w: Array) -> Array:
    """w times the softmax over all but the rows; 0 where w is, whatever the scores."""
    flat = scores.reshape(len(scores), -1)
    shares = kernels.softmax(np.where(w[:, None] == 0, 0, flat), np.empty_like(flat))
    return (w[:, None] * shares).reshape(scores.shape)


def viterbi(
    emissions: Array,
    start_transitions: Array,
    transitions: Array,
    end_transitions: Array,
    *,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """(labels (B, T) of the highest score of `crf_loss`, -1 where nothing is in the chain; their scores (B,)).

    Of equal scores the one whose last label is lowest, then the label before it, and so on. What must not follow has a
    transition of -inf.
    """
    e, order, lengths = _chains(emissions, mask)
    best, came = start_transitions + e[:, 0], []
    ended = np.where(lengths[:, None] == 1, best, 0)  # the scores where the chain ends
    for t in range(1, e.shape[1]):
        through = best[:, :, None] + transitions  # (B, K, K)
        came.append(through.argmax(1))
        best = e[:, t] + through.max(1)
        ended = np.where(lengths[:, None] == t + 1, best, ended)
    ended = ended + end_transitions
    y = np.empty(e.shape[:2], np.int64)
    for t in reversed(range(e.shape[1])):
        follows = 0 if t + 1 == e.shape[1] else np.take_along_axis(came[t], y[:, t + 1, None], 1)[:, 0]
        y[:, t] = np.where(lengths == t + 1, ended.argmax(1), follows)
    labels = np.full(emissions.shape[:2], -1)
    np.put_along_axis(labels, order, np.where(_within(lengths, e), y, -1), 1)
    return labels, np.where(lengths > 0, ended.max(1), 0)


def _chains(emissions: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """(emissions of what is in the chain, each row's in front, as long as the longest; their places; their number)."""
    mask = np.ones(emissions.shape[:2], bool) if mask is None else mask.astype(bool)
    lengths = mask.sum(1)
    order = np.argsort(~mask, axis=1, kind="stable")[:, : max(1, lengths.max(initial=0))]
    return np.take_along_axis(emissions, order[..., None], 1), order, lengths


def _within(lengths: Array, e: Array) -> Array:
    """Bits (B, T) of the steps that a chain has."""
    return np.arange(e.shape[1]) < lengths[:, None]


def _top(x: Array, axis: int | tuple[int, ...]) -> Array:
    """The maximum, 0 where that is -inf: from what is all forbidden nothing is subtracted."""
    return _finite(x.max(axis, keepdims=True))


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), x, 0)


def _log_sum_exp(x: Array, axis: int) -> Array:
    top = _top(x, axis)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axis)) + top.squeeze(axis)
