"""Tagging behind LSTMs: g = both directions over the states that are there, z_t = W g_t + b; the mean of
-log softmax(z_t)[label_t] over the tokens whose label is not -100.

h (B, T, D), p {lstm: {forward, backward}, classifier: {weight (C, 2N), bias (C)}}, labels {labels: (B, T)}, seen (B, T)
bits or None -> scalar. Huang et al. 2015 (1508.01991), section 2.2; SPEC TASK-LSTM.
"""

from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward
from .lstm_layer import lstm_layer, lstm_layer_backward


def lstm_tagging(h, p, labels, *, seen=None):
    g = lstm_layer(h, p["lstm"], seen=seen)
    return cross_entropy(linear(g, **p["classifier"]), labels=labels["labels"], ignore=-100)


def lstm_tagging_backward(dy, h, p, labels, *, seen=None):
    """Through the cross-entropy, the linear map, and both directions through time."""
    g = lstm_layer(h, p["lstm"], seen=seen)
    z = linear(g, **p["classifier"])
    slope = cross_entropy_backward(dy, z, labels=labels["labels"], ignore=-100)["logits"]
    of_classifier = linear_backward(slope, g, **p["classifier"])
    of_layer = lstm_layer_backward(of_classifier.pop("x"), h, p["lstm"], seen=seen)
    return {"h": of_layer["x"], "p": {"lstm": of_layer["p"], "classifier": of_classifier}}
