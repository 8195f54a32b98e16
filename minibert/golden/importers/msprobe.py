"""msprobe's PrecisionDebugger at level L0 or mix, task "tensor": a folder stepN/rankM.

dump.json has "data" by call, "Module.PATH.CLASS.forward.N" (MindSpore: "Cell.…"), with "output", a list of {"shape",
"data_name"}; the files lie in dump_tensor_data, as .pt or .npy. Gradients of parameters are "Module.PATH.CLASS.
parameters_grad". Source: Ascend/msprobe, docs (dump.json file description).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import numpy_files, strictjson
from minibert.checkpoint.numpy_files import Stored
from minibert.config import require, shown
from minibert.golden import torch_files
from minibert.golden.importers import called

LIST, FOLDER = "dump.json", "dump_tensor_data"
MOST = 1 << 28  # bytes of the list
CALL = re.compile(r"(?:Module|Cell)\.(?P<path>.+)\.\w+\.(?:forward\.(?P<call>\d{1,6})|(?P<grad>parameters_grad))")


def recognises(root: Path) -> bool:
    """Whether the list and the folder of tensors lie there."""
    return reading.present(root / LIST) and (root / FOLDER).is_dir()


def tensors(root: Path) -> Iterator[tuple[str, Stored]]:
    """The first output of each module's calls, and the gradients of parameters."""
    listed = strictjson.as_written(reading.contents(root / LIST, MOST), str(root / LIST))
    data = listed.get("data") if isinstance(listed, dict) else None
    require(isinstance(data, dict), f"{root / LIST}: 'data' is missing or no object")
    for name, fields in data.items():
        match = CALL.fullmatch(name)
        if match is None or not isinstance(fields, dict):
            continue
        if match["grad"]:
            for leaf, held in fields.items():
                if stored := _stored(root, held[0] if isinstance(held, list) and held else held):
                    yield f"gradients/{match['path']}.{leaf}", stored
        elif stored := _stored(root, next(iter(_list(fields.get("output"))), None)):
            yield called(match["path"], int(match["call"])), stored


def _list(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [held]


def _stored(root: Path, held: Any) -> Stored | None:
    """The tensor that an entry names; None where it names none."""
    name = held.get("data_name") if isinstance(held, dict) else None
    if name is None:
        return None
    plain = isinstance(name, str) and not set(name) & set("/\\:\0") and name.endswith((".pt", ".npy"))
    require(plain, f"{root / LIST}: data_name {shown(name)} is no plain file name in .pt or .npy")
    path = root / FOLDER / name
    require(reading.present(path), f"{path}: there is no such file, which {LIST} names")
    return torch_files.single(path) if name.endswith(".pt") else numpy_files.single(path)
