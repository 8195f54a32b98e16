"""Of `recurrent`: what reads a text token by token."""

from collections.abc import Iterator

import numpy as np

from minibert import recurrent
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    x, seen, both = rng.standard_normal((2, 3, 2)), np.array([[1, 1, 0], [1, 1, 1]]), recurrent.shapes(2, 1, both=True)
    state = {name: rng.standard_normal((2, 2, 1)) for name in both}
    pair = recurrent.lstm_layer, recurrent.lstm_layer_backward
    yield Example("lstm_layer", *pair, {"x": x, "p": drawn(rng, both)}, {"seen": seen, "state": state})
    one = {name: shape for name, shape in recurrent.shapes(2, 1).items() if name != "bias_hh"}  # as some store it
    pair, keep = (recurrent.lstm_stack, recurrent.lstm_stack_backward), [np.array([[[1, 0]], [[1, 1]]])]
    how = {"seen": seen[:, 1:], "keep": keep, "rate": 0.25}
    yield Example("lstm_stack", *pair, {"x": x[:, :2], "ps": drawn(rng, [both, one])}, how)
    gated = recurrent.shapes(2, 1, both=True, gates=3)
    pair, state = (recurrent.gru_layer, recurrent.gru_layer_backward), {name: state[name][0] for name in both}
    yield Example("gru_layer", *pair, {"x": x, "p": drawn(rng, gated)}, {"seen": seen, "state": state})
    one = {name: {leaf: a for leaf, a in p.items() if leaf != "bias_hh"} for name, p in drawn(rng, gated).items()}
    pair = recurrent.reset_first_layer, recurrent.reset_first_layer_backward
    yield Example("reset_first_layer", *pair, {"x": x, "p": one}, {"seen": seen, "state": state})
    pair = recurrent.whole_text, recurrent.whole_text_backward
    yield Example("whole_text", *pair, {"h": rng.standard_normal((2, 3, 4))}, {"both": True})
