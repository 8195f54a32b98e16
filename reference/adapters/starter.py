"""A start for an adapter of your own: copy this file and put your model where `computed` has BERT's embeddings.

    python starter.py CASE OUT.npz [float32|float64]
    minibert check CASE OUT.npz
    pytest --minibert-adapter starter.py:candidate --minibert-case bert/published

The first argument is a case's folder. Needs NumPy alone. Level L1; PORTING.md says what each further one takes.
"""

import json
import sys
from pathlib import Path

import numpy as np

TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "BOOL": "?", "U8": "u1"}


def computed(weights, inputs, config):
    """{"NAME": array}: what your model gives, by the published names of the modules whose outputs these are."""
    table = {part: weights[f"bert.embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")}
    ids, types = inputs["input_ids"], inputs["segment_ids"]
    x = table["word"][ids] + table["position"][: ids.shape[1]] + table["token_type"][types]
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + x.dtype.type(config["layer_norm_eps"]))
    norm = "bert.embeddings.LayerNorm"
    return {"bert.embeddings": y * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]}


def candidate(weights, inputs, facts):
    """What is to be checked; facts: what case.json says. Add "gradients/NAME" and "steps/K/NAME" when you have them."""
    return {f"forward/{name}": value for name, value in computed(weights, inputs, facts["config"]).items()}


def read(path):
    """The arrays of a safetensors file: 8 bytes N, N bytes of JSON that say where each lies, then the arrays."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, held in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in held["data_offsets"])
            found[name] = np.frombuffer(data[begin:end], TYPES[held["dtype"]]).reshape(held["shape"])
    return found


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    weights, inputs = (read(Path(case) / f"{name}.safetensors") for name in ("weights", "inputs"))
    weights = {name: value.astype(dtype or facts["dtype"]) for name, value in weights.items()}
    np.savez(out, **candidate(weights, inputs, facts))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
