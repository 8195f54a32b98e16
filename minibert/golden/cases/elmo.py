"""ELMo's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SIZES = {
    "vocab_size": 14, "max_characters_per_token": 6, "embedding_dim": 4, "filter_widths": (1, 2, 3),
    "filter_counts": (3, 2, 4), "projection_dim": 5, "dim": 7,
}  # fmt: skip
LEAST = 4
CASES = {
    "published": published("characters, two highways, residuals, both sides", "elmo", seed=110, low=None,
                           dims={"B": 3, "T": 7}),
    "probe": beside("every field away from its default, clipped, dropout masks drawn", "elmo", seed=111, low=None,
                    dropout=True, config={**families.family("elmo").PROBE, "cell_clip": 0.15, "proj_clip": 0.1}),
    "clipped": beside("residuals, clipped, dropout masks drawn", "elmo", seed=112, low=None, dropout=True,
                      config={"cell_clip": 0.2, "proj_clip": 0.12, "n_layers": 2}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("elmo_loss").elmo_loss(*given)}
