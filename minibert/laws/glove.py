"""What GloVe cannot be asked."""

from typing import Any

from minibert.laws.word2vec import ATTENTION, LAYERS, SOFTMAX


def silent(config: Any) -> dict[str, str]:
    """The laws of layers and of softmaxes."""
    return {**dict.fromkeys(ATTENTION, "cells of a table of counts: no attention"),
            **dict.fromkeys(LAYERS, "tables, and no layers"),
            **dict.fromkeys(SOFTMAX, "a count is fitted: no classes")}  # fmt: skip
