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
        fits = fields.get(name) in known if name != "peft_type" else fields.get(name) == "LORA"
        require(fits, f"{folder / CONFIG}: {name!r} is {shown(fields.get(name))}; implemented: {shown(known[0])}")
    held, rows = safetensors.read(folder / WEIGHTS), [*model.network.names(model.config)]
    by_path = {path: (name, kind) for path, name, kind in rows}
    flat, prefix = tree.flatten(model.params), getattr(model.module, "PREFIX", "")
    paths = {f"{name.removesuffix('.weight')}": path for path, (name, _) in by_path.items() if name.endswith(".weight")}
    kind, heads = next(iter(flat.values())).dtype, {}
    for name, array in held.items():
        own = name.removeprefix(PREFIX)
        found = re.fullmatch(r"(.+)\.lora_([AB])\.weight", own)
        if found is None:
            require(own in {row[1] for row in rows}, f"{folder / WEIGHTS}: {name!r} is nothing of {model.family}")
            heads[own] = array.astype(kind)
            continue
        module = found[1] if found[1] in paths else f"{prefix}{found[1]}"
        require(module in paths, f"{folder / WEIGHTS}: {name!r} is beside no weight of {model.family}")
        _module(by_path, paths[module])
        owner = paths[module].removesuffix(".weight")
        flat[f"{owner}.lora.{'down' if found[2] == 'A' else 'up'}.weight"] = array.astype(kind)
        flat[f"{owner}.lora.scale.weight"] = np.full(1, _scale(fields, found[1]), kind)
    for path, array in tree.flatten(from_published(heads, rows)).items():
        require(path in flat and flat[path].shape == array.shape, f"{folder / WEIGHTS}: {path!r} is of another shape")
        flat[path] = array
    due = adapters.stand(flat, {path: np.shape(array) for path, array in flat.items() if not adapters.learns(path)})
    for path, array in flat.items():
        fits = not adapters.learns(path) or due.get(path) == array.shape
        require(fits, f"{folder / WEIGHTS}: {path!r} is of shape {array.shape}, which does not go with its weight")
    found = copy.copy(model)
    found.params = tree.unflatten(flat)
    return found


def _scale(fields: dict[str, Any], module: str) -> float:
    """α/R of a module, α/√R where the config says so; patterns name the end of a module's name, or match it."""
    def said(field: str, plain: float) -> float:
        for pattern, value in (fields.get(field) or {}).items():
            if module == pattern or module.endswith(f".{pattern}"):
                return value
        return plain

    rank, alpha = said("rank_pattern", fields.get("r", 8)), said("alpha_pattern", fields.get("lora_alpha", 8))
    return alpha / (rank**0.5 if fields.get("use_rslora") else rank)
