"""Laws of a training loop of your own, in any framework: what goes wrong silently, asked in steps of a tiny batch.

    def start(**changes): ...              # a loop at its beginning, the same each time; see below
    for finding in loops.check(start, batch, facts):
        print(finding.text)

`start()` gives an object whose `step(batches)` makes one update from a list of micro-batches and returns a dict:

    "gradients"       {name: array} as the optimizer takes them, after accumulation and clipping
    "learning_rate"   the rate of this update
    "loss"            as the loop reports it for these batches

and that has `parameters()` -> {name: array}, what is trained, tied tensors under each of their names; and
`loss(batch)`, the loss as its evaluation reports it. `changes` are what a law needs otherwise than usual:
parameters={name: array} (a fresh optimizer over these), dropout=0.0, clip_norm=None or a number. A change that `start`
does not take, and whatever a loop does not have or a record lacks, leave the laws silent that need it.

batch: {name: array} with rows first, at least 2, and better with unequal counts of targets by row. facts, what the loop
is to do: the fields of a golden case's optimizer, {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01,
"schedule": "linear", "warmup": 2, "total": 10, "beta1": …, "eps": …}, of which weight_decay is that of all but biases
and norms (BERT's rule), unless "undecayed": [names] says whom it spares; "first_step", the argument of the schedule at
the first update (0); "dropout", its rate; "tied": [[name, name], …].

What is wrong is named where one of the mistakes that are often made explains it. An error is max|a - b| / max|b|, over
all tensors; its bar 1e-9 in float64, 2e-3 where anything is narrower (an update of Adam's is as rough as its gradient).
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from minibert import optim
from minibert.config import nearest, require, shown
from minibert.laws.core import Finding, Silent

Tensors = dict[str, np.ndarray]
Batch = Mapping[str, Any]
Explanations = Iterator[tuple[str, Tensors]]
LAWS: dict[str, Callable] = {}
STEPS = 3


# ---- How they are asked ----------------------------------------------------------------------------------------------
def check(start: Callable, batch: Batch, facts: Mapping[str, Any]) -> list[Finding]:
    """Every law's finding. InputError for a batch without two rows, or facts of an unknown optimizer or schedule."""
    asked = Asked(start, batch, facts)
    return [finding(name, asked) for name in LAWS]


def finding(name: str, asked: "Asked") -> Finding:
    """That of one law."""
    try:
        error, what = LAWS[name](asked)
    except Silent as reason:
        return Finding(name, None, math.nan, math.nan, f"{name}: not asked: {reason}")
    holds = error <= asked.bar
    said = f"{name}: error {error:.1e}, bar {asked.bar:.0e}: "
    return Finding(name, holds, error, asked.bar, said + ("holds" if holds else what))


def law(f: Callable[["Asked"], tuple[float, str]]) -> Callable:
    """Declares a law: of what is asked, (error, what is wrong)."""
    LAWS[f.__name__] = f
    return f


