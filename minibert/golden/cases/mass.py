"""MASS's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases import bart
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject

LEAST = 4
DIMS = {"B": 3, "T": 7, "S": 5}
SIZES = {**bart.SIZES, "bos_token_id": 0, "eos_token_id": 11, "decoder_start_token_id": 3}
RUNS = {
    "greedy": {},
    "beams": {"num_beams": 3, "length_penalty": 0.5, "no_repeat_ngram_size": 2, "min_length": 5},
}
CASES = {
    "published": published("BART's network, the decoder at places of its own, some of the memory hidden", "mass",
                           seed=270, optimizer=bart.ADAMW, dims=DIMS),
    "probe": beside("every config field away from its default, dropout masks drawn", "mass", seed=271, dropout=True,
                    dims=DIMS, config=families.family("mass").PROBE),
    "generation": CaseRecipe("sources of unequal length, the decoder from its start token on: logits token by token, "
                             "greedy, beams", "mass", kind="generation", seed=272, dims={"B": 3, "T": 5}, steps=(),
                             runs=RUNS, config={"max_position_embeddings": 12, "eos_token_id": 11}),
    "constant": beside("a constant beside the logits", "mass", seed=272, dims=DIMS, config={"logits_bias": True}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    last = f"forward/decoder.layers.{config.decoder_layers - 1}"
    return {last: module("mass_encode").mass_encode(*given), "forward/loss": module("mass_loss").mass_loss(*given)}
