"""Mistakes of Swin: windows, their shift and its mask, relative positions, merging, dropped paths."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibert import ops, relative, vision
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import GRADIENTS, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("swin",)
GRIDS = ("windows", "unwindowed")


def rolled(what: str, shift: Callable[[int], int], which: tuple[str, ...] = GRIDS) -> list[Callable]:
    """The roll of these by another number of cells, where there is one."""

    def edit(given: dict) -> dict:
        return {"shift": shift(given["shift"])} if given["shift"] else {}

    return [swap(what, name, edited(getattr(ops, name), edit)) for name in which]


def attending(what: str, edit: Callable[[dict], dict], **fields: Any) -> Callable:
    """Attention within windows on other arguments."""
    path = r"encode\.encoder\.\d+\.blocks\.\d+\.attention\.self\.attention"
    return only("swin", swap(what, "attention", edited(ops.attention, edit), path, **fields))


def windowed(what: str, edit: Callable[[dict], dict]) -> Callable:
    """The whole of it, rolls, windows and mask, on other arguments."""
    return swap(what, "windowed_attention", edited(vision.windowed_attention, edit))


def placed(what: str, places: Callable[[int], Array]) -> Callable:
    """Other rows of the table: places(M) -> (M·M, M·M)."""

    def edit(given: dict) -> dict:
        return {"buckets": places(round(len(given["buckets"]) ** 0.5))}

    return only("swin", swap(what, "relative_bias", edited(relative.relative_bias, edit)))


def _one_way(axis: int, given: dict) -> dict:
    """Regions down, or across, alone: cells of one column, or row, tell."""
    mask = given.get("mask")
    if mask is None:
        return {}
    size = round(mask.shape[-1] ** 0.5)
    cells = mask.reshape(*mask.shape[:2], size, size, size, size)
    own = cells[:, :, :, :1, :, :1] if axis == 0 else cells[:, :, :1, :, :1, :]
    return {"mask": np.broadcast_to(own, cells.shape).reshape(mask.shape)}


def reordered(what: str, order: tuple[int, ...]) -> Callable:
    """Four cells in another order."""

    def turned(a: Array, by: tuple[int, ...]) -> Array:
        return np.ascontiguousarray(a.reshape(*a.shape[:2], 4, -1)[:, :, list(by)]).reshape(a.shape)

    def forward(x: Array, *, height: int) -> tuple[Array, Tree]:
        y, c = ops.merged(x, height=height)
        return turned(y, order), c

    back = tuple(np.argsort(order).tolist())
    return swap(what, "merged", Replacement(forward, lambda dy, c: ops.merged_backward(turned(dy, back), c)))


def _of_config(subject: Subject, site: Site) -> Replacement | None:
    """A norm with the config's epsilon, where torch's own stands."""
    eps = subject.config.layer_norm_eps
    return edited(ops.layer_norm, lambda given: {"eps": eps}) if hasattr(subject.config, "depths") else None


def _behind(x: Array, p: Tree, *, height: int, eps: float = 1e-5) -> tuple[Array, Tree]:
    """Merging without its norm."""
    c: Tree = {}
    h, c["merged"] = ops.merged(x, height=height)
    y, c["reduction"] = ops.linear(h, **p["reduction"])
    return y, {**c, "norm": p["norm"]}


def _behind_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dh, reduction = ops.linear_backward(dy, c["reduction"])
    return ops.merged_backward(dh, c["merged"]), {"reduction": reduction,
                                                 "norm": {name: 0 * a for name, a in c["norm"].items()}}  # fmt: skip


entry(
    "swin-01", "windows not shifted", "in every second layer, by ⌊M/2⌋", "own knowledge: no exchange between windows",
    "output", "SWIN-SHIFT-1", families=FAMILY, when="where a layer is shifted",
    mutants=[windowed("never", lambda given: {"shift": 0} if given["shift"] else {})],
)  # fmt: skip
entry(
    "swin-02", "no mask after the shift", "what did not stand together does not attend",
    "issues of ports: torch.roll alone", "output", "SWIN-SHIFT-2", families=FAMILY, when="where a layer is shifted",
    mutants=[attending("none", lambda given: {"mask": None})],
)  # fmt: skip
entry(
    "swin-03", "a grid rolled the other way, or not rolled back", "back before the cut, forth behind it",
    "own knowledge: the sign of torch.roll", "output", "SWIN-SHIFT-1", families=FAMILY,
    when="where a layer is shifted",
    mutants=[
        *rolled("the other way", lambda shift: -shift, ("windows",)),
        *rolled("not rolled back", lambda shift: 0, ("unwindowed",)),
        *rolled("back once more", lambda shift: -shift, ("unwindowed",)),
        windowed("by M/2 rounded up",
                 lambda given: {"shift": given["size"] - given["size"] // 2} if given["shift"] else {}),
    ],
)  # fmt: skip
entry(
    "swin-04", "regions of the mask otherwise", "three either way, from 0, from the last window, from what came round",
    "src microsoft/Swin-Transformer, swin_transformer.py (h_slices, w_slices)", "output", "SWIN-SHIFT-2",
    families=FAMILY, when="where a layer is shifted",
    mutants=[attending("of rows alone", partial(_one_way, 0)), attending("of columns alone", partial(_one_way, 1))],
)  # fmt: skip
entry(
    "swin-05", "four cells in another order", "(0, 0), (1, 0), (0, 1), (1, 1) of (row, column)",
    "src microsoft/Swin-Transformer, PatchMerging; nn.Unfold has channels in front", "output", "OP-MERGE-1",
    families=FAMILY,
    mutants=[reordered("row by row", (0, 2, 1, 3)), reordered("from the last", (3, 2, 1, 0))],
)  # fmt: skip
entry(
    "swin-06", "distances from the key to the query", "from the query's place the key's is taken",
    "own knowledge: i - j taken for j - i", "output", "SWIN-ATT-2", families=FAMILY,
    mutants=[placed("turned", lambda size: vision.places(size).T)],
)  # fmt: skip
entry(
    "swin-07", "rows of the table counted otherwise", "(down + M - 1)(2M - 1) + across + M - 1",
    "own knowledge: (2M - 1) left out, or on the other axis", "output", "SWIN-ATT-2", families=FAMILY,
    mutants=[
        placed("across in front", lambda size: vision.places(size).reshape(size, size, size, size)
               .transpose(1, 0, 3, 2).reshape(size * size, -1)),
        placed("without 2M - 1", lambda size: sum(np.divmod(vision.places(size), 2 * size - 1))),
    ],
)  # fmt: skip
entry(
    "swin-08", "no relative positions", "a row of the table for each distance, a column for each head", "own knowledge",
    "output", "SWIN-ATT-2", families=FAMILY,
    mutants=[placed("all of one distance", lambda size: np.zeros((size * size, size * size), np.int64))],
)  # fmt: skip
entry(
    "swin-09", "the config's epsilon in the norms of patches and of merging", "torch's 1e-5, whatever the config says",
    "src transformers modeling_swin.py (nn.LayerNorm without eps)", "output", "SWIN-CFG-2", families=FAMILY,
    when="where layer_norm_eps is not 1e-5", variant=True,
    mutants=[
        swap("of patches", "layer_norm", _of_config, r"encode\.embeddings\.norm"),
        swap("of merging", "layer_norm", _of_config, r"encode\.encoder\.\d+\.merge\.norm"),
    ],
)  # fmt: skip
entry(
    "swin-10", "four cells merged without a norm", "LN of all four, then the projection", "own knowledge", "output",
    "SWIN-MERGE-1", families=FAMILY,
    mutants=[swap("none", "patch_merging", Replacement(_behind, _behind_backward))],
)  # fmt: skip
entry(
    "swin-11", "the gradient of the table of one window, or the mean of all", "the sum over rows and windows",
    "own knowledge", "gradient", "SWIN-ATT-3", families=FAMILY,
    mutants=[only("swin", swap("a mean", "relative_bias", graded(relative.relative_bias, lambda d, dy, c: {
        "weight": d["weight"] / c["table"]["ids"].size}), section=GRADIENTS))],
)  # fmt: skip
entry(
    "swin-12", "every path kept at the same rate, or none dropped", "rates grow evenly over all layers, from 0",
    "src microsoft/Swin-Transformer (torch.linspace(0, drop_path_rate, sum(depths)))", "output", "SWIN-DROP-1",
    families=FAMILY, when="where paths are dropped",
    mutants=[
        swap("none dropped", "windowed_attention", edited(vision.windowed_attention, lambda given: {"path": None})),
        swap("not scaled", "windowed_attention", edited(vision.windowed_attention, lambda given: {"path_rate": 0.0})),
    ],
)  # fmt: skip
entry(
    "swin-13", "-∞ for -100 after a shift", "-100: about e^-100 of a weight is left",
    "src microsoft/Swin-Transformer (masked_fill(attn_mask != 0, float(-100.0)))", "nowhere", "SWIN-SHIFT-2",
    families=FAMILY, variant=True, reason="e^-100 is 4e-44 of a weight: no dtype shows it unless scores differ by 60",
)  # fmt: skip
entry(
    "swin-14", "a shift that stays away once a small picture was seen", "each picture decides for itself",
    "src transformers modeling_swin.py (set_shift_and_window_size writes into the layer)", "nowhere", "SWIN-SHIFT-3",
    families=FAMILY, reason="it takes two calls of one module, with pictures of two sizes",
)  # fmt: skip
entry(
    "swin-15", "windows cut before the grid is rolled", "the grid is rolled, then cut",
    "own knowledge: torch.roll of windows", "output", "SWIN-SHIFT-1", families=FAMILY,
    when="where a layer is shifted",
    mutants=[
        *rolled("windows cut from the grid as it is, the mask all the same", lambda shift: 0, ("windows",)),
    ],
)  # fmt: skip
entry(
    "swin-16", "the mask of another window", "of each its own: the windows of a row of the batch stand together",
    "own knowledge: masks repeated where they have to be tiled", "output", "SWIN-SHIFT-2",
    families=FAMILY, when="where a layer is shifted",
    mutants=[attending("that of the one before", lambda given: {"mask": np.roll(given["mask"], 1, 0)}
                       if given.get("mask") is not None else {})],
)  # fmt: skip
