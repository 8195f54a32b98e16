"""float64 values against the same numbers at 50 digits, by scalar-loop doubles: errors in units in the last place.

A unit is that of the tensor's largest entry. Ops are certified entry by entry, gradients too. A family's loss and terms
are certified by its own double (`reference/FAMILY_loss.py`), where nothing is dropped; BERT's forward pass is composed
here once more out of doubles, dropout masks included. Its gradient is certified along one random direction through all
parameters (key "gradients"). Left out: the gradient where a row is masked everywhere, whose value
is constant to the double while implementations let the softmax's derivative through.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from minibert import families, gradcheck, layers, objective, tree
from minibert.config import to_fields
from minibert.golden.draws import Draws
from minibert.golden.subject import Subject
from minibert.pairs import observing

Array = np.ndarray
Lists = Any


def ulps(got: Array, true: Lists) -> float:
    """max|got - true| in units in the last place of max|true|; `true` nested lists of Decimals."""
    flat = _module("lists").leaves(true)
    largest = max(map(abs, flat))
    error = max(abs(Decimal(float(a)) - b) for a, b in zip(np.asarray(got).ravel(), flat, strict=True))
    unit = Decimal(float(np.spacing(np.float64(largest) or np.finfo(np.float64).tiny)))
    return round(float(error / unit), 3)


def _module(name: str) -> Any:
    return import_module(f"{gradcheck.doubles().__name__}.{name}")


def _lists(value: Any) -> Lists:
    if isinstance(value, dict | list):
        return tree.map(_lists, value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def op(name: str, args: Mapping[str, Array], constants: Mapping[str, Any], cotangent: Array, got: Mapping[str, Array],
       gradients: bool = True) -> dict[str, float]:  # fmt: skip
    """The errors of an op's output and, with `gradients`, of its gradients; `got` under the case's keys."""
    double = gradcheck.doubles().double(name)
    given = {key: _lists(value) for key, value in {**args, **constants}.items()}
    with _module("numbers").fifty_digits():
        found = {"forward/output": ulps(got["forward/output"], double(**_module("lists").convert(given)))}
    for key in args if gradients else ():
        truth = _module("derivative").derivative(double, dict(given), key, cotangent.tolist())
        found[f"gradients/{key}"] = ulps(got[f"gradients/{key}"], truth)
    return found


def step(subject: Subject, got: Mapping[str, Array]) -> dict[str, float]:
    """The errors of a family's forward pass and of its gradient along a direction; {} where no double covers it."""
    composed = _double_of(subject)
    if composed is None or subject.config.mask_constant == "zero":
        return {}
    config, batch, params = subject.config, _lists(subject.batches[0]), _lists(subject.params)
    with _module("numbers").fifty_digits():
        truth = composed(_module("lists").convert(params), config, batch)
    found = {key: ulps(got[key], value) for key, value in truth.items()}
    if not subject.batches[0].get("attention_mask", np.ones((1, 1))).any(-1).all():
        return found
    draws = Draws(0, "direction")
    direction = tree.map(lambda a: 2.0 * draws.integers(0, 2, a.shape) - 1, subject.params)
    for path, row in _frozen(subject):
        tree.get(direction, path)[row] = 0  # its look-up gradient is 0 by decree
    slope = _slope(subject, direction)
    true = _module("directional").directional(
        lambda p: composed(p, config, batch)["forward/loss"], {"p": params}, "p", _lists(direction)
    )
    found["gradients"] = ulps(np.asarray(slope), true)
    return found


def _double_of(subject: Subject) -> Callable | None:
    """(params, config, batch) -> values under the keys of a case: a composition, or the double of the family's loss."""
    family = families.equations(subject.family)
    if family == "bert":
        return _bert
    if any(batch.get("dropout") for batch in subject.batches):
        return None
    if family == "electra":
        config = subject.config
        plain = {"role": "joint", "objective": "joint", "mask_constant": "min", "tie_word_embeddings": True,
                 "mlm_denominator_eps": 0.0, "rtd_denominator_eps": 0.0}  # fmt: skip
        return _electra if all(getattr(config, name) == value for name, value in plain.items()) else None
    try:
        return partial(_whole, _module(f"{family}_loss"), family)
    except ModuleNotFoundError:
        return None


