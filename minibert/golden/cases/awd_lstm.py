"""AWD-LSTM's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject

SIZES = {"vocab_size": 19, "emb_sz": 7, "n_hid": 9, "n_layers": 3, "eos_token_id": 7}
LEAST = 4
CASES = {
    "published": published("tied, no state yet, both terms", "awd_lstm", seed=100, low=None,
                           dims={"B": 3, "T": 8, "M": 0}),
    "probe": beside("every field away from its default, states, dropout masks drawn", "awd_lstm", seed=101, low=None,
                    dropout=True,
                    config={**families.family("awd_lstm").PROBE, "n_layers": 3, "initializer_range": 0.4}),
    "dropped": beside("tied, words and matrices dropped", "awd_lstm", seed=102, low=None, dropout=True,
                      config={"embed_p": 0.3, "weight_p": 0.5, "n_layers": 2}),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy", "awd_lstm", kind="generation",
                             seed=103, dims={"B": 3, "T": 5}, steps=(), config={"eos_token_id": 11},
                             runs={"greedy": {}}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("awd_lstm_loss").awd_lstm_loss(*given)}
