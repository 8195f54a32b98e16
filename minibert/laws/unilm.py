"""What holds where each query has a mask of its own: what it must not see changes nothing that it gives."""

import functools
from typing import Any

import numpy as np

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

LAWS: dict = {}
MASK = "attention_mask"


def silent(config: Any) -> dict[str, str]:
    """What laws of a mask of keys ask, `unseen_tokens`, `unseen_keys` and `more_padding` do."""
    found = dict.fromkeys(("padding_invariance", "forbidden_keys"), "the family has no mask of keys")
    return found if config.tie_word_embeddings else {**found, "tied_gradient": "the decoder has a matrix of its own"}


def _matrices(view: Parts, inputs: Tensors) -> np.ndarray:
    """The masks (B, T, T), bool."""
    names = (MASK, *(spelled for spelled, name in view.spellings.items() if name == MASK))
    for name in names:
        if name in inputs:
            return np.asarray(inputs[name]) != 0
    raise Silent("no mask is given")


@functools.partial(core.law, laws=LAWS)
def unseen_tokens(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Other tokens where a query sees none, nor what it sees, change nothing that it gives. [UNI-ATT-2]"""
    mask = _matrices(view, inputs)
    length = mask.shape[1]
    reach = mask | np.eye(length, dtype=bool)
    for _ in range(length.bit_length()):
        reach = reach.astype(int) @ reach.astype(int) > 0
    first, found, names = ask(view.p, inputs), [], view.inputs(inputs, ("B", "T"), bound="vocab_size")
    for at in (1, length // 2, length - 2):
        kept = reach[:, at]
        if kept.all():
            continue
        others = {name: np.where(kept, inputs[name], (inputs[name] + 1) % core._vocabulary(view)) for name in names}
        second = ask(view.p, {**inputs, **others})
        ours, theirs = ({key: core._of_tokens(view, key, value, kept, 0) for key, value in core._forward(
            answer, set()).items()} for answer in (first, second))  # fmt: skip
        found.append(core._worst({key: value for key, value in theirs.items() if value is not None},
                                 {key: value for key, value in ours.items() if value is not None}))  # fmt: skip
    if not found:
        raise Silent("every token is seen by all")
    return max(found)


@functools.partial(core.law, laws=LAWS)
def unseen_keys(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A key that a query must not see has no probability there. [UNI-ATT-1]"""
    mask = _matrices(view, inputs)
    hidden = ~mask & mask.any(-1, keepdims=True)
    if not hidden.any():
        raise Silent("no key is forbidden")
    probs = core._probs(view, ask(view.p, inputs))
    got = {key: 1 + np.where(hidden[:, None], value, 0) for key, value in probs.items()}
    return *core._worst(got, {key: np.ones_like(value) for key, value in got.items()}), lambda eps: eps


@functools.partial(core.law, laws=LAWS)
def more_padding(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """More padding, which no token sees, changes nothing outside of it. [UNI-ATT-2]"""
    mask = _matrices(view, inputs)
    length = mask.shape[1]
    more = min(2, view.longest - length)
    if more <= 0:
        raise Silent("there is no room for more padding")
    wider = {key: np.pad(value, [(0, more * (dim == "T")) for dim in view.specs[key].dims])
             if key in view.specs else value for key, value in inputs.items()}
    for ids in view.inputs(wider, dims=("B", "T"), bound="vocab_size"):
        wider[ids][:, length:] = 1 + np.arange(more)
    there = mask.any(1)  # of what no query sees nothing is asked
    first, second = ask(view.p, inputs), ask(view.p, wider)
    beyond = np.pad(there, ((0, 0), (0, more)))
    return core._worst(core._outside_padding(view, second, beyond, length),
                       core._outside_padding(view, first, there, length))
