"""RoBERTa's pre-training loss: mean masked-token cross-entropy, and mean next-sentence cross-entropy where it is kept.

p, config (dict) and batch (dict of lists) -> scalar. BERT's layers and heads under roberta_positions; the head's
activation is gelu whatever the layers have. Liu et al. 2019 (1907.11692), sections 2.3 and 4.2; SPEC ROB-LOSS.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .cross_entropy import cross_entropy
from .encoder_layer import encoder_layer
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler
from .roberta_positions import roberta_positions


def roberta_loss(p, config, batch):
    eps, ids = config["layer_norm_eps"], batch["input_ids"]
    places = roberta_positions(ids, config["pad_token_id"])
    x = bert_embeddings(p["embeddings"], ids, batch["segment_ids"], places, eps)
    bias = [[[[0 if keep else FORBID for keep in row]]] for row in batch["input_mask"]]
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], eps)
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, "gelu", eps)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    loss = cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator)
    if config["next_sentence"]:
        labels = leaves(batch["next_sentence_labels"])
        loss = loss + cross_entropy(nsp_head(pooler(x, p["pooler"]), p["nsp"]), labels=labels)
    return loss
