"""Grover's network: its layers over LN(E_word[x] + E_position[t]).

p, config and batch (dicts; ids and mask lists (b, t)) -> (b, t, D). A token sees itself and those before it that the
mask has. rowanz/grover, lm/modeling.py; SPEC GRV-EMB, GRV-LAYER.
"""

from .bert_encode import FORBID
from .causal import causal
from .embedding import embedding
from .grover_layer import grover_layer
from .layer_norm import layer_norm
from .lists import each


def grover_encode(p, config, batch):
    ids, tables, eps = batch["input_ids"], p["embeddings"], config["layer_norm_eps"]
    places = batch.get("position_ids") or [list(range(len(row))) for row in ids]
    word, place = embedding(**tables["word"], ids=ids), embedding(**tables["position"], ids=places)
    x = layer_norm(each(0, lambda a, b: a + b, word, place), **tables["norm"], eps=eps)
    seen = causal(len(ids[0]), len(ids[0]), batch.get("attention_mask") or [[1] * len(row) for row in ids])
    bias = each(0, lambda bit: 0 if bit else FORBID, seen)
    for layer in p["decoder"]:
        x = grover_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], eps)
    return x
