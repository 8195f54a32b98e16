"""What skip-thought cannot be asked, and what holds of its padding."""

import functools
from typing import Any

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Tensors
from minibert.laws.parts import Parts
from minibert.laws.quick_thought import ATTENTION, LAYERS

LAWS: dict = {}


def silent(config: Any) -> dict[str, str]:
    """The laws of attention and norms, and of one table for two uses."""
    return {**dict.fromkeys(ATTENTION, "its past is a state: no attention"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            # states behind padding are those of the last token: what is asked of them is `padding_of_texts`
            "padding_invariance": "the gradient of a text's last state stands behind its padding, which hands it on",
            "tied_gradient": "the output has a matrix of its own"}  # fmt: skip


@functools.partial(core.law, laws=LAWS)
def padding_of_texts(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """More padding, and other ids in it, change neither losses nor gradients of parameters. [ST-ENC-2]"""
    x, y, _ = core.more_padding(view, inputs)
    first, second = (core.of_the_whole(view, ask(view.p, given)) for given in (x, y))
    return core._worst(second, first)
