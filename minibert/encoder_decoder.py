"""One text into another: what families with an encoder and a decoder share around their own two stacks.

A family gives two functions:

    read(p, config, inputs, keep) -> (memory (B, T, D), cache)              the encoder, over the source
    write(p, config, ids, memories, inputs, keep, *, mask, seen, past=None, first=0) -> ([states (B, S, D)], cache)
                the decoder, over ids (B, S), its tokens first, first + 1, …, given each layer's memory, or what is
                kept of it (`layers.remembered`); mask, seen and past as in `layers.decoder_layer`. Its cache has those
                of the layers under "decoder"

and a tree in which "decoder" is a list of layers with "cross_attention".
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.config import require
from minibert.heads import target_token

Array = np.ndarray
Tree = dict[str, Any]
MEMORY = "encoder_last_hidden_state"  # the output that takes no decoder
DIMS = {"B": 3, "T": 6, "S": 5}  # rows of an example, tokens of its source and of its target


def inputs(config: Any) -> dict[str, str]:
    """What `encode` takes: decoder_input_ids, or labels from which they are made."""
    return {
        "input_ids": "(B,T)<vocab_size",
        "attention_mask": "?(B,T)?",
        "decoder_input_ids": "?(B,S)<vocab_size",
        "decoder_attention_mask": "?(B,S)?",
    }


def lengths(config: Any) -> dict[str, tuple[str, int]]:
    """How long rows of a source and of a target may be, and the input whose sum is how long each is."""
    most = config.max_position_embeddings
    return {"T": ("attention_mask", most), "S": ("decoder_attention_mask", most)}


def example(
    rng: np.random.Generator, config: Any, dims: dict[str, int] | None, most: float, dropouts: Callable
) -> Tree:  # fmt: skip
    """A small batch: sources padded at the end, and drawn dropout masks; labels are the head's. dims: sizes that differ
    from DIMS, cut to the longest row, `most`.
    """
    dims = {**DIMS, **(dims or {})}
    rows, source, target = dims["B"], min(dims["T"], most), min(dims["S"], most)
    require(source >= 3 and target >= 3 and config.vocab_size >= 2, "an example needs 3 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, source))
    ids[0, 1] = ids[0, 0]
    sizes = rng.integers(2, source, rows)
    sizes[0] = source
    written = rng.integers(2, target + 1, rows)
    return {
        "input_ids": ids,
        "attention_mask": (np.arange(source) < sizes[:, None]).astype(np.int64),
        "decoder_input_ids": rng.integers(0, config.vocab_size, (rows, target)),
        "decoder_attention_mask": (np.arange(target) < written[:, None]).astype(np.int64),
        "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": source, "S": target})),
    }


def dropped(kept: Tree, dtype: np.dtype, places: dict[str, tuple[str, float, str]]) -> tuple[Tree, Tree]:
    """(multipliers within a layer's sub-layers, keep-masks of their residuals), of those that are among the kept.
    places: sub-layer -> (module within it, its rate, module of its residual).
    """
    factors, masks = {}, {}
    for part, (inside, rate, residual) in places.items():
        if inside in kept:
            key = "inner" if part == "feed_forward" else part
            factors[key] = ops.dropout_multiplier(kept[inside], rate, dtype)
        if residual in kept:
            masks[part] = kept[residual]
    return factors, masks


def encode(
    read: Callable, write: Callable, p: Tree, config: Any, inputs: Tree, keep: layers.Keep, ids: Array | None = None
) -> tuple[Tree, Tree]:
    """The outputs of a family's `encode`, and its cache. ids: what the decoder reads where the inputs have neither
    that nor labels; None: an InputError. A tree without a decoder has the memory alone.
    """
    memory, c = read(p, config, inputs, "last" if keep == "outputs" else keep)
    if "decoder" not in p:
        return {MEMORY: memory}, c
    if "decoder_input_ids" in inputs:
        ids = inputs["decoder_input_ids"]
    elif "labels" in inputs:
        ids = target_token.shifted(inputs["labels"], config.decoder_start_token_id, config.pad_token_id)
    require(ids is not None, "decoder_input_ids are missing, and labels that they could be made from")
    mask = layers.causal(ids.shape[1], ids.shape[1], inputs.get("decoder_attention_mask"))
    given = {"mask": mask, "seen": layers.of_source(_shown(inputs))}
    hidden, own = write(p, config, ids, [memory] * len(p["decoder"]), inputs, keep, **given)
    return {**layers.states(hidden, own["decoder"], keep), MEMORY: memory}, {**c, **own}


def _shown(inputs: Tree) -> Array | None:
    """Which slots of the memory the decoder attends to, (B, T): those of the source, of kin fewer."""
    return inputs.get("encoder_attention_mask", inputs.get("attention_mask"))


def start(read: Callable, p: Tree, config: Any, inputs: Tree, width: int) -> Tree:
    """The state that has read the source and no token of the target: each layer's keys and values of both; width: of a
    head of the decoder. InputError for a mask that hides tokens of the target, as a step reads all of its ids.
    """
    whole = bool(np.all(inputs.get("decoder_attention_mask", 1)))
    require(whole, "decoder_attention_mask hides tokens; what is written on has no padding: give rows of one length")
    require("decoder_input_ids" not in inputs, "start reads the source; decoder_input_ids are read by step")
    memory, _ = read(p, config, inputs, "last")
    sources = [layers.remembered(memory, layer["cross_attention"], width=width) for layer in p["decoder"]]
    nothing = [tree.map(lambda a: a[:, :, :0], kept) for kept in sources]
    seen = np.ones_like(inputs["input_ids"]) if _shown(inputs) is None else _shown(inputs)
    return {"source": sources, "seen": seen.astype(np.int64), "layers": nothing}


def step(write: Callable, p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(the state (N, D) of the decoder for the last of the ids (N, n), what has read them)."""
    past = state["layers"]
    first = past[0]["key"].shape[2]
    given = {"mask": layers.causal(ids.shape[1], first + ids.shape[1]), "seen": layers.of_source(state["seen"])}
    hidden, c = write(p, config, ids, state["source"], {}, layers.keys_values, past=past, first=first, **given)
    return hidden[-1][:, -1], {**state, "layers": c["decoder"]}
