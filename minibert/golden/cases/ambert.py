"""AMBERT's golden cases."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases import bert
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.draws import Draws
from minibert.golden.subject import Subject

SIZES = {**bert.SIZES, "coarse_vocab_size": 23}


def distinct(batch: Any, draws: Draws) -> None:
    """No coarse position is a target twice."""
    slots, tokens = batch["coarse_masked_lm_positions"].shape[1], batch["coarse_attention_mask"].sum(1)
    batch["coarse_masked_lm_positions"] = np.array([np.sort(1 + draws.permutation(int(n) - 1)[:slots]) for n in tokens])


PROBE = families.family("ambert").PROBE
EDITS = {"edits": (distinct,), "dims": {"B": 3, "T": 9, "S": 9}}
CASES = {
    "published": published("two grains over shared layers, masked tokens of both, classes by both", "ambert", seed=95,
                           **EDITS),
    "probe": beside("two encoders apart, every config field away from its default, dropout masks drawn", "ambert",
                    seed=96, dropout=True, low=None, **EDITS,
                    config={**PROBE, "structure": "combo", "initializer_range": 0.4, "tie_word_embeddings": False}),
    "hybrid": beside("one encoder over both grains", "ambert", seed=97, low=None, config={"structure": "hybrid"},
                     **EDITS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, False)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("ambert_loss").ambert_loss(*given)}
