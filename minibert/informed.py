"""Layers that read what tokens stand for beside the tokens: two streams, fused (Zhang et al. 2019, arXiv 1905.07129).

    a = LN(w + Drop(attention(w)))                       the tokens' states w (B, T, D)                             (1)
    b = m∘LN(e + Drop(attention(e, m))), or m∘e          the entities' e (B, T, E), m = 1 where there is one        (2)
    h = act(a W₁ᵀ + b₁ + b V₁ᵀ + c₁)                                                                                (3)
    w' = LN(a + Drop(h W₂ᵀ + b₂)),  e' = LN(b + Drop(h V₂ᵀ + c₂))                                                   (4)

Both streams go side by side, (B, T, D + E), from layer to layer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import layers, ops

Array = np.ndarray
Tree = dict[str, Any]


def fusion(x: Array, p: Tree, *, act: str, eps: float, rate: float, keep: Tree | None = None) -> tuple[Array, Tree]:
    """(3), (4) of x (B, T, D + E), a and b side by side; w' and e' side by side, (B, T, D) where p has no e'.

    p: feed_forward (in (F, D), out, norm), entity_feed_forward (in (F, E), out and norm, or neither); keep: the masks
    "tokens" (B, T, D) and "entities" (B, T, E) of the two residuals.
    """
    keep, residual, own, theirs = keep or {}, {"eps": eps, "rate": rate}, p["feed_forward"], p["entity_feed_forward"]
    a, b = parted(x, own["in"]["weight"].shape[1])
    c: Tree = {"feed_forward": {}, "entity_feed_forward": {}, "width": a.shape[-1]}
    h, c["feed_forward"]["in"] = ops.linear(a, **own["in"])
    k, c["entity_feed_forward"]["in"] = ops.linear(b, **theirs["in"])
    h, c["feed_forward"]["act"] = layers.activation(h + k, name=act)  # (3)
    found = []
    for name, residue, part in (("feed_forward", a, own), ("entity_feed_forward", b, theirs)):  # (4)
        if "out" in part:
            mask = keep.get("tokens" if name == "feed_forward" else "entities")
            f, c[name]["out"] = ops.linear(h, **part["out"])
            y, c[name]["add_norm"] = layers.add_norm(residue, f, part, keep=mask, **residual)
            found.append(y)
    return np.concatenate(found, -1), c


def fusion_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {"feed_forward": {}, "entity_feed_forward": {}}
    residues, dh = {}, 0
    for name, part in zip(g, parted(dy, c["width"]), strict=True):  # (4)
        if "out" in c[name]:
            residues[name], df, g[name] = layers.add_norm_backward(np.ascontiguousarray(part), c[name]["add_norm"])
            more, g[name]["out"] = ops.linear_backward(df, c[name]["out"])
            dh = dh + more
    dh = layers.activation_backward(dh, c["feed_forward"]["act"])  # (3)
    found = []
    for name, own in g.items():
        dx, own["in"] = ops.linear_backward(dh, c[name]["in"])
        found.append(dx + residues.get(name, 0))
    return np.concatenate(found, -1), g


def parted(x: Array, width: int) -> tuple[Array, Array]:
    """The states of tokens, and of entities, which may be of no width."""
    return x[..., :width], x[..., width:]


def layer(
    x: Array, p: Tree, *, act: str, eps: float, rate: float, tokens: Tree, entities: Tree, there: Array, keep: Tree,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(4) of x (B, T, D + E). p: attention, entity_attention where (2) has one, and what `fusion` reads; tokens,
    entities: given to `self_attention` of each; there (B, T, E): m; keep: the masks of the residuals, "attention",
    "own" of the entities' attention, and those of `fusion`.
    """
    residual, c = {"eps": eps, "rate": rate}, {}
    w, e = parted(x, p["feed_forward"]["in"]["weight"].shape[1])

    def attend(stream: str, given: Tree) -> Callable:
        return lambda x: layers.self_attention(x, p[stream], **given)

    a, c["attention"] = layers.post_norm(attend("attention", tokens), w, p["attention"], **residual,
                                         keep=keep["attention"])  # fmt: skip
    if "entity_attention" in p:  # (2)
        e, c["entity_attention"] = layers.post_norm(attend("entity_attention", entities), np.ascontiguousarray(e),
                                                    p["entity_attention"], keep=keep["own"], **residual)  # fmt: skip
    b, c["there"] = ops.dropout(e, keep=there, rate=0.0)
    y, fused = fusion(np.concatenate([a, b], -1), p, act=act, keep=keep, **residual)
    return y, {**c, **fused}


def layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, g = fusion_backward(dy, c)
    da, db = map(np.ascontiguousarray, parted(dx, c["width"]))
    de = ops.dropout_backward(db, c["there"])
    if "entity_attention" in c:
        de, g["entity_attention"] = layers.post_norm_backward(
            layers.self_attention_backward, de, c["entity_attention"])  # fmt: skip
    dw, g["attention"] = layers.post_norm_backward(layers.self_attention_backward, da, c["attention"])
    return np.concatenate([dw, de], -1), g
