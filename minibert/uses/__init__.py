"""From rows of a task's data to batches, and from a head's predictions to what is said: one file a head, by its name,
or that of its kin.

A row (`rows`) becomes one piece or several, as windows over a long text are; a piece is one row of a batch. Each file
offers the same:

    settings(name, rows)            what training rows decide of the head's settings, as the names of its classes
    pieces(tokenizer, row, most)    the row as `Piece`s of at most so many tokens
    target(task, row, piece)        the labels of a piece, by the names of the head; InputError for one unknown to it
    inputs(pieces, arrays)          optional: inputs that are added to those of the texts, or stand in their place
    said(task, row, pieces, found)  what is said of a row: fields of `predict --json`; found: predictions of each piece,
                                    (T, …) of its own tokens where they have one for each
    measures(task, rows, said)      {measure: number}, the first the one that counts; `metrics`
    constant(task, learnt, rows)    what is said of rows by whoever does not look at them, made of the training rows
    chosen(task)                    optional: what the task's settings say of `pieces` and `asked`, as keywords
    asked(tokenizer, row, most)     optional: the pieces of a row that is answered, where they are others
    shown(row)                      optional: what is shown of a row that is held out, where its label is in its columns
    begun(loaded, task, rows, seed) optional: (the model that is trained, the paths that it took over)
    fitted(model, labels)           optional: the labels of `target` as the family has them
    whole(model, pieces, labels)    optional: the batch, where the family makes all of it, else None
    found(model, task, batch, pieces)       optional: what is found of each piece, where no head of the task predicts it
    FILL                            optional: {label: what stands behind its end}, else IGNORED
    tuned(rows, said)               optional: {setting: value} that suits held-out rows best; said: with the settings
                                    EVERY; judged(task, said) is what is said then
"""

import copy
import functools
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import adapters, batches, families, objective, tasks
from minibert.adapters import pals
from minibert.config import require
from minibert.errors import InputError
from minibert.tasks import SEVERAL, Task
from minibert.tokenizers.encoding import Encoding

Row = dict[str, Any]
IGNORED = -100


class Piece(NamedTuple):
    """One row of a batch: encodings, of one text or of each choice, or the array of what a file has; about: where what
    is in it stands in the row.
    """

    encodings: list[Encoding | np.ndarray]
    about: dict[str, Any]


def of(task: Task) -> ModuleType:
    """The file that makes batches for the task's head: its own, else that of its kin."""
    name = families.named(task.head)
    own = any(file.name == name for file in pkgutil.iter_modules(__path__))
    return import_module(f"{__name__}.{name if own else task.head.KIN}")


def alone(model: Any, name: str) -> Any:
    """The model with the head of one of its tasks alone, the same arrays: of `adapters.pals` its own."""
    if model.tasks == (name,):
        return model
    found = copy.copy(model)
    found.uses = tuple(task for task in model.uses if task.name == name)
    params = {part: held for part, held in model.params.items() if part in adapters.parts()}
    if len(params.get(pals.PART, ())) == len(model.uses):
        params[pals.PART] = [params[pals.PART][model.tasks.index(name)]]
    known = objective.shapes(tasks.network(families.family(model.family), found.uses), model.config)
    found.params = {part: held for part, held in model.params.items() if part in known} | params
    return found


def longest(model: Any, most: int) -> int:
    """How many tokens a piece may have: `most`, or as many as the model takes."""
    room = batches.longest(model.network, model.config)
    return most if room is None else min(most, room)


def batch(model: Any, pieces: list[Piece], labels: list[dict[str, Any]] | None = None) -> dict[str, np.ndarray]:
    """The inputs of these pieces, padded, and their labels: of tokens those behind a piece's end ask nothing."""
    (task,) = model.uses
    use = of(task)
    several = {len(piece.encodings) for piece in pieces}
    made = use.whole(model, pieces, labels) if hasattr(use, "whole") else None
    if made is not None:
        return made
    counts = " and ".join(map(str, sorted(several)))
    require(len(several) == 1, f"rows of {counts} choices: a batch has as many in each")
    flat = [encoding for piece in pieces for encoding in piece.encodings]
    reads = hasattr(model.module, "PERCEIVES")
    inputs = model.module.gathered(flat) if reads else model.module.read(flat, model.tokenizer.pad_id)
    if task.head.READS in SEVERAL:
        inputs = {name: array.reshape(len(pieces), -1, *array.shape[1:]) for name, array in inputs.items()}
    length = next(iter(inputs.values())).shape[-1]
    inputs |= use.inputs(pieces, inputs) if hasattr(use, "inputs") else {}
    labels = [use.fitted(model, one) for one in labels or ()] if hasattr(use, "fitted") else labels
    for name in labels[0] if labels else ():
        held = [one[name] for one in labels]
        if isinstance(held[0], list):  # a label a token, of what is read or of what is written
            written = task.head.READS == "own" or "S" in getattr(task.head, "LABELS", {}).get(name, "")
            most = max(map(len, held)) if written else length
            fill = getattr(use, "FILL", {}).get(name, IGNORED)
            held = [[*tags, *[fill] * (most - len(tags))] for tags in held]
        inputs[name] = np.array(held)
    return inputs


