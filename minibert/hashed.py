"""Attention among neighbours (Kitaev, Kaiser, Levskaya, 2020, arXiv 2001.04451, sections 2 and 3): in chunks of the
text, "local", or of the order in which its tokens are hashed to buckets, "lsh".

Rotations, by which tokens are hashed, are data: drawn outside, as `rotations` does it from a seed, and passed in.
Buckets and their order have no gradient.
"""

import functools
import math
from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]
LENGTH_EPS = 1e-6  # of the mean square of a key's entries


# ---- Buckets ---------------------------------------------------------------------------------------------------------
def factors(buckets: int | tuple[int, ...] | None, *, length: int, chunk: int, most: int) -> tuple[int, ...]:
    """The factors whose product is the number of buckets: those given, else as released. That is the power of 2 at
    or below 2·⌊T/c⌋, as two factors where it is above 2·max(⌊√⌊most/c⌋⌋, c).
    """
    if buckets is not None:
        return (buckets,) if isinstance(buckets, int) else tuple(buckets)
    power = (2 * (length // chunk)).bit_length() - 1
    if 2**power <= 2 * max(math.isqrt(most // chunk), chunk):
        return (2**power,)
    return 2 ** (power // 2), 2 ** (power - power // 2)


def buckets(vectors: Array, rotations: Array, factors: tuple[int, ...], seen: Array | None = None) -> Array:
    """The bucket (B, H, R, T) of each token in each of R rounds: the largest entry of [x R; -x R] (section 2, "LSH
    attention"); several factors have columns of their own, of which the first counts on fastest.

    vectors (B, H, T, K), rotations (B or 1, H, K, R, half the sum of the factors). seen (B, T): what is not there has a
    bucket of its own, behind the others.
    """
    heads, width, rounds, columns = rotations.shape[1:]
    flat = rotations.reshape(-1, heads, width, rounds * columns)
    turned = (vectors @ flat).reshape(*vectors.shape[:3], rounds, columns)
    found, step, at = 0, 1, 0
    for factor in factors:
        part = turned[..., at : at + factor // 2]
        found = found + step * np.concatenate([part, -part], -1).argmax(-1)
        step, at = step * factor, at + factor // 2
    found = np.moveaxis(found, -1, 2)
    return found if seen is None else np.where(seen.astype(bool)[:, None, None], found, step)


@functools.lru_cache(maxsize=8)
def rotations(seed: int, *, shape: tuple[int, ...]) -> Array:
    """Normal numbers of this shape, float64: those of `torch.randn` behind `torch.manual_seed(seed)` on a processor, so
    that a published `hash_seed` says the same. Kept, and not to be written to.

    torch takes two words of the Mersenne twister for a uniform number, and makes pairs of normal ones of them (Box and
    Muller 1958): of neighbours, or from 16 numbers on, of those that stand 8 apart.
    """
    count, draw = math.prod(shape), np.random.RandomState(seed % 2**32)

    def uniform(number: int) -> Array:
        words = draw.randint(0, 2**32, size=2 * number, dtype=np.uint64)
        return ((words[::2] << np.uint64(32) | words[1::2]) & np.uint64(2**53 - 1)) * 2.0**-53

    def normal(radius: Array, angle: Array, axis: int) -> Array:
        r, angle = np.sqrt(-2 * np.log1p(-radius)), 2 * np.pi * angle
        return np.stack([r * np.cos(angle), r * np.sin(angle)], axis).reshape(-1)

    if count < 16:
        pairs = uniform(2 * (count + 1)).reshape(-1, 2)
        found = normal(pairs[:, 1], pairs[:, 0], 1)[:count]
    else:
        found, whole = uniform(count), count - count % 16
        blocks = [found[:whole], *([uniform(16)] if whole < count else [])]
        blocks = [normal(*np.moveaxis(block.reshape(-1, 2, 8), 1, 0), 1) for block in blocks]
        found[:whole] = blocks[0]
        if whole < count:  # the last 16 once more, all of them
            found[-16:] = blocks[1]
    found = found.reshape(shape)
    found.flags.writeable = False
    return found


# ---- Attention -------------------------------------------------------------------------------------------------------
@block
def local_attention(
    x: Array, p: Tree, *, width: int, chunk: int, before: int, after: int, causal: bool, mask: Array | None = None,
    dropout: Array | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """Self-attention of x (B, T, D) in which a query sees its own chunk of c tokens, `before` in front of it and
    `after` behind it; the first stands behind the last. Where all are one chunk it is ordinary attention.

    p: query, key, value (H·K, D), output (D, H·K), without biases. width: K. mask: bits (B, T), 1 = there. dropout:
    what multiplies the probabilities (B, H, T/c, c, (before + 1 + after)·c).
    """
    c: Tree = {}
    qkv = {}
    for name in ("query", "key", "value"):
        qkv[name], own = layers.projected(x, p, name, heads=len(p[name]["weight"]) // width)
        c |= own
    b, heads, length, _ = qkv["query"].shape
    about = (chunk, before, after) if length > chunk else (length, 0, 0)
    around = dict(zip(("chunk", "before", "after"), about, strict=True))
    for name in ("key", "value"):
        qkv[name], c[f"around_{name}"] = ops.neighbours(qkv[name], **around)
    seen = ops.in_sight(np.arange(length)[None, None], **around, causal=causal, mask=mask)
    chunks = qkv["key"].shape[2]
    rows = {name: value.reshape(b, heads * chunks, -1, width) for name, value in qkv.items()}
    if seen is not None:
        shape = seen.shape
        seen = np.broadcast_to(seen, (shape[0], heads, *shape[2:])).reshape(shape[0], heads * chunks, *shape[3:])
    factor = None if dropout is None else dropout.reshape(b, heads * chunks, *dropout.shape[3:])
    y, c["attention"] = ops.attention(*rows.values(), mask=seen, dropout=factor)
    y, c["merge"] = ops.merge_heads(y.reshape(b, heads, length, width))
    y, c["output"] = ops.linear(y, **p["output"])
    return y, {**c, "shape": (b, heads, chunks)}


@block_backward
def local_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dy, g["output"] = ops.linear_backward(dy, c["output"])
    dy = ops.merge_heads_backward(dy, c["merge"])
    b, heads, chunks = c["shape"]
    slopes = ops.attention_backward(dy.reshape(b, heads * chunks, -1, dy.shape[-1]), c["attention"])
    dq, *dkv = (d.reshape(b, heads, chunks, -1, dy.shape[-1]) for d in slopes)
    slopes = {"query": dq.reshape(dy.shape)}
    for name, d in zip(("key", "value"), dkv, strict=True):
        slopes[name] = ops.neighbours_backward(d, c[f"around_{name}"])
    dxs = []
    for name, d in slopes.items():
        dx, g[name] = layers.projected_backward(d, c, name)
        dxs.append(dx)
    return kernels.add(*dxs), g


@block
def hashed_attention(
    x: Array, p: Tree, *, width: int, rotations: Array | None, factors: tuple[int, ...], known: Array | None = None,
    mask: Array | None = None, **given: Any,
) -> tuple[Array, Tree]:  # fmt: skip
    """Self-attention of x (B, T, D) among tokens that are hashed to one bucket (arXiv 2001.04451, eq. 3-4); query and
    key are one projection, as a key divided by the root of its mean square.

    p: query, value (H·K, D), output (D, H·K), without biases. width: K. rotations, factors: as in `buckets`; known:
    buckets (B, H, R, T) that are taken as they are. Where all tokens are one chunk there are no buckets. mask: bits
    (B, T), 1 = there. given: chunk, before, after, causal, dropout, rules of `ops.lsh_attention`.
    """
    c: Tree = {}
    heads = len(p["query"]["weight"]) // width
    q, own = layers.projected(x, p, "query", heads=heads)
    v, other = layers.projected(x, p, "value", heads=heads)
    k, c["length_norm"] = ops.rms_norm(q, np.ones(width, q.dtype), eps=LENGTH_EPS)
    if x.shape[1] <= given["chunk"]:
        known = np.zeros((len(x), heads, 1, x.shape[1]), np.int64)
    elif known is None:
        seen = None if mask is None or mask.all() else mask
        known = buckets(q, rotations, factors, seen)
    y, c["attention"] = ops.lsh_attention(q, k, v, buckets=known, mask=mask, **given)
    y, c["merge"] = ops.merge_heads(y)
    y, c["output"] = ops.linear(y, **p["output"])
    return y, {**c, **own, **other, "buckets": known}


@block_backward
def hashed_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dy, g["output"] = ops.linear_backward(dy, c["output"])
    dq, dk, dv = ops.lsh_attention_backward(ops.merge_heads_backward(dy, c["merge"]), c["attention"])
    dq = kernels.add(dq, ops.rms_norm_backward(dk, c["length_norm"])[0])
    dx, g["query"] = layers.projected_backward(dq, c, "query")
    dother, g["value"] = layers.projected_backward(dv, c, "value")
    return kernels.add(dx, dother), g
