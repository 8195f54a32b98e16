"""Mistakes in the optimizer step."""

import inspect
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers, ops, optim, tree
from minibert.golden import places, precision
from minibert.golden.subject import Subject, Tensors
from minibert.heads import masked_lm
from minibert.mistakes import solving
from minibert.mistakes.catalogue import GRADIENTS, STEPS, Mutant, entry, everywhere, part, rounded, swap, unlisted
from minibert.mistakes.ops.heads import halved, lookup_gradient, only_when_tied, tied_gradient
from minibert.mistakes.swap import Replacement, graded, halves, local, swapped, zeros

SECTION = {"O": "Optimizer"}

Array = np.ndarray
MOMENTS = ("adam_m", "adam_v")
BETA1, BETA2 = 0.9, 0.999


# ---- Updates ---------------------------------------------------------------------------------------------------------
def adam(step: Callable, l2: bool = False, slots: tuple[str, str] | None = None) -> Callable:
    """An update whose step is step(m, v, t) for the moments after t updates; l2: the decay enters the gradient."""

    def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None) -> None:
        state["step"] += 1
        first, second = (state[name] for name in (slots or _slots(state)))
        flat = [tree.flatten(t) for t in (params, grads, first, second)]
        for path, p in flat[0].items():
            g, m, v = (f[path] for f in flat[1:])
            rate = (decay or {}).get(path, 0.0)
            g = g + rate * p if l2 else g
            m[...] = BETA1 * m + (1 - BETA1) * g
            v[...] = BETA2 * v + (1 - BETA2) * g * g
            p[...] = p - lr * (step(m, v, state["step"]) + (0 if l2 else rate * p))

    return update


def _slots(state: dict) -> tuple[str, str]:
    return MOMENTS if "adam_m" in state else ("exp_avg", "exp_avg_sq")


def corrected(m: Array, v: Array, t: int, eps: float) -> Array:
    """m̂/(√v̂ + eps)."""
    return m / (1 - BETA1**t) / (np.sqrt(v / (1 - BETA2**t)) + eps)


def plain(m: Array, v: Array, t: int, eps: float) -> Array:
    """m/(√v + eps)."""
    return m / (np.sqrt(v) + eps)


def eps_inside(m: Array, v: Array, t: int, eps: float) -> Array:
    """m/√(v + eps)."""
    return m / np.sqrt(v + eps)


def eps_hat(m: Array, v: Array, t: int, eps: float) -> Array:
    """The correction after eps: m √(1 - β₂ᵗ)/(1 - β₁ᵗ)/(√v + eps)."""
    return m * np.sqrt(1 - BETA2**t) / (1 - BETA1**t) / (np.sqrt(v) + eps)


def corrected_eps_inside(m: Array, v: Array, t: int, eps: float) -> Array:
    """m̂/√(v̂ + eps)."""
    return m / (1 - BETA1**t) / np.sqrt(v / (1 - BETA2**t) + eps)


def first_corrected(m: Array, v: Array, t: int, eps: float) -> Array:
    """m̂/(√v + eps)."""
    return m / (1 - BETA1**t) / (np.sqrt(v) + eps)


def second_corrected(m: Array, v: Array, t: int, eps: float) -> Array:
    """m/(√v̂ + eps)."""
    return m / (np.sqrt(v / (1 - BETA2**t)) + eps)


def counted_from(by: int) -> Callable:
    """m̂/(√v̂ + eps), corrected by the update that is `by` later, the first at least."""
    return lambda m, v, t, eps: corrected(m, v, max(1, t + by), eps)


def for_optimizer(names: tuple[str, ...], makers: list[Callable]) -> list[Callable]:
    """The makers, where the case's optimizer is one of `names`."""
    return [
        lambda subject, at, maker=maker: maker(subject, at) if subject.optimizer["name"] in names else []
        for maker in makers
    ]


BERT, TORCH = ("bert_adam",), ("adamw",)
ADAM = BERT + TORCH
EPS = {"bert_adam": 1e-6, "adamw": 1e-8}
RIGHT = {"bert_adam": plain, "adamw": corrected}


def of_update(what: str, form: Callable | None, eps: float | None = None, variant: bool | None = None, **fields: Any):
    """An update with another form of the step or another eps; None keeps the optimizer's own."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        name = subject.optimizer["name"]
        if name not in EPS or eps == EPS[name]:  # which is None
            return []
        step = partial(form or RIGHT[name], eps=EPS[name] if eps is None else eps)
        return part(what, variant, update=adam(step, **fields))(subject, at)

    return maker


def _counted_on(subject: Subject, at: Any) -> list[Mutant]:
    """Corrected as at the schedule's step: the moments begin anew, the count does not."""
    first = subject.optimizer["first_step"]
    made = of_update("corrected as at the schedule's step", counted_from(first - 1), variant=False)
    return made(subject, at) if first > 2 else []


# ---- Decay, clipping, rates ------------------------------------------------------------------------------------------
def decaying(what: str, decays: Callable[[str], bool]) -> Callable:
    """Another set of decaying tensors, by path in the tree."""
    return part(what, decay=partial(optim.decay_rates, decays=decays))


def _biased(path: str) -> bool:
    return path.endswith(".bias")


def _of_norm(path: str) -> bool:
    return ".norm." in f".{path}"


def clip_groups(what: str, group: Callable[[str, str], str], eps: float = 0.0) -> Callable:
    """The gradients of each group clipped by a norm of their own, plus eps: group(path, published name)."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        names = {path: name for path, name, *_ in families.family(subject.family).names(subject.config)}

        def clip(grads: Any, max_norm: float) -> tuple[Any, float]:
            flat, squares = tree.flatten(grads), {}
            for path, g in flat.items():
                of = group(path, names.get(path, path))
                squares[of] = squares.get(of, 0.0) + float(np.vdot(g, g))
            by = {of: min(1.0, max_norm / (square**0.5 + eps)) if square else 1.0 for of, square in squares.items()}
            scaled = {path: g * g.dtype.type(by[group(path, names.get(path, path))]) for path, g in flat.items()}
            return tree.unflatten(scaled), optim.global_norm(grads)

        return part(what, clip=clip)(subject, at)

    return maker


def _part_of(path: str, name: str) -> str:
    """"embeddings", "encoder.3", "pooler", …: the part of the model that a parameter is in."""
    found = re.match(r"((generator|discriminator)\.)?((en|de)coder\.\d+|\w+)", path)
    return found[0] if found else path


def _clip_values(grads: Any, limit: float) -> tuple[Any, float]:
    return tree.map(lambda g: np.clip(g, -limit, limit), grads), optim.global_norm(grads)


def clipped_at() -> Callable:
    """Each entry clipped to a bound of its own, whatever the norm."""

    def of(bound: float) -> Callable:
        return part(f"each entry clipped at {solving.shown(bound)}",
                    clip=lambda grads, _: (_clip_values(grads, bound)[0], optim.global_norm(grads)))

    return solving.solvable(of, 0.1, (0.01, 0.5, 0.001, 5.0), lambda s: s.optimizer["clip_norm"], least=1e-9)


def _no_clip(grads: Any, max_norm: float) -> tuple[Any, float]:
    return grads, optim.global_norm(grads)


def _clip_with_eps(grads: Any, max_norm: float) -> tuple[Any, float]:
    norm = optim.global_norm(grads)
    return tree.map(lambda g: g * min(1.0, max_norm / (norm + 1e-6)), grads), norm


def _always_scaled(grads: Any, max_norm: float) -> tuple[Any, float]:
    norm = optim.global_norm(grads)
    return tree.map(lambda g: g * (max_norm / norm), grads), norm


def _clip_scaled(scale: float, shown: bool) -> Callable:
    """Clipped while still multiplied by a loss scale; shown: the norm handed out is the scaled one."""

    def clip(grads: Any, max_norm: float) -> tuple[Any, float]:
        norm = optim.global_norm(grads)
        factor = max_norm / max(norm * scale, max_norm)
        return tree.map(lambda g: g * factor, grads), norm * scale if shown else norm

    return clip


def _clip_table_twice(grads: Any, max_norm: float) -> tuple[Any, float]:
    table = next(g for path, g in tree.items(grads) if path.endswith(".word.weight"))
    norm = float(np.hypot(optim.global_norm(grads), optim.global_norm({"table": table})))
    return tree.map(lambda g: g * (max_norm / max(norm, max_norm)), grads), norm


def _updated_twice(what: str, apart: bool) -> Callable:
    """The word table updated a second time in each step; apart: by a state of its own, which is as the first."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        right = optim.OPTIMIZERS[subject.optimizer["name"]][1]

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            path, step = next(path for path, _ in tree.items(params) if path.endswith(".word.weight")), state["step"]
            table, grad, *slots = (tree.get(t, path) for t in (params, grads, *(state[name] for name in _names(state))))
            before = [np.copy(a) for a in (table, *slots)]
            right(params, grads, state, lr=lr, decay=decay)
            if apart:
                slots, steps = before[1:], (step,)
            else:  # its own steps are 2k + 1 and 2k + 2
                steps = (2 * step, 2 * step + 1)
                for a, old in zip((table, *slots), before, strict=True):
                    a[...] = old
            held = {name: {"table": a} for name, a in zip(_names(state), slots, strict=True)}
            for own in steps:
                rate = {"table": (decay or {}).get(path, 0.0)}
                right({"table": table}, {"table": grad}, {**held, "step": own}, lr=lr, decay=rate)

        return part(what, update=update)(subject, at)

    return maker


