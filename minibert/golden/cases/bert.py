"""BERT's golden cases, and what those of its kin share: sizes, what is changed in a batch, doubles composed."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers
from minibert.config import to_fields
from minibert.golden.certify import Double, at_50_digits, doubles, module
from minibert.golden.draws import Draws
from minibert.golden.recipe import Batch, CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject
from minibert.model import Model
from minibert.pairs import observing

Array = np.ndarray
Lists = Any

SIZES = {
    "vocab_size": 19, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10,
    "max_position_embeddings": 11,
}  # fmt: skip
LEAST = 7
ALL_OTHER = {"hidden_act": "gelu_new", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
             "type_vocab_size": 3, "initializer_range": 0.4, "layer_norm_eps": 1e-3, "pad_token_id": 5,
             "tie_word_embeddings": False, "mask_constant": "-10000", "pad_row_gradient": True,
             "mlm_denominator_eps": 0.01}  # fmt: skip


# ---- Recipes ---------------------------------------------------------------------------------------------------------
def recipe(
    title: str, family: str = "bert", *, low: float | None = 0.05, edits: tuple = (), **fields: Any
) -> CaseRecipe:
    """A case with distinct targets. low: standard deviation of the embedding sum that is nearly constant, or None."""
    settled = None if low is None else partial(nearly_constant, low)
    std = 0.4 if fields.get("config", {}).get("num_hidden_layers", 2) <= 4 else 0.2
    return CaseRecipe(title, family, edits=(distinct_targets, *edits), settled=settled, std=std, **fields)


def published(title: str, family: str, **fields: Any) -> CaseRecipe:
    """The one case of a relative that holds everything, but of the steps only what is worth its bytes."""
    return recipe(f"as published: {title}", family, states=False, **fields)


def beside(title: str, family: str, **fields: Any) -> CaseRecipe:
    """A further case of a relative."""
    return recipe(title, family, insides=False, **{"steps": (), **fields})


def probe(family: str, seed: int) -> CaseRecipe:
    """Everything off its default."""
    config = {**families.family(family).PROBE, "initializer_range": 0.4, "tie_word_embeddings": False}
    title = "every config field away from its default, dropout masks drawn"
    return beside(title, family, config=config, seed=seed, dropout=True)


def distinct_targets(batch: Batch, draws: Draws) -> None:
    """No position is a target twice."""
    if "masked_lm_positions" in batch:
        slots = batch["masked_lm_positions"].shape[1]
        mask = batch["input_mask"]
        tokens = mask.sum(-1).reshape(len(mask), -1).max(1)  # of a mask for each query the most that one sees
        chosen = [np.sort(1 + draws.permutation(int(n) - 1)[:slots]) for n in tokens]
        batch["masked_lm_positions"] = np.array(chosen)


def uneven_targets(batch: Batch, draws: Draws) -> None:
    """Four rows ask of 3, 1, 4 and 2 tokens."""
    slots = np.arange(batch["masked_lm_weights"].shape[1])
    batch["masked_lm_weights"] = (slots < np.array([[3], [1], [4], [2]])).astype(np.float64)


def padded_left(batch: Batch, draws: Draws) -> None:
    """Each row's tokens at its end, and the targets with them."""
    width = batch["input_mask"].shape[1]
    shift = width - batch["input_mask"].sum(1, keepdims=True)
    for name in ("input_ids", "input_mask", "segment_ids"):
        batch[name] = np.take_along_axis(batch[name], (np.arange(width) - shift) % width, 1)
    batch["masked_lm_positions"] = batch["masked_lm_positions"] + shift


def masked_row(batch: Batch, draws: Draws) -> None:
    """The last row's mask is all 0."""
    batch["input_mask"][-1] = 0


def hole(batch: Batch, draws: Draws) -> None:
    """The first row's mask has a 0 between its 1s."""
    batch["input_mask"][0, 4] = 0


def nearly_constant(std: float, model: Model, batch: Batch, draws: Draws) -> None:
    """The sum of embeddings at row 0, position 4 of the batch nearly constant: its deviation is `std`."""
    at, last = 4, model.config.vocab_size - 1
    token = last if model.config.pad_token_id != last else last - 1
    batch["input_ids"][0, at] = token
    tables, ids = _embedded(model, batch)
    word = tables["word"]["weight"]
    values = draws.standard_normal(word.shape[1])
    values = 0.7 + std * (values - values.mean()) / values.std()
    rows = {name: numbers[..., at].reshape(-1)[0] for name, numbers in ids.items() if name != "word"}
    word[token] = values - sum(tables[name]["weight"][row] for name, row in rows.items())


