"""fastText's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.cases.word2vec import GIVEN, SGD
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

CASES = {
    "published": published("CBOW, words drawn", "fasttext", seed=120, steps=(1, 10), optimizer=SGD, **GIVEN),
    "skip-gram": beside("skip-gram, words drawn against each", "fasttext", seed=121, config={"sg": True}, **GIVEN),
    "probe": beside("every field away from its default: sums, ways through a tree, too", "fasttext", seed=122,
                    config=families.family("fasttext").PROBE, **GIVEN),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, pair by pair."""
    return composed, not subject.config.undivided


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The terms and the loss, under their keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    terms = module("fasttext_loss").fasttext_loss_terms(p, at_50_digits(to_fields(config)), at_50_digits(inputs))
    return {**{f"forward/loss.{term}": value for term, value in terms.items()}, "forward/loss": sum(terms.values())}
