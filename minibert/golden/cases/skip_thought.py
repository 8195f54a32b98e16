"""Skip-thought's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SIZES = {"vocab_size": 19, "dim_word": 7, "dim": 10}
CASES = {
    "published": published("one direction, decoders that begin with the vector", "skip_thought", seed=123, low=None,
                           steps=(1, 10)),
    "probe": beside("every field away from its default: both directions, the vector in the gates", "skip_thought",
                    seed=124, low=None, config=families.family("skip_thought").PROBE),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss."""
    return composed, True


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The terms and the loss, under their keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    terms = module("skip_thought_loss").skip_thought_loss_terms(*given)
    return {**{f"forward/loss.{side}": value for side, value in terms.items()}, "forward/loss": sum(terms.values())}
