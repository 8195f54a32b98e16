"""Histories of items: masked and asked for as `heads.recommendation` says; what comes next is said.

Items are the vocabulary: the most frequent has the id 1, behind 0 for padding; a model's own vocabulary goes. Windows
are as long as rows may be, from the end of a history, with half of one between them. What is masked depends on the
history alone.
"""

import zlib
from collections import Counter
from typing import Any

import numpy as np

import minibert
from minibert import tree
from minibert.config import require
from minibert.heads import recommendation as head
from minibert.tasks import Task
from minibert.tokenizers.encoding import Encoding
from minibert.tokenizers.wordpiece import WordPiece
from minibert.uses import Piece, Row

Array = np.ndarray
PASSES = 10  # maskings of a window; the release's dupe_factor
BEST = 10  # items that are said
SPECIALS = ("[UNK]", "[CLS]", "[SEP]", "[MASK]")


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """Nothing; but there have to be two items."""
    items = {item for row in rows for item in row["items"]}
    require(len(items) > 1, "the rows have one item: there is nothing to choose from")
    return {}


def begun(loaded: Any, task: Task, rows: list[Row], seed: int) -> tuple[Any, set[str]]:
    """(a model of the sizes of the one that is loaded, over the items of these rows, the paths that it took over):
    with its weights where a pre-trained network is asked for, but for what is as large as the vocabulary.
    """
    counts = Counter(item for row in rows for item in row["items"])
    taken = next((item for item in counts if item in ("[PAD]", *SPECIALS)), None)
    require(taken is None, f"an item is called {taken!r}, which stands for something else here: give it another name")
    tokenizer = WordPiece(["[PAD]", *sorted(counts, key=lambda item: (-counts[item], item)), *SPECIALS],
                          lowercase=False)  # fmt: skip
    own = {"vocab_size": len(tokenizer), "pad_token_id": 0}
    fields = {**minibert.config.to_fields(loaded.config), **own}
    given = {"seed": seed, "dtype": tree.leaves(loaded.params)[0].dtype}
    model = minibert.create(loaded.family, tasks={task.name: {"by": task.settings.by}}, **given, **fields)
    model.tokenizer = tokenizer
    if task.settings.by == "cloze":
        return model, set()
    held, sized = tree.flatten(loaded.params), ("embeddings.word.", "decoder.")
    kept = {path for path, array in tree.items(model.params) if path in held and held[path].shape == array.shape
            and not any(part in path for part in sized)}  # fmt: skip
    model.params = tree.unflatten({path: np.array(held[path]) if path in kept else array
                                   for path, array in tree.items(model.params)})  # fmt: skip
    return model, kept


def chosen(task: Task) -> dict[str, Any]:
    """What a task's settings say of `pieces` and `asked`."""
    return {"rate": head.RATES[task.settings.by], "hidden": task.settings.by == "hidden"}


