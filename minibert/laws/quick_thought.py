"""What quick-thought cannot be asked, and what holds of its sentences and their scores."""

import functools
from typing import Any

import numpy as np

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

LAWS: dict = {}
ATTENTION = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
LAYERS = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
SOFTMAX = ("uniform_head", "softmax_gradients", "tied_gradient", "ignored_labels")


def silent(config: Any) -> dict[str, str]:
    """The laws of attention, norms and of a softmax over the vocabulary."""
    return {**dict.fromkeys(ATTENTION, "its past is a state: no attention"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            "padding_invariance": "a row holds several texts",
            **dict.fromkeys(SOFTMAX, "sentences are told from each other: no softmax over the vocabulary")}  # fmt: skip


@functools.partial(core.law, laws=LAWS)
def padding_of_sentences(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """More padding, and other words in it and in sentences that are missing, change neither losses nor gradients of
    parameters. [QT-ENC-2 QT-LOSS-2]
    """
    ids, places = inputs["input_ids"], inputs["sentence_places"]
    mask = np.asarray(inputs.get("attention_mask", np.ones_like(ids)))
    mask, longer = (np.pad(array, ((0, 0), (0, 0), (0, 2))) for array in (mask, ids))
    noise = np.random.default_rng(0).integers(0, core._vocabulary(view), longer.shape)
    kept = (mask != 0) & (places >= 0)[..., None]
    others = {**inputs, "attention_mask": mask, "input_ids": np.where(kept, longer, noise)}
    first, second = (core.of_the_whole(view, ask(view.p, given)) for given in (inputs, others))
    return core._worst(second, first)


@functools.partial(core.law, laws=LAWS)
def scores_compete(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """The scores of a sentence have gradients that sum to zero: of its own, which is 0, too. [QT-SCORE-2 QT-LOSS-1]"""
    dz = ask(view.p, inputs).get("gradients/scores")
    if dz is None:
        raise Silent("gradients/scores are not given")
    sums = {"gradients/scores": np.append(dz.reshape(-1), dz.sum(-1))}
    return core._worst(sums, {key: np.append(dz.reshape(-1), 0 * dz.sum(-1)) for key in sums})
