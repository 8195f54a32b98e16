"""Golden cases, made: probe weights and batches, their truth, its certificate and its noise floors.

A case is made of a `Recipe` (a family's whole step, a block, an op) or of a published directory and a text
(`pipeline`); tokenizer vectors and masking statistics are data without weights. `computed` evaluates any case again,
in any precision. Every random number comes from `draws`, so a case made twice is the same case.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert import families, gradcheck, layers, objective, ops, trace, tree
from minibert.checkpoint import directory
from minibert.checkpoint.names import from_published, to_published
from minibert.config import from_fields, nearest, require, to_fields
from minibert.errors import InputError
from minibert.golden import case as cases
from minibert.golden import certify, compare, noise, subject, vectors
from minibert.golden.case import Case
from minibert.golden.draws import Draws
from minibert.golden.levels import LAYER, group
from minibert.golden.recipes import LENGTH, Recipe, recipes
from minibert.golden.subject import Subject
from minibert.model import Model
from minibert.pairs import PAIRS, observing

Array = np.ndarray
Tensors = dict[str, Array]
Around = tuple[Callable, ...]

BATCHES = 3  # steps go round through so many
SHAKES = 8  # times that the gradients of the steps are moved by their floors
FLOAT64 = np.dtype(np.float64)
MOST_PARAMETERS = 100_000
BUDGET = 600_000  # bytes of truths in a case over a published directory

# small, unequal sizes, of those fields that a family has (`published`)
SMALL = {
    "vocab_size": 19,
    "embedding_size": 8,
    "span_position_size": 7,
    "max_span": 5,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 11,
}


# ---- Making ----------------------------------------------------------------------------------------------------------
def make(name: str, recipe: Recipe, path: Any, runs: int = noise.RUNS) -> Case:
    """Make the case, certify its truth, measure its floors and write it to the folder `path`."""
    kind = "family" if recipe.pair is None else "block" if recipe.pair in BLOCKS else "op"
    if kind == "op":
        given, config, evaluate = _op(recipe)
    elif kind == "block":
        given, config, evaluate = _block(recipe)
    else:
        given, config, evaluate = _family(recipe)
    truth = evaluate(FLOAT64, ())
    certified = _certificate(kind, recipe, given, config, truth)
    facts = {
        "name": name,
        "title": recipe.title,
        "kind": kind,
        "family": None if kind == "op" else recipe.family,
        "pair": recipe.pair,
        "objective": " + ".join(_terms(recipe.family, config)) if kind == "family" else None,
        "config": config,
        "seed": recipe.seed,
        "dtype": recipe.dtype,
        "truth": _provenance(recipe.dtype, certified),
        "certified": certified,
        "optimizer": dict(recipe.optimizer) if kind == "family" and recipe.steps else None,
        "steps": list(recipe.steps) if kind == "family" else [],
        "batches": BATCHES if kind == "family" and recipe.steps else 1,
        "variants": list(recipe.variants),
        "weights": None if kind == "op" else {"file": "weights.safetensors"},
    }
    facts |= {"version": minibert.__version__, "selection": None}
    floors = noise.floors(evaluate, truth, cases.scale(truth), recipe.seed, runs)
    if facts["steps"]:
        floors = through_the_optimizer(subject_of(recipe)[0], recipe.steps, truth, floors, recipe.seed)
    return cases.write(path, facts, {**given, **truth}, floors, outputs=("output", *_outputs(facts)))


def _terms(family: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    module = families.family(family)
    return tuple(module.terms(from_fields(module.Config, dict(fields))))


def through_the_optimizer(
    made: Subject, steps: tuple[int, ...], truth: Tensors, floors: dict[str, dict[str, float | None]], seed: int
) -> dict[str, dict[str, float | None]]:
    """The floors, raised where Adam makes more of a gradient's rounding than the evaluations happened to show.

    Adam divides each entry by its own size, so the rounding of an entry far below its tensor's scale reaches the
    parameter whole. Every entry of every step's gradient is moved up or down by its tensor's floor, SHAKES times; not
    those that are exactly 0, such as rows that nothing looks up, and not what is truly 0 everywhere (the key bias).
    """
    scales = cases.scale(truth)
    names = {path: name for path, name, _ in families.family(made.family).names(made.config)}
    parameters = {f"steps/{k}/{name}" for k in steps for name in names.values()}
    raised = {key: dict(value) for key, value in floors.items()}
    for precision in noise.PRECISIONS:
        for run in range(SHAKES):
            draws = Draws(seed, f"gradients {precision} {run}")

            def shaken(grads: Any, step: int, precision: str = precision, draws: Draws = draws) -> Any:
                flat = {}
                for path, g in tree.items(grads):
                    key = f"gradients/{names[path]}"
                    signs = (2.0 * draws.integers(0, 2, g.shape) - 1) * (g != 0)
                    moved = (floors[key][precision] or 0.0) * scales[key] * signs
                    flat[path] = g + moved if np.abs(truth[key]).max() == scales[key] else g
                return tree.unflatten(flat)

            got = subject.observe(replace(_in(FLOAT64, made), parts={"grads": shaken}), steps)
            for key, y in truth.items():
                floor = raised[key][precision]
                if key in parameters and floor is not None:
                    error = float(np.max(np.abs(got[key] - y), initial=0)) / scales[key]
                    raised[key][precision] = max(floor, float(f"{error:.3g}"))
    return raised


def _outputs(facts: Mapping[str, Any]) -> list[str]:
    """The modules whose outputs are a family's outputs: the last layer's, and those after it."""
    if facts["family"] is None:
        return []
    config = from_fields(families.family(facts["family"]).Config, facts["config"])
    names = [name for name, _, _ in families.family(facts["family"]).activations(config)]
    last = max((i for i, name in enumerate(names) if LAYER.match(name)), default=0)
    return [name for name in names[last:] if not name.endswith(("dense", "transform"))]


def _provenance(dtype: str, certified: Mapping[str, float]) -> str:
    """How the truth came about, for case.json."""
    text = "float64, by minibert's engine"
    if dtype == "float32":
        text += " from the float32 weights and inputs, with the mask constant that float32 has"
    if certified:
        worst = max(certified.values())
        text += f"; against 50 digits at most {worst:g} units in the last place ({len(certified)} keys)"
    return text


def _certificate(kind: str, recipe: Recipe, given: Tensors, config: dict, truth: Tensors) -> dict[str, float]:
    if kind == "op":
        args, constants = _arguments(recipe.pair, given, config, FLOAT64)
        constants = {key: value for key, value in constants.items() if key != "padding_idx"}
        gradients = not recipe.masked_row and config.get("padding_idx") is None
        return certify.op(recipe.pair, args, constants, given["inputs/cotangent"], truth, gradients)
    if kind == "family":
        return certify.step(_in(FLOAT64, subject_of(recipe)[0]), truth)
    return {}


# ---- A family --------------------------------------------------------------------------------------------------------
def _family(recipe: Recipe) -> tuple[Tensors, dict, noise.Evaluation]:
    """(what is given, config fields, evaluation) of a whole family's step."""
    made, batches = subject_of(recipe)
    flat = to_published(made.params, families.family(recipe.family).names(made.config))
    given = {**{f"weights/{name}": array for name, array in flat.items()}, **inputs_of(batches)}
    return given, to_fields(made.config), lambda dtype, around: observed(made, recipe.steps, dtype, around)


