"""Of the head `entity`, the entities' vectors beside it."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, states
from minibert.heads import entity


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, entity.shapes(width=4, table=(5, 3)))
    given = {"x": states(rng), "p": p, "table": rng.standard_normal((5, 3))}
    told = {"ids": np.array([[-100, 4, 0], [3, -100, 1]]), "eps": 1e-3}
    own, doubled = {**told, "act": "gelu"}, {**told, "activation": "gelu"}
    yield Example("entity_head", entity.entity_head, entity.entity_head_backward, given, own, doubled)
