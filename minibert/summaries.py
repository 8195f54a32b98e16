"""What stands for a whole row among the states of a network: a token's state, with or without a layer over it.

    r = h[p], p the place of the first token, of the last that is no padding, or of the last end token             (1)
    s = act(Drop(r) Wᵀ + b), where there is a layer over it; else s = r                                            (2)

Which of them it is, a family says as data, a `Summary` by the kind of row (`summaries(config)`): "text", and "choice"
where one of several texts has another. Without a word it is the pooled output; without a pooler the first token's
state, in a causal network the last one's. A task may ask for another way, of `pooling.POOLINGS`:

    s = pool(h_1 … h_T)                                                                                            (3)
"""

from typing import Any, NamedTuple

import numpy as np

from minibert import layers, ops, pooling
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


class Summary(NamedTuple):
    """How a family sums a row up.

    reads: the output that is read; at: of which of its tokens, a key of PLACES; None: it has one vector a row. act:
    the activation of (2); None: no layer. dense, head: published names of that layer and of the head behind it, which
    has a bias or not. dropped: published modules that drop before (2) and before the head, None where nothing does.
    width: the config field that says how wide s of (2) is, None where it is as wide as r. said: fields of published
    configs and what they have to be for this. pooling, sizes, given: (3), what it is called, the sizes of what it
    learns, and what else `pooling.pooled` takes.
    """

    reads: str = "last_hidden_state"
    at: str | None = None
    act: str | None = None
    dense: str = "summary"
    head: str = "classifier"
    biased: bool = True
    dropped: tuple[str | None, str | None] = (None, "dropout")
    width: str | None = None
    said: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    pooling: str | None = None
    sizes: dict[str, int] = {}  # noqa: RUF012
    given: dict[str, Any] = {}  # noqa: RUF012


def _first(ids: Array | None, mask: Array | None, shape: tuple[int, int], config: Any) -> Array:
    return np.zeros(shape[0], np.int64)


def _last(ids: Array | None, mask: Array | None, shape: tuple[int, int], config: Any) -> Array:
    """The last token that is not the padding id; where the config has none, the last that is attended to."""
    pad, seen = getattr(config, "pad_token_id", None), np.ones(shape, np.int64)
    if ids is not None and pad is not None:
        seen = ids != pad
    elif mask is not None:
        seen = mask != 0
    return (np.arange(shape[1]) * seen).argmax(1)


def _end(ids: Array | None, mask: Array | None, shape: tuple[int, int], config: Any) -> Array:
    """The last end token."""
    ends = np.arange(shape[1]) * (ids == config.eos_token_id)
    lacking = np.flatnonzero(ends.argmax(1) + (ids[:, 0] == config.eos_token_id) == 0)
    require(not lacking.size, f"input_ids[{lacking[:1].sum()}] has no end token, {config.eos_token_id}, whose state "
            "stands for the row")  # fmt: skip
    return ends.argmax(1)


PLACES = {"first": _first, "last": _last, "end": _end}


@block
def summary(
    h: Array, p: Tree | None, *, at: Array | None, act: str | None = None, keep: Array | None = None, rate: float = 0.0
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, T, D) at the places `at` (B,), or of h (B, D) without: (B, D). p: of (2), if there is one."""
    c: Tree = {}
    if at is not None:
        h, own = pooling.one_token(h, at)  # (1)
        c |= own
    if p:
        h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
        h, c["dense"] = ops.linear(h, **p)
        h, c["act"] = layers.activation(h, name=act)  # (2)
    return h, c


@block_backward
def summary_backward(ds: Array, c: Tree) -> tuple[Array, Tree]:
    """(dh, g)."""
    g: Tree = {}
    if "dense" in c:
        ds, g = ops.linear_backward(layers.activation_backward(ds, c["act"]), c["dense"])  # (2)
        ds = ops.dropout_backward(ds, c["dropout"])
    return (pooling.one_token_backward(ds, c) if "gather" in c else ds), g  # (1)
