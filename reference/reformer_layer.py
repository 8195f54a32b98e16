"""A reversible layer with the sizes of a configuration; the number of buckets, unless it is given, of the row's length.

That is the power of 2 at or below 2 floor(t / c), as two factors where it is above 2 max(floor(sqrt(floor(most / c))),
c), most the positions of the config. Kitaev et al. 2020 (2001.04451), as transformers has it; SPEC REFORMER-ATT.
"""

import math

from .reversible_layer import reversible_layer


def reformer_layer(x, p, config, kind, mask, rotations):
    chunk = config[f"{kind}_attn_chunk_length"]
    attending = {"width": config["attention_head_size"], "chunk": chunk, "causal": config["is_decoder"], "mask": mask,
                 "before": config[f"{kind}_num_chunks_before"], "after": config[f"{kind}_num_chunks_after"]}
    if kind == "lsh":
        given = config["num_buckets"] or automatic(len(x[0][0]), chunk, config["max_position_embeddings"])
        attending |= {"rotations": rotations, "factors": [given] if isinstance(given, int) else list(given),
                      "rules": ["own", "buckets", "meetings"] if config["lsh_masking"] == "paper" else ["own"]}
    return reversible_layer(x, p, kind, config["hidden_act"], config["layer_norm_eps"], attending)


def automatic(length, chunk, most):
    power = (2 * (length // chunk)).bit_length() - 1
    small = 2**power <= 2 * max(math.isqrt(most // chunk), chunk)
    return 2**power if small else [2 ** (power // 2), 2 ** (power - power // 2)]
