"""ChineseBERT's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import SIZES, beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SMALL = {**SIZES, "pinyin_letters": 7, "pinyin_length": 4, "pinyin_width": 4, "glyph_fonts": 2, "glyph_size": 2}
PROBE = families.family("chinesebert").PROBE
CASES = {
    "published": published("pinyin and glyphs fused with words, segments as in the release", "chinesebert", seed=99,
                           low=None, config=SMALL),
    "probe": beside("no pinyin, every other field away from its default, dropout masks drawn", "chinesebert",
                    seed=100, dropout=True, low=None,
                    config={**PROBE, "use_pinyin": False, "initializer_range": 0.4,
                            "tie_word_embeddings": False}),
    "pinyin": beside("no segments, as in the paper, and no glyphs", "chinesebert", seed=101, low=None,
                     config={**SMALL, "use_segments": False, "use_glyphs": False}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, False)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("chinesebert_loss").chinesebert_loss(*given)}
