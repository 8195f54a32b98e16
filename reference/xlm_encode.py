"""XLM's network: post-norm layers over LN(E_word[x] + E_position[t] + E_language[l]); states of padding are 0.

p, config and batch (dicts; ids, mask, langs lists (b, t)) -> (b, t, D). Without langs no language is added; types s add
E_word[s]. A causal model sees what stands before, whatever the mask says.
Conneau, Lample 2019 (1901.07291), section 3.1; SPEC XLM-EMB, XLM-ATT.
"""

from .bert_encode import FORBID
from .causal import causal
from .embedding import embedding
from .encoder_layer import encoder_layer
from .layer_norm import layer_norm
from .lists import each


def xlm_encode(p, config, batch):
    ids, tables, eps = batch["input_ids"], p["embeddings"], config["layer_norm_eps"]
    seen = batch.get("attention_mask") or batch.get("input_mask") or [[1] * len(row) for row in ids]
    places = batch.get("position_ids") or [list(range(len(row))) for row in ids]
    parts = [embedding(**tables["word"], ids=ids), embedding(**tables["position"], ids=places)]
    if "language" in tables and "langs" in batch:
        parts.append(embedding(**tables["language"], ids=batch["langs"]))
    if "token_type_ids" in batch:
        parts.append(embedding(**tables["word"], ids=batch["token_type_ids"]))
    x = zeroed(layer_norm(each(0, lambda *several: sum(several), *parts), **tables["norm"], eps=eps), seen)
    bits = causal(len(ids[0]), len(ids[0])) if config["causal"] else [[[row]] for row in seen]
    bias = each(0, lambda bit: 0 if bit else FORBID, bits)
    act = "gelu" if config["gelu_activation"] else "relu"
    for layer in p["encoder"]:
        x = zeroed(encoder_layer(x, layer, config["n_heads"], bias, act, eps), seen)
    return x


def zeroed(x, seen):
    return [[[a if there else 0 * a for a in row] for row, there in zip(rows, bits, strict=True)]
            for rows, bits in zip(x, seen, strict=True)]
