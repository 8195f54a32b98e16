"""The laws themselves, and how they are asked.

A law is f(ask, view, inputs, config) -> (error, where), or with its own bar, a function of eps: it asks one or two
questions and compares the answers. `ask(p, inputs)` takes parameters by their paths in the family's tree; its answers
have "forward/NAME" and "gradients/NAME" of published modules, and "gradients/PATH" of parameters. `view` is what the
family says of its model (`parts.Parts`).
"""

import functools
import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import families, objective, signatures
from minibert.config import require, shown
from minibert.errors import InputError
from minibert.gradcheck import error
from minibert.laws.parts import Head, Parts, plain

Tensors = Mapping[str, np.ndarray]
Run = Callable[[Tensors, Tensors], Tensors]
Config = Mapping[str, Any]
Answer = tuple[float, str] | tuple[float, str, Callable]


@dataclass(frozen=True)
class Finding:
    """What one law says of an implementation; holds is None where the law cannot be asked."""

    law: str
    holds: bool | None
    error: float
    bar: float
    text: str


class Silent(Exception):
    """The law cannot be asked; the message says why."""


class _Given(dict):
    """What a law reads by name: where it is not there the law is silent."""

    def __missing__(self, name: str) -> Any:
        raise Silent(f"{name} is not given")


LAWS: dict[str, Callable[..., Finding]] = {}
QKV = ("query", "key", "value")
# Those of some: (whether a family's module is one of them, their laws)
CAUSAL: dict[str, Callable[..., Finding]] = {}
AHEAD: dict[str, Callable[..., Finding]] = {}
STATE: dict[str, Callable[..., Finding]] = {}
TASKS: dict[str, Callable[..., Finding]] = {}  # `laws.tasks`
SOME = (
    (lambda module: getattr(module, "CAUSAL", False), CAUSAL),
    (lambda module: any(hasattr(head, "AHEAD") for head in _heads(module)), AHEAD),
    (lambda module: hasattr(module, "step"), STATE),
    (lambda module: bool(getattr(module, "tasks", ())), TASKS),
)


def _heads(module: ModuleType) -> Iterable[ModuleType]:
    return objective.heads(module, module.Config(**module.PROBE)).values()


def law(f: Callable, laws: dict[str, Callable[..., Finding]] = LAWS) -> Callable[..., Finding]:
    """Declares a law; asked as f(run, weights, inputs, config, family="bert")."""

    @functools.wraps(f)
    def asked(run: Run, weights: Tensors, inputs: Tensors, config: Config, family: str = "bert") -> Finding:
        weights, inputs, view = _question(run, weights, inputs, config, family)
        answers: list[Tensors] = []

        def ask(p: Tensors, inputs: Tensors) -> Tensors:
            found = _mapping("what `run` returned", run(weights if p is view.p else view.flat(p), inputs))
            answers.append({key: signatures.array(key, value) for key, value in found.items() if view.golden(key)})
            return view.by_path(answers[-1])

        ask.steps = functools.partial(_steps, run, weights)  # the same, token by token
        try:
            if reason := silent(family, view.config).get(f.__name__):
                raise Silent(reason)
            found, where, *own = f(ask, view, inputs, _Given(config))
        except Silent as reason:
            return Finding(f.__name__, None, math.nan, math.nan, f"{f.__name__}: not asked: {reason}")
        eps = _eps(weights, *answers)
        bar = own[0](eps) if own else eps * (1024 if eps < 1e-4 else 32) * (2 + view.depth)
        holds = found <= bar
        section, _, path = where.partition("/")
        where = f"{section}/{view.published.get(path, path)}" if path else where
        verdict = "holds" if holds else f"broken at {where}: {f.__doc__.splitlines()[0]}"
        return Finding(f.__name__, holds, found, bar, f"{f.__name__}: error {found:.1e}, bar {bar:.1e}: {verdict}")

    laws[f.__name__] = asked
    return asked


def of(family: str) -> dict[str, Callable[..., Finding]]:
    """The laws that a family is asked: everybody's, its kind's, then its own and its kin's, from `laws/NAME.py`."""
    kinds = {name: asked for whose, laws in SOME if whose(families.family(family)) for name, asked in laws.items()}
    owned = {name: asked for own in _own(family) for name, asked in getattr(own, "LAWS", {}).items()}
    return {**LAWS, **kinds, **owned}


def silent(family: str, config: Any) -> dict[str, str]:
    """The laws that a family, or its kin, says cannot be asked of it, and why."""
    return {name: why for own in _own(family) for name, why in getattr(own, "silent", lambda _: {})(config).items()}


def _own(family: str) -> list[ModuleType]:
    """The modules of a family's own laws: its kin's, then its own, `laws/NAME.py` or the family's file itself."""
    there = {file.name for file in pkgutil.iter_modules([str(Path(__file__).parent)])}
    there -= {"core", "parts", "loops", "tasks"}
    module = families.family(family)
    name, kin = families.named(module), vars(module).get("KIN")
    own = [importlib.import_module(f"{__package__}.{name}")] if name in there else [module]
    return [*(_own(kin) if kin else ()), *own]


