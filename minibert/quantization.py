"""Linear layers in eight bits after training: weights once, what goes into them each time (dynamic quantisation).

    weight     s_w = max|W|/127 of the whole matrix, or of each row; q = clip(round(W/s_w), -128, 127)              (1)
    input      lo = min(0, min x), hi = max(0, max x); s_x = (hi - lo)/255, z = clip(round(-lo/s_x), 0, 255),
               u = clip(round(x/s_x) + z, 0, 255), of each row of x, or of all of x together                        (2)
    product    y = s_x s_w Σ (u - z) q + b, the sum over whole numbers                                              (3)

Rounding goes to the even number. With (2) of all together it is ONNX's DynamicQuantizeLinear and MatMulInteger, as ONNX
Runtime quantises; torch divides by 127.5 in (1), and by 127 in (2) on x86 (`TORCH`). Of each row it does not depend on
what else is in the batch. What a norm, an activation, a softmax and a table of embeddings do stays as it is.

    weights = quantization.weights(model)            {path: Quantized}, of each matrix that `ops.linear` is given
    with quantization.running(model, weights):       its linear layers are (2), (3) in here
        model.predict(batch)
    quantization.save(model, weights, directory); model, weights = quantization.load(directory)
    with quantization.opened(directory) as model:    of any directory, running in eight bits where it is one of `save`

NumPy multiplies whole numbers without BLAS, some ten times slower than floats; (3) is done in float64, whose 53 bits
hold the sum exactly. So this says what quantisation does to size and to answers; it saves no time.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, model, pairs, reading, tasks, tree
from minibert import config as configs
from minibert.checkpoint import atomic, safetensors, strictjson
from minibert.checkpoint import directory as directories
from minibert.config import require, shown
from minibert.errors import InputError

Array = np.ndarray

FORMAT, (RECORD, WEIGHTS) = "minibert-quantized/1", directories.EIGHT
FLOATS = ("model.safetensors", "added.safetensors")  # what WEIGHTS stands for


class Scheme(NamedTuple):
    """most_weight: what the largest |W| is divided by in (1); most_input: the most that u may be in (2)."""

    most_weight: float = 127.0
    most_input: int = 255


ONNX, TORCH = Scheme(), Scheme(127.5, 127)


class Quantized(NamedTuple):
    """values: int8 (O, I); scale: float32 (1, 1), or (O, 1) of each row."""

    values: Array
    scale: Array


def weight(array: Array, per_channel: bool = False, scheme: Scheme = ONNX) -> Quantized:
    """(1) of a matrix (O, I); of a row, or a matrix, of zeros the scale is 1."""
    wide = np.abs(array).max(axis=1, keepdims=True) if per_channel else np.abs(array).max(keepdims=True)
    scale = _not_zero(wide.astype(np.float32) / np.float32(scheme.most_weight))
    values = np.clip(np.rint(array.astype(np.float32) / scale), -128, 127).astype(np.int8)
    return Quantized(values, scale)


def _not_zero(scale: Array) -> Array:
    return np.where(scale == 0, np.float32(1), scale).astype(np.float32)


def dequantized(held: Quantized, dtype: Any = np.float32) -> Array:
    """s_w q: off from W by at most half of s_w."""
    return (held.values * held.scale).astype(dtype)


def quantized_input(x: Array, by_row: bool = True, scheme: Scheme = ONNX) -> tuple[Array, Array, Array]:
    """(u, s_x, z) of (2), of x (N, I): scales and zero points (N, 1), or (1, 1) of all together."""
    x = x.astype(np.float32)
    axis = 1 if by_row else None
    low, high = (np.minimum(0, x.min(axis=axis, keepdims=True)), np.maximum(0, x.max(axis=axis, keepdims=True)))
    scale = _not_zero((high - low) / np.float32(scheme.most_input))
    zero = np.clip(np.rint(-low / scale), 0, scheme.most_input)
    return np.clip(np.rint(x / scale) + zero, 0, scheme.most_input), scale, zero


def linear(
    x: Array, held: Quantized, bias: Array | None = None, *, by_row: bool = True, scheme: Scheme = ONNX
) -> Array:  # fmt: skip
    """(3) of x (…, I): (…, O), in x's dtype."""
    u, scale, zero = quantized_input(x.reshape(-1, x.shape[-1]), by_row, scheme)
    total = (u - zero).astype(np.float64) @ held.values.T.astype(np.float64)  # whole numbers below 2**53
    y = total.astype(np.float32) * (scale * held.scale.reshape(1, -1))
    y = y if bias is None else y + bias.astype(np.float32)
    return y.reshape(*x.shape[:-1], -1).astype(x.dtype)


