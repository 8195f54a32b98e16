"""Mistakes of whole-word masking."""

from minibert.corruption import rules
from minibert.mistakes.catalogue import entry

entry(
    "D06", "whole-word masking only knows '##'", "family's own word boundary",
    "HF#11768, #12998", "data", "WWM-SEG-1", families=("roberta", "bert_wwm"),
    rule={"whole-word": lambda *given: rules.bert(*given)},
)  # fmt: skip
