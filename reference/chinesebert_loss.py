"""ChineseBERT's loss: BERT's masked LM over its layers, which read fused_embeddings.

p, config (dict) and batch (dict of lists) -> scalar. Sun et al. 2021
(2106.16038), section 3; SPEC CHB-LOSS.
"""

from .bert_encode import FORBID
from .cross_entropy import cross_entropy
from .encoder_layer import encoder_layer
from .fused_embeddings import fused_embeddings
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head


def chinesebert_encode(p, config, batch):
    ids, act, eps = batch["input_ids"], config["hidden_act"], config["layer_norm_eps"]
    types = batch.get("segment_ids") or batch["token_type_ids"]
    seen = batch.get("input_mask") or batch["attention_mask"]
    given = {"ids": ids, "letters": batch.get("pinyin_ids"), "types": types}
    x = fused_embeddings(p["embeddings"], **given, positions=list(range(len(ids[0]))), eps=eps)
    masked = config.get("mask_constant", "min")
    bias = [[[[0 if keep else FORBID if masked == "min" else masked for keep in r]]] for r in seen]
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, act, eps)
    return x


def chinesebert_loss(p, config, batch):
    x, act, eps = chinesebert_encode(p, config, batch), config["hidden_act"], config["layer_norm_eps"]
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, act, eps)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    return cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator)