def _embedded(model: Model, batch: Batch) -> tuple[Any, dict[str, Array]]:
    """(parameters, ids by table) of the first sum of embeddings that the loss of a batch computes."""
    found: list[tuple[Any, dict[str, Array]]] = []

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        if f.__name__ == "embeddings":
            found.append((args[0], constants["ids"]))
        return f(*args, **constants)

    with observing(noted):
        model.loss(batch)
    return found[0]


ADAMW = {**OPTIMIZER, "name": "adamw", "schedule": "linear", "weight_decay": 0.1, "clip_norm": 0.5}
SHARDED = {**OPTIMIZER, "clip_norm": 0.5, "shards": [2, 4]}
ADAFACTOR = {**OPTIMIZER, "name": "adafactor", "schedule": "t5", "learning_rate": 5e-3}
RELEASE = {"hidden_act": "gelu_new", "mask_constant": "-10000", "pad_row_gradient": True, "mlm_denominator_eps": 1e-5}
LAYER = {"kind": "block", "pair": "encoder_layer", "inputs": ("attention_mask",), "steps": (), "low": None}
CASES = {
    "published": recipe("BERT as published: erf, eps 1e-12, smallest mask constant, plain mean; no dropout"),
    "probe": recipe("every config field away from its default, untied decoder, dropout masks drawn", config=ALL_OTHER,
                    seed=1, dropout=True),
    "dropout": recipe("BERT as published, in training: dropout masks drawn", seed=2, dropout=True, low=None),
    "tanh": recipe("the tanh form of GELU, tied decoder", seed=3, config={"hidden_act": "gelu_new"}),
    "untied": recipe("a decoder matrix and bias of its own", seed=4, config={"tie_word_embeddings": False}),
    "masked-row": recipe("float32, one row masked everywhere: it is uniform over all keys", seed=5, dtype="float32",
                         edits=(masked_row,)),
    "release": recipe("the release's own rules: tanh, -10000, a padding row that learns, 1e-5 in the denominator",
                      seed=6, dtype="float32", edits=(masked_row,), low=None, config=RELEASE),
    "eps": recipe("an embedding sum of deviation 2e-4 under eps 1e-12: any other eps shows", seed=7, low=2e-4),
    "long": recipe("48 positions, one layer: position rows, long softmax rows", seed=8, dims={"B": 2, "T": 48},
                   steps=(), config={"num_hidden_layers": 1, "max_position_embeddings": 50}),
    "adamw": recipe("AdamW under linear decay, clipped", seed=9, dropout=True, low=None, optimizer=ADAMW),
    "adafactor": beside("Adafactor as T5 is trained with it, its decay on", "bert", seed=14, low=None, steps=(1, 10),
                        states=False, config={"num_hidden_layers": 1}, optimizer=ADAFACTOR),
    "deep": recipe("six layers of width 8, weights of std 0.2: what builds up", seed=10, steps=(1,),
                   config={"num_hidden_layers": 6, "hidden_size": 8, "num_attention_heads": 2}),
    "corners": recipe("ReLU, a mask with a hole, a schedule that ends within the steps", seed=13, low=None,
                      edits=(hole,), config={"hidden_act": "relu"}, optimizer={**OPTIMIZER, "total": 8}),
    "processes": beside("four rows with 3, 1, 4 and 2 targets: the same by one process, by 2 or by 4", "bert", seed=15,
                        dropout=True, low=None, dims={"B": 4, "T": 9, "M": 4}, steps=(1, 2),
                        edits=(uneven_targets,), states=False, optimizer=SHARDED),
    "encoder-layer": recipe("one encoder layer alone", seed=11, **LAYER),
    "encoder-layer-dropout": recipe("one encoder layer alone, its dropout masks drawn; tanh", seed=12, dropout=True,
                                    config=ALL_OTHER, **LAYER),
}  # fmt: skip


# ---- Doubles ---------------------------------------------------------------------------------------------------------
def double(subject: Subject) -> tuple[Double, bool] | None:
    """BERT's forward pass composed of doubles; a relative's by the double of its loss, where nothing is dropped. No
    slope where a row is masked everywhere: its value is constant there while implementations let the softmax's
    derivative through.
    """
    family = families.equations(subject.family)
    if getattr(subject.config, "mask_constant", "min") == "zero":
        return None
    slope = bool(subject.batches[0].get("attention_mask", np.ones((1, 1))).any(-1).all())
    if family == "bert":
        return forward, slope
    dropped = any(batch.get("dropout") for batch in subject.batches)
    return None if dropped else (partial(of_loss, family), slope)


