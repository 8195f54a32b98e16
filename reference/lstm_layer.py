"""LSTM over a text: the outputs behind each token, x (b, t, i) -> (b, t, n), or (b, t, 2n) where p has both directions.

p as `lstm` has it, or {forward, backward}; what is read from the right is x turned round. seen (b, t): padding is
passed over; state (2, b, n) or none, of both directions a dict. Graves and Schmidhuber 2005; SPEC OP-LSTM.
"""

from .lists import each
from .lstm import lstm, lstm_backward
from .slopes import zeros


def lstm_layer(x, p, seen=None, state=None):
    def turned(rows):
        return None if rows is None else [row[::-1] for row in rows]

    if "backward" not in p:
        return lstm(x, state, **p, mask=seen)[0]
    state = state or {"forward": None, "backward": None}
    left = lstm(x, state["forward"], **p["forward"], mask=seen)[0]
    right = turned(lstm(turned(x), state["backward"], **p["backward"], mask=turned(seen))[0])
    return each(1, lambda a, b: a + b, left, right)


def lstm_layer_backward(dy, x, p, seen=None, state=None):
    """Each direction gets its half of dy, that from the right turned round, as its input is; x gets the sum of both.
    Nobody reads the cells: their slope is 0.
    """

    def turned(rows):
        return None if rows is None else [row[::-1] for row in rows]

    def of(slope, read, part, mask, first):
        return lstm_backward([slope, zeros(slope)], read, first, **part, mask=mask)

    if "backward" not in p:
        slopes = of(dy, x, p, seen, state)
        given = {"x": slopes.pop("x"), **({} if state is None else {"state": slopes.pop("state")})}
        return {**given, "p": slopes}
    first = state or {"forward": None, "backward": None}
    n = len(p["forward"]["weight_hh"][0])
    left = of(each(1, lambda row: row[:n], dy), x, p["forward"], seen, first["forward"])
    right = of(turned(each(1, lambda row: row[n:], dy)), turned(x), p["backward"], turned(seen), first["backward"])
    dx = each(0, lambda a, b: a + b, left.pop("x"), turned(right.pop("x")))
    states = {} if state is None else {"state": {"forward": left.pop("state"), "backward": right.pop("state")}}
    return {"x": dx, **states, "p": {"forward": left, "backward": right}}
