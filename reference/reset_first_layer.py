"""GRU that resets the state before the product over a text: as `gru_layer`, of `reset_first_gru`. SPEC OP-GRUR."""

from .lists import each
from .reset_first_gru import reset_first_gru


def reset_first_layer(x, p, seen=None, state=None):
    def turned(rows):
        return None if rows is None else [row[::-1] for row in rows]

    if "backward" not in p:
        return reset_first_gru(x, state, **p, mask=seen)
    state = state or {"forward": None, "backward": None}
    left = reset_first_gru(x, state["forward"], **p["forward"], mask=seen)
    right = turned(reset_first_gru(turned(x), state["backward"], **p["backward"], mask=turned(seen)))
    return each(1, lambda a, b: a + b, left, right)
