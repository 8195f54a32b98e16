"""The labels of the highest score of a linear-chain CRF, found by trying all: (labels (b, t), scores (b)).

Arguments as in crf_loss; -1 where a step is not in the chain. Of equal scores the one whose last label is lowest, then
the one before it, and so on. Lample et al. 2016 (1603.01360), section 2.2; SPEC OP-CRF.
"""

from .chain_scores import chain_scores


def viterbi(emissions, start_transitions, transitions, end_transitions, *, mask=None):
    found = []
    for row, tokens in enumerate(emissions):
        there = [t for t in range(len(tokens)) if mask is None or mask[row][t]]
        chain = [tokens[t] for t in there]
        ways = chain_scores(chain, start_transitions, transitions, end_transitions) if chain else [([], 0)]
        best, score = max(ways, key=lambda way: way[1])  # of equal ones the first: the last label changes last
        labels = iter(best)
        found.append(([next(labels) if t in there else -1 for t in range(len(tokens))], score))
    return [labels for labels, _ in found], [score for _, score in found]
