"""AMBERT's losses, as the labels ask: of masked fine tokens, of masked coarse ones, of classes by both grains.

p, config (dict) and batch (dict of lists) -> scalar. Zhang, Li 2020 (2008.11869), eqs. 1, 2; SPEC AMB.
"""

from .ambert_encode import ambert_encode
from .cross_entropy import cross_entropy
from .disagreement import disagreement
from .gather import gather
from .linear import linear
from .lists import leaves
from .mlm_head import mlm_head


def ambert_loss(p, config, batch):
    states, total = ambert_encode(p, config, batch), 0
    for grain, x in zip(("", "coarse_"), states, strict=True):
        if f"{grain}masked_lm_ids" in batch:
            head, chosen = p[f"{grain}mlm"], gather(x, positions=batch[f"{grain}masked_lm_positions"])
            table = head["decoder"].get("weight", p[f"{grain}embeddings"]["word"]["weight"])
            logits = mlm_head(chosen, head, table, config["hidden_act"], config["layer_norm_eps"])
            weights, labels = batch[f"{grain}masked_lm_weights"], batch[f"{grain}masked_lm_ids"]
            sums = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
            term = cross_entropy(logits, labels=labels, weights=weights, denominator=sums)
            total += term * type(term)(config["coarse_weight"]) if grain else term
    return total + _classes(p, config, batch, states) if "class_labels" in batch else total


def _classes(p, config, batch, states):
    fine, coarse = ([rows[0] for rows in x] for x in states)
    read = {"fine": fine, "coarse": coarse, "both": [a + b for a, b in zip(fine, coarse, strict=True)]}
    z = {name: linear(s, **p["classifier"][name]) for name, s in read.items()}
    apart = disagreement(z["fine"], z["coarse"]) * config["agreement"] / len(fine)
    return sum(cross_entropy(each, labels=batch["class_labels"]) for each in z.values()) + apart
