"""Swin: transformers' SwinModel, SwinForMaskedImageModeling, SwinForImageClassification, and what is its own."""

from published import Published
from twins import vision as twins

from minibert.families import swin

SIZES = {"image_size": 24, "patch_size": 2, "num_channels": 2, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3),
         "window_size": 3, "encoder_stride": 4, "drop_path_rate": 0.3, "mlp_ratio": 1.5}  # fmt: skip
CONFIGS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new", "qkv_bias": False, "use_absolute_embeddings": True})
PUBLISHED = [Published("swin", "SwinForMaskedImageModeling", {"bool_masked_pos": "masked_pixels"}, SIZES, CONFIGS,
                       twin=twins.twin("SwinForMaskedImageModeling"), terms=twins.terms, mend=twins.precise)]  # fmt: skip
DIRECTORIES = {"SwinModel": set(), "SwinForMaskedImageModeling": {"mask_token", "mim"}}
VARIANTS = ({}, {"qkv_bias": True, "use_absolute_embeddings": False, "hidden_act": "gelu"})
SMALL = {"embed_dim": 2, "num_heads": (1, 2), "window_size": 2, "image_size": 6, "patch_size": 1, "encoder_stride": 2,
         "num_channels": 1, "depths": (2, 1)}  # fmt: skip
PARAMETERS = [  # the released classifiers' without their classes
    ({}, ("mask_token", "mim"), 27_519_354),
    ({**swin.PRESETS["small"]}, ("mask_token", "mim"), 48_837_258),
    ({**swin.PRESETS["base"]}, ("mask_token", "mim"), 86_743_224),
]
