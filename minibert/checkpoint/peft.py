"""Directories of PEFT's LoRA: adapter_config.json and adapter_model.safetensors, beside a published model.

    base_model.model.MODULE.lora_A.weight (R, I), .lora_B.weight (O, R)      of each weight that learnt, α and R in the
                                                                             config: W + α/R B A
    base_model.model.MODULE.weight, .bias                                    heads that learnt as a whole

`load` puts them into a model's tree (`adapters.lora`), `save` writes those of a tree. One weight of several of ours, as
GPT-2's c_attn is, has no place for matrices of parts of it, and is refused by name, as is what is no plain LoRA.
"""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minibert import adapters, reading, tasks, tree
from minibert.checkpoint import atomic, safetensors, strictjson
from minibert.checkpoint.names import from_published
from minibert.config import require, shown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
KINDS = {"SequenceClassification": "SEQ_CLS", "TokenClassification": "TOKEN_CLS", "QuestionAnswering": "QUESTION_ANS"}
PLAIN = {"peft_type": ("LORA",), "bias": ("none", None), "use_dora": (False, None), "use_qalora": (False, None),
         "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),  # others change W, too
         "lora_bias": (False, None), "trainable_token_indices": (None,),
         "layer_replication": (None,), "alora_invocation_tokens": (None,), "megatron_config": (None,)}  # fmt: skip


def save(model: Any, directory: str | os.PathLike) -> None:
    """Writes a model's LoRA, and its heads of tasks, into a directory of their own. InputError for a model without, and
    for a weight that is stored within another.
    """
    rows = {path: (name, kind) for path, name, kind in model.network.names(model.config)}
    tensors: dict[str, np.ndarray] = {}
    ranks: dict[str, tuple[int, float]] = {}
    for path, down in tree.items(model.params):
        if not path.endswith(".lora.down.weight"):
            continue
        owner = path.removesuffix(".lora.down.weight")
        module, own = _module(rows, f"{owner}.weight"), tree.get(model.params, f"{owner}.lora")
        tensors |= {f"{PREFIX}{module}.lora_A.weight": down, f"{PREFIX}{module}.lora_B.weight": own["up"]["weight"]}
        ranks[module] = len(down), float(own["scale"]["weight"][0]) * len(down)
    require(bool(ranks), "the model has no LoRA to save")
    parts = {task.name for task in model.uses} | {tasks.SUMMARY}
    heads = {name for path, (name, _) in rows.items() if path.partition(".")[0] in parts}
    tensors |= {f"{PREFIX}{name}": array for name, array in model.state_dict().items() if name in heads}
    common = max([*ranks.values()], key=[*ranks.values()].count)
    other = {module: own for module, own in ranks.items() if own != common}
    fields = {
        "peft_type": "LORA", "task_type": next((KINDS.get(task.head.PUBLISHED) for task in model.uses), None),
        "r": common[0], "lora_alpha": common[1], "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
        "target_modules": sorted({module.rpartition(".")[2] for module in ranks}),
        "modules_to_save": sorted({name.split(".")[0] for name in heads}) or None,
        "rank_pattern": {module: own[0] for module, own in other.items()},
        "alpha_pattern": {module: own[1] for module, own in other.items()},
        "base_model_name_or_path": None, "inference_mode": True,
    }  # fmt: skip
    with atomic.directory(directory, (CONFIG, WEIGHTS)) as folder:
        safetensors.write(folder / WEIGHTS, tensors, {"format": "pt"})
        atomic.write_text(folder / CONFIG, json.dumps(fields, indent=2) + "\n")


def _module(rows: dict[str, tuple[str, str]], path: str) -> str:
    """The published module whose weight is at the path, alone."""
    name, kind = rows[path]
    alone = kind.split(":")[0] in ("identity", "transpose") and [own for own, _ in rows.values()].count(name) == 1
    require(alone, f"{path} is a part of {name}: PEFT has no place for matrices of parts of a weight")
    return name.removesuffix(".weight")


