"""An ONNX file of yours as a candidate, run by ONNX Runtime, OpenVINO or tract: forward pass of an encoder.

    python onnx_file.py CASE OUT.safetensors MODEL.onnx [onnxruntime|openvino|tract] [PRECISION]
    minibert check CASE OUT.safetensors

The file holds the case's weights: load them into your model, then export it. Its inputs are called as in the case or as
in transformers (attention_mask, token_type_ids). An output with the name of a module (bert.encoder.layer.1.output) is
that module's; last_hidden_state and pooler_output are known, too. Needs numpy, safetensors and the runtime (tract also
onnx). PRECISION is OpenVINO's, f32 unless said: by itself it computes in bfloat16 where the processor has that.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SPELLINGS = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}
PREFIXES = {"bert_wwm": "bert", "bert_wwm_ext": "bert", "macbert": "bert", "spanbert": "bert"}


def onnxruntime(path, given, precision):
    import onnxruntime as runtime

    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [put.name for put in session.get_outputs()]
    return dict(zip(names, session.run(names, given([put.name for put in session.get_inputs()])), strict=True))


def openvino(path, given, precision):
    import openvino as runtime

    core = runtime.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": precision or "f32"})
    found = model(given([put.any_name for put in model.inputs]))
    return {name: np.array(found[put]) for put in model.outputs for name in put.names}


def tract(path, given, precision):
    import onnx  # tract calls outputs by its own nodes
    import tract as runtime

    graph, model = onnx.load(path).graph, runtime.onnx().load(path)
    ins, outs = ([put.name for put in puts] for puts in (graph.input, graph.output))
    fed = given(ins)
    found = model.into_model().into_runnable().run([fed[name] for name in ins])
    return {name: value.to_numpy() for name, value in zip(outs, found, strict=True)}


RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino, "tract": tract}


def candidate(inputs, facts, path, runtime="onnxruntime", precision=None):
    """{"forward/NAME": array} of a case; facts: what its case.json says."""
    prefix, layers = PREFIXES.get(facts["family"], facts["family"]), facts["config"]["num_hidden_layers"]
    known = {"last_hidden_state": f"{prefix}.encoder.layer.{layers - 1}.output", "pooler_output": f"{prefix}.pooler"}

    def given(names):
        return {name: inputs[name if name in inputs else SPELLINGS.get(name, name)].astype(np.int64) for name in names}

    found = RUNTIMES[runtime](str(path), given, precision)
    return {f"forward/{known.get(name, name)}": np.ascontiguousarray(value) for name, value in found.items()}


def main(case, out, path, runtime="onnxruntime", precision=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    save_file(candidate(load_file(Path(case) / "inputs.safetensors"), facts, path, runtime, precision), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 3 else sys.exit(__doc__)
