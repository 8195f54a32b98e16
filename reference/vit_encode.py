"""ViT: LN(y^L) of pre-norm layers over patches behind a class token.

p, config and batch (dicts; pixel_values (b, C, Y, X), perhaps bool_masked_pos (b, N)) -> (b, 1 + N, D).
Dosovitskiy et al. 2020 (2010.11929), eq. 1 to 4; SPEC VIT-EMB to VIT-NORM.
"""

from .layer_norm import layer_norm
from .patch_embeddings import patch_embeddings
from .pre_norm_layer import pre_norm_layer


def vit_encode(p, config, batch):
    token, eps = p.get("mask_token", {}).get("weight"), config["layer_norm_eps"]
    given = {"size": config["patch_size"], "hidden": batch.get("bool_masked_pos")}
    x = patch_embeddings(batch["pixel_values"], p["embeddings"], token, **given)
    for layer in p["encoder"]:
        x = pre_norm_layer(x, layer, config["num_attention_heads"], None, config["hidden_act"], eps)
    return layer_norm(x, **p["norm"], eps=eps)
