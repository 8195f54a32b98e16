"""GPT's network: post-norm layers over E_word[x] + E_position[t], and E_word[s] where there are types s.

p, config and batch (dicts; ids and mask lists (b, t)) -> (b, t, D). A token sees itself and those before it that the
mask has. "gelu" is the tanh form here. Radford et al. 2018, eq. 2; SPEC GPT-EMB to GPT-LAYER.
"""

from .bert_encode import FORBID
from .causal import causal
from .embedding import embedding
from .encoder_layer import encoder_layer
from .lists import each


def gpt_encode(p, config, batch):
    ids, word = batch["input_ids"], p["embeddings"]["word"]["weight"]
    places = batch.get("position_ids") or [list(range(len(row))) for row in ids]
    x = each(0, lambda a, b: a + b, embedding(word, ids=ids), embedding(**p["embeddings"]["position"], ids=places))
    if "token_type_ids" in batch:
        x = each(0, lambda a, b: a + b, x, embedding(word, ids=batch["token_type_ids"]))
    seen = causal(len(ids[0]), len(ids[0]), batch.get("attention_mask") or [[1] * len(row) for row in ids])
    bias = each(0, lambda bit: 0 if bit else FORBID, seen)
    act = {"gelu": "gelu_new"}.get(config["afn"], config["afn"])
    for layer in p["decoder"]:
        x = encoder_layer(x, layer, config["n_head"], bias, act, config["layer_norm_epsilon"])
    return x
