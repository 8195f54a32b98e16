"""ELMo's layer from the left: Drop(x), what a clipped LSTM with projected outputs makes of it, with skip their sum.

x (b, t, p) -> (b, t, p); seen (b, t). Peters et al. 2018 (1802.05365), section 3.4; SPEC ELMO-LAYER.
"""

from .dropout import dropout
from .lists import each
from .projected_lstm import projected_lstm


def elmo_layer(x, p, seen, skip, keep, rate, cell_clip, clip):
    x = dropout(x, keep=keep, rate=rate) if keep else x
    states = projected_lstm(x, None, **p, mask=seen, cell_clip=cell_clip, clip=clip)
    h = [[state[: len(x[0][0])] for state in row] for row in states]
    return each(0, lambda a, b: a + b, h, x) if skip else h
