"""Recommendation: which item comes next in a history? The loss is the family's own masked LM, over items.

Sun et al. 2019, "BERT4Rec", arXiv 1904.06690, section 3: a history is a text whose tokens are items, without marks
around it; a share of them, at least one, is replaced by the mask, always (no 80/10/10), and asked for; each window of a
history also comes with its last item alone masked. A history is gone on with by a mask behind it.

    cloze    the paper's: random weights, a rate of 0.2
    hidden   a pre-trained network over items, a rate of 0.3, and what is masked leaves the attention mask, too
"""

from dataclasses import dataclass
from typing import Any

from minibert.config import among, check

WAYS = ("cloze", "hidden")
RATES = {"cloze": 0.2, "hidden": 0.3}
TASKS: dict[str, dict] = {"recommend": {}}
READS = "own"
TERM = "masked_lm"
COMMAND = "predict"
NEEDS = "it fills no masks, as bert does"


@dataclass(frozen=True)
class Settings:
    """by: one of WAYS."""

    by: str = among("cloze", WAYS)

    def __post_init__(self) -> None:
        check(self)


def fits(module: Any) -> bool:
    """Whether a family has the term, over a table of words alone."""
    config = module.Config()
    return not hasattr(module, "loss") and TERM in module.terms(config) and len(module.lengths(config)) == 1
