"""ViT's loss: what hidden patches show. p, config and batch (dicts) -> scalar. SPEC VIT-LOSS."""

from .masked_pixels import masked_pixels
from .vit_encode import vit_encode


def vit_loss(p, config, batch):
    given = config["patch_size"], config["encoder_stride"], config["mim_denominator_eps"]
    return masked_pixels(vit_encode(p, config, batch), p["mim"], batch, batch["pixel_values"], *given)
