"""ViT: transformers' ViTModel, ViTForMaskedImageModeling, ViTForImageClassification, and what is its own."""

from published import Published
from twins import vision as twins

from minibert.families import vit

SIZES = {"image_size": 12, "patch_size": 4, "num_channels": 2, "encoder_stride": 4, "mim_denominator_eps": 1e-5}
CONFIGS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new", "qkv_bias": False})
PUBLISHED = [Published("vit", "ViTForMaskedImageModeling", {"bool_masked_pos": "masked_pixels"}, SIZES, CONFIGS,
                       twin=twins.twin("ViTForMaskedImageModeling"), terms=twins.terms, mend=twins.precise)]  # fmt: skip
DIRECTORIES = {"ViTModel": {"pooler"}, "ViTForMaskedImageModeling": {"mask_token", "mim"}}
VARIANTS = ({}, {"qkv_bias": True, "hidden_act": "gelu"})
SMALL = {"image_size": 4, "patch_size": 2, "encoder_stride": 2}
PARAMETERS = [  # without a head and what is drawn for hidden patches
    ({}, ("mask_token", "mim"), 86_389_248),
    ({**vit.PRESETS["large"]}, ("mask_token", "mim", "pooler"), 303_301_632),
]


def test_classes_of_pictures_are_those_of_transformers(tmp_path):
    """Beside ViTForImageClassification: logits, loss and every gradient; directories go both ways."""
    fields = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, **SIZES}
    fields.pop("mim_denominator_eps")
    twins.classes("vit", "ViTForImageClassification", fields, tmp_path)


def test_a_picture_of_another_size(tmp_path):
    """Positions are interpolated, with the gradient."""
    fields = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, **SIZES}
    fields.pop("mim_denominator_eps")
    for size in (20, 8):
        twins.classes("vit", "ViTForImageClassification", fields, tmp_path / str(size), size)
