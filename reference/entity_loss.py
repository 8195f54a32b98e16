"""The mean cross-entropy of the entity at each slot that is asked about, among the candidates of its row as a set.

x (B, T, D), p of the entity head, vectors (N, E), batch (entity_labels (B, T), -100 asks nothing, entity_candidates
(B, C), -100 none) -> a number. Zhang et al. 2019 (1905.07129), section 3.4; SPEC THU-DEA, THU-LOSS.
"""

from .cross_entropy import cross_entropy
from .entity_head import entity_head


def entity_loss(x, p, vectors, batch, act, eps):
    total, asked = 0, 0
    known = [list(dict.fromkeys(row)) for row in batch["entity_candidates"]]
    logits = entity_head(x, p, vectors, known, act, eps)
    for row, labels, ids in zip(logits, batch["entity_labels"], known, strict=True):
        for z, label in zip(row, labels, strict=True):
            if label != -100:
                total, asked = total + cross_entropy([z], labels=[ids.index(label)]), asked + 1
    return total / asked
