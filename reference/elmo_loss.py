"""ELMo's loss: of each side the mean of -log softmax(E h_t + b)[neighbour of t], their mean; undropped.

p, config (dict) and batch (dict of lists) -> by sides. A token is asked, and asks, where it has a label. Peters et al.
2018 (1802.05365), section 3.1; SPEC ELMO-LOSS.
"""

from .character_ids import character_ids
from .cross_entropy import cross_entropy
from .elmo_layer import elmo_layer
from .linear import linear
from .words_of_characters import words_of_characters


def elmo_loss_terms(p, config, batch):
    ids, most = batch["input_ids"], config["max_characters_per_token"]
    words = config["spellings"].split("\n") if config["spellings"] else [str(n) for n in range(config["vocab_size"])]
    words = words[: config["vocab_size"]]
    vectors = words_of_characters(p["characters"], [character_ids(word, most) for word in words])
    terms = {}
    for side in ("forward", "backward"):
        def turned(rows, side=side):
            return rows if side == "forward" or rows is None else [row[::-1] for row in rows]

        x, labels, seen = turned([[vectors[i] for i in row] for row in ids]), turned(batch["labels"]), None
        if "attention_mask" in batch:
            seen = turned(batch["attention_mask"])
        for i, layer in enumerate(p[side]):
            skip = config["use_skip_connections"] and i > 0
            x = elmo_layer(x, layer, seen, skip, None, 0, config["cell_clip"], config["proj_clip"])
        asked = [[-100 if a == -100 else b for a, b in zip(row, [*row[1:], -100], strict=True)] for row in labels]
        z = linear(x, **p["lm"]["decoder"])
        terms[f"{side}_lm"] = cross_entropy(z, labels=asked, ignore=-100)
    return terms


def elmo_loss(p, config, batch):
    terms = elmo_loss_terms(p, config, batch)
    return sum(terms.values()) / 2
