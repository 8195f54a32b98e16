"""Attention of one head or several: what each token takes from those that it may see.

    S = Q Kᵀ / √K,   S = the most negative number where mask is 0,   y = softmax(S) V

Softmax over the last axis, as in the first exercise. q (B, H, T, K), k and v (B, H, S, K), mask (B, 1, 1, S), 1 = may
be seen -> (B, H, T, K). A row that may see nothing takes the mean of all values: never NaN.
"""

import numpy as np

from minibert.exercises.softmax import softmax

ORDER, CLAUSE, CASE = 9, "OP-ATT-2", "bert/masked-row"
LEAST = np.finfo(float).min


def attention(q, k, v, mask):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    return softmax(np.where(mask == 0, LEAST, scores)) @ v


def calls(rng):
    one = np.array([[[[1.0, 0.0]]]]), np.array([[[[2.0, 0.0], [0.0, 2.0]]]]), np.array([[[[1.0, 0.0], [0.0, 1.0]]]])
    yield {**dict(zip("qkv", one, strict=True)), "mask": np.array([[[[1, 1]]]])}
    yield {**dict(zip("qkv", one, strict=True)), "mask": np.array([[[[1, 0]]]])}
    yield {**dict(zip("qkv", one, strict=True)), "mask": np.array([[[[0, 0]]]])}
    drawn = {name: rng.standard_normal((2, 2, 3, 4)) for name in "qkv"}
    mask = np.array([[[[1, 1, 1]]], [[[1, 1, 0]]]])
    yield {**drawn, "mask": mask}
    yield {"q": rng.standard_normal((2, 2, 5, 4)), "k": drawn["k"], "v": drawn["v"], "mask": mask}
    yield {**drawn, "mask": np.array([[[[0, 0, 0]]], [[[1, 0, 1]]]])}


def _scored(scale=None, after=None, weighed=None):
    """Attention with another scale, or other scores by the mask, or another softmax."""

    def answer(q, k, v, mask):
        scores = q @ k.swapaxes(-1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale(q))
        scores = np.where(mask == 0, LEAST, scores) if after is None else after(scores, mask)
        return (softmax if weighed is None else weighed)(scores) @ v

    return answer


WRONG = {
    "A06: the scale 1/√K is missing": _scored(lambda q: 1),
    "A04: scaled by 1/√(H·K), the width of all heads": _scored(lambda q: (q.shape[1] * q.shape[-1]) ** -0.5),
    "A05: scaled by 1/√H": _scored(lambda q: q.shape[1] ** -0.5),
    "A07: scaled twice: by 1/K": _scored(lambda q: 1 / q.shape[-1]),
    "scaled by 1/√T": _scored(lambda q: q.shape[2] ** -0.5),
    "it multiplies by √K where it should divide": _scored(lambda q: q.shape[-1] ** 0.5),
    "A12: the mask is not used": _scored(after=lambda s, mask: s),
    "A11: the mask is turned round: 1 = may be seen": _scored(after=lambda s, mask: np.where(mask == 1, LEAST, s)),
    "A10: hidden scores are 0, as when the mask multiplies them: a score of 0 is not hidden": _scored(
        after=lambda s, mask: s * mask
    ),
    "A10: the mask multiplies the weights, whose sum is then less than 1": lambda q, k, v, mask: (
        (softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])) * mask) @ v
    ),
    "A14: a row that may see nothing becomes NaN: -inf for what is hidden, or weights divided by their sum, 0": _scored(
        after=lambda s, mask: np.where(mask == 0, -np.inf, s)
    ),
    "A15: hidden scores are lowered by 10,000: that is BERT's release, not the most negative number": _scored(
        after=lambda s, mask: s - 1e4 * (1 - mask)
    ),
    "A15: hidden scores are lowered by 1e9": _scored(after=lambda s, mask: s - 1e9 * (1 - mask)),
    "A34: the mask itself is added to the scores": _scored(after=lambda s, mask: s + mask),
    "A13: the mask hides rows of queries, not keys": lambda q, k, v, mask: _scored(
        after=lambda s, m: (
            np.where(m.swapaxes(-1, -2) == 0, LEAST, s) if s.shape[2] == s.shape[3] else (np.where(m == 0, LEAST, s))
        )
    )(q, k, v, mask),
    "A09: softmax over the queries, not over the keys": _scored(
        weighed=lambda s: softmax(s.swapaxes(-1, -2)).swapaxes(-1, -2)
    ),
    "A09: softmax over all scores of a head together": _scored(
        weighed=lambda s: softmax(s.reshape(*s.shape[:2], -1)).reshape(s.shape)
    ),
    "softmax is missing": _scored(weighed=lambda s: np.where(s == LEAST, 0, s)),
    "A30: queries and keys are in each other's place": lambda q, k, v, mask: (
        attention(k, q, v, mask) if q.shape == k.shape else attention(q, k, v, mask)
    ),
    "A32: keys and values are in each other's place": lambda q, k, v, mask: attention(q, v, k, mask),
    "a row that may see nothing takes 0, not the mean of all values": lambda q, k, v, mask: (
        attention(q, k, v, mask) * (mask.sum(-1, keepdims=True) > 0)
    ),
    "the weights are scaled, behind softmax: the scores are to be": lambda q, k, v, mask: (
        _scored(lambda q: 1)(q, k, v, mask) / np.sqrt(q.shape[-1])
    ),
    "the keys are added up, not the values": lambda q, k, v, mask: attention(q, k, k, mask),
    "each token sees only those up to itself: that is a causal mask, of a model that writes": _scored(
        after=lambda s, mask: np.where((mask == 0) | (np.tri(*s.shape[2:]) == 0), LEAST, s)
    ),
}


def put(answer):
    """In each layer, where nothing is dropped."""

    def forward(f, args, constants):
        y, c = f(*args, **constants)
        plain = constants.get("dropout") is None and constants.get("bias") is None and len(args) == 3
        if not plain:
            return y, c
        mask = constants.get("mask")
        q, k, v = args
        mask = np.ones((len(q), 1, 1, k.shape[2]), int) if mask is None else mask
        return answer(q=q, k=k, v=v, mask=np.broadcast_to(mask, (len(q), 1, 1, k.shape[2]))), c

    return {"attention": forward}
