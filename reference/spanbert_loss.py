"""SpanBERT's pre-training loss: mean masked-token cross-entropy + mean boundary cross-entropy.

p, config (dict) and batch -> scalar. A slot of span_boundaries (B, N, 2) counts if a token lies between: right >=
left + 2. Joshi et al. 2019 (1907.10529), section 3.2; SPEC SPAN-LOSS.
"""

from .bert_encode import bert_encode
from .cross_entropy import cross_entropy
from .gather import gather
from .lists import each, leaves
from .mlm_head import mlm_head
from .sbo_head import sbo_head


def spanbert_loss(p, config, batch):
    terms = spanbert_loss_terms(p, config, batch)
    return terms["masked_lm"] + terms["span_boundary"]


def spanbert_loss_terms(p, config, batch):
    x = bert_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    form = {"activation": config["hidden_act"], "eps": config["layer_norm_eps"]}
    mlm, sbo = (p[head]["decoder"].get("weight", p["embeddings"]["word"]["weight"]) for head in ("mlm", "sbo"))
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], mlm, **form)
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    left, right = (each(1, lambda edges, side=side: edges[side], batch["span_boundaries"]) for side in (0, 1))
    counted = each(1, lambda edges: int(edges[1] >= edges[0] + 2), batch["span_boundaries"])
    beside = [gather(x, positions=side) for side in (left, right)]
    spans = sbo_head(*beside, p["sbo"], sbo, places=batch["span_positions"], **form)
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator),
        "span_boundary": cross_entropy(spans, labels=batch["span_ids"], weights=counted),
    }
