"""MASS's loss: cross-entropy of z_t = h_t E^T + c at the labels that are not -100, those of the fragment.

p, config (dict) and batch (dict of lists) -> scalar. Song et al. 2019 (1905.02450), section 3.1; SPEC MASS-LOSS.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .mass_encode import mass_encode


def mass_loss(p, config, batch):
    own = p.get("lm", {})
    table = (own["decoder"] if "decoder" in own else p["embeddings"]["word"])["weight"]
    z = linear(mass_encode(p, config, batch), table, own.get("bias"))
    return cross_entropy(z, labels=batch["labels"], ignore=-100)
