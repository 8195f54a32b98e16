"""What a layer knows: how well a linear classifier reads something off its states.

Alain and Bengio 2017, arXiv 1610.01644; Tenney et al. 2019, arXiv 1905.05950.

    p = softmax(W h + b),  L = mean of -log p[label] + λ/2 |W|²,  h scaled to mean 0 and deviation 1 in training    (1)

minimised by Newton steps on the softmax's bound (Böhning 1992): the curvature is at most ½ (I - 1/C) ⊗ hᵀh/N, the same
in every step, so that one decomposition serves all of them and each step lowers the loss.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minibert.config import require
from minibert.errors import InputError
from minibert.model import Model
from minibert.tokenizers.encoding import Encoding
from minibert.uses import classification, tagging

Array = np.ndarray
Row = dict[str, Any]
Asked = tuple[Encoding, list[int], list[str]]  # tokens, the places among them that are asked, what is due there


class Probe(NamedTuple):
    """(1): weight (C, D), bias (C,), and the mean and deviation (D,) of the states that it was fitted to."""

    weight: Array
    bias: Array
    mean: Array
    deviation: Array

    def predict(self, states: Array) -> Array:
        """The class (N,) of each row of states (N, D)."""
        return (((states - self.mean) / self.deviation) @ self.weight.T + self.bias).argmax(1)


def fitted(states: Array, labels: Array, decay: float = 1e-3, steps: int = 200) -> Probe:
    """A probe for states (N, D) and labels (N,) from 0 on; decay: λ; bias is free of it."""
    states, labels = np.asarray(states, np.float64), np.asarray(labels)
    require(len(states) == len(labels) > 0, "a probe needs as many labels as states, and at least one")
    mean, deviation = states.mean(0), states.std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    rows = np.concatenate([(states - mean) / deviation, np.ones((len(states), 1))], 1)
    classes = int(labels.max()) + 1
    due = np.eye(classes)[labels]
    ridge = decay * np.append(np.ones(rows.shape[1] - 1), 0)
    bound = rows.T @ rows / (2 * len(rows)) + np.diag(ridge) + 1e-9 * np.eye(rows.shape[1])
    inverse, weight = np.linalg.inv(bound), np.zeros((classes, rows.shape[1]))
    for _ in range(steps):
        scores = rows @ weight.T
        powers = np.exp(scores - scores.max(1, keepdims=True))
        slope = (powers / powers.sum(1, keepdims=True) - due).T @ rows / len(rows) + ridge * weight
        step = slope @ inverse
        weight -= step
        if np.abs(step).max() < 1e-8:
            break
    return Probe(weight[:, :-1], weight[:, -1], mean, deviation)


def accuracy(probe: Probe, states: Array, labels: Array) -> float:
    """The share of rows that the probe gets right."""
    return float((probe.predict(np.asarray(states)) == np.asarray(labels)).mean())


def words(model: Model, placed: Iterable[tuple[str, Row]], most: int) -> tuple[list[Array], list[str]]:
    """(the states of each word's first piece, (N, D) a layer, the embeddings first; its tag) of rows with tokens and
    tags, at most so many tokens together.
    """

    def asked(row: Row) -> Iterator[Asked]:
        for piece in tagging.pieces(model.tokenizer, row, most):
            found = piece.about["words"]
            yield piece.encodings[0], [*found.values()], [row["tags"][word] for word in found]

    return _states(model, placed, asked, lambda layer, places: layer[places])


def texts(model: Model, placed: Iterable[tuple[str, Row]], most: int) -> tuple[list[Array], list[str]]:
    """(the mean of each text's states, (N, D) a layer, the embeddings first; its label) of rows with text, and perhaps
    a pair, and label, cut to so many tokens.
    """

    def asked(row: Row) -> Iterator[Asked]:
        for piece in classification.pieces(model.tokenizer, row, most):
            yield piece.encodings[0], [*range(len(piece.encodings[0]))], [row["label"]]

    return _states(model, placed, asked, lambda layer, places: layer[places].mean(0, keepdims=True))


def layered(model: Model) -> None:
    """InputError for a model that has no vocabulary, or no states of the tokens of a text at several layers."""
    require(model.tokenizer is not None, "the model's directory has no vocabulary, so it cannot read text")
    known = "hidden_states" in model.module.outputs(model.config) and hasattr(model.module, "read")
    known = known and not hasattr(model.module, "STATES")  # whose hidden states are those of what is written
    require(known, f"{model.family} has no states of a text's tokens, layer by layer")


def _states(
    model: Model, placed: Iterable[tuple[str, Row]], asked: Callable[[Row], Iterator[Asked]],
    taken: Callable[[Array, list[int]], Array],
) -> tuple[list[Array], list[str]]:  # fmt: skip
    layered(model)
    found: list[list[Array]] = []
    labels: list[str] = []
    for where, row in placed:
        try:
            for encoding, places, own in asked(row):
                inputs = model.checked_inputs(model.module.read([encoding], model.tokenizer.pad_id))
                for i, layer in enumerate(model.encode(outputs=["hidden_states"], **inputs)["hidden_states"]):
                    found.append([]) if i == len(found) else None
                    found[i].append(taken(layer[0], places))
                labels += own
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    require(bool(labels), "there is no text to take states of")
    return [np.concatenate(parts) for parts in found], labels