def labelled(model: Any, placed: Iterable[tuple[str, Row]], most: int) -> tuple[list[Piece], list[dict[str, Any]]]:
    """(the pieces of rows, what is asked of each) of (where, row); InputError, which begins with where, for one that
    the model cannot read, or has no such class for.
    """
    (task,) = model.uses
    found, labels, most = [], [], longest(model, most)
    for where, row in placed:
        for piece in cut_up(of(task).pieces, model, task, row, most, where):
            found.append(piece)
            try:
                labels.append(of(task).target(task, row, piece))
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
    return found, labels


def batched(
    model: Any, placed: Iterable[tuple[str, Row]], most: int, together: int
) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Batches of rows and what is asked of them, `together` pieces of like length in each."""
    pieces, labels = labelled(model, placed, most)
    sizes = [(len(piece.encodings), max(map(len, piece.encodings))) for piece in pieces]
    for count in sorted({count for count, _ in sizes}):
        order = sorted((i for i in range(len(pieces)) if sizes[i][0] == count), key=lambda i: sizes[i])
        for start in range(0, len(order), together):
            some = order[start : start + together]
            yield batch(model, [pieces[i] for i in some], [labels[i] for i in some])


def predicted(model: Any, pieces: list[Piece], together: int) -> Iterator[dict[str, np.ndarray]]:
    """What the model predicts of each piece, in order: those of like length go together, `together` at a time."""
    found: list[Any] = [None] * len(pieces)
    sizes = [(len(piece.encodings), max(map(len, piece.encodings))) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda i: sizes[i])
    while order:
        count = sizes[order[0]][0]
        several = [i for i in order[:together] if sizes[i][0] == count]
        order = order[len(several) :]
        for i, one in zip(several, _found(model, [pieces[i] for i in several]), strict=True):
            found[i] = one
    return iter(found)


def _found(model: Any, pieces: list[Piece]) -> list[dict[str, Any]]:
    """What the model predicts of each piece of a batch; of a head that decodes the classes of the words' first tokens,
    too.
    """
    (task,) = model.uses
    if hasattr(of(task), "found"):
        return of(task).found(model, task, batch(model, pieces), pieces)
    out = model.predict(batch(model, pieces))
    if hasattr(task.head, "decode"):
        asked = np.zeros(out["logits"].shape[:2], np.int64)
        for row, piece in zip(asked, pieces, strict=True):
            row[[*piece.about["words"].values()]] = 1
        out["classes"] = task.head.decode(out["logits"], model.params[task.name], asked)
    return [{name: array[n] for name, array in out.items()} for n in range(len(pieces))]


def answered(
    model: Any, task: Task, rows: Iterable[tuple[str, Row]], most: int, together: int = 16
) -> Iterator[Row]:  # fmt: skip
    """What is said of each row of (where, row), `together` rows at a time; InputError, which begins with where, for one
    that the model cannot read.
    """
    reads = model.tokenizer is not None or hasattr(model.module, "PERCEIVES")
    require(reads, "the model's directory has no vocabulary, so it cannot read text")
    use, most = of(task), longest(model, most)
    held: list[Row] = []
    cut: list[list[Piece]] = []

    def said() -> Iterator[Row]:
        found = predicted(model, [piece for pieces in cut for piece in pieces], together)
        for row, pieces in zip(held, cut, strict=True):
            yield use.said(task, row, pieces, [next(found) for _ in pieces])

    for where, row in rows:
        cut.append(cut_up(getattr(use, "asked", use.pieces), model, task, row, most, where))
        held.append(row)
        if len(held) == together:
            yield from said()
            held, cut = [], []
    if held:
        yield from said()


def cut_up(
    pieces: Callable[..., list[Piece]], model: Any, task: Task, row: Row, most: int, where: str
) -> list[Piece]:  # fmt: skip
    """The row's pieces, by `pieces` of the task's use or its `asked`, of a file that it names by the family; an error
    begins with where the row stands.
    """
    chosen = of(task).chosen(task) if hasattr(of(task), "chosen") else {}
    reads = getattr(model.module, "PERCEIVES", None)
    where = f"{where}, column {reads!r}" if reads else where
    try:
        if reads:
            return [Piece([model.module.perceived(row, model.config, model.beside, most)], {})]
        return pieces(model.tokenizer, row, most, **chosen)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@functools.lru_cache(maxsize=4)
def _numbers(names: tuple[str, ...]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def spoken(names: tuple[str, ...], asked: Any, where: str) -> int:
    """The number of a class; InputError for one that the task does not have."""
    known = _numbers(names)
    some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    require(asked in known, f"{where}: {asked!r} is no label of the training rows; there are: {some}")
    return known[asked]
