"""Mistakes of XLNet: who sees what in its two streams, distances, segments, memory, targets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import xlnet
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, batch, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded

Array = np.ndarray
Tree = dict[str, Any]
LAYER = r"encode\.encoder\.\d+"
STREAMS = rf"{LAYER}\.attention\.(attention|queries)"


def own(*makers: Callable) -> list[Callable]:
    """The makers for XLNet and its kin."""
    return [only("xlnet", maker) for maker in makers]


def layered(what: str, edit: Callable[[Tree], Tree], when: str = "", faithful: bool = True) -> Callable:
    """Layers on other arguments: edit(given) -> those that change; when: only where the batch has that."""
    made = edited(xlnet.xlnet_layer, edit, faithful)

    def there(subject: Subject, _: Site) -> Replacement | None:
        return made if not when or when in subject.batches[0] else None

    return swap(what, "xlnet_layer", there, LAYER)


def asked(what: str, edit: Callable[[dict, Any], dict], when: str) -> Callable:
    """Another batch, where it has such a field."""
    maker = batch(what, edit)
    return lambda subject, at: maker(subject, at) if when in subject.batches[0] else []


# ---- Who sees what ---------------------------------------------------------------------------------------------------
def _seen(attention: str, queries: str) -> Callable[[Tree], Tree]:
    return lambda given: {"sees": {"attention": given["sees"][attention], "queries": given["sees"][queries]}}


def _one_late(given: Tree) -> Tree:
    """The memory's columns one place too far on: the first of the row is taken for memory, and so on."""
    return {"sees": {name: np.roll(mask, 1, -1) for name, mask in given["sees"].items()}}


def _unremembered(given: Tree) -> Tree:
    before = given["memory"].shape[1]
    hidden = np.arange(before + given["differ"].shape[1]) < before
    return {"sees": {name: mask & ~hidden for name, mask in given["sees"].items()}}