def inputs_of(batches: list[dict[str, Any]]) -> Tensors:
    """Batches as tensors under the keys of a case."""
    tensors: Tensors = {}
    for i, batch in enumerate(batches):
        prefix = f"inputs/{i}/" if i else "inputs/"
        arrays = {name: array for name, array in batch.items() if name != "dropout"}
        arrays |= {f"dropout/{name}": keep for name, keep in (batch.get("dropout") or {}).items()}
        tensors |= {prefix + name: np.asarray(array) for name, array in arrays.items()}
    return tensors


def _in(dtype: np.dtype, made: Subject) -> Subject:
    return replace(made, params=tree.map(lambda a: a.astype(dtype, copy=False), made.params))


def observed(made: Subject, steps: tuple[int, ...], dtype: np.dtype, around: Around) -> Tensors:
    """Everything a subject computes in `dtype`, through further observers."""
    return subject.observe(replace(_in(dtype, made), around=(*made.around, *around)), steps)


def subject_of(recipe: Recipe) -> tuple[Subject, list[dict[str, Any]]]:
    """What a recipe computes: the subject, and its batches as files hold them."""
    module = families.family(recipe.family)
    config = from_fields(module.Config, {**published(recipe.family), **recipe.config})
    params = probe_weights(recipe.family, config, recipe.seed)
    batches = [_batch(recipe, config, i) for i in range(BATCHES if recipe.steps else 1)]
    if recipe.low is not None:
        model = Model(recipe.family, config, params)
        _flatten_embedding(model, batches[0], recipe.low, Draws(recipe.seed, "nearly constant"))
    params = tree.map(lambda a: _single(a).astype(recipe.dtype), params)
    model = Model(recipe.family, config, params)
    checked = [model.checked(batch) for batch in batches]
    return Subject(recipe.family, config, params, checked, recipe.optimizer), batches