def taken(what: str, of: Callable[[Array, float, float], Array]) -> Callable:
    """w -= lr·u + wd·of(w, lr, the peak rate)."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        right, peak = optim.OPTIMIZERS[subject.optimizer["name"]][1], subject.optimizer["learning_rate"]

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            before = {path: np.copy(p) for path, p in tree.items(params)}
            right(params, grads, state, lr=lr)
            for path, p in tree.items(params):
                p -= p.dtype.type((decay or {}).get(path, 0.0)) * of(before[path], lr, peak).astype(p.dtype)

        return part(what, update=update)(subject, at)

    return maker


def _names(state: dict) -> list[str]:
    """The slots of an optimizer's state."""
    return [name for name in state if name != "step"]


def rated(what: str, rate: Callable, variant: bool | None = None) -> Callable:
    """Another learning rate: rate(step, peak, warmup, total, schedule)."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        schedule = optim.SCHEDULES[subject.optimizer["schedule"]]

        def other(step: int, *, peak: float, warmup: int, total: int) -> float:
            return rate(step, peak, warmup, total, schedule)

        return part(what, variant, rate=other)(subject, at)

    return maker


def shifted(by: int) -> Callable:
    """The schedule read some steps later."""
    return lambda step, peak, warmup, total, f: f(max(0, step + by), peak=peak, warmup=warmup, total=total)


def _shifted_part(warming: bool, by: int) -> Callable:
    """The schedule of the warm-up, or of what follows it, read some steps later; the other as it is."""

    def rate(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
        if warming and step < warmup:
            return peak * max(0, step + by) / warmup
        plan = {"peak": peak, "warmup": warmup, "total": total}
        return f(step, **plan) if warming or step < warmup else f(max(warmup, step + by), **plan)

    return rate


def _from_0(subject: Subject, at: Any) -> list[Mutant]:
    """The schedule read as if the run began with it."""
    first = subject.optimizer["first_step"]
    return rated("the schedule read from its beginning", shifted(-first))(subject, at) if first > 1 else []


def _continuous(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return optim.linear_schedule(step, peak=peak, warmup=warmup, total=total)


def _released(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return optim.bert_schedule(step, peak=peak, warmup=warmup, total=total)


def _warm_decay(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    """The decayed rate multiplied by min(1, step/warmup), as in ELECTRA."""
    return peak * max(0.0, 1 - step / total) * min(1.0, step / max(1, warmup))


def _shifted_decay(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    """The decay counted from the end of the warm-up, over the whole length."""
    return peak * step / warmup if step < warmup else peak * max(0.0, 1 - (step - warmup) / total)


def _no_warmup(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return f(step, peak=peak, warmup=0, total=total)


def _no_decay(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return peak * step / warmup if step < warmup else peak


def _unclamped(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    rate = f(step, peak=peak, warmup=warmup, total=total)
    if step < total:
        return rate
    slope = total if f is optim.bert_schedule else max(1, total - warmup)
    return peak * (total - step) / slope


def _cosine(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    done = (step - warmup) / max(1, total - warmup)
    return peak * step / warmup if step < warmup else peak * 0.5 * (1 + np.cos(np.pi * min(1.0, done)))


def _whole_cosine(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return peak * min(1.0, step / max(1, warmup)) * 0.5 * (1 + np.cos(np.pi * min(1.0, step / total)))


def _cosine_from_0(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return peak * step / warmup if step < warmup else peak * 0.5 * (1 + np.cos(np.pi * min(1.0, step / total)))


def _root_decay(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    return peak * min(step / max(1, warmup), (max(1, warmup) / max(1, step)) ** 0.5)


def _squared_decay(step: int, peak: float, warmup: int, total: int, f: Callable) -> float:
    """A polynomial of power 2 where the power is 1."""
    rate = f(step, peak=peak, warmup=warmup, total=total)
    return rate if step < warmup else rate * rate / peak


def _powered_decay(step: int, peak: float, warmup: int, total: int, f: Callable, power: float) -> float:
    rate = f(step, peak=peak, warmup=warmup, total=total)
    return rate if step < warmup else peak * (rate / peak) ** power


def planned(name: str, what: str, likely: tuple[float, ...], **bounds: float) -> Callable:
    """Another value of the optimizer's plan (`Subject.optimizer`); `likely` in times the right one."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        due = subject.optimizer[name]
        if not due:
            return []

        def of(value: float) -> Callable:
            given = int(value) if bounds.get("whole") else value
            change = lambda s: replace(s, optimizer={**s.optimizer, name: given})  # noqa: E731
            return lambda subject, at: [Mutant(solving.instead(what, value, due), change, section=STEPS)]

        values = tuple(due * factor for factor in likely)
        return solving.solvable(of, values[0], values, due, **bounds)(subject, at)

    return maker


