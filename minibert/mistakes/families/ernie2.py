"""Mistakes of ERNIE 2.0: the heads of its tasks and their labels."""

from collections.abc import Callable

import numpy as np

from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.ops.losses import counted, having
from minibert.mistakes.swap import Replacement, Site


def labelled(task: str, what: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """Labels of a task, where one asks something, by another rule."""
    name = f"{task}_labels"
    return having(name, batch(what, lambda b, _: {name: np.where(b[name] == -100, -100, edit(b[name]))}))


def _over_all(subject: Subject, site: Site) -> Replacement:
    """A mean over all tokens of the batch, padding and special ones too."""
    return counted(lambda labels, *_: {"denominator": float(labels.size)})


def _all_asked(task: str) -> Callable:
    """A task's labels at every token, 0 where nothing is asked."""
    name = f"{task}_labels"
    return having(name, batch(f"{task} asked of every token", lambda b, _: {name: np.maximum(b[name], 0)}))


def own(maker: Callable) -> Callable:
    return only("ernie2", maker)


entry(
    "ernie2-01", "orders numbered otherwise", "fewer segments first, then as in a dictionary; or declared",
    "own knowledge: the paper gives the number of classes alone", "loss", "ERN2-ORDER-1", families=("ernie2",),
    variant=True,
    mutants=[own(labelled("reordering", "classes from the last to the first", lambda y: y.max() - y))],
)  # fmt: skip
entry(
    "ernie2-02", "classes of distance or relevance turned", "0 = neighbours, 2 = two documents; 0 = strong, 2 = none",
    "own knowledge", "loss", "ERN2-TASK-2", families=("ernie2",),
    mutants=[
        own(labelled("distance", "2 = neighbours, 0 = two documents", lambda y: 2 - y)),
        own(labelled("relevance", "2 = strong, 0 = none", lambda y: 2 - y)),
    ],
)  # fmt: skip
entry(
    "ernie2-03", "tags asked at special tokens and padding, or averaged over them", "the mean over the text's tokens",
    "own knowledge", "loss", "ERN2-TASK-1", families=("ernie2",),
    mutants=[
        own(_all_asked("capitalised")),
        own(_all_asked("elsewhere")),
        own(swap("the mean over all tokens", "cross_entropy", _over_all, r"(capitalised|elsewhere)\.loss")),
    ],
)  # fmt: skip
entry(
    "ernie2-04", "capitals read behind the lower-casing", "from the text as it was written",
    "own knowledge", "loss", "ERN2-DATA-1", families=("ernie2",),
    mutants=[own(labelled("capitalised", "no word has a capital", lambda y: 0 * y))],
)  # fmt: skip
entry(
    "ernie2-05", "m! classes of orders", "Σ n! for n = 1 … m: 9 for 3, 33 for 4",
    "own knowledge", "loading", "ERN2-ORDER-1", families=("ernie2",),
    reason="a head of another size does not load: its shape is named",
)  # fmt: skip
