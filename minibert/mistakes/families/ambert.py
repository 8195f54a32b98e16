"""Mistakes of AMBERT: what its two grains share, what each sees, how far their predictions are apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.golden.subject import Subject
from minibert.heads import grained_classification
from minibert.mistakes.catalogue import batch, config, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded

Array = np.ndarray
COARSE = r"encode\.coarse_encoder\..*"


def own(*makers: Callable) -> list[Callable]:
    """The makers for AMBERT and its kin."""
    return [only("ambert", maker) for maker in makers]


def structured(what: str, found: str, taken: str) -> Callable:
    """Another structure over the same parameters, where it is this one."""
    maker = config(what, structure=taken)
    return lambda subject, at: maker(subject, at) if getattr(subject.config, "structure", "") == found else []


def _unlearnt(right: tuple[Array, Any], dy: Array, c: Any) -> tuple[Array, Any]:
    """Layers that learn from the fine tokens alone."""
    dx, g = right
    return dx, tree.zeros_like(g)


def _squared(z: Array, other: Array) -> tuple[Array, Any]:
    _, c = grained_classification.disagreement.__wrapped__(z, other)
    return np.asarray((c["apart"] ** 2).sum()), c


def _squared_backward(dy: Array, c: Any) -> tuple[Array, Array]:
    d = 2 * dy * c["apart"]
    return ops.softmax_backward(d, c["softmax"]), ops.softmax_backward(-d, c["other"])


def _turned(given: dict[str, Any]) -> dict[str, Any]:
    x = given["x"]
    return {"x": np.concatenate(np.split(x, 2, axis=1)[::-1], axis=1)}


def turned(subject: Subject, site: Site) -> Replacement:
    """The coarse first state before the fine one."""

    def backward(dy: Array, c: Any) -> tuple[Array, Any]:
        dx, g = ops.linear_backward(dy, c)
        return np.concatenate(np.split(dx, 2, axis=1)[::-1], axis=1), g

    return Replacement(edited(ops.linear, _turned).forward, backward)


entry(
    "ambert-01", "the grains see each other, or do not", "each encoder reads one grain; one over both is the Hybrid",
    "own knowledge; arXiv 2008.11869, section 4", "output", "AMB-ENC-1", families=("ambert",),
    mutants=own(
        structured("one encoder over both grains", "shared", "hybrid"),
        structured("each grain for itself", "hybrid", "shared"),
    ),
)  # fmt: skip
entry(
    "ambert-02", "shared layers learn from the fine tokens alone", "their gradient is the sum of both grains'",
    "own knowledge", "gradient", "AMB-ENC-2", families=("ambert",), when="where layers are shared",
    mutants=own(swap("coarse tokens teach the layers nothing", "encoder_layer",
                     graded(layers.encoder_layer, _unlearnt), COARSE, section="gradients")),
)  # fmt: skip
entry(
    "ambert-03", "the distance of both predictions squared, or left out", "its norm, times λ",
    "own knowledge; arXiv 2008.11869, eq. 2", "loss", "AMB-CLS-1", families=("ambert",),
    mutants=own(
        swap("squared", "disagreement", Replacement(_squared, _squared_backward)),
        config("left out", agreement=0.0),
    ),
)  # fmt: skip
entry(
    "ambert-04", "both first states the other way round", "[fine; coarse]",
    "own knowledge", "output", "AMB-CLS-1", families=("ambert",),
    mutants=own(swap("[coarse; fine]", "linear", turned, r"classification\.head_both")),
)  # fmt: skip
entry(
    "ambert-05", "the coarse term weighs something else", "L₁ + L₂, each the mean over its own targets",
    "own knowledge; arXiv 2008.11869, eq. 1", "loss", "AMB-LOSS-1", families=("ambert",),
    mutants=own(
        config("half", coarse_weight=lambda c: c.coarse_weight / 2),
        config("not at all", coarse_weight=0.0),
    ),
)  # fmt: skip
entry(
    "ambert-06", "types of the coarse tokens not handed on", "they have segments, too",
    "own knowledge", "output", "AMB-EMB-1", families=("ambert",),
    mutants=own(
        batch("segment 0 for all", lambda b, _: {"coarse_token_type_ids": 0 * b["coarse_token_type_ids"]}),
        batch("nothing is padding", lambda b, _: {"coarse_attention_mask": 0 * b["coarse_attention_mask"] + 1}),
    ),
)  # fmt: skip
entry(
    "ambert-07", "masks of the grains drawn apart", "with a coarse token all fine ones within it",
    "own knowledge; arXiv 2008.11869, section 3.3", "data", "AMB-DATA-2", families=("ambert",),
    reason="rows of two grains are made by the family's own function, of which no case holds the law; its test does",
)  # fmt: skip
