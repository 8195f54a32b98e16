"""ERNIE 2.0's pre-training loss: masked tokens, two tags of every token, four classes of a row, over ernie_encode.

p, config (dict) and batch (masked_lm_*, TASK_labels of which -100 asks nothing) -> {term: value}, their sum the loss.
Sun et al. 2019 (1907.12412), section 4.2; SPEC ERN2-LOSS.
"""

from .classification import classification
from .cross_entropy import cross_entropy
from .ernie_encode import ernie_encode
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .pooler import pooler
from .tagging import tagging


def ernie2_loss(p, config, batch):
    return sum(ernie2_loss_terms(p, config, batch).values())


def ernie2_loss_terms(p, config, batch):
    x, act, eps = ernie_encode(p, config, batch), config["hidden_act"], config["layer_norm_eps"]
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, act, eps)
    weights, labels = batch["masked_lm_weights"], batch["masked_lm_ids"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    terms = {"masked_lm": cross_entropy(logits, labels=labels, weights=weights, denominator=denominator)}
    pooled = pooler(x, p["pooler"])
    for task in ("capitalised", "elsewhere"):
        terms[task] = tagging(x, p[task], {"labels": batch[f"{task}_labels"]})
    for task in ("reordering", "distance", "discourse", "relevance"):
        given = {"labels": batch[f"{task}_labels"]}
        terms[task] = classification(pooled, p[task], given, "single_label_classification")
    return terms
