"""Quick-thought's two vectors of each sentence, (b, c, d) each: the last states of two encoders.

p, config and batch (dicts; ids and mask lists (b, c, t)) -> [f(s)], [g(s)]. Logeswaran and Lee 2018 (1803.02893),
section 3; SPEC QT-ENC.
"""

from .embedding import embedding
from .lstm_layer import lstm_layer
from .reset_first_layer import reset_first_layer
from .whole_text import whole_text


def quick_thought_encode(p, config, batch):
    mask = batch.get("attention_mask") or [[[1] * len(s) for s in row] for row in batch["input_ids"]]
    shared = config["shared_table"]
    tables = {"f": p["embeddings"], "g": p["embeddings" if shared else "embeddings_out"]}
    return [
        [vectors(embedding(table["word"]["weight"], ids=row), p.get(side), config, seen)
         for row, seen in zip(batch["input_ids"], mask, strict=True)]
        for side, table in tables.items()
    ]  # fmt: skip


def vectors(x, p, config, seen):
    if config["encoder"] == "BOW":
        return [[sum(token[d] for token, bit in zip(s, bits, strict=True) if bit) for d in range(len(s[0]))]
                for s, bits in zip(x, seen, strict=True)]  # fmt: skip
    h = (lstm_layer if config["encoder"] == "LSTM" else reset_first_layer)(x, p, seen)
    return whole_text(h, both=config["bidir"])
