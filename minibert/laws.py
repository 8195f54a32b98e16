"""Laws that need no goldens: what every right model of BERT's kin obeys, whatever its weights, asked of anybody's.

    def run(weights, inputs): ...          # published names in; {"forward/…": …, "gradients/…": …} out, what there is
    for finding in laws.check(run, weights, inputs, config):
        print(finding.text)

Names are those of golden cases; config has the published fields. A law asks one or two questions of `run` and compares
the answers; `holds` is None where it cannot be asked, and the text says why. Dropout masks in `inputs` are left out.
Layers, tables and heads are found by the names that published models of the families give them (`_Layer`, `HEADS`).

An implementation that only writes files is asked in two sittings. The questions do not depend on the answers (but for
gradient_is_the_slope, which needs a callable):

    asked = laws.questions(laws.head_permutation, weights, inputs, config)      # [(weights, inputs), …]: run them, dump
    laws.head_permutation(laws.replay(dumps), weights, inputs, config)

An error is max|a - b| / max(max|b|, s), s = 1e-3 of the largest gradient for gradients and 0 for values. Its bar is
1024 roundings a layer, embeddings and heads counting as one each, of the narrowest dtype among weights and answers (two
layers: 9.1e-13 in float64, 4.9e-4 in float32); 32 in 16 bits, where sums accumulate wider. Clauses in brackets are
those of reference/SPEC.md.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minibert import signatures
from minibert.config import require, shown
from minibert.errors import InputError
from minibert.gradcheck import error

Tensors = Mapping[str, np.ndarray]
Run = Callable[[Tensors, Tensors], Tensors]
Config = Mapping[str, Any]


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


LAWS: dict[str, Callable[[Run, Tensors, Tensors, Config], Finding]] = {}


def law(f: Callable) -> Callable[[Run, Tensors, Tensors, Config], Finding]:
    """Declares a law: f(run, weights, inputs, config) -> (error, where), or with its own bar, a function of eps."""

    @functools.wraps(f)
    def asked(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> Finding:
        answers: list[Tensors] = []
        given = weights
        held, inputs = _question(run, weights, inputs, config)

        def recorded(weights: Tensors, inputs: Tensors) -> Tensors:
            found = _mapping("what `run` returned", run(given if weights is held else weights, inputs))
            answers.append({key: signatures.array(key, value) for key, value in found.items()
                            if _golden(_name(key), weights)})
            return answers[-1]

        try:
            found, where, *own = f(recorded, held, inputs, _Given(config))
        except Silent as reason:
            return Finding(f.__name__, None, math.nan, math.nan, f"{f.__name__}: not asked: {reason}")
        eps = _eps(weights, *answers)
        bar = own[0](eps) if own else eps * (1024 if eps < 1e-4 else 32) * (2 + config.get("num_hidden_layers", 0))
        holds = found <= bar
        verdict = "holds" if holds else f"broken at {where}: {f.__doc__.splitlines()[0]}"
        return Finding(f.__name__, holds, found, bar, f"{f.__name__}: error {found:.1e}, bar {bar:.1e}: {verdict}")

    LAWS[f.__name__] = asked
    return asked


def check(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> list[Finding]:
    """Every law's finding. The implementation sees the question as given only once."""
    inputs, given = _question(run, weights, inputs, config)[1], []

    def remembered(w: Tensors, x: Tensors) -> Tensors:
        if w is not weights or x.keys() != inputs.keys() or any(x[name] is not inputs[name] for name in x):
            return run(w, x)
        if not given:
            given.append(run(w, x))
        return given[0]

    return [asked(remembered, weights, inputs, config) for asked in LAWS.values()]


