"""ViT: transformers' ViTModel, ViTForMaskedImageModeling, ViTForImageClassification, and what is its own."""

import numpy as np
import pytest
from published import Published, error
from twins import vision as twins

import minibert
from minibert import batches, ops, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import vit

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (330, "no kin's configuration or places, pictures as data and as rows, what Swin takes from it"),
    "cases": (35, "the double's values, which are Swin's, too"),
    "mistakes": (297, "the first of pictures: 16 entries, most of them those of every one to come"),
    "tests": (130, "beside classes of transformers: patches, places of pictures of other sizes, what is hidden"),
}
SIZES = {"image_size": 12, "patch_size": 4, "num_channels": 2, "encoder_stride": 4}
CONFIGS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new", "qkv_bias": False})
HIDDEN = "ViTForMaskedImageModeling"
PUBLISHED = [Published("vit", HIDDEN, {"bool_masked_pos": "masked_pixels"}, SIZES, CONFIGS, twin=twins.twin(HIDDEN),
                       terms=twins.terms, mend=twins.precise)]  # fmt: skip
DIRECTORIES = {"ViTModel": {"pooler"}, HIDDEN: {"mask_token", "mim"}}
VARIANTS = ({}, {"qkv_bias": True, "hidden_act": "gelu"})
RUNS = [({"source": "drawn"}, {})]
SMALL = {"image_size": 4, "patch_size": 2, "encoder_stride": 2}
PARAMETERS = [  # without a head and what is drawn for hidden patches
    ({}, ("mask_token", "mim"), 86_389_248),
    ({**vit.PRESETS["large"]}, ("mask_token", "mim", "pooler"), 303_301_632),
]
CLASS = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, **SIZES}


def probe(**fields):
    made = minibert.create("vit", dtype="float64", **{**vit.PROBE, "hidden_dropout_prob": 0.0, **fields})
    rng = np.random.default_rng(0)
    for value in tree.leaves(made.params):
        value += 0.3 * rng.standard_normal(value.shape)
    batch = batches.example(vit, made.config, rng)
    return made, {name: batch[name] for name in ("pixel_values", "bool_masked_pos")}, rng


@pytest.mark.parametrize("size", [None, 20, 8])
def test_classes_of_pictures_are_those_of_transformers(size, tmp_path):
    """Beside ViTForImageClassification, of its own size and of others, where positions are interpolated: logits, loss,
    every gradient; directories go both ways.
    """
    twins.classes("ViTForImageClassification", CLASS, tmp_path, size)


def test_a_convolution_with_stride_is_a_product():
    """Entry by entry, of kernels (D, C, P, P) as published files have them."""
    made, batch, _ = probe()
    kernel, x = made.state_dict()["vit.embeddings.patch_embeddings.projection.weight"], batch["pixel_values"]
    cut = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::3, ::3]  # (B, C, 2, 2, 3, 3)
    due = np.einsum("bcijuv,dcuv->bijd", cut, kernel).reshape(len(x), 4, -1)
    own = made.params["embeddings"]["patch"]
    assert error(ops.linear(ops.patches(x, size=3)[0], **own)[0], due + own["bias"]) < 1e-14


def test_of_black_pictures_only_places_are_seen():
    made, batch, _ = probe()
    black = np.zeros_like(batch["pixel_values"])
    out = made.encode(pixel_values=black)["last_hidden_state"]
    assert np.array_equal(out[0], out[1])
    assert (abs(np.diff(out[0, 1:], axis=0)).max(1) > 1e-3).all()
    made.params["embeddings"]["position"]["weight"][1:] = 0
    same = made.encode(pixel_values=black)["last_hidden_state"][0, 1:]
    assert abs(np.diff(same, axis=0)).max() < 1e-13


def test_the_first_row_of_positions_is_the_class_token():
    """However large the picture: it is never interpolated."""
    made, _, rng = probe()
    position = made.params["embeddings"]["position"]["weight"]
    for side in (6, 12):
        x = rng.standard_normal((1, 2, side, side))
        before = made.encode(pixel_values=x)["hidden_states"][0]
        position[0] += 1
        after = made.encode(pixel_values=x)["hidden_states"][0]
        assert error(after[:, 0], before[:, 0] + 1) < 1e-14
        assert np.array_equal(after[:, 1:], before[:, 1:])


def test_a_strip_of_as_many_patches_is_no_square():
    """Positions are interpolated there, too, not taken in the order of the table."""
    made, _, rng = probe()
    x, own = rng.standard_normal((1, 2, 12, 3)), made.params["embeddings"]
    e = ops.linear(ops.patches(x, size=3)[0], **own["patch"])[0]
    table = own["position"]["weight"][1:]
    strip = ops.resized(table, rows=4, columns=1)[0]
    assert error(made.encode(pixel_values=x)["hidden_states"][0][:, 1:], e + strip) < 1e-14
    assert abs(strip - table).max() > 0.1


def test_where_nothing_is_hidden_nothing_is_asked():
    made, batch, _ = probe(mim_denominator_eps=1e-5)
    loss, cache = made.loss({**batch, "bool_masked_pos": np.zeros_like(batch["bool_masked_pos"])})
    assert loss == 0
    assert not any(leaf.any() for leaf in tree.leaves(made.loss_backward(cache)))


def test_what_a_hidden_patch_shows_is_not_seen():
    made, batch, rng = probe()
    hidden = batch["bool_masked_pos"].reshape(-1, 1, 2, 2).repeat(3, 2).repeat(3, 3)
    other = np.where(hidden, rng.standard_normal(batch["pixel_values"].shape), batch["pixel_values"])
    there = batch, {**batch, "pixel_values": other}
    first, second = (made.encode(**given)["last_hidden_state"] for given in there)
    assert np.array_equal(first, second)
    assert made.loss({**batch, "pixel_values": other})[0] != made.loss(batch)[0]


def test_files_with_the_names_of_either_version(tmp_path):
    """Those that transformers 5 has in memory are read as those that it writes."""
    made, batch, _ = probe()
    made.save(tmp_path)
    held, other = made.state_dict(), {name: alias for alias, name in vit.aliases(made.config).items()}
    assert len(other) == 2 * (16 - 3)  # two layers of eight parts, three without biases
    safetensors.write(tmp_path / "model.safetensors", {other.get(name, name): a for name, a in held.items()})
    assert minibert.load(tmp_path).loss(batch)[0] == made.loss(batch)[0]


def test_pictures_that_do_not_fit():
    made, batch, _ = probe()
    with pytest.raises(InputError, match="pixel_values: 7 by 6 pixels, which are no whole patches of 3"):
        made.encode(pixel_values=np.zeros((1, 2, 7, 6)))
    with pytest.raises(InputError, match="bool_masked_pos: shape"):
        made.encode(pixel_values=batch["pixel_values"], bool_masked_pos=[[0, 1]] * 3)
    with pytest.raises(InputError, match="encoder_stride: its patches of the pictures are 1, their states 5"):
        probe(encoder_stride=6)[0].loss(batch)
    with pytest.raises(InputError, match="'patch_size' is 4; allowed: a divisor of image_size 6"):
        probe(patch_size=4)
