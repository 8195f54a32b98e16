"""transformers' `model_addition_debugger_context(model, debug_path, use_repr=False)`.

It writes CLASS_debug_tree_FULL_TENSORS.json, a tree of calls with "module_path", and of each module without parts
CLASS.PATH_outputs.safetensors (a tuple's: …_outputs_0), which holds one tensor, "data". What has parts has no file;
where the last of them is a norm or an activation, that is its output, too. Of a module that is called several times the
file is the last call's. Source: transformers 5.23, model_debugging_utils.py.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import safetensors, strictjson
from minibert.checkpoint.numpy_files import Stored
from minibert.config import require
from minibert.golden.importers import called

TREE = "_debug_tree_FULL_TENSORS.json"
ENDS = re.compile(r"(layer_?norm|norm|ln_\w+|activation|\w*act_fn)$", re.IGNORECASE)
DEEPEST, MOST = 64, 1 << 28  # parts within parts; bytes of the tree
KINDS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def recognises(root: Path) -> bool:
    """Whether the tree of calls lies there."""
    return any(name.endswith(TREE) for name in reading.names(root))


def tensors(root: Path) -> Iterator[tuple[str, Stored]]:
    """The output of each module that has a file."""
    (tree, *more) = [name for name in reading.names(root) if name.endswith(TREE)]
    require(not more, f"{root} holds the dumps of several models: give each a folder of its own")
    kind = tree.removesuffix(TREE)
    calls, ends = Counter[str](), {}
    _walked(strictjson.as_written(reading.contents(root / tree, MOST), str(root / tree)), kind, calls, ends, 0)
    found = 0
    for name in reading.names(root):
        match = re.fullmatch(rf"{re.escape(kind)}\.(.+)_outputs(?:_0)?\.safetensors", name)
        if match is None:
            continue
        held = safetensors.stored(root / name).get("data")
        require(held is not None, f"{root / name} has no tensor 'data'")
        stored = Stored(held.shape, KINDS.get(held.kind) or held.dtype.name, held.load)
        found += 1
        path = match[1]
        yield called(path, max(0, calls[path] - 1)), stored
        for above in ends.get(path, ()):
            yield called(above, max(0, calls[above] - 1)), stored
    require(found > 0, f"{root} holds text, not tensors: dump with use_repr=False")


def _walked(node: Any, kind: str, calls: Counter[str], ends: dict[str, list[str]], depth: int) -> str | None:
    """Counts the calls below a node, enters whose output is that of its last part, and returns the node's path."""
    path = node.get("module_path") if isinstance(node, dict) else None
    parts = node.get("children", []) if isinstance(path, str) else None
    fits = isinstance(parts, list) and depth < DEEPEST
    require(fits, "a tree of calls: a node without 'module_path', with children that are no list, or too deep")
    path = path.removeprefix(f"{kind}.")
    calls[path] += 1
    parts = [_walked(part, kind, calls, ends, depth + 1) for part in parts]
    if parts and ENDS.search(parts[-1]):
        ends.setdefault(parts[-1], []).append(path)
    return path