def constant(name: str, likely: tuple[float, ...], **bounds: float) -> Callable:
    """Another constant of the update, where the optimizer has it."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        update = optim.OPTIMIZERS[subject.optimizer["name"]][1]
        known = inspect.signature(inspect.unwrap(update)).parameters
        if name not in known:
            return []
        due = known[name].default

        def of(value: float) -> Callable:
            return part(solving.instead(name, value, due), update=partial(update, **{name: value}))

        return solving.solvable(of, likely[0], likely, due, **bounds)(subject, at)

    return maker


def unless(schedule: str, maker: Callable) -> Callable:
    """No mutant where the case has this schedule itself."""
    return lambda subject, at: [] if subject.optimizer["schedule"] == schedule else maker(subject, at)


SPARED = (  # what a list of names may miss
    ("the MLM head's norm", r"(.*\.)?mlm\.norm\.(weight|bias)"),
    ("the MLM head's norm's weight", r"(.*\.)?mlm\.norm\.weight"),
    ("the embeddings' norm", r"(.*\.)?embeddings\.norm\.(weight|bias)"),
    ("the embeddings' norm's weight", r"(.*\.)?embeddings\.norm\.weight"),
    ("the attentions' norm", r".*attention\.norm\.(weight|bias)"),
    ("the attentions' norm's weight", r".*attention\.norm\.weight"),
    ("the feed-forwards' norm", r".*feed_forward\.norm\.(weight|bias)"),
    ("the feed-forwards' norm's weight", r".*feed_forward\.norm\.weight"),
    ("the final norm", r"norm\.(weight|bias)"), ("the final norm's weight", r"norm\.weight"),
    ("the MLM head's bias", r"(.*\.)?mlm\.bias"), ("the pooler's bias", r"(.*\.)?pooler\.bias"),
)  # fmt: skip

# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "O01", "bias correction added to (or missing from) BERT's Adam", "GB AdamWeightDecay has none; state it",
    "GB#153; HF#420; src GB optimization.py", "step", "OPT-ADAM-2",
    variant=True,
    mutants=[
        *for_optimizer(BERT, [of_update("both moments corrected", corrected),
                              of_update("both moments corrected, eps 1e-8", corrected, 1e-8),
                              of_update("the first moment alone corrected", first_corrected)]),
        *for_optimizer(TORCH, [of_update("no bias correction", plain),
                               of_update("no correction, eps 1e-6", plain, 1e-6),
                               of_update("the first moment alone corrected", first_corrected)]),
        *for_optimizer(ADAM, [of_update("the second moment alone corrected", second_corrected),
                              *(of_update(f"corrected as at the update {which}", counted_from(by), variant=False)
                                for which, by in (("after", 1), ("before", -1)))]),
        *for_optimizer(ADAM, [_counted_on]),
    ],
)  # fmt: skip
entry(
    "O02", 'eps inside sqrt / before bias correction ("eps hat")', "declare the form",
    "TF#9047, #35102; PT#22628, #41477; HF#35504; google-deepmind/optax#571", "step", "OPT-ADAM-2",
    mutants=[
        *for_optimizer(ADAM, [
            of_update(what + (f", eps {eps:g}" if eps else ""), form, eps)
            for what, form in (("corrected, eps inside the root", corrected_eps_inside),
                               ("corrected after eps is added", eps_hat), ("eps inside the root", eps_inside))
            for eps in (None, *sorted(EPS.values()))
        ]),
    ],
)  # fmt: skip
entry(
    "O03", "eps 1e-8 for 1e-6", "1e-6 in GB",
    "src GB optimization.py", "step", "OPT-ADAM-1",
    mutants=[constant("eps", (1e-8, 1e-6, 1e-7, 1e-12, 1e-5), most=1.0)],
)  # fmt: skip
entry(
    "O04", "decay on LayerNorm/bias or on nothing, names do not match, or set inverted",
    "all decays but LayerNorm, layer_norm, bias",
    "HF#492, #4360; keras-bert#60; facebookresearch/BalancingGroups#6; src", "step", "OPT-ADAM-4",
    mutants=[
        decaying("everything decays", lambda path: True),
        decaying("nothing decays", lambda path: False),
        lambda subject, at: (
            decaying("BERT's set decays", optim.decays)(subject, at)
            if subject.optimizer["name"] == "roberta_adam" else []
        ),
        decaying("the set is inverted", lambda path: not optim.decays(path)),
        decaying("the norms' weights decay", lambda path: not _biased(path)),
        decaying("biases decay", lambda path: _biased(path) or not _of_norm(path)),
        decaying("biases outside the norms decay", lambda path: not _of_norm(path)),
        decaying("the norms decay", lambda path: _of_norm(path) or not _biased(path)),
        decaying("the tables do not decay", lambda path: optim.decays(path) and "embeddings" not in path),
        *(decaying(f"{what} decays, too", lambda path, pattern=pattern: optim.decays(path) or bool(
            re.fullmatch(pattern, path))) for what, pattern in SPARED),
        *(decaying(f"the {name.replace('_', ' ')} table does not decay",
                   lambda path, name=name: optim.decays(path) and f"embeddings.{name}." not in path)
          for name in ("word", "position", "token_type")),
    ],
)  # fmt: skip
entry(
    "O05", "clip per tensor", "global norm 1.0",
    "HF#581; NVIDIA/DeepLearningExamples#287; NVIDIA/apex#819; src", "step", "OPT-CLIP-1",
    mutants=[
        *(clip_groups(f"each {what} clipped by its own norm{text}", group, eps)
          for text, eps in (("", 0.0), (" plus 1e-6, as in pytorch-pretrained-bert", 1e-6))
          for what, group in (("tensor", lambda path, name: path), ("published tensor", lambda path, name: name),
                              ("group of parameters, those that decay and the others,",
                               lambda path, name: str(optim.decays(path))),
                              ("part, embeddings, layers and heads,", _part_of))),
        part("the norm plus 1e-6, as in ports", True, clip=_clip_with_eps),
    ],
)  # fmt: skip
entry(
    "O06", "warm-up off by one; decay counted from the end of warm-up", "lr(0)=0; linear decay counted from step 0",
    "GB#1293, #193; tensorflow/models#9709; src", "step", "OPT-SCHED-2",
    mutants=[
        rated("the schedule one step ahead", shifted(1)),
        rated("the schedule one step behind", shifted(-1)),
        *(rated(f"the {part} alone one step {which}", _shifted_part(warming, by))
          for part, warming in (("warm-up", True), ("decay", False)) for which, by in (("ahead", 1), ("behind", -1))),
        _from_0,
        unless("linear", rated("linear from the warm-up's end to 0, as in ports", _continuous, variant=True)),
        unless("bert", rated("the release's decay, counted from step 0", _released, variant=True)),
        rated("the decay counted from the warm-up's end, over all steps", _shifted_decay),
    ],
)  # fmt: skip
entry(
    "O07", "L2 in the gradient instead of decoupled", "w -= lr*(u + wd*w)",
    "src GB optimization.py (comment)", "step", "OPT-ADAM-3",
    mutants=for_optimizer(ADAM, [of_update("the decay enters the gradient", None, l2=True)]),
)  # fmt: skip
entry(
    "O32", "another shape of the schedule", "linear up, then linear down to 0",
    "own knowledge", "step", "OPT-SCHED-1",
    mutants=[
        rated("half a cosine from the warm-up's end to 0", _cosine),
        rated("half a cosine from step 0 to 0, warmed up", _whole_cosine),
        rated("half a cosine, counted from step 0, behind the warm-up", _cosine_from_0),
        rated("with 1 over the root of the step", _root_decay),
        rated("the square of what is left", _squared_decay),
        solving.solvable(lambda power: rated(f"what is left to the power of {solving.shown(power)}",
                                             partial(_powered_decay, power=power)), 0.5, (3.0, 4.0, 1.5), 1.0, most=20),
    ],
)  # fmt: skip
entry(
    "O35", "no division by the root of the second moment", "m / (√v + eps)",
    "own knowledge", "step", "OPT-ADAM-1",
    mutants=for_optimizer(ADAM, [
        of_update("the first moment alone", lambda m, v, t, eps: m),
        of_update("the first moment alone, its bias corrected", lambda m, v, t, eps: m / (1 - BETA1**t)),
    ]),
)  # fmt: skip
entry(
    "O30", "the decay not multiplied by the rate", "w -= lr*(u + wd*w)",
    "own knowledge", "step", "OPT-ADAM-3",
    mutants=for_optimizer(ADAM, [
        taken("the decay is not multiplied by the rate", lambda w, lr, peak: w),
        taken("the decay is multiplied by the peak rate", lambda w, lr, peak: peak * w),
    ]),
)  # fmt: skip
def _in_the_decoders_place(what: str, of: Callable[[Array, Array, int], Array]) -> Callable:
    """The look-up's gradient, of(dy, ids, rows), written over the decoder's at the rows of the batch, not added."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        users = {name: next((s for s in at if s.name == name and any(p.endswith("embeddings.word.weight")
                                                                     for p in s.params)), None)
                 for name in ("linear", "embedding")}  # fmt: skip
        held = threading.local()

        def decoded(g: Any, dy: Array, c: Any) -> Any:
            held.own = g[1]["weight"]
            return g

        def looked_up(g: dict[str, Array], dy: Array, c: Any) -> dict[str, Array]:
            ids, rows = c["ids"].reshape(-1), len(g["weight"])
            own = of(dy.reshape(-1, dy.shape[-1]), ids, rows)
            own[np.unique(ids)] -= held.own[np.unique(ids)]
            return {"weight": own}

        if None in users.values():
            return []
        pairs = {users[name].key: graded(getattr(ops, name), edit)
                 for name, edit in (("linear", decoded), ("embedding", looked_up))}  # fmt: skip
        change = partial(swapped, at=pairs)
        return [Mutant(what, change, section=GRADIENTS, sites=tuple(site.path for site in users.values()))]

    return maker


def _last(dy: Array, ids: Array, rows: int) -> Array:
    """Repeated ids overwrite one another, too."""
    own = np.zeros((rows, dy.shape[-1]), dy.dtype)
    own[ids] = dy
    return own


def _added(dy: Array, ids: Array, rows: int) -> Array:
    own = np.zeros((rows, dy.shape[-1]), dy.dtype)
    np.add.at(own, ids, dy)
    return own