def published(family: str) -> dict[str, Any]:
    """Small sizes for a family's cases, beside the published meaning of every switch: what its Config defaults to."""
    module = families.family(family)
    spare = module.Config.max_position_embeddings - module.longest(module.Config())  # RoBERTa's first rows
    sizes = {**SMALL, "max_position_embeddings": SMALL["max_position_embeddings"] + spare}
    return {name: size for name, size in sizes.items() if name in module.Config.__dataclass_fields__}


def probe_weights(family: str, config: Any, seed: int) -> Any:
    """A tree of weights that hide little: std 0.4 (0.2 beyond four layers), random norms and biases."""
    std = 0.4 if config.num_hidden_layers <= 4 else 0.2

    def drawn(path: str, shape: tuple[int, ...]) -> Array:
        values = Draws(seed, path).standard_normal(shape)
        *_, parent, leaf = path.split(".")
        return 1 + 0.3 * values if (parent, leaf) == ("norm", "weight") else std * values

    shapes = objective.trained(families.family(family), config)
    return tree.unflatten({path: drawn(path, shape) for path, shape in tree.items(shapes)})


def _single(a: Array) -> Array:
    """The nearest float32 numbers: what is given has these in either dtype, so that every precision starts equal."""
    return np.asarray(a, np.float32)


def _batch(recipe: Recipe, config: Any, number: int) -> dict[str, Any]:
    """The family's example batch with distinct target positions, and what the recipe asks for."""
    module, draws = families.family(recipe.family), Draws(recipe.seed, f"batch {number}")
    batch = module.example(draws, config, rows=recipe.rows, length=recipe.length)
    if "masked_lm_positions" in batch:
        slots = batch["masked_lm_positions"].shape[1]
        tokens = batch["input_mask"].sum(1)
        chosen = [np.sort(1 + draws.permutation(int(n) - 1)[:slots]) for n in tokens]
        batch["masked_lm_positions"] = np.array(chosen)
    if recipe.left:
        _pad_left(batch)
    if recipe.masked_row:
        batch["input_mask"][-1] = 0
    if recipe.hole:
        batch["input_mask"][0, 4] = 0
    if not recipe.dropout:
        del batch["dropout"]
    return batch


def _pad_left(batch: dict[str, Any]) -> None:
    """Each row's tokens at its end, and the targets with them."""
    width = batch["input_mask"].shape[1]
    shift = width - batch["input_mask"].sum(1, keepdims=True)
    for name in ("input_ids", "input_mask", "segment_ids"):
        batch[name] = np.take_along_axis(batch[name], (np.arange(width) - shift) % width, 1)
    batch["masked_lm_positions"] = batch["masked_lm_positions"] + shift


def of(name: str, kind: str, fields: Mapping[str, Any], seed: int) -> Recipe:
    """The recipe of a family (kinds family and block) or an op, with these config fields over the probe's."""
    if kind == "op":
        require(name in PAIRS, f"no op {name!r}{nearest(name, PAIRS)}; there are: {', '.join(PAIRS)}")
        return Recipe(f"{name} alone", None, name, fields, seed)
    module = families.family(name)
    config = from_fields(module.Config, {**published(name), **fields})
    size = sum(int(np.prod(shape)) for shape in tree.leaves(objective.shapes(module, config)))
    advice = "a case holds them eleven times: give a smaller configuration, or --from a published directory"
    require(
        size <= MOST_PARAMETERS, f"the configuration has {size:,} parameters of {MOST_PARAMETERS:,} allowed; {advice}"
    )
    room = module.longest(config)
    require(room >= 7, f"max_position_embeddings leaves room for {room} tokens; a probe batch needs 7 or more")
    pair = {"family": None, "block": "encoder_layer"}[kind]
    title = f"{name} made from seed {seed}" if pair is None else f"one encoder layer of {name} alone, from seed {seed}"
    return Recipe(title, name, pair, fields, seed, dropout=True, length=min(LENGTH, room))


