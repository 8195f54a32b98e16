"""Laws of heads of tasks, over any family: asked of "bert+tag", "roberta+choose" and their like."""

import functools

import numpy as np

from minibert.laws import core
from minibert.laws.core import Answer, Config, Run, Silent, Tensors
from minibert.laws.parts import Parts

IGNORED = -100
law = functools.partial(core.law, laws=core.TASKS)


def _task(view: Parts) -> tuple[str, str]:
    """(the task, what its head reads), of the one that there is."""
    task, *others = view.module.tasks
    if others:
        raise Silent("there are several tasks")
    return task.name, task.head.READS


@law
def classes_in_another_order(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Classes under other numbers give their own logits and change nothing else. [TASK-CLS-1, TASK-TAG-1]

    Of several labels a row the columns move with them. [TASK-CLS-2]
    """
    name, _ = _task(view)
    paths = [path for path in (f"{name}.weight", f"{name}.classifier.weight") if path in view.p]
    count, labels = len(view.p[paths[0]]) if paths else 0, inputs.get("labels", np.empty(0))
    if count < 2 or labels.dtype.kind not in "iub" or f"{name}.crf.transitions" in view.p:
        raise Silent("no classes stand side by side")
    order = np.roll(np.arange(count), 1)
    if labels.dtype.kind == "b":  # a row's bits, one a class
        moved = np.ascontiguousarray(labels[:, order])
    else:
        moved = np.where(labels < 0, labels, np.argsort(order)[np.maximum(labels, 0)])
    others = {**inputs, "labels": moved}
    own = paths[0].removesuffix(".weight")
    moves = {f"{own}.weight": (0, order), f"{own}.bias": (0, order), **dict.fromkeys(view.modules(own), (-1, order))}
    return core._equivariance(ask, view, inputs, others, moves)


@law
def texts_in_another_order(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Texts of a row in another order, the right one's number with them, have the same loss and gradients. [TASK-CHO-1]

    Of likeness by cosine the two texts exchanged.
    """
    name, reads = _task(view)
    if reads not in ("choice", "pair") or f"{name}.tensor.weight" in view.p:
        raise Silent("rows are of one text, or their texts have each its own place")
    several = [key for key in view.inputs(inputs) if inputs[key].ndim == 3]
    order = np.roll(np.arange(inputs[several[0]].shape[1]), 1)
    others = {**inputs, **{key: np.ascontiguousarray(inputs[key][:, order]) for key in several}}
    if reads == "choice":
        others["labels"] = np.argsort(order)[inputs["labels"]]
    first, second = ask(view.p, inputs), ask(view.p, others)
    whole = {key for key in first if key.startswith("forward/loss") or key.removeprefix("gradients/") in view.p}
    return core._worst(second, {key: first[key] for key in whole})


@law
def what_is_asked_counts_alone(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """The loss is the mean over what is asked: of two parts of it the means, each by how much it is. [TASK-TAG-1]"""
    name, _ = _task(view)
    labels = inputs.get("labels", np.empty(0))
    asked = np.flatnonzero(labels != IGNORED) if labels.dtype.kind in "iu" else np.empty(0)
    said = core.objective.labels(view.module, view.config).get("labels", "()")
    knows = core.signatures.parse(said).ignored is not None
    if not knows or len(asked) < 2 or f"{name}.crf.transitions" in view.p:
        raise Silent("no label says that nothing is asked")
    parts, losses = (asked[::2], asked[1::2]), []
    for part in parts:
        others = np.full_like(labels, IGNORED)
        others.reshape(-1)[part] = labels.reshape(-1)[part]
        losses.append(ask(view.p, {**inputs, "labels": others}))
    key, whole = f"forward/loss.{name}", ask(view.p, inputs)
    if any(key not in answer for answer in (*losses, whole)):
        raise Silent("the implementation does not give the loss")
    mean = sum(len(part) * np.float64(answer[key]) for part, answer in zip(parts, losses, strict=True)) / len(asked)
    return core._worst({key: whole[key]}, {key: np.asarray(mean)})
