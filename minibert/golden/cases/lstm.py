"""The recurrent language model's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {"vocab_size": 19, "nhid": 12, "nlayers": 2, "eos_token_id": 7}
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.0}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2}}
CASES = {
    "published": published("LSTM, tied, no state yet", "lstm", seed=90, optimizer=ADAMW, dims={"B": 3, "T": 8, "M": 0},
                           low=None),
    "probe": beside("every field away from its default: GRU, states, dropout masks drawn", "lstm", seed=91, low=None,
                    dropout=True, config={**families.family("lstm").PROBE, "initializer_range": 0.4}),
    "states": beside("LSTMs that go on from a state, untied", "lstm", seed=92, low=None, dropout=True,
                     config={"tie_weights": False, "ninp": 9, "dropout": 0.3}),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, beams", "lstm",
                             kind="generation", seed=93, dims={"B": 3, "T": 5}, steps=(), config={"eos_token_id": 11},
                             runs=RUNS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("lstm_loss").lstm_loss(*given)}
