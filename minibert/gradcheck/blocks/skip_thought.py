"""Of `families.skip_thought`."""

from collections.abc import Iterator

import numpy as np

from minibert.families import skip_thought
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair = skip_thought.conditioned_gru, skip_thought.conditioned_gru_backward
    args = {"x": rng.standard_normal((2, 3, 2)), "s": rng.standard_normal((2, 2))}
    for by, width in (("state", 2), ("gates", 4)):
        p = drawn(rng, {"weight_ih": (6, width), "weight_hh": (6, 2), "bias_ih": (6,)})
        yield Example("conditioned_gru", *pair, {**args, "p": p}, {"by": by})
    pair = skip_thought.words_before, skip_thought.words_before_backward
    p = {"weight": rng.standard_normal((4, 2))}
    yield Example("words_before", *pair, {"p": p}, {"labels": np.array([[1, -100, 3], [2, 2, 0]])})
