"""ERNIE's pre-training loss (Baidu's): BERT's two terms over ernie_encode; pairs 1 = real, 0 = fake.

p, config (dict) and batch (BERT's fields, task_type_ids) -> scalar. Sun et al. 2019 (1904.09223); SPEC ERN-LOSS.
"""

from .cross_entropy import cross_entropy
from .ernie_encode import ernie_encode
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def ernie_loss(p, config, batch):
    return sum(ernie_loss_terms(p, config, batch).values())


def ernie_loss_terms(p, config, batch):
    x, act, eps = ernie_encode(p, config, batch), config["hidden_act"], config["layer_norm_eps"]
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, act, eps)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    labels, pairs = batch["masked_lm_ids"], leaves(batch["next_sentence_labels"])
    return {
        "masked_lm": cross_entropy(logits, labels=labels, weights=weights, denominator=denominator),
        "next_sentence": cross_entropy(nsp_head(pooler(x, p["pooler"]), p["nsp"]), labels=pairs),
    }
