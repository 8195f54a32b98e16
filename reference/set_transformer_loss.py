"""Set Transformer's loss over words: the mean of -log softmax(h W^T)[label] over what is asked of each set.

p, config (dict) and batch (dict of lists) -> scalar. SPEC SET-LOSS.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .set_transformer_encode import set_transformer_encode


def set_transformer_loss(p, config, batch):
    z = linear(set_transformer_encode(p, config, batch), p["lm"]["decoder"]["weight"])
    return cross_entropy(z, labels=batch["labels"], ignore=-100)
