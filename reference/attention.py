"""Scaled dot-product attention: y = (dropout * softmax(scale q k^T + bias)) v, scale = 1 / sqrt(K).

q (..., h, t, K), k and v (..., h, s, K) -> (..., h, t, K); bias and dropout broadcast to (..., h, t, s).
A mask of 1 and 0 becomes such a bias: 0 where a key is there, the most negative number where not. -1e30 or below
forbids a key: probability 0; a row that forbids every key is uniform over all of them.
Vaswani et al. 2017 (1706.03762), eq. 1; SPEC OP-ATT.
"""

from .lists import broadcast, dot, each, shape
from .scalars import constant, sqrt
from .slopes import gathered, zeros
from .softmax import softmax, softmax_backward

FORBIDDEN = -1e30  # float32 and float64 lose a score beside this, so that only "forbidden" is left of it


def attention(q, k, v, *, bias=None, dropout=None, scale=None):
    def probabilities(query, keys, biases):
        if all(b <= FORBIDDEN for b in biases):
            return softmax([0 * query[0] for _ in keys])
        factor = 1 / sqrt(constant(str(len(query)), query[0])) if scale is None else scale
        return softmax([factor * dot(query, key) + b for key, b in zip(keys, biases, strict=True)])

    def mixture(weights, values):
        return [dot(weights, column) for column in zip(*values, strict=True)]

    def head(queries, keys, values, biases, factors):
        weights = [probabilities(query, keys, row) for query, row in zip(queries, biases, strict=True)]
        return [mixture(row, values) for row in each(0, lambda w, f: w * f, weights, factors)]

    to = [*shape(q)[:-1], shape(k)[-2]]
    bias, dropout = (broadcast(unit if given is None else given, to) for given, unit in ((bias, 0), (dropout, 1)))
    return each(2, head, q, k, v, bias, dropout)


def attention_backward(dy, q, k, v, *, bias=None, dropout=None, scale=None):
    """With S_ts = c q_t . k_s + bias_ts, P = softmax(S) over s, y_t = sum_s (P_ts f_ts) v_s, f the dropout factors:

        dv_s = sum_t P_ts f_ts dy_t              each query that took from s
        dP_ts = f_ts dy_t . v_s
        dS_ts = P_ts (dP_ts - sum_r dP_tr P_tr)  softmax, row by row
        dq_t = c sum_s dS_ts k_s,  dk_s = c sum_t dS_ts q_t,  dbias_ts = dS_ts

    A row that forbids every key does not depend on its scores: there dS = 0. In arrays: dv = (P f)^T dy,
    dq = c dS k, dk = c dS^T q.
    """
    to = [*shape(q)[:-1], shape(k)[-2]]
    biases, factors = (broadcast(unit if given is None else given, to) for given, unit in ((bias, 0), (dropout, 1)))

    def head(slopes, queries, keys, values, row_biases, row_factors):
        factor = 1 / sqrt(constant(str(len(queries[0])), queries[0][0])) if scale is None else scale
        dq, dk, dv, dbias = *(zeros(rows) for rows in (queries, keys, values)), []
        for t, (slope, query) in enumerate(zip(slopes, queries, strict=True)):
            forbidden = all(b <= FORBIDDEN for b in row_biases[t])
            scores = [0 * query[0] if forbidden else factor * dot(query, key) + b
                      for key, b in zip(keys, row_biases[t], strict=True)]  # fmt: skip
            dweights = [f * dot(slope, value) for f, value in zip(row_factors[t], values, strict=True)]
            dscores = [0 * s if forbidden else s for s in softmax_backward(dweights, scores)["x"]]
            dbias.append(dscores)
            for s, weight in enumerate(softmax(scores)):
                for i, d in enumerate(slope):
                    dv[s][i] += weight * row_factors[t][s] * d
                for i in range(len(query)):
                    dq[t][i] += factor * dscores[s] * keys[s][i]
                    dk[s][i] += factor * dscores[s] * query[i]
        return {"q": dq, "k": dk, "v": dv, "bias": dbias}

    heads = each(2, head, dy, q, k, v, biases, factors)
    slopes = {name: each(0, lambda one, part=name: one[part], heads) for name in ("q", "k", "v", "bias")}
    dbias = slopes.pop("bias")
    return slopes if bias is None else {**slopes, "bias": gathered(bias, dbias)}
