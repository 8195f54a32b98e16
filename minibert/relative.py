"""Relative positions: what of the distance from a query to a key enters its score."""

import functools
from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


def buckets(queries: int, keys: int, *, both: bool, count: int, most: int, first: int = 0) -> Array:
    """The bucket (T, S) of each distance, key - query, of queries first, first + 1, … to keys 0, 1, … (Raffel et al.
    2019, arXiv 1910.10683, section 2.1; where logarithms decide, as in the released code).

    both: keys behind the query have the upper half of the `count` buckets; else all behind it share bucket 0. Half of
    what is left are distances of their own, the other half ranges that grow up to `most`, from which on all share one.
    """
    offset = np.arange(keys) - np.arange(first, first + queries)[:, None]
    half = count // 2 if both else count
    distance = np.abs(offset) if both else np.maximum(-offset, 0)
    exact = half // 2
    ratio = np.log(np.maximum(distance, exact) / exact) / np.log(most / exact)
    # a hair above: at most · 2^-k the logarithms may come out just below the whole number that they are
    far = exact + (ratio * (half - exact) * (1 + 1e-12)).astype(np.int64)
    bucket = np.where(distance < exact, distance, np.minimum(far, half - 1))
    return bucket + half * (offset > 0) if both else bucket


@block
def relative_bias(p: Tree, *, buckets: Array) -> tuple[Array, Tree]:
    """E[buckets] as a bias of the scores, (1, H, T, S) of buckets (T, S), (B, H, T, S) of (B, T, S); p: weight
    (buckets, H), a number for each bucket and head.
    """
    y, c = ops.embedding(**p, ids=buckets)
    return np.moveaxis(y, -1, -3).reshape(-1, y.shape[-1], *buckets.shape[-2:]), {"table": c}


@block_backward
def relative_bias_backward(dy: Array, c: Tree) -> Tree:
    shape = (*c["table"]["ids"].shape, dy.shape[1])
    return ops.embedding_backward(np.moveaxis(dy, 1, -1).reshape(shape), c["table"])


@functools.lru_cache(maxsize=64)
def sinusoids(first: int, last: int, *, width: int, dtype: np.dtype, clamp: int = 0, back: bool = False) -> Array:
    """R (distances, D), a row for each distance first, first - 1, …, last: [sin(d·f) | cos(d·f)], f_i = 10000^(-2i/D)
    (Dai et al. 2019, arXiv 1901.02860, section 3.3; sines and cosines side by side, as in the released code).

    clamp: farther distances, either way, count as this one; 0: none does. back: of distances with the other sign.
    Rounded from float64 to dtype; computed once for each of these arguments, kept, and not to be written to.
    """
    distance = np.arange(first, last - 1, -1.0)
    distance = np.clip(distance, -clamp, clamp) if clamp > 0 else distance
    angles = (-distance if back else distance)[:, None] * 10000.0 ** (np.arange(0, width, 2) / -width)
    rows = np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :width].astype(dtype)
    rows.flags.writeable = False
    return rows


@block
def relative_attention(
    x: Array, source: Array, p: Tree, *, places: Array, width: int, **given: Any
) -> tuple[Array, Tree]:
    """x (B, T, D), which stands at the last T places of source (B, S, D), attends to it with four terms (Dai et al.
    2019, arXiv 1901.02860, section 3.3):

        score of i for j = ((q_i + u)·k_j + (q_i + v)·W R_{i-j}) / √K

    p: query, key, value (weight (H·K, D)), output, position (weight W (H·K, D), bias v (H, K)), content (bias u
    (H, K)). places: R (P, D), a row for each distance from S - 1 down, to 0 or as far as is asked. width: K. given:
    mask, masked, dropout of `ops.attention`.
    """
    c: Tree = {}
    heads, scale = len(p["query"]["weight"]) // width, np.longdouble(width) ** -0.5
    q, own = layers.projected(x, p, "query", heads=heads)
    k, of_keys = layers.projected(source, p, "key", heads=heads)
    v, of_values = layers.projected(source, p, "value", heads=heads)
    c |= {**own, **of_keys, **of_values}
    r, c["position"] = ops.linear(places[None], weight=p["position"]["weight"])
    r, c["split_position"] = ops.split_heads(r, heads=heads)
    bias, c["distances"] = ops.scores(q + p["position"]["bias"][:, None], r, scale=scale)
    bias, c["shift"] = ops.relative_shift(bias, keys=source.shape[1])
    y, own = layers.attended(q + p["content"]["bias"][:, None], k, v, p, bias=bias, scale=scale, **given)
    return y, {**c, **own}


@block_backward
def relative_attention_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dsource, g)."""
    (dq, dk, dv, dbias), g = layers.attended_backward(dy, c)
    dbias = ops.relative_shift_backward(dbias, c["shift"])
    dq_position, dr = ops.scores_backward(dbias, c["distances"])
    _, position = ops.linear_backward(ops.split_heads_backward(dr, c["split_position"]), c["position"])
    g |= {"position": {**position, "bias": dq_position.sum((0, 2))}, "content": {"bias": dq.sum((0, 2))}}
    dx, g["query"] = layers.projected_backward(kernels.add(dq, dq_position), c, "query")
    dsource_key, g["key"] = layers.projected_backward(dk, c, "key")
    dsource_value, g["value"] = layers.projected_backward(dv, c, "value")
    return dx, kernels.add(dsource_key, dsource_value), g