def check(run: Run, weights: Tensors, inputs: Tensors, config: Config, family: str = "bert") -> list[Finding]:
    """Every law's finding. The implementation sees the question as given only once."""
    inputs, given = _question(run, weights, inputs, config, family)[1], []

    @functools.wraps(run)
    def remembered(w: Tensors, x: Tensors) -> Tensors:
        same = w.keys() == weights.keys() and all(w[name] is weights[name] for name in w)
        if not same or x.keys() != inputs.keys() or any(x[name] is not inputs[name] for name in x):
            return run(w, x)
        if not given:
            given.append(run(weights, x))
        return given[0]

    return [asked(remembered, weights, inputs, config, family) for asked in of(family).values()]


def questions(
    asked: Callable, weights: Tensors, inputs: Tensors, config: Config, family: str = "bert"
) -> list[tuple[Tensors, Tensors]]:
    """The (weights, inputs) that a law wants answered."""
    known = any(asked is one for one in of(family).values())
    if not known:
        raise InputError(f"law {shown(asked)}: expected one of minibert.laws: {', '.join(of(family))}")
    wanted: list[tuple[Tensors, Tensors]] = []

    def recorded(weights: Tensors, inputs: Tensors) -> Tensors:
        wanted.append((weights, inputs))
        return {}

    asked(recorded, weights, inputs, config, family)
    return wanted


def replay(dumps: Iterable[Tensors]) -> Run:
    """A `run` that gives the answers to `questions`, in their order."""
    try:
        answers = iter(dumps)
    except TypeError:
        raise InputError(f"dumps {shown(dumps)}: expected a list of answers") from None

    def run(weights: Tensors, inputs: Tensors) -> Tensors:
        answer = next(answers, None)
        require(answer is not None, "there are fewer answers than `questions` gave questions")
        return answer

    return run


# ---- Other questions, the same answers -------------------------------------------------------------------------------
@law
def padding_invariance(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """More padding, and other ids or frames in it, change nothing outside of it. [BERT-ATT-4]

    What is hidden and asked for is no padding: it keeps its ids. [TASK-REC-2]
    """
    x, y, name = more_padding(view, inputs)
    first, second, length = ask(view.p, x), ask(view.p, y), x[name].shape[1]
    return _worst(_outside_padding(view, second, y[name], length), _outside_padding(view, first, x[name], length))


def more_padding(view: Parts, inputs: Tensors) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], str]:
    """(inputs; the same with more padding, and other ids or frames in it; the name of their mask)."""
    x, name, mask = _masked(view, inputs)
    more = min(2, view.longest - mask.shape[1])
    if more <= 0 and mask.all():
        raise Silent("neither padding nor room for it")
    if any(np.ndim(value) != len(view.specs[key].dims) for key, value in x.items() if key in view.specs):
        raise Silent("a row holds several texts")
    spare = {"T": (0, max(0, more))}
    y = {key: np.pad(value, [spare.get(dim, (0, 0)) for dim in view.specs[key].dims],
                     constant_values=view.specs[key].ignored or 0) if key in view.specs else value
         for key, value in x.items()}  # what asks nothing, where labels know such
    rng, heard = np.random.default_rng(0), [key for key in view.inputs(view.module.inputs(view.config), kind="real")
                                            if view.specs[key].dims[:2] == ("B", "T") and key in y]  # fmt: skip
    for frames in heard:
        y[frames] = np.where(y[name][..., None] != 0, y[frames], rng.standard_normal(y[frames].shape))
    noise = rng.integers(0, 1 if heard else _vocabulary(view), y[name].shape)
    for ids in view.inputs(y, dims=("B", "T"), bound="vocab_size", ignored=None):
        y[ids] = np.where((y[name] != 0) | _asked(y, noise.shape), y[ids], noise)
    return x, y, name


def of_the_whole(view: Parts, answer: Tensors) -> dict[str, np.ndarray]:
    """The losses of an answer, and the gradients of parameters."""
    return {key: value for key, value in answer.items()
            if key.startswith("forward/loss") or key.removeprefix("gradients/") in view.p}  # fmt: skip


