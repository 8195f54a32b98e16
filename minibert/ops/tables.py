"""Rows of tables."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(v,d)->(b,t,d)", ids="(b,t)<v")
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Cache]:
    """y[…] = W[ids[…]]; weight (V, D), ids any shape.

    The row `padding_idx` gets no gradient from the lookup, as in published ports (torch.nn.Embedding); with None it is
    an ordinary row, as in google-research/bert.
    """
    return weight[ids], {"ids": ids, "padding_idx": padding_idx, "length": len(weight)}


@backward
def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
    dweight = kernels.scatter_add(c["ids"].reshape(-1), dy.reshape(-1, dy.shape[-1]), c["length"])
    if c["padding_idx"] is not None:
        dweight[c["padding_idx"]] = 0
    return {"weight": dweight}


@pair("(b,t,d)->(b,m,d)", positions="(b,m)<t")
def gather(x: Array, *, positions: Array) -> tuple[Array, Cache]:
    """y[b, m] = x[b, positions[b, m]]: the rows of the masked positions, before anything as wide as the vocabulary."""
    return x[np.arange(len(x))[:, None], positions], {"positions": positions, "shape": x.shape}


@backward
def gather_backward(dy: Array, c: Cache) -> Array:
    b, t, d = c["shape"]
    flat = c["positions"] + np.arange(b)[:, None] * t
    return kernels.scatter_add(flat.reshape(-1), dy.reshape(-1, d), b * t).reshape(b, t, d)
