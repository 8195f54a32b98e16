"""Of the head `relation`: in the second row both parts begin at one token."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import relation


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, relation.shapes(width=4, classes=3))
    places = {"head_positions": np.array([2, 1]), "tail_positions": np.array([0, 1])}
    yield loss_of(relation, {"h": states(rng)}, {"labels": np.array([2, 1])}, p, **places)
