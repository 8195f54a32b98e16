"""mlx-embeddings' BERT as a candidate: embeddings, layers, pooler, in float32.

    python mlx_bert.py CASE OUT.safetensors
    minibert check CASE OUT.safetensors --dtype float32

Needs mlx, mlx-embeddings and safetensors. The model's file alone is loaded: its package wants mlx-vlm, which BERT does
not need. Names are the published ones without `bert.`.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import numpy as np
from safetensors.numpy import load_file, save_file


def network():
    """The module with mlx-embeddings' BERT, without what its package imports beside it."""
    base = Path(importlib.util.find_spec("mlx_embeddings").submodule_search_locations[0])
    for name, path in (("mlx_embeddings", base), ("mlx_embeddings.models", base / "models")):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    return importlib.import_module("mlx_embeddings.models.bert")


def candidate(weights, inputs, facts):
    """{"forward/NAME": array} of a case; facts: what its case.json says."""
    bert, config = network(), facts["config"]
    known = {name: value for name, value in config.items() if name in bert.ModelArgs.__dataclass_fields__}
    model = bert.Model(bert.ModelArgs(model_type="bert", **known))
    model.eval()
    held = {name.removeprefix("bert."): mx.array(value) for name, value in weights.items() if name.startswith("bert.")}
    model.load_weights(list(held.items()))
    ids, types, mask = (mx.array(inputs[name]) for name in ("input_ids", "segment_ids", "input_mask"))
    x = model.embeddings(ids, types)
    found, bias = {"bert.embeddings": x}, model.get_extended_attention_mask(mask)
    for i, layer in enumerate(model.encoder.layer):
        x = found[f"bert.encoder.layer.{i}.output"] = layer(x, bias)
    found["bert.pooler"] = model(ids, types, mask).pooler_output
    return {f"forward/{name}": np.array(value) for name, value in found.items()}


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    weights, inputs = (load_file(Path(case) / f"{name}.safetensors") for name in ("weights", "inputs"))
    save_file(candidate({name: w.astype("float32") for name, w in weights.items()}, inputs, facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