# ---- A model ---------------------------------------------------------------------------------------------------------
def weights(held: Any, per_channel: bool = False, scheme: Scheme = ONNX) -> dict[str, Quantized]:
    """(1) of every matrix of a model that a linear layer is given, by its path."""
    given: set[int] = set()

    def seen(f: Any, args: tuple, constants: dict) -> Any:
        if f.__name__ == "linear":
            given.add(id(_weight(args, constants)))
        return f(*args, **constants)

    with pairs.observing(seen):
        _run(held)
    found = {path: array for path, array in tree.items(held.params) if id(array) in given and array.ndim == 2}
    require(bool(found), f"{held.family} has no linear layers")
    return {path: weight(array, per_channel, scheme) for path, array in found.items()}


def _weight(args: tuple, constants: dict) -> Array:
    return constants["weight"] if "weight" in constants else args[1]


def _run(held: Any) -> None:
    """The model once over an example, with whatever heads it has."""
    example = batches.example(held.network, held.config, np.random.default_rng(0))
    known = held.network.inputs(held.config)
    inputs = {name: array for name, array in example.items() if name in known}
    if held.uses and all(task.head.READS != "own" for task in held.uses):
        held.predict(inputs)
    else:
        held.encode(**inputs)


@contextlib.contextmanager
def running(
    held: Any, found: dict[str, Quantized], *, by_row: bool = True, scheme: Scheme = ONNX
) -> Iterator[None]:  # fmt: skip
    """In here every linear layer of the model whose weight is among these computes (2) and (3). Not for training: no
    gradient goes through rounding, and InputError says so.
    """
    flat = tree.flatten(held.params)
    known = {id(flat[path]): one for path, one in found.items()}

    def around(f: Any, args: tuple, constants: dict) -> Any:
        rounded = f.__name__ == "linear_backward" and args[1:] == ({},)
        require(not rounded, "no gradient goes through what is rounded: give the model that it was made of")
        one = known.get(id(_weight(args, constants))) if f.__name__ == "linear" else None
        if one is None:
            return f(*args, **constants)
        x, bias = args[0] if args else constants["x"], constants.get("bias", args[2] if len(args) > 2 else None)
        return linear(x, one, bias, by_row=by_row, scheme=scheme), {}

    with pairs.observing(around):
        yield


def size(held: Any, found: dict[str, Quantized]) -> tuple[int, int]:
    """(the bytes of the parameters, those with the matrices in eight bits and their scales)."""
    before = sum(array.nbytes for array in tree.leaves(held.params))
    flat = tree.flatten(held.params)
    saved = sum(flat[path].nbytes - one.values.nbytes - one.scale.nbytes for path, one in found.items())
    return before, before - saved


# ---- A directory -----------------------------------------------------------------------------------------------------
def require_new(directory: str | os.PathLike) -> None:
    """InputError for a place where something stands: the weights of a model there would be lost."""
    require(not os.path.lexists(Path(directory)), f"{str(directory)!r} is there already: name a new directory")


