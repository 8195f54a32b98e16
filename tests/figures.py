"""The figures of a whole model that a page of the spec states: a recipe for its weights, a batch, what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minibert
from minibert import families
from minibert.checkpoint.names import from_published
from minibert.golden.subject import Subject, observe

TEXT = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
    "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
    "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
    "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
}
SIZES = {  # by BERT's names
    "vocab_size": 17,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


TWO_TEXTS = {  # of a model that reads from left to right: the second one token shorter
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "attention_mask": [[1] * 8, [1] * 7 + [0]],
    "labels": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, -100]],
}


@dataclass(frozen=True)
class Figures:
    """family, fields over SIZES, batch; figures: Euclidean norms, under the names of golden cases; plan: of two steps;
    values: entries of outputs of `encode`, by (output, index).
    """

    family: str
    figures: Mapping[str, float]
    fields: Mapping[str, Any] = field(default_factory=dict)
    batch: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    plan: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[tuple, list[float]] = field(default_factory=dict)


def model(given: Figures) -> minibert.Model:
    """In float64, its weights by the recipe of BERT-ALL-1."""
    module = families.family(given.family)
    made = minibert.create(given.family, dtype="float64", **{**families.own(module, SIZES), **given.fields})
    rows, arrays = made.names(), made.state_dict()
    norms = {name for path, name, _ in rows if path.endswith("norm.weight")}
    for k, name in enumerate(sorted(arrays)):
        j = np.arange(arrays[name].size)
        values = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + (name in norms)
        arrays[name] = values.reshape(arrays[name].shape)
    made.params = from_published(arrays, rows)
    return made


def found(given: Figures) -> dict[str, np.ndarray]:
    """Every tensor of the model's passes, and of two steps where there is a plan."""
    ours = model(given)
    batch = ours.checked({name: np.array(value) for name, value in given.batch.items()})
    steps = {"optimizer": given.plan} if given.plan else {}
    return observe(Subject(given.family, ours.config, ours.params, [batch], **steps), (1, 2) if given.plan else ())
