"""T5's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import ADAFACTOR, beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe

# heads are wider together than the model; of distances some have a bucket of their own, some share one, some the last
SIZES = {
    "vocab_size": 19, "d_model": 12, "d_kv": 5, "d_ff": 20, "num_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10,
}  # fmt: skip
LEAST = 4
LONG = {"B": 2, "T": 9, "S": 8}
DECAYLESS = {**ADAFACTOR, "weight_decay": 0.0}
GOING_ON = {"eos_token_id": 11}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.6, "no_repeat_ngram_size": 2}}
CASES = {
    "published": published("pre-norm, RMS norm, relative positions, one table", "t5", seed=82, optimizer=DECAYLESS,
                           dims=LONG, low=None),
    "probe": beside("version 1.1, every config field away from its default, dropout masks drawn", "t5", seed=81,
                    dropout=True, low=None, dims=LONG, config=families.family("t5").PROBE),
    "generation": CaseRecipe("sources of unequal length: logits token by token, greedy, beams", "t5", kind="generation",
                             seed=80, dims={"B": 3, "T": 5}, steps=(), config=GOING_ON, runs=RUNS),
}  # fmt: skip


def double(subject: Any) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The last hidden states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/decoder.final_layer_norm": module("t5_encode").t5_encode(*given),
            "forward/loss": module("t5_loss").t5_loss(*given)}  # fmt: skip