def of_loss(family: str, p: Lists, config: Any, batch: Mapping[str, Any]) -> dict[str, Lists]:
    """Loss and, where the double tells them, terms; fields and batches under BERT's names, as doubles take them."""
    file, arguments = module(f"{family}_loss"), (p, *as_doubles_take(family, config, batch))
    terms = getattr(file, f"{family}_loss_terms", None)
    found = {f"forward/loss.{term}": value for term, value in terms(*arguments).items()} if terms else {}
    return {**found, "forward/loss": getattr(file, f"{family}_loss")(*arguments)}


def as_doubles_take(family: str, config: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config fields and a batch."""
    ids = batch["input_ids"]
    given = {"attention_mask": [[1] * len(row) for row in ids], "token_type_ids": [[0] * len(row) for row in ids]}
    given |= batch
    given |= {other: given[own] for other, own in families.family(family).SPELLINGS.items() if own in given}
    fields = to_fields(config)
    if fields.get("mask_constant", "min") != "min":
        fields["mask_constant"] = int(float(fields["mask_constant"]))
    return at_50_digits(fields), at_50_digits(given)


def forward(p: Lists, config: Any, batch: Mapping[str, Any]) -> dict[str, Lists]:
    """BERT's forward pass (SPEC BERT-EMB to BERT-LOSS), its dropout masks applied, under the keys of a case."""
    double, each, convert = doubles().double, module("lists").each, at_50_digits
    linear, norm, gather = double("linear"), double("layer_norm"), double("gather")
    eps, heads = convert(config.layer_norm_eps), config.num_attention_heads
    masks = batch.get("dropout") or {}

    def total(*arrays: Lists) -> Lists:
        return each(0, lambda *entries: sum(entries), *arrays)

    def dropped(x: Lists, name: str, rate: float) -> Lists:
        return double("dropout")(x, keep=masks[name], rate=convert(rate)) if name in masks else x

    def activated(x: Lists) -> Lists:
        return double(layers.ACTIVATIONS[config.hidden_act])(x)

    ids = batch["input_ids"]
    length, rate = len(ids[0]), config.hidden_dropout_prob
    numbers = {
        "word": ids,
        "token_type": batch.get("token_type_ids", [[0] * length] * len(ids)),
        "position": [list(range(length))] * len(ids),
    }
    tables = [double("embedding")(p["embeddings"][name]["weight"], ids=n) for name, n in numbers.items()]
    x = dropped(norm(total(*tables), **p["embeddings"]["norm"], eps=eps), "bert.embeddings.dropout", rate)
    found = {"forward/bert.embeddings": x}
    forbidden = -(10**40) if config.mask_constant == "min" else int(float(config.mask_constant))
    kept = batch.get("attention_mask", [[1] * length] * len(ids))
    bias = [[[[0 if keep else forbidden for keep in row]]] for row in kept]
    for i, layer in enumerate(p["encoder"]):
        name, own, fed = f"bert.encoder.layer.{i}", layer["attention"], layer["feed_forward"]
        q, k, v = (double("split_heads")(linear(x, **own[n]), heads) for n in ("query", "key", "value"))
        factors = masks.get(f"{name}.attention.self.dropout")
        if factors is not None:
            share = convert(config.attention_probs_dropout_prob)
            factors = each(0, lambda keep, share=share: 1 / (1 - share) if keep else 0, factors)
        context = double("merge_heads")(double("attention")(q, k, v, bias=bias, dropout=factors))
        f = dropped(linear(context, **own["output"]), f"{name}.attention.output.dropout", rate)
        a = norm(total(x, f), **own["norm"], eps=eps)
        f = dropped(linear(activated(linear(a, **fed["in"])), **fed["out"]), f"{name}.output.dropout", rate)
        x = norm(total(a, f), **fed["norm"], eps=eps)
        found[f"forward/{name}.output"] = x
    pooled = double("tanh")(linear([rows[0] for rows in x], **p["pooler"]))
    chosen = gather(x, positions=batch["masked_lm_positions"])
    z = norm(activated(linear(chosen, **p["mlm"]["dense"])), **p["mlm"]["norm"], eps=eps)
    table = p["embeddings"]["word"] if config.tie_word_embeddings else p["mlm"]["decoder"]
    logits = linear(z, table["weight"], p["mlm"]["decoder"]["bias"])
    weights = convert(batch["masked_lm_weights"])
    denominator = sum(module("lists").leaves(weights)) + convert(config.mlm_denominator_eps)
    cross_entropy = double("cross_entropy")
    masked = cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator)
    following = cross_entropy(linear(pooled, **p["nsp"]), labels=batch["next_sentence_labels"])
    return {
        **found,
        "forward/bert.pooler": pooled,
        "forward/loss.masked_lm": masked,
        "forward/loss.next_sentence": following,
        "forward/loss": masked + following,
    }

