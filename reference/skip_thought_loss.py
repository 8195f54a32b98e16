"""Skip-thought's loss: of each of two decoders the mean of -log(p + floor) of the sentence that it writes.

p, config (dict) and batch (dict of lists; labels (b, s), -100: nothing is asked) -> by decoders. Kiros et al. 2015
(1506.06726), section 2.1, and its release; SPEC ST.
"""

from .conditioned_gru import conditioned_gru
from .embedding import embedding
from .floored_cross_entropy import floored_cross_entropy
from .gru_layer import gru_layer
from .linear import linear
from .whole_text import whole_text
from .words_before import words_before


def skip_thought_encode(p, config, batch):
    x = embedding(p["embeddings"]["word"]["weight"], ids=batch["input_ids"])
    h = gru_layer(x, p["encoder"], batch.get("attention_mask"))
    return whole_text(h, both=config["encoder"] == "bi")


def skip_thought_loss_terms(p, config, batch):
    s, terms = skip_thought_encode(p, config, batch), {}
    for side, part in (("previous", "decoder_b"), ("next", "decoder_f")):
        labels = batch[f"{side}_labels"]
        d = conditioned_gru(words_before(p["embeddings"]["word"], labels=labels), s, p[part], by=config["conditioning"])
        z = [token for row in linear(d, **p["lm"]["decoder"]) for token in row]
        asked = [label for row in labels for label in row]
        terms[side] = floored_cross_entropy(z, labels=asked, floor=config["floor"], ignore=-100)
    return terms


def skip_thought_loss(p, config, batch):
    return sum(skip_thought_loss_terms(p, config, batch).values())
