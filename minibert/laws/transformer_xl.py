"""How far a token reaches in Transformer-XL, and what it cannot be asked."""

import functools
import math
from typing import Any

import numpy as np

from minibert.laws.core import Answer, Config, Run, Silent, Tensors, law
from minibert.laws.parts import Parts

LAWS: dict[str, Any] = {}
CLUSTERS = "tokens stand in clusters, and no tensor has a logit for each of them"


def silent(config: Any) -> dict[str, str]:
    """What is about biases of keys and norms of tables, and about one softmax over all where there are several."""
    found = dict.fromkeys(("key_bias_invariance", "key_bias_gradient"), "keys have no bias")
    found |= {"layer_norm_scale": "no norm reads what tables give"}
    if not config.same_length:
        found |= {"reach": "every earlier token is seen"}
    if config.cutoffs:
        several = "vocabulary_permutation", "uniform_head", "tied_gradient", "next_token", "step_by_step"
        found |= dict.fromkeys(several, CLUSTERS)
    elif not config.tie_word_embeddings:
        found |= {"tied_gradient": "the decoder has a matrix of its own"}
    return found


@functools.partial(law, laws=LAWS)
def reach(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A token reaches N (W - 1) places ahead in N layers that see W keys each, and no further. [TXL-MASK-2]"""
    if not config["same_length"]:
        raise Silent("every earlier token is seen")
    far, last = config["n_layer"] * (config["mem_len"] - 1), f"forward/transformer.layers.{config['n_layer'] - 1}"
    ids = np.resize(inputs["input_ids"], (1, far + 2))

    def states(changed: int) -> np.ndarray:
        others = ids.copy()
        others[0, changed] = (others[0, changed] + 1) % config["vocab_size"]
        return ask(view.p, {"input_ids": others, "labels": ids})[last][0, -1]

    given = ask(view.p, {"input_ids": ids, "labels": ids}).get(last)
    if given is None:
        raise Silent(f"{last} is not given")
    beyond, within = (np.abs(states(place) - given[0, -1]).max() for place in (0, 1))
    return (float(beyond) if within > 0 else math.inf), last
