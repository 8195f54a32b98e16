"""Mockingjay's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SIZES = {"input_dim": 7, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10,
         "max_position_embeddings": 11}  # fmt: skip
LEAST = 3
CASES = {
    "published": published("frames, sinusoids, BERT's layers, a head of features", "audio_bert", seed=120, low=None),
    "probe": beside("every field away from its default, dropout masks drawn", "audio_bert", seed=121, low=None,
                    dropout=True, config=families.family("audio_bert").PROBE),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    fields = to_fields(config)
    if fields["mask_constant"] != "min":
        fields["mask_constant"] = int(float(fields["mask_constant"]))
    given = p, at_50_digits(fields), at_50_digits(inputs)
    return {"forward/loss": module("audio_bert_loss").audio_bert_loss(*given)}
