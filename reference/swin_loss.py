"""Swin's loss: what hidden patches show. p, config and batch (dicts) -> scalar. SPEC SWIN-LOSS."""

from .masked_pixels import masked_pixels
from .swin_encode import swin_encode


def swin_loss(p, config, batch):
    given = config["patch_size"], config["encoder_stride"], config["mim_denominator_eps"]
    return masked_pixels(swin_encode(p, config, batch), p["mim"], batch, batch["pixel_values"], *given)
