"""The Transformer's states: an encoder over the source, a decoder over what is written, which attends to the source.

Each sub-layer is post-norm, or pre-norm with `norm_first`; a norm stands behind a stack where the tree has one.
p, config and batch (dicts; ids and masks lists (b, t) and (b, s)) -> (b, s, D).
Vaswani et al. 2017 (1706.03762), section 3; SPEC TR-EMB to TR-DEC.
"""

from .bert_encode import FORBID
from .causal import causal
from .decoder_layer import decoder_layer
from .encoder_layer import encoder_layer
from .layer_norm import layer_norm
from .lists import each
from .pre_norm_decoder_layer import pre_norm_decoder_layer
from .pre_norm_layer import pre_norm_layer
from .transformer_embedded import embedded


def transformer_encode(p, config, batch):
    given, eps = (config["nhead"],), config["layer_norm_eps"]
    how = config["activation"], eps
    source, target, there = batch["input_ids"], batch["decoder_input_ids"], batch.get("attention_mask")
    keys = [[[[0 if bit else FORBID for bit in row]]] for row in there or [[1] * len(row) for row in source]]
    encoding = pre_norm_layer if config["norm_first"] else encoder_layer
    memory = embedded(p, config, source)
    for layer in p["encoder"]:
        memory = encoding(memory, layer, *given, keys, *how)
    memory, x = ended(memory, p, "encoder_norm", eps), embedded(p, config, target)
    read = batch.get("decoder_attention_mask") or [[1] * len(row) for row in target]
    bits = causal(len(target[0]), len(target[0]), read)
    before = each(0, lambda bit: 0 if bit else FORBID, bits)
    decoding = pre_norm_decoder_layer if config["norm_first"] else decoder_layer
    for layer in p["decoder"]:
        x = decoding(x, memory, layer, *given, before, keys, *how)
    return ended(x, p, "decoder_norm", eps)


def ended(x, p, name, eps):
    return layer_norm(x, **p[name], eps=eps) if name in p else x
