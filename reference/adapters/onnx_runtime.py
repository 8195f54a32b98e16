"""transformers' models exported to ONNX and run by ONNX Runtime, as a candidate: forward pass and losses.

    python onnx_runtime.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Copy this file with torch_transformers.py beside it, which makes the model and names what it gives; every name becomes
an output of the graph. Needs torch, transformers, onnx, onnxscript, onnxruntime and safetensors. Dropout masks are
inputs of the graph like any other. ONNX Runtime has no float64 kernel for some operators: it says which and stops.
"""

import json
import sys
import tempfile
from pathlib import Path

import onnxruntime
import torch
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch_transformers


class Graph(torch.nn.Module):
    """The model as a function of a batch's tensors, giving the tensors of these names."""

    def __init__(self, models, config, given, wanted):
        super().__init__()
        self.starts, self.models = list(models), torch.nn.ModuleList(models.values())
        self.config, self.given, self.wanted = config, given, wanted

    def forward(self, *tensors):
        models, batch = dict(zip(self.starts, self.models, strict=True)), dict(zip(self.given, tensors, strict=True))
        seen = torch_transformers.traced(models, batch, self.config)
        return tuple(seen[name] for name in self.wanted)


def candidate(weights, inputs, facts):
    """{"forward/NAME": array} of a case; facts: what its case.json says."""
    weights, config = {name: torch.as_tensor(value) for name, value in weights.items()}, facts["config"]
    batch, models = torch_transformers.batches_of(inputs)[0], torch_transformers.published(weights, facts)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        seen = torch_transformers.traced(models, batch, config)
        named = {id(value): name for name, value in seen.items()}  # a graph names each tensor once
        graph, path = Graph(models, config, list(batch), list(named.values())), str(Path(folder) / "model.onnx")
        tensors, outputs = tuple(batch.values()), [f"out{i}" for i in range(len(named))]
        ins = [f"in{i}" for i in range(len(batch))]
        torch.onnx.export(graph, tensors, path, dynamo=True, verbose=False, input_names=ins, output_names=outputs)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        used = {put.name for put in session.get_inputs()}
        fed = {name: value.numpy() for name, value in zip(ins, tensors, strict=True) if name in used}
        found = dict(zip(named.values(), session.run(outputs, fed), strict=True))
    return {f"forward/{name}": found[named[id(value)]] for name, value in seen.items()}


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    weights, inputs = (load_file(Path(case) / f"{name}.safetensors") for name in ("weights", "inputs"))
    weights = {name: value.astype(dtype or facts["dtype"]) for name, value in weights.items()}
    save_file(candidate(weights, inputs, facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
