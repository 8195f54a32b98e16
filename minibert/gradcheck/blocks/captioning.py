"""Of the head `captioning`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of
from minibert.heads import captioning


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, captioning.shapes(width=4, classes=3, longest=4, depth=1), 1.0)
    h, labels = rng.standard_normal((2, 3, 4)), {"labels": np.array([[1, 2, 0], [2, 0, -100]])}
    yield loss_of(captioning, {"h": h}, labels, p, parts=2, eps=1e-3, seen=np.array([[1, 1, 0], [1, 1, 1]]))
