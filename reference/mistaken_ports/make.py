"""Makes the dumps: right ports, and each mistake of plants.toml as edits of a port's source.

    python reference/mistaken_ports/make.py                 those that lie here (ten minutes on one core)
    python reference/mistaken_ports/make.py -o DIR [ID …]   all of plants.toml, or some, into another folder
    python reference/mistaken_ports/make.py --plants reference/mistaken_ports/blind.toml -o DIR     another list

Needs torch, transformers, jax, onnx, onnxscript, onnxruntime and safetensors, at the versions that manifest.json names.
"""

import argparse
import importlib
import importlib.util
import json
import re
import sys
import tomllib
import types
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # when it is run by itself
import dumps  # noqa: E402
from dumps import GOLDEN  # noqa: E402

from minibert.checkpoint import safetensors  # noqa: E402

ADAPTERS = HERE.parent / "adapters"
BFLOAT16 = "bfloat16"
FIELDS = ("id", "stack", "case", "kind", "dtype", "what", "near", "of", "right")
VERSIONS = ("torch", "transformers", "jax", "onnx", "onnxscript", "onnxruntime", "numpy")


def plants(path=HERE / "plants.toml"):
    """The plants of a list; one that is `of` others has their edits, and then its own."""
    listed = tomllib.loads(path.read_text(encoding="utf-8"))["plant"]
    own = {plant["id"]: plant.get("edits", []) for plant in listed}
    return [{**plant, "edits": [e for id in (*plant.get("of", ()), plant["id"]) for e in own[id]]} for plant in listed]


def source(path, edits, name):
    """The text of a port with the edits that are its own; those with a class before the texts within that class."""
    text = Path(path).read_text(encoding="utf-8")
    for file, *owner, old, new in edits:
        if file == name:
            start, end = within(text, owner[0]) if owner else (0, len(text))
            if old not in text[start:end]:
                sys.exit(f"{path}: an edit's text is not there: {old!r}; is it another version?")
            text = text[:start] + text[start:end].replace(old, new) + text[end:]
    return text


def within(text, owner):
    """Where a class begins and ends."""
    start = re.search(rf"^class {owner}\b", text, re.M).start()
    behind = re.compile(r"^(@|class |def )", re.M).search(text, start + 1)
    return start, behind.start() if behind else len(text)


def module(name, text):
    made = types.ModuleType(name)
    made.__file__ = str(ADAPTERS / f"{name}.py")
    exec(compile(text, f"{name}.py", "exec"), made.__dict__)
    return made


def case(name):
    """(weights, inputs, facts) of a golden case."""
    weights, inputs = (safetensors.read(GOLDEN / name / f"{part}.safetensors") for part in ("weights", "inputs"))
    return weights, inputs, dumps.facts(name)


def by_torch(edits, weights, inputs, facts, dtype):
    """transformers' own model files, edited, under adapters/torch_transformers.py."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if dtype == BFLOAT16:  # which NumPy has not
        edits = [*edits, ("port", "contiguous_format).numpy()", "contiguous_format).to(torch.float32).numpy()")]
    port = module("port", source(ADAPTERS / "torch_transformers.py", edits, "port"))
    changed = {file for file, *_ in edits} - {"port"}
    own, models = port.transformers, {}
    for name in changed:
        real = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
        spec = importlib.util.spec_from_loader(real.__name__, loader=None)
        made = importlib.util.module_from_spec(spec)
        made.__file__ = real.__file__
        path = Path(real.__file__)
        sys.modules[real.__name__], kept = made, real
        try:
            exec(compile(source(path, edits, name), str(path), "exec"), made.__dict__)
        finally:
            sys.modules[real.__name__] = kept
        for kind in port.MODELS.values():
            if hasattr(made, kind):
                models[kind] = getattr(made, kind)

    class Library:
        def __getattr__(self, name):
            return models[name] if name in models else getattr(own, name)

    port.transformers = Library()
    kind = getattr(torch, dtype)
    return port.candidate({n: torch.as_tensor(w).to(kind) for n, w in weights.items()}, inputs, facts)


def by_jax(edits, weights, inputs, facts, dtype):
    norms = ("jax_bert", '"LayerNorm|', '"ln_|LayerNorm|')
    port = module("jax_port", source(ADAPTERS / "jax_bert.py", [norms, *edits], "jax_bert"))
    if facts["family"] != "bert":
        relatives = module("jax_relatives", source(HERE / "jax_relatives.py", edits, "jax"))
        port.forward = getattr(relatives, facts["family"])
    found = port.bert({n: w.astype(dtype) for n, w in weights.items()}, inputs, facts)
    return {n: a.astype(np.float32) if a.dtype.name == BFLOAT16 else a for n, a in found.items()}


def by_numpy(edits, weights, inputs, facts, dtype):
    port = module("numpy_gpt2", source(HERE / "numpy_gpt2.py", edits, "numpy_gpt2"))
    return port.candidate({n: w.astype(dtype) for n, w in weights.items()}, inputs, facts)


def by_onnx(edits, weights, inputs, facts, dtype):
    """The right port exported, its graph edited as the plant's code says (it has `model`, an onnx.ModelProto)."""
    import onnxruntime

    port = module("onnx_port", source(ADAPTERS / "onnx_runtime.py", [], ""))

    class Session(onnxruntime.InferenceSession):
        def __init__(self, path, **kwargs):
            import onnx

            model = onnx.load(path)
            for _, _, code in edits:
                exec(code, {"model": model, "onnx": onnx, "np": np})
            super().__init__(model.SerializeToString(), **kwargs)

    port.onnxruntime = types.SimpleNamespace(InferenceSession=Session)
    return port.candidate({n: w.astype(dtype) for n, w in weights.items()}, inputs, facts)


