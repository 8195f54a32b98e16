"""Quick-thought's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SIZES = {"vocab_size": 19, "word_embedding_dim": 7, "encoder_dim": 10}
CASES = {
    "published": published("GRUs in both directions, two tables", "quick_thought", seed=120, low=None,
                           steps=(1, 10)),
    "probe": beside("every field away from its default: LSTMs, one table, two neighbours", "quick_thought", seed=121,
                    low=None, config=families.family("quick_thought").PROBE),
    "words": beside("sums of words, two tables", "quick_thought", seed=122, low=None, config={"encoder": "BOW"}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss."""
    return composed, True


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("quick_thought_loss").quick_thought_loss(*given)}
