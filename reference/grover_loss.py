"""Grover's loss: the sum of -log softmax(h_t word^T)[label of t + 1] over what is asked, by its number plus eps.

p, config (dict) and batch (dict of lists) -> scalar; -100: not asked, as padding is; eps: lm_denominator_eps (1e-5 in
the release). rowanz/grover, lm/modeling.py, lm_loss; SPEC GRV-LOSS.
"""

from .cross_entropy import cross_entropy
from .grover_encode import grover_encode
from .linear import linear
from .lists import leaves
from .scalars import constant


def grover_loss(p, config, batch):
    h, table = grover_encode(p, config, batch), p["embeddings"]["word"]["weight"]
    following = [[*row[1:], -100] for row in batch["labels"]]
    asked = sum(label != -100 for label in leaves(following))
    mean = cross_entropy(linear(h, table, [0] * len(table)), labels=following, ignore=-100)
    return mean * asked / (asked + constant(config["lm_denominator_eps"], mean))
