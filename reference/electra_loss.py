"""ELECTRA's two terms: masked_lm of the generator, replaced_token of the discriminator on the generator's samples.

p {generator, discriminator}: two whole networks, shared parts in both; batch: the masked-LM fields and replacement_ids
(B, M). Clark et al. 2020 (2003.10555), section 2; google-research/electra run_pretraining.py; SPEC ELEC-LOSS.
"""

from .binary_cross_entropy import binary_cross_entropy
from .cross_entropy import cross_entropy
from .electra_encode import electra_encode
from .electra_replaced import electra_replaced
from .gather import gather
from .mlm_head import mlm_head
from .rtd_head import rtd_head


def electra_loss(p, config, batch, heads):
    mask, types, eps = batch["attention_mask"], batch["token_type_ids"], config["layer_norm_eps"]
    g, d = p["generator"], p["discriminator"]
    x = electra_encode(g, {**config, "num_attention_heads": heads["generator"]}, batch["input_ids"], mask, types)
    chosen = gather(x, positions=batch["masked_lm_positions"])
    logits = mlm_head(chosen, g["mlm"], g["embeddings"]["word"]["weight"], config["generator_act"], eps)
    ids, labels = electra_replaced(batch)
    y = electra_encode(d, {**config, "num_attention_heads": heads["discriminator"]}, ids, mask, types)
    found = rtd_head(y, d["rtd"], config["hidden_act"])
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=batch["masked_lm_weights"]),
        "replaced_token": binary_cross_entropy(found, labels=labels, weights=mask),
    }
