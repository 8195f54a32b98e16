"""Tagging behind LSTMs: g = both directions over the states that are there, z_t = W g_t + b; the mean of
-log softmax(z_t)[label_t] over the tokens whose label is not -100.

h (B, T, D), p {lstm: {forward, backward}, classifier: {weight (C, 2N), bias (C)}}, labels {labels: (B, T)}, seen (B, T)
bits or None -> scalar. Huang et al. 2015 (1508.01991), section 2.2; SPEC TASK-LSTM.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .lstm_layer import lstm_layer


def lstm_tagging(h, p, labels, *, seen=None):
    g = lstm_layer(h, p["lstm"], seen=seen)
    return cross_entropy(linear(g, **p["classifier"]), labels=labels["labels"], ignore=-100)
