"""Attention among neighbours: chunks, and buckets of a hash."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


RULES = ("own", "buckets", "meetings")
OTHERS, OWN = -1e9, -1e5  # what stands in the place of a forbidden key's score, and of the query's own


@pair("(b,h,6,k)->(b,h,3,6,k)", chunk=2, before=1, after=1)
def neighbours(x: Array, *, chunk: int, before: int, after: int) -> tuple[Array, Cache]:
    """x (B, H, T, K) in chunks of c tokens, each with the `before` chunks in front of it and the `after` behind it,
    (B, H, T/c, (before + 1 + after)·c, K); the first chunk stands behind the last (arXiv 2001.04451, section 2).
    """
    chunks = x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:])
    return _around(chunks, before, after), {"around": (before, after), "shape": x.shape}


@backward
def neighbours_backward(dy: Array, c: Cache) -> Array:
    return _home(dy, *c["around"]).reshape(c["shape"])  # a chunk takes from all that it stands beside


def _around(chunks: Array, before: int, after: int) -> Array:
    """(B, H, N, c, …) with what stands about each chunk, (B, H, N, w, …)."""
    turned = [np.roll(chunks, turn, 2) if turn else chunks for turn in _turns(chunks.shape[2], before, after)]
    return np.concatenate(turned, 3) if turned[1:] else chunks


def _home(around: Array, before: int, after: int) -> Array:
    """The gradient of chunks from that of `_around`."""
    parts = np.split(around, before + 1 + after, 3)
    turns = _turns(around.shape[2], before, after)
    turned = [np.roll(part, -turn, 2) if turn else part for part, turn in zip(parts, turns, strict=True)]
    return kernels.add(*turned) if turned[1:] else around


def _turns(count: int, before: int, after: int) -> list[int]:
    """By how many chunks the ring is turned for each neighbour; as released, not at all for those beyond the ring."""
    return [-i if abs(i) < count else 0 for i in range(-before, after + 1)]


def in_sight(
    at: Array, *, chunk: int, before: int, after: int, causal: bool, mask: Array | None = None
) -> Array | None:  # fmt: skip
    """Bits (…, T/c, c, w), which of its neighbours each query sees; None: all of them. at: the place (B or 1, H or 1,
    T) in the text of each token; causal: none behind its own; mask: bits (B, T) by place, 1 = there.
    """
    queries = at.reshape(*at.shape[:2], -1, chunk)
    keys = _around(queries, before, after)[..., None, :]
    seen = keys <= queries[..., None] if causal else None
    if mask is None or mask.all():
        return seen
    there = mask.astype(bool)[np.arange(len(mask))[:, None, None, None, None], keys]
    return there if seen is None else there & seen


@pair(
    "(b,h,4,k),(b,h,4,k),(b,h,4,k)->(b,h,4,k)", buckets="(b,h,2,4)<3", mask="(b,4)?", dropout="(b,h,4,2,4)+", chunk=2
)  # fmt: skip
def lsh_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    buckets: Array,
    chunk: int,
    before: int = 1,
    after: int = 0,
    causal: bool = False,
    mask: Array | None = None,
    dropout: Array | None = None,
    rules: Sequence[str] = ("own",),
) -> tuple[Array, Cache]:
    """Attention among tokens of one bucket: q, k, v (B, H, T, K), buckets (B, H, R, T) of R rounds -> (B, H, T, K)
    (arXiv 2001.04451, eq. 3-6 and appendix A; q and k are one projection there).

    In each round r the tokens are sorted by bucket, in a bucket by place; a query sees the keys of its chunk of c, and
    of those about it, in that order: the rounds stand one behind the other. With S = q kᵀ/√K, P = softmax S, z = log Σ
    exp S: o_r = (P∘dropout) v, y = Σ_r exp(z_r - log Σ exp z) o_r. What stands in the place of a score, without a
    gradient: OTHERS for what `mask` (B, T) leaves out and, with `causal`, for what comes behind. rules, of RULES:
    "own", OWN for the query itself, which is seen where nothing else is; "buckets", OTHERS for other buckets;
    "meetings", log N is taken from the score of a key that the query meets N times in all rounds. The paper has all
    three, its releases the first.
    dropout (B, H, R·T/c, c, (before + 1 + after)·c). Where T is at most c all are one chunk, without neighbours.
    """
    b, h, t, width = q.shape
    chunk, (before, after) = min(chunk, t), (before, after) if t > chunk else (0, 0)
    order = np.argsort(buckets, -1, kind="stable")
    places = order.reshape(b, h, -1)
    scale = q.dtype.type(np.longdouble(width) ** -0.5)
    rows, keys, values = (_sorted(x, places, chunk) for x in (q * scale, k, v))
    keys, values = _around(keys, before, after), _around(values, before, after)
    s = rows @ keys.swapaxes(-1, -2)
    about = {"chunk": chunk, "before": before, "after": after}
    seen, at = in_sight(places, **about, causal=causal, mask=mask), places.reshape(b, h, -1, chunk)
    if "meetings" in rules:
        met = _meetings(buckets, order, places, "buckets" in rules, **about)
        s = s - np.log(np.maximum(met, 1)).astype(s.dtype)
    if "buckets" in rules:
        home = np.take_along_axis(buckets, order, -1) + (1 + buckets.max()) * np.arange(buckets.shape[2])[:, None]
        home = home.reshape(at.shape)
        same = home[..., None] == _around(home, before, after)[..., None, :]
        seen = same if seen is None else seen & same
    own = (at[..., None] == _around(at, before, after)[..., None, :]) & ("own" in rules)
    s = s if seen is None else np.where(seen, s, s.dtype.type(OTHERS))
    s = np.where(own, s.dtype.type(OWN), s)
    top = s.max(-1, keepdims=True)
    probs = np.exp(s - top)
    total = probs.sum(-1, keepdims=True)
    probs /= total
    factor = None if dropout is None else dropout.astype(q.dtype, copy=False)
    found = (probs if factor is None else probs * factor) @ values
    back = np.argsort(order, -1)
    outputs = np.take_along_axis(found.reshape(*order.shape, -1), back[..., None], 3)  # (B, H, R, T, K)
    top, total = (np.take_along_axis(part.reshape(order.shape), back, 3) for part in (top, total))
    share = total * np.exp(top - top.max(2, keepdims=True))  # softmax z, without the sum of OWN and a logarithm
    share /= share.sum(2, keepdims=True)
    y = (share[..., None] * outputs).sum(2)
    fixed = own if seen is None else own | ~seen
    c = {"rows": rows, "keys": keys, "values": values, "probs": probs, "dropout": factor, "fixed": fixed}
    c |= {"outputs": outputs, "share": share, "order": order, "back": back, "around": (before, after), "scale": scale}
    return y, c


@backward
def lsh_attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
    # y = Σ w_r o_r, w = softmax z: do_r = w_r dy, dz = w∘(dw - Σ dw∘w), dw_r = dy·o_r. With dz/dS = P:
    # dS = P∘(dP - Σ dP∘P + dz), 0 where a score is fixed; a token has one key for all its meetings: their sum
    share, order, probs, keys, values = c["share"], c["order"], c["probs"], c["keys"], c["values"]
    dshare = (dy[:, :, None] * c["outputs"]).sum(-1)
    dz = share * (dshare - (dshare * share).sum(2, keepdims=True))
    chunks = *probs.shape[:4], -1
    dfound = np.take_along_axis(share[..., None] * dy[:, :, None], order[..., None], 3).reshape(chunks)
    dz = np.take_along_axis(dz, order, 3).reshape(chunks)
    dprobs = dfound @ values.swapaxes(-1, -2)
    dprobs = dprobs if c["dropout"] is None else dprobs * c["dropout"]
    ds = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True) + dz)
    ds[c["fixed"]] = 0
    mixed = probs if c["dropout"] is None else probs * c["dropout"]
    drows = (ds @ keys) * c["scale"]
    dkeys, dvalues = (_home(m.swapaxes(-1, -2) @ x, *c["around"]) for m, x in ((ds, c["rows"]), (mixed, dfound)))
    back = c["back"][..., None]
    return tuple(np.take_along_axis(d.reshape(*order.shape, -1), back, 3).sum(2) for d in (drows, dkeys, dvalues))


def _sorted(x: Array, places: Array, chunk: int) -> Array:
    """The tokens of x (B, H, T, K) in the order of places (B, H, R·T), in chunks (B, H, R·T/c, c, K)."""
    return np.take_along_axis(x, places[..., None], 2).reshape(*x.shape[:2], -1, chunk, x.shape[3])


def _meetings(
    buckets: Array, order: Array, places: Array, alike: bool, *, chunk: int, before: int, after: int
) -> Array:
    """How often, in all rounds, each query has each of its neighbours (B, H, R·T/c, c, w) about it; alike: in its own
    bucket.
    """
    b, h, rounds, t = order.shape
    count = rounds * t // chunk
    number = (np.argsort(order, -1) + t * np.arange(rounds)[:, None]) // chunk  # the chunk of each token in each round
    met: Any = 0
    for r in range(rounds):
        chunks, homes = ((lambda x: x.reshape(b, h, -1, chunk))(np.take_along_axis(x[:, :, r], places, 2))
                         for x in (number, buckets))  # fmt: skip
        others, same = _around(chunks, before, after), _around(homes, before, after)[..., None, :] == homes[..., None]
        same = same | (not alike)
        for turn in _turns(count, before, after):
            met = met + (same & ((chunks[..., None] - turn) % count == others[..., None, :]))
    return met
