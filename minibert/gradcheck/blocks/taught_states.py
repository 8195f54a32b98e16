"""Of the head `taught_states`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import taught_states


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, taught_states.shapes(width=4, wide=3))
    labels = {"states": rng.standard_normal((2, 2, 3, 3)), "tokens": np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])}
    yield loss_of(taught_states, {"h": [states(rng) for _ in range(3)]}, labels, p, layers=(0, -1))
