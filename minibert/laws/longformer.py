"""What holds of windows: what is outside of them, and not global, changes nothing; padding has no context."""

import functools
from typing import Any

import numpy as np

from minibert.families import longformer
from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

LAWS: dict = {}


def silent(config: Any) -> dict[str, str]:
    """What laws ask of probabilities, `outside_the_window` and `padding_without_context` do."""
    return dict.fromkeys(("forbidden_keys", "attention_rows"), "probabilities stand in blocks of the text")


def _contexts(answer: Tensors, layers: int) -> dict[str, np.ndarray]:
    names = (f"forward/{longformer.LAYERS}{i}.attention.self.context" for i in range(layers))
    return {name: answer[name] for name in names if name in answer}


@functools.partial(core.law, laws=LAWS)
def outside_the_window(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Another token outside of the window, which is not global, changes nothing in the first layer. [LON-ATT-7]"""
    x, _, mask = core._masked(view, inputs)
    ids, pad, length = x["input_ids"], config["pad_token_id"], mask.shape[1]
    everywhere = np.asarray(x.get("global_attention_mask", np.zeros_like(mask))) * mask
    reach = longformer.window(view.config, 0) * max(longformer.dilation(view.config, 0))
    first, found = _contexts(ask(view.p, x), 1), []
    for at in (0, length // 2, length - 1):
        free = (everywhere[:, at] == 0) & (ids[:, at] != pad)
        kept = (abs(np.arange(length) - at) > reach) & (everywhere == 0) & free[:, None]
        if not kept.any():
            continue
        others = (ids[:, at] + 1) % core._vocabulary(view)
        others = np.where(others == pad, (others + 1) % core._vocabulary(view), others)
        changed = np.where((np.arange(length) == at) & free[:, None], others[:, None], ids)
        second = _contexts(ask(view.p, {**x, "input_ids": changed}), 1)
        found.append(core._worst({key: value[kept] for key, value in second.items()},
                                 {key: value[kept] for key, value in first.items()}))  # fmt: skip
    if not found:
        raise Silent("every token is within the window of all")
    return *max(found), lambda eps: eps


@functools.partial(core.law, laws=LAWS)
def padding_without_context(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A query that is padding takes nothing from anybody, wherever its window reaches. [LON-ATT-4]"""
    x, _, mask = core._masked(view, inputs)
    if mask.all():
        raise Silent("there is no padding")
    found = _contexts(ask(view.p, x), view.depth)
    got = {key: 1 + value[mask == 0] for key, value in found.items()}
    return *core._worst(got, {key: np.ones_like(value) for key, value in got.items()}), lambda eps: eps
