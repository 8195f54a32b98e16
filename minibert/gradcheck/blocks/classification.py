"""Of the head `classification`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import classification


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, one = drawn(rng, classification.shapes(width=4, classes=3)), {"problem_type": classification.PROBLEMS[0]}
    yield loss_of(classification, {"s": states(rng)[:, 0]}, {"labels": np.array([2, 0])}, p, **one)