def _flatten_embedding(model: Model, batch: dict[str, Any], std: float, draws: Draws) -> None:
    """Make the sum of embeddings at row 0, position 4 of the batch nearly constant: its deviation is `std`."""
    at, last = 4, model.config.vocab_size - 1
    token = last if model.config.pad_token_id != last else last - 1
    batch["input_ids"][0, at] = token
    tables, ids = _embedded(model, batch)
    word = tables["word"]["weight"]
    values = draws.standard_normal(word.shape[1])
    values = 0.7 + std * (values - values.mean()) / values.std()
    rows = {name: numbers[..., at].reshape(-1)[0] for name, numbers in ids.items() if name != "word"}
    word[token] = values - sum(tables[name]["weight"][row] for name, row in rows.items())


def _embedded(model: Model, batch: dict[str, Any]) -> tuple[Any, dict[str, Array]]:
    """(parameters, ids by table) of the first sum of embeddings that the loss of a batch computes."""
    found: list[tuple[Any, dict[str, Array]]] = []

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ == "embeddings":
            found.append((args[0], constants["ids"]))
        return f(*args, **constants)

    with observing(noted):
        model.loss(batch)
    return found[0]


# ---- A block ---------------------------------------------------------------------------------------------------------
BLOCKS = ("encoder_layer",)
FIRST = "encoder.0."  # of a tree that has the layers as BERT has them


def _first_layer(module: Any, config: Any) -> tuple[str, str]:
    """How the first encoder layer's published names begin, and its paths in a cache."""
    last = "attention.self.query.weight"
    names = [name for path, name, _ in module.names(config) if path.startswith(FIRST) and name.endswith(last)]
    require(bool(names), f"{module.MODEL_TYPE} has no layers of BERT's own kind, so none of them stands alone")
    start = names[0].removesuffix(last)
    path = next(path for name, path, _ in module.activations(config) if name == f"{start}attention.self.query")
    return start, path.removesuffix("attention.query")


def _block(recipe: Recipe) -> tuple[Tensors, dict, noise.Evaluation]:
    """One encoder layer alone: x and the layer's weights in, every intermediate and gradient out."""
    made, batches = subject_of(recipe)
    module = families.family(recipe.family)
    start, _ = _first_layer(module, made.config)
    flat = to_published(made.params, module.names(made.config))
    weights = {name.removeprefix(start): a for name, a in flat.items() if name.startswith(start)}
    draws, mask = Draws(recipe.seed, "block"), batches[0]["input_mask"]
    shape = (*mask.shape, made.config.hidden_size)
    given = {f"weights/{name}": a for name, a in weights.items()}
    for name in ("x", "cotangent"):
        given[f"inputs/{name}"] = _single(draws.standard_normal(shape)).astype(recipe.dtype)
    given["inputs/attention_mask"] = mask
    for name, keep in batches[0].get("dropout", {}).items():
        if name.startswith(start):
            given[f"inputs/dropout/{name.removeprefix(start)}"] = keep
    return given, to_fields(made.config), lambda dtype, around: _layer(module, made.config, given, dtype, around)


def _layer(module: Any, config: Any, given: Mapping[str, Array], dtype: np.dtype, around: Around) -> Tensors:
    start, traced = _first_layer(module, config)
    rows = [(path, name, kind) for path, name, kind in module.names(config) if name.startswith(start)]
    rows = [(path.removeprefix(FIRST), name.removeprefix(start), kind) for path, name, kind in rows]
    flat = {name: given[f"weights/{name}"].astype(dtype) for _, name, _ in rows}
    x, dy = (given[f"inputs/{name}"].astype(dtype) for name in ("x", "cotangent"))
    keeps = {key.removeprefix("inputs/dropout/"): a for key, a in given.items() if key.startswith("inputs/dropout/")}
    kept = keeps.get("attention.self.dropout")
    rate = config.attention_probs_dropout_prob
    with ExitStack() as stack:
        for factory in around:
            stack.enter_context(observing(factory()))
        record = stack.enter_context(trace.recording())
        _, cache = layers.encoder_layer(
            x,
            from_published(flat, rows),
            heads=config.num_attention_heads,
            act=config.hidden_act,
            eps=config.layer_norm_eps,
            mask=given["inputs/attention_mask"][:, None, None, :],
            masked=config.mask_constant,
            dropout=None if kept is None else ops.dropout_multiplier(kept, rate, dtype),
            keep={"attention": keeps.get("attention.output.dropout"), "feed_forward": keeps.get("output.dropout")},
            rate=config.hidden_dropout_prob,
        )
        dx, gradient = layers.encoder_layer_backward(dy, cache)
    table = [
        (name.removeprefix(start), path.removeprefix(traced), kind)
        for name, path, kind in module.activations(config)
        if name.startswith(start)
    ]
    values, cotangents = subject.published(table, record.named(cache), {"input_ids": given["inputs/attention_mask"]})
    gradients = {**cotangents, "x": dx, **to_published(gradient, rows)}
    return {
        **{f"forward/{name}": value for name, value in values.items()},
        **{f"gradients/{name}": value for name, value in gradients.items()},
    }


