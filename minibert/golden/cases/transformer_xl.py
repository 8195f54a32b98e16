"""Transformer-XL's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {
    "vocab_size": 19, "cutoffs": (8, 14), "d_model": 12, "d_embed": 10, "n_head": 3, "d_head": 4, "d_inner": 20,
    "div_val": 2, "n_layer": 2, "mem_len": 12, "clamp_len": 6, "eos_token_id": 7,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.0}
ALONE = {"dims": {"B": 3, "T": 8, "M": 0}, "low": None}
BYTES = {"cutoffs": (), "d_embed": 12, "div_val": 1, "clamp_len": 0, "same_length": False}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2}}
CASES = {
    "published": published("clusters, same length, tied, no memory yet", "transformer_xl", seed=80, optimizer=ADAMW,
                           **ALONE),
    "bytes": beside("one softmax, every earlier token seen", "transformer_xl", seed=81, config=BYTES, **ALONE),
    "probe": beside("every field away from its default, a memory, dropout masks drawn", "transformer_xl", seed=82,
                    dropout=True, config={**families.family("transformer_xl").PROBE, "init_std": 0.4, "mem_len": 4},
                    dims={"B": 3, "T": 6, "M": 4}, low=None),
    "memory": beside("a memory as long as it may be, same length", "transformer_xl", seed=83,
                     config={"mem_len": 4, "clamp_len": 5}, dims={"B": 2, "T": 6, "M": 4}, low=None),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, beams", "transformer_xl",
                             kind="generation", seed=84, dims={"B": 3, "T": 5}, steps=(),
                             config={"mem_len": 7, "eos_token_id": 11}, runs=RUNS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("transformer_xl_loss").transformer_xl_loss(*given)}
