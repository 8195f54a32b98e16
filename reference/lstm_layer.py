"""LSTM over a text: the outputs behind each token, x (b, t, i) -> (b, t, n), or (b, t, 2n) where p has both directions.

p as `lstm` has it, or {forward, backward}; what is read from the right is x turned round. seen (b, t): padding is
passed over; state (2, b, n) or none, of both directions a dict. Graves and Schmidhuber 2005; SPEC OP-LSTM.
"""

from .lists import each
from .lstm import lstm


def lstm_layer(x, p, seen=None, state=None):
    def turned(rows):
        return None if rows is None else [row[::-1] for row in rows]

    if "backward" not in p:
        return lstm(x, state, **p, mask=seen)[0]
    state = state or {"forward": None, "backward": None}
    left = lstm(x, state["forward"], **p["forward"], mask=seen)[0]
    right = turned(lstm(turned(x), state["backward"], **p["backward"], mask=turned(seen))[0])
    return each(1, lambda a, b: a + b, left, right)
