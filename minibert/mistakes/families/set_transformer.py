"""Mistakes of Set Transformer: its residual, its points and seeds, padding."""

from typing import Any

import numpy as np

from minibert import pooling
from minibert.families import set_transformer
from minibert.mistakes.catalogue import config, entry, only, swap
from minibert.mistakes.swap import Replacement, edited, graded

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("set_transformer",)
IDENTITY = Replacement(lambda x: (x.copy(), {}), lambda dy, c: dy.copy())


def _unread(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """I in the place of H."""
    points = np.broadcast_to(p["points"]["weight"], (len(x), *p["points"]["weight"].shape))
    h, c = pooling.set_attention(points, x, p["induce"], **given)
    y, read = pooling.set_attention(x, points, p["read"], width=given["width"], scale=given["scale"])
    return y, {"induce": c, "read": read, "shape": h.shape}


def _unread_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dx, dpoints, g["read"] = pooling.set_attention_backward(dy, c["read"])
    _, _, g["induce"] = pooling.set_attention_backward(np.zeros(c["shape"], dy.dtype), c["induce"])
    return dx, {**g, "points": {"weight": dpoints.sum(0)}}


def _first_row(gradient: Any, dy: Array, c: Tree) -> Any:
    dx, g = gradient
    name = "points" if "points" in g else "seeds"
    return dx, {**g, name: {"weight": g[name]["weight"] / len(dy)}}


entry(
    "set_transformer-01", "scores divided by the root of a head's width, or of the whole",
    "as its weights were trained: the paper's and the release's with the whole width's",
    "arXiv 1810.00825, section 2.2, and juho-lee/set_transformer modules.py (math.sqrt(self.dim_V)), against ports",
    "output", "SET-MAB-2", families=FAMILY, variant=True,
    mutants=[config("the other", attention_scale=lambda f: "head" if f.attention_scale == "width" else "width")],
)  # fmt: skip
entry(
    "set_transformer-02", "what is no element is read", "it is hidden from every MAB that reads the set",
    "juho-lee/set_transformer modules.py: there are no masks", "output", "SET-ENC-2", families=FAMILY,
    when="where there is padding",
    mutants=[
        swap("of the encoder, with points", "induced_attention",
             edited(set_transformer.induced_attention, lambda a: {"seen": None})),
        swap("of the encoder, without", "set_self_attention",
             edited(set_transformer.set_self_attention, lambda a: {"seen": None}), r"encode\.encoder\.\d+"),
        swap("of the pooling", "attention_pooling", edited(pooling.attention_pooling, lambda a: {"seen": None})),
    ],
)  # fmt: skip
entry(
    "set_transformer-03", "elements that read the points, not what the points took", "MAB(x, H), H = MAB(I, x)",
    "own knowledge: H computed and not used", "output", "SET-ENC-1", families=FAMILY, when="where there are points",
    mutants=[swap("I in the place of H", "induced_attention", Replacement(_unread, _unread_backward))],
)  # fmt: skip
entry(
    "set_transformer-04", "the mean over the batch as the gradient of points and seeds", "the sum: all rows read them",
    "own knowledge: mean(0) of what was repeated", "gradient", "SET-ENC-3", families=FAMILY,
    mutants=[
        swap("of points", "induced_attention", graded(set_transformer.induced_attention, _first_row)),
        swap("of seeds", "attention_pooling", graded(pooling.attention_pooling, _first_row)),
    ],
)  # fmt: skip
entry(
    "set_transformer-05", "a feed-forward without its activation", "O + relu(W O + b)", "own knowledge: W O + b",
    "output", "SET-MAB-1", families=FAMILY,
    mutants=[only("set_transformer", swap("none at all", "relu", IDENTITY))],
)  # fmt: skip