MORE = (("twice", 2.0), ("taken away", -1.0), ("halved", 0.5))
entry(
    "O08", "tied weight: half the gradient, or two moment states", "one parameter, one state",
    "paiml/entrenar#314; NVIDIA/TransformerEngine#3437; Megatron-LM#656", "gradient", "BERT-MLM-3",
    cause_of=("H01",),
    mutants=[
        halved,
        only_when_tied(swap("the decoder's part alone", "embedding", lookup_gradient(0), r".*\.word",
                            section="gradients")),
        tied_gradient("the look-up's part alone", 0),
        *(only_when_tied(tied_gradient(f"the decoder's part {what}", factor)) for what, factor in MORE),
        *(only_when_tied(swap(f"the look-up's part {what}", "embedding", lookup_gradient(factor), r".*\.word",
                              section="gradients")) for what, factor in MORE),
        only_when_tied(_in_the_decoders_place("the look-up's part in the place of the decoder's", _added)),
        only_when_tied(_in_the_decoders_place("the look-up's part in the place of the decoder's, the last of repeated "
                                              "ids alone", _last)),
        only_when_tied(part("the tied table counted twice in the norm", clip=_clip_table_twice)),
        *(only_when_tied(_updated_twice(what, apart)) for what, apart in
          (("the tied table is updated twice", False), ("the tied table is updated twice, with two states", True))),
    ],
)  # fmt: skip
entry(
    "O09", "negative learning rate after the last step", "clamp at 0",
    "HF#327", "step", "OPT-SCHED-1",
    mutants=[rated("no clamp at 0", _unclamped)],
)  # fmt: skip
entry(
    "O10", "clip before unscale / before all-reduce", "after both",
    "apex#1096; tinygrad#4642", "step", "OPT-ORDER-1", when="in float16",
    mutants=[
        part(f"clipped while scaled by {scale:,}{', that norm logged' if shown else ''}",
             clip=_clip_scaled(scale, shown))
        for scale in (65536, 1024) for shown in (False, True)
    ],
)  # fmt: skip
entry(
    "O11", "ELECTRA warm-up treated as BERT's",
    "BERT: init_lr*step/warmup replaces the decayed rate during warm-up; ELECTRA multiplies the decayed rate by "
    "min(1, step/warmup)",
    "src GB optimization.py, src ELECTRA model/optimization.py",
    "step", "OPT-SCHED-2", when="all but ELECTRA the other way round",
    mutants=[rated("ELECTRA's: the decayed rate times min(1, step/warmup)", _warm_decay)],
)  # fmt: skip
entry(
    "O26", "no clipping, each entry clipped, or scaled up to the norm",
    "all gradients together scaled down to the norm, where it is larger",
    "own knowledge", "step", "OPT-CLIP-1",
    mutants=[
        part("not clipped", clip=_no_clip),
        part("each entry clipped", clip=_clip_values),
        clipped_at(),
        part("scaled to the norm even when below it", clip=_always_scaled),
    ],
)  # fmt: skip
entry(
    "O55", "clipped to another norm", "to the norm that the recipe says",
    "own knowledge", "step", "OPT-CLIP-1", cause_of=("O03",),  # what Adam's eps is, beside gradients that it scales
    mutants=[planned("clip_norm", "norm clipped to", (0.5, 0.1, 1.0, 2.0, 5.0, 10.0), least=1e-9)],
)  # fmt: skip
entry(
    "O27", "no warm-up, no decay of the rate, or neither", "linear up, then linear down to 0",
    "own knowledge", "step", "OPT-SCHED-1",
    mutants=[
        rated("no warm-up", _no_warmup),
        rated("no decay of the rate", _no_decay),
        rated("a constant rate", lambda step, peak, warmup, total, f: peak),
    ],
)  # fmt: skip
entry(
    "O56", "another peak rate or weight decay", "those of the recipe",
    "own knowledge", "step", "OPT-SCHED-1",
    mutants=[
        planned("learning_rate", "peak rate", (2.0, 0.5, 0.1, 10.0)),
        planned("weight_decay", "weight decay", (10.0, 0.1, 0.5, 2.0)),
    ],
)  # fmt: skip


entry(
    "O57", "a warm-up, or a run, of another length", "as many steps as the recipe says",
    "own knowledge (shares of another number of steps, epochs for steps)", "step", "OPT-SCHED-1",
    mutants=[
        planned("warmup", "warm-up steps", (2.0, 0.5, 1.5, 10.0), least=1.0, most=1e6, whole=True),
        planned("total", "steps in all", (2.0, 0.5, 10.0, 1.5, 1.25), least=1.0, most=1e7, whole=True),
    ],
)  # fmt: skip


def _any_adam(what: str, step: Callable, after: bool = False, betas: tuple[float, float] = (BETA1, BETA2)) -> Callable:
    """Adam with step(m, v, t, g, p, eps, lr, decay) for what is taken away; after: the decay is of what is left."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        if subject.optimizer["name"] not in EPS:
            return []
        eps, right = EPS[subject.optimizer["name"]], RIGHT[subject.optimizer["name"]]

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            state["step"] += 1
            flat = [tree.flatten(t) for t in (params, grads, *(state[name] for name in _slots(state)))]
            for path, p in flat[0].items():
                g, m, v = (f[path] for f in flat[1:])
                rate = (decay or {}).get(path, 0.0)
                m[...] = betas[0] * m + (1 - betas[0]) * g
                v[...] = betas[1] * v + (1 - betas[1]) * g * g
                u = step(m, v, state["step"], g, p, partial(right, eps=eps))
                if after:
                    p[...] = (p - lr * u) * (1 - lr * rate)
                else:
                    p[...] = p - lr * _trusted(u + rate * p, p, rate) if step is _lamb else p - lr * (u + rate * p)

        return part(what, update=update)(subject, at)

    return maker


def _stepping(what: str, step: Callable[..., Array], **parts: Any) -> Callable:
    """Adam whose step is step(name, state, path, g, m, v), which writes the moments, too."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        name = subject.optimizer["name"]
        if name not in EPS:
            return []

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            state["step"] += 1
            flat = [tree.flatten(t) for t in (params, grads, *(state[slot] for slot in _slots(state)))]
            for path, p in flat[0].items():
                u = step(name, state, path, *(f[path] for f in flat[1:]))
                p[...] = p - lr * (u + (decay or {}).get(path, 0.0) * p)

        return part(what, update=update, **parts)(subject, at)

    return maker


def _stale(what: str, before: int) -> Callable:
    """A step by the moments as they were before this gradient, corrected by the update that is `before` earlier."""

    def step(name: str, state: dict, path: str, g: Array, m: Array, v: Array) -> Array:
        u = RIGHT[name](m, v, max(1, state["step"] - before), EPS[name])
        m[...], v[...] = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        return u

    return _stepping(what, step)


def _lamb(m: Array, v: Array, t: int, g: Array, p: Array, right: Callable) -> Array:
    return right(m, v, t)


def _trusted(u: Array, p: Array, rate: float) -> Array:
    old, new = float(np.sqrt(np.square(p).sum())), float(np.sqrt(np.square(u).sum()))
    return u * u.dtype.type(old / new) if old > 0 and new > 0 else u


def _nesterov(m: Array, v: Array, t: int, g: Array, p: Array, right: Callable) -> Array:
    return right(BETA1 * m + (1 - BETA1) * g, v, t)


def _amsgrad() -> Callable:
    """A step by the largest second moment so far, of each tensor."""
    largest: dict[int, Array] = {}

    def step(m: Array, v: Array, t: int, g: Array, p: Array, right: Callable) -> Array:
        largest[id(p)] = v.copy() if t == 1 else np.maximum(largest[id(p)], v)
        return right(m, largest[id(p)], t)

    return step


def _clip_by_square(grads: Any, max_norm: float) -> tuple[Any, float]:
    norm = optim.global_norm(grads)
    return tree.map(lambda g: g * (max_norm / max(norm * norm, max_norm)), grads), norm


def _moments(what: str, second: Callable | None = None, first: Callable | None = None) -> Callable:
    """Adam whose moments are first(m, g) and second(the new m, v, g)."""
    first = first or (lambda m, g: BETA1 * m + (1 - BETA1) * g)
    second = second or (lambda m, v, g: BETA2 * v + (1 - BETA2) * g * g)

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        if subject.optimizer["name"] not in EPS:
            return []
        step = partial(RIGHT[subject.optimizer["name"]], eps=EPS[subject.optimizer["name"]])

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            state["step"] += 1
            flat = [tree.flatten(t) for t in (params, grads, *(state[name] for name in _slots(state)))]
            for path, p in flat[0].items():
                g, m, v = (f[path] for f in flat[1:])
                m[...] = first(m, g)
                v[...] = second(m, v, g)
                p[...] = p - lr * (step(m, v, state["step"]) + (decay or {}).get(path, 0.0) * p)

        return part(what, update=update)(subject, at)

    return maker


def _rootless(name: str, state: dict, m: Array, v: Array) -> Array:
    """The step with v for √v, corrected as v is."""
    due = 1 - BETA2 ** state["step"] if RIGHT[name] is corrected else 1.0
    return RIGHT[name](m, v * v / due, state["step"], EPS[name])


def _of_sizes(name: str, state: dict, path: str, g: Array, m: Array, v: Array) -> Array:
    m[...], v[...] = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * np.abs(g)
    return _rootless(name, state, m, v)


def _largest(name: str, state: dict, path: str, g: Array, m: Array, v: Array) -> Array:
    m[...], v[...] = BETA1 * m + (1 - BETA1) * g, np.maximum(BETA2 * v, np.abs(g))
    return m / (v + EPS[name]) / (1 - BETA1 ** state["step"] if RIGHT[name] is corrected else 1.0)


def _own_moments(what: str, of: Callable[..., tuple[Array, Array]], **parts: Any) -> Callable:
    """Adam whose moments are of(state, path, g, m, v)."""

    def step(name: str, state: dict, path: str, g: Array, m: Array, v: Array) -> Array:
        m[...], v[...] = of(state, path, g, m, v)
        return RIGHT[name](m, v, state["step"], EPS[name])

    return _stepping(what, step, **parts)


def _begun(what: str, which: tuple[str, ...]) -> Callable:
    """Moments that are the first gradient's own at the first update."""

    def of(state: dict, path: str, g: Array, m: Array, v: Array) -> tuple[Array, Array]:
        first = state["step"] == 1
        return (g if first and "m" in which else BETA1 * m + (1 - BETA1) * g,
                g * g if first and "v" in which else BETA2 * v + (1 - BETA2) * g * g)  # fmt: skip

    return _own_moments(what, of)


