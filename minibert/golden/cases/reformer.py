"""Reformer's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {
    "vocab_size": 19, "hidden_size": 8, "attn_layers": ("local", "lsh"), "num_attention_heads": 2,
    "attention_head_size": 3, "feed_forward_size": 11, "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4,
    "num_hashes": 2, "axial_pos_shape": (3, 4), "axial_pos_embds_dim": (3, 5), "max_position_embeddings": 12,
    "is_decoder": True,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.1}
PROBE = {**families.family("reformer").PROBE, "initializer_range": 0.4}
MASKED = {"is_decoder": False, "attn_layers": ("lsh", "lsh"), "num_buckets": 4, "num_hashes": 3,
          "chunk_size_feed_forward": 5, "axial_pos_embds": False}  # fmt: skip
CASES = {
    "published": published("causal, local and hashed in two rounds, axial positions", "reformer", seed=70,
                           optimizer=ADAMW, dims={"B": 2, "T": 12}, low=None),
    "probe": beside("every config field away from its default: the paper's masks, padded rows, dropout masks drawn",
                    "reformer", seed=71, dropout=True, low=None, config=PROBE),
    "masked": beside("masked tokens, one table of positions, buckets given, the feed-forward in slices", "reformer",
                     seed=72, low=None, config=MASKED),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("reformer_loss").reformer_loss(*given)}
