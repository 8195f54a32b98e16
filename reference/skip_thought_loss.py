"""Skip-thought's loss: of each of two decoders the mean of -log(p + floor) of the sentence that it writes.

p, config (dict) and batch (dict of lists; labels (b, s), -100: nothing is asked) -> by decoders. Kiros et al. 2015
(1506.06726), section 2.1, and its release; SPEC ST.
"""

from .conditioned_gru import conditioned_gru
from .embedding import embedding
from .floored_cross_entropy import floored_cross_entropy
from .gru_layer import gru_layer
from .linear import linear


def skip_thought_encode(p, config, batch):
    x = embedding(p["embeddings"]["word"]["weight"], ids=batch["input_ids"])
    h = gru_layer(x, p["encoder"], batch.get("attention_mask"))
    half = config["dim"] // 2
    return [row[-1][:half] + row[0][half:] if config["encoder"] == "bi" else row[-1] for row in h]


def skip_thought_loss_terms(p, config, batch):
    s, table, terms = skip_thought_encode(p, config, batch), p["embeddings"]["word"]["weight"], {}
    for side, part in (("previous", "decoder_b"), ("next", "decoder_f")):
        labels, nothing = batch[f"{side}_labels"], [0 * a for a in table[0]]
        x = [[nothing if i == -100 else table[i] for i in [-100, *row[:-1]]] for row in labels]
        d = conditioned_gru(x, s, p[part], by=config["conditioning"])
        z = [token for row in linear(d, **p["lm"]["decoder"]) for token in row]
        asked = [label for row in labels for label in row]
        terms[side] = floored_cross_entropy(z, labels=asked, floor=config["floor"], ignore=-100)
    return terms


def skip_thought_loss(p, config, batch):
    return sum(skip_thought_loss_terms(p, config, batch).values())