def load(model: Any, directory: str | os.PathLike) -> Any:
    """The model, the same arrays, with the LoRA and the heads of a directory in its tree, in its own dtype.

    InputError for what is no plain LoRA, and for tensors that this model has no place for.
    """
    folder = Path(directory)
    fields = strictjson.as_written(reading.contents(folder / CONFIG), str(folder / CONFIG))
    require(isinstance(fields, dict), f"{folder / CONFIG} is not a JSON object")
    for name, known in PLAIN.items():
        value = fields.get(name, known[0] if name != "peft_type" else None)
        fits = any(type(value) is type(one) and value == one for one in known)
        require(fits, f"{folder / CONFIG}: {name!r} is {shown(value)}; implemented: {shown(known[0])}")
    scaled = _scales(fields, f"{folder / CONFIG}")
    held, rows = safetensors.read(folder / WEIGHTS), [*model.network.names(model.config)]
    by_path = {path: (name, kind) for path, name, kind in rows}
    flat, prefix = tree.flatten(model.params), getattr(model.module, "PREFIX", "")
    paths = {f"{name.removesuffix('.weight')}": path for path, (name, _) in by_path.items() if name.endswith(".weight")}
    kind, heads, own = next(iter(flat.values())).dtype, {}, {}
    for name, array in held.items():
        fits = array.dtype.kind == "f" and bool(np.isfinite(array).all())
        require(fits, f"{folder / WEIGHTS}: {name!r} holds something else than finite floating-point numbers")
        plain = name.removeprefix(PREFIX)
        found = re.fullmatch(r"(.+)\.lora_([AB])\.weight", plain)
        if found is None:
            require(plain in {row[1] for row in rows}, f"{folder / WEIGHTS}: {name!r} is nothing of {model.family}")
            heads[plain] = array.astype(kind)
            continue
        module = found[1] if found[1] in paths else f"{prefix}{found[1]}"
        require(module in paths, f"{folder / WEIGHTS}: {name!r} is beside no weight of {model.family}")
        require(array.ndim == 2 and array.size > 0, f"{folder / WEIGHTS}: {name!r}, {array.shape}, is no matrix")
        _module(by_path, paths[module])
        owner = paths[module].removesuffix(".weight")
        own[f"{owner}.lora.{'down' if found[2] == 'A' else 'up'}.weight"] = array.astype(kind)
        if found[2] == "A":
            own[f"{owner}.lora.scale.weight"] = np.full(1, scaled(found[1], len(array)), kind)
    for path, array in tree.flatten(from_published(heads, rows)).items():
        require(path in flat and flat[path].shape == array.shape, f"{folder / WEIGHTS}: {path!r} is of another shape")
        flat[path] = array
    shapes = {path: array.shape for path, array in flat.items() if not adapters.learns(path)}
    adapters.require_fitting(own, shapes, f"{folder / WEIGHTS}")
    flat |= own
    found = copy.copy(model)
    found.params = tree.unflatten(flat)
    return found


def _scales(fields: dict[str, Any], where: str) -> Callable[[str, int], float]:
    """The scale of a module whose matrices have so many directions R: α/R, α/√R where the config says so; patterns
    name a module, or the end of its name.
    """
    root, common = fields.get("use_rslora", False), fields.get("lora_alpha", 8)
    named = fields.get("alpha_pattern") or {}
    require(root in (None, False, True), f"{where}: 'use_rslora' is {shown(root)}; expected true or false")
    require(isinstance(named, dict), f"{where}: 'alpha_pattern' is {shown(named)}; expected an object")
    for name, alpha in {"lora_alpha": common, **named}.items():
        fits = type(alpha) in (int, float) and 0 < alpha < 2**31
        require(fits, f"{where}: {name!r} has the scale {shown(alpha)}; expected a number above 0")
        plain = re.fullmatch(r"[\w.]+", name) is not None
        require(plain, f"{where}: {name!r} in 'alpha_pattern' is no plain name of a module")

    def scale(module: str, rank: int) -> float:
        own = [alpha for name, alpha in named.items() if module == name or module.endswith(f".{name}")]
        return (own[0] if own else common) / (rank**0.5 if root else rank)

    return scale
