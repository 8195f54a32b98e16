"""Of the head `span_boundary`, its table beside it."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, states
from minibert.heads import span_boundary


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, span_boundary.shapes(width=4, table=(7, 4), tied=True, places=(3, 4)), 0.3)  # as in replaced_token
    given = {"left": states(rng), "right": states(rng), "p": p, "table": rng.standard_normal((7, 4))}
    told = {"places": np.array([[0, 2, 1], [1, 1, 0]]), "eps": 1e-3}
    own, doubled = {**told, "act": "gelu"}, {**told, "activation": "gelu"}
    yield Example("sbo_head", span_boundary.sbo_head, span_boundary.sbo_head_backward, given, own, doubled)
