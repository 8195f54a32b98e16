"""MASS's states: BART's stacks, the decoder's tokens at places of their own, some slots of the memory hidden from it.

p, config and batch (dicts; ids, masks, decoder_position_ids lists (b, t), (b, s)) -> (b, s, D). LN(s E[x] + P[t + 1])
enters a stack. Song et al. 2019 (1905.02450), section 3; SPEC MASS-EMB, MASS-DEC."""

from .bart_embedded import EPS
from .bert_encode import FORBID
from .causal import causal
from .decoder_layer import decoder_layer
from .embedding import embedding
from .encoder_layer import encoder_layer
from .layer_norm import layer_norm
from .lists import each
from .scalars import constant, sqrt


def mass_encode(p, config, batch):
    source, target = batch["input_ids"], batch["decoder_input_ids"]
    how = config["activation_function"], constant(EPS, p["encoder_embeddings"]["norm"]["bias"][0])
    there, shown = batch["attention_mask"], batch["encoder_attention_mask"]
    written, places = batch["decoder_attention_mask"], batch["decoder_position_ids"]

    def embedded(stack, ids, at):
        own = p[f"{stack}_embeddings"]
        scale = sqrt(constant(str(config["d_model"]), how[1])) if config["scale_embedding"] else 1
        word = embedding(p.get("embeddings", own)["word"]["weight"], ids=ids)
        row = embedding(**own["position"], ids=[[place + 1 for place in line] for line in at])
        return layer_norm(each(0, lambda e, s: scale * e + s, word, row), **own["norm"], eps=how[1])

    def bias(mask):
        return [[[[0 if bit else FORBID for bit in row]]] for row in mask]

    memory = embedded("encoder", source, [list(range(len(row))) for row in source])
    for layer in p["encoder"]:
        memory = encoder_layer(memory, layer, config["encoder_attention_heads"], bias(there), *how)
    before = each(0, lambda bit: 0 if bit else FORBID, causal(len(target[0]), len(target[0]), written))
    x = embedded("decoder", target, places)
    for layer in p["decoder"]:
        x = decoder_layer(x, memory, layer, config["decoder_attention_heads"], before, bias(shown), *how)
    return x
