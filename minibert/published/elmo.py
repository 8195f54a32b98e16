"""ELMo's published names."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert.families import elmo

Tree = dict[str, Any]
Array = np.ndarray

MODEL_TYPE = "elmo"
PREFIX = ""
VARIANTS = ("spellings",)
FIELDS = {
    "hidden_size": "projection_dim",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "dim",
    "hidden_dropout_prob": "dropout",
}


def architectures(config: elmo.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"ElmoLanguageModel": ("lm",), "Elmo": ()}


CELL = {"weight_ih": "input_linearity.weight", "weight_hh": "state_linearity.weight", "bias_hh": "state_linearity.bias",
        "weight_hr": "state_projection.weight"}  # fmt: skip


def names(config: elmo.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter, as in allennlp; the decoder as in bilm-tf."""
    rows = [("characters.table.weight", f"{elmo.TOKENS}._char_embedding_weights")]
    for i in range(len(config.filter_widths)):
        rows += [(f"characters.convolutions.{i}.{a}", f"{elmo.TOKENS}.char_conv_{i}.{a}") for a in ("weight", "bias")]
    for k in range(config.n_highway):
        own, theirs = f"characters.highways.{k}", f"{elmo.TOKENS}._highways._layers.{k}"
        rows += [(f"{own}.{a}", f"{theirs}.{a}") for a in ("weight", "bias")]
    rows += [(f"characters.projection.{a}", f"{elmo.TOKENS}._projection.{a}") for a in ("weight", "bias")]
    for side in elmo.SIDES:
        for i in range(config.n_layers):
            rows += [(f"{side}.{i}.{ours}", f"{elmo.LAYERS}{side}_layer_{i}.{theirs}") for ours, theirs in CELL.items()]
    rows += [("lm.decoder.weight", "softmax.W"), ("lm.decoder.bias", "softmax.b")]
    return [(*row, "identity") for row in rows]


def aliases(config: elmo.Config) -> dict[str, str]:
    """None: no tensor stands in a file twice."""
    return {}


def of_tensorflow(arrays: Mapping[str, Array], config: elmo.Config) -> Tree:
    """The tree of bilm-tf's tensors by their paths in its HDF5 file, such as "CNN/W_cnn_0", which whoever has h5py can
    read: rows of gates i j f o to i f g o, 1 added to the forget gate, carry gates turned, a row 0 of characters.
    """
    def matrix(name: str) -> Array:
        return np.asarray(arrays[name]).T

    def gates(a: Array) -> Array:
        i, j, f, o = np.split(a, 4)
        return np.concatenate([i, f, j, o])

    def cell(n: int, i: int) -> Tree:
        where, p = f"RNN_{n}/RNN/MultiRNNCell/Cell{i}/LSTMCell/", config.projection_dim
        both, bias = gates(matrix(f"{where}W_0")), gates(np.asarray(arrays[f"{where}B"]))
        forget = np.repeat([0, 1, 0, 0], len(bias) // 4).astype(bias.dtype)
        return {"weight_ih": both[:, :p], "weight_hh": both[:, p:], "weight_hr": matrix(f"{where}W_P_0"),
                "bias_hh": bias + forget}  # fmt: skip

    def high(k: int) -> Tree:
        own = f"CNN_high_{k}/"
        weight = np.concatenate([matrix(f"{own}W_transform"), -matrix(f"{own}W_carry")])
        return {"weight": weight, "bias": np.concatenate([arrays[f"{own}b_transform"], -arrays[f"{own}b_carry"]])}

    table = np.asarray(arrays["char_embed"])
    filters = [[np.asarray(arrays[f"CNN/{leaf}_cnn_{i}"]) for leaf in "Wb"] for i in range(len(config.filter_widths))]
    convolutions = [{"weight": weight[0].transpose(2, 1, 0), "bias": bias} for weight, bias in filters]
    return {
        "characters": {
            "table": {"weight": np.concatenate([np.zeros_like(table[:1]), table])},
            "convolutions": convolutions,
            "highways": [high(k) for k in range(config.n_highway)],
            "projection": {"weight": matrix("CNN_proj/W_proj"), "bias": np.asarray(arrays["CNN_proj/b_proj"])},
        },
        **{side: [cell(n, i) for i in range(config.n_layers)] for n, side in enumerate(elmo.SIDES)},
    }


def activations(config: elmo.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order. What has a row
    for each word, and not for each token, is left out.
    """
    table = [(elmo.TOKENS, "encode.drop", "", "embeddings")]
    for side in elmo.SIDES:
        table += [(f"{elmo.LAYERS}{side}_layer_{i}", f"encode.{side}.{i}", "", f"{side} layer {i}")
                  for i in range(config.n_layers)]  # fmt: skip
    for side in elmo.SIDES:
        table += [(f"{elmo.LAYERS}{side}_output", f"encode.{side}_drop", "", "head"),
                  ("softmax" if side == "forward" else "softmax@1", f"{side}_lm.head", "rows", "head")]  # fmt: skip
    return table
