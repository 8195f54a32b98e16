"""A subject: everything that defines one computation, and what it computes under published names.

Truth, noise and mistakes are all `observe(subject)`: the truth of the subject as it is, the noise of the same function
in lower precision, a mistake of an edited subject. Keys of the result, in forward order:

    forward/NAME             output of the published module NAME; loss.masked_lm, loss.next_sentence, loss
    gradients/NAME           d loss / d parameter, or d loss / d that output
    steps/K/NAME             after K updates: loss, learning_rate, gradient_norm (before clipping), parameters,
                             moments as SLOT.NAME
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from minibert import batches, families, objective, optim, trace, tree
from minibert.checkpoint.names import to_published
from minibert.pairs import observing

Tree = Any
Tensors = dict[str, np.ndarray]
Enough = Callable[[Tensors], bool]

# Golden steps start where the learning rate is not 0; at 1e-3 float32 rounding stays small beside what is wrong.
OPTIMIZER = MappingProxyType(
    {
        "name": "bert_adam",
        "learning_rate": 1e-3,
        "schedule": "bert",
        "warmup": 4,
        "total": 40,
        "first_step": 2,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
)


@dataclass(frozen=True)
class Subject:
    """A family's computation on given data.

    params: the tree; batches: one dict of arrays for each step, the first also for forward and gradients.
    around: factories of observers (see `pairs.observing`), made anew for every pass: substitutions, rounding.
    parts: replacements of the optimizer's parts: "learnt" (subject, step, params, batch) -> (loss, grads), "rate"
    (step, …) -> float, "clip" (grads, max_norm) -> (grads, norm), "update" (params, grads, state, lr, decay), "decay"
    (rows, rate) -> {path: rate}, "grads" (grads, step) -> grads.
    """

    family: str
    config: Any
    params: Tree
    batches: list[dict[str, Any]]
    optimizer: Mapping[str, Any] = field(default_factory=lambda: OPTIMIZER)
    around: tuple[Callable[[], Callable], ...] = ()
    parts: Mapping[str, Callable] = field(default_factory=dict)


def made(model: Any, given: Iterable[dict[str, Any]], optimizer: Mapping[str, Any] | None = None) -> Subject:
    """The subject of a model and of batches as files hold them, which are checked."""
    checked = [model.checked(batch) for batch in given]
    return Subject(model.family, model.config, model.params, checked, optimizer or OPTIMIZER)


def cast(subject: Subject, dtype: Any, around: Iterable[Callable] = ()) -> Subject:
    """The same in another precision, through further observers."""
    params = tree.map(lambda a: a.astype(dtype, copy=False), subject.params)
    return replace(subject, params=params, around=(*subject.around, *around))


def observe(subject: Subject, steps: tuple[int, ...] = (1, 2, 10), enough: Enough | None = None) -> Tensors:
    """Every tensor of the subject's forward pass, backward pass and optimizer steps. enough: asked of the tensors of
    the forward pass, of the backward pass and of each of the steps; where it says so, nothing further is computed.
    """
    module = families.family(subject.family)
    table, rows_of = module.activations(subject.config), row_shape(module, subject.config, subject.batches[0])
    with ExitStack() as stack:
        record = entered(stack, subject.around)
        loss, cache = objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)
        events = record.named(cache)
        forward = {**published(table, events, rows_of)[0], **_losses(loss, cache)}
        tensors = {f"forward/{name}": np.asarray(value) for name, value in forward.items()}
        if enough and enough(tensors):
            return tensors
        gradient = objective.loss_backward(cache)
    gradients = published(table, events, rows_of)[1] | to_published(gradient, module.names(subject.config))
    gradients = {f"gradients/{name}": value for name, value in gradients.items()}
    tensors = tensors | gradients
    return tensors if enough and enough(gradients) else tensors | stepped(subject, steps, enough=enough)


def _losses(loss: np.ndarray, cache: Any) -> Tensors:
    return {**{f"loss.{term}": value for term, value in cache["terms"].items()}, "loss": loss}


def entered(stack: ExitStack, around: Iterable[Callable]) -> trace.Record:
    """The record of what is computed in the stack's context, through these observers made anew."""
    for factory in around:
        stack.enter_context(observing(factory()))
    return stack.enter_context(trace.recording())


def row_shape(module: Any, config: Any, batch: Mapping[str, Any]) -> tuple[int, ...]:
    """(B, T), as far as the family has these letters; (B, S) of what it writes, where that has rows of its own."""
    sizes, letter = batches.dims(module, config, batch), "S" if "S" in module.lengths(config) else "T"
    return tuple(sizes[letter] for letter in ("B", letter) if letter in sizes)