def _whole(module: Any, family: str, p: Lists, config: Any, batch: Mapping[str, Any]) -> dict[str, Lists]:
    """Loss and, where the double tells them, terms; fields and batches under BERT's names, as doubles take them."""
    arguments = p, *_given(family, config, batch)
    terms = getattr(module, f"{family}_loss_terms", None)
    found = {f"forward/loss.{term}": value for term, value in terms(*arguments).items()} if terms else {}
    return {**found, "forward/loss": getattr(module, f"{family}_loss")(*arguments)}


def _given(family: str, config: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config fields and a batch as doubles take them."""
    ids = batch["input_ids"]
    spellings = getattr(families.family(family), "SPELLINGS", {})
    given = {"attention_mask": [[1] * len(row) for row in ids], "token_type_ids": [[0] * len(row) for row in ids]}
    given |= batch
    given |= {other: given[own] for other, own in spellings.items() if own in given}
    fields = to_fields(config)
    if fields["mask_constant"] != "min":
        fields["mask_constant"] = int(float(fields["mask_constant"]))
    return _module("lists").convert(fields), _module("lists").convert(given)


def _electra(p: Lists, config: Any, batch: Mapping[str, Any]) -> dict[str, Lists]:
    """Both terms and their weighted sum, by the double that takes both networks whole."""
    module, convert = families.family("electra"), _module("lists").convert
    networks = module.networks(p, config)
    heads = {role: own.num_attention_heads for role, (_, own, _) in networks.items()}
    trees = {role: network for role, (network, *_) in networks.items()}
    terms = gradcheck.doubles().double("electra_loss")(trees, *_given("electra", config, batch), heads)
    weights = {term: convert(factor) for term, factor in module.weights(config).items()}
    found = {f"forward/loss.{term}": value for term, value in terms.items()}
    return {**found, "forward/loss": sum(weights[term] * value for term, value in terms.items())}


def _frozen(subject: Subject) -> list[tuple[str, int]]:
    """(path of a table, row) where a row gets no look-up gradient."""
    paths = {id(array): path for path, array in tree.items(subject.params)}
    found = []

    def noted(f: Callable, args: tuple, constants: dict) -> Any:
        given = {**dict(zip(("weight",), args, strict=False)), **constants}
        if f.__name__ == "embedding" and given.get("padding_idx") is not None:
            found.append((paths[id(given["weight"])], given["padding_idx"]))
        return f(*args, **constants)

    with observing(noted):
        objective.loss(families.family(subject.family), subject.params, subject.config, subject.batches[0])
    return found


def _slope(subject: Subject, direction: Any) -> float:
    """The engine's gradient along a direction."""
    module = families.family(subject.family)
    gradient = objective.loss_backward(objective.loss(module, subject.params, subject.config, subject.batches[0])[1])
    products = tree.map(lambda g, d: float(np.sum(g * d)), gradient, direction)
    return sum(tree.leaves(products))


# ---- Forward passes composed of doubles ------------------------------------------------------------------------------
def _bert(p: Lists, config: Any, batch: Mapping[str, Any]) -> dict[str, Lists]:
    """BERT's forward pass (SPEC BERT-EMB to BERT-LOSS), its dropout masks applied, under the keys of a case."""
    double, each = gradcheck.doubles().double, _module("lists").each
    convert = _module("lists").convert
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
            unit = 1 / (1 - convert(config.attention_probs_dropout_prob))
            factors = each(0, lambda keep, unit=unit: unit if keep else 0, factors)
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
    denominator = sum(_module("lists").leaves(weights)) + convert(config.mlm_denominator_eps)
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

