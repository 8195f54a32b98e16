"""The last outputs of LSTMs that read a text both ways: x (b, t, d) -> (b, 2n), from the left, then from the right.

From the left the output behind the last token, from the right the one at the first; ps, seen as lstm_stack.
torch.nn.LSTM's h_n of the last layer; SPEC OP-LSTM.
"""

from .lstm_stack import lstm_stack


def lstm_pooling(x, ps, *, seen=None):
    outputs = lstm_stack(x, ps, seen)
    n = len(outputs[0][0]) // 2
    return [row[-1][:n] + row[0][n:] for row in outputs]