def _unclipped(what: str, which: tuple[str, ...]) -> Callable:
    """Moments of the gradient as it was before it was clipped."""
    held = threading.local()

    def clip(grads: Any, max_norm: float) -> tuple[Any, float]:
        held.grads = {path: np.copy(g) for path, g in tree.items(grads)}
        return optim.clip(grads, max_norm)

    def of(state: dict, path: str, g: Array, m: Array, v: Array) -> tuple[Array, Array]:
        one, two = (held.grads[path] if name in which else g for name in "mv")
        return BETA1 * m + (1 - BETA1) * one, BETA2 * v + (1 - BETA2) * two * two

    return _own_moments(what, of, clip=clip)


def _clip_by(size: Callable[[dict[str, Array]], float], hidden: bool) -> Callable:
    """Clipped by size(gradients by path); hidden: the norm that is told is the right one."""

    def clip(grads: Any, max_norm: float) -> tuple[Any, float]:
        own = size(tree.flatten(grads))
        told = optim.global_norm(grads) if hidden else own
        return tree.map(lambda g: g * g.dtype.type(max_norm / max(own, max_norm)), grads), told

    return clip


def _of_table(grads: dict[str, Array], alone: bool) -> float:
    """The norm of the word table's gradient alone, or of all others."""
    chosen = {path: g for path, g in grads.items() if path.endswith("embeddings.word.weight") == alone}
    return optim.global_norm(tree.unflatten(chosen)) if chosen else 0.0


SIZES = (
    ("the largest entry", lambda grads: max(float(np.abs(g).max(initial=0)) for g in grads.values())),
    ("the sum of |g|", lambda grads: float(sum(np.abs(g).sum() for g in grads.values()))),
    ("the sum of the tensors' norms", lambda grads: float(sum(np.sqrt(np.vdot(g, g)) for g in grads.values()))),
    ("the largest norm of a tensor", lambda grads: max(float(np.sqrt(np.vdot(g, g))) for g in grads.values())),
    ("the word table's norm", partial(_of_table, alone=True)),
    ("the norm without the word table's", partial(_of_table, alone=False)),
)


def _clip_published(what: str, size: Callable[[dict[str, Array]], float], hidden: bool) -> Callable:
    """The same, of the tensors as they are published; no mutant where each is one of ours."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        names = {path: name for path, name, *_ in families.family(subject.family).names(subject.config)}
        if len({*names.values()}) == len(names):
            return []

        def joined(grads: dict[str, Array]) -> float:
            held: dict[str, list[Array]] = {}
            for path, g in grads.items():
                held.setdefault(names.get(path, path), []).append(g.reshape(-1))
            return size({name: np.concatenate(parts) for name, parts in held.items()})

        return part(what, clip=_clip_by(joined, hidden))(subject, at)

    return maker


OF_A_RATE = (
    ("the embeddings", r"(.*\.)?embeddings\..*"), ("the encoder", r"(.*\.)?encoder\..*"),
    ("the heads and the pooler", r"(?!(.*\.)?(embeddings|encoder)\.).*"), ("biases", r".*\.bias"),
    ("norms", r".*norm\.(weight|bias)"),
)  # fmt: skip


def _rate_of(what: str, pattern: str) -> Callable:
    """The rate of some parameters, by path, times a value."""

    def of(value: float) -> Callable:
        return _rates(f"the rate of {what} times {solving.shown(value)}",
                      lambda paths: {path: value for path in paths if re.fullmatch(pattern, path)})

    return solving.solvable(of, 10.0, (0.1, 2.0, 0.5, 100.0), 1.0, most=1e4)


def _by_depth(value: float, top: int) -> Callable:
    """Each layer's rate times a value for each layer above it, the embeddings' as that of one below the first; the last
    layer's times the value so often.
    """

    def rates(paths: list[str]) -> dict[str, float]:
        depth = {path: int(found[1]) + 1 for path in paths if (found := re.search(r"encoder\.(\d+)\.", path))}
        depth |= {path: 0 for path in paths if re.match(r"(.*\.)?embeddings\.", path)}
        last = max(depth.values(), default=0)
        return {path: value ** (last - n + top) for path, n in depth.items()}

    what = f"rates times {solving.shown(value)} from layer to layer"
    return _rates(what + (f", the last one's {top} times" if top != 1 else ""), rates)


def _rates(what: str, rates: Callable[[list[str]], dict[str, float]]) -> Callable:
    """Rates times factors, by path; 1 unless given."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        right = optim.OPTIMIZERS[subject.optimizer["name"]][1]
        factors = rates([path for path, _ in tree.items(subject.params)])
        if subject.optimizer["name"] not in EPS or not factors:
            return []

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            before = {path: np.copy(p) for path, p in tree.items(params) if path in factors}
            right(params, grads, state, lr=lr, decay=decay)
            for path, p in tree.items(params):
                if path in factors:
                    p[...] = before[path] + p.dtype.type(factors[path]) * (p - before[path])

        return part(what, update=update)(subject, at)

    return maker


def _one_batch(subject: Subject, at: Any) -> list[Mutant]:
    """The first batch in every step."""
    if len(subject.batches) < 2:
        return []
    return [Mutant("the first batch in every step", lambda s: replace(s, batches=s.batches[:1]), section=STEPS)]


entry(
    "O39", "another rule than Adam's", "m/(√v + eps), and the decay of the old weights",
    "own knowledge", "step", "OPT-ADAM-1",
    mutants=[
        _any_adam("the gradient alone, as SGD", lambda m, v, t, g, p, right: g),
        _any_adam("the gradient for the first moment, akin to RMSprop", lambda m, v, t, g, p, right: right(g, v, t)),
        _any_adam("akin to no root over the second moment", lambda m, v, t, g, p, right: right(m, v * v, t)),
        _any_adam("akin to a cube root over the second moment", lambda m, v, t, g, p, right: right(m, v ** (2 / 3), t)),
        _any_adam("the sign of the first moment, akin to Lion", lambda m, v, t, g, p, right: np.sign(m)),
        _any_adam("Nesterov's, akin to NAdam", _nesterov),
        *(_stale(f"by the moments as they were before the gradient{text}", before)
          for text, before in (("", 0), (", corrected as then", 1))),
        _any_adam("each tensor's step as long as the tensor, as LAMB", _lamb),
        _any_adam("the decay of the new weights", lambda m, v, t, g, p, right: right(m, v, t), after=True),
        _any_adam("beta1 and beta2 change places", lambda m, v, t, g, p, right: right(m, v, t), betas=(BETA2, BETA1)),
    ],
)  # fmt: skip
def _of_power(power: float) -> Callable:
    """The second moment of another power of the gradient."""
    return _moments(f"of |g| to the power {solving.shown(power)}",
                    lambda m, v, g: BETA2 * v + (1 - BETA2) * np.abs(g) ** power)  # fmt: skip


entry(
    "O43", "other betas, another second moment, or moments without their damping",
    "m = β₁ m + (1 - β₁) g, v = β₂ v + (1 - β₂) g²",
    "own knowledge (arXiv 2010.07468, 1806.02847)", "step", "OPT-ADAM-1",
    mutants=[
        _moments("AdaBelief's, of the gradient's distance from m", lambda m, v, g: (
            BETA2 * v + (1 - BETA2) * (g - m) ** 2)),
        _any_adam("divided by the root of the largest so far, as AMSGrad", _amsgrad()),
        _moments("the largest so far, as AMSGrad", lambda m, v, g: np.maximum(v, BETA2 * v + (1 - BETA2) * g * g)),
        _moments("the sum of all squares, as AdaGrad", lambda m, v, g: v + g * g),
        _moments("Yogi's", lambda m, v, g: v - (1 - BETA2) * np.sign(v - g * g) * g * g),
        _moments("of |g|, not g²", lambda m, v, g: BETA2 * v + (1 - BETA2) * np.abs(g)),
        _stepping("of |g|, not g², and no root taken", _of_sizes),
        _moments("of the new m, not of g", lambda m, v, g: BETA2 * v + (1 - BETA2) * m * m),
        _moments("of each tensor's mean square", lambda m, v, g: BETA2 * v + (1 - BETA2) * np.square(g).mean()),
        solving.solvable(_of_power, 3.0, (1.5, 2.5, 4.0, 0.5), 2.0, least=1e-2, most=8.0),
        _moments("the larger of β₂ v and |g|, as AdaMax", lambda m, v, g: np.maximum(BETA2 * v, np.abs(g))),
        _stepping("the larger of β₂ v and |g|, as AdaMax, and no root taken", _largest),
        *(_begun(f"{' and '.join(which)} begun at the first gradient's, not at 0", which)
          for which in (("m",), ("v",), ("m", "v"))),
        *(_unclipped(f"{' and '.join(which)} of the gradient before it was clipped", which)
          for which in (("m",), ("v",))),
        _moments("m without 1 - β₁", first=lambda m, g: BETA1 * m + g),
        _moments("v without 1 - β₂", lambda m, v, g: BETA2 * v + g * g),
        _moments("neither damped", lambda m, v, g: BETA2 * v + g * g, lambda m, g: BETA1 * m + g),
        constant("beta1", (0.8, 0.95, 0.99, 0.5, 0.0), most=0.999999),
        constant("beta2", (0.98, 0.99, 0.95, 0.9999), most=0.999999),
    ],
)  # fmt: skip
def _in_half(rounding: Callable[[Array], Array], kept: tuple[int, ...], used: bool) -> Callable:
    """The optimizer's own update, after which parameters (0), first (1) or second moments (2) are rounded; used: those
    moments are before the step is taken, too.
    """

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        name = subject.optimizer["name"]
        right, step = optim.OPTIMIZERS[name][1], None
        if name not in EPS or (used and not {1, 2}.intersection(kept)):
            return []
        if used:
            step = partial(RIGHT[name], eps=EPS[name])
            right = adam(lambda m, v, t: step(rounding(m) if 1 in kept else m, rounding(v) if 2 in kept else v, t))

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            right(params, grads, state, lr=lr, decay=decay)
            for held in (tree.leaves((params, *(state[slot] for slot in _slots(state)))[i]) for i in kept):
                for a in held:
                    a[...] = rounding(a)

        what = " and ".join(KEPT[i] for i in kept) + (", as they are used" if used else "")
        return part(what, update=update)(subject, at)

    return maker


