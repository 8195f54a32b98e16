"""RCNN: max over the tokens that are there of relu([x; LSTMs(x)]), x (b, t, d) -> (b, d + 2n); ps, seen as lstm_stack.

Lai et al. 2015, "Recurrent convolutional neural networks for text classification"; SPEC OP-LSTM.
"""

from .lists import each
from .lstm_stack import lstm_stack
from .max_over_time import max_over_time
from .relu import relu


def rcnn_pooling(x, ps, *, seen=None):
    return max_over_time(relu(each(1, lambda a, b: a + b, x, lstm_stack(x, ps, seen))), mask=seen)
