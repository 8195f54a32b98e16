"""The activation that a published configuration names in `hidden_act`. SPEC BERT-ACT."""

from .gelu import gelu, gelu_backward
from .gelu_tanh import gelu_tanh, gelu_tanh_backward
from .relu import relu, relu_backward
from .tanh import tanh, tanh_backward

NAMES = {"gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": relu, "tanh": tanh}
BACKWARDS = {gelu: gelu_backward, gelu_tanh: gelu_tanh_backward, relu: relu_backward, tanh: tanh_backward}


def activation(x, name):
    return NAMES[name](x)


def activation_backward(dy, x, name):
    """Each entry has its own slope: dx = dy f'(x), f' that of the function named."""
    return BACKWARDS[NAMES[name]](dy, x)
