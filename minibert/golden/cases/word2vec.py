"""word2vec's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER, Subject

SGD = {**OPTIMIZER, "name": "plain_sgd", "schedule": "linear", "learning_rate": 0.1, "weight_decay": 0.0}


def collided(batch: Any, draws: Draws) -> None:
    """The first word drawn for each row is one that is asked for, too."""
    if "negatives" in batch:
        for row, targets in enumerate(batch["targets"]):
            batch["negatives"][row, 0] = batch["input_ids"][row, targets[targets >= 0][0]]


GIVEN = {"low": None, "dims": {"B": 3, "T": 6}, "edits": (collided,)}
CASES = {
    "published": published("CBOW, words drawn against each", "word2vec", seed=100, steps=(1, 10), optimizer=SGD,
                           **GIVEN),
    "skip-gram": beside("skip-gram, words drawn against each", "word2vec", seed=101, config={"sg": True}, **GIVEN),
    "tree": beside("CBOW, ways through a tree alone", "word2vec", seed=103, **GIVEN,
                   config={"ns": False, "hs": True, "undivided": True}),
    "probe": beside("every field away from its default: sums, ways through a tree, too", "word2vec", seed=102,
                    config=families.family("word2vec").PROBE, **GIVEN),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, pair by pair."""
    return composed, not subject.config.undivided


def composed(p: Any, config: Any, batch: Mapping[str, Any], family: str = "word2vec") -> dict[str, Any]:
    """The terms and the loss, under their keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    told = getattr(module(f"{family}_loss"), f"{family}_loss_terms")
    terms = told(p, at_50_digits(to_fields(config)), at_50_digits(inputs))
    return {**{f"forward/loss.{term}": value for term, value in terms.items()}, "forward/loss": sum(terms.values())}
