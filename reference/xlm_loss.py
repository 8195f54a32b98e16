"""XLM's losses, as the labels ask: of masked tokens (MLM, TLM), the mean over the targets; of next tokens (CLM), the
mean of -log softmax(z_t)[label of t + 1] where that is not -100.

z = xlm_encode table^T + b; the table is the word embeddings', or the head's own where it has one.
p, config (dict) and batch (dict of lists) -> {term: scalar}. Conneau, Lample 2019, section 3; SPEC XLM-LOSS.
"""

from .cross_entropy import cross_entropy
from .gather import gather
from .linear import linear
from .xlm_encode import xlm_encode


def xlm_loss_terms(p, config, batch):
    x, head, terms = xlm_encode(p, config, batch), p["mlm"]["decoder"], {}
    table = head.get("weight", p["embeddings"]["word"]["weight"])
    if "masked_lm_positions" in batch:
        logits = linear(gather(x, positions=batch["masked_lm_positions"]), table, head["bias"])
        labels, weights = batch["masked_lm_ids"], batch["masked_lm_weights"]
        terms["masked_lm"] = cross_entropy(logits, labels=labels, weights=weights)
    if "labels" in batch:
        following = [[*row[1:], -100] for row in batch["labels"]]
        terms["next_token"] = cross_entropy(linear(x, table, head["bias"]), labels=following, ignore=-100)
    return terms


def xlm_loss(p, config, batch):
    return sum(xlm_loss_terms(p, config, batch).values())
