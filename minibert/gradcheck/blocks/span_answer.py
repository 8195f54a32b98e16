"""Of the head `span_answer`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of, states
from minibert.heads import span_answer


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, labels = drawn(rng, span_answer.shapes(width=4)), {"start_positions": [0, 1], "end_positions": [2, 1]}
    yield loss_of(span_answer, {"h": states(rng)}, {name: np.array(ids) for name, ids in labels.items()}, p)