# ---- Distances -------------------------------------------------------------------------------------------------------
def _turned(given: Tree) -> Tree:
    places = given["places"].copy()
    places[..., : places.shape[-1] // 2] *= -1  # sin(-d) = -sin d
    return {"places": places}


def _interleaved(given: Tree) -> Tree:
    places = given["places"]
    return {"places": places.reshape(*places.shape[:-1], 2, -1).swapaxes(-1, -2).reshape(places.shape)}


def _ahead(given: Tree) -> Tree:
    return {"places": given["places"][:1]}


def _one_further(given: Tree) -> Tree:
    return {"places": np.roll(given["places"], 1, -2)}


UNSCALED = edited(ops.scores, lambda given: {"scale": 1.0}, faithful=False)


# ---- Segments, biases ------------------------------------------------------------------------------------------------
def _own_memory(given: Tree) -> Tree:
    differ = given["differ"].copy()
    differ[:, :, : given["memory"].shape[1]] = False
    return {"differ": differ}


def _exchanged(one: str, other: str) -> Callable[[Tree], Tree]:
    def edit(given: Tree) -> Tree:
        held = given["p"]["attention"]
        return {"p": {**given["p"], "attention": {**held, one: held[other], other: held[one]}}}

    return edit


# ---- Streams ---------------------------------------------------------------------------------------------------------
def _content_alone(subject: Subject, site: Site) -> Replacement:
    """The gradient of a projection from the content's rows."""
    length = subject.batches[0]["input_ids"].shape[1]

    def edit(d: Any, dy: Array, c: Any) -> Any:
        return d[0], ops.linear_backward(np.where(np.arange(dy.shape[1])[:, None] < length, dy, 0), c)[1]

    return graded(ops.linear, edit)


def _from_a_token(subject: Subject, _: Any) -> list[Mutant]:
    """Queries that begin as a token does."""

    def change(s: Subject) -> Subject:
        tables = s.params["embeddings"]
        row = {"weight": tables["word"]["weight"][2].copy()}
        return replace(s, params={**s.params, "embeddings": {**tables, "query": row}})

    silent = r".*mask_emb.*"
    return [Mutant("queries begin as a token of the vocabulary", change, silent=silent)]


def _halves_exchanged(b: dict, config: Any) -> dict[str, Array]:
    return {"target_mapping": b["target_mapping"][:, ::-1]}


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "xlnet-01", "the content may not see itself", "a content state sees itself whatever perm_mask says", "HF#711",
    "output", "XLN-ATT-3", families=("xlnet",),
    mutants=own(layered("the content by the queries' mask", _seen("queries", "queries"))),
)  # fmt: skip
entry(
    "xlnet-02", "a query sees the token that it is asked for", "perm_mask alone, without the content's diagonal",
    "HF XLNet without target_mapping; own knowledge", "output", "XLN-ATT-3", families=("xlnet",),
    mutants=own(layered("queries by the content's mask", _seen("attention", "attention"))),
)  # fmt: skip
entry(
    "xlnet-03", "perm_mask the other way round", "1 = hidden; row i is who looks",
    "src XLNet modeling.py:151; own knowledge", "output", "XLN-ATT-3", families=("xlnet",),
    mutants=own(
        asked("1 = visible", lambda b, _: {"perm_mask": 1 - b["perm_mask"]}, "perm_mask"),
        asked("rows for columns", lambda b, _: {"perm_mask": b["perm_mask"].swapaxes(1, 2)}, "perm_mask"),
    ),
)  # fmt: skip
entry(
    "xlnet-04", "masks off by one behind a memory", "memory is in front of the row, all of it seen",
    "HF#14832, #15665", "output", "XLN-ATT-3", families=("xlnet",),
    mutants=own(layered("masks one column late", _one_late), layered("memory is hidden", _unremembered, "mems")),
)  # fmt: skip
entry(
    "xlnet-05", "memory of another layer", "each layer's own input is what it remembers", "own knowledge", "output",
    "XLN-MEM-1", families=("xlnet",),
    mutants=own(asked("layers' memories in turn", lambda b, _: {"mems": [*b["mems"][1:], b["mems"][0]]}, "mems"),
                asked("memory turned round", lambda b, _: {"mems": [m[:, ::-1] for m in b["mems"]]}, "mems")),
)  # fmt: skip
entry(
    "xlnet-06", "distances of another kind", "from query back to key, sines beside cosines, backward rows turned",
    "zihangdai/xlnet#97; own knowledge", "output", "XLN-POS-1", families=("xlnet",),
    mutants=own(
        layered("the sign turned round", _turned),
        layered("sines and cosines interleaved", _interleaved),
        layered("one too far", _one_further),
        layered("no row is read backwards", _ahead, "backward"),
    ),
)  # fmt: skip
entry(
    "xlnet-07", "the scores' terms are scaled one by one", "their sum is divided by √K", "own knowledge", "output",
    "XLN-ATT-1", families=("xlnet",),
    mutants=own(swap("distances are not divided", "scores", UNSCALED, rf"{STREAMS}\.distances"),
                swap("segments are not divided", "scores", UNSCALED, rf"{STREAMS}\.segments")),
)  # fmt: skip
entry(
    "xlnet-08", "segments compared the other way", "index 0 the same, 1 another; memory is of segment 0",
    "src XLNet; HF seg_mat", "output", "XLN-ATT-2", families=("xlnet",),
    mutants=own(
        layered("0 for another segment", lambda given: {"differ": ~given["differ"]}),
        layered("memory of whatever segment", _own_memory, "mems"),
    ),
)  # fmt: skip
entry(
    "xlnet-09", "biases of the scores in each other's place", "r_w_bias with keys, r_r_bias with distances, r_s_bias",
    "own knowledge", "output", "XLN-ATT-1", families=("xlnet",),
    mutants=own(
        layered("r_w_bias and r_r_bias exchanged", _exchanged("content", "place"), faithful=False),
        layered("r_r_bias and r_s_bias exchanged", _exchanged("place", "segment"), faithful=False),
    ),
)  # fmt: skip
entry(
    "xlnet-10", "weights learn from the content stream alone", "both streams share them: the sum", "own knowledge",
    "gradient", "XLN-ATT-1", families=("xlnet",),
    mutants=own(swap("gradients of projections from the content", "linear", _content_alone,
                     rf"{LAYER}\.(attention\.(query|output)|feed_forward\.(in|out))", section="gradients")),
)  # fmt: skip
entry(
    "xlnet-11", "labels and targets out of step", "label m is the token at the place that row m of target_mapping has",
    "HF#2822", "loss", "XLN-LOSS-1", families=("xlnet",),
    mutants=own(
        asked("labels of the next target", lambda b, _: {"labels": np.roll(b["labels"], 1, 1)}, "labels"),
        asked("targets from the end", _halves_exchanged, "target_mapping"),
    ),
)  # fmt: skip
entry(
    "xlnet-12", "queries begin as the <mask> token", "a vector of their own, mask_emb", "own knowledge", "output",
    "XLN-EMB-1", families=("xlnet",), mutants=own(_from_a_token),
)  # fmt: skip
