"""T5's states: an encoder over the source, a decoder that reads what is written and attends to the source.

Each layer: x + attention(N(x)), in the decoder x + cross_attention(N(x), memory), x + feed_forward(N(x)), N the RMS
norm, and N behind each stack. Scores are not divided; a stack's table of relative positions is added to those of its
self-attention, the same in all layers. p, config and batch (dicts; ids and masks lists (b, t) and (b, s)) -> (b, s, D).
Raffel et al. 2019 (1910.10683), section 2.1, and the released code; SPEC T5-EMB to T5-DEC.
"""

from .bert_encode import FORBID
from .causal import causal
from .cross_attention import cross_attention
from .embedding import embedding
from .feed_forward import feed_forward
from .gated_feed_forward import gated_feed_forward
from .lists import broadcast, each
from .relative_bias import relative_bias
from .relative_buckets import relative_buckets
from .rms_norm import rms_norm
from .self_attention import self_attention


def t5_encode(p, config, batch):
    source, target = batch["input_ids"], batch["decoder_input_ids"]
    heads, eps = config["num_heads"], config["layer_norm_epsilon"]
    seen = batch.get("attention_mask") or [[1] * len(row) for row in source]
    keys = each(1, lambda row: [[[0 if bit else FORBID for bit in row]]], seen)
    there = batch.get("decoder_attention_mask") or [[1] * len(row) for row in target]
    before = each(0, lambda bit: 0 if bit else FORBID, causal(len(target[0]), len(target[0]), there))
    act = config["feed_forward_proj"].removeprefix("gated-")
    act = "gelu_new" if config["feed_forward_proj"] == "gated-gelu" else act

    def residual(x, part, f):
        return each(0, lambda a, b: a + b, x, f(rms_norm(x, **part["norm"], eps=eps)))

    def stacked(stack, ids, mask, memory=None):
        x, n = embedding(p["embeddings"]["word"]["weight"], ids=ids), len(ids[0])
        sizes = config["relative_attention_num_buckets"], config["relative_attention_max_distance"]
        buckets = relative_buckets(n, n, both=memory is None, count=sizes[0], most=sizes[1])
        parts = relative_bias(p[f"{stack}_positions"], buckets), mask
        bias = each(0, lambda a, b: a + b, *(broadcast(part, [len(ids), heads, n, n]) for part in parts))
        for layer in p[stack]:
            own, feed = layer["attention"], layer["feed_forward"]
            x = residual(x, own, lambda h: self_attention(h, own, heads, bias, 1))
            if memory is not None:
                cross = layer["cross_attention"]
                x = residual(x, cross, lambda h: cross_attention(h, memory, cross, heads, keys, scale=1))
            block = gated_feed_forward if "gate" in feed else feed_forward
            x = residual(x, feed, lambda h: block(h, feed, act))
        return rms_norm(x, **p[f"{stack}_norm"], eps=eps)

    return stacked("decoder", target, before, stacked("encoder", source, keys))

