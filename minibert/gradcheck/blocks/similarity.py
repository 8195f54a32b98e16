"""Of the head `similarity`, with the tensor layer."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of
from minibert.heads import similarity


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, similarity.shapes(width=3, by="tensor", slices=2))
    labels = {"labels": np.array([1.0, 0.3])}
    yield loss_of(similarity, {"s": rng.standard_normal((2, 2, 3))}, labels, p, by="tensor", margin=0.5)
