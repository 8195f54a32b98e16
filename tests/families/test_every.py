"""What holds for every family; families are found by listing the folder, and what is their own in their tests.

A family's own test may declare, beside what `published` reads:

    VARIANTS     fields over PROBE, the smallest differences in the network: gradients are checked for each
    SMALL        fields that make a network small enough for scalar loops, over SMALL below, by BERT's names or its own
    double       (p, config, batch) -> {term: value}, or the loss, where no scalar loop NAME_loss takes a family's tree
    PARAMETERS   (fields, parts left out, published number of parameters)
    FIGURES      of a whole model, as its page of the spec states them
    IDLE         a pattern of dropouts whose result its loss does not read
"""

import json
import os
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import figures
import numpy as np
import published
import pytest
from draws import some
from published import FAMILIES, declared, identifier

import minibert
import reference
from minibert import batches, families, gradcheck, objective, trace, tree
from minibert.checkpoint.names import from_published, published_shapes, to_published
from minibert.config import from_fields, to_fields
from minibert.errors import InputError

OWN = {what: dict(declared(what)) for what in ("VARIANTS", "SMALL", "double", "PARAMETERS", "FIGURES", "IDLE")}
VARIANTS = [(name, own) for name in FAMILIES for own in OWN["VARIANTS"].get(name, ({},))]
DRAWN = None if os.environ.get("MINIBERT_EVERY_TENSOR") else 1  # tensors of a loss that are differenced one by one


def case(name, seed=0, **fields):
    module, rng = families.family(name), np.random.default_rng(seed)
    probe = {**module.PROBE, **fields}
    model = minibert.create(name, seed, "float64", **{**probe, **known(name, initializer_range=0.4)})
    for array in tree.leaves(model.params):
        array += 0.2 * rng.standard_normal(array.shape)
        array.flags.writeable = False
    return model, batches.example(module, model.config, rng), rng


def known(name, **fields):
    """Those of these fields that a family has."""
    return published.own(families.family(name), fields)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_have_the_keys_and_shapes_of_the_parameters(name):
    model, batch, _ = case(name)
    gradient = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    params = tree.flatten(model.params)
    assert gradient.keys() == params.keys()
    assert all(gradient[path].shape == params[path].shape for path in params)
    assert all(gradient[path].any() for path in params if not path.endswith("key.bias"))


@pytest.mark.parametrize("name", FAMILIES)
def test_names_are_a_bijection(name):
    """Of the shapes onto the published tensors, some of which are several of ours: each entry stands once."""
    model, *_ = case(name)
    rows, shapes = model.module.names(model.config), objective.shapes(model.module, model.config)
    paths = [path for path, *_ in rows]
    assert len(paths) == len(set(paths))
    assert {*paths} == {*tree.flatten(shapes)}
    counted = np.arange(sum(int(np.prod(shape)) for shape in tree.leaves(shapes)))
    parts = iter(np.split(counted, np.cumsum([int(np.prod(shape)) for shape in tree.leaves(shapes)])))
    numbered = tree.map(lambda shape: next(parts).reshape(shape), shapes)
    flat = to_published(numbered, rows)
    assert np.array_equal(np.sort(np.concatenate([array.reshape(-1) for array in flat.values()])), counted)
    assert {key: array.shape for key, array in flat.items()} == published_shapes(shapes, rows)
    back = tree.flatten(from_published(flat, rows))
    assert all(np.array_equal(back[path], array) for path, array in tree.items(numbered))


@pytest.mark.parametrize("name", FAMILIES)
def test_recomputing_layers_gives_the_same_bits(name):
    model, batch, _ = case(name)
    kept = model.loss_backward(model.loss(batch)[1])
    again = model.loss_backward(model.loss(batch, keep="inputs")[1])
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(kept), tree.leaves(again), strict=True))


