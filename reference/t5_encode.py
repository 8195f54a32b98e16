"""T5's states: an encoder over the source, a decoder that reads what is written and attends to the source.

Layers of t5_layer over E[x], and a norm behind each stack. A stack's table of relative positions is added to the scores
of its self-attention, the same in all layers. p, config and batch (dicts; ids and masks lists (b, t) and (b, s)) ->
(b, s, D). Raffel et al. 2019 (1910.10683), section 2.1, and the released code; SPEC T5-EMB to T5-DEC.
"""

from .bert_encode import FORBID
from .causal import causal
from .embedding import embedding
from .lists import broadcast, each
from .relative_bias import relative_bias
from .relative_buckets import relative_buckets
from .rms_norm import rms_norm
from .t5_layer import t5_layer


def t5_encode(p, config, batch):
    source, target, eps = batch["input_ids"], batch["decoder_input_ids"], config["layer_norm_epsilon"]
    seen = batch.get("attention_mask") or [[1] * len(row) for row in source]
    there = batch.get("decoder_attention_mask") or [[1] * len(row) for row in target]
    keys = each(1, lambda row: [[[0 if bit else FORBID for bit in row]]], seen)
    before = each(0, lambda bit: 0 if bit else FORBID, causal(len(target[0]), len(target[0]), there))
    sizes = {"count": config["relative_attention_num_buckets"], "most": config["relative_attention_max_distance"]}
    form, heads = config["feed_forward_proj"], config["num_heads"]
    act = "gelu_new" if form == "gated-gelu" else form.removeprefix("gated-")

    def stacked(stack, ids, mask, memory=None):
        x, n = embedding(p["embeddings"]["word"]["weight"], ids=ids), len(ids[0])
        buckets = relative_buckets(n, n, both=memory is None, **sizes)
        parts = relative_bias(p[f"{stack}_positions"], buckets), mask
        bias = each(0, lambda a, b: a + b, *(broadcast(part, [len(ids), heads, n, n]) for part in parts))
        for layer in p[stack]:
            x = t5_layer(x, memory, layer, heads, bias, keys, act, eps)
        return rms_norm(x, **p[f"{stack}_norm"], eps=eps)

    return stacked("decoder", target, before, stacked("encoder", source, keys))