def questions(asked: Callable, weights: Tensors, inputs: Tensors, config: Config) -> list[tuple[Tensors, Tensors]]:
    """The (weights, inputs) that a law wants answered."""
    known = any(asked is one for one in LAWS.values())
    if not known:
        raise InputError(f"law {shown(asked)}: expected one of minibert.laws: {', '.join(LAWS)}")
    wanted: list[tuple[Tensors, Tensors]] = []

    def recorded(weights: Tensors, inputs: Tensors) -> Tensors:
        wanted.append((weights, inputs))
        return {}

    asked(recorded, weights, inputs, config)
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
def padding_invariance(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """More padding, and other ids in it, change nothing outside of it. [BERT-ATT-4]"""
    x, name, mask = _masked(inputs)
    length = mask.shape[1]
    more = min(2, _positions(weights, config) - length)
    if not more and mask.all():
        raise Silent("neither padding nor room for it")
    wider = np.pad(mask, ((0, 0), (0, more)))
    y = {key: np.pad(value, ((0, 0), (0, more))) if value.shape == mask.shape and _by_token(key) else value
         for key, value in x.items()}
    noise = np.random.default_rng(0).integers(0, _vocabulary(weights), wider.shape)
    y |= {name: wider, "input_ids": np.where(wider, y["input_ids"], noise)}
    first, second = run(weights, x), run(weights, y)
    return _worst(_outside_padding(second, wider, length), _outside_padding(first, mask, length))


@law
def batch_permutation(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Rows in another order give their own results in that order, and the same loss and gradients."""
    rows = len(inputs["input_ids"])
    if rows < 2:
        raise Silent("the batch has one row")
    order = np.roll(np.arange(rows), 1)
    others = {name: _moved(value, (0, order)) for name, value in inputs.items()}
    first, second = run(weights, inputs), run(weights, others)
    by_row = {key for key, value in first.items() if _name(key) not in weights and value.ndim and len(value) == rows}
    return _worst(second, {key: value[order] if key in by_row else value for key, value in first.items()})


@law
def head_permutation(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Heads in another order, and the columns that read them, change nothing else. [BERT-ATT-2]"""
    moves: dict[str, tuple[int, np.ndarray]] = {}
    for i, layer in enumerate(_layers(weights)):
        heads = _heads(layer, config)
        if heads < 2:
            continue
        order = np.roll(np.arange(heads), 1 + i % (heads - 1))
        width = len(weights[f"{layer.own}.query.weight"]) // heads
        entries = (order[:, None] * width + np.arange(width)).reshape(-1)
        for part in ("query", "key", "value"):
            name = f"{layer.own}.{part}"
            moves |= {f"{name}.weight": (0, entries), f"{name}.bias": (0, entries), name: (-1, entries)}
        moves |= {f"{layer.merged}.weight": (1, entries), f"{layer.own}.context": (-1, entries),
                  f"{layer.own}.scores": (1, order), f"{layer.own}.probs": (1, order)}
    if not moves:
        raise Silent("there is one head")
    return _equivariance(run, weights, inputs, inputs, moves)


@law
def vocabulary_permutation(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Tokens under other ids (the padding id keeps its own) change nothing but the order of the logits."""
    table = _word_table(weights)
    free = np.setdiff1d(np.arange(len(weights[table])), [p for p in [config.get("pad_token_id")] if p is not None])
    order = np.arange(len(weights[table]))
    order[free] = np.random.default_rng(0).permutation(free)
    renamed = np.argsort(order)
    ids = ("input_ids", "masked_lm_ids", "replacement_ids", "span_ids")
    others = {name: renamed[inputs[name]] for name in ids if name in inputs}
    moves = {**dict.fromkeys([*_word_tables(weights), *_decoders(weights)], (0, order)),
             **dict.fromkeys(_logits(weights), (-1, order))}
    return _equivariance(run, weights, inputs, {**inputs, **others}, moves)


@law
def hidden_unit_permutation(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Units of the feed-forward in another order change nothing else. [BERT-FF-1]"""
    moves = {}
    for layer in _layers(weights):
        order = np.random.default_rng(0).permutation(len(weights[f"{layer.inner}.bias"]))
        moves |= {f"{layer.inner}.weight": (0, order), f"{layer.inner}.bias": (0, order), layer.inner: (-1, order),
                  layer.act: (-1, order), f"{layer.outer}.weight": (1, order)}
    return _equivariance(run, weights, inputs, inputs, moves)


@law
def key_bias_invariance(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Another bias of the key projection changes no probability and nothing after it. [OP-ATT-9]"""
    names = [f"{layer.own}.key" for layer in _layers(weights)]
    rng = np.random.default_rng(0)
    moved = {f"{n}.bias": weights[f"{n}.bias"] + _like(weights, n, rng.standard_normal(len(weights[f"{n}.bias"])))
             for n in names}
    skip = {*names, *(name.removesuffix("key") + "scores" for name in names)}
    x = _masked(inputs)[0]
    return _worst(run({**weights, **moved}, x), _forward(run(weights, x), skip))


@law
def layer_norm_shift(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """A constant added to every entry of a norm's input changes nothing after the norm. [OP-LN-1]"""
    types = [name for name in weights if name.endswith("token_type_embeddings.weight")]
    dense = [name for layer in _layers(weights) for name in (layer.merged, layer.outer)]
    shifted = {name: weights[name] + weights[name].dtype.type(0.75)
               for name in [*types, *(f"{name}.bias" for name in dense)]}
    skip = {name for module in (*dense, *types) for name in _networks(module.removesuffix(".weight"), weights)}
    return _worst(run({**weights, **shifted}, inputs), _forward(run(weights, inputs), skip))


@law
def layer_norm_scale(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """A norm's input times a constant gives the same output, once its variance is far above eps. [OP-LN-1]"""
    if _eps(weights) > 1e-4:
        raise Silent("16 bits have no room for it")
    tables = [name for name in weights if re.search(r"embeddings\.(word|position|token_type)_embeddings", name)]
    norms = [name.removesuffix(".weight") for name in weights if name.endswith("embeddings.LayerNorm.weight")]
    answers = [run({**weights, **{name: weights[name] * weights[name].dtype.type(s) for name in tables}}, inputs)
               for s in (2.0**30, 2.0**40)]
    wanted = {name for norm in norms for name in _networks(norm, weights)}
    wanted |= {name.removesuffix(".LayerNorm") for name in wanted}
    return _worst(answers[1], {key: value for key, value in answers[0].items()
                               if key.startswith("forward/") and _name(key) in wanted})


@law
def ignored_labels(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Prediction slots of weight 0, one more of them and other labels in them, change nothing. [BERT-LOSS-1]"""
    ids, target_weights = _given(inputs, "masked_lm_ids"), _given(inputs, "masked_lm_weights")
    spare = ((0, 0), (0, 1))  # the new slot stands at position 0, as in BERT's files [DATA-14]
    others = (np.pad(ids, spare) + 1 + np.arange(len(ids))[:, None]) % _vocabulary(weights)
    counted = np.pad(target_weights, spare)
    slots = {"masked_lm_positions": np.pad(inputs["masked_lm_positions"], spare), "masked_lm_weights": counted,
             "masked_lm_ids": np.where(counted != 0, np.pad(ids, spare), others)}
    if "replacement_ids" in inputs:
        slots["replacement_ids"] = np.where(counted != 0, np.pad(inputs["replacement_ids"], spare), others)
    first, second = run(weights, inputs), run(weights, {**inputs, **slots})
    unasked = np.ones(inputs["input_ids"].shape, bool)
    rows, columns = np.nonzero(target_weights)
    unasked[rows, inputs["masked_lm_positions"][rows, columns]] = False
    found, where = _worst(second, first)
    for name in _logits(weights):
        logits = first.get(f"gradients/{name}")
        fits = "pair_target" not in name and logits is not None and logits.shape[:2] == unasked.shape
        if fits and logits[unasked].any():
            return math.inf, f"gradients/{name}, at a position that nothing asks for"
    return found, where


@law
def uniform_head(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """Equal logits cost ln V where a token is predicted, and ln 2 for a pair of sentences. [BERT-LOSS-1 BERT-LOSS-3]"""
    heads = [*_word_tables(weights), *_decoders(weights), *_pair_heads(weights)]
    equal = {name: np.broadcast_to(weights[name][:1], weights[name].shape).copy() for name in heads}
    total = float(_given(inputs, "masked_lm_weights").sum())
    kept = total / (total + config.get("mlm_denominator_eps", 0.0)) if total else 0.0
    known = {"masked_lm": kept * math.log(_vocabulary(weights)), "next_sentence": math.log(2),
             "sentence_order": math.log(2), "span_boundary": math.log(_vocabulary(weights))}
    answer = run({**weights, **equal}, inputs)
    terms = [key for key in answer if key.startswith("forward/loss.")]
    truth = {key: known[key.partition(".")[2]] for key in terms if key.partition(".")[2] in known}
    if len(truth) == len(terms):
        truth["forward/loss"] = sum(truth.values())
    return _worst(answer, {key: np.asarray(value) for key, value in truth.items()})


# ---- One answer, looked at ------------------------------------------------------------------------------------------
@law
def attention_rows(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """The probabilities of each query sum to one. [OP-SM-1]"""
    sums = {key: value.sum(-1) for key, value in run(weights, inputs).items() if _probs(key)}
    return _worst(sums, {key: np.ones_like(value) for key, value in sums.items()})


@law
def forbidden_keys(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str, Callable]:
    """Padding keys, and in a causal model later ones, have no probability. [OP-ATT-4]"""
    x, _, mask = _masked(inputs)
    if mask.all() and not config.get("is_decoder"):
        raise Silent("no key is forbidden")
    allowed = np.broadcast_to(mask[:, None, None, :] != 0, (len(mask), 1, mask.shape[1], mask.shape[1]))
    if config.get("is_decoder"):
        allowed = allowed & np.tri(mask.shape[1], dtype=bool)
    probs = {key: value for key, value in run(weights, x).items() if _probs(key)}
    return *_worst({key: 1 + np.where(allowed, 0, value) for key, value in probs.items()},
                   {key: np.ones_like(value) for key, value in probs.items()}), lambda eps: eps


@law
def key_bias_gradient(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """The gradient of the key projection's bias is 0. [OP-ATT-9]"""
    answer = run(weights, _masked(inputs)[0])
    found = {key: value for key, value in answer.items() if key.startswith("gradients/") and _name(key) in weights}
    biases = {key: float(np.abs(value).max()) for key, value in found.items() if key.endswith(".key.bias")}
    if not biases:
        raise Silent("the key bias's gradient is not given")
    worst = max(biases, key=biases.get)
    largest = max(float(np.abs(value).max()) for value in found.values())
    return (biases[worst] / largest if largest else math.inf), worst


@law
def softmax_gradients(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """What enters a softmax (scores, logits) has gradients that sum to zero over its entries. [OP-SM-2 OP-CE-4]"""
    pairs = [name.removesuffix(".weight").removesuffix(".classifier") for name in _pair_heads(weights)]
    logits = {f"gradients/{name}" for name in (*_logits(weights), *pairs)}
    answer = run(weights, inputs)
    entered = {key: value for key, value in answer.items()
               if key in logits or (key.startswith("gradients/") and re.search(r"\.scores(@\d+)?$", key))}
    sums = {key: np.append(value.reshape(-1), value.sum(-1)) for key, value in entered.items()}
    return _worst(sums, {key: np.append(value.reshape(-1), 0 * value.sum(-1)) for key, value in entered.items()})


@law
def tied_gradient(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str]:
    """The word table's gradient is the sum of its two uses, look-up and decoder. [BERT-MLM-3]"""
    if not config.get("tie_word_embeddings", True):
        raise Silent("the decoder has a matrix of its own")
    if any(name.startswith("generator.") for name in weights):
        raise Silent("two networks look up, one of them what the other has drawn")
    answer, table, ids = run(weights, inputs), _word_table(weights), inputs["input_ids"]
    looked_up = _given(answer, f"gradients/{table.removesuffix('.weight')}")
    if not (uses := _logits(weights)):
        raise Silent("no head predicts tokens")
    rows, width = weights[table].shape
    scattered = np.zeros((rows, width), looked_up.dtype)
    np.add.at(scattered, ids.reshape(-1), looked_up.reshape(-1, width))
    decoder = np.zeros_like(scattered)
    for logits, entered in uses.items():
        d = _given(answer, f"gradients/{logits}").reshape(-1, rows)
        decoder = decoder + d.T @ _given(answer, f"forward/{entered}").reshape(-1, width)
    got, both = _given(answer, f"gradients/{table}"), scattered + decoder
    pad = config.get("pad_token_id")
    if pad is not None and got.shape == both.shape:  # ports give its row the decoder's part alone [BERT-EMB-4]
        alone = np.abs(got[pad] - decoder[pad]).max() < np.abs(got[pad] - both[pad]).max()
        both[pad] = decoder[pad] if alone else both[pad]
    return _worst({f"gradients/{table}": got}, {f"gradients/{table}": both})


@law
def gradient_is_the_slope(run: Run, weights: Tensors, inputs: Tensors, config: Config) -> tuple[float, str, Callable]:
    """Along a random direction the loss rises as its gradient says: of all parameters, and of the word table alone."""
    x, rng, table = _masked(inputs)[0], np.random.default_rng(0), _word_table(weights)
    signs = {name: rng.choice([-1.0, 1.0], value.shape) for name, value in weights.items()}
    if config.get("pad_token_id") is not None:  # ports leave out its look-up [BERT-EMB-4 ROB-EMB-2]
        for name in (*_word_tables(weights), *(n for n in weights if re.fullmatch(r"roberta.*position_emb.*", n))):
            signs[name][config["pad_token_id"]] = 0
    gradient, errors = run(weights, x), {}
    bar = 16 * math.sqrt(_eps(weights, gradient))
    for names in (list(weights), [table]):
        parts = {n: np.asarray(_given(gradient, f"gradients/{n}"), np.float64) * np.abs(signs[n]) for n in names}
        length = math.sqrt(sum(float((part * part).sum()) for part in parts.values()))

        def loss(step: float, names: list[str] = names) -> float:
            moved = {n: weights[n] + (step * signs[n]).astype(weights[n].dtype) for n in names}
            return float(_given(run({**weights, **moved}, x), "forward/loss"))

        along = sum(float((parts[n] * signs[n]).sum()) for n in names)
        reach = 0.3 * bar ** (2 / 7) / math.sqrt(sum(signs[n].size for n in names))
        slope = _slope(loss, reach, bar / 4 * length)
        errors[names[0] if len(names) == 1 else "all parameters"] = abs(along - slope) / max(abs(slope), length)
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


# ---- What laws share -------------------------------------------------------------------------------------------------
def _eps(*answers: Tensors) -> float:
    kinds = {np.asarray(a).dtype for tensors in answers for a in tensors.values() if np.asarray(a).dtype.kind == "f"}
    return max((float(np.finfo(kind).eps) for kind in kinds), default=2.0**-52)


# the published modules that golden cases have; what a candidate gives besides is passed over
_MODULES = re.compile(
    r"loss(\..+)?|(.+\.)?(embeddings(\.\w+)?|embeddings_project|embedding_hidden_mapping_in"
    r"|pooler(\.dense|_activation)?|cls\.(predictions(\.transform(\.dense)?)?|seq_relationship)"
    r"|lm_head(\.(dense|layer_norm))?|predictions(\.(dense|LayerNorm))?|sop_classifier|generator_lm_head"
    r"|generator_predictions\.(dense|LayerNorm)|discriminator_predictions(\.dense(_prediction)?)?"
    r"|cls\.pair_target_predictions(\..+)?"
    r"|layer\.\d+\.(attention\.self\.(query|key|value|scores|probs|context)|((attention\.)?output|intermediate)(\.dense)?)"
    r"|albert_layers\.\d+\.(attention(\.(query|key|value|scores|probs|context|dense))?|ffn(_output)?|activation"
    r"|full_layer_layer_norm)(@\d+)?)"
)


class _Layer(NamedTuple):
    """An encoder layer's modules: own has the projections and probabilities, merged reads the heads, inner and outer
    are the feed-forward's, act its activation.
    """

    own: str
    merged: str
    inner: str
    act: str
    outer: str


# logits of tokens, what enters their decoder: by the names after a network's own
HEADS = {
    "cls.predictions": "cls.predictions.transform",
    "lm_head": "lm_head.layer_norm",
    "predictions": "predictions.LayerNorm",
    "generator_lm_head": "generator_predictions.LayerNorm",
    "cls.pair_target_predictions": "cls.pair_target_predictions.mlp_layer_norm.layer_norm2",
}
PAIRS = ("cls.seq_relationship", "sop_classifier.classifier")
NETWORKS = ("", "generator.", "discriminator.")


def _golden(name: str, weights: Tensors) -> bool:
    return name in weights or _MODULES.fullmatch(name) is not None


def _name(key: str) -> str:
    """The tensor's name, without the number of the call where a module is called again."""
    return re.sub(r"@\d+$", "", key.partition("/")[2])


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


def _equivariance(run: Run, weights: Tensors, inputs: Tensors, others: Tensors, moves: dict) -> tuple[float, str]:
    """moves: name -> (axis, order), applied to the weights and expected of the answer."""
    moved = {name: _moved(value, moves.get(name)) for name, value in weights.items()}
    first, second = run(weights, inputs), run(moved, others)
    return _worst(second, {key: _moved(value, moves.get(_name(key))) for key, value in first.items()})


def _moved(value: np.ndarray, move: tuple[int, np.ndarray] | None) -> np.ndarray:
    fits = move is not None and value.ndim > max(move[0], 0) and value.shape[move[0]] == len(move[1])
    return np.ascontiguousarray(np.take(value, move[1], axis=move[0])) if fits else value


def _forward(answer: Tensors, skip: set[str]) -> Tensors:
    return {key: value for key, value in answer.items() if key.startswith("forward/") and _name(key) not in skip}


# what laws read of the inputs, as `signatures` writes it
INPUTS = {
    "input_ids": "(B,T)<V", "input_mask": "(B,T)?", "attention_mask": "(B,T)?", "segment_ids": "(B,T)<any",
    "token_type_ids": "(B,T)<any", "masked_lm_positions": "(B,M)<T", "masked_lm_ids": "(B,M)<V",
    "masked_lm_weights": "(B,M)+", "replacement_ids": "(B,M)<V",
}  # fmt: skip


def _question(run: Run, weights: Any, inputs: Any, config: Any) -> tuple[Tensors, Tensors]:
    """(weights, inputs without dropout) as arrays; InputError for what no law can be asked of."""
    if not callable(run):
        raise InputError(f"run {shown(run)}: expected a function of (weights, inputs)")
    weights = _mapping("weights", weights).items()
    weights = _Given({name: signatures.array(f"weight {name}", value) for name, value in weights})
    inputs = _without_dropout(_mapping("inputs", inputs))
    _mapping("config", config)
    require("input_ids" in inputs, "inputs lack 'input_ids'")
    tables = _word_tables(weights)
    sizes = {"V": len(np.atleast_1d(weights[tables[0]])) if tables else 2**62, "any": 2**62}
    checked = {name: signatures.check(name, inputs[name], signatures.parse(spec), sizes)
               for name, spec in INPUTS.items() if name in inputs}
    return weights, {**inputs, **checked}


def _mapping(name: str, given: Any) -> Mapping[str, Any]:
    fits = isinstance(given, Mapping) and all(isinstance(key, str) for key in given)
    if not fits:
        raise InputError(f"{name} {shown(given)}: expected a dict by published name")
    return given


def _without_dropout(inputs: Tensors) -> dict[str, np.ndarray]:
    """The first batch, in evaluation."""
    return {name: signatures.array(name, value) for name, value in inputs.items()
            if "/" not in name and name != "dropout"}


def _masked(inputs: Tensors) -> tuple[dict[str, np.ndarray], str, np.ndarray]:
    """(inputs with a mask that forbids no whole row, the mask's name, the mask)."""
    name = next((name for name in ("input_mask", "attention_mask") if name in inputs), "attention_mask")
    mask = inputs.get(name, np.ones_like(inputs["input_ids"]))
    dead = ~mask.any(-1, keepdims=True)
    if name in inputs and not dead.any():
        return dict(inputs), name, mask
    mask = np.where(dead, np.ones_like(mask), mask)
    return {**inputs, name: mask}, name, mask


def _by_token(name: str) -> bool:
    return not name.startswith(("masked_lm", "replacement", "span"))


def _outside_padding(answer: Tensors, mask: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Every tensor without its padding; parameters' gradients and whole-row results as they are."""
    kept, found = mask != 0, {}
    for key, value in answer.items():
        by_token = value.ndim >= 3 or key.endswith("discriminator_predictions")  # one logit a token
        if by_token and value.shape[:2] == kept.shape:
            value = value[kept]
        elif value.ndim == 4 and value.shape[::2] == (len(kept), kept.shape[1]):  # (B, H, T, T)
            value = np.moveaxis(value, 1, -1)[kept[:, :, None] & kept[:, None, :]]
        elif value.ndim == 3 and value.shape[:2] == (1, kept.shape[1]):
            value = value[:, :length]
        found[key] = value
    return found


def _given(tensors: Tensors, name: str) -> np.ndarray:
    if name not in tensors:
        raise Silent(f"{name} is not given")
    return tensors[name]


def _like(weights: Tensors, name: str, value: np.ndarray) -> np.ndarray:
    array = weights.get(name, weights.get(f"{name}.bias"))
    return value.astype(array.dtype)


def _layers(weights: Tensors) -> list[_Layer]:
    found = []
    for name in weights:
        if match := re.fullmatch(r"(.*layer\.\d+)\.attention\.self\.query\.weight", name):
            parts = ("attention.self", "attention.output.dense", "intermediate.dense", "intermediate", "output.dense")
        elif match := re.fullmatch(r"(.*albert_layers\.\d+)\.attention\.query\.weight", name):
            parts = ("attention", "attention.dense", "ffn", "activation", "ffn_output")
        else:
            continue
        found.append(_Layer(*(f"{match[1]}.{part}" for part in parts)))
    if not found:
        raise Silent("no layer's weights have the published names")
    if any(f"{layer.inner}.bias" not in weights for layer in found):
        raise Silent("layers share a part and not the other")
    return found


def _heads(layer: _Layer, config: Config) -> int:
    fraction = config.get("generator_size", 1) if layer.own.startswith("generator.") else 1
    return max(1, round(config["num_attention_heads"] * fraction))


def _logits(weights: Tensors) -> dict[str, str]:
    """Names of the tokens' logits -> what enters their decoder."""
    return {f"{network}{logits}": f"{network}{entered}" for network in NETWORKS for logits, entered in HEADS.items()
            if f"{network}{logits}.bias" in weights or f"{network}{logits}.decoder.bias" in weights}  # fmt: skip


def _decoders(weights: Tensors) -> list[str]:
    """The decoders' biases, and matrices of their own."""
    ends = ("bias", "weight", "decoder.bias", "decoder.weight")
    return [name for logits in _logits(weights) for end in ends if (name := f"{logits}.{end}") in weights]


def _pair_heads(weights: Tensors) -> list[str]:
    return [name for head in PAIRS for leaf in ("weight", "bias") if (name := f"{head}.{leaf}") in weights]


def _networks(module: str, weights: Tensors) -> list[str]:
    """A shared module's names in the networks that use it: its weights stand under one of them."""
    if not any(name.startswith("generator.") for name in weights):
        return [module]
    own = re.sub(r"^(generator|discriminator)\.", "", module)
    return [f"generator.{own}", f"discriminator.{own}"]


def _word_tables(weights: Tensors) -> list[str]:
    return [name for name in weights if name.endswith("word_embeddings.weight")]


def _word_table(weights: Tensors) -> str:
    for name in _word_tables(weights):
        return name
    raise Silent("there is no word table under its published name")


def _vocabulary(weights: Tensors) -> int:
    return len(weights[_word_table(weights)])


def _positions(weights: Tensors, config: Config) -> int:
    """How many tokens a row may have."""
    table = next((name for name in weights if name.endswith("embeddings.position_embeddings.weight")), None)
    first = config["pad_token_id"] + 1 if (table or "").startswith("roberta.") else 0
    return len(weights[table]) - first if table else 0


def _probs(key: str) -> bool:
    return key.startswith("forward/") and _name(key).endswith(".probs")
