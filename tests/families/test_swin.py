"""Swin: transformers' SwinModel, SwinForMaskedImageModeling, SwinForImageClassification, and what is its own."""

import numpy as np
import pytest
from published import Published, error
from twins import vision as twins

import minibert
from minibert import batches, layers, ops, tree, vision
from minibert.errors import InputError
from minibert.families import swin

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (295, "stages of their own widths, grids and rates, and pictures as data"),
    "mistakes": (195, "15 entries of windows, their shift, its mask and the table, with their own pairs"),
    "tests": (130, "each line of what a conformance test should show, beside a published class"),
}
SIZES = {"image_size": 24, "patch_size": 2, "num_channels": 2, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3),
         "window_size": 3, "encoder_stride": 4, "mlp_ratio": 1.5}  # fmt: skip
CONFIGS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new", "qkv_bias": False, "use_absolute_embeddings": True})
HIDDEN = "SwinForMaskedImageModeling"
PUBLISHED = [Published("swin", HIDDEN, {"bool_masked_pos": "masked_pixels"}, SIZES, CONFIGS, twin=twins.twin(HIDDEN),
                       terms=twins.terms, mend=twins.precise)]  # fmt: skip
DIRECTORIES = {"SwinModel": set(), HIDDEN: {"mask_token", "mim"}}
VARIANTS = ({}, {"qkv_bias": True, "use_absolute_embeddings": False, "hidden_act": "gelu"})
RUNS = [({"source": "drawn"}, {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2})]
SMALL = {"embed_dim": 2, "num_heads": (1, 2), "window_size": 2, "image_size": 6, "patch_size": 1, "encoder_stride": 2,
         "num_channels": 1, "depths": (2, 1)}  # fmt: skip
PARAMETERS = [  # the released classifiers' without their classes
    ({}, ("mask_token", "mim"), 27_519_354),
    ({**swin.PRESETS["small"]}, ("mask_token", "mim"), 48_837_258),
    ({**swin.PRESETS["base"]}, ("mask_token", "mim"), 86_743_224),
]


def probe(**fields):
    made = minibert.create("swin", dtype="float64", **{**swin.PROBE, **fields})
    rng = np.random.default_rng(0)
    for value in tree.leaves(made.params):
        value += 0.3 * rng.standard_normal(value.shape)
    return made, batches.example(swin, made.config, rng), rng


@pytest.mark.parametrize("fields", [{}, {"image_size": 20, "window_size": 4, "use_absolute_embeddings": True}])
def test_classes_of_pictures_are_those_of_transformers(fields, tmp_path):
    """Beside SwinForImageClassification, of whole windows and of a grid of ten cells in windows of four."""
    twins.classes("SwinForImageClassification", {**SIZES, **fields}, tmp_path)


def test_places_in_the_table():
    assert vision.places(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_four_cells_of_a_ramp():
    """Down the first column, then the second."""
    assert ops.merged(np.arange(16.0).reshape(1, 16, 1), height=4)[0][0].tolist() == [
        [0, 4, 1, 5], [2, 6, 3, 7], [8, 12, 9, 13], [10, 14, 11, 15]]  # fmt: skip


def test_without_shift_and_table_it_is_attention_within_each_window():
    made, _, rng = probe()
    p, x = made.params["encoder"][0]["blocks"][0]["attention"], rng.standard_normal((2, 36, 4))
    p["relative_positions"]["weight"][...] = 0
    y = vision.windowed_attention(x, p, height=6, size=3, shift=0, width=2)[0].reshape(2, 6, 6, 4)
    grid = x.reshape(2, 6, 6, 4)
    for rows in (slice(0, 3), slice(3, 6)):
        for columns in (slice(0, 3), slice(3, 6)):
            own = grid[:, rows, columns].reshape(2, 9, 4)
            due = layers.self_attention(own, {k: p[k] for k in ("query", "key", "value", "output")}, width=2)[0]
            assert error(y[:, rows, columns].reshape(2, 9, 4), due) < 1e-14


def test_what_is_masked_after_a_shift():
    """0 or -100 is added; the window at the lower right corner has four regions, those at the edges two."""
    kept = vision.together(6, 6, 3, 1)
    added = ops.masking(kept, vision.APART, np.dtype(float))[0]
    assert np.unique(added).tolist() == [-100, 0]
    assert [len(np.unique(window, axis=0)) for window in kept] == [1, 2, 2, 4]
    assert (kept == kept.swapaxes(1, 2)).all()
    assert kept.diagonal(axis1=1, axis2=2).all()


@pytest.mark.parametrize(("height", "width"), [(6, 9), (5, 7)])
def test_windows_put_together_are_the_grid(height, width):
    x = np.random.default_rng(0).standard_normal((2, height * width, 3))
    for shift in (0, 1, 2):
        cut = ops.windows(x, height=height, size=3, shift=shift)[0]
        assert np.array_equal(ops.unwindowed(cut, height=height, width=width, size=3, shift=shift)[0], x)


def test_a_cell_is_seen_from_its_window_alone():
    """In one layer; from the next, whose windows are shifted, farther."""
    made, batch, _ = probe(depths=(1,), num_heads=(2,), encoder_stride=2)
    x = batch["pixel_values"]
    other = x.copy()
    other[:, :, :2, :2] += 1  # the first patch
    there = {"pixel_values": x}, {"pixel_values": other}
    first, second = (made.encode(**given)["last_hidden_state"].reshape(-1, 6, 6, 4) for given in there)
    moved = abs(first - second).max((0, 3)) > 0
    due = np.zeros((6, 6), bool)
    due[:3, :3] = True
    assert np.array_equal(moved, due)
    made, *_ = probe(depths=(2,), num_heads=(2,), encoder_stride=2)
    first, second = (made.encode(**given)["last_hidden_state"].reshape(-1, 6, 6, 4) for given in there)
    moved = abs(first - second).max((0, 3)) > 1e-12
    assert (moved[3, 3], moved[5, 5]) == (True, False)


def test_a_grid_of_one_window_is_not_shifted():
    made, batch, _ = probe(depths=(2, 2))
    assert swin.grids(made.config, {}) == [(6, 6), (3, 3)]
    cache = swin.encode(made.params, made.config, {"pixel_values": batch["pixel_values"]})[1]["encoder"]
    shifts = [block["attention"]["windows"]["shift"] for stage in cache for block in stage["blocks"]]
    assert shifts == [0, 1, 0, 0]
    with pytest.raises(InputError, match="a grid of 2·2 cells, but windows have window_size 3 either way"):
        made.encode(pixel_values=batch["pixel_values"][:, :, :8, :8])


def test_a_path_drops_whole_rows_of_attention_alone():
    """At rates that grow evenly from 0."""
    made, batch, _ = probe()
    places = swin.dropouts(made.config, {"B": 3})
    rates = [rate for name, (shape, rate) in places.items() if name.endswith("drop_path")]
    assert rates == pytest.approx([0, 0.2, 0.4])
    name = "swin.encoder.layers.0.blocks.1.drop_path"
    assert places[name][0] == (3, 1, 1)
    del batch["dropout"]
    masks = {name: np.array([0, 1, 1]).reshape(3, 1, 1)}
    plain, dropped = (swin.encode(made.params, made.config, {**batch, **more}) for more in ({}, {"dropout": masks}))
    adds = [c["encoder"][0]["blocks"][1]["attention"]["path"]["keep"] for _, c in (plain, dropped)]
    assert adds[0] is None
    assert adds[1].all((1, 2)).tolist() == adds[1].any((1, 2)).tolist() == [False, True, True]
