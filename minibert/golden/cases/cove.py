"""CoVe's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject

SIZES = {"vocab_size": 19, "embedding_dim": 7, "hidden": 5, "target_dim": 6, "decoder_dim": 8}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.3}}
CASES = {
    "published": published("two layers in both directions, a decoder that attends", "cove", seed=126, low=None,
                           steps=(1, 10), dims={"B": 3, "T": 6, "S": 4}),
    "probe": beside("every field away from its default", "cove", seed=127, low=None,
                    config=families.family("cove").PROBE),
    "generation": CaseRecipe("sources of unequal length: logits token by token, greedy, beams", "cove",
                             kind="generation", seed=128, dims={"B": 3, "T": 5}, steps=(), runs=RUNS,
                             config={"eos_token_id": 11, "decoder_start_token_id": 3}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss."""
    return composed, True


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("cove_loss").cove_loss(*given)}
