"""Longformer's pre-training loss: mean masked-token cross-entropy over layers that attend within windows.

p, config (dict) and batch (dict of lists) -> scalar: RoBERTa's positions, tables and head about `sliding_attention`.
attention_window counts both sides; attention_dilation: of all heads, of each layer, or of each head of each layer.
Beltagy et al. 2020 (2004.05150), sections 3 and 5; SPEC LON-LOSS.
"""

from .bert_embeddings import bert_embeddings
from .cross_entropy import cross_entropy
from .feed_forward import feed_forward
from .gather import gather
from .layer_norm import layer_norm
from .lists import each, leaves
from .mlm_head import mlm_head
from .roberta_positions import roberta_positions
from .sliding_attention import sliding_attention


def longformer_loss(p, config, batch):
    eps, ids, heads = config["layer_norm_eps"], batch["input_ids"], config["num_attention_heads"]
    places = roberta_positions(ids, config["pad_token_id"])
    x = bert_embeddings(p["embeddings"], ids, batch["segment_ids"], places, eps)
    windows, dilations, depth = config["attention_window"], config["attention_dilation"], len(p["encoder"])

    def sub_layer(x, y, part):
        return layer_norm(each(0, lambda a, b: a + b, x, y), **part["norm"], eps=eps)

    for i, layer in enumerate(p["encoder"]):
        window = windows if isinstance(windows, int) else windows[i]
        count = 1 if isinstance(dilations, int) else len(dilations) // depth
        dilation = [dilations] if isinstance(dilations, int) else dilations[i * count:(i + 1) * count]
        seen = batch["input_mask"], batch["global_attention_mask"], dilation
        y = sliding_attention(x, layer["attention"], config["hidden_size"] // heads, window // 2, *seen)
        x = sub_layer(x, y, layer["attention"])
        x = sub_layer(x, feed_forward(x, layer["feed_forward"], config["hidden_act"]), layer["feed_forward"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, "gelu", eps)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    return cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator)
