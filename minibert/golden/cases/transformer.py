"""The Transformer's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {
    "vocab_size": 19, "d_model": 12, "nhead": 3, "num_encoder_layers": 2, "num_decoder_layers": 2,
    "dim_feedforward": 20, "max_position_embeddings": 12,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.0}
GOING_ON = {"max_position_embeddings": 16, "eos_token_id": 11, "decoder_start_token_id": 3}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.6, "no_repeat_ngram_size": 2}}
CASES = {
    "published": published("post-norm, one table, sinusoids, smoothed labels", "transformer", seed=70, optimizer=ADAMW,
                           low=None),
    "probe": beside("every config field away from its default, dropout masks drawn", "transformer", seed=71,
                    dropout=True, low=None, config=families.family("transformer").PROBE),
    "generation": CaseRecipe("sources of unequal length: logits token by token, greedy, beams", "transformer",
                             kind="generation", seed=72, dims={"B": 3, "T": 5}, steps=(), config=GOING_ON, runs=RUNS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("transformer_loss").transformer_loss(*given)}