KEPT = ("parameters", "first moments", "second moments")


def _half_steps(name: str) -> list[Callable]:
    """Parameters, moments or gradients in half precision, through every step."""
    rounding = precision.rounding(name)

    def named(maker: Callable) -> Callable:
        return lambda subject, at: [replace(m, what=f"{m.what} kept in {name}") for m in maker(subject, at)]

    given = part("gradients", grads=lambda grads, step: tree.map(rounding, grads))
    clipped = part("clipped gradients", clip=lambda grads, most: _rounded_clip(grads, most, rounding))
    kept = ((0,), (1,), (2,), (1, 2), (0, 1, 2))
    return [*map(named, (given, clipped)), *(named(_in_half(rounding, which, used)) for which in kept
                                             for used in (False, True))]  # fmt: skip


def _rounded_clip(grads: Any, max_norm: float, rounding: Callable[[Array], Array]) -> tuple[Any, float]:
    found, norm = optim.clip(grads, max_norm)
    return tree.map(rounding, found), norm


entry(
    "O54", "parameters, moments or gradients kept in half precision", "in float32, whatever the products are in",
    "own knowledge", "step", "NUM-1",
    mutants=[rounded(maker) for name in ("bfloat16", "float16") for maker in _half_steps(name)],
)  # fmt: skip
entry(
    "O44", "clipped by another norm", "‖g‖₂ of all gradients together",
    "own knowledge; PT clip_grad_norm_ (norm_type)", "step", "OPT-CLIP-1",
    when="each tensor by its own is O05",
    mutants=[
        part(f"by {what}{', the right one told' if hidden else ''}", clip=_clip_by(size, hidden))
        for what, size in SIZES for hidden in (False, True)
    ] + [
        _clip_published(f"by {what.replace('tensor', 'published tensor')}{', the right one told' if hidden else ''}",
                        size, hidden)
        for what, size in SIZES if what.endswith(("tensor", "tensors' norms")) for hidden in (False, True)
    ],
)  # fmt: skip
entry(
    "O45", "the decay added, not taken away", "w -= lr*(u + wd*w)",
    "own knowledge", "step", "OPT-ADAM-3",
    mutants=for_optimizer(ADAM, [taken("the decay added", lambda w, lr, peak: -lr * w)]),
)  # fmt: skip
entry(
    "O46", "rates of their own for some parameters", "one rate for all",
    "own knowledge (layer-wise decay, arXiv 2003.10555; heads at ten times the rate)", "step", "OPT-SCHED-1",
    mutants=[
        *(_rate_of(what, pattern) for what, pattern in OF_A_RATE),
        *(solving.solvable(partial(_by_depth, top=top), 0.9, (0.95, 0.8, 0.5, 0.65, 0.75), 1.0, most=10.0)
          for top in (1, 0, 2)),  # 2 in ELECTRA's release
    ],
)  # fmt: skip
entry(
    "O40", "the same batch in every step", "each step its own",
    "own knowledge", "step", "OPT-ORDER-2",
    mutants=[_one_batch],
)  # fmt: skip
entry(
    "O41", "clipped by the square of the norm", "by the norm",
    "own knowledge", "step", "OPT-CLIP-1",
    mutants=[part("by the square", clip=_clip_by_square), part("by the square, which is told", clip=_clip_by(
        lambda grads: sum(float(np.vdot(g, g)) for g in grads.values()), False))],
)  # fmt: skip


# ---- Gradients as they are handed out -------------------------------------------------------------------------------
def handed_out(
    what: str, edit: Callable[[dict[str, Array], Subject], dict[str, Array]], steps: bool = False, every: bool = False
) -> Callable:
    """The parameters' gradients edited after they were computed; steps: what the optimizer is given, too; every: those
    of outputs, too.
    """

    def maker(subject: Subject, at: list) -> list[Mutant]:
        rows = families.family(subject.family).names(subject.config)
        keys = {f"{GRADIENTS}/{name}" for _, name, *_ in rows}

        def written(tensors: Tensors) -> Tensors:
            edited = {key: a for key, a in tensors.items() if key in keys or (every and key.startswith(GRADIENTS))}
            return {**tensors, **edit(edited, subject)}

        def given(grads: Any, step: int) -> Any:
            return tree.unflatten(edit(tree.flatten(grads), subject))

        change = lambda s: replace(s, parts={**s.parts, "grads": given}) if steps else s  # noqa: E731
        return [Mutant(what, change, section=GRADIENTS, after=written, renames=every)]

    return maker


def _frozen(block: str) -> Callable:
    """The parameters of one layer, or of the embeddings, get no gradient; what the optimizer does with them is open."""
    pair = graded(getattr(layers, block), lambda g, dy, c: zeros(g) if isinstance(g, dict) else (*g[:-1], zeros(g[-1])))

    def maker(subject: Subject, at: list) -> list[Mutant]:
        made, found = swap("no gradient reaches its parameters", block, pair, section=GRADIENTS)(subject, at), []
        where = {site.path: site for site in at}
        for mutant in made:
            if len(mutant.sites) == 1:
                site = where[mutant.sites[0]]
                own = re.escape(site.local.removeprefix("encode."))
                found.append(replace(mutant, where=site.place or mutant.where, silent=rf"steps/\d+/{own}\..*"))
        return found

    return maker


BODY = "embeddings|(en|de)coder|map|project|norm"
HEADS = (("the MLM head", "mlm|lm"), ("the pooler", "pooler"), ("the pair head", "nsp|sop"),
         ("the detection head", "rtd"))  # fmt: skip


def _parts_frozen(subject: Subject, at: list) -> list[Mutant]:
    """Several layers, a tied table in both its uses, all but the heads, a head: no gradient is handed out."""
    towers = places.places(subject.family, subject.config).towers
    paths = {f"{GRADIENTS}/{name}": local(path, towers)
             for path, name, *_ in families.family(subject.family).names(subject.config)}  # fmt: skip
    last = max((int(n[1]) for p in paths.values() if (n := re.match(r"(?:en|de)coder\.(\d+)\.", p))), default=0)
    below = {n: rf"(en|de)coder\.({'|'.join(map(str, range(n)))})" for n in range(1, last + 1)}
    parts = [("all layers", "(en|de)coder"), ("the word table", r"embeddings\.word"), ("the embeddings", "embeddings"),
             ("all but the heads", BODY), ("all but the heads, and the pooler", f"{BODY}|pooler"), *HEADS,
             *((f"the layers below {n}", pattern) for n, pattern in below.items()),
             *((f"the embeddings and the layers below {n}", f"embeddings|{pattern}") for n, pattern in below.items())]
    found, seen = [], {frozenset(), frozenset(paths)}
    for what, pattern in parts:
        own = frozenset(key for key, path in paths.items() if re.fullmatch(rf"({pattern})\..*", path))
        if own not in seen:
            seen.add(own)
            written = lambda t, own=own: {k: np.zeros_like(a) if k in own else a for k, a in t.items()}  # noqa: E731
            found.append(Mutant(f"{what} frozen", lambda s: s, section=GRADIENTS, after=written,
                                silent=rf"steps/\d+/({pattern})\..*"))
    return found


def _doubled(grads: dict[str, Array], subject: Subject) -> dict[str, Array]:
    return {name: g * g.dtype.type(2) for name, g in grads.items()}


