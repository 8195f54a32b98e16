"""Layers of LSTMs, each reading the outputs of the one before it: x (b, t, i), ps their parameters.

states: one for each layer; keep: masks of the dropout at `rate` behind each layer but the last, (b, t or 1, n).
torch.nn.LSTM; SPEC OP-LSTM.
"""

from .dropout import dropout
from .lists import broadcast, shape
from .lstm_layer import lstm_layer


def lstm_stack(x, ps, seen=None, states=None, keep=None, rate=0.0):
    for i, p in enumerate(ps):
        x = lstm_layer(x, p, seen, states and states[i])
        if keep and i + 1 < len(ps):
            masks = [broadcast(rows, shape(x)[1:]) for rows in keep[i]]
            x = dropout(x, keep=masks, rate=rate)
    return x
