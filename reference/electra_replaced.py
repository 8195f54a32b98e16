"""The discriminator's text and its labels: samples at all chosen positions, one equal to the original being 0.

batch: input_ids (B, T), masked_lm_positions, _ids, _weights, replacement_ids (B, M) -> (ids, labels), both (B, T). Of
two samples at a position the last stands. Clark et al. 2020 (2003.10555), section 2; SPEC ELEC-RTD.
"""


def electra_replaced(batch):
    ids, labels = [list(row) for row in batch["input_ids"]], [[0] * len(row) for row in batch["input_ids"]]
    for b, weights in enumerate(batch["masked_lm_weights"]):
        for m, weight in enumerate(weights):
            if weight:
                t, sample = batch["masked_lm_positions"][b][m], batch["replacement_ids"][b][m]
                ids[b][t], labels[b][t] = sample, int(sample != batch["masked_lm_ids"][b][m])
    return ids, labels
