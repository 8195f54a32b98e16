"""Swin: LN(y) of stages over a grid of patches, the windows of every second layer shifted, four cells merged between.

p, config and batch (dicts; pixel_values (b, C, Y, X), perhaps bool_masked_pos (b, N)) -> (b, cells, D of the last
stage). Liu et al. 2021 (2103.14030), section 3; SPEC SWIN-EMB to SWIN-NORM.
"""

from .layer_norm import layer_norm
from .patch_embeddings import patch_embeddings
from .patch_merging import patch_merging
from .scalars import constant
from .swin_layer import swin_layer


def swin_encode(p, config, batch):
    pixels, size, token = batch["pixel_values"], config["window_size"], p.get("mask_token", {}).get("weight")
    given, eps = {"size": config["patch_size"], "hidden": batch.get("bool_masked_pos")}, config["layer_norm_eps"]
    fixed = constant("0.00001", p["norm"]["weight"][0])  # of torch's norms, whatever the config says
    x = patch_embeddings(pixels, p["embeddings"], token, **given, eps=fixed)
    rows, columns = (len(side) // config["patch_size"] for side in (pixels[0][0], pixels[0][0][0]))
    for heads, stage in zip(config["num_heads"], p["encoder"], strict=True):
        for number, layer in enumerate(stage["blocks"]):
            shift = size // 2 if number % 2 and min(rows, columns) > size else 0
            own = {"height": rows, "size": size, "shift": shift, "heads": heads}
            x = swin_layer(x, layer, **own, act=config["hidden_act"], eps=eps)
        if "merge" in stage:
            x = patch_merging(x, stage["merge"], height=rows, eps=fixed)
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
    return layer_norm(x, **p["norm"], eps=eps)