def term_paths(terms: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Of each term of the loss, {"loss.TERM": the path, among those in a cache, of the op that gives it}."""
    ends = {f"{term}.loss": term for term in terms}
    return {f"loss.{ends[end]}": path for path in paths if (end := ".".join(path.split(".")[-2:])) in ends}


def published(table: list, events: dict[str, trace.Event], rows: tuple[int, ...]) -> tuple[Tensors, Tensors]:
    """(outputs, cotangents) under published names; what the subject never computes is left out. rows: `row_shape`.
    Rows of the kind "joined" with one name stand side by side in its last axis.
    """
    outputs, cotangents = {}, {}
    for name, path, kind, *_ in table:
        path, _, part = path.partition(":")
        if path not in events:
            continue
        event = events[path]
        value, cotangent = event.part(part) if part else (event.output, event.cotangent)
        for store, array in ((outputs, value), (cotangents, cotangent)):
            if array is not None:
                array = as_published(array, kind, rows)
                before = [store[name]] if kind == "joined" and name in store else []
                store[name] = np.concatenate([*before, array], -1)
    return outputs, cotangents


def as_published(array: np.ndarray, kind: str, rows: tuple[int, ...]) -> np.ndarray:
    """A call's output or cotangent in its published shape; kind: of its row in the family's `activations`."""
    shared = kind == "shared" and array.ndim == len(rows)  # by all rows; each may have been given its own
    shape = (1, *array.shape) if shared else array.shape
    if kind == "rows":  # of a decoder there are as many as it writes
        shape = (rows[0], -1, shape[-1]) if len(rows) > 1 else (*rows, -1)
    return array.reshape(shape)


@dataclass(frozen=True)
class _Stand:
    """What loss and gradient a subject has at these parameters."""

    subject: Subject
    batch: dict[str, Any]
    params: Tree
    loss: np.ndarray
    gradient: Tree


class Walk:
    """A run of optimizer steps, for others of the same network that come by the same parameters: of each step the loss
    and the gradient in the first run that came to it.
    """

    def __init__(self) -> None:
        self.stands: dict[int, _Stand] = {}

    def learnt(self, subject: Subject, step: int, params: Tree, batch: dict[str, Any]) -> tuple[np.ndarray, Tree]:
        """The loss and the gradient, which may be written to."""
        stand = self.stands.get(step)
        if stand is None:
            loss, gradient = observed_step(subject, step, params, batch)
            self.stands[step] = _Stand(subject, batch, *(tree.map(np.copy, part) for part in (params, loss, gradient)))
            return loss, gradient
        if stand.batch is batch and _alike(stand.subject, subject) and _equal(stand.params, params):
            return stand.loss, tree.map(np.copy, stand.gradient)
        return observed_step(subject, step, params, batch)


def _alike(one: Subject, other: Subject) -> bool:
    return one.family == other.family and one.config is other.config and one.around is other.around


def _equal(one: Tree, other: Tree) -> bool:
    pairs = zip(tree.leaves(one), tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def observed_step(subject: Subject, step: int, params: Tree, batch: dict[str, Any]) -> tuple[np.ndarray, Tree]:
    """(loss, gradient) of a batch at these parameters, through the subject's observers."""
    with ExitStack() as stack:
        for factory in subject.around:
            stack.enter_context(observing(factory()))
        loss, cache = objective.loss(families.family(subject.family), params, subject.config, batch, dense=True)
        return loss, objective.loss_backward(cache)


def stepped(
    subject: Subject, steps: tuple[int, ...], walk: Walk | None = None, enough: Enough | None = None
) -> Tensors:
    """The state after each of `steps` updates; parameters of the subject are not written to. walk: what other runs came
    by. enough: see `observe`.
    """
    if not steps:
        return {}
    module, learnt = families.family(subject.family), walk.learnt if walk else observed_step
    rows, plan, parts = module.names(subject.config), subject.optimizer, subject.parts
    learnt = parts.get("learnt", learnt)
    new_state, update = optim.OPTIMIZERS[plan["name"]]
    update, clip = parts.get("update", update), parts.get("clip", optim.clip)
    rate = parts.get("rate", optim.SCHEDULES[plan["schedule"]])
    decay = partial(optim.DECAY_RATES[plan["name"]], undecayed=families.undecayed(module, subject.config))
    decay = parts.get("decay", decay)(rows, plan["weight_decay"])
    params = tree.map(np.copy, subject.params)
    state = new_state(params)
    tensors: Tensors = {}
    for k in range(1, max(steps) + 1):
        loss, grads = learnt(subject, k, params, subject.batches[(k - 1) % len(subject.batches)])
        grads = parts.get("grads", lambda g, step: g)(grads, k)
        grads, norm = clip(grads, plan["clip_norm"])
        lr = rate(plan["first_step"] + k - 1, peak=plan["learning_rate"], warmup=plan["warmup"], total=plan["total"])
        step = update if lr >= 0 else inspect.unwrap(update)  # the optimizers refuse such a rate; a mistake has it
        step(params, grads, state, lr=lr, decay=decay)
        if k in steps:
            found = {"loss": loss, "learning_rate": lr, "gradient_norm": norm, **to_published(params, rows)}
            for slot in (name for name in state if name != "step"):
                moments = to_published(state[slot], rows)
                found |= {f"{slot}.{name}": value for name, value in moments.items()}
            state_of = {f"steps/{k}/{name}": np.array(value) for name, value in found.items()}
            tensors |= state_of
            if enough and enough(state_of):
                break
    return tensors
