"""A published directory over texts: tokens, the forward pass, with all heads the loss and its gradients.

Weights are referred to by the directory's name and the SHA-256 of its model.safetensors. Truths are chosen to fit
BUDGET bytes: the last layer and what is pooled from it, which every case has, then losses and heads, embeddings,
layers; the gradients of norms and biases.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert import batches, families, objective, tree
from minibert.checkpoint import directory
from minibert.config import require, to_fields
from minibert.golden import case as files
from minibert.golden import cases, noise, places, subject
from minibert.golden.kinds import Made
from minibert.golden.kinds.family import batch_of, inputs_of, outputs
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Tensors, cast, entered
from minibert.model import Model

LEVELS, WHOLE = "model", True
MOST_TOKENS = 24  # of a text
MOST_TEXTS = 4
BUDGET = 600_000  # bytes of truths


def made(recipe: CaseRecipe) -> Made:
    """The directory's model over the texts; InputError where it has no tokenizer or no one file of weights."""
    source, place = recipe.source, Path(recipe.source)
    model = minibert.load(place)
    whole_file = (place / directory.WEIGHTS).exists()
    require(whole_file, f"{source} has no {directory.WEIGHTS}: sharded weights have no one hash to refer to")
    require(model.tokenizer is not None, f"{source} has no vocabulary, so no text becomes tokens")
    require(0 < len(recipe.texts) <= MOST_TEXTS, f"{len(recipe.texts)} texts: give 1 to {MOST_TEXTS}, one a line")
    room = min(MOST_TOKENS, batches.longest(model.module, model.config) or MOST_TOKENS)
    encoded = [model.tokenizer.encode(text, max_length=room) for text in recipe.texts]
    batch = _batch(model, encoded)
    whole = all(head in model.params for head in objective.needs(model.module, model.config))
    if whole:
        batch |= _labels(model, batch, recipe.seed)
    name, end = place.resolve().name, "gradients" if whole else "hidden states"
    counted = f"{len(recipe.texts)} text{'' if len(recipe.texts) == 1 else 's'}"
    facts = {
        "title": f"{name} over {counted}, from characters to {end}",
        "family": model.family,
        "objective": " + ".join(model.module.terms(model.config)) if whole else None,
        "config": to_fields(model.config),
        "dtype": np.result_type(*tree.leaves(model.params)).name,
        "weights": {"directory": name, "sha256": files.file_digest(place / directory.WEIGHTS)},
        "selection": f"last layer, losses, heads, embeddings, layers, gradients of norms and biases: {BUDGET} bytes",
    }
    rows = [
        {"text": text, "ids": e.ids, "tokens": e.tokens, "type_ids": e.type_ids, "offsets": e.offsets}
        for text, e in zip(recipe.texts, encoded, strict=True)
    ]
    return Made(
        facts,
        inputs_of([batch]),
        _evaluation(model, batch),
        outputs(model.family, model.config),
        {"texts": rows},
        held=lambda truth: selected(truth, model.family, model.config),
    )


def evaluate(case: Any, weights: Any = None) -> noise.Evaluation:
    """Of a case that was read; weights: the published directory."""
    model = Model(case.facts["family"], case.config(), case.params(weights))
    computed = _evaluation(model, case.batches()[0])

    def evaluated(dtype: np.dtype, around: tuple) -> Tensors:
        got = computed(dtype, around)
        return {key: got[key] for key in case.entries if key in got}

    return evaluated


def _batch(model: Model, encoded: list) -> dict[str, Any]:
    """The family's inputs of encoded texts, under the names that files have."""
    known, filed = model.module.inputs(model.config), {own: name for name, own in _spellings(model).items()}
    read = model.module.read(encoded, model.tokenizer.pad_id)
    return {filed.get(name, name): array for name, array in read.items() if name in known}


def _spellings(model: Model) -> dict[str, str]:
    return getattr(model.module, "SPELLINGS", {})


def _labels(model: Model, batch: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """The labels of the family's example; the text is left as it stands."""
    dims = batches.dims(model.module, model.config, batch)
    dims["M"] = min(3, dims.get("T", 6) // 2)
    build = cases.hook(model.family, "recipe") or CaseRecipe
    example = batch_of(build("", model.family, seed=seed, dims=dims), model.config)
    return {name: example[name] for name in objective.labels(model.module, model.config)}


def _evaluation(model: Model, batch: dict[str, Any]) -> noise.Evaluation:
    """The loss, outputs and gradients of a batch; without labels the outputs alone."""
    module, config = model.module, model.config
    inputs = {_spellings(model).get(name, name): array for name, array in batch.items()}
    if all(label in inputs for label in objective.labels(module, config)):
        whole = subject.made(model, [batch])
        return lambda dtype, around: subject.observe(cast(whole, dtype, around), ())

    def encoded(dtype: np.dtype, around: tuple) -> Tensors:
        params = tree.map(lambda a: a.astype(dtype, copy=False), model.params)
        with ExitStack() as stack:
            record = entered(stack, around)
            cache = {"encode": module.encode(params, config, inputs)[1]}
        lead = subject.row_shape(module, config, inputs)
        values = subject.published(module.activations(config), record.named(cache), lead)[0]
        return {f"forward/{name}": value for name, value in values.items()}

    return encoded


def selected(truth: Tensors, family: str, config: Any) -> Tensors:
    """The last layer, what is pooled, and what else fits the budget, the most telling first, in their old order; a
    quarter of it is for gradients.
    """
    forward = [key for key in truth if key.startswith("forward/")]
    where = places.places(family, config)
    layers = [key for key in forward if places.kind(where.of_tensor(key.partition("/")[2])) == "layer"]
    ends, around = where.ends(truth), [key for key in forward if key not in layers]
    outer = list({where.group(key.partition("/")[2]): key for key in around}.values())  # the last of each part
    last = [*ends[-1:], *(key for key in outer if len(truth[key].shape) == 2)]
    small = [f"gradients/{name}" for path, name, *_ in families.family(family).names(config)
             if path.endswith(".bias") or path.split(".")[-2:] == ["norm", "weight"]]  # fmt: skip
    kept = {*last}
    spent = sum(truth[key].nbytes for key in last)
    for order, left in (
        ([*outer[::-1], *ends[:1], *ends[-2:0:-1], *around, *layers[:12]], BUDGET * 3 // 4 - spent),
        ([key for key in small[::-1] if key in truth], BUDGET // 4),
    ):
        for key in order:
            if key not in kept and truth[key].nbytes <= left:
                kept.add(key)
                left -= truth[key].nbytes
    return {key: array for key, array in truth.items() if key in kept}
