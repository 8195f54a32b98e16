"""Of the head `tagging`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import tagging


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, tagging.shapes(width=4, classes=3))
    yield loss_of(tagging, {"h": states(rng)}, {"labels": np.array([[1, -100, 0], [2, 1, 1]])}, p)
