"""Of the head `choice`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import choice


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, choice.shapes(width=4))
    yield loss_of(choice, {"s": states(rng)}, {"labels": np.array([2, 1])}, p)
