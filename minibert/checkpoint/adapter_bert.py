"""Houlsby adapters under the names of google-research/adapter-bert, as its checkpoints have them.

    bert/encoder/layer_I/attention/output/adapters/weights1 (D, A), biases1 (1, A), weights2 (A, D), biases2 (1, D)
    bert/encoder/layer_I/output/adapters/…

Its matrices are (in, out); its GELU is that by tanh, whatever the network has (`feedforward_adapter` of modeling.py). TensorFlow's own files are not read here: `load` takes a .safetensors file, or the arrays by
these names, as `tf.train.load_checkpoint` gives them.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert import adapters, tree
from minibert.checkpoint import safetensors
from minibert.config import require

PLACES = {"attention": "attention/output", "feed_forward": "output"}
LEAVES = {"down.weight": "weights1", "down.bias": "biases1", "up.weight": "weights2", "up.bias": "biases2"}
NAME = re.compile(r"bert/encoder/layer_(\d+)/(attention/output|output)/adapters/(weights|biases)([12])")


def named(params: Any) -> dict[str, np.ndarray]:
    """The adapters of a tree with an encoder's layers, by the release's names; InputError for a tree without."""
    found = {}
    for path, array in tree.items(params):
        own = re.fullmatch(r"encoder\.(\d+)\.(attention|feed_forward)\.adapter\.(.+)", path)
        if own:
            name = f"bert/encoder/layer_{own[1]}/{PLACES[own[2]]}/adapters/{LEAVES[own[3]]}"
            found[name] = np.ascontiguousarray(np.atleast_2d(array) if array.ndim == 1 else array.T)
    require(bool(found), "no adapters in an encoder's layers")
    return found


def save(model: Any, path: str | os.PathLike) -> None:
    """Writes them into a .safetensors file."""
    safetensors.write(path, named(model.params))


def load(model: Any, given: str | os.PathLike | Mapping[str, np.ndarray]) -> Any:
    """A copy of the model's tree, the same arrays, with the adapters of a file or of arrays by name, in its dtype;
    other names than those of adapters are passed over. InputError where there are none, or they do not fit.
    """
    tensors = given if isinstance(given, Mapping) else safetensors.read(given)
    flat = tree.flatten(model.params)
    kind, shapes = next(iter(flat.values())).dtype, {path: array.shape for path, array in flat.items()}
    places, leaves = ({value: key for key, value in table.items()} for table in (PLACES, LEAVES))
    own = {}
    for name, array in tensors.items():
        if found := NAME.fullmatch(name):
            path = f"encoder.{found[1]}.{places[found[2]]}.adapter.{leaves[found[3] + found[4]]}"
            held = np.asarray(array)
            row = held.ndim == 2 and len(held) == 1 and found[3] == "biases"
            held = held[0] if row else held.T
            own[path] = np.array(held, kind if held.dtype.kind == "f" else held.dtype, order="C")
    where = "the adapters" if isinstance(given, Mapping) else f"{given}"
    require(bool(own), f"{where}: no adapters by the names of google-research/adapter-bert")
    adapters.require_fitting(own, shapes, where)
    return tree.unflatten({**flat, **own})
