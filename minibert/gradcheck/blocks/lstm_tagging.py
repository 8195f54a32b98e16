"""Of the head `lstm_tagging`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of
from minibert.heads import lstm_tagging


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, h = drawn(rng, lstm_tagging.shapes(width=2, classes=3, units=1)), rng.standard_normal((2, 3, 2))
    labels, seen = {"labels": np.array([[1, -100, -100], [2, -100, 0]])}, np.array([[1, 1, 0], [1, 1, 1]])
    yield loss_of(lstm_tagging, {"h": h}, labels, p, seen=seen)
