"""Target token: which token stands at each place of the text that a decoder writes?

Vaswani et al., 2017, "Attention Is All You Need", arXiv 1706.03762, sections 3.4 and 5.4; Raffel et al., 2019, arXiv
1910.10683, section 2.1 for the scale.

    z_t = s·h_t Eᵀ + c, E the network's word table or a decoder of the head's own, s the scale, 1 unless given; c 0,
    or a constant of the file's that nothing trains: its gradient is 0                                               (1)
    L = mean of -Σ_c q_c log softmax(z_t)_c over the places of which something is asked                              (2)
    q has 1 - ε + ε/V at the label and ε/V elsewhere, ε the smoothing, 0 unless given                                (3)

labels are what is asked of each place, (B, S), -100: nothing; they are not shifted here, as the decoder has read what
stands before.
"""

from typing import Any

import numpy as np

from minibert import kernels, layers, ops

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
LABELS = {"labels": f"(B,S)<vocab_size|{IGNORED}"}
SHORT = "target"
BASELINE = "unigram"
PERPLEXITY = True
COMMAND = "generate"


def shapes(*, table: tuple[int, int], tied: bool = False, constant: bool = False) -> Tree:
    """A decoder of the head's own unless tied, (V, E), as table says; c, (V,), where there is one."""
    own = {} if tied else {"decoder": {"weight": table}}
    return {**own, "bias": table[:1]} if constant else own


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: any tokens, nothing asked of the padding, nor of the second place of the first row."""
    labels = rng.integers(0, table[0], (dims["B"], dims["S"]))
    labels[0, 1] = IGNORED
    return {"labels": np.where(np.arange(dims["S"]) < lengths["S"][:, None], labels, IGNORED)}


def loss(
    h: Array,
    p: Tree | None,
    labels: Tree,
    *,
    table: Array,
    scale: float = 1.0,
    smoothing: float = 0.0,
    total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(2) of the states h (B, S, D), and the cache. total: what the sum is divided by; dense: logits of every place,
    else of those that are asked.
    """
    asked = labels["labels"].reshape(-1)
    flat = np.arange(len(asked)) if dense else np.flatnonzero(asked != IGNORED)
    c: Tree = {"shape": h.shape, "scale": scale}
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = ops.linear(_scaled(rows[0], scale), weight=table, **_constant(p))  # (1)
    given = {"labels": asked[flat], "ignore": IGNORED, "denominator": total}
    if smoothing:
        value, c["loss"] = ops.smoothed_cross_entropy(z, smoothing=smoothing, **given)  # (3)
    else:
        value, c["loss"] = ops.cross_entropy(z, **given)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    smoothed = "smoothing" in c["loss"]
    dz = (ops.smoothed_cross_entropy_backward if smoothed else ops.cross_entropy_backward)(dloss, c["loss"])
    drows, g = ops.linear_backward(dz, c["head"])
    dh = ops.gather_backward(_scaled(drows, c["scale"])[None], c["gather"])
    return dh.reshape(c["shape"]), {"bias": np.zeros_like(g["bias"])} if "bias" in g else {}, g["weight"]


def _constant(p: Tree | None) -> Tree:
    return {"bias": p["bias"]} if p and "bias" in p else {}


def _scaled(x: Array, scale: float) -> Array:
    return x if scale == 1 else kernels.scaled(x, x.dtype.type(scale))


def count(labels: Tree) -> float:
    """The places of which something is asked."""
    return float((labels["labels"] != IGNORED).sum())


def asked(labels: Tree) -> Array:
    """The labels of these places."""
    return labels["labels"][labels["labels"] != IGNORED]


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def predict(h: Array, p: Tree | None, *, table: Array, scale: float = 1.0, smoothing: float = 0.0) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return ops.linear(_scaled(h, scale), weight=table, **_constant(p))[0]


def shifted(labels: Array, start: int, pad: int) -> Array:
    """What a decoder reads to answer these labels (B, S): the same one place later, behind the start id; what is not
    asked is read as padding.
    """
    ids = np.empty_like(labels)
    ids[:, 0], ids[:, 1:] = start, labels[:, :-1]
    return np.where(ids == IGNORED, pad, ids)