def _never_zeroed(what: str, in_place: bool = False, before: bool = False) -> Callable:
    """Each step's gradients added to what stands there from the step before; in_place: as it was clipped; before: the
    first step's batch had been through a backward pass already.
    """

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        def change(s: Subject) -> Subject:
            held: list[Any] = [None]

            def given(grads: Any, step: int) -> Any:
                first = tree.add(grads, grads) if before else grads
                held[0] = first if step == 1 else tree.add(held[0], grads)
                return tree.map(np.copy, held[0])

            def clip(grads: Any, max_norm: float) -> tuple[Any, float]:
                found, norm = optim.clip(grads, max_norm)
                held[0] = tree.map(np.copy, found)
                return found, norm

            return replace(s, parts={**s.parts, "grads": given, **({"clip": clip} if in_place else {})})

        return [Mutant(what, change, section=STEPS)]

    return maker


def _clipped(grads: dict[str, Array], subject: Subject) -> dict[str, Array]:
    norm = np.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))
    scale = min(1.0, subject.optimizer["clip_norm"] / norm) if norm else 1.0
    return {name: g * g.dtype.type(scale) for name, g in grads.items()}


def _multiplied(steps: bool, every: bool = False) -> Callable:
    """All gradients times a number, in the dump alone or in each step; every: of outputs, too."""
    text = (", of outputs, too" if every else "") + (", in each step" if steps else "")

    def of(value: float) -> Callable:
        return handed_out(f"gradients times {solving.shown(value)}{text}",
                          lambda grads, _: {name: g * g.dtype.type(value) for name, g in grads.items()}, steps, every)

    def likely(subject: Subject) -> tuple[float, ...]:
        rows = float(len(subject.batches[0].get("input_ids", [0])))
        return (0.5, -1.0, rows, 1 / rows, 128.0, 1024.0, 65536.0)

    return solving.solvable(of, 0.5, likely, 1.0, least=-1e9)


unlisted("gradients times another number",
         *(_multiplied(steps, every) for every in (False, True) for steps in (False, True)))
entry(
    "O28", "gradients added to those of the pass before (not set to 0)", "each pass's own",
    "own knowledge", "gradient", "OPT-ORDER-1",
    mutants=[
        handed_out("twice the gradients", _doubled),
        handed_out("twice the gradients, in each step", _doubled, steps=True),
        handed_out("twice the gradients, of outputs, too", _doubled, every=True),
        _never_zeroed("never set to 0"),
        _never_zeroed("never set to 0, clipped as they stand", in_place=True),
        _never_zeroed("never set to 0, nor after a pass before the first step", before=True),
    ],
)  # fmt: skip
entry(
    "O36", "a part is frozen", "every parameter has a gradient and learns",
    "own knowledge", "gradient", "OPT-ORDER-2", cause_of=("E17", "O12"),
    mutants=[_frozen(name) for name in ("encoder_layer", "pre_norm_layer", "decoder_layer", "embeddings")]
    + [_parts_frozen],
)  # fmt: skip
def _detached(name: str, where: str = ".*") -> Callable:
    """No gradient passes an op or block on to what it was given first; its parameters have theirs."""
    module = next(module for module in (layers, ops, masked_lm) if hasattr(module, name))
    pair = graded(getattr(module, name), lambda g, dy, c: (zeros(g[0]), *g[1:]))
    text = name.replace("_", " ").replace("mlm", "MLM")
    return swap(f"none passes the {text}", name, pair, where, section=GRADIENTS)


def _unlearnt(name: str, leaves: tuple[str, ...], paths: str, groups: Any = ()) -> Callable:
    """These parameters of an op get no gradient; what the optimizer does with them is open."""
    pair = graded(getattr(ops, name), lambda g, dy, c: (
        g[0], {leaf: zeros(a) if leaf in leaves else a for leaf, a in g[1].items()}))  # fmt: skip
    what = f"{name.replace('_', ' ')} {' and '.join(leaves)} frozen"
    silent = rf"steps/\d+/.*\.({'|'.join(leaves)})"
    return swap(what, name, pair, paths, groups, section=GRADIENTS, silent=silent)


def _left_alone(what: str, pattern: str) -> Callable:
    """Parameters, by path, without a gradient, which the optimizer leaves as they are: no decay, no moments."""

    def maker(subject: Subject, at: list) -> list[Mutant]:
        paths = {path for path, _ in tree.items(subject.params) if re.fullmatch(pattern, path)}
        if not paths or len(paths) == len(tree.leaves(subject.params)):
            return []
        module = families.family(subject.family)
        rates = partial(optim.DECAY_RATES[subject.optimizer["name"]],
                        undecayed=families.undecayed(module, subject.config))  # fmt: skip

        def given(grads: Any, step: int) -> Any:
            flat = tree.flatten(grads)
            return tree.unflatten({path: np.zeros_like(g) if path in paths else g for path, g in flat.items()})

        def decay(rows: list, rate: float) -> dict[str, float]:
            return {path: 0.0 if path in paths else value for path, value in rates(rows, rate).items()}

        right = optim.OPTIMIZERS[subject.optimizer["name"]][1]

        def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
            right(params, given(grads, 0), state, lr=lr, decay=decay)

        without = lambda s: replace(s, parts={**s.parts, "grads": given, "decay": decay})  # noqa: E731
        beside = lambda s: replace(s, parts={**s.parts, "update": update, "decay": decay})  # noqa: E731
        return [Mutant(f"{what}: not updated", without, section=STEPS),
                Mutant(f"{what}: not updated, though part of the norm", beside, section=STEPS)]

    return maker


LEFT = (
    ("the position table", r"(.*\.)?embeddings\.position\..*"),
    ("the type table", r"(.*\.)?embeddings\.token_type\..*"),
    ("all tables", r"(.*\.)?embeddings\.\w+\.weight"), ("the embeddings", r"(.*\.)?embeddings\..*"),
    ("the tables but the words, and their norm", r"(.*\.)?embeddings\.(?!word).*"),
    ("the norms", r".*norm\.(weight|bias)"), ("the encoder's norms", r"(.*\.)?encoder\..*norm\.(weight|bias)"),
    ("biases", r".*\.bias"), ("biases but the norms'", r"(?!.*norm\.).*\.bias"),
    ("the pooler", r"(.*\.)?pooler\..*"), ("the MLM head", r"(.*\.)?mlm\..*"), ("the pair head", r"(.*\.)?nsp\..*"),
    ("the encoder", r"(.*\.)?encoder\..*"), ("the decoder", r"(.*\.)?decoder\.\d.*"),
    ("layer 0", r"(.*\.)?(en|de)coder\.0\..*"), ("layer 1", r"(.*\.)?(en|de)coder\.1\..*"),
    ("the embeddings and layer 0", r"(.*\.)?(embeddings|(en|de)coder\.0)\..*"),
    ("the embeddings and all layers", r"(.*\.)?(embeddings|(en|de)coder\.\d+)\..*"),
)  # fmt: skip
ENCODER, HEAD_OF_TOKENS = r"encode\.(en|de)coder\..*", r"masked_lm\.head\..*"
FROZEN = (("encoder", ENCODER), ("MLM head", HEAD_OF_TOKENS), ("attention", r".*\.attention\..*"),
          ("feed-forward", r".*\.feed_forward\..*"))  # fmt: skip
entry(
    "O42", "parameters without a gradient, as the optimizer leaves them", "every parameter has a gradient and learns",
    "own knowledge", "step", "OPT-ORDER-2", when="gradients of 0 are O36, O38 and E30",
    mutants=[_left_alone(what, pattern) for what, pattern in LEFT],
)  # fmt: skip
entry(
    "O37", "a tensor detached: no gradient passes on", "every tensor on the way to the loss",
    "own knowledge", "gradient", "OPT-ORDER-2", cause_of=("E17",),
    when="within attention it is A36, of the pooler H27, of residuals L22",
    mutants=[_detached(name) for name in ("encoder_layer", "pre_norm_layer", "mlm_head", "self_attention",
                                          "feed_forward")]
    + [everywhere(_detached("linear", r"(?!encode\.pooler|.*decoder$).*"))],
)  # fmt: skip
def times_on_its_way(name: str, where: str, value: float) -> Callable:
    """What comes back to a block or op multiplied by a value."""
    module = next(module for module in (layers, ops, masked_lm) if hasattr(module, name))
    forward, backward = halves(getattr(module, name))
    pair = Replacement(forward, lambda dy, c: backward(dy * dy.dtype.type(value), c), faithful=False)
    return swap(f"what comes back to the {name.replace('_', ' ').replace('mlm', 'MLM')} times {solving.shown(value)}",
                name, pair, where, section=GRADIENTS)  # fmt: skip


