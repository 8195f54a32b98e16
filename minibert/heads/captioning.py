"""Captioning: a text about what a network's states show, which a decoder writes word by word.

Vinyals et al. 2014, arXiv 1411.4555, for the task; Vaswani et al. 2017, arXiv 1706.03762, section 3.1, for the decoder;
published encoder-decoders of pictures (`VisionEncoderDecoderModel`) join the two in the same way.

    x⁰_t = LN(E[y_(t-1)] + P_t), y_0 the end word, P learnt                                                         (1)
    x^l = decoder_layer(x^(l-1), h): it sees the words before, and all states h of the network                     (2)
    z_t = x^L_t Eᵀ                                                                                                  (3)
    L = mean of -log softmax(z_t)[y_t] over the words and the end word behind them; a label of -100 asks nothing    (4)

Words are classes, the first of which is the end word: there is no other vocabulary. The network may read pictures,
sound or texts. What is predicted is (3) along the words that are likeliest one after another.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, tree
from minibert.config import check, number, require
from minibert.heads import target_token

Array = np.ndarray
Tree = dict[str, Any]

IGNORED, END = target_token.IGNORED, 0
TASKS = {"caption": {"classes": 5}}
READS = "states"
SEEN = True
PUBLISHED = "Captioning"
NAMED = "caption"
DROPPED = None
LABELS = {"labels": "(B,S)"}
SHORT = "caption"
BASELINE = "none"
COMMAND = "predict"
TRACED: Tree = {}
SILENT = {"what_is_asked_counts_alone": "what is asked is what the decoder reads, too"}
EPS, ACT = 1e-5, "gelu"
count = target_token.count


@dataclass(frozen=True)
class Settings:
    """classes: how many words, the end word first; labels: the words; longest: of how many words a caption may be, the
    end word too; depth: the decoder's layers; parts: the heads of its attention, 0: as many as 4 and the width share.
    """

    classes: int
    labels: tuple[str, ...] = ()
    longest: int = number(8, 2, 1 << 10)
    depth: int = number(2, 1, 64)
    parts: int = number(0, 0, 1 << 10)

    def __post_init__(self) -> None:
        check(self)
        require(2 <= self.classes <= 1 << 20, f"classes is {self.classes}; it must be from 2 to {1 << 20:,}")

    def sizes(self) -> Tree:
        """For `shapes`, `draw` and `labels`."""
        return {"classes": self.classes, "longest": self.longest, "depth": self.depth, "parts": self.parts}

    def constants(self) -> Tree:
        """For `loss` and `predict`."""
        return {"parts": self.parts}


def labels(*, classes: int, **_: Any) -> dict[str, str]:
    """The spec of the labels."""
    return {"labels": f"(B,S)<{classes}|{IGNORED}"}


def shapes(*, width: int, classes: int, longest: int = 8, depth: int = 2, parts: int = 0, **_: Any) -> Tree:
    """width: of the states that are read, D, and of the decoder."""
    require(width % _heads(width, parts) == 0, f"parts is {parts}; it must divide the width of the states, {width}")
    norm = {"weight": (width,), "bias": (width,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    attention = {**{name: dense(width, width) for name in ("query", "key", "value", "output")}, "norm": norm}
    layer = {"attention": attention, "cross_attention": attention,
             "feed_forward": {"in": dense(4 * width, width), "out": dense(width, 4 * width), "norm": norm}}  # fmt: skip
    tables = {"word": {"weight": (classes, width)}, "position": {"weight": (longest, width)}}
    return {"embeddings": {**tables, "norm": norm}, "decoder": [layer] * depth}


def initial(path: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """First weights, of deviation 1 over the root of the width that they read, so that states of order 1 make such."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf != "bias"))
    return rng.standard_normal(shape) / shape[-1] ** 0.5


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, classes: int, longest: int = 8,
         **_: Any) -> Tree:  # fmt: skip
    """Labels of an example: any words and the end word, of which the first row has the most, nothing behind."""
    most = min(longest, 4)
    sizes = rng.integers(2, most + 1, dims["B"])
    sizes[0] = most
    words = rng.integers(1, classes, (dims["B"], most))
    words[np.arange(dims["B"]), sizes - 1] = END
    return {"labels": np.where(np.arange(most) < sizes[:, None], words, IGNORED)}