# ---- An op -----------------------------------------------------------------------------------------------------------
# a size for each letter of the signatures, unequal where they meet
SIZES = {"...": (2, 3), "b": 2, "h": 3, "t": 4, "s": 5, "k": 6, "d": 5, "i": 4, "o": 3, "v": 7, "m": 3}
# where activations are told apart: far tails, the largest difference of erf and tanh, zero
HARD = np.array([-10.0, -5.0, -2.7, -1.0, -1e-3, 0.0, 1e-3, 1.0, 2.7, 5.0, 10.0])
ELEMENTWISE = ("gelu", "gelu_tanh", "tanh", "sigmoid", "relu")


def _op(recipe: Recipe) -> tuple[Tensors, dict, noise.Evaluation]:
    pair = PAIRS[recipe.pair]
    draws = Draws(recipe.seed, recipe.pair)
    args, constants = gradcheck.arguments(pair, SIZES, draws)
    if recipe.pair in ELEMENTWISE:
        args["x"].reshape(-1)[: len(HARD)] = HARD[: args["x"].size]
        if recipe.pair == "relu":
            args["x"][args["x"] == 0] = 0.5  # no derivative there
    constants |= recipe.config
    arrays = {key: a for key, a in {**args, **constants, **recipe.arrays}.items() if isinstance(a, np.ndarray)}
    config = {key: value for key, value in constants.items() if key not in arrays}
    real = {key: _single(a).astype(recipe.dtype) for key, a in arrays.items() if a.dtype.kind == "f"}
    given = {f"inputs/{key}": real.get(key, a) for key, a in arrays.items()}
    y = pair.forward(**{key: given[f"inputs/{key}"] for key in arrays}, **config)[0]
    given["inputs/cotangent"] = _single(draws.standard_normal(np.shape(y))).astype(recipe.dtype)
    return given, config, lambda dtype, around: _pair(recipe.pair, given, config, dtype, around)


def _arguments(name: str, given: Mapping[str, Array], config: dict, dtype: np.dtype) -> tuple[Tensors, dict]:
    """(differentiable arguments, data and constants) of an op, its real arrays in `dtype`."""
    arrays = {key.removeprefix("inputs/"): a for key, a in given.items() if key.startswith("inputs/")}
    arrays = {key: a.astype(dtype) if a.dtype.kind == "f" else a for key, a in arrays.items() if key != "cotangent"}
    own = noise.parameters(name)[: len(PAIRS[name].arguments)]
    return {key: arrays[key] for key in own}, {**{k: a for k, a in arrays.items() if k not in own}, **config}


def _pair(name: str, given: Mapping[str, Array], config: dict, dtype: np.dtype, around: Around) -> Tensors:
    args, constants = _arguments(name, given, config, dtype)
    with ExitStack() as stack:
        for factory in around:
            stack.enter_context(observing(factory()))
        y, cache = PAIRS[name].forward(**args, **constants)
        returned = PAIRS[name].backward(given["inputs/cotangent"].astype(dtype), cache)
    gradients = gradcheck.gradients(PAIRS[name].forward, returned, args)
    return {"forward/output": np.asarray(y), **{f"gradients/{key}": gradients[key] for key in args}}


# ---- A published directory -------------------------------------------------------------------------------------------
MOST_TOKENS = 24  # of a text in a pipeline case
MOST_TEXTS = 4


