"""Directories without a config.json, or without weights that are read here: what stands there, and what to do about it.

Files of other programs are not read: pickles can run code, and transformers writes a model.safetensors of every kind
that it reads (TensorFlow's and Flax's until its version 4).
"""

import os
from pathlib import Path

from minibert import reading
from minibert.config import shown

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# what names of weights end in: what a line says of them, and what converts them; {0} the published class, {1} the file
_CONVERTED = "; convert it once with transformers{}: {{0}}.from_pretrained({}).save_pretrained(NEW)"
KINDS = {
    (".bin", ".pt", ".pth", ".pkl", ".ckpt"): "is not read (pickles can run code)" + _CONVERTED.format("", "DIR"),
    (".h5",): "is TensorFlow's, which is not read" + _CONVERTED.format(" 4", "DIR, from_tf=True"),
    (".index",): "is TensorFlow's, which is not read"
    + _CONVERTED.format(" 4", "'DIR/{1}', from_tf=True, config='DIR/config.json'"),
    (".msgpack",): "is Flax's, which is not read" + _CONVERTED.format(" 4", "DIR, from_flax=True"),
    ("adapter_model.safetensors",): "is an adapter's: load its model, and add it with checkpoint.peft.load(model, DIR)",
    (".safetensors",): f"is none: a single file has to be called {WEIGHTS}, of several {WEIGHTS}.index.json says which",
    (".ot", ".onnx", ".gguf", ".npz", ".keras", ".pb", ".tflite", ".xml"):
        f"is another program's: get the model's {WEIGHTS}",
}  # fmt: skip
# how names of files begin that hold no weights of a model, though they end as these do
BESIDE = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states", "openvino_model.bin")
RELEASES = {  # a file that only such a directory has: whose it is
    "bert_config.json": "a TensorFlow release", "albert_config.json": "a TensorFlow release",
    "electra_config.json": "a TensorFlow release", "xlnet_config.json": "a TensorFlow release",
    "hparams.json": "a TensorFlow release", "dict.txt": "a fairseq release", "params.json": "another program's",
    "adapter_config.json": "an adapter, which its model is to be merged with",
}  # fmt: skip
MOST = 3  # names in a line


def without_config(folder: Path) -> str:
    """What an error line says of a folder without a config.json; nothing where nothing shows what it is."""
    if os.path.lexists(folder / CONFIG):
        return f"{folder / CONFIG} is a link to nothing: download the model again"
    names = reading.names(folder)
    inner = [name for name in names if any(reading.present(folder / name / part) for part in (CONFIG, "snapshots"))]
    if inner:
        more = f" and {len(inner) - MOST} more" if len(inner) > MOST else ""
        return f"{folder} has no {CONFIG}, but folders of models: name one: {', '.join(inner[:MOST])}{more}"
    for name, whose in RELEASES.items():
        if name in names:
            return f"{folder} has no {CONFIG}; {name} shows {whose}: convert it once to transformers' files"
    return ""


def without_weights(folder: Path, published: str) -> str:
    """What it says of one without weights, after "has no model.safetensors"; published: the class that converts."""
    if os.path.lexists(folder / WEIGHTS):
        return ": it is a link to nothing: download the model again"
    for ends, said in KINDS.items():
        if found := weights(folder, ends):
            return f"; {shown(found)[1:-1]} {said.format(published, found)}"
    return ""


def weights(folder: Path, ends: tuple[str, ...] = tuple(end for ends in KINDS for end in ends)) -> str | None:
    """The name of weights in the folder that end so; of several parts the last."""
    found = (name for name in reading.names(folder) if name.endswith(ends) and not name.startswith(BESIDE))
    return max(found, default=None)
