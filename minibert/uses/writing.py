"""One text out of another: the source is read, the target written (`heads.writing`)."""

import zlib
from collections import Counter
from typing import Any

import numpy as np

from minibert import batches, generation, metrics, uses
from minibert.corruption.masking import Vocabulary
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray
FILL = {"labels": uses.IGNORED, "decoder_attention_mask": 0}
PASSES = 4  # maskings of a pair, where a family fills masks
LONGEST = 64  # tokens that are written, unless the model's directory says how many


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """Nothing."""
    return {}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The source, cut. about: the encoded target, cut, where the row has one."""
    target = tokenizer.encode(row["target"], max_length=most).ids if "target" in row else []
    return [Piece([tokenizer.encode(row["source"], max_length=most)], {"target": target})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The tokens of the target."""
    return {"labels": piece.about["target"], "decoder_attention_mask": [1] * len(piece.about["target"])}


def fitted(model: Any, labels: dict[str, Any]) -> dict[str, Any]:
    """The labels as the family's decoder writes them: without a token that its rows begin with where it writes none."""
    first = 1 if getattr(model.module, "BARE_TARGETS", False) else 0
    return {name: held[first:] for name, held in labels.items()}


def whole(model: Any, pieces: list[Piece], labels: list[dict[str, Any]] | None) -> dict[str, Array] | None:
    """Of a family that fills masks: PASSES maskings of each source with its target, which depend on these alone; of
    sources alone their ids, padded on the left.
    """
    if not hasattr(model.module, "filled"):
        return None
    sources = [piece.encodings[0].ids for piece in pieces]
    if labels:
        targets = [piece.about["target"] for piece in pieces]
        rng = np.random.default_rng(zlib.crc32(repr((sources, targets)).encode()))
        room = batches.longest(model.module, model.config)
        return model.module.filled(sources * PASSES, targets * PASSES, rng, Vocabulary.of(model.tokenizer), room)
    width = max(map(len, sources))
    mask = np.arange(width) >= width - np.array([[len(ids)] for ids in sources])
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(sources)
    return {generation.PROMPT: ids, generation.MASK: mask.astype(np.int64)}


def found(model: Any, task: Task, batch: dict[str, Array], pieces: list[Piece]) -> list[dict[str, Any]]:
    """The text that is written for each source, and its score."""
    stated = generation.stated(model.generation, model.config)
    *_, (_, room) = model.module.lengths(model.config).values()
    said = any(stated.get(name) for name in ("max_length", "max_new_tokens"))
    room = room - batch[generation.PROMPT].shape[1] if room and hasattr(model.module, "filled") else room
    most = {} if said else {"max_new_tokens": min(LONGEST, room or LONGEST)}
    written = model.written(batch[generation.PROMPT], batch[generation.MASK], **most)
    begin = written.ids.shape[1] - int(written.lengths.max())
    rows = zip(written.ids, written.lengths, written.scores, strict=True)
    cut = ((ids[begin : begin + int(length)].tolist(), float(score)) for ids, length, score in rows)
    known = len(model.tokenizer)
    return [{"text": model.tokenizer.decode([i for i in ids if i < known]), "score": score} for ids, score in cut]


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Any]]) -> Row:
    """text: what is written; score: its log-probability, as `generate` has it."""
    return found[0]


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """Of summaries ROUGE-L, -1 and -2, of translations BLEU and ROUGE-L."""
    right, guess = [row["target"] for row in rows], [one["text"] for one in said]
    names = ("bleu", "rouge_l") if task.name == "translate" else ("rouge_l", "rouge_1", "rouge_2")
    return {name: getattr(metrics, name)(right, guess) for name in names}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent target."""
    counts = Counter(row["target"] for row in learnt)
    return [{"text": min(counts, key=lambda text: (-counts[text], text))}] * len(rows)

