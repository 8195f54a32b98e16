"""Mistakes of Longformer: windows, global tokens and their projections, what padding sees."""

from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, sliding, tree
from minibert.families import longformer
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, batch, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

Array = np.ndarray
Tree = dict[str, Any]
QKV = ("query", "key", "value")
INSIDE = r"encode\.encoder\.\d+\.attention"
WINDOWS = rf"{INSIDE}\.windows\.\d+"
FORWARD, BACKWARD = sliding.sliding_attention.__wrapped__, sliding.sliding_attention_backward.__wrapped__


def own(*makers: Callable) -> list[Callable]:
    """The makers for Longformer and its kin."""
    return [only("longformer", maker) for maker in makers]


def attending(what: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable:
    """`sliding_attention` on other arguments."""
    return swap(what, "sliding_attention", edited(sliding.sliding_attention, edit), INSIDE)


def seeing(what: str, edit: Callable[[sliding.Sight], dict[str, Array]]) -> Callable:
    """With another Sight."""
    return attending(what, lambda given: {"seen": given["seen"]._replace(**edit(given["seen"]))})


def reaching(what: str, size: Callable[[int], int]) -> Callable:
    """With another w, 1 at least, where that is another one."""
    made = edited(sliding.sliding_attention, lambda given: {"window": max(1, size(given["window"]))})

    def replaced(subject: Subject, site: Site) -> Replacement | None:
        w = longformer.window(subject.config, site.layer)
        return None if max(1, size(w)) == w else made

    return swap(what, "sliding_attention", replaced, INSIDE)


def rebound(f: Callable, **names: Any) -> Callable:
    """The function with other values of these names of its module."""
    made = FunctionType(f.__code__, {**f.__globals__, **names}, f.__name__)
    made.__kwdefaults__ = f.__kwdefaults__
    return made


# ---- Projections -----------------------------------------------------------------------------------------------------
def _one_set(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    return FORWARD(x, {**p, "global": {name: p[name] for name in QKV}}, **given)


def _one_set_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, g = BACKWARD(dy, c)
    return dx, {**g, **{n: tree.add(g[n], g["global"][n]) for n in QKV}, "global": tree.zeros_like(g["global"])}


def _far_columns(x: Array, p: Tree, *, seen: sliding.Sight, **given: Any) -> tuple[Array, Tree]:
    """Global tokens are keys and values of others by their own projections, too."""
    heads = len(p["query"]["weight"]) // given["width"]
    far = [layers.projected(x, p["global"], name, heads=heads) for name in ("key", "value")]
    picked = iter([sliding._picked(y, seen) for y, _ in far])
    y, c = rebound(FORWARD, _picked=lambda *_: next(picked))(x, p, seen=seen, **given)
    return y, {**c, "far": [own for _, own in far]}


def _far_columns_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    held: list[Array] = []

    def kept(d: Array, own: Tree) -> Array:
        held.append(sliding._picked_backward(d, own))
        return np.zeros_like(held[-1])

    dx, g = rebound(BACKWARD, _picked_backward=kept)(dy, c)
    for name, d, own in zip(("key", "value"), held, c["far"], strict=False):
        dfar, again = layers.projected_backward(d, own, name)
        dx, g["global"][name] = kernels.add(dx, dfar), tree.add(g["global"][name], again)
    return dx, g


# ---- Gradients -------------------------------------------------------------------------------------------------------
def _own_block(d: Array, dy: Array, c: Tree) -> Array:
    """What a token gets as a key of its own block alone."""
    at = np.arange(dy.shape[2])
    inside = (at >= c["beside"]) & (at < c["beside"] + c["size"])
    rows, _, length, _ = c["shape"]
    dy = np.where(inside[:, None], dy, 0)
    return kernels.unblocked(dy, rows, length, c["size"], c["beside"], c["rate"])


def _through(d: tuple[Array, ...], dy: Array, c: Tree) -> tuple[Array, ...]:
    """Without the cut of what is overwritten."""
    return dy, *d[1:]


# ---- Entries ---------------------------------------------------------------------------------------------------------
def _nothing_global(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Windows alone, whose context is under no name here and under the whole one's in ports."""
    maker = batch("global_attention_mask is not passed on",
                  lambda b, _: {"global_attention_mask": 0 * b["global_attention_mask"]})
    context = r"(forward|gradients)/encode\.encoder\.\d+\.attention\.overwritten"
    return [replace(mutant, silent=context) for mutant in maker(subject, at)]


entry(
    "longformer-01", "the window of one side taken for both, or both for one",
    "attention_window counts both sides; the original repository's counts one",
    "src allenai/longformer LongformerConfig; HF configuration_longformer", "output", "LON-ATT-1",
    families=("longformer",),
    mutants=own(
        reaching("attention_window tokens on either side", lambda w: 2 * w),
        reaching("half as far", lambda w: w // 2),
        reaching("one token too few on either side", lambda w: w - 1),
    ),
)  # fmt: skip
entry(
    "longformer-02", "a global token within the window counts twice", "it is taken out of the window",
    "src HF modeling_longformer (remove_from_sliding_attention_mask)", "output", "LON-ATT-1", families=("longformer",),
    mutants=own(seeing("global tokens are keys of windows, too", lambda seen: {"near": seen.there})),
)  # fmt: skip
entry(
    "longformer-03", "global tokens are seen by key_global and value_global", "by the same key and value as others",
    "spec C2; own knowledge", "output", "LON-ATT-1", families=("longformer",),
    mutants=own(swap("their own projections serve others, too", "sliding_attention",
                     lambda s, _: Replacement(_far_columns, _far_columns_backward)
                     if s.batches[0]["global_attention_mask"].any() else None, INSIDE)),
)  # fmt: skip
entry(
    "longformer-04", "global tokens keep the context of their window", "attention to all takes its place",
    "spec C2; own knowledge", "output", "LON-ATT-2", families=("longformer",),
    mutants=own(seeing("nothing is overwritten",
                       lambda seen: {"everywhere": np.zeros_like(seen.everywhere)})),
)  # fmt: skip
entry(
    "longformer-05", "one set of projections", "query_global, key_global, value_global for what global tokens see",
    "own knowledge; src convert_model_to_long.ipynb, where they begin as copies", "output", "LON-ATT-2",
    families=("longformer",),
    mutants=own(swap("global tokens ask by query, key, value", "sliding_attention",
                     Replacement(_one_set, _one_set_backward), INSIDE)),
)  # fmt: skip
entry(
    "longformer-06", "global queries are not scaled", "1/√K, as those of windows", "own knowledge", "output",
    "LON-ATT-2", families=("longformer",),
    mutants=own(swap("scale 1 of global attention", "attention", edited(ops.attention, lambda given: {"scale": 1.0}),
                     rf"{INSIDE}\.global\.attention")),
)  # fmt: skip
entry(
    "longformer-07", "padding takes the context that its window reaches", "0: its probabilities are zeroed",
    "src HF modeling_longformer (is_index_masked)", "output", "LON-ATT-4", families=("longformer",),
    mutants=own(seeing("queries of padding ask", lambda seen: {"asking": np.ones_like(seen.asking)})),
)  # fmt: skip
entry(
    "longformer-08", "the mask reaches one of the two attentions",
    "padding is no key of windows, nor of global attention", "own knowledge", "output", "LON-ATT-3",
    families=("longformer",),
    mutants=own(
        seeing("padding is a key of windows", lambda seen: {"near": ~seen.everywhere}),
        swap("padding is a key of global attention", "attention",
             edited(ops.attention, lambda given: {"mask": np.broadcast_to(given["mask"].any(3, keepdims=True),
                                                                          given["mask"].shape)}),
             rf"{INSIDE}\.global\.attention"),
    ),
)  # fmt: skip
entry(
    "longformer-09", "padding that is marked global is there", "what attention_mask leaves out is not global",
    "src HF modeling_longformer (_merge_to_attention_mask: a product)", "output", "LON-ATT-3", families=("longformer",),
    mutants=own(batch("the larger of the two masks",
                      lambda b, _: {"attention_mask": np.maximum(b["attention_mask"], b["global_attention_mask"])})),
)  # fmt: skip
entry(
    "longformer-10", "no token is global", "those that global_attention_mask marks",
    "HF modeling_longformer: only its classes for tasks set it by themselves", "output", "LON-ATT-3",
    families=("longformer",),
    mutants=own(_nothing_global),
)  # fmt: skip
entry(
    "longformer-11", "dilation ignored", "keys d apart, d of each head; ports have none",
    "HF modeling_longformer: lacks support for dilated attention", "output", "LON-ATT-6", families=("longformer",),
    mutants=own(attending("windows without gaps", lambda given: {"dilation": (1,)}),
                attending("the first head's dilation for all", lambda given: {"dilation": given["dilation"][:1]})),
)  # fmt: skip
entry(
    "longformer-12", "a key learns from its own block alone", "from all windows in which it stands: the sum",
    "own knowledge; sliding_chunks.py overlaps by half", "gradient", "OP-PIECE-2", families=("longformer",),
    mutants=own(swap("what windows of other blocks give is lost", "blocks", graded(ops.blocks, _own_block),
                     rf"{WINDOWS}\.(keys|values)", section="gradients")),
)  # fmt: skip
entry(
    "longformer-13", "gradient through what is overwritten", "the window's context of a global token gets none",
    "own knowledge; HF writes into the array", "gradient", "LON-ATT-2", families=("longformer",),
    mutants=own(swap("not cut", "overwritten", graded(ops.overwritten, _through), rf"{INSIDE}\.overwritten",
                     section="gradients")),
)  # fmt: skip
entry(
    "longformer-14", "nobody's window teaches the key of a global token", "its columns in all queries count",
    "own knowledge", "gradient", "LON-ATT-1", families=("longformer",),
    mutants=own(swap("the columns of global tokens give nothing back", "gather",
                     graded(ops.gather, lambda d, *_: zeros(d)), rf"{INSIDE}\.held_(key|value)",
                     section="gradients")),
)  # fmt: skip
