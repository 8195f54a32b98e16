"""AMBERT's losses, as the labels ask: of masked fine tokens, of masked coarse ones, of classes by both grains.

Both grains go through BERT's encoder with one set of layers, positions and types, each with its own word table;
structure "combo": each has all its own, "hybrid": one encoder over both, behind each other.
p, config (dict) and batch (dict of lists) -> {term: scalar}. Zhang, Li 2020 (2008.11869), eqs. 1, 2; SPEC AMB.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .cross_entropy import cross_entropy
from .disagreement import disagreement
from .encoder_layer import encoder_layer
from .gather import gather
from .linear import linear
from .lists import leaves
from .mlm_head import mlm_head


def ambert_states(p, config, batch):
    eps = config["layer_norm_eps"]

    def embedded(tables, ids, types):
        return bert_embeddings(tables, ids, types, [list(range(len(row))) for row in ids], eps)

    def encoded(x, layers, seen):
        masked = config.get("mask_constant", "min")
        bias = [[[[0 if keep else FORBID if masked == "min" else masked for keep in row]]] for row in seen]
        for layer in layers:
            x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], eps)
        return x

    types = batch.get("segment_ids") or batch["token_type_ids"]
    seen = batch.get("input_mask") or batch["attention_mask"]
    fine = embedded(p["embeddings"], batch["input_ids"], types)
    tables = {**p["embeddings"], **p["coarse_embeddings"]}
    coarse = embedded(tables, batch["coarse_ids"], batch["coarse_token_type_ids"])
    other = batch["coarse_attention_mask"]
    if config["structure"] == "hybrid":
        both = [a + b for a, b in zip(fine, coarse, strict=True)]
        both = encoded(both, p["encoder"], [a + b for a, b in zip(seen, other, strict=True)])
        cut = len(fine[0])
        return [x[:cut] for x in both], [x[cut:] for x in both]
    return encoded(fine, p["encoder"], seen), encoded(coarse, p.get("coarse_encoder", p["encoder"]), other)


def ambert_loss_terms(p, config, batch):
    states, terms = ambert_states(p, config, batch), {}
    for grain, x in zip(("", "coarse_"), states, strict=True):
        if f"{grain}masked_lm_ids" in batch:
            head, chosen = p[f"{grain}mlm"], gather(x, positions=batch[f"{grain}masked_lm_positions"])
            table = head["decoder"].get("weight", p[f"{grain}embeddings"]["word"]["weight"])
            logits = mlm_head(chosen, head, table, config["hidden_act"], config["layer_norm_eps"])
            weights = batch[f"{grain}masked_lm_weights"]
            total = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
            labels = batch[f"{grain}masked_lm_ids"]
            terms[f"{grain}masked_lm"] = cross_entropy(logits, labels=labels, weights=weights, denominator=total)
    if "class_labels" in batch:
        fine, coarse = ([rows[0] for rows in x] for x in states)
        read = {"fine": fine, "coarse": coarse, "both": [a + b for a, b in zip(fine, coarse, strict=True)]}
        z = {name: linear(s, **p["classifier"][name]) for name, s in read.items()}
        apart = disagreement(z["fine"], z["coarse"]) * config["agreement"] / len(fine)
        terms["classification"] = sum(cross_entropy(each, labels=batch["class_labels"]) for each in z.values()) + apart
    return terms


def ambert_loss(p, config, batch):
    terms = ambert_loss_terms(p, config, batch)
    weight = type(next(iter(terms.values())))(config["coarse_weight"])
    return sum(value * weight if name == "coarse_masked_lm" else value for name, value in terms.items())
