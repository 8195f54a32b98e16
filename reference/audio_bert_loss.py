"""Mockingjay's loss: mean |z - x| over hidden frames and features; undropped.

p, config (dict) and batch (dict of lists) -> scalar. Frames through a linear map, sinusoids added, normed; BERT's
layers; a head of BERT's kind whose outputs are features. Liu et al. 2019 (1910.12638), section 2; SPEC AUDIO-LOSS.
"""

from .bert_encode import FORBID
from .encoder_layer import encoder_layer
from .frame_embeddings import frame_embeddings
from .mean_absolute_error import mean_absolute_error
from .mlm_head import mlm_head


def audio_bert_encode(p, config, frames, mask):
    x = frame_embeddings(frames, p["embeddings"], config["layer_norm_eps"])
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in row]]] for row in mask]
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], config["layer_norm_eps"])
    return x


def audio_bert_loss(p, config, batch):
    mask = batch.get("attention_mask", [[1] * len(row) for row in batch["input_frames"]])
    x, labels = audio_bert_encode(p, config, batch["input_frames"], mask), batch["frame_labels"]
    table = p["spec"]["decoder"]["weight"]
    z = mlm_head(x, p["spec"], table, config["hidden_act"], config["layer_norm_eps"])
    weights = [[[label] * len(table) for label in row] for row in labels]
    return mean_absolute_error(z, target=batch["target_frames"], weights=weights)