def _heads(width: int, parts: int) -> int:
    return parts or math.gcd(4, width)


def _written(
    h: Array | list[Tree], p: Tree, ids: Array, *, parts: int, eps: float = EPS, seen: Array | None,
    past: list[Tree] | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of ids (B, S): (B, S, D). h: the states, or of each layer what is kept of them; past: what each keeps of
    words before.
    """
    c: Tree = {"decoder": []}
    first = past[0]["key"].shape[2] if past else 0
    length, most = ids.shape[1], len(p["embeddings"]["position"]["weight"])
    require(first + length <= most, f"a caption of {first + length} words and an end, but longest is {most}")
    places = {"word": ids, "position": np.arange(first, first + length)}
    given = {"frozen": {}, "eps": eps, "keep": None, "rate": 0.0}
    x, c["embeddings"] = layers.embeddings(p["embeddings"], ids=places, **given)  # (1)
    own = {"mask": layers.causal(length, first + length), "seen": layers.of_source(layers.by_anybody(seen))}
    for i, layer in enumerate(p["decoder"]):
        source, kept = (h[i], {"past": past[i]}) if past else (h, {})
        x, one = layers.decoder_layer(x, source, layer, heads=_heads(x.shape[-1], parts), act=ACT, eps=eps, **own,
                                      **kept)  # (2)  # fmt: skip
        c["decoder"].append(one)
    return x, c


def loss(
    h: Array, p: Tree, labels: Tree, *, parts: int = 0, table: None = None, total: float | None = None,
    dense: bool = False, seen: Array | None = None, eps: float = EPS,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(4) of h (B, T, D); seen: bits (B, T), 1 = there; parts: as in Settings."""
    x, c = _written(h, p, target_token.shifted(labels["labels"], END, END), parts=parts, eps=eps, seen=seen)
    words = p["embeddings"]["word"]["weight"]
    value, c["target"] = target_token.loss(x, None, labels, table=words, total=total, dense=dense)  # (3), (4)
    c["loss"] = c["target"]["loss"]
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None): the table of words has the sum of its two uses."""
    g: Tree = {"decoder": []}
    dx, _, dwords = target_token.loss_backward(dloss, c["target"])  # (4), (3)
    dh: Any = None
    for one in reversed(c["decoder"]):
        dx, dmemory, layer = layers.decoder_layer_backward(dx, one)  # (2)
        dh = dmemory if dh is None else dh + dmemory
        g["decoder"].insert(0, layer)
    g["embeddings"] = layers.embeddings_backward(dx, c["embeddings"])  # (1)
    g["embeddings"]["word"]["weight"] = g["embeddings"]["word"]["weight"] + dwords
    return dh, g, None


def right(c: Tree) -> layers.Right:
    """Of the words that are asked, each behind the right ones."""
    return layers.right(c["loss"])


def predict(h: Array, p: Tree, *, parts: int = 0, table: None = None, seen: Array | None = None) -> Array:
    """(3) along the words that are likeliest one after another, (B, longest, V); behind an end word it says nothing."""
    width = h.shape[-1] // _heads(h.shape[-1], parts)
    sources = [layers.remembered(h, layer["cross_attention"], width=width) for layer in p["decoder"]]
    past = [tree.map(lambda a: a[:, :, :0], kept) for kept in sources]
    ids, found = np.full((len(h), 1), END), []
    for _ in range(len(p["embeddings"]["position"]["weight"])):
        x, c = _written(sources, p, ids, parts=parts, seen=seen, past=past)
        past = [layers.keys_values(one) for one in c["decoder"]]
        found.append(target_token.predict(x[:, -1], None, table=p["embeddings"]["word"]["weight"]))
        ids = found[-1].argmax(-1)[:, None]
    return np.stack(found, 1)
