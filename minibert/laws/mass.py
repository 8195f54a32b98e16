"""What holds of MASS: what its decoder may not look at has no share; and what it cannot be asked."""

import functools
from typing import Any

import numpy as np

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

LAWS: dict = {}
HIDDEN = "encoder_attention_mask"


def silent(config: Any) -> dict[str, str]:
    """A step goes on at the next place, a fragment begins anywhere."""
    found = {"step_by_step": "decoder_position_ids is not read token by token"}
    return found if config.tie_word_embeddings else {**found, "tied_gradient": "the decoder has a matrix of its own"}


@functools.partial(core.law, laws=LAWS)
def hidden_memory(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A slot of the memory that is hidden has no probability in the decoder's attention to it. [MASS-DEC-2]"""
    if HIDDEN not in inputs:
        raise Silent(f"{HIDDEN} is not given")
    hidden = np.asarray(inputs[HIDDEN]) == 0
    names = {name for name, path, _ in view.table if path.endswith(".cross_attention.attention:probs")}
    probs = {key: value for key, value in core._probs(view, ask(view.p, inputs)).items() if core._name(key) in names}
    got = {key: 1 + np.where(hidden[:, None, None], value, 0) for key, value in probs.items()}
    return *core._worst(got, {key: np.ones_like(value) for key, value in got.items()}), lambda eps: eps