def pipeline(source: Any, texts: list[str], path: Any, name: str, seed: int = 0, runs: int = noise.RUNS) -> Case:
    """A case over a published directory and texts: tokens, the forward pass, with all heads the loss and gradients.

    Weights are referred to by the directory's name and the SHA-256 of its model.safetensors. Truths are chosen to fit
    BUDGET bytes: loss, embeddings, heads, the last layer, then other layers; the gradients of norms and biases.
    """
    place = Path(source)
    model = minibert.load(place)
    whole_file = (place / directory.WEIGHTS).exists()
    require(whole_file, f"{source} has no {directory.WEIGHTS}: sharded weights have no one hash to refer to")
    require(model.tokenizer is not None, f"{source} has no vocabulary, so no text becomes tokens")
    require(0 < len(texts) <= MOST_TEXTS, f"{len(texts)} texts: give 1 to {MOST_TEXTS}, one a line")
    encoded = model.tokenizer.encode_batch(texts, max_length=min(MOST_TOKENS, model.module.longest(model.config)))
    batch: dict[str, Any] = {
        "input_ids": np.array([row.ids for row in encoded]),
        "input_mask": np.array([row.attention_mask for row in encoded]),
        "segment_ids": np.array([row.type_ids for row in encoded]),
    }
    batch = {name: a for name, a in batch.items() if _spelling(model.module, name) in model.module.inputs(model.config)}
    whole = all(head in model.params for head in objective.needs(model.module, model.config))
    if whole:
        batch |= _targets(batch, model, seed)
    dtype = np.result_type(*tree.leaves(model.params))
    facts = {
        "name": name,
        "title": f"{place.resolve().name} over {len(texts)} texts, from characters to "
        + ("gradients" if whole else "hidden states"),
        "kind": "pipeline",
        "family": model.family,
        "pair": None,
        "objective": " + ".join(model.module.terms(model.config)) if whole else None,
        "config": to_fields(model.config),
        "seed": seed,
        "dtype": dtype.name,
        "truth": _provenance(dtype.name, {}),
        "certified": {},
        "optimizer": None,
        "steps": [],
        "batches": 1,
        "variants": [],
        "weights": {"directory": place.resolve().name, "sha256": cases.file_digest(place / directory.WEIGHTS)},
        "selection": f"embeddings, heads, layers from the last back, gradients of norms and biases: {BUDGET} bytes",
    }

    def evaluate(dtype: np.dtype, around: Around) -> Tensors:
        return _computed(model, batch, dtype, around)

    truth = _selected(evaluate(FLOAT64, ()))
    rows = [
        {"text": text, "ids": e.ids, "tokens": e.tokens, "type_ids": e.type_ids, "offsets": e.offsets}
        for text, e in zip(texts, encoded, strict=True)
    ]
    floors = noise.floors(evaluate, truth, cases.scale(truth), seed, runs)
    facts |= {"version": minibert.__version__}
    tensors = {**inputs_of([batch]), **truth}
    return cases.write(path, facts, tensors, floors, {"texts": rows}, outputs=_outputs(facts))


def _spelling(module: Any, name: str) -> str:
    """The family's own name of an input or label."""
    return getattr(module, "SPELLINGS", {}).get(name, name)


def _targets(batch: dict[str, Array], model: Model, seed: int) -> dict[str, Array]:
    """The labels that the family's loss needs: targets drawn by BERT's rule, which also corrupts batch["input_ids"];
    sentence pairs labelled 0 and 1 in turn; what the family samples from its own model.
    """
    from minibert.corruption import masking, rules

    ids, draws, tokenizer = batch["input_ids"], Draws(seed, "masking"), model.tokenizer
    vocabulary = masking.Vocabulary(
        len(tokenizer), tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id
    )
    made = rules.bert(ids, batch["input_mask"], draws, vocabulary, cap=4)
    candidates = masking.candidates(ids, batch["input_mask"], vocabulary)
    turns = np.arange(len(ids)) % 2
    fields = {
        **masking.targets(ids, made.chosen, 4),
        **masking.span_targets(ids, candidates, made.groups, 4),
        "next_sentence_labels": turns,
        "sentence_order_labels": turns,
        "replaced_labels": (made.ids != ids).astype(np.int64),
    }
    batch["input_ids"] = made.ids
    wanted = objective.labels(model.module, model.config)
    fields = {name: a for name, a in fields.items() if _spelling(model.module, name) in wanted}
    if not wanted.keys() <= {_spelling(model.module, name) for name in fields}:
        fields |= model.module.sampled(draws, model.params, model.config, {**batch, **fields})
    return fields


