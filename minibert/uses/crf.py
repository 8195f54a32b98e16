"""Tags of words by a chain of their first pieces; rows and measures are those of tags."""

from typing import Any

import numpy as np

from minibert.heads import crf
from minibert.tasks import Task
from minibert.uses import Piece, Row, tagging

Array = np.ndarray

settings, pieces, target = tagging.settings, tagging.pieces, tagging.target
measures, constant = tagging.measures, tagging.constant


def decided(p: Any, piece: Piece, found: dict[str, Array]) -> dict[str, Array]:
    """chain: the tags of the highest score, -1 where a token is no word's first piece."""
    z = found["logits"]
    words = np.isin(np.arange(len(z)), [*piece.about["words"].values()])
    return {"chain": crf.decode(z[None], p, words[None])[0]}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """tags: one for each word; of a word without a piece the one before it, else the first there is."""
    return tagging.spread(task, row, pieces, [one["chain"] for one in found])
