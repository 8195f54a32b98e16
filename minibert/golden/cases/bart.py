"""BART's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {
    "vocab_size": 19, "d_model": 12, "max_position_embeddings": 10, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 3, "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 17,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.01}
GOING_ON = {"max_position_embeddings": 12, "eos_token_id": 11}
RUNS = {  # with a seed at which each setting alone changes what is written
    "greedy": {"forced_bos_token_id": 0},
    "beams": {"num_beams": 3, "length_penalty": 0.5, "no_repeat_ngram_size": 2, "min_length": 5},
    "eager": {"num_beams": 3, "early_stopping": True, "forced_eos_token_id": 11},
}
CASES = {
    "published": published("post-norm, norms in the embeddings, positions from the third row on, tied", "bart", seed=80,
                           optimizer=ADAMW),
    "probe": beside("every config field away from its default, dropout masks drawn", "bart", seed=81, dropout=True,
                    config=families.family("bart").PROBE),
    "constant": beside("a constant beside the logits, and nothing else away from as published", "bart", seed=82,
                       config={"logits_bias": True}),
    "generation": CaseRecipe("sources of unequal length: logits token by token, greedy, beams", "bart",
                             kind="generation", seed=130, dims={"B": 3, "T": 5}, steps=(), config=GOING_ON, runs=RUNS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    last = f"forward/model.decoder.layers.{config.decoder_layers - 1}"
    return {last: module("bart_encode").bart_encode(*given), "forward/loss": module("bart_loss").bart_loss(*given)}
