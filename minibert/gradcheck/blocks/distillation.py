"""Of the head `distillation`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import distillation


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair = distillation.soft_targets, distillation.soft_targets_backward
    how = {"target": rng.standard_normal((2, 3, 4)), "temperature": 1.5, "denominator": 2.5}
    how["weights"] = np.array([[1.0, 0.5, 0.0], [1.0, 0.0, 1.0]])
    yield Example("soft_targets", *pair, {"logits": states(rng)}, how)
    p = drawn(rng, distillation.shapes(width=4, classes=3))
    labels = {"logits": rng.standard_normal((2, 3, 3)), "counted": np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])}
    for by in distillation.WAYS:
        yield loss_of(distillation, {"h": states(rng)}, labels, p, by=by)
