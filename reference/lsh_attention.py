"""Attention among tokens of one bucket, in R rounds: y_i = sum_r exp(z_r - log sum exp z) o_r.

q, k, v (b, h, t, K), buckets (b, h, R, t) -> (b, h, t, K). The line of all rounds, each with its tokens sorted by
bucket, then by place, is cut into chunks; a query sees its own and those about it (`hash_line`). o_r and z_r are the
mixture and the log of the sum of exp of its scores there: q_i . k_j / sqrt(K), or -1e9 for what mask
(b, t) or `causal` leave out. rules: "own", -1e5 for j = i; "buckets", -1e9 for another bucket or round; "meetings", log
N less for what i meets N times.
Kitaev et al. 2020 (2001.04451), eq. 2-6 and appendix A; SPEC OP-LSH.
"""

from .hash_line import hash_line
from .hash_scores import hash_scores
from .lists import dot
from .scalars import constant, exp, log, sqrt
from .softmax import softmax, softmax_backward


def lsh_attention(q, k, v, *, buckets, chunk, before=1, after=0, causal=False, mask=None, dropout=None, rules=("own",)):
    def head(q, k, v, buckets, seen, factors):
        found = hash_line(buckets, chunk, before, after)
        scores = hash_scores(q, k, buckets, seen, causal, rules, found)
        return [together(*rounds(i, v, scores, found, factors))[1] for i in range(len(q))]

    return over_heads(head, q, k, v, buckets, mask, dropout)


def lsh_attention_backward(dy, q, k, v, *, buckets, chunk, before=1, after=0, causal=False, mask=None, dropout=None,
                           rules=("own",)):
    """With w = softmax z over the rounds, P = softmax S and f the dropout factors, for each token i and round r:

        do_r = w_r dy_i,  dw_r = dy_i . o_r,  dz_r = w_r (dw_r - sum_s dw_s w_s)
        dv_j += P_j f_j do_r,  dP_j = f_j do_r . v_j,  dS_j = P_j (dP_j - sum_l dP_l P_l + dz_r), as dz/dS = P
        dq_i += dS_j k_j / sqrt(K),  dk_j += dS_j q_i / sqrt(K), where S_j is a product and no constant
    """
    def head(q, k, v, buckets, seen, factors, dy):
        found, slopes = hash_line(buckets, chunk, before, after), {n: [[0 * a for a in x] for x in q] for n in "qkv"}
        scores = hash_scores(q, k, buckets, seen, causal, rules, found)
        scale = 1 / sqrt(constant(str(len(q[0])), q[0][0]))
        for i, slope in enumerate(dy):
            zs, outputs, weights = rounds(i, v, scores, found, factors)
            shares, _ = together(zs, outputs, weights)
            dzs = softmax_backward([dot(slope, o) for o in outputs], zs)["x"]
            for r, dz in enumerate(dzs):
                own, kept, chosen = [shares[r] * d for d in slope], kept_of(found, factors, r, i), scores[r, i]
                dps = [f * dot(own, v[j]) for f, (j, _, _) in zip(kept, chosen, strict=True)]
                mean = dot(dps, weights[r])
                for (j, _, free), p, f, dp in zip(chosen, weights[r], kept, dps, strict=True):
                    ds = scale * p * (dp - mean + dz) if free else 0 * dp
                    for name, at, step, x in (("v", j, p * f, own), ("q", i, ds, k[j]), ("k", j, ds, q[i])):
                        slopes[name][at] = [a + step * b for a, b in zip(slopes[name][at], x, strict=True)]
        return slopes

    found = over_heads(head, q, k, v, buckets, mask, dropout, dy)
    return {name: [[head[name] for head in heads] for heads in found] for name in "qkv"}


def kept_of(found, factors, r, i):
    n, s, about = found[r, i]
    return factors[n][s] if factors else [1] * len(about)


def rounds(i, v, scores, found, factors):
    """(z, o and the weights of what it sees) of a token in each round."""
    zs, outputs, weights = [], [], []
    for r in sorted(r for r, other in found if other == i):
        own, top = scores[r, i], max(s for _, s, _ in scores[r, i])
        weights.append(softmax([s for _, s, _ in own]))
        zs.append(top + log(sum(exp(s - top) for _, s, _ in own)))
        mixed = [w * f for w, f in zip(weights[-1], kept_of(found, factors, r, i), strict=True)]
        outputs.append([dot(mixed, column) for column in zip(*(v[j] for j, _, _ in own), strict=True)])
    return zs, outputs, weights


def together(zs, outputs, weights):
    shares = softmax(zs)
    return shares, [dot(shares, column) for column in zip(*outputs, strict=True)]


def over_heads(head, q, k, v, buckets, mask, dropout, *more):
    """head of each row's heads; mask and dropout may be none."""
    def row(b, h):
        seen = [1] * len(q[b][h]) if mask is None else mask[b]
        return head(*(a[b][h] for a in (q, k, v, buckets)), seen, dropout and dropout[b][h], *(a[b][h] for a in more))

    return [[row(b, h) for h in range(len(heads))] for b, heads in enumerate(q)]
