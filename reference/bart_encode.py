"""BART's states: a post-norm encoder over the source, a post-norm decoder over what is written, no norm behind either.

p, config and batch (dicts; ids and masks lists (b, t) and (b, s)) -> (b, s, D). Lewis et al. 2019 (1910.13461), section
2.1; SPEC BART-EMB to BART-DEC.
"""

from .bart_embedded import EPS, bart_embedded
from .bert_encode import FORBID
from .causal import causal
from .decoder_layer import decoder_layer
from .encoder_layer import encoder_layer
from .lists import each
from .scalars import constant


def bart_encode(p, config, batch):
    source, target = batch["input_ids"], batch["decoder_input_ids"]
    how = config["activation_function"], constant(EPS, p["encoder_embeddings"]["norm"]["bias"][0])
    there, written = (batch.get(name) or [[1] * len(row) for row in ids]
                      for name, ids in (("attention_mask", source), ("decoder_attention_mask", target)))  # fmt: skip
    keys = [[[[0 if bit else FORBID for bit in row]]] for row in there]
    memory = bart_embedded(p, config, "encoder", source)
    for layer in p["encoder"]:
        memory = encoder_layer(memory, layer, config["encoder_attention_heads"], keys, *how)
    before = each(0, lambda bit: 0 if bit else FORBID, causal(len(target[0]), len(target[0]), written))
    x = bart_embedded(p, config, "decoder", target)
    for layer in p["decoder"]:
        x = decoder_layer(x, memory, layer, config["decoder_attention_heads"], before, keys, *how)
    return x
