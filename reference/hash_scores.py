"""The scores of what each token sees in each round (`lsh_attention`): q_i . k_j / sqrt(K), or what stands for them.

q, k (t, K), buckets (R, t), seen (t) bits, found of `hash_line` -> {(round, token): [(token, score, whether it is a
product)]}. Kitaev et al. 2020 (2001.04451), eq. 4 and appendix A; SPEC OP-LSH.
"""

from .lists import dot
from .scalars import constant, log, sqrt


def hash_scores(q, k, buckets, seen, causal, rules, found):
    """(round, token) -> [(token, score, whether it is a slope's)] of each that it sees."""
    def same(r, i, other, j):
        return r == other and buckets[r][i] == buckets[r][j]

    def score(r, i, other, j):
        alone = i == j and "own" in rules
        if alone or not seen[j] or (causal and j > i) or ("buckets" in rules and not same(r, i, other, j)):
            return (j, constant("-1e5" if alone else "-1e9", q[0][0]), False)
        meetings = [e for m in range(len(buckets)) for e in found[m, i][2]
                    if e == (m, j) and ("buckets" not in rules or same(m, i, *e))]
        met = len(meetings) if "meetings" in rules else 1
        return (j, dot(q[i], k[j]) / sqrt(constant(str(len(q[i])), q[i][0])) - log(met + 0 * q[0][0]), True)

    return {(r, i): [score(r, i, *entry) for entry in about] for (r, i), (_, _, about) in found.items()}
