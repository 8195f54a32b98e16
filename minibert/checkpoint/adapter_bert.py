"""What Houlsby et al. train, as google-research/adapter-bert names its variables (modeling.py, run_classifier.py).

    bert/encoder/layer_I/attention/output/adapters/weights1 (D, A), biases1 (1, A), weights2 (A, D), biases2 (1, D)
    bert/encoder/layer_I/output/adapters/…
    bert/embeddings, bert/encoder/layer_I/attention/output, bert/encoder/layer_I/output, each LayerNorm/gamma, beta (D)
    output_weights (C, D), output_bias (C)

The adapters' matrices are (in, out). All else in its checkpoints is the BERT it began with. TensorFlow's own files are
not read here; where it is installed, two lines make of a checkpoint what is:

    r = tf.train.load_checkpoint("model.ckpt-573")
    np.savez("a.npz", **{name: r.get_tensor(name) for name in r.get_variable_to_shape_map()})
"""

import copy
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minibert import adapters, tree
from minibert.checkpoint import atomic, numpy_files, safetensors
from minibert.config import require

PLACES = {"attention": "attention/output", "feed_forward": "output"}
LEAVES_OF = {
    "adapter": {"down.weight": "adapters/weights1", "down.bias": "adapters/biases1", "up.weight": "adapters/weights2",
                "up.bias": "adapters/biases2"},
    "norm": {"weight": "LayerNorm/gamma", "bias": "LayerNorm/beta"},
}  # fmt: skip
HEAD = {"classify.weight": "output_weights", "classify.bias": "output_bias"}


def name(path: str) -> str | None:
    """The release's name of a parameter that it trains; None for another."""
    own = re.fullmatch(r"(embeddings|encoder\.\d+\.(?:attention|feed_forward))\.(norm|adapter)\.(.+)", path)
    if own is None or own[3] not in LEAVES_OF[own[2]]:
        return HEAD.get(path)
    part, place = own[1].split("."), "bert/embeddings"
    if len(part) > 1:
        place = f"bert/encoder/layer_{part[1]}/{PLACES[part[2]]}"
    return f"{place}/{LEAVES_OF[own[2]][own[3]]}"


def named(params: Any) -> dict[str, np.ndarray]:
    """The adapters, norms and classifier of a tree by the release's names; InputError for a tree without adapters."""
    found = {}
    for path, array in tree.items(params):
        if (own := name(path)) is not None:
            found[own] = array
            if ".adapter." in path:
                found[own] = np.ascontiguousarray(np.atleast_2d(array) if array.ndim == 1 else array.T)
    require(any("/adapters/" in own for own in found), "no adapters in an encoder's layers")
    return found


def save(model: Any, path: str | os.PathLike) -> None:
    """Writes them into a file, NumPy's where its name ends in .npz, else safetensors."""
    if Path(path).suffix != ".npz":
        return safetensors.write(path, named(model.params))
    held = io.BytesIO()
    np.savez(held, **named(model.params))
    return atomic.write_bytes(path, held.getvalue())


def load(model: Any, given: str | os.PathLike | Mapping[str, np.ndarray]) -> Any:
    """The model, the same arrays, with what a file (.npz or .safetensors), or arrays by these names, hold of adapters,
    norms and, where it has one for classify, the classifier, in its dtype. Other names are passed over, as those that
    did not learn. InputError where there are no adapters, or they do not fit.
    """
    where = "the adapters" if isinstance(given, Mapping) else f"{given}"
    tensors = given if isinstance(given, Mapping) else _read(Path(given))
    flat = tree.flatten(model.params)
    kind, shapes = next(iter(flat.values())).dtype, {path: array.shape for path, array in flat.items()}
    own = {path: tensors[said] for path in flat if ".adapter." not in path and (said := name(path)) in tensors}
    layers = {path.split(".")[1] for path in flat if path.startswith("encoder.")}
    due = [f"encoder.{i}.{part}.adapter.{leaf}" for i in layers for part in PLACES for leaf in LEAVES_OF["adapter"]]
    beside = {path: _ours(path, np.asarray(tensors[said])) for path in due if (said := name(path)) in tensors}
    known = {*map(name, due)}
    beyond = [said for said in tensors if "/adapters/" in said and said not in known]
    require(bool(beside), f"{where}: no adapters by the names of google-research/adapter-bert")
    require(not beyond, f"{where}: {''.join(map(repr, beyond[:1]))} is beside no layer of {model.family}")
    cast = {path: np.array(array, kind if np.asarray(array).dtype.kind == "f" else None, order="C")
            for path, array in {**own, **beside}.items()}  # fmt: skip
    adapters.require_fitting({path: cast[path] for path in beside}, shapes, where)
    for path in own:
        array = cast[path]
        fits = array.shape == shapes[path] and array.dtype.kind == "f"
        require(fits, f"{where}: {name(path)!r} is {array.dtype} {array.shape}; {shapes[path]} is due")
        require(bool(np.isfinite(array).all()), f"{where}: {name(path)!r} has entries that are NaN or infinite")
    found = copy.copy(model)
    found.params = tree.unflatten({**flat, **cast})
    return found


def _ours(path: str, held: np.ndarray) -> np.ndarray:
    """A matrix as (out, in), a bias as its one row."""
    row = path.endswith("bias") and held.ndim == 2 and len(held) == 1
    return held[0] if row else held.T


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if not numpy_files.beginning(path).startswith(numpy_files.ARCHIVE):
        return safetensors.read(path)
    held = numpy_files.members(path)
    return {said: stored.load() for said, stored in held if re.search("/adapters/|/LayerNorm/|^output_", said)}