def save(held: Any, found: dict[str, Quantized], directory: str | os.PathLike, by_row: bool = True) -> None:
    """Writes a new directory of the model, whole or not at all, with RECORD and WEIGHTS in the place of its weights: by
    path of the tree, a matrix in eight bits as PATH (int8) and PATH_scale, what else there is as it is. by_row: how (2)
    is computed where the directory is `opened`. InputError for a place where something stands.
    """
    require_new(directory)
    tensors: dict[str, Array] = {}
    for path, array in tree.items(held.params):
        if path in found:
            tensors |= {path: found[path].values, f"{path}_scale": found[path].scale}
        else:
            tensors[path] = array
    said = {task.name: configs.to_fields(task.settings) for task in held.uses}
    record = {"format": FORMAT, "by_row": by_row, "matrices": sorted(found), "tasks": said}
    with atomic.directory(directory) as folder:
        held.save(folder)
        floats = folder / FLOATS[0]
        record["names"] = sorted(safetensors.header(floats).entries) if reading.present(floats) else []
        for name in FLOATS:
            for file in folder.rglob(name):
                file.unlink()
        safetensors.write(folder / WEIGHTS, tensors)
        atomic.write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")


def load(directory: str | os.PathLike) -> tuple[Any, dict[str, Quantized]]:
    """(the model, with what its matrices are in eight bits; these, for `running`) of a directory that `save` wrote.

    InputError for another.
    """
    folder = Path(directory)
    record, found, flat = _record(folder), {}, {}
    tensors = safetensors.read(folder / WEIGHTS)
    for path in record["matrices"]:
        values, scale = (tensors.pop(name, None) for name in (path, f"{path}_scale"))
        fits = values is not None and values.dtype == np.int8 and values.ndim == 2 and scale is not None
        fits = fits and scale.shape in ((1, 1), (len(values), 1)) and scale.dtype == np.float32
        fits = fits and bool((np.isfinite(scale) & (scale > 0)).all())
        require(fits, f"{folder / WEIGHTS}: {shown(path)} is no matrix in eight bits with its scale")
        found[path] = Quantized(values, scale)
        flat[path] = dequantized(found[path])
    for path, array in tensors.items():
        fits = array.dtype.kind == "f" and bool(np.isfinite(array).all())
        require(fits, f"{folder / WEIGHTS}: {shown(path)} holds something else than finite floating-point numbers")
    params, uses = tree.unflatten({**flat, **tensors}), tasks.several(record["tasks"])
    held = directories.load(folder, params=params, names=record["names"])
    made = model.Model(held.family, held.config, held.params, held.tokenizer, held.generation, uses=uses,
                       beside=held.beside)  # fmt: skip
    try:
        made.fits()
    except InputError as error:
        raise InputError(f"{folder / WEIGHTS}: {error}") from None
    return made, found


def _record(folder: Path) -> dict[str, Any]:
    """What RECORD says, checked."""
    path = folder / RECORD
    require(reading.present(path), f"{folder} is not a quantised model's directory: {RECORD} is missing")
    record = strictjson.loads(reading.contents(path), str(path))
    fits = isinstance(record, dict) and record.get("format") == FORMAT and isinstance(record.get("tasks"), dict)
    fits = fits and isinstance(record.get("by_row"), bool)
    lists = [record.get(name) for name in ("matrices", "names")] if fits else [None]
    fits = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    require(fits, f"{path} is not the record of a quantised model ({FORMAT})")
    return record


def matrices(directory: Any) -> int:
    """How many matrices of a directory are in eight bits."""
    folder = directories.found(directory)
    return len(_record(folder)["matrices"]) if reading.present(folder / RECORD) else 0


@contextlib.contextmanager
def opened(directory: Any) -> Iterator[Any]:
    """The model of a directory, as `minibert.load` has it; of one that `save` wrote it runs in eight bits in here."""
    folder = directories.found(directory)
    if not reading.present(folder / RECORD):
        yield model.load(directory)
        return
    held, found = load(folder)
    with running(held, found, by_row=_record(folder)["by_row"]):
        yield held
