"""The next-sentence loss: does the second text follow the first one in the document, 0, or not, 1?

    r = tanh(h W_pᵀ + b_p),   z = r Wᵀ + b,   L = mean over rows of (log Σ e^z - z[label])

h, the last state of the first token, (B, D), pooler W_p (D, D), pooler_bias (D), weight W (2, D), bias (2),
labels (B,) -> a number.
"""

import numpy as np

from minibert.exercises.cross_entropy import cross_entropy
from minibert.exercises.gelu import gelu

ORDER, CLAUSE = 12, "BERT-NSP-1"


def next_sentence(h, pooler, pooler_bias, weight, bias, labels):
    z = np.tanh(h @ pooler.T + pooler_bias) @ weight.T + bias
    return cross_entropy(z, labels, np.ones(len(labels)))


def calls(rng):
    for rows, width in ((1, 2), (3, 4)):
        yield {
            "h": rng.standard_normal((rows, width)),
            "pooler": rng.standard_normal((width, width)),
            "pooler_bias": rng.standard_normal(width),
            "weight": rng.standard_normal((2, width)),
            "bias": rng.standard_normal(2),
            "labels": np.arange(rows) % 2,
        }


def _scored(f):
    """The loss of other scores f(h, W_p, b_p, W, b)."""

    def answer(h, pooler, pooler_bias, weight, bias, labels):
        return cross_entropy(f(h, pooler, pooler_bias, weight, bias), labels, np.ones(len(labels)))

    return answer


def _sigmoid(h, pooler, pooler_bias, weight, bias, labels):
    z = (np.tanh(h @ pooler.T + pooler_bias) @ weight.T + bias)[:, 1]
    return np.mean(np.log1p(np.exp(-np.where(labels == 1, z, -z))))


WRONG = {
    "H10: the labels are turned round": lambda **given: next_sentence(**{**given, "labels": 1 - given["labels"]}),
    "H06: tanh is missing": _scored(lambda h, wp, bp, w, b: (h @ wp.T + bp) @ w.T + b),
    "H08: the pooler is missing": _scored(lambda h, wp, bp, w, b: h @ w.T + b),
    "H07: the pooler's weight is not transposed": _scored(lambda h, wp, bp, w, b: np.tanh(h @ wp + bp) @ w.T + b),
    "the pooler's bias is missing": _scored(lambda h, wp, bp, w, b: np.tanh(h @ wp.T) @ w.T + b),
    "the pooler's bias is added behind tanh": _scored(lambda h, wp, bp, w, b: (np.tanh(h @ wp.T) + bp) @ w.T + b),
    "the head's bias is missing": _scored(lambda h, wp, bp, w, b: np.tanh(h @ wp.T + bp) @ w.T),
    "H24: ReLU stands for tanh": _scored(lambda h, wp, bp, w, b: np.maximum(h @ wp.T + bp, 0) @ w.T + b),
    "H24: the sigmoid stands for tanh": _scored(lambda h, wp, bp, w, b: 1 / (1 + np.exp(-h @ wp.T - bp)) @ w.T + b),
    "tanh also behind the head": _scored(lambda h, wp, bp, w, b: np.tanh(np.tanh(h @ wp.T + bp) @ w.T + b)),
    "the sum over rows, not their mean": lambda **given: next_sentence(**given) * len(given["labels"]),
    "the sign is turned": lambda **given: -next_sentence(**given),
    "the sigmoid of the second score alone: there are two classes": _sigmoid,
    "one loss for each row: they are to be averaged": lambda **given: np.array(
        [
            next_sentence(**{**given, "h": given["h"][[i]], "labels": given["labels"][[i]]})
            for i in range(len(given["h"]))
        ]
    ),
    "GELU stands for tanh": _scored(lambda h, wp, bp, w, b: gelu(h @ wp.T + bp) @ w.T + b),
    "divided by the number of scores, two a row": lambda **given: next_sentence(**given) / 2,
}
