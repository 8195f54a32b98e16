"""Mistakes of Grover: where its norms stand and what its residual is, and how its ids are numbered."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.swap import Replacement

Array = np.ndarray
Cache = dict[str, Any]
IGNORED = -100


def own(*makers: Callable) -> list[Callable]:
    """The makers for Grover and its kin."""
    return [only("grover", maker) for maker in makers]


def from_the_norm() -> Replacement:
    """LN1(n + Drop(feed_forward(n))), n the norm of the first sum."""

    def forward(x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any, rate: float, **given: Any) -> tuple:
        c: Cache = {}
        u, c["attention"] = layers.self_attention(x, p["attention"], width=x.shape[-1] // heads, **given)
        a, c["attention"]["add"] = layers.add(x, u, p["attention"], keep=keep["attention"], rate=rate)
        n, c["attention"]["norm"] = ops.layer_norm(a, **p["attention"]["norm"], eps=eps)
        f, c["feed_forward"] = layers.feed_forward(n, p["feed_forward"], act=act)
        end = {"eps": eps, "keep": keep["feed_forward"], "rate": rate}
        y, c["feed_forward"]["add_norm"] = layers.add_norm(n, f, p["feed_forward"], **end)
        return y, c

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dn, df, ends = layers.add_norm_backward(dy, c["feed_forward"]["add_norm"])
        inside, feed = layers.feed_forward_backward(df, c["feed_forward"])
        da, norm = ops.layer_norm_backward(kernels.add(dn, inside), c["attention"]["norm"])
        dx, du, _ = layers.add_backward(da, c["attention"]["add"])
        dq, attention = layers.self_attention_backward(du, c["attention"])
        return kernels.add(dx, dq), {"attention": {**attention, "norm": norm}, "feed_forward": {**feed, **ends}}

    return Replacement(forward, backward)


def norm_in_front() -> Replacement:
    """GPT-2's layer: both norms at the inputs of what they stand before, none behind the last sum."""

    def forward(x: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
        return layers.pre_norm_layer.__wrapped__(x, p, **given)

    return Replacement(forward, layers.pre_norm_layer_backward.__wrapped__)


def _moved(by: int) -> Callable:
    """Other numbers of all tokens, read and asked alike."""

    def edit(b: dict, fields: Any) -> dict[str, Array]:
        size = fields.vocab_size
        labels = np.where(b["labels"] == IGNORED, IGNORED, (b["labels"] + by) % size)
        return {"input_ids": (b["input_ids"] + by) % size, "labels": labels}

    return edit


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "grover-01", "the residual taken from behind the norm, as in GPT", "from the sum, which the norm reads",
    "own knowledge; rowanz/grover lm/modeling.py says that GPT's is another", "output", "GRV-LAYER-1",
    families=("grover",), mutants=own(swap("LN(n + f), n the norm", "grover_layer", from_the_norm())),
)  # fmt: skip
entry(
    "grover-02", "norms in front of both sub-layers, as in GPT-2", "the attention reads the layer's input as it is",
    "own knowledge: ports to GPT-2's classes", "output", "GRV-LAYER-1", families=("grover",),
    mutants=own(swap("a + f(LN(a)), no norm at the end", "grover_layer", norm_in_front())),
)  # fmt: skip
entry(
    "grover-03", "ids of GPT-2's vocabulary as they are, or shifted twice", "each one more; 0 is padding",
    "own knowledge; rowanz/grover sample/encoder.py", "tokens", "GRV-TOK-1", families=("grover",),
    mutants=own(batch("each one less", _moved(-1)), batch("each one more", _moved(1))),
)  # fmt: skip
entry(
    "grover-04", "padding asked like any token", "nothing is asked where the next token is padding", "own knowledge",
    "loss", "GRV-LOSS-1", families=("grover",),
    mutants=own(batch("the padding id is a label", lambda b, fields: {
        "labels": np.where(b["labels"] == IGNORED, fields.pad_token_id, b["labels"])})),
)  # fmt: skip
entry(
    "grover-05", "attention's probabilities, or the embeddings, dropped", "neither is, whatever the configuration says",
    "own knowledge; rowanz/grover lm/modeling.py (NOPENOPENOPENOPE)", "output", "GRV-ATT-1", families=("grover",),
    reason="a case gives its keep-masks: there is none for what is not dropped",
)  # fmt: skip
entry(
    "grover-06", "a summary put before, an article cut without its padding", "left out; one padding, then the rest",
    "own knowledge; rowanz/grover sample/encoder.py", "data", "GRV-DATA-1", families=("grover",),
    reason="rows are made of text: tests/families/test_grover.py holds them against the release's rules",
)  # fmt: skip
