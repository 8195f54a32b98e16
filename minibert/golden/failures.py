"""What a failed property test drew, as a file; and the case of an op that is made of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minibert.checkpoint import safetensors, strictjson
from minibert.config import nearest, require, shown
from minibert.errors import InputError
from minibert.golden import noise
from minibert.golden.recipe import CaseRecipe
from minibert.pairs import PAIRS

MOST = 4096  # numbers: a case's truth is certified at 50 digits, in scalar loops
CONSTANTS = "minibert.constants"  # of the file's metadata: the constants, as JSON


def written(folder: Any, test: str, args: Mapping[str, np.ndarray], constants: Mapping[str, Any]) -> Path:
    """The arrays by name and, in its metadata, the constants of one example, in a file named for the test."""
    path = Path(folder) / (re.sub(r"[^A-Za-z0-9_.-]+", "-", test).strip("-.")[-120:] + ".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: value for name, value in {**args, **constants}.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in constants.items() if name not in arrays}
    try:
        said = strictjson.dumps(others).decode()
    except (TypeError, ValueError):  # a constant that is no number: a function, say
        said = strictjson.dumps({k: v for k, v in others.items() if isinstance(v, bool | int | float | str)}).decode()
    safetensors.write(path, arrays, {CONSTANTS: said})
    return path


def recipe(name: str, path: Any, seed: int = 0) -> CaseRecipe:
    """The case of an op on the arguments that such a file holds; InputError where they are not that op's."""
    require(name in PAIRS, f"no op {shown(name)}{nearest(name, PAIRS)}; there are: {', '.join(PAIRS)}")
    arrays, metadata = safetensors.read(path), safetensors.header(path).metadata
    config = strictjson.loads(metadata.get(CONSTANTS, "{}").encode(), str(path))
    require(isinstance(config, dict), f"{path}: {CONSTANTS} is no JSON object")
    pair, known = PAIRS[name], noise.parameters(name)
    for given in {**arrays, **config}:
        require(given in known, f"{path}: the op {name} has no argument {shown(given)}; it takes: {', '.join(known)}")
    for due in known[: len(pair.arguments)]:
        require(due in arrays, f"{path}: the op {name} needs {shown(due)}, which isn't there")
    for key, spec in zip(known, pair.arguments, strict=False):
        dims, array = [dim for dim in spec.dims if dim != "..."], arrays[key]
        arrays[key] = array = array.reshape((1,) * len(dims)) if array.ndim == 0 else array  # a number alone
        few = f"{path}: {shown(key)} has {array.ndim} dimensions, of which the op {name} takes {len(dims)} or more"
        require(array.ndim >= len(dims), few)
    many = sum(a.size for a in arrays.values())
    require(many <= MOST, f"{path}: {many} numbers, of at most {MOST}: let hypothesis shrink the example first")
    bad = next((key for key, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()), None)
    require(bad is None, f"{path}: {shown(bad)} is not finite: a case needs numbers")
    title = f"{name} on what a failed test drew"
    slope = config.get("padding_idx") is None
    config = {**{absent: None for absent in pair.data if absent not in arrays}, **config}
    try:
        pair.forward(**arrays, **{**pair.constants, **config})
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the op {name} cannot be computed on these arguments: {error}") from None
    return CaseRecipe(title, kind="op", pair=name, config=config, seed=seed, steps=(), arrays=arrays, slope=slope)