@law
def batch_permutation(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Rows in another order give their own results in that order, and the same loss and gradients."""
    rows = len(next(inputs[name] for name in view.inputs(inputs) if view.specs[name].dims[0] == "B"))
    if rows < 2:
        raise Silent("the batch has one row")
    order = np.roll(np.arange(rows), 1)
    others = {name: _moved(value, (0, order)) for name, value in inputs.items()}
    first, second = ask(view.p, inputs), ask(view.p, others)
    shared = {name for path in view.positions for name in view.modules(path.removesuffix(".weight"))}  # by all rows

    def expected(key: str, value: np.ndarray) -> np.ndarray:
        several, rest = divmod(len(value), rows) if value.ndim else (0, 0)  # texts, windows of a row: each is one
        moved = several and not rest and _name(key) in view.known - shared
        return value[(order[:, None] * several + np.arange(several)).reshape(-1)] if moved else value

    return _worst(second, {key: expected(key, value) for key, value in first.items()})


@law
def head_permutation(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Heads in another order, and the columns that read them, change nothing else. [BERT-ATT-2]"""
    config[view.heads_field]
    moves: dict[str, tuple[int, np.ndarray]] = {}
    for i, own in enumerate(view.attentions):
        heads = view.heads_of(own) or 1
        if heads < 2:
            continue
        order = np.roll(np.arange(heads), 1 if view.positions else 1 + i % (heads - 1))  # a table may be of all layers
        for table in [path for path in view.positions if path.startswith(f"{own}.")] or view.positions:
            moves |= {table: (1, order), **dict.fromkeys(view.modules(table.removesuffix(".weight")), (-1, order))}
        width = len(view.p[f"{own}.query.weight"]) // heads
        entries = (order[:, None] * width + np.arange(width)).reshape(-1)
        for part in (*QKV, "position", *(f"global.{name}" for name in QKV)):
            moves |= {f"{own}.{part}.weight": (0, entries), f"{own}.{part}.bias": (0, entries)}
            moves |= dict.fromkeys(view.modules(f"{own}.{part}"), (-1, entries))
        moves |= {f"{own}.{part}.bias": (0, order) for part in ("content", "position")}  # a row a head
        moves |= {f"{own}.{part}.weight": (0, order) for part in ("content", "place", "segment")}
        moves |= {f"{own}.segments.weight": (1, order)}
        moves[f"{own}.output.weight"] = (1, entries)
        moves |= dict.fromkeys(view.beside(own, "query", ".merge", ".overwritten"), (-1, entries))
        moves |= dict.fromkeys(view.beside(own, "query", ":scores", ":probs"), (1, order))
    if not moves:
        raise Silent("there is one head")
    return _equivariance(ask, view, inputs, inputs, moves)


@law
def vocabulary_permutation(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Tokens under other ids (the padding id keeps its own) change nothing but the order of the logits."""
    free = np.setdiff1d(np.arange(_vocabulary(view)), [p for p in [config.get("pad_token_id")] if p is not None])
    order = np.arange(_vocabulary(view))
    order[free] = np.random.default_rng(0).permutation(free)
    renamed = np.argsort(order)
    others = {name: np.where(inputs[name] < 0, inputs[name], renamed[np.maximum(inputs[name], 0)])  # those below stay
              for name in view.inputs(inputs, bound="vocab_size")}
    moves = {**dict.fromkeys(view.token_tables, (0, order)),
             **dict.fromkeys((plain(head.logits) for head in view.of_tokens), (-1, order))}
    return _equivariance(ask, view, inputs, {**inputs, **others}, moves)


@law
def hidden_unit_permutation(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Units of the feed-forward in another order change nothing else. [BERT-FF-1]"""
    moves: dict[str, tuple[int, np.ndarray]] = {}
    for own in view.parts("in"):  # one that reads entities alone has no "out"
        order = np.random.default_rng(0).permutation(len(view.p[f"{own}.in.weight"]))
        moves |= {f"{own}.in.weight": (0, order), f"{own}.in.bias": (0, order), f"{own}.out.weight": (1, order)}
        moves |= {f"{own}.gate.weight": (0, order), f"{own}.gate.bias": (0, order)}
        units = view.modules(f"{own}.in") | view.modules(f"{own}.gate") | view.beside(own, "in", ".act", ".dropout")
        moves |= dict.fromkeys(units, (-1, order))
    if not moves:
        raise Silent("there is no feed-forward of two layers")
    return _equivariance(ask, view, inputs, inputs, moves)


@law
def key_bias_invariance(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Another bias of the key projection changes no probability and nothing after it. [OP-ATT-9]"""
    rng, moved, skip = np.random.default_rng(0), {}, set()
    for own in view.attentions:
        bias = _given(view.p, f"{own}.key.bias")
        moved[f"{own}.key.bias"] = bias + rng.standard_normal(len(bias)).astype(bias.dtype)
        skip |= view.modules(f"{own}.key") | view.beside(own, "key", ":scores")
    if not moved:
        raise Silent("there is no attention")
    x = _alive(view, inputs)
    return _worst(ask({**view.p, **moved}, x), _forward(ask(view.p, x), skip))


@law
def layer_norm_shift(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A constant added to every entry of a norm's input changes nothing after the norm. [OP-LN-1]"""
    tables = [view.tables(own)[-1] for own in view.embeddings]
    dense = [f"{own}.{last}" for parts, last in ((view.attentions, "output"), (view.feed_forwards, "out"))
             for own in parts if f"{own}.norm.weight" in view.p]  # fmt: skip
    dense = [path for path in dense if f"{path}.bias" in view.p]
    wanted = [*tables, *(f"{path}.bias" for path in dense)]
    if not wanted:
        raise Silent("no norm follows a table or a sub-layer")
    shifted = {path: view.p[path] + view.p[path].dtype.type(0.75) for path in wanted}
    outputs = [re.sub(r"\.(weight|bias)$", "", path) for path in (*dense, *tables)]
    skip = {name for path in outputs for name in view.modules(path)} | view.streams
    skip |= {name for path in dense for name in view.ends(path.rpartition(".")[0])}
    return _worst(ask({**view.p, **shifted}, inputs), _forward(ask(view.p, inputs), skip))


@law
def layer_norm_scale(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A norm's input times a constant gives the same output, once its variance is far above eps. [OP-LN-1]"""
    if _eps(view.p) > 1e-4:
        raise Silent("16 bits have no room for it")
    tables = [path for own in view.embeddings for path in view.scaled(own)]
    answers = [ask({**view.p, **{path: view.p[path] * view.p[path].dtype.type(s) for path in tables}}, inputs)
               for s in (2.0**30, 2.0**40)]  # fmt: skip
    norms = {name for own in view.embeddings for name in view.modules(view.first_norm(own))}
    wanted = (norms | {name.rpartition(".")[0] for name in norms}) - view.streams
    return _worst(answers[1], {key: value for key, value in answers[0].items()
                               if key.startswith("forward/") and _name(key) in wanted})


@law
def ignored_labels(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """What is not asked (slots of weight 0, one more of them, places marked so) counts for nothing. [BERT-LOSS-1]"""
    marked = [head for head in view.heads if head.labels in inputs]
    if marked:
        return _marked(ask, view, inputs, marked)
    ids, target_weights = _given(inputs, "masked_lm_ids"), _given(inputs, "masked_lm_weights")
    spare = ((0, 0), (0, 1))  # the new slot stands at position 0, as in BERT's files [DATA-14]
    others = (np.pad(ids, spare) + 1 + np.arange(len(ids))[:, None]) % _vocabulary(view)
    counted = np.pad(target_weights, spare)
    slots = {name: np.pad(inputs[name], spare) for name in view.inputs(inputs, dims=("B", "M"))}
    for name in view.inputs(inputs, dims=("B", "M"), bound="vocab_size"):
        slots[name] = np.where(counted != 0, slots[name], others)
    first, second = ask(view.p, inputs), ask(view.p, {**inputs, **slots})
    unasked = ~_asked(inputs, next(inputs[name] for name in view.inputs(inputs, dims=("B", "T"))).shape)
    found, where = _worst(second, first)
    for head in view.of_tokens:
        logits = first.get(f"gradients/{head.logits}") if head.term == "masked_lm" else None
        if logits is not None and logits.shape[:2] == unasked.shape and logits[unasked].any():
            return math.inf, f"gradients/{head.logits}, at a position that nothing asks for"
    return found, where


def _marked(ask: Run, view: Parts, inputs: Tensors, heads: list[Head]) -> Answer:
    """Labels before the first place that asks are no matter, and logits of what is not asked get no gradient."""
    others = dict(inputs)
    for head in heads:
        others[head.labels] = inputs[head.labels].copy()
        first, ignored = others[head.labels][:, : head.ahead], view.specs[head.labels].ignored
        first[...] = np.where(first == ignored, 0, ignored)
    first, second = ask(view.p, inputs), ask(view.p, others)
    for head in heads:
        logits, asked = first.get(f"gradients/{head.logits}"), _following(view, inputs, head)[1]
        if logits is not None and logits.shape[: asked.ndim] == asked.shape and logits[~asked].any():
            return math.inf, f"gradients/{head.logits}, at a position that nothing asks for"
    return _worst(second, first)


def _following(view: Parts, inputs: Tensors, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(the label that a place is asked for, whether it is): that `ahead` places behind it."""
    labels, ignored = _given(inputs, head.labels), view.specs[head.labels].ignored
    following = np.full_like(labels, ignored)
    following[:, : labels.shape[1] - head.ahead] = labels[:, head.ahead :]
    return following, following != ignored


@law
def uniform_head(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Equal logits cost ln V where a token is predicted, and ln 2 for a pair of sentences. [BERT-LOSS-1 BERT-LOSS-3]"""
    classes = {head.term: path for head in view.heads for path in view.classifier(head)}
    paths = [*view.word_tables, *view.decoders, *(p for head in view.heads for p in view.classifier(head))]
    equal = {path: np.broadcast_to(view.p[path][:1], view.p[path].shape).copy() for path in paths}
    known = {head.term: -math.log(1 / _vocabulary(view) + view.floor(head)) for head in view.of_tokens}
    known |= {head.term: math.log(int(head.classes)) for head in view.heads if head.term in classes}
    if "masked_lm" in known:
        total = float(_given(inputs, "masked_lm_weights").sum())
        known["masked_lm"] *= total / (total + config.get("mlm_denominator_eps", 0.0)) if total else 0.0
    if not known:
        raise Silent("no head tells classes apart")
    answer = ask({**view.p, **equal}, inputs)
    terms = [key for key in answer if key.startswith("forward/loss.")]
    truth = {key: known[key.partition(".")[2]] for key in terms if key.partition(".")[2] in known}
    if len(truth) == len(terms):
        truth["forward/loss"] = sum(truth.values())
    return _worst(answer, {key: np.asarray(value) for key, value in truth.items()})


# ---- One answer, looked at ------------------------------------------------------------------------------------------
@law
def attention_rows(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """The probabilities of each query sum to one. [OP-SM-1]"""
    sums = {key: value.sum(-1) for key, value in _probs(view, ask(view.p, inputs)).items()}
    return _worst(sums, {key: np.ones_like(value) for key, value in sums.items()})


@law
def forbidden_keys(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Padding keys, and in a causal model later ones, have no probability. [OP-ATT-4]"""
    x, masks = inputs, {}
    for letter in ("T", view.written):
        x, _, masks[letter] = _masked(view, x, letter)
    if all(mask.all() for mask in masks.values()) and not getattr(view.module, "CAUSAL", False):
        raise Silent("no key is forbidden")
    got, due = {}, {}
    for key, value in _probs(view, ask(view.p, x)).items():
        letter, causal = view.keys(_name(key))
        allowed = np.broadcast_to(masks[letter][:, None, None, :] != 0, (len(value), 1, *value.shape[2:]))
        if getattr(view.module, "SEES_ITSELF", False):  # padding, too
            allowed = allowed | np.eye(*value.shape[2:], dtype=bool)
        if causal:
            allowed = allowed & np.tri(value.shape[2], dtype=bool)
            allowed = allowed | ~allowed.any(-1, keepdims=True)  # padding in front sees nothing, and nothing reads it
        got[key], due[key] = 1 + np.where(allowed, 0, value), np.ones_like(value)
    return *_worst(got, due), lambda eps: eps


@law
def key_bias_gradient(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """The gradient of the key projection's bias is 0. [OP-ATT-9]"""
    answer = ask(view.p, _alive(view, inputs))
    found = {key: answer[key] for path in view.p if (key := f"gradients/{path}") in answer}
    largest = {key: float(np.abs(value).max()) for key, value in found.items()}
    biases = [f"gradients/{own}.key.bias" for own in view.attentions if f"gradients/{own}.key.bias" in found]
    if not biases:
        raise Silent("the key bias's gradient is not given")
    worst, most = max(biases, key=largest.get), max(largest.values())
    return (largest[worst] / most if most else math.inf), worst


@law
def softmax_gradients(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """What enters a softmax (scores, logits) has gradients that sum to zero over its entries. [OP-SM-2 OP-CE-4]"""
    names = {plain(head.logits) for head in view.heads if head in view.of_tokens or view.classifier(head)}
    names |= view.inside(":scores")
    entered = {key: value for key, value in ask(view.p, inputs).items()
               if key.startswith("gradients/") and _name(key) in names}  # fmt: skip
    sums = {key: np.append(value.reshape(-1), value.sum(-1)) for key, value in entered.items()}
    return _worst(sums, {key: np.append(value.reshape(-1), 0 * value.sum(-1)) for key, value in entered.items()})


@law
def tied_gradient(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """The word table's gradient is the sum of its two uses, look-up and decoder. [BERT-MLM-3]"""
    if any(path.endswith("decoder.weight") for path in view.decoders):
        raise Silent("the decoder has a matrix of its own")
    answer, table = ask(view.p, inputs), _word_table(view)
    looked_up = [name for name in view.inputs(view.module.inputs(view.config), bound="vocab_size") if name in inputs]
    if not view.of_tokens:
        raise Silent("no head predicts tokens")
    (rows, width), module = view.p[table].shape, view.published[table].rpartition(".")[0]
    if module not in {name for name, *_ in view.table}:  # where a variable is called as nothing that it is in
        module = next((name for name, path, _ in view.table if path.endswith(".tables.word")), module)
    scattered = np.zeros((rows, width), view.p[table].dtype)
    calls = [f"{module}@{call}" if call else module for call in range(len(looked_up))]
    if view.written != "T":  # a module for each stack
        calls = [name for name, path, _ in view.table if path.endswith(".tables.word")]
    for call, ids in zip(calls, looked_up, strict=False):
        gradient = _given(answer, f"gradients/{call}")
        scattered = scattered.astype(np.result_type(scattered, gradient), copy=False)
        np.add.at(scattered, inputs[ids].reshape(-1), gradient.reshape(-1, width))
    decoder = np.zeros_like(scattered)
    for head in view.of_tokens:
        d = _given(answer, f"gradients/{head.logits}").reshape(-1, rows)
        terms = view.module.terms(view.config)  # of a family with a loss of its own their names alone
        scale = terms[head.term].constants.get("scale", 1.0) if isinstance(terms, dict) else 1.0
        decoder = decoder + scale * (d.T @ _given(answer, f"forward/{head.entered}").reshape(-1, width))
    got, both = _given(answer, f"gradients/{table}"), scattered + decoder
    pad = config.get("pad_token_id")
    if pad is not None and got.shape == both.shape:  # ports give its row the decoder's part alone [BERT-EMB-4]
        alone = np.abs(got[pad] - decoder[pad]).max() < np.abs(got[pad] - both[pad]).max()
        both[pad] = decoder[pad] if alone else both[pad]
    return _worst({f"gradients/{table}": got}, {f"gradients/{table}": both})


@law
def gradient_is_the_slope(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Along a random direction the loss rises as its gradient says: of all parameters, and of the word table alone."""
    x, rng, table = _alive(view, inputs), np.random.default_rng(0), view.word_tables[:1]
    signs = {path: rng.choice([-1.0, 1.0], value.shape) for path, value in view.p.items()}
    pad = config.get("pad_token_id")
    for path in (*view.word_tables, *(path for own in view.embeddings for path in view.tables(own))):
        if pad is not None and pad < len(signs[path]):  # ports leave out its look-up [BERT-EMB-4 ROB-EMB-2]
            signs[path][pad] = 0
    for path in families.frozen(view.module, view.config):
        signs[path][...] = 0
    gradient, errors = ask(view.p, x), {}
    bar = 16 * math.sqrt(_eps(view.p, gradient))
    for paths in filter(None, (list(view.p), table)):
        parts = {n: np.asarray(_given(gradient, f"gradients/{n}"), np.float64) * np.abs(signs[n]) for n in paths}
        length = math.sqrt(sum(float((part * part).sum()) for part in parts.values()))

        def loss(step: float, paths: list[str] = paths) -> float:
            moved = {n: view.p[n] + (step * signs[n]).astype(view.p[n].dtype) for n in paths}
            return float(_given(ask({**view.p, **moved}, x), "forward/loss"))

        along = sum(float((parts[n] * signs[n]).sum()) for n in paths)
        reach = 0.3 * bar ** (2 / 7) / math.sqrt(sum(signs[n].size for n in paths))
        slope = _slope(loss, reach, bar / 4 * length)
        errors[paths[0] if len(paths) == 1 else "all parameters"] = abs(along - slope) / max(abs(slope), length)
    worst = max(errors, key=lambda where: (math.isnan(errors[where]), errors[where]))
    return errors[worst], f"gradients/{worst}", lambda eps: 16 * math.sqrt(eps)


def _slope(f: Callable[[float], float], reach: float, agreement: float) -> float:
    """f'(0) by differences of sixth order, over steps that shrink until three of them agree (kinks, truncation)."""
    slopes: list[float] = []
    for h in (reach / 3**k for k in range(6)):
        slopes.append(sum(share * (f(k * h) - f(-k * h)) for k, share in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))) / h)
        if len(slopes) > 2 and max(slopes[-3:]) - min(slopes[-3:]) <= agreement:
            return slopes[-2]
    raise Silent("the loss is too rough along the way for a slope")


# ---- Models that read from left to right -----------------------------------------------------------------------------
@functools.partial(law, laws=CAUSAL)
def prefix_invariance(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """What comes later, tokens and their mask, changes nothing that stands before it. [GPT2-ATT-2]"""
    x, name, mask = _masked(view, inputs, view.written)
    at = mask.shape[1] // 2
    if not at:
        raise Silent("rows of one token have nothing that comes later")
    later = np.arange(mask.shape[1]) >= at
    y = {**x, name: np.where(later, 1 - mask, mask)}
    given = [key for key in view.module.inputs(view.config) if key in x]
    for ids in view.inputs(given, ("B", view.written), bound="vocab_size"):
        y[ids] = np.where(later, (x[ids] + 1 + later.cumsum()) % _vocabulary(view), x[ids])
    first, second = (
        {key: _of_tokens(view, key, value, (mask != 0) & ~later, at) for key, value in _forward(answer, set()).items()}
        for answer in (ask(view.p, x), ask(view.p, y))
    )
    return _worst(second, {key: value for key, value in first.items() if value is not None})


@functools.partial(law, laws=AHEAD)
def next_token(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """A place is asked for the token behind it: the loss is the mean of what its logits say of that. [GPT2-LOSS-1]"""
    answer, got, due = ask(view.p, inputs), {}, {}
    for head in (head for head in view.heads if head.ahead):
        z, (following, asked) = _given(answer, f"forward/{head.logits}"), _following(view, inputs, head)
        if z.shape[:-1] != asked.shape or not asked.any() or following.max() >= z.shape[-1]:
            raise Silent(f"forward/{head.logits} has no logits of each place, or none is asked")
        p = np.exp(z - z.max(-1, keepdims=True))
        p, at = p / p.sum(-1, keepdims=True), (*np.nonzero(asked), following[asked])
        due[f"forward/loss.{head.term}"] = -np.log(p[at]).mean()
        gradient, weight = np.where(asked[..., None], p, 0), view.module.terms(view.config)[head.term].weight
        gradient[at] -= 1
        due[f"gradients/{head.logits}"] = gradient * (weight / asked.sum())
    got = {key: answer[key] for key in due if key in answer}
    return _worst(got, {key: np.asarray(value) for key, value in due.items()})


@functools.partial(law, laws=STATE)
def step_by_step(ask: Run, view: Parts, inputs: Tensors, config: Config) -> Answer:
    """Logits token by token, after half of each row at once, are those of the whole row. [STATE-2]"""
    start, step = ask.steps()
    x, name, mask = _masked(view, inputs, view.written)
    given = [key for key in view.module.inputs(view.config) if key in x and key != name]
    ids, *others = view.inputs(given, ("B", view.written))
    if others:
        raise Silent(f"{others[0]} is not read token by token")
    if (np.diff(mask.astype(np.int8), axis=1) > 0).any():
        raise Silent("token by token, positions are counted without the padding in front of a row")
    length, logits = mask.shape[1], view.of_tokens[0].logits
    read = length // 2
    if view.written == "T":
        state = start({ids: x[ids][:, :read], name: mask[:, :read]})
    else:
        state = step(x[ids][:, :read], start({key: x[key] for key in view.inputs(given, ("B", "T"))}))[1]
    found = np.zeros((*mask.shape, _vocabulary(view)))
    for at in range(read, length):
        found[:, at], state = step(x[ids][:, at : at + 1], state)
    kept = (mask != 0) & (np.arange(length) >= read)
    whole = _given(ask(view.p, x), f"forward/{logits}")
    return _worst({f"forward/{logits}": found[kept]}, {f"forward/{logits}": whole[kept]})


def _steps(run: Run, weights: Tensors) -> tuple[Callable, Callable]:
    """run.start(weights, inputs) -> state and run.step(weights, ids, state) -> (logits, state), of these weights."""
    found = [getattr(run, name, None) for name in ("start", "step")]
    if not all(map(callable, found)):
        raise Silent("the implementation has no `start` and `step`")
    start, step = (functools.partial(one, weights) for one in found)
    return start, step


# ---- What laws share -------------------------------------------------------------------------------------------------
def _eps(*answers: Tensors) -> float:
    kinds = {np.asarray(a).dtype for tensors in answers for a in tensors.values() if np.asarray(a).dtype.kind == "f"}
    return max((float(np.finfo(kind).eps) for kind in kinds), default=2.0**-52)


def _name(key: str) -> str:
    """What a key is about, without its section and the number of the call where a module is called again."""
    return plain(key.partition("/")[2])


def _worst(got: Tensors, expected: Tensors) -> tuple[float, str]:
    """The largest error of the tensors that both have, and where."""
    parameters = [np.abs(b).max(initial=0) for key, b in expected.items() if key.startswith("gradients/")]
    largest = float(max(parameters, default=0.0))
    errors = {key: error(got[key], b, largest if key.startswith("gradients/") else 0.0)
              for key, b in expected.items() if key in got}
    if not errors:
        raise Silent("the implementation does not give the tensors it is about")
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def _equivariance(ask: Run, view: Parts, inputs: Tensors, others: Tensors, moves: dict) -> tuple[float, str]:
    """moves: path or published module -> (axis, order), applied to the parameters and expected of the answer."""
    moved = {path: _moved(value, moves.get(path)) for path, value in view.p.items()}
    first, second = ask(view.p, inputs), ask(moved, others)
    return _worst(second, {key: _moved(value, moves.get(_name(key))) for key, value in first.items()})


def _moved(value: np.ndarray, move: tuple[int, np.ndarray] | None) -> np.ndarray:
    fits = move is not None and value.ndim > max(move[0], 0) and value.shape[move[0]] == len(move[1])
    return np.ascontiguousarray(np.take(value, move[1], axis=move[0])) if fits else value


def _forward(answer: Tensors, skip: set[str]) -> Tensors:
    return {key: value for key, value in answer.items() if key.startswith("forward/") and _name(key) not in skip}


def _question(run: Run, weights: Any, inputs: Any, config: Any, family: str) -> tuple[Tensors, Tensors, Parts]:
    """(weights, inputs without dropout, the family's view) as arrays; InputError for what no law can be asked of."""
    if not callable(run):
        raise InputError(f"run {shown(run)}: expected a function of (weights, inputs)")
    weights = _mapping("weights", weights).items()
    weights = {name: signatures.array(f"weight {name}", value) for name, value in weights}
    inputs = _without_dropout(_mapping("inputs", inputs))
    view = Parts(family, _mapping("config", config), weights)
    require(bool(view.rows), f"weights: none has a name that {family} gives; say family=… for another's")
    for name, spec in view.module.inputs(view.config).items():
        given = name in inputs or any(inputs.keys() & {s for s, n in view.spellings.items() if n == name})
        require(spec.startswith("?") or given, f"inputs lack {name!r}")
    sizes = {"vocab_size": _vocabulary(view) if view.word_tables else 2**62}
    for name, spec in view.specs.items():
        if name in inputs and spec.dims != ("B",):  # labels of rows are (B, 1), too
            checked = spec.bound is None or spec.bound in ("T", "vocab_size") or spec.bound.isdigit()
            spec = spec if checked else spec._replace(bound=str(2**62))
            inputs[name] = signatures.check(name, inputs[name], spec, sizes)
    return weights, inputs, view


def _mapping(name: str, given: Any) -> Mapping[str, Any]:
    fits = isinstance(given, Mapping) and all(isinstance(key, str) for key in given)
    if not fits:
        raise InputError(f"{name} {shown(given)}: expected a dict by published name")
    return given


def _without_dropout(inputs: Tensors) -> dict[str, np.ndarray]:
    """The first batch, in evaluation."""
    return {name: signatures.array(name, value) for name, value in inputs.items()
            if "/" not in name and name != "dropout"}


def _masked(view: Parts, inputs: Tensors, letter: str = "T") -> tuple[dict[str, np.ndarray], str, np.ndarray]:
    """(inputs with a mask that forbids no whole row, labels that ask nothing of padding; the mask's name; the mask)."""
    names = view.inputs(view.module.inputs(view.config), dims=("B", letter), kind="bit")
    spelled = [other for name in names for other in (name, *(s for s, n in view.spellings.items() if n == name))]
    if not spelled:
        raise Silent("the family has no mask of keys")
    name = next((name for name in spelled if name in inputs), spelled[0])
    like = next(inputs[other] for other in view.inputs(inputs, dims=("B", letter)))
    mask = inputs.get(name, np.ones_like(like))
    dead = ~mask.any(-1, keepdims=True)
    if name not in inputs or dead.any():
        mask = np.where(dead, np.ones_like(mask), mask)
        inputs = {**inputs, name: mask}
    return {**inputs, **_unasked(view, inputs, mask)}, name, mask


def _asked(inputs: Tensors, shape: tuple[int, ...]) -> np.ndarray:
    """Which of the tokens (B, T) the slots of some weight ask for."""
    asked = np.zeros(shape, bool)
    if "masked_lm_positions" in inputs and "masked_lm_weights" in inputs:
        rows, columns = np.nonzero(inputs["masked_lm_weights"])
        asked[rows, inputs["masked_lm_positions"][rows, columns]] = True
    return asked


def _unasked(view: Parts, inputs: Tensors, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Labels without those that ask something of padding that stands before a row's first token."""
    found = {}
    for head in (head for head in view.heads if head.ahead and head.labels in inputs):
        labels, ignored = inputs[head.labels].copy(), view.specs[head.labels].ignored
        labels[:, head.ahead :][mask[:, : -head.ahead] == 0] = ignored
        if not np.array_equal(labels, inputs[head.labels]):
            found[head.labels] = labels
    return found


def _alive(view: Parts, inputs: Tensors) -> dict[str, np.ndarray]:
    """The inputs with a mask, if any, that forbids no whole row."""
    try:
        return _masked(view, inputs)[0]
    except Silent:
        return dict(inputs)


def _outside_padding(view: Parts, answer: Tensors, mask: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Every tensor without its padding; parameters' gradients and whole-row results as they are."""
    found = {key: _of_tokens(view, key, value, mask != 0, length) for key, value in answer.items()}
    return {key: answer[key] if value is None else value for key, value in found.items()}


def _of_tokens(view: Parts, key: str, value: np.ndarray, kept: np.ndarray, length: int) -> np.ndarray | None:
    """What a tensor has of these tokens (B, T), of whatever all rows share of the first `length`; None: no tokens."""
    by_token = value.ndim >= 3 or _name(key) in {plain(head.logits) for head in view.heads if head.token}  # one a token
    if by_token and value.shape[:2] == kept.shape:
        return value[kept]
    axes = [axis for axis in (2, 3) if value.ndim == 4 and value.shape[axis] == kept.shape[1]]
    if axes and len(value) == len(kept):  # (B, H, T, T), or of another sequence's on one side
        pairs = kept if len(axes) == 1 else kept[:, :, None] & kept[:, None, :]
        return np.moveaxis(value, axes, range(1, 1 + len(axes)))[pairs]
    if value.ndim == 3 and value.shape[:2] == (kept.shape[1],) * 2:  # of queries and keys, all rows share it
        return value[:length, :length]
    return value[:, :length] if value.ndim == 3 and value.shape[:2] == (1, kept.shape[1]) else None


def _given(tensors: Tensors, name: str) -> np.ndarray:
    if name not in tensors:
        raise Silent(f"{name} is not given")
    return tensors[name]


def _word_table(view: Parts) -> str:
    for path in view.word_tables:
        return path
    raise Silent("there is no word table")


def _vocabulary(view: Parts) -> int:
    """How many tokens there are: in one table, or in its parts, a list of tables."""
    first = re.sub(r"\.\d+\.", ".N.", _word_table(view))
    return sum(len(view.p[path]) for path in view.word_tables if re.sub(r"\.\d+\.", ".N.", path) == first)


def _probs(view: Parts, answer: Tensors) -> dict[str, np.ndarray]:
    names = view.inside(":probs")
    return {key: value for key, value in answer.items() if key.startswith("forward/") and _name(key) in names}
