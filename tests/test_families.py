"""The laws that every family obeys; families are found by listing the folder."""

import json
from dataclasses import fields

import numpy as np
import pytest

import minibert
from minibert import families, objective, trace, tree
from minibert.config import from_fields
from minibert.errors import InputError

FAMILIES = families.names()


def case(name, seed=0, **fields):
    module, rng = families.family(name), np.random.default_rng(seed)
    probe = {**module.PROBE, **fields}
    model = minibert.create(name, seed, "float64", **probe, initializer_range=0.4)
    for array in tree.leaves(model.params):
        array += 0.2 * rng.standard_normal(array.shape)
        array.flags.writeable = False
    return model, module.example(rng, model.config), rng


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_have_the_keys_and_shapes_of_the_parameters(name):
    model, batch, _ = case(name)
    gradient = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    params = tree.flatten(model.params)
    assert gradient.keys() == params.keys()
    assert all(gradient[path].shape == params[path].shape for path in params)
    assert all(gradient[path].any() for path in params if not path.endswith("key.bias"))


@pytest.mark.parametrize("name", FAMILIES)
def test_names_are_the_shapes_and_each_stands_once(name):
    model, *_ = case(name)
    rows = model.module.names(model.config)
    assert {path for path, *_ in rows} == set(tree.flatten(objective.shapes(model.module, model.config)))
    assert len({published for _, published, _ in rows}) == len(rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_recomputing_layers_gives_the_same_bits(name):
    model, batch, _ = case(name)
    kept = model.loss_backward(model.loss(batch)[1])
    again = model.loss_backward(model.loss(batch, keep="inputs")[1])
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(kept), tree.leaves(again), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_micro_batches_add_up_to_the_large_batch(name):
    model, batch, _ = case(name, mlm_denominator_eps=0.0)
    del batch["dropout"]
    loss, cache = model.loss(batch)
    whole = model.loss_backward(cache)
    totals = objective.counts(model.module, model.config, batch)
    parts, total = None, 0.0
    for rows in (slice(0, 1), slice(1, None)):
        part_loss, cache = model.loss({key: value[rows] for key, value in batch.items()}, denominators=totals)
        total += part_loss
        gradient = model.loss_backward(cache)
        parts = gradient if parts is None else tree.add(parts, gradient)
    assert total == pytest.approx(float(loss), rel=1e-12)
    largest = max(np.abs(a).max() for a in tree.leaves(whole))
    for path, value in tree.items(whole):
        assert np.abs(value - tree.get(parts, path)).max() < 1e-12 * max(np.abs(value).max(), 1e-3 * largest), path


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_an_array_without_axes(name):
    model, batch, _ = case(name)
    loss = model.loss(batch)[0]
    assert (type(loss), loss.shape, loss.dtype) == (np.ndarray, (), np.float64)


@pytest.mark.parametrize("name", [None, 3, "nobody" * 1000, "bert.bert", "__init__"])
def test_no_family(name):
    with pytest.raises(InputError, match="unknown family") as error:
        families.family(name)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", FAMILIES)
def test_counts_of_batches_add_up_to_what_a_report_can_hold(name):
    """Whole numbers would add up to NumPy's integers, which JSON does not take."""
    model, batch, _ = case(name)
    counts = objective.counts(model.module, model.config, batch)
    assert counts.keys() == {*model.module.terms(model.config)}
    assert json.loads(json.dumps(tree.add(counts, counts))) == {term: 2 * count for term, count in counts.items()}


RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_dropout_has_the_rate_that_its_place_says(name):
    """Where nothing is dropped, what remains is scaled by the rate: one rate at a time, so that none serves another."""
    fields = [rate for rate in RATES if rate in families.family(name).PROBE]
    found = set()
    for field in fields:
        model, batch, _ = case(name, **{**dict.fromkeys(fields, 0.0), field: 0.3})
        dims = dict(zip("BT", batch["input_ids"].shape, strict=True))
        for place, (shape, rate) in model.module.dropouts(model.config, dims).items():
            plain, kept = (model.loss({**batch, "dropout": masks})[0] for masks in ({}, {place: np.ones(shape)}))
            assert (plain != kept) == (rate == 0.3), (place, field)
            found |= {field} if plain != kept else set()
    assert found == set(fields)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_out_of_range_are_refused(name):
    model, batch, _ = case(name)
    labels = objective.labels(model.module, model.config)
    for field in (field for field, spec in labels.items() if not spec.endswith("+")):
        least = 2 if field.endswith("_labels") else max(batch["input_ids"].shape[1], model.config.vocab_size)
        with pytest.raises(InputError, match=field):
            model.loss({**batch, field: np.full_like(batch[field], least)})


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_nothing(name):
    model, batch, rng = case(name, mask_constant="min")
    del batch["dropout"]
    wider = dict(batch)
    for key in ("input_ids", "input_mask", "segment_ids"):
        noise = rng.integers(0, model.config.vocab_size, (len(batch[key]), 2)) if key == "input_ids" else 0
        wider[key] = np.concatenate([batch[key], np.zeros((len(batch[key]), 2), int) + noise], 1)
    assert model.loss(wider)[0] == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_do_not_see_each_other(name):
    model, batch, rng = case(name)
    order = rng.permutation(len(batch["input_ids"]))
    inputs = {"attention_mask": batch["input_mask"], "token_type_ids": batch["segment_ids"]}
    straight = model.encode(batch["input_ids"], **inputs)["last_hidden_state"]
    shuffled = model.encode(batch["input_ids"][order], **{k: v[order] for k, v in inputs.items()})
    assert np.allclose(shuffled["last_hidden_state"], straight[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_asked_for(name):
    model, batch, _ = case(name)
    everything = model.encode(batch["input_ids"], attention_mask=batch["input_mask"])
    for output in model.module.outputs(model.config):
        alone = model.encode(batch["input_ids"], attention_mask=batch["input_mask"], outputs=[output])
        assert list(alone) == [output] * (output in everything)
        if not alone:  # pooler_output, in a family that trains no pooler
            continue
        pairs = zip(tree.leaves(alone[output]), tree.leaves(everything[output]), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_trace_names_every_op_with_its_cotangent(name):
    model, batch, _ = case(name)
    with trace.recording() as record:
        loss, cache = model.loss(batch)
        model.loss_backward(cache)
    named = record.named(cache)
    assert len(named) == len(record.events)
    for path, event in named.items():
        assert event.cotangent is not None, path
        assert event.cotangent.shape == event.output.shape, path
    assert model.loss(batch)[0] == loss


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_weights(name):
    probe = families.family(name).PROBE
    one, same, other = (tree.leaves(minibert.create(name, seed, **probe).params) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(a.dtype == np.float32 for a in one)


@pytest.mark.parametrize("name", FAMILIES)
def test_absurd_numbers_are_refused_before_anything_is_made_of_them(name):
    """Of every field of a config: what would overflow, divide by nothing or need more memory than there is."""
    config = families.family(name).Config
    for field in fields(config):
        kind = type(getattr(config, field.name))
        for value in {int: (2**40, -(2**40)), float: (1e308, -1e308)}.get(kind, ()):
            with pytest.raises(InputError, match=f"'{field.name}' is .*; allowed: "):
                from_fields(config, {field.name: value})