STACKS = {"torch": by_torch, "jax": by_jax, "numpy": by_numpy, "onnxruntime": by_onnx}


def computed(plant, dtype):
    """Every tensor that the port gives, with the plant's edits; {} edits: the right port."""
    warnings.filterwarnings("ignore")
    weights, inputs, facts = case(plant["case"])
    if plant.get("kind", "steps") != "steps":
        facts |= {"optimizer": None}
    with np.errstate(all="ignore"):
        return STACKS[plant["stack"]](plant.get("edits", []), weights, inputs, facts, dtype)


def dump(plant):
    """What the plant's port hands over: {key: array}, in the order of the case."""
    found = computed(plant, dumps.precision(plant))
    return {key: found[key] for key in dumps.keys(plant["kind"], plant["case"]) if key in found}


def visible(found, plant):
    """The keys beyond 4 floors of the case, by reference/INTERPRETING.md, in its order."""
    facts, dtype = case(plant["case"])[2], dumps.precision(plant)
    least = {"float32": 2.0**-24, BFLOAT16: 2.0**-8}[dtype]
    beyond = []
    for section, held in facts["sections"].items():
        if section not in ("forward", "gradients", "steps"):
            continue
        truth = safetensors.read(GOLDEN / plant["case"] / f"{section}.safetensors")
        for name, _, scale, *floors in held["tensors"]:
            key = f"{section}/{name}"
            if key in found:
                own = floors[0] if floors else None
                noise = held["noise"][dtype] if own is None else own[("float32", BFLOAT16).index(dtype)]
                noise = np.inf if noise is None else noise  # it overflows there
                got, due = np.asarray(found[key], np.float64), truth[name]
                odd = got.shape != due.shape or not np.isfinite(got).all()
                if odd or np.abs(got - due).max(initial=0) / (scale or 1) > 4 * max(noise, least):
                    beyond.append(key)
    return beyond


def right(entries):
    """The right port of these plants, which share stack, case and precision: {key: array}."""
    kind = "steps" if any(entry["kind"] == "steps" for entry in entries) else entries[0]["kind"]
    found = computed({**entries[0], "kind": kind, "edits": []}, dumps.precision(entries[0]))
    asked = dumps.keys("steps" if kind == "steps" else "full", entries[0]["case"])
    return {key: found[key] for key in asked if key in found}


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def packed(plant, found, twin):
    """(what is stored of a dump, its entry of the manifest)."""
    held = {key: value for key, value in found.items() if key not in twin or not same(value, twin[key])}
    asked = dumps.keys(plant["kind"], plant["case"])
    beyond = [] if plant.get("right") else visible(found, plant)
    said = {name: plant[name] for name in FIELDS if name in plant}
    return held, {
        **said, "family": plant["case"].split("/")[0], "split": dumps.split(plant["id"]),
        "origin": "real" if "link" in plant else "planted", "link": plant.get("link"),
        "answers": plant.get("answers", []), "first": firsts(beyond), "beyond": len(beyond),
        "absent": [key for key in asked if key not in found and key in twin],
    }  # fmt: skip


def firsts(beyond):
    """The keys that may be called first: in the case's order, and of gradients also what comes first backward."""
    kept = beyond[:1]
    if kept and kept[0].startswith("gradients/"):
        flows = [key for key in beyond if not key.endswith((".weight", ".bias"))]
        owned = [key for key in beyond if key.endswith((".weight", ".bias"))]
        last = owned[-1].rpartition(".")[0] if owned else None
        kept += flows[-1:] + [key for key in owned if key.rpartition(".")[0] == last]
    return list(dict.fromkeys(kept))


def write(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def listed(folder, made):
    """Writes the manifest: a line for each dump."""
    versions = {name: metadata.version(name) for name in VERSIONS}
    text = json.dumps({"format": "minibert-mistaken-ports/1", "made with": versions}, indent=1)[:-2]
    lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in sorted(made, key=lambda e: e["id"]))
    (folder / "manifest.json").write_text(f'{text},\n "dumps": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", metavar="DIR", type=Path, default=HERE, help="where to; default: here")
    given = HERE / "plants.toml"
    parser.add_argument("--plants", metavar="FILE", type=Path, default=given, help="the list; default: plants.toml")
    parser.add_argument("ids", nargs="*", metavar="ID")
    asks = parser.parse_args()
    groups, here = {}, asks.o.resolve() == HERE
    every = plants(asks.plants)
    known = {plant["id"] for plant in every}
    if unknown := [id for id in asks.ids if id not in known]:
        parser.error(f"{asks.plants.name} has no {', '.join(unknown)}")
    if here and (asks.ids or asks.plants.name != "plants.toml"):
        parser.error("some of them need a folder of their own, -o DIR: here the list would hold them alone")
    for plant in every:
        if here and not dumps.stored(plant["id"], "link" in plant):
            continue
        groups.setdefault(dumps.twin(plant).name, []).append(plant)
    made = []
    for name, group in groups.items():
        wanted = [plant for plant in group if not asks.ids or plant["id"] in asks.ids]
        if not wanted:
            continue
        twin = right(group)
        write(asks.o / "right" / name, twin)
        for plant in wanted:
            held, entry = packed(plant, dump(plant), twin)
            write(asks.o / "dumps" / f"{plant['id']}.npz", held)
            made.append(entry)
            print(f"{plant['id']}: {entry['beyond']} tensors show it")
    listed(asks.o, made)


if __name__ == "__main__":
    main()
