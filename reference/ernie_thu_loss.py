"""ERNIE's pre-training loss (Tsinghua's): masked tokens, pairs, and the entity of each aligned token.

p, config (dict) and batch (BERT's fields, entity_ids, entity_labels (B, T), entity_candidates (B, C), -100 none) ->
{term: value}, their sum the loss. Zhang et al. 2019 (1905.07129), section 3.4; SPEC THU-LOSS.
"""

from .cross_entropy import cross_entropy
from .entity_loss import entity_loss
from .ernie_thu_encode import ernie_thu_encode
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def ernie_thu_loss(p, config, batch):
    return sum(ernie_thu_loss_terms(p, config, batch).values())


def ernie_thu_loss_terms(p, config, batch):
    x, act, eps = ernie_thu_encode(p, config, batch), config["hidden_act"], config["layer_norm_eps"]
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, act, eps)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    pairs = leaves(batch["next_sentence_labels"])
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator),
        "next_sentence": cross_entropy(nsp_head(pooler(x, p["pooler"]), p["nsp"]), labels=pairs),
        "entity": entity_loss(x, p["entity"], p["entities"]["weight"], batch, act, eps),
    }