class Asked:
    """A loop to be asked: its beginnings, a batch in two unequal parts, and what it is to do."""

    def __init__(self, start: Callable, batch: Batch, facts: Mapping[str, Any]):
        rows = {len(value) for value in batch.values() if np.ndim(value)} if isinstance(batch, Mapping) else set()
        require(rows and min(rows) >= 2 and len(rows) == 1, "batch: a dict of arrays with the same two or more rows")
        self.start, self.whole, self.facts, self.bar = start, dict(batch), dict(facts), 1e-9
        middle = max(1, min(rows) // 3)
        self.parts = [{name: value[rows] if np.ndim(value) else value for name, value in batch.items()}
                      for rows in (slice(middle), slice(middle, None))]  # fmt: skip
        for field, known in (("name", optim.OPTIMIZERS), ("schedule", optim.SCHEDULES)):
            given = self.facts.get(field)
            fits = given is None or given in known
            require(fits, f"facts: no {field} {shown(given)}{nearest(given, known)}; there are: {', '.join(known)}")

    def loop(self, **changes: Any) -> Any:
        """A fresh loop."""
        try:
            inspect.signature(self.start).bind(**changes)
        except TypeError:
            raise Silent(f"start takes no {', '.join(changes)}") from None
        return self.start(**changes)

    def fact(self, name: str) -> Any:
        if self.facts.get(name) is None:
            raise Silent(f"facts have no {name}")
        return self.facts[name]

    def parameters(self, loop: Any) -> Tensors:
        return self._tensors(self._method(loop, "parameters")(), "parameters()")

    def record(self, loop: Any, *batches: Batch) -> dict[str, Any]:
        found = self._method(loop, "step")([dict(batch) for batch in batches])
        require(isinstance(found, Mapping), f"step(batches) returned {shown(found)}, not a dict")
        return dict(found)

    def gradients(self, loop: Any, *batches: Batch) -> Tensors:
        """Those of one step of the loop."""
        found = self.record(loop, *batches).get("gradients")
        if found is None:
            raise Silent("step gives no gradients")
        return self._tensors(found, "the gradients")

    def loss(self, loop: Any, batch: Batch) -> float:
        return float(self._method(loop, "loss")(dict(batch)))

    def _method(self, loop: Any, name: str) -> Callable:
        if not callable(getattr(loop, name, None)):
            raise Silent(f"the loop has no {name}")
        return getattr(loop, name)

    def _tensors(self, found: Any, what: str) -> Tensors:
        fits = isinstance(found, Mapping) and len(found)
        require(fits, f"{what}: {shown(found)}, expected arrays by name")
        arrays = {name: np.array(value) for name, value in found.items() if value is not None}
        require(all(a.dtype.kind == "f" for a in arrays.values()), f"{what}: arrays of real numbers are expected")
        if any(a.dtype.itemsize < 8 for a in arrays.values()):
            self.bar = 2e-3
        return {name: a.astype(np.float64) for name, a in arrays.items()}


def difference(got: Tensors, due: Tensors) -> float:
    """max|got - due| / max|due| over all tensors; infinite where names differ."""
    if got.keys() != due.keys():
        return math.inf
    scale = max((np.abs(a).max(initial=0.0) for a in due.values()), default=0.0) or 1.0
    return float(max(np.abs(got[name] - due[name]).max(initial=0.0) for name in due) / scale)


def judged(asked: Asked, got: Tensors, due: Tensors, explanations: Explanations, otherwise: str) -> tuple[float, str]:
    """(error, the first explanation that gives what was got)."""
    error = difference(got, due)
    if error <= asked.bar:
        return error, ""
    return error, next((what for what, made in explanations if difference(got, made) <= asked.bar), otherwise)


def combined(*weighted: tuple[float, Tensors]) -> Tensors:
    """Σ weight · tensors, over the names that the first has."""
    return {name: sum(weight * tensors.get(name, 0.0) for weight, tensors in weighted) for name in weighted[0][1]}


def norm(gradients: Tensors) -> float:
    return math.sqrt(sum(float(np.square(g).sum()) for g in gradients.values()))


def clipped(gradients: Tensors, most: float) -> Tensors:
    return combined((min(1.0, most / (norm(gradients) or 1.0)), gradients))


# ---- Gradients -------------------------------------------------------------------------------------------------------
@law
def parts_make_the_whole(asked: Asked) -> tuple[float, str]:
    """A batch in micro-batches has the gradient of the batch."""
    plain = {"dropout": 0.0, "clip_norm": None}
    due = asked.gradients(asked.loop(**plain), asked.whole)
    got = asked.gradients(asked.loop(**plain), *asked.parts)

    def explanations() -> Explanations:
        first, rest = (asked.gradients(asked.loop(**plain), part) for part in asked.parts)
        summed = combined((1, first), (1, rest))
        yield "the gradients of micro-batches are summed: divide each loss by the targets of all", summed
        yield "a mean of means: micro-batches with unequal targets count the same", combined((0.5, first), (0.5, rest))
        share = _share(due, first, rest)
        for weight, part, which in ((1 - share, rest, "last"), (share, first, "first")):
            what = f"only the {which} micro-batch counts: gradients are set to 0, or dropped, between them"
            yield what, part
            yield what, combined((weight, part))
        yield "the loss is divided by the number of micro-batches twice", combined((0.5, due))
        yield "the mean of means, divided once more", combined((0.25, first), (0.25, rest))

    return judged(asked, got, due, explanations(), "micro-batches have another gradient than their batch")


@law
def gradients_are_clipped_together(asked: Asked) -> tuple[float, str]:
    """All gradients are scaled by one factor to the norm where theirs is larger, after accumulation."""
    raw = asked.gradients(asked.loop(dropout=0.0, clip_norm=None), *asked.parts)
    most = min(norm(raw), max(np.abs(g).max(initial=0.0) for g in raw.values())) / 2  # below some entry, too
    if not most:
        raise Silent("the gradient is 0")
    got = asked.gradients(asked.loop(dropout=0.0, clip_norm=most), *asked.parts)
    due = clipped(raw, most)

    def explanations() -> Explanations:
        yield "gradients are not clipped, or only after the update (or handed out before it: give them after)", raw
        yield "each tensor is clipped by itself", {name: clipped({name: g}, most)[name] for name, g in raw.items()}
        yield "each entry is clipped, not the norm", {name: np.clip(g, -most, most) for name, g in raw.items()}
        first, rest = (asked.gradients(asked.loop(dropout=0.0, clip_norm=None), part) for part in asked.parts)
        share = _share(raw, first, rest)
        for inner in (share, 0.5, 1.0):  # what each is divided by before it is clipped, and after
            other = 1.0 if inner == 1 else 1 - inner
            parts = clipped(combined((inner, first)), most), clipped(combined((other, rest)), most)
            for outer in ((1.0, 1.0), (share, 1 - share), (0.5, 0.5)):
                early = combined((outer[0], parts[0]), (outer[1], parts[1]))
                yield "micro-batches are clipped, not their sum", early
                yield "micro-batches are clipped before they are summed, then their sum", clipped(early, most)
        after = combined((1.0, clipped(combined((share, first)), most)), (1 - share, rest))
        yield "what is accumulated is clipped after each micro-batch", clipped(after, most)
        squared = sum(norm({name: g}) for name, g in raw.items())
        yield "the norms of tensors are added, not their squares", combined((most / squared, raw))

    error, what = judged(asked, got, due, explanations(), "gradients beyond the norm aren't scaled down to it together")
    if error > asked.bar:
        return error, what
    small = asked.gradients(asked.loop(dropout=0.0, clip_norm=2 * norm(raw)), *asked.parts)
    return difference(small, raw), "gradients within the norm are scaled, too"


def _share(whole: Tensors, first: Tensors, rest: Tensors) -> float:
    """What part of the mean the first is, by least squares."""
    across = combined((1, first), (-1, rest))
    over = sum(float(np.square(a).sum()) for a in across.values()) or 1.0
    along = combined((1, whole), (-1, rest))
    return sum(float((along[name] * across[name]).sum()) for name in across) / over


@law
def each_step_has_its_own_gradient(asked: Asked) -> tuple[float, str]:
    """The second step's gradient is that of its batch at the parameters after the first."""
    plain = {"dropout": 0.0, "clip_norm": None}
    loop = asked.loop(**plain)
    before = asked.gradients(loop, asked.parts[0])
    now = asked.parameters(loop)
    got = asked.gradients(loop, asked.parts[1])
    due = asked.gradients(asked.loop(parameters=now, **plain), asked.parts[1])

    def explanations() -> Explanations:
        yield "the gradient of the step before is added: gradients are not set to 0", combined((1, due), (1, before))
        yield "the gradient is that of the parameters before the last update (a stale copy)", asked.gradients(
            asked.loop(**plain), asked.parts[1])  # fmt: skip
        yield "the gradient is that of the batch before", asked.gradients(
            asked.loop(parameters=now, **plain), asked.parts[0])  # fmt: skip
        yield "the gradient is the last step's own, used again", before

    return judged(asked, got, due, explanations(), "another gradient than that of this batch at these parameters")


@law
def everything_is_trained(asked: Asked) -> tuple[float, str]:
    """Every parameter has a gradient, and moves."""
    loop = asked.loop()
    before = asked.parameters(loop)
    seen: set[str] = set()
    for _ in range(STEPS):
        record = asked.record(loop, asked.whole)
        seen |= {name for name, g in record.get("gradients", dict.fromkeys(before, 1)).items() if g is not None}
    after = asked.parameters(loop)
    lacking = sorted(before.keys() - seen - {name for group in asked.facts.get("tied", ()) for name in group})
    still = sorted(name for name in before if np.array_equal(before[name], after.get(name)))
    if lacking:
        return math.inf, f"no gradient of {lacking[0]}: frozen, detached, or not handed out"
    if still:
        return math.inf, f"{still[0]} stays as it is: frozen, detached, or not given to the optimizer"
    return 0.0, ""


# ---- Updates ---------------------------------------------------------------------------------------------------------
@law
def the_rate_is_the_schedule_s(asked: Asked) -> tuple[float, str]:
    """Each update's rate is that of the schedule at that update."""
    first = asked.facts.get("first_step", 0)
    loop = asked.loop()
    rates = [asked.record(loop, *asked.parts).get("learning_rate") for _ in range(STEPS + 1)]
    if None in rates:
        raise Silent("step gives no learning_rate")
    due = [_rate(asked, first + k) for k in range(len(rates))]
    if len({*rates, *due}) == 1:
        raise Silent("the rate is the same at all of the first updates: give a schedule that moves within four")

    def explanations() -> Explanations:
        for by, what in ((1, "one step ahead: the schedule advances before the update"), (-1, "one step behind")):
            yield what, _row(_rate(asked, max(0, first + k + by)) for k in range(len(rates)))
        twice = "the schedule advances with every micro-batch"
        yield twice, _row(_rate(asked, first + len(asked.parts) * k) for k in range(len(rates)))
        yield twice, _row(_rate(asked, first + len(asked.parts) * (k + 1) - 1) for k in range(len(rates)))
        yield "the schedule never advances", _row([rates[0]] * len(rates))
        yield "the rate is the peak throughout: no schedule", _row([asked.fact("learning_rate")] * len(rates))

    return judged(asked, _row(rates), _row(due), explanations(), f"rates {shown(rates)}, due {shown(due)}")


def _row(rates: Iterable[float]) -> Tensors:
    return {"rates": np.array(list(rates), np.float64)}


def _rate(asked: Asked, step: int) -> float:
    schedule = optim.SCHEDULES[asked.fact("schedule")]
    return schedule(step, peak=asked.fact("learning_rate"), warmup=asked.fact("warmup"), total=asked.fact("total"))


@law
def the_update_is_the_optimizer_s(asked: Asked) -> tuple[float, str]:
    """Parameters move as the optimizer says, by the gradients and the rate that were handed out."""
    name, loop = asked.fact("name"), asked.loop(dropout=0.0)
    seen, gradients, rates = [asked.parameters(loop)], [], []
    for _ in range(STEPS):
        record = asked.record(loop, asked.whole)
        if record.get("gradients") is None or record.get("learning_rate") is None:
            raise Silent("step gives no gradients, or no learning_rate")
        gradients.append(asked._tensors(record["gradients"], "the gradients"))
        rates.append(float(record["learning_rate"]))
        seen.append(asked.parameters(loop))
    # a tied tensor is updated once, under the name by which its gradient is handed out
    seen = [{key: p[key] for key in gradients[0] if key in p} for p in seen]
    walked = functools.partial(_walked, asked, seen, gradients)
    moved = [combined((1, after), (-1, before)) for before, after in itertools.pairwise(seen)]

    def steps(due: list[Tensors]) -> Tensors:
        return {f"{k} {key}": a for k, each in enumerate(due) for key, a in each.items()}

    def explanations() -> Explanations:
        rate = asked.facts.get("weight_decay", 0.0)
        spared = _decay(asked, seen[0])
        if rate:
            yield "biases and norms decay, too", steps(walked(name, rates, dict.fromkeys(spared, rate)))
            yield "nothing decays", steps(walked(name, rates, dict.fromkeys(spared, 0.0)))
            inverted = {key: rate - value for key, value in spared.items()}
            yield "what is to be spared decays, and the rest does not", steps(walked(name, rates, inverted))
            l2 = steps(walked(name, rates, spared, l2=True))
            yield "decay is L2 in the gradient, not decoupled (Adam for AdamW)", l2
            for factor in (0.1, 10.0):
                other = {key: factor * value for key, value in spared.items()}
                yield f"the decay is {factor * rate:g}, where {rate:g} is due", steps(walked(name, rates, other))
        for group in asked.facts.get("tied", ()):
            twice = [key for key in group if key in seen[0]]
            yield "a tied tensor is updated twice", steps(walked(name, rates, spared, again=twice))
            shared = steps(walked(name, rates, spared, shared=twice))
            yield "a tied tensor is updated twice, by one optimizer's state", shared
        for other in optim.OPTIMIZERS:
            if other != name and not other.startswith("adafactor"):
                yield f"the update is that of {other}", steps(walked(other, rates, spared))
        for eps in (1e-8, 1e-7, 1e-6, 1e-5, 1e-12):
            if name in ("adamw", "bert_adam", "roberta_adam", "lamb"):
                yield f"eps is {eps:g}", steps(walked(name, rates, spared, eps=eps))
        if asked.facts.get("schedule"):
            first = asked.facts.get("first_step", 0)
            for by, what in ((1, "next"), (-1, "last")):
                others = [_rate(asked, max(0, first + k + by)) for k in range(STEPS)]
                other = steps(walked(name, others, spared))
                yield f"the rate in use is the {what} step's, not the one that is reported", other
        falls = walked(name, rates, dict.fromkeys(spared, 0.0))
        yield "gradients are ascended", steps([combined((-1, fall)) for fall in falls])

    due = walked(name, rates, _decay(asked, seen[0]))
    return judged(asked, steps(moved), steps(due), explanations(), f"another update than {name}'s")


def _decay(asked: Asked, params: Tensors) -> dict[str, float]:
    """The rate of each parameter's decay."""
    rate, spared = asked.facts.get("weight_decay", 0.0), asked.facts.get("undecayed")
    if spared is None:
        return {key: rate if _decays(key) else 0.0 for key in params}
    return {key: 0.0 if key in spared else rate for key in params}


def _decays(name: str) -> bool:
    """By published names: neither a bias nor of a norm, as BERT's release says it."""
    return not (name.endswith("bias") or "norm" in name.lower() or ".ln_" in name)


def _walked(asked: Asked, seen: list[Tensors], gradients: list[Tensors], name: str, rates: list[float],
            decay: dict[str, float], l2: bool = False, again: Iterable[str] = (), shared: Iterable[str] = (),
            **constants: float) -> list[Tensors]:  # fmt: skip
    """What each of the steps moves, from the parameters as they were before it. l2: decay in the gradient; again,
    shared: tensors that are updated twice, by a state of its own or by one.
    """
    made, step = optim.OPTIMIZERS[name]
    known = inspect.signature(step).parameters
    own = {key: asked.facts[key] for key in ("beta1", "beta2", "eps", "momentum") if key in asked.facts}
    given = {key: value for key, value in {**own, **constants}.items() if key in known}
    states = [made({key: np.zeros_like(a) for key, a in seen[0].items()}) for _ in range(2)]
    found = []
    for before, g, rate in zip(seen, gradients, rates, strict=False):
        p = {key: a.copy() for key, a in before.items()}
        taken = {key: g[key] + decay[key] * p[key] if l2 else g[key] for key in p}
        rates_of_decay = dict.fromkeys(decay, 0.0) if l2 else decay
        step(p, taken, states[0], lr=rate, decay=rates_of_decay, **given)
        for tensors, state in ((again, states[1]), (shared, states[0])):
            if tensors:
                once = {key: a.copy() for key, a in p.items()}
                step(once, taken, state, lr=rate, decay=rates_of_decay, **given)
                p |= {key: once[key] for key in tensors}
        found.append(combined((1, p), (-1, before)))
    return found


@law
def tied_tensors_stay_one(asked: Asked) -> tuple[float, str]:
    """What is tied is equal under each of its names, before and after updates."""
    groups, loop = asked.fact("tied"), asked.loop()
    for when in ("at the start", "after an update"):
        held = asked.parameters(loop)
        for group in groups:
            first, *others = [held[name] for name in group if name in held]
            if any(not np.array_equal(first, other) for other in others):
                return math.inf, f"{' and '.join(group)} differ {when}: they are not tied"
        asked.record(loop, asked.whole)
    return 0.0, ""


# ---- Evaluation ------------------------------------------------------------------------------------------------------
@law
def evaluation_is_repeatable(asked: Asked) -> tuple[float, str]:
    """The loss of a batch is the same each time, and that without dropout."""
    loop = asked.loop()
    once, again = (asked.loss(loop, asked.whole) for _ in range(2))
    if once != again:
        return abs(once - again), "dropout is active in evaluation"
    asked.parameters(loop)  # whose precision is the bar's
    due = asked.loss(asked.loop(dropout=0.0), asked.whole)
    return abs(once - due) / abs(due), "evaluation is not that of a loop without dropout"


@law
def evaluation_leaves_nothing_behind(asked: Asked) -> tuple[float, str]:
    """A step after an evaluation is the step without it."""
    due = asked.gradients(asked.loop(clip_norm=None), asked.parts[0])
    loop = asked.loop(clip_norm=None)
    before = asked.parameters(loop)
    asked.loss(loop, asked.parts[1])
    if difference(asked.parameters(loop), before):
        return math.inf, "evaluation changes parameters"
    got = asked.gradients(loop, asked.parts[0])

    def explanations() -> Explanations:
        still = asked.gradients(asked.loop(dropout=0.0, clip_norm=None), asked.parts[0])
        if difference(still, due) > asked.bar:
            yield "training goes on without dropout: evaluation mode is not left again", still
        added = asked.gradients(asked.loop(dropout=0.0, clip_norm=None), asked.parts[1])
        yield "evaluation's gradient is added to the next step's", combined((1, due), (1, added))

    otherwise = "a step after an evaluation is another: both draw from the same numbers, say"
    return judged(asked, got, due, explanations(), otherwise)


@law
def training_drops_out(asked: Asked) -> tuple[float, str]:
    """With a rate above 0 the gradient is not that without dropout."""
    if not asked.fact("dropout"):
        raise Silent("the rate of dropout is 0")
    got, without = (asked.gradients(asked.loop(**changes), asked.whole) for changes in ({}, {"dropout": 0.0}))
    same = difference(got, without) <= asked.bar
    return math.inf if same else 0.0, "dropout is never active: the model is in evaluation mode"


@law
def the_loss_is_that_of_the_batch(asked: Asked) -> tuple[float, str]:
    """What a step reports, without dropout, is the loss of all its micro-batches before the update."""
    loop = asked.loop(dropout=0.0)
    asked.parameters(loop)
    due, *parts = (asked.loss(loop, batch) for batch in (asked.whole, *asked.parts))
    got = asked.record(loop, *asked.parts).get("loss")
    if got is None:
        raise Silent("step gives no loss")

    def explanations() -> Explanations:
        share = (due - parts[1]) / ((parts[0] - parts[1]) or 1.0)
        for weight, part, which in ((1 - share, parts[1], "last"), (share, parts[0], "first")):
            yield f"the loss is that of the {which} micro-batch alone", _row([part])
            yield f"the loss is that of the {which} micro-batch alone", _row([weight * part])
        yield "the losses of micro-batches are summed", _row([sum(parts)])
        yield "the loss is a mean of means over micro-batches with unequal targets", _row([sum(parts) / 2])
        yield "the loss is divided by the number of micro-batches once more", _row([due / 2])
        yield "the loss is that after the update", _row([asked.loss(loop, asked.whole)])

    return judged(asked, _row([float(got)]), _row([due]), explanations(), f"loss {float(got):.6g}, due {due:.6g}")
