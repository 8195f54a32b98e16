"""Implementations side by side, from claim files: reference/SCOREBOARD.md and scoreboard/*.json.

    python tests/benchmarks/scoreboard.py --run [NAME …]   claims what is installed of these, all by default
    python tests/benchmarks/scoreboard.py --write          the page of the claims that are there
    python tests/benchmarks/scoreboard.py                  says whether the page is theirs

A claim is what `minibert check --claim` writes, with the implementation, its version and device, the adapter's
arguments and the mistakes that were named. Nothing is entered by hand but ROWS and what could not be run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # when it is run by itself

from minibert.checkpoint import atomic  # noqa: E402
from minibert.golden import answer, checking, levels  # noqa: E402
from minibert.golden import case as cases  # noqa: E402

FOLDER, PAGE = ROOT / "reference" / "scoreboard", ROOT / "reference" / "SCOREBOARD.md"
ADAPTERS = "reference/adapters"


class Row(NamedTuple):
    """An implementation on a case. package: whose version is claimed; arguments: the adapter's, behind CASE and OUT;
    dtype: what it computes in, and is judged in; device: "CPU", or what could not be had.
    """

    implementation: str
    package: str
    adapter: str
    case: str
    arguments: tuple[str, ...]
    dtype: str
    device: str = "CPU"

    @property
    def name(self) -> str:
        """Of its file."""
        words = (self.implementation, self.device, self.case.replace("/", "-"), self.dtype)
        return "-".join("".join(c if c.isalnum() else "-" for c in word.lower()) for word in words)


def _transformers(case: str, dtype: str, device: str = "CPU") -> Row:
    return Row("transformers", "transformers", "torch_transformers", case, (dtype,), dtype, device)


BERT, TANH = "bert/published", "bert/tanh"
FAMILIES = ("bert", "roberta", "albert", "electra", "gpt2", "bart", "t5")
ENCODERS = (BERT, "roberta/published", "albert/published", "electra/discriminator")
SINGLE, MODEL = ("float32",), "MODEL"
RUNTIMES = (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"), ("tract", "tract"))
ON_GPU = (("float32", "CUDA"), ("float32", "CUDA, TF32"), ("bfloat16", "CUDA"), ("float16", "CUDA"))
ROWS = [
    *(_transformers(f"{family}/published", dtype) for dtype in ("float64", "float32") for family in FAMILIES),
    Row("transformers, exported to ONNX Runtime", "onnxruntime", "onnx_runtime", BERT, SINGLE, "float32"),
    *(Row("curated-transformers", "curated-transformers", "curated", case, SINGLE, "float32") for case in ENCODERS),
    *(Row("keras-hub on JAX", "keras-hub", "keras_bert", case, SINGLE, "float32")
      for case in (BERT, TANH, "roberta/published")),
    *(Row("mlx-embeddings", "mlx-embeddings", "mlx_bert", case, SINGLE, "float32")
      for case in (BERT, "bert/masked-row")),
    Row("pytorch-pretrained-bert", "pytorch-pretrained-bert", "pretrained_bert", BERT, SINGLE, "float32"),
    *(Row(f"{name}, an ONNX file", runtime, "onnx_file", BERT, (MODEL, runtime), "float32")
      for name, runtime in RUNTIMES),
    Row("OpenVINO in bf16, an ONNX file", "openvino", "onnx_file", BERT, (MODEL, "openvino", "bf16"), "bfloat16"),
    *(_transformers(BERT, dtype, device) for dtype, device in ON_GPU),
]  # fmt: skip


def run(row: Row, models: Path) -> dict | None:
    """The claim of a row; None where its package is not installed or its device is not here. models: where exported
    models lie.
    """
    try:
        version = metadata.version(row.package)
    except metadata.PackageNotFoundError:
        return None
    if row.device != "CPU":
        return None
    with tempfile.TemporaryDirectory() as folder:
        out, model = Path(folder) / "out.safetensors", models / f"{row.case.replace('/', '-')}.onnx"
        if MODEL in row.arguments and not model.exists():
            _exported(row.case, model)
        given = [str(model) if word == MODEL else word for word in row.arguments]
        command = [sys.executable, str(ROOT / ADAPTERS / f"{row.adapter}.py"), str(cases.folder() / row.case), str(out)]
        subprocess.run([*command, *given], check=True, capture_output=True)
        found = checking.report_of(row.case, out, dtype=row.dtype)
    mistakes = [] if found.diagnosis is None else found.diagnosis.ids
    return {"implementation": row.implementation, "version": version, "device": row.device, "adapter": row.adapter,
            "arguments": list(row.arguments), "claim": found.claim, "mistakes": mistakes,
            "answer": answer.lines(found)}  # fmt: skip


def _exported(case: str, path: Path) -> None:
    """transformers' BertModel with the case's weights, as an ONNX file."""
    program = EXPORT.format(case=str(cases.folder() / case), path=str(path))
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


EXPORT = """
import json, torch, transformers
from safetensors.torch import load_file
config = json.load(open(r"{case}/case.json", encoding="utf-8"))["config"]
known = transformers.BertConfig().to_dict()
fields = {{name: value for name, value in config.items() if name in known}}
model = transformers.BertModel(transformers.BertConfig(**fields, attn_implementation="eager")).eval()
weights = load_file(r"{case}/weights.safetensors").items()
model.load_state_dict({{name[5:]: value.float() for name, value in weights if name.startswith("bert.")}})
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, ids, mask, types):
        out = self.model(input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
        return (*out.hidden_states, out.pooler_output)
ids = torch.arange(1, 8).repeat(2, 1)
B, T = torch.export.Dim("B"), torch.export.Dim("T")
layers = [f"bert.encoder.layer.{{i}}.output" for i in range(config["num_hidden_layers"])]
inputs, outputs = ["input_ids", "attention_mask", "token_type_ids"], ["bert.embeddings", *layers, "bert.pooler"]
torch.onnx.export(Net(), (ids, (ids < 6).long(), (ids > 3).long()), r"{path}", dynamo=True, verbose=False,
                  external_data=False, input_names=inputs, output_names=outputs, dynamic_shapes=({{0: B, 1: T}},) * 3)
"""


def markdown() -> str:
    """The page of the claims that are there."""
    lines = [_line(row) for row in ROWS]
    claimed = {row.implementation for row in ROWS if (FOLDER / f"{row.name}.json").exists()}
    return TEXT.format(rows="\n".join(lines), count=len(claimed))


def _line(row: Row) -> str:
    path = FOLDER / f"{row.name}.json"
    if not path.exists():
        return f"| {row.implementation} | {row.device} | {row.case} | {row.dtype} | **not run** | | | |"
    held = json.loads(path.read_text(encoding="utf-8"))
    claim = held["claim"]
    level = "no level" if claim["level"] is None else f"{claim['level']} {claim['title']}"
    states = [name for name, state in claim["levels"].items() if state == "missing" and name != "L0"]
    first = f"`{claim['first_divergence']}`" if claim["first_divergence"] else ""
    outcome = "variant" if claim["variant"] else "pass" if claim["agrees"] else "differs"
    named = ", ".join(held["mistakes"])
    lacks = f"; not supplied: {', '.join(states)}" if states else ""
    file = f"[{claim['candidate']['sha256'][:8]}](scoreboard/{path.name})"
    cells = (f"{row.implementation} {held['version']}", row.device, row.case, row.dtype, outcome, f"{level}{lacks}",
             f"{first} {named}".strip(), file)  # fmt: skip
    return f"| {' | '.join(cells)} |"


TEXT = """# Implementations side by side

{count} implementations at the versions that are named, on golden cases, each as its own claim file says: what was
compared with what (SHA-256 of the case and of the candidate's tensors), in which precision, and the answer of
`minibert check`. Pass: all that was supplied is right; variant: right where the mistake named is declared; differs: see
the first divergence and the mistake; not supplied: levels that the library or its adapter does not give; **not run**:
nobody claims anything.

| implementation | device | case | in | outcome | level | first divergence, mistake | claim |
|---|---|---|---|---|---|---|---|
{rows}

Made by `python tests/benchmarks/scoreboard.py --run --write`, which runs what is installed: each row's adapter of
[adapters/](adapters/) writes a dump, `check` reads it. A row by hand, as its claim file says (`adapter`, `arguments`;
MODEL is transformers' BertModel with the case's weights, exported):

    python reference/adapters/curated.py reference/golden/bert/published OUT.safetensors float32
    minibert check bert/published OUT.safetensors --dtype float32 --claim claim.json

What was found wrong in some of them stands in [DEFECTS.md](DEFECTS.md).
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", nargs="*", metavar="NAME")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as models:
        for row in ROWS if args.run is not None else ():
            if not args.run or any(name in row.name for name in args.run):
                claim = run(row, Path(models))
                print(f"{row.name}: {'not run' if claim is None else claim['answer'][0]}", flush=True)
                if claim is not None:
                    atomic.write_text(FOLDER / f"{row.name}.json", levels.dumps(claim))
    if args.write:
        atomic.write_text(PAGE, markdown())
        return 0
    return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != markdown())


if __name__ == "__main__":
    sys.exit(main())
