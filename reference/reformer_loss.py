"""Reformer's loss: the mean of -log softmax(z)[label], of the next token where it is causal, else of masked tokens.

z = reformer_encode W^T + b of the head. p, config (dict) and batch (dict of lists) -> scalar.
Kitaev et al. 2020 (2001.04451), section 5; SPEC REFORMER-LOSS.
"""

from .cross_entropy import cross_entropy
from .gather import gather
from .linear import linear
from .reformer_encode import reformer_encode


def reformer_loss(p, config, batch):
    h, head = reformer_encode(p, config, batch), p["lm"]["decoder"]
    if config["is_decoder"]:
        following = [[*row[1:], -100] for row in batch["labels"]]
        return cross_entropy(linear(h, **head), labels=following, ignore=-100)
    logits = linear(gather(h, positions=batch["masked_lm_positions"]), **head)
    return cross_entropy(logits, labels=batch["masked_lm_ids"], weights=batch["masked_lm_weights"])
