"""Of `summaries`: what stands for a row."""

from collections.abc import Iterator

import numpy as np

from minibert import summaries
from minibert.gradcheck.blocks import Example, drawn, states


def examples(rng: np.random.Generator) -> Iterator[Example]:
    how = {"at": np.array([2, 0]), "keep": rng.integers(0, 2, (2, 4)), "rate": 0.25}
    given = {"h": states(rng), "p": drawn(rng, {"weight": (4, 4), "bias": (4,)})}
    own, doubled = {**how, "act": "gelu"}, {**how, "activation": "gelu"}
    yield Example("summary", summaries.summary, summaries.summary_backward, given, own, doubled)
