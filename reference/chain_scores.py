"""Every way to label the steps of a chain, with its score: [(labels, score)], the last label changing last.

chain (t, k) scores of each step, start and end (k), transitions (k, k) from the row to the column.
Lample et al. 2016 (1603.01360), section 2.2; SPEC OP-CRF.
"""


def chain_scores(chain, start, transitions, end):
    ways, labels = [([i], a + b) for i, (a, b) in enumerate(zip(start, chain[0], strict=True))], range(len(start))
    for step in chain[1:]:
        ways = [([*y, j], total + transitions[y[-1]][j] + step[j]) for j in labels for y, total in ways]
    return [(y, total + end[y[-1]]) for y, total in ways]
