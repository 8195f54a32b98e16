"""Next token, by an adaptive softmax: frequent tokens in one step, rare ones in two, the second in a smaller space.

Grave, Joulin, Cissé, Grangier, Jégou, 2016, "Efficient softmax approximation for GPUs", arXiv 1609.04309, as
kimiyoung/transformer-xl has it (`pytorch/utils/proj_adaptive_softmax.py`, `tf/model.py`).

    cutoffs c₁ < c₂ < … part the vocabulary into a shortlist [0, c₁) and clusters [c₁, c₂), …, [c_n, V)
    z⁰ = [E₀ P₀ᵀh + b₀ ; C P₀ᵀh + b], a logit for each token of the shortlist, then one for each cluster             (1)
    zⁱ = E_i P_iᵀh + b_i, a logit for each token of cluster i, from width e_i = e₀ / div^i                           (2)
    log p(w) = log softmax(z⁰)[w] in the shortlist, log softmax(z⁰)[cluster i] + log softmax(zⁱ)[w] in cluster i     (3)
    L = mean of -log p(x_{t+1}) over the positions that have a next token                                            (4)

Which logit of (1) is cluster i's, `order` says: "ascending", the i-th behind the shortlist (`tf/model.py`, and the loss
of ports), "reversed", the i-th from the end (`pytorch/`). E_i is the network's own table of the cluster where the head
has none, P_i its own projection likewise; where there is none at all h is taken as it is. Without cutoffs (1) is a
plain softmax with a bias. labels are the tokens themselves, (B, T), shifted here; -100: nothing is asked of the
position before.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.heads import next_token

Array = np.ndarray
Tree = dict[str, Any]

IGNORED, AHEAD = next_token.IGNORED, next_token.AHEAD
LABELS, SHORT, BASELINE = next_token.LABELS, next_token.SHORT, next_token.BASELINE
PERPLEXITY, COMMAND = next_token.PERPLEXITY, next_token.COMMAND
ORDERS = ("ascending", "reversed")


def shapes(*, ends: tuple[int, ...], widths: tuple[int, ...], width: int, tables: bool, projections: int) -> Tree:
    """ends: 0, c₁, …, V; widths: e_0, e_1, …, of one table for all parts a single one; width: of h; tables: whether E_i
    are the head's own; projections: how many P_i, from the first, are.
    """
    rows = [b - a for a, b in pairwise(ends)] if len(widths) > 1 else [ends[-1]]
    found: Tree = {"decoder": [{"weight": (n, e), "bias": (n,)} if tables else {"bias": (n,)}
                               for n, e in zip(rows, widths, strict=True)]}  # fmt: skip
    if len(ends) > 2:
        found["clusters"] = {"weight": (len(ends) - 2, widths[0]), "bias": (len(ends) - 2,)}
    if projections:
        found["projections"] = [{"weight": (width, widths[i % len(widths)])} for i in range(projections)]
    return found


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, ends: tuple[int, ...], **_: Any) -> Tree:
    """Labels of an example: any tokens, one of each part; nothing asked of padding, nor of one position of row 1."""
    labels = next_token.draw(rng, dims, lengths, table=(ends[-1], 0))["labels"]
    for i, (a, b) in enumerate(pairwise(ends)):
        labels[-1 - i % len(labels), 1 + i // len(labels)] = (a + b) // 2
    labels[0, 1] = IGNORED if len(labels) > len(ends) - 1 else labels[0, 1]
    return {"labels": labels}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: list, ends: tuple[int, ...], order: str, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(4) of the states h (B, T, D), and the cache. table: {word, projection} of each part; total, dense: as heads
    have them, the second of (1) alone.
    """
    following = np.full_like(labels["labels"], IGNORED)
    following[:, :-1] = labels["labels"][:, 1:]
    following = following.reshape(-1)
    flat = np.arange(len(following)) if dense else np.flatnonzero(following != IGNORED)
    asked = following[flat]
    total = float((following != IGNORED).sum()) if total is None else total
    part = np.searchsorted(ends, asked, side="right") - 1  # 0: the shortlist
    c: Tree = {"shape": h.shape, "p": p, "table": table, "flat": flat, "ends": ends}
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = _logits(rows[0], 0, p, table, ends)  # (1)
    coarse = np.where(part > 0, _column(part, ends, order), asked)
    value, c["loss"] = ops.cross_entropy(z, labels=coarse, ignore=IGNORED, denominator=total)  # (3)
    c["tails"] = []
    for i in range(1, len(ends) - 1):
        own: Tree = {"at": np.flatnonzero(part == i)}
        z, held = _logits(rows[0][own["at"]], i, p, table, ends)  # (2)
        more, own["loss"] = ops.cross_entropy(z, labels=asked[own["at"]] - ends[i], denominator=total)
        value = value + more
        c["tails"].append({**own, **held})
    return np.asarray(value), c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, list]:
    """(dh, g, dtable)."""
    g, dtable = tree.zeros_like(c["p"]), tree.zeros_like(c["table"])
    drows = _logits_backward(ops.cross_entropy_backward(dloss, c["loss"]), 0, c["head"], g, dtable, c["ends"])
    for i, tail in enumerate(c["tails"], 1):
        dz = ops.cross_entropy_backward(dloss, tail["loss"])
        drows[tail["at"]] += _logits_backward(dz, i, tail, g, dtable, c["ends"])
    return ops.gather_backward(drows[None], c["gather"]).reshape(c["shape"]), g, dtable