def _computed(model: Model, batch: dict[str, Any], dtype: np.dtype, around: Around) -> Tensors:
    """The loss, outputs and gradients of a batch; without labels the outputs alone."""
    inputs = {_spelling(model.module, name): array for name, array in batch.items()}
    if all(label in inputs for label in objective.labels(model.module, model.config)):
        made = Subject(model.family, model.config, model.params, [model.checked(batch)])
        return observed(made, (), dtype, around)
    params = tree.map(lambda a: a.astype(dtype, copy=False), model.params)
    with ExitStack() as stack:
        for factory in around:
            stack.enter_context(observing(factory()))
        record = stack.enter_context(trace.recording())
        cache = {"encode": model.module.encode(params, model.config, inputs)[1]}
    values = subject.published(model.module.activations(model.config), record.named(cache), inputs)[0]
    return {f"forward/{name}": value for name, value in values.items()}


def _selected(tensors: Tensors) -> Tensors:
    """The tensors that fit the budget, the most telling first, in their old order; a quarter of it is for gradients."""
    forward = [key for key in tensors if key.startswith("forward/")]
    layered = [key for key in forward if LAYER.match(key)]
    outputs = list({group(key): key for key in layered}.values())  # each layer's last
    around = [key for key in forward if key not in layered and not re.search(r"_embeddings|LayerNorm|transform", key)]
    inner = {"gradients/" + key.partition("/")[2] for key in forward}
    small = [key for key in tensors if key.startswith("gradients/") and key not in inner]
    small = [key for key in small if key.endswith((".bias", "LayerNorm.weight"))]
    kept: set[str] = set()
    for order, left in (
        ([*around, *outputs[-1:], *outputs[:1], *outputs[-2:0:-1], *layered[:12]], BUDGET * 3 // 4),
        (small[::-1], BUDGET // 4),
    ):
        for key in order:
            if key not in kept and tensors[key].nbytes <= left:
                kept.add(key)
                left -= tensors[key].nbytes
    return {key: array for key, array in tensors.items() if key in kept}


# ---- Again -----------------------------------------------------------------------------------------------------------
def computed(case: Case, dtype: Any = FLOAT64, around: Around = (), weights: Any = None) -> Tensors:
    """Everything that a case with tensors holds, computed again by the engine in `dtype`, through observers.

    weights: the published directory, for a case over one.
    """
    kind, dtype = case.facts["kind"], np.dtype(dtype)
    if kind == "family":
        return observed(case.subject(), tuple(case.facts["steps"]), dtype, around)
    if kind == "pipeline":
        model = Model(case.facts["family"], case.config(), case.params(weights))
        got = _computed(model, case.batches()[0], dtype, around)
        return {key: got[key] for key in case.entries if key in got}
    given = {key: case.tensor(key) for key in case.entries if key.startswith(("weights/", "inputs/"))}
    if kind == "block":
        return _layer(families.family(case.facts["family"]), case.config(), given, dtype, around)
    require(kind == "op", f"case {case.name} of kind {kind!r} holds no tensors to compute")
    return _pair(case.facts["pair"], given, case.facts["config"], dtype, around)


def verify(case: Case, weights: Any = None) -> list[str]:
    """What differs from a replay by this engine, a line each; [] when nothing does.

    Other builds of the linear algebra give other bits. The bar is 64 times the float32 floor, scaled to float64.
    """
    if case.facts["kind"] == "pipeline" and weights is None:
        return []
    with cases.replaying(case):
        if case.facts["kind"] in vectors.KINDS:
            return vectors.verify(case)
        got = computed(case, weights=weights)
    lines = []
    for key, entry in case.entries.items():
        truth = case.tensor(key)
        if key.startswith(("weights/", "inputs/")):
            continue
        floor = entry.noise.get("float32")
        bar = 64 * (2.0**-24 if floor is None else floor) * 2.0**-29
        if key not in got or got[key].shape != truth.shape:
            lines.append(f"{key}: not computed any more")
            continue
        error = compare.error(got[key], truth, entry.scale)
        if not error <= bar:
            lines.append(f"{key}: error {error:.1e}, bar {bar:.1e}")
    return lines


# ---- The shipped cases -----------------------------------------------------------------------------------------------
def shipped(name: str, path: Any) -> Case:
    """Make one of the shipped cases again."""
    known = recipes()
    if name in vectors.SHIPPED:
        return vectors.make(name, path)
    if name not in known:
        raise InputError(f"no shipped case {name!r}; there are: {', '.join([*known, *vectors.SHIPPED])}")
    return make(name, known[name], path)
