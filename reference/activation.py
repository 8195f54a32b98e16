"""The activation that a published configuration names in `hidden_act`. SPEC BERT-ACT."""

from .gelu import gelu
from .gelu_tanh import gelu_tanh
from .relu import relu
from .tanh import tanh

NAMES = {"gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": relu, "tanh": tanh}


def activation(x, name):
    return NAMES[name](x)