def _column(part: Array, ends: tuple[int, ...], order: str) -> Array:
    """The logit of (1) that is that of a cluster, from 1 on."""
    return ends[1] + (part - 1 if order == "ascending" else len(ends) - 2 - part)


def _held(i: int, p: Tree, table: list, ends: tuple[int, ...]) -> tuple[slice, int, bool, bool]:
    """(the rows of part i in its table, the table's number, whether table and projection are the head's own)."""
    one = len(p["decoder"]) == 1
    rows = slice(ends[i], ends[i + 1]) if one else slice(None)
    n = 0 if one else i
    return rows, n, "weight" in p["decoder"][n], i < len(p.get("projections", ()))


def _logits(h: Array, i: int, p: Tree, table: list, ends: tuple[int, ...]) -> tuple[Array, Tree]:
    """(1) for i = 0, else (2), of rows h (N, D)."""
    c: Tree = {}
    rows, n, own, projected = _held(i, p, table, ends)
    projection = p["projections"][i] if projected else table[n].get("projection")
    if projection is not None:
        h, c["projected"] = ops.linear(h, weight=projection["weight"].T)
    weight, bias = (p["decoder"][n] if own else table[n]["word"])["weight"][rows], p["decoder"][n]["bias"][rows]
    if i == 0 and "clusters" in p:
        weight, bias = (np.concatenate([a, p["clusters"][name]]) for a, name in ((weight, "weight"), (bias, "bias")))
    z, c["logits"] = ops.linear(h, weight=weight, bias=bias)
    return z, c


def _logits_backward(dz: Array, i: int, c: Tree, g: Tree, dtable: list, ends: tuple[int, ...]) -> Array:
    """dh; the gradients of what has been used are added to those in g and dtable."""
    rows, n, own, projected = _held(i, g, dtable, ends)
    dh, slopes = ops.linear_backward(dz, c["logits"])
    count = ends[i + 1] - ends[i]
    (g["decoder"][n] if own else dtable[n]["word"])["weight"][rows] += slopes["weight"][:count]
    g["decoder"][n]["bias"][rows] += slopes["bias"][:count]
    if len(slopes["bias"]) > count:
        for name in ("weight", "bias"):
            g["clusters"][name] += slopes[name][count:]
    if "projected" in c:
        dh, slopes = ops.linear_backward(dh, c["projected"])
        (g["projections"][i] if projected else dtable[n]["projection"])["weight"][...] += slopes["weight"].T
    return dh


def parted(constants: Tree) -> bool:
    """Whether there are several softmaxes, each over a part of the vocabulary."""
    return len(constants["ends"]) > 2


def count(labels: Tree) -> float:
    """The positions whose next token is asked."""
    return next_token.count(labels)


def right(c: Tree) -> layers.Right:
    """Of predictions in two steps, as they are made: the likeliest of (1), and if that is a cluster its likeliest."""
    z, coarse, counted = c["loss"]["logits"], c["loss"]["labels"], c["loss"]["weights"] != 0
    found = (z.argmax(-1) == coarse) & counted
    for tail in c["tails"]:
        found[tail["at"]] &= tail["loss"]["logits"].argmax(-1) == tail["loss"]["labels"]
    return int(found.sum()), int(counted.sum()), None


def predict(h: Array, p: Tree, *, table: list, ends: tuple[int, ...], order: str) -> Array:
    """(3) of h (…, D): log p of each token of the vocabulary, (…, V); without cutoffs the logits (1)."""
    rows = h.reshape(-1, h.shape[-1])
    z, _ = _logits(rows, 0, p, table, ends)
    if len(ends) > 2:
        z, _ = ops.log_softmax(z)
        parts = [z[:, : ends[1]]]
        for i in range(1, len(ends) - 1):
            tail, _ = ops.log_softmax(_logits(rows, i, p, table, ends)[0])
            parts.append(tail + z[:, [_column(np.asarray(i), ends, order)]])
        z = np.concatenate(parts, 1)
    return z.reshape(*h.shape[:-1], -1)
