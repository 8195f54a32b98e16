"""A convolution about each token, its ReLU added to the token, normed: LN(x + relu(W * x + b)); (B, T, D).

seen (B, T): a token at 0 is read as zeros. Gehring et al. 2017 (1705.03122), section 3, without gates; SPEC OP-CONV-6.
"""

from .add_norm import add_norm
from .convolution import convolution
from .relu import relu


def convolution_layer(x, p, eps, seen=None):
    f = relu(convolution(x, **p["convolution"], same=True, mask=seen))
    return add_norm(x, f, {"norm": p["norm"]}, eps, None, 0)
