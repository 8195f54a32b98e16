"""Linear-chain CRF: sum over rows of log Z - score(labels), divided by how many rows have a chain unless given.

Z sums exp(score) over every way to label a row's chain, one by one (`chain_scores`). emissions (b, t, k), labels
(b, t), start and end (k), transitions (k, k) from the row to the column; a step at mask (b, t) 0 is not in the chain.
Lample et al. 2016 (1603.01360), section 2.2; SPEC OP-CRF.
"""

from .chain_scores import chain_scores
from .numbers import exp, log


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