@pytest.mark.parametrize(("name", "own"), VARIANTS, ids=identifier)
def test_micro_batches_add_up_to_the_large_batch(name, own):
    model, batch, _ = case(name, **own, **known(name, mlm_denominator_eps=0.0))
    del batch["dropout"]
    loss, cache = model.loss(batch)
    whole = model.loss_backward(cache)
    totals = objective.counts(model.module, model.config, batch)
    parts, total = None, 0.0
    for rows in (slice(0, 1), slice(1, None)):
        part = tree.map(lambda array, rows=rows: array[rows], batch)
        part_loss, cache = model.loss(part, denominators=totals)
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
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", FAMILIES)
def test_counts_of_batches_add_up_to_what_a_report_can_hold(name):
    """Whole numbers would add up to NumPy's integers, which JSON does not take."""
    model, batch, _ = case(name)
    counts = objective.counts(model.module, model.config, batch)
    assert counts.keys() == {*model.module.terms(model.config)}
    assert json.loads(json.dumps(tree.add(counts, counts))) == {term: 2 * count for term, count in counts.items()}


def rates(name):
    """The fields of a config that say how much is dropped, as published configurations call them."""
    module = families.family(name)
    ends = r"(dropout_prob|_pdrop|dropout|dropout_rate|dropatt|_p|drop_path_rate)$"
    named = [field for field in module.PROBE if re.search(ends, field)]
    return [field for field in named if type(module.PROBE[field]) is float]


@pytest.mark.parametrize("name", some([name for name in FAMILIES if rates(name)], 6))
def test_a_dropout_has_the_rate_that_its_place_says(name):
    """Where nothing is dropped, what remains is scaled by the rate: one rate at a time, so that none serves another."""
    fields = rates(name)
    found = set()
    for field in fields:
        model, batch, _ = case(name, **{**dict.fromkeys(fields, 0.0), field: 0.3})
        dims = batches.dims(model.module, model.config, batch)
        for place, (shape, rate) in model.module.dropouts(model.config, dims).items():
            plain, kept = (model.loss({**batch, "dropout": masks})[0] for masks in ({}, {place: np.ones(shape)}))
            idle = re.fullmatch(OWN["IDLE"].get(name, ""), place)
            assert (plain != kept) == (0 < rate <= 0.3 and not idle), (place, field)  # a path's grows from 0
            found |= {field} if plain != kept else set()
    assert found == set(fields) != set()


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_out_of_range_are_refused(name):
    model, batch, _ = case(name)
    sizes = {**to_fields(model.config), **batches.dims(model.module, model.config, batch)}
    specs = batches.specs(model.module, model.config)
    labels = [field for field in objective.labels(model.module, model.config)
              if (specs[field].bound or specs[field].kind == "bit") and field in batch]  # fmt: skip
    assert labels
    for field in labels:
        bound = specs[field].bound or "2"
        least = int(bound) if bound.isdigit() else sizes[bound]
        for wrong in {least, -1, (specs[field].ignored or 0) - 1}:
            with pytest.raises(InputError, match=field):
                model.loss({**batch, field: np.full_like(batch[field], wrong)})


RAGGED = [name for name in FAMILIES if (module := families.family(name)).lengths(module.Config())]


