"""fastText's golden cases."""

import functools

from minibert import families
from minibert.golden.cases.bert import beside, published
from minibert.golden.cases.word2vec import GIVEN, SGD, composed
from minibert.golden.certify import Double
from minibert.golden.subject import Subject

PROBE = {k: v for k, v in families.family("fasttext").PROBE.items() if not k.startswith(("images", "glyph"))}
CASES = {
    "published": published("CBOW, words drawn", "fasttext", seed=120, steps=(1, 10), optimizer=SGD, **GIVEN),
    "skip-gram": beside("skip-gram, words drawn against each", "fasttext", seed=121, config={"sg": True}, **GIVEN),
    "tree": beside("CBOW, ways through a tree alone", "fasttext", seed=123, **GIVEN,
                   config={"ns": False, "hs": True, "undivided": True}),
    "probe": beside("every field away from its default but for images: sums, ways through a tree, too", "fasttext",
                    seed=122, config=PROBE, **GIVEN),
    "images": beside("every field away from its default: images of characters, too", "fasttext", seed=124,
                     config=families.family("fasttext").PROBE, **GIVEN),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, pair by pair."""
    return functools.partial(composed, family="fasttext"), not subject.config.undivided
