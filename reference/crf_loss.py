"""Linear-chain CRF: sum over rows of log Z - score(labels), divided by how many rows have a chain unless given.

Z sums exp(score) over every way to label a row's chain, one by one (`chain_scores`). emissions (b, t, k), labels
(b, t), start and end (k), transitions (k, k) from the row to the column; a step at mask (b, t) 0 is not in the chain.
Lample et al. 2016 (1603.01360), section 2.2; SPEC OP-CRF.
"""

from itertools import pairwise

from .chain_scores import chain_scores
from .scalars import exp, log
from .slopes import zeros


def crf_loss(emissions, start_transitions, transitions, end_transitions, *, labels, mask=None, denominator=None):
    mask = [[1] * len(row) for row in labels] if mask is None else mask
    losses = []
    for tokens, given, bits in zip(emissions, labels, mask, strict=True):
        there = [t for t, bit in enumerate(bits) if bit]
        if there:
            ways = chain_scores([tokens[t] for t in there], start_transitions, transitions, end_transitions)
            top = max(score for _, score in ways)
            right = next(score for y, score in ways if y == [given[t] for t in there])
            losses.append(top + log(sum(exp(score - top) for _, score in ways)) - right)
    denominator = len(losses) if denominator is None else denominator
    return sum(losses) / denominator if denominator else 0 * emissions[0][0][0]


def crf_loss_backward(
    dy, emissions, start_transitions, transitions, end_transitions, *, labels, mask=None, denominator=None
):  # fmt: skip
    """d log Z / d score is the share of a way, P(way) = exp(score) / Z; a score is a sum of entries, each in some ways.
    So every entry's slope is the share of the ways that it is in, less 1 where the right way has it:
    what the chain expects less what is there. Divided by the rows that have a chain, unless a denominator is given.
    """
    mask = [[1] * len(row) for row in labels] if mask is None else mask
    d = {"emissions": zeros(emissions), "start_transitions": zeros(start_transitions),
         "transitions": zeros(transitions), "end_transitions": zeros(end_transitions)}  # fmt: skip
    rows = sum(any(bits) for bits in mask)
    denominator = rows if denominator is None else denominator
    for b, (tokens, given, bits) in enumerate(zip(emissions, labels, mask, strict=True)):
        there = [t for t, bit in enumerate(bits) if bit]
        if not there:
            continue
        ways = chain_scores([tokens[t] for t in there], start_transitions, transitions, end_transitions)
        top = max(score for _, score in ways)
        total = sum(exp(score - top) for _, score in ways)
        for way, score in ways:
            share = exp(score - top) / total - (way == [given[t] for t in there])
            slope = dy * share / denominator
            d["start_transitions"][way[0]] += slope
            d["end_transitions"][way[-1]] += slope
            for t, label in zip(there, way, strict=True):
                d["emissions"][b][t][label] += slope
            for i, j in pairwise(way):
                d["transitions"][i][j] += slope
    return d
