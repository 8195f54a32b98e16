"""What holds of Tsinghua's ERNIE: what a token does not stand for, and what is data."""

import functools

import numpy as np

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

LAWS: dict = {}


@functools.partial(core.law, laws=LAWS)
def unmarked_entities(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A slot without an entity has no probability in the entities' attention, but that of [CLS]. [THU-ENC-3]"""
    if "entity_ids" not in inputs:
        raise Silent("no entities are given")
    hidden = (np.asarray(inputs["entity_ids"]) < 0) & (np.arange(inputs["entity_ids"].shape[1]) > 0)
    names = {name for name, path, _ in view.table if path.endswith(".entity_attention.attention:probs")}
    probs = {key: value for key, value in core._probs(view, ask(view.p, inputs)).items() if core._name(key) in names}
    got = {key: 1 + np.where(hidden[:, None, None], value, 0) for key, value in probs.items()}
    return *core._worst(got, {key: np.ones_like(value) for key, value in got.items()}), lambda eps: eps


@functools.partial(core.law, laws=LAWS)
def entity_permutation(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Entities under other numbers, with their vectors, change nothing but the order of these. [THU-ENT-1]"""
    if "entities.weight" not in view.p or "entity_ids" not in inputs:
        raise Silent("no entities are given")
    order = np.random.default_rng(0).permutation(len(view.p["entities.weight"]))
    renamed = np.argsort(order)
    names = ("entity_ids", "entity_labels", "entity_candidates")
    others = {name: np.where(inputs[name] < 0, inputs[name], renamed[np.maximum(inputs[name], 0)])
              for name in names if name in inputs}  # fmt: skip
    return core._equivariance(ask, view, inputs, {**inputs, **others}, {"entities.weight": (0, order)})


@functools.partial(core.law, laws=LAWS)
def candidates_as_a_set(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Candidates that stand twice, and in another order, cost the same. [THU-DEA-2]"""
    if "entity_candidates" not in inputs:
        raise Silent("no candidates are given")
    given = np.asarray(inputs["entity_candidates"])
    twice = {**inputs, "entity_candidates": np.hstack([given, given])[:, ::-1]}
    first, second = ask(view.p, inputs), ask(view.p, twice)
    logits = {head.logits for head in view.heads if head.labels == "entity_labels"}
    return core._worst(second, {key: value for key, value in first.items() if core._name(key) not in logits})