entry(
    "O38", "weights or biases frozen", "every parameter has a gradient and learns",
    "own knowledge", "gradient", "OPT-ORDER-2", when="whole layers are O36, tables E30",
    mutants=[
        *(_unlearnt("layer_norm", leaves, ".*", FROZEN)
          for leaves in (("weight", "bias"), ("weight",), ("bias",))),
        *(_unlearnt("linear", leaves, r"(?!.*\.decoder$).*", FROZEN)
          for leaves in (("bias",), ("weight",), ("weight", "bias"))),
        _unlearnt("linear", ("bias",), r".*\.decoder"),
    ],
)  # fmt: skip
entry(
    "O29", "gradients handed out after they were clipped", "as the backward pass gives them",
    "own knowledge", "gradient", "OPT-ORDER-1",
    mutants=[
        handed_out("clipped gradients", _clipped),
        handed_out("clipped gradients, and their norm", _clipped, steps=True),
        solving.solvable(lambda most: handed_out(
            f"each entry clipped to {solving.shown(most)}",
            lambda grads, _: {name: np.clip(g, -most, most) for name, g in grads.items()}),
            1.0, (0.5, 0.1, 0.01, 0.001, 5.0), least=1e-9, most=1e9),
    ],
)  # fmt: skip


# ---- LAMB ------------------------------------------------------------------------------------------------------------
def lamb(what: str, variant: bool | None = None, corrected: bool = False, **other: Callable) -> Callable:
    """LAMB with other of its parts: ratio(‖p‖, ‖u‖), scaled(path), which tensors have one, and of(u, decayed), whose
    norm is ‖u‖; corrected: the moments are.
    """
    ratio = other.get("ratio", lambda old, new: old / new)
    scaled = other.get("scaled", optim.decays)
    of = other.get("of", lambda u, decayed: decayed)

    def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
        state["step"] += 1
        t = state["step"] if corrected else np.inf
        flat = [tree.flatten(a) for a in (grads, state["adam_m"], state["adam_v"])]
        for path, p in tree.items(params):
            g, m, v = (f[path] for f in flat)
            m[...] = BETA1 * m + (1 - BETA1) * g
            v[...] = BETA2 * v + (1 - BETA2) * g * g
            u = m / (1 - BETA1**t) / (np.sqrt(v / (1 - BETA2**t)) + 1e-6)
            decayed = u + (decay or {}).get(path, 0.0) * p
            old, new = (float(np.sqrt(np.square(a).sum())) for a in (p, of(u, decayed)))
            p[...] = p - lr * (ratio(old, new) if scaled(path) and old and new else 1.0) * decayed

    return for_optimizer(("lamb",), [part(what, variant, update=update)])[0]


entry(
    "O33", "LAMB's ratio of norms otherwise", "‖p‖/‖u‖, u with its decay; 1 for biases and norms",
    "own knowledge; cybertronai/pytorch-lamb (norms up to 10)", "step", "OPT-LAMB-1", when="with LAMB",
    mutants=[
        lamb("biases and norms have a ratio, too", scaled=lambda path: True),
        lamb("a ratio of 1 at most", ratio=lambda old, new: min(1.0, old / new)),
        lamb("a parameter's norm of 10 at most", ratio=lambda old, new: min(10.0, old) / new),
        lamb("no ratio", scaled=lambda path: False),
        lamb("of the update without its decay", of=lambda u, decayed: u),
        lamb("‖u‖/‖p‖", ratio=lambda old, new: new / old),
    ],
)  # fmt: skip
entry(
    "O34", "LAMB with bias correction", "none, as in the release; the paper has it: declare",
    "arXiv 1904.00962, algorithm 2", "step", "OPT-LAMB-1", when="with LAMB", variant=True,
    mutants=[lamb("both moments corrected", corrected=True)],
)  # fmt: skip


# ---- Adafactor -------------------------------------------------------------------------------------------------------
def _rms(x: Array) -> float:
    return float(np.sqrt(np.square(x).mean()))


def _factors(g2: Array, r: Array, c: Array, old: float) -> Array:
    """v of a matrix, after its moments were brought up to date."""
    r[...] = old * r + (1 - old) * g2.mean(-1, keepdims=True)
    c[...] = old * c + (1 - old) * g2.mean(-2, keepdims=True)
    return r * c / r.mean(-2, keepdims=True)


def _entries(g2: Array, r: Array, c: Array, old: float) -> Array:
    """v of a vector."""
    r[...] = old * r + (1 - old) * g2
    return r


def _summed(g2: Array, r: Array, c: Array, old: float) -> Array:
    """The mean of means taken for the sum: v is as many times too small as there are rows."""
    return _factors(g2, r, c, old) / len(r)


def _by_rows(g2: Array, r: Array, c: Array, old: float) -> Array:
    """A row's mean alone, as if all columns were alike."""
    return _factors(g2, r, c, old) * 0 + r


def adafactor(what: str, variant: bool | None = None, whole: bool = False, handed: bool = False, **other: Callable):
    """Adafactor with another of its parts: old(t), the share of the old moments; matrix(g², r, c, old), v of a matrix;
    clip(u); rate(p, lr); decayed(lr, α), what the decay is multiplied by. whole: each entry has a moment of its own;
    handed: what a tensor's rate came to is scaled for the next one's.
    """
    old = other.get("old", lambda t: 1 - t**-0.8)
    matrix = other.get("matrix", _factors)
    clip = other.get("clip", lambda u: u / max(1.0, _rms(u)))
    rate = other.get("rate", lambda p, lr: lr * max(1e-3, _rms(p)))
    decayed = other.get("decayed", lambda lr, alpha: alpha)

    def update(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None) -> None:
        state["step"] += 1
        share = old(state["step"])
        own = state.setdefault("own", {}) if whole else {}
        flat = [tree.flatten(t) for t in (grads, state["exp_avg_sq_row"], state["exp_avg_sq_col"])]
        for path, p in tree.items(params):
            g, r, c = (f[path] for f in flat)
            if whole:
                r = own.setdefault(path, np.zeros_like(g))
            v = (matrix if g.ndim > 1 and not whole else _entries)(g * g + 1e-30, r, c, share)
            alpha = rate(p, lr)
            u = alpha * clip(g / np.sqrt(v))
            p[...] = p - decayed(lr, alpha) * (decay or {}).get(path, 0.0) * p - u
            lr = alpha if handed else lr

    return for_optimizer(("adafactor",), [part(what, variant, update=update)])[0]


entry(
    "O21", "Adafactor's second moment not factored, or factored wrongly",
    "R and C, the means of g² over each row and column; v = R C / mean(R)",
    "fairseq#5290; PT#154862; mlcommons/algorithmic-efficiency#313", "step", "OPT-ADAFACTOR-1",
    when="with Adafactor",
    mutants=[
        adafactor("a moment for each entry", whole=True),
        adafactor("R C / sum(R), of means", matrix=_summed),
        adafactor("the rows' means alone", matrix=_by_rows),
    ],
)  # fmt: skip
entry(
    "O22", "Adafactor's share of the old moments constant, or counted from 0", "1 - t^-0.8, t = 1 at the first update",
    "mlcommons/algorithmic-efficiency#313; kozistr/pytorch_optimizer#243", "step", "OPT-ADAFACTOR-1",
    when="with Adafactor",
    mutants=[
        adafactor("0.999 throughout", old=lambda t: 0.999),
        adafactor("counted one ahead, so that the first is not all new", old=lambda t: 1 - (t + 1) ** -0.8),
        adafactor("the other way round: t^-0.8 of the old", old=lambda t: t**-0.8 if t > 1 else 0.0),
    ],
)  # fmt: skip
entry(
    "O23", "Adafactor's update not clipped, or clipped the wrong way", "u / max(1, RMS(u)), for each tensor",
    "huggingface/pytorch-image-models#2790; PiotrNawrot/nanoT5#15", "step", "OPT-ADAFACTOR-2",
    when="with Adafactor",
    mutants=[
        adafactor("not clipped", clip=lambda u: u),
        adafactor("clipped from below: u / min(1, RMS(u))", clip=lambda u: u / min(1.0, _rms(u) or 1.0)),
        adafactor("clipped by its norm, not its RMS", clip=lambda u: u / max(1.0, float(np.sqrt(np.square(u).sum())))),
        adafactor("always of RMS 1", clip=lambda u: u / (_rms(u) or 1.0)),
    ],
)  # fmt: skip
entry(
    "O24", "Adafactor's rate not that of the parameter's scale", "rate * max(1e-3, RMS(p)), p before the update",
    "HF#7789, #9751, #10526; facebookresearch/ParlAI#2443", "step", "OPT-ADAFACTOR-3",
    when="with Adafactor",
    mutants=[
        adafactor("the rate as it is (scale_parameter off)", True, rate=lambda p, lr: lr),
        adafactor("by the parameter's norm, not its RMS",
                  rate=lambda p, lr: lr * max(1e-3, float(np.sqrt(np.square(p).sum())))),
        adafactor("the scaled rate handed on to the next tensor", handed=True),
    ],
)  # fmt: skip
entry(
    "O25", "Adafactor's decay by the unscaled rate", "p -= rate * max(1e-3, RMS(p)) * decay * p",
    "src torch.optim Adafactor", "step", "OPT-ADAFACTOR-4",
    variant=True,
    when="with Adafactor",
    mutants=[adafactor("decay times the rate, as in torch.optim", decayed=lambda lr, alpha: lr)],
)  # fmt: skip