@pytest.mark.parametrize("name", RAGGED)
def test_padding_changes_nothing(name):
    """Two more tokens at the end of each row, which its mask leaves out, any words, or any sound."""
    model, batch, rng = case(name, **known(name, mask_constant="min"))
    del batch["dropout"]
    specs = batches.specs(model.module, model.config)
    wider = dict(batch)
    dims = {key: specs[key].of(batch[key]) for key in batch}
    for key in (key for key in batch if "T" in dims[key]):
        word = specs[key].bound == "vocab_size" and specs[key].ignored is None
        shape = (*batch[key].shape[:-1], 2)
        more = rng.integers(0, model.config.vocab_size, shape) if word else specs[key].ignored or 0
        wider[key] = np.pad(batch[key], [(0, 2 * (dim == "T")) for dim in dims[key]])
        if dims[key][-1] == "T":
            wider[key][..., -2:] = more
    if "input_frames" in wider:
        wider["input_frames"][:, -2:] = rng.standard_normal(wider["input_frames"][:, -2:].shape)
        assert wider["input_frames"][:, -2:].any()
    else:
        assert wider["input_ids"][..., -2:].any()
    assert model.loss(wider)[0] == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_do_not_see_each_other(name):
    model, batch, rng = case(name)
    order, inputs = rng.permutation(batches.count(batch)), published.inputs(batch)
    straight = model.encode(**inputs)["last_hidden_state"]
    shuffled = model.encode(**tree.map(lambda array: array[order], inputs))
    assert np.allclose(shuffled["last_hidden_state"], straight[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_asked_for(name):
    model, batch, _ = case(name)
    everything = model.encode(**published.inputs(batch))
    for output in model.module.outputs(model.config):
        alone = model.encode(**published.inputs(batch), outputs=[output])
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


# ---- Gradients of whole losses ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "own"), some(VARIANTS, 34), ids=identifier)
def test_the_gradient_of_the_loss_by_differences(name, own):
    """Along all tensors together, and along one that is drawn, or each where MINIBERT_EVERY_TENSOR is set."""
    found = gradcheck.family_errors(name, drawn=DRAWN, **own)
    assert len(found) >= 2
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR, max(found, key=found.get)


@pytest.mark.parametrize("name", some([name for name in FAMILIES if not hasattr(families.family(name), "loss")], 20))
def test_the_gradient_of_every_output_by_differences(name):
    """Of the network alone, for whoever reads not its last states but all, or several outputs."""
    model, batch, rng = case(name)
    module, inputs = model.module, published.inputs(batch)
    params = {part: model.params[part] for part in module.shapes(model.config) if part in model.params}
    out, c = module.encode(params, model.config, inputs)
    # maps have no gradient, nor has what the next segment gets
    data = {"attentions", "global_attentions", "mems", *getattr(module, "CARRIED", ())}
    read = {output: out[output] for output in out if output not in data}
    assert "hidden_states" in read
    cotangents = tree.map(lambda a: rng.standard_normal(a.shape), read)

    def value(p):
        found = module.encode(p, model.config, inputs)[0]
        return sum(float(np.sum(a * tree.get(found, path))) for path, a in tree.items(cotangents))

    found = gradcheck.directional(value, params, module.encode_backward(cotangents, c), rng, 1)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR, found


SMALL = {"hidden_size": 4, "embedding_size": 3, "intermediate_size": 5, "vocab_size": 9, "num_hidden_layers": 1,
         "span_position_size": 3, "initializer_range": 0.4}  # fmt: skip


def small(name, own):
    """(a model small enough for scalar loops, a batch, and both as these take them: p, config, batch)."""
    module, rng = families.family(name), np.random.default_rng(2)
    given = {**module.PROBE, **published.own(module, {**SMALL, **OWN["SMALL"].get(name, {})}), **own}
    model = minibert.create(name, dtype="float64", **given)
    for array in tree.leaves(model.params):
        array += 0.2 * rng.standard_normal(array.shape)
    batch = batches.example(model.module, model.config, rng, {"B": 2, "T": 4, "M": 2, "S": 3})
    del batch["dropout"]
    lists = tree.map(lambda array: np.asarray(array).tolist(), batch)
    return model, batch, (tree.map(np.ndarray.tolist, model.params), as_lists(model.config), lists)


def as_lists(config):
    """A config as scalar loops take it."""
    given = to_fields(config)
    constant = given.get("mask_constant", "min")
    return given if constant == "min" else {**given, "mask_constant": float(constant)}


def double_of(name):
    """The scalar loop of a family's loss, or its kin's where the equations are the same; a dict where it has terms."""
    if name in OWN["double"]:
        return OWN["double"][name]
    while not (Path(reference.__file__).parent / f"{name}_loss.py").exists():
        name = vars(families.family(name))["KIN"]
    module = import_module(f"reference.{name}_loss")
    return getattr(module, f"{name}_loss_terms", getattr(module, f"{name}_loss"))


def total(model, value):
    """A loss, of its terms where there are several, in their precision."""
    if not isinstance(value, dict):
        return value
    weights = model.module.weights(model.config) if hasattr(model.module, "weights") else {}
    return sum(type(part)(weights.get(term, 1)) * part for term, part in value.items())


@pytest.mark.parametrize(("name", "own"), VARIANTS, ids=identifier)
def test_the_loss_is_that_of_its_scalar_loops(name, own):
    model, batch, lists = small(name, own)
    loss, cache = model.loss(batch)
    found = double_of(name)(*lists)
    assert float(loss) == pytest.approx(float(total(model, found)), rel=1e-13)
    for term, value in found.items() if isinstance(found, dict) else ():
        assert float(cache["terms"][term]) == pytest.approx(float(value), rel=1e-13), term


@pytest.mark.parametrize(("name", "own"), some(VARIANTS, 34), ids=identifier)
def test_the_gradient_of_the_loss_at_fifty_digits(name, own):
    """Along a random direction in all of the tree, and in a tensor that is drawn or in each part and tensor; along a
    second one where rounding alone may be above the bar: a wrong gradient is wrong along both.
    """
    model, batch, (p, config, lists) = small(name, own)
    rng, double = np.random.default_rng(3), double_of(name)
    gradient = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    arguments, shapes = {"p": p, "config": config, "batch": lists}, [*tree.items(model.params)]
    signs = {path: rng.choice([-1.0, 1.0], array.shape) for path, array in shapes}
    drawn = [*model.params, *signs] if DRAWN is None else map(str, rng.choice([*signs], DRAWN, replace=False))

    def loss(p, config, batch):
        return total(model, double(p, config, batch))

    def errors(parts):
        slopes, truth = {}, {}
        for part in parts:
            ahead = {path: sign if path.startswith(part) else 0 * sign for path, sign in signs.items()}
            direction = tree.map(np.ndarray.tolist, tree.unflatten(ahead))
            truth[part] = np.array(float(reference.double("directional")(loss, arguments, "p", direction)))
            slopes[part] = np.sum([np.sum(gradient[path] * sign) for path, sign in ahead.items()])
        return gradcheck.errors(slopes, truth)

    found = errors(("", *drawn))
    if doubtful := [part for part in found if found[part] >= gradcheck.EXACT_BAR]:
        signs = {path: rng.choice([-1.0, 1.0], array.shape) for path, array in shapes}
        again = errors(("", *doubtful))
        found |= {part: min(found[part], again[part]) for part in doubtful}
    assert max(found.values()) < gradcheck.EXACT_BAR, found


# ---- What is published of a family -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FAMILIES)
def test_the_published_numbers_of_parameters(name):
    """Of shapes alone: nothing is allocated."""
    module = families.family(name)
    assert OWN["PARAMETERS"][name]
    for own, left_out, count in OWN["PARAMETERS"][name]:
        shapes = objective.shapes(module, module.Config(**own))
        kept = tree.items({part: below for part, below in shapes.items() if part not in left_out})
        assert sum(int(np.prod(shape)) for _, shape in kept) == count, (own, left_out)


GIVEN = [(name, given) for name, several in OWN["FIGURES"].items() for given in several]


@pytest.mark.parametrize(("name", "given"), GIVEN, ids=[f"{name}-{n}" for n, (name, _) in enumerate(GIVEN)])
def test_the_figures_of_a_whole_model(name, given):
    """Euclidean norms of tensors, and some entries; to the last digit that is written down."""
    tensors = figures.found(given)
    for key, figure in given.figures.items():
        digits = len(str(figure).partition(".")[2])
        assert np.linalg.norm(tensors[key]) == pytest.approx(figure, abs=10.0**-digits), key
    model = figures.model(given)
    out = model.encode(**published.inputs({key: np.array(value) for key, value in given.batch.items()}))
    for (output, index), values in given.values.items():
        assert out[output][index] == pytest.approx(values, abs=1e-11), output
    lists = tree.map(np.ndarray.tolist, model.params), as_lists(model.config), given.batch
    assert float(total(model, double_of(name)(*lists))) == pytest.approx(float(tensors["forward/loss"]), rel=1e-13)


@pytest.mark.parametrize(("name", "given"), GIVEN, ids=[f"{name}-{n}" for n, (name, _) in enumerate(GIVEN)])
def test_they_are_the_figures_on_its_page(name, given):
    text = (Path(reference.__file__).parent / "spec" / f"{name}.md").read_text(encoding="utf-8")
    section = text[text.index("-ALL-1**") :]
    stated = {float(number) for number in re.findall(r"\d+\.\d+", section)}
    assert set(given.figures.values()) <= stated


# ---- Directories -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "own"), some(VARIANTS, 50), ids=identifier)
def test_a_directory_is_read_as_it_was_written(name, own, tmp_path):
    model, batch, _ = case(name, **own)
    model.save(tmp_path)
    again = minibert.load(tmp_path)
    assert (again.family, again.config) == (name, model.config)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(np.array_equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    assert again.loss(batch)[0] == model.loss(batch)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_part_that_the_loss_does_not_read_learns_nothing(name, tmp_path):
    """A pooler of a published file, in a family that trains none: its gradient is 0, all others stay as they are; it is
    saved, loaded and used."""
    module = families.family(name)
    config = module.Config(**module.PROBE)
    spare = objective.shapes(module, config).keys() & set(getattr(module, "OPTIONAL", {}))
    spare -= set(objective.needs(module, config))
    model, batch, rng = case(name)
    expected = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    for part in spare:
        shapes = objective.shapes(module, config)[part]
        model.params[part] = tree.map(lambda shape: rng.standard_normal(shape), shapes)
    found = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    for path in found.keys() - expected.keys():
        assert path.partition(".")[0] in spare
        assert not found.pop(path).any()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[path], expected[path]) for path in expected)
    model.save(tmp_path)
    again = minibert.load(tmp_path)
    assert again.params.keys() == model.params.keys()
    assert {module.OPTIONAL[part] for part in spare} <= again.encode(**published.inputs(batch)).keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_terms_counts_and_what_is_right_have_the_same_names(name):
    model, batch, _ = case(name, **known(name, mlm_denominator_eps=0.0))
    cache = model.loss(batch)[1]
    counts, right = objective.counts(model.module, model.config, batch), objective.right(cache)
    assert cache["terms"].keys() == counts.keys() == {*model.module.terms(model.config)}
    assert right.keys() <= counts.keys()
    for hits, counted, classes in right.values():
        assert 0 <= hits <= counted
        assert classes is None or sum(classes) == counted
    for term in counts.keys() - {"replaced_token"}:  # which has an epsilon of its own
        other = model.loss(batch, denominators={**counts, term: 2 * counts[term]})[1]["terms"]
        for each, value in other.items():
            due = float(cache["terms"][each]) * (0.5 if each == term else 1.0)
            assert float(value) == pytest.approx(due, rel=1e-12), each


@pytest.mark.parametrize("name", FAMILIES)
def test_a_label_that_is_missing_is_named(name):
    model, batch, _ = case(name)
    terms = {} if hasattr(model.module, "loss") else model.module.terms(model.config)
    alone = {field for term in terms.values() if term.optional for field in objective.asking(term)
             if len(objective.asking(term)) == 1}  # fmt: skip
    for field in objective.labels(model.module, model.config):
        less = {key: value for key, value in batch.items() if key != field}
        if field in alone:  # whose term is then not asked
            assert len(model.loss(less)[1]["terms"]) == len(terms) - 1
            continue
        with pytest.raises(InputError, match=field):
            model.loss(less)
