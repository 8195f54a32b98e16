"""GRU over a text: the outputs behind each token, x (b, t, i) -> (b, t, n), or (b, t, 2n) where p has both directions.

p as `gru` has it, or {forward, backward}; what is read from the right is x turned round. seen (b, t): padding is
passed over; state (b, n) or none, of both directions a dict. Schuster and Paliwal 1997; SPEC OP-GRU.
"""

from .gru import gru
from .lists import each


def gru_layer(x, p, seen=None, state=None):
    def turned(rows):
        return None if rows is None else [row[::-1] for row in rows]

    if "backward" not in p:
        return gru(x, state, **p, mask=seen)
    state = state or {"forward": None, "backward": None}
    left = gru(x, state["forward"], **p["forward"], mask=seen)
    right = turned(gru(turned(x), state["backward"], **p["backward"], mask=turned(seen)))
    return each(1, lambda a, b: a + b, left, right)
