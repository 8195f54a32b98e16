"""Of the head `contrast`, each way; with hard negatives."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of
from minibert.heads import contrast


def examples(rng: np.random.Generator) -> Iterator[Example]:
    yield Example("directed", contrast.directed, contrast.directed_backward, {"x": rng.standard_normal((2, 3, 4))}, {})
    labels = {"pair_weights": np.array([1.0, 0.0, 0.5])}
    s = {"s": rng.standard_normal((3, 3, 4))}
    p = drawn(rng, contrast.shapes(width=4, by="bilinear"))
    yield loss_of(contrast, s, labels, p, by="bilinear")
    ways = {"p": None, "labels": labels, "by": "cosine", "temperature": 0.5, "own": 0.3}
    yield Example("contrast", contrast.loss, lambda dloss, c: contrast.loss_backward(dloss, c)[0], s, ways)
