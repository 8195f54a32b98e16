"""Next token: which token follows each position?

Radford, Narasimhan, Salimans, Sutskever, 2018, "Improving Language Understanding by Generative Pre-Training", eq. 1-2.

    z_t = h_t Eᵀ, E the network's word table or a decoder of the head's own; and a bias b_V where there is one       (1)
    L = mean of -log softmax(z_t)[x_{t+1}] over the positions that have a next token                                (2)

labels are the tokens themselves, (B, T), shifted here; -100: nothing is asked of the position before. Where a family's
rows may be of several texts, they are (B, C, T) there, and so are the states (B, C, T, D).
"""

from typing import Any

import numpy as np

from minibert import layers, ops

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
AHEAD = 1  # what is asked of a place is the label of the next
LABELS = {"labels": f"(B,T)<vocab_size|{IGNORED}"}
SHORT = "LM"
BASELINE = "unigram"
PERPLEXITY = True
COMMAND = "generate"


def shapes(*, table: tuple[int, int], tied: bool = False, biased: bool = False, **_: Any) -> Tree:
    """A decoder of the head's own; table: (V, E); tied: it is not the head's; biased: (1) has a bias."""
    return {"decoder": {**({} if tied else {"weight": table}), **({"bias": table[:1]} if biased else {})}}


def _bias(p: Tree | None) -> Tree:
    """The bias, where the head's part has one (of a head that answers masked tokens, too: `masked_token`)."""
    own = (p or {}).get("decoder", {})
    return {"bias": own["bias"]} if "bias" in own else {}


def labels(*, texts: bool = False, **_: Any) -> dict[str, str]:
    """LABELS; texts: rows may be of several texts."""
    return {name: spec.replace("(B,", "(B,[C],") if texts else spec for name, spec in LABELS.items()}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: any tokens, nothing asked of the padding, nor of the second position of the first row."""
    labels = rng.integers(0, table[0], (dims["B"], dims["T"]))
    labels[0, 1] = IGNORED
    return {"labels": np.where(np.arange(dims["T"]) < lengths["T"][:, None], labels, IGNORED)}


def loss(
    h: Array, p: Tree | None, labels: Tree, *, table: Array, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(2) of the states h (B, T, D), and the cache. total: what the sum is divided by; dense: logits of every position,
    else of those that are asked.
    """
    following = np.full_like(labels["labels"], IGNORED)
    following[..., :-1] = labels["labels"][..., 1:]
    following = following.reshape(-1)
    flat = np.arange(len(following)) if dense else np.flatnonzero(following != IGNORED)
    c: Tree = {"shape": h.shape}
    asked, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[-1]), positions=flat[None])
    z, c["head"] = ops.linear(asked[0], weight=table, **_bias(p))  # (1)
    value, c["loss"] = ops.cross_entropy(z, labels=following[flat], ignore=IGNORED, denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dz = ops.cross_entropy_backward(dloss, c["loss"])
    dasked, g = ops.linear_backward(dz, c["head"])
    dh = ops.gather_backward(dasked[None], c["gather"])
    return dh.reshape(c["shape"]), {"decoder": {"bias": g["bias"]}} if "bias" in g else {}, g["weight"]


def count(labels: Tree) -> float:
    """The positions whose next token is asked."""
    return float((labels["labels"][..., 1:] != IGNORED).sum())


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def predict(h: Array, p: Tree | None, *, table: Array) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return ops.linear(h, weight=table, **_bias(p))[0]