def pieces(tokenizer: Any, row: Row, most: int, *, rate: float, hidden: bool = False) -> list[Piece]:
    """Every window of the history, masked PASSES times, and once at its last item alone. about: places and ids of what
    is asked, and whether it leaves the attention mask; then a [SEP] that does not stands behind.
    """
    ids, most = _ids(tokenizer, row), most - hidden
    rng = np.random.default_rng(zlib.crc32("\n".join(row["items"]).encode()))
    step, found = max(1, most // 2), []
    starts = [0, *range(len(ids) - most, 0, -step)] if len(ids) > most else [0]
    for start in sorted({*starts}):
        window = np.array(ids[start : start + most])
        count = max(1, round(rate * len(window)))
        drawn = [np.sort(rng.permutation(len(window))[:count]) for _ in range(PASSES)]
        for places in (*drawn, np.array([len(window) - 1])):
            masked = window.copy()
            masked[places] = tokenizer.mask_id
            about = {"places": places, "ids": window[places], "slots": max(1, round(rate * most)), "hidden": hidden}
            found.append(Piece([_encoding(tokenizer, [*masked.tolist(), *[tokenizer.sep_id] * hidden])], about))
    return found


def asked(tokenizer: Any, row: Row, most: int, *, rate: float, hidden: bool = False) -> list[Piece]:
    """The end of the history with a mask behind it."""
    ids = [*_ids(tokenizer, row)[1 + hidden - most :], tokenizer.mask_id]
    about = {"places": np.array([len(ids) - 1]), "hidden": hidden}
    return [Piece([_encoding(tokenizer, [*ids, *[tokenizer.sep_id] * hidden])], about)]


def _ids(tokenizer: Any, row: Row) -> list[int]:
    new = next((item for item in row["items"] if item not in tokenizer.index), None)
    require(new is None, f"items: {new!r} is none of the {len(tokenizer) - 5:,} items of the training rows")
    return [tokenizer.index[item] for item in row["items"]]


def _encoding(tokenizer: Any, ids: list[int]) -> Encoding:
    count = len(ids)
    return Encoding(ids, [tokenizer.tokens[i] for i in ids], [0] * count, [1] * count, [(0, 0)] * count)


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The masked items, with slots for as many as a row may have."""
    places, spare = piece.about["places"], piece.about["slots"] - len(piece.about["places"])
    spread = {"positions": places, "ids": piece.about["ids"], "weights": np.ones(len(places), np.float32)}
    return {f"masked_lm_{name}": np.pad(array, (0, spare)) for name, array in spread.items()}


def inputs(pieces: list[Piece], arrays: dict[str, Array]) -> dict[str, Array]:
    """The attention mask without what is hidden, where that is asked for."""
    mask = arrays["attention_mask"].copy()
    for row, piece in zip(mask, pieces, strict=True):
        row[piece.about["places"] if piece.about["hidden"] else []] = 0
    return {"attention_mask": mask}


def shown(row: Row) -> Row:
    """What is shown of a row that is held out: all items but the last."""
    require(len(row["items"]) > 1, "items: one alone: of a history that is held out the last is asked for")
    return {**row, "items": row["items"][:-1]}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Any]]) -> Row:
    """label: the item that is most probable next; score: its probability; scores: of the BEST."""
    scores = found[0]["scores"]
    label = next(iter(scores))
    return {"label": label, "score": scores[label], "scores": scores}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """The share of rows whose last item is among the ten that are said, of all there are, NDCG and the mean of 1 over
    its place, 0 behind them.
    """
    ranks = [[*one["scores"]].index(row["items"][-1]) if row["items"][-1] in one["scores"] else None
             for row, one in zip(rows, said, strict=True)]  # fmt: skip
    held = np.array([rank for rank in ranks if rank is not None], np.float64)
    sums = {"hit_rate": len(held), "ndcg": (1 / np.log2(held + 2)).sum(), "reciprocal_rank": (1 / (held + 1)).sum()}
    return {name: float(total) / len(rows) for name, total in sums.items()}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The ten most frequent items."""
    counts = Counter(item for row in learnt for item in row["items"])
    best = sorted(counts, key=lambda item: (-counts[item], item))[:BEST]
    return [{"label": best[0], "scores": dict.fromkeys(best, 0.0)}] * len(rows)


def found(model: Any, task: Task, batch: dict[str, Array], pieces: list[Piece]) -> list[dict[str, Any]]:
    """{"scores": {item: probability} of the BEST items behind each history}."""
    names, shares = items(model), probabilities(model, batch, pieces)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :BEST]
    return [{"scores": {names[i]: float(row[i]) for i in best}} for row, best in zip(shares, order, strict=True)]


def items(model: Any) -> list[str]:
    """What there is to recommend, the most frequent first."""
    return model.tokenizer.tokens[1 : len(model.tokenizer) - len(SPECIALS)]


def probabilities(model: Any, batch: dict[str, Array], pieces: list[Piece]) -> Array:
    """Of each of the items behind each history, (N, items)."""
    at = np.arange(len(pieces)), np.array([piece.about["places"][-1] for piece in pieces])
    z = minibert.objective.predict(model.module, model.params, model.config, batch, head.TERM, at)
    z = z[:, 1 : 1 + len(items(model))].astype(np.float64)
    shares = np.exp(z - z.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)
