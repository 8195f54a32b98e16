"""Of `families/reformer`: its axial positions."""

from collections.abc import Iterator

import numpy as np

from minibert.families import reformer
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, places = drawn(rng, [{"weight": (3, 2)}, {"weight": (2, 1)}]), np.array([[0, 3, 5], [5, 1, 2]])
    pair = reformer.axial_positions, reformer.axial_positions_backward
    yield Example("axial_positions", *pair, {"p": p}, {"places": places})
