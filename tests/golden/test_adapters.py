"""The adapters that porters copy: which level each reaches, in which precision; run as they are documented."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minibert import cli
from minibert.checkpoint import safetensors
from minibert.golden import case as cases
from minibert.golden import checking, levels
from minibert.golden.compare import compare

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = sorted((ROOT / "reference" / "adapters").glob("*.py"))
ADAPTER = ROOT / "reference" / "adapters" / "torch_transformers.py"
NEEDS = {
    "torch_transformers": ("torch", "transformers", "safetensors"),
    "torch_generate": ("torch", "transformers", "safetensors"),
    "onnx_runtime": ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "safetensors"),
    "jax_bert": ("jax", "safetensors"),
    "onnx_file": ("onnx", "safetensors"),
    "keras_bert": ("keras", "keras_hub", "jax", "safetensors"),
    "curated": ("curated_transformers", "torch", "safetensors"),
    "mlx_bert": ("mlx", "mlx_embeddings", "safetensors"),
    "pretrained_bert": ("pytorch_pretrained_bert", "torch", "safetensors"),
    "starter": (),
}
TRAJECTORY, GRADIENTS, LOSSES, ENCODER = "L7 trajectory", "L5 gradients", "L4 losses", "L2 encoder"


def required(adapter):
    for package in NEEDS[adapter]:
        if find_spec(package) is None:
            pytest.skip(f"{adapter} needs {package}, which is not installed")


def run(adapter, case, out, dtype, source=None, more=()):
    """The report on what the adapter, as a program of its own, makes of a case; more: its further arguments."""
    required(adapter)
    path = ROOT / "reference" / "adapters" / f"{adapter}.py" if source is None else source
    folder = cases.folder() / case
    command = [sys.executable, str(path), str(folder), str(out), *(more or [dtype])]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=1000)
    assert result.returncode == 0, result.stderr[-2000:]
    return checking.report_of(folder, out, dtype=dtype)


@pytest.mark.parametrize(
    ("adapter", "case", "dtype", "level"),
    [
        ("torch_transformers", "bert/published", "float64", TRAJECTORY),
        ("torch_transformers", "bert/published", "float32", TRAJECTORY),
        ("torch_transformers", "bert/probe", "float64", TRAJECTORY),
        ("torch_transformers", "bert/probe", "float32", TRAJECTORY),
        ("torch_transformers", "bert/adamw", "float64", TRAJECTORY),
        ("torch_transformers", "bert/long", "float32", GRADIENTS),
        ("onnx_runtime", "bert/published", "float32", LOSSES),
        ("jax_bert", "bert/published", "float64", TRAJECTORY),
        ("jax_bert", "bert/probe", "float32", TRAJECTORY),
        ("keras_bert", "bert/tanh", "float32", ENCODER),
        ("curated", "bert/published", "float32", ENCODER),
        ("curated", "roberta/padding", "float32", ENCODER),
        ("curated", "albert/published", "float64", ENCODER),
        ("curated", "electra/discriminator", "float32", ENCODER),
        ("mlx_bert", "bert/published", "float32", ENCODER),
        ("starter", "bert/published", "float64", "L1 embeddings"),
    ],
)
def test_level(tmp_path, adapter, case, dtype, level):
    found = run(adapter, case, tmp_path / ("out.npz" if adapter == "starter" else "out.safetensors"), dtype)
    assert found.first is None, found.first
    assert levels.label(levels.reached(found.levels)) == level
    judged = [row for row in found.rows if row.ratio is not None]
    print(f"{adapter} {case} {dtype}: {level}, at most {max(row.ratio for row in judged):.1f} noise floors")


@pytest.mark.parametrize("adapter", sorted(NEEDS))
def test_without_arguments_an_adapter_says_what_it_takes(adapter):
    required(adapter)
    command = [sys.executable, str(ROOT / "reference" / "adapters" / f"{adapter}.py")]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert result.returncode == 1
    assert re.search(rf"^    python {adapter}.py \S+ OUT", result.stderr, re.MULTILINE), result.stderr
    assert "Traceback" not in result.stderr


def test_keras_hub_s_gelu_is_named(tmp_path):
    found = run("keras_bert", "bert/published", tmp_path / "out.safetensors", "float32")
    assert (found.verdict, found.diagnosis.ids[:1]) == ("variant", ["G01"])


def test_keras_hub_s_positions_are_named(tmp_path):
    found = run("keras_bert", "roberta/published", tmp_path / "out.safetensors", "float32")
    assert (found.verdict, found.diagnosis.ids) == ("mistake", ["E03"])


def test_the_first_torch_bert_clips_each_tensor_by_itself(tmp_path):
    """Its forward pass, losses and gradients are right."""
    found = run("pretrained_bert", "bert/published", tmp_path / "out.safetensors", "float32")
    assert (levels.label(levels.reached(found.levels)), found.diagnosis.ids) == (GRADIENTS, ["O05", "O06"])


def test_mlx_s_mask_constant_is_named(tmp_path):
    found = run("mlx_bert", "bert/masked-row", tmp_path / "out.safetensors", "float32")
    assert (found.verdict, found.diagnosis.ids) == ("variant", ["A15"])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "tract"])
def test_an_onnx_file(tmp_path, runtime):
    """BERT's embeddings as a graph of eight nodes, in each runtime that is installed."""
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip(runtime)
    weights = cases.read("bert/published").section("weights")
    own = {name.removeprefix("bert.embeddings."): value.astype("f4") for name, value in weights.items()
           if name.startswith("bert.embeddings.")}  # fmt: skip
    constants = {**own, "from": np.array([0]), "axes": np.array([0])}
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("Gather", ["word_embeddings.weight", "input_ids"], ["word"]),
        node("Gather", ["token_type_embeddings.weight", "token_type_ids"], ["type"]),
        node("Shape", ["input_ids"], ["length"], start=1, end=2),
        node("Slice", ["position_embeddings.weight", "from", "length", "axes"], ["position"]),
        node("Add", ["word", "type"], ["both"]), node("Add", ["both", "position"], ["sum"]),
        node("LayerNormalization", ["sum", "LayerNorm.weight", "LayerNorm.bias"], ["bert.embeddings"], epsilon=1e-12),
    ]  # fmt: skip
    ins = [value(name, onnx.TensorProto.INT64, ["B", "T"]) for name in ("input_ids", "token_type_ids")]
    outs = [value("bert.embeddings", onnx.TensorProto.FLOAT, ["B", "T", 12])]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "embeddings", ins, outs, held)
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "model.onnx")
    found = run("onnx_file", "bert/published", tmp_path / "out.safetensors", "float32",
                more=[str(tmp_path / "model.onnx"), runtime])  # fmt: skip
    assert (found.first, levels.label(levels.reached(found.levels))) == (None, "L1 embeddings")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("case", "level"),
    [
        ("gpt2/published", TRAJECTORY),
        ("gpt2/probe", GRADIENTS),
        ("t5/published", TRAJECTORY),
        ("t5/probe", GRADIENTS),
        ("bart/published", TRAJECTORY),
        ("bart/probe", GRADIENTS),
        ("roberta/published", TRAJECTORY),
        ("albert/published", TRAJECTORY),
        ("albert/groups", GRADIENTS),
        ("albert/version-1", GRADIENTS),
        ("electra/published", TRAJECTORY),
        ("electra/joint", GRADIENTS),
        ("electra/discriminator", GRADIENTS),
        ("electra/generator", GRADIENTS),
        ("electra/release", GRADIENTS),
        ("macbert/published", TRAJECTORY),
    ],
)
def test_level_of_a_family(tmp_path, case, level, dtype):
    """The published implementation of each family that has one, in this process: one import for all."""
    required("torch_transformers")
    spec = importlib.util.spec_from_file_location("torch_transformers", ADAPTER)
    adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adapter)
    adapter.main(str(cases.folder() / case), tmp_path / "out.safetensors", dtype)
    found = checking.report_of(case, tmp_path / "out.safetensors", dtype=dtype)
    assert found.first is None, found.first
    assert levels.label(levels.reached(found.levels)) == level


def test_what_is_missing_is_no_model(tmp_path):
    """A weight left out stays as it was drawn, unless somebody looks; one too many has no place."""
    required("torch_transformers")
    case = tmp_path / "case"
    shutil.copytree(cases.folder() / "bert" / "published", case)
    weights = safetensors.read(case / "weights.safetensors")
    pooler = weights.pop("bert.pooler.dense.bias")
    command = [sys.executable, str(ADAPTER), str(case), str(tmp_path / "out")]
    for changed, said in ((weights, "the case has no bert.pooler.dense.bias, nor 0 more"),
                          ({**weights, "bert.pooler.dense.bias": pooler, "more": pooler}, "has no more, nor 0 more")):
        safetensors.write(case / "weights.safetensors", changed)
        result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=1000)
        assert (result.returncode, said in result.stderr) == (1, True), result.stderr[-500:]


def test_a_mistake_in_an_adapter_is_found_where_it_stands(tmp_path):
    """Scores over the root of the model's width, in the JAX port."""
    source = (ROOT / "reference" / "adapters" / "jax_bert.py").read_text(encoding="utf-8")
    planted = source.replace("q.shape[-1] ** 0.5", "x.shape[-1] ** 0.5")
    assert planted != source
    wrong = tmp_path / "wrong.py"
    wrong.write_text(planted, encoding="utf-8", newline="\n")
    found = run("jax_bert", "bert/published", tmp_path / "out.safetensors", "float32", wrong)
    assert found.first.key == "forward/bert.encoder.layer.0.attention.self.scores"
    assert levels.label(levels.reached(found.levels)) == "L1 embeddings"
    assert found.code == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("family", "more"), [("gpt2", ["patient"]), ("bart", [])])
def test_what_transformers_writes_on_is_what_the_case_holds(tmp_path, family, more, dtype):
    found = run("torch_generate", f"{family}/generation", tmp_path / "out.safetensors", dtype)
    assert (found.first, found.code) == (None, 0)
    runs = [key for key in found.candidate.tensors if key.startswith("forward/")]
    assert sorted(runs) == [f"forward/{name}" for name in ("beams", "eager", "greedy", "logits", *more)]


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_it_is_small_and_needs_nothing_of_minibert(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < (280 if path.stem == "torch_transformers" else 150)  # it knows nine families
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.partition(".")[0] in ("minibert", "reference") for name in names), names
    assert path.stem in NEEDS


def test_every_adapter_is_tested():
    assert {path.stem for path in ADAPTERS} == NEEDS.keys()


# ---- The C program of the examples -----------------------------------------------------------------------------------
C_PROGRAM = ROOT / "examples" / "06_check_an_op_in_c.c"


def test_the_c_program_is_short():
    assert len(C_PROGRAM.read_text(encoding="utf-8").splitlines()) < 100


def test_the_c_program_on_cases_it_can_and_cannot_use(tmp_path):
    """Exit code 0, 1 or 2 with one line, also where a file is cut short."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None or sys.byteorder != "little":
        pytest.skip("needs a C compiler (cc) and a little-endian machine")
    program = tmp_path / "check"
    subprocess.run([compiler, "-std=c99", "-Wall", "-Werror", "-o", program, C_PROGRAM, "-lm"], check=True)
    ops = cases.folder() / "ops"
    cut = tmp_path / "cut"
    shutil.copytree(ops / "layer_norm", cut)
    whole = (cut / "inputs.safetensors").read_bytes()
    (cut / "inputs.safetensors").write_bytes(whole[: len(whole) - 100])
    expected = {ops / "layer_norm": 0, ops / "layer_norm-eps": 0, ops / "gelu": 2, cut: 2, tmp_path / "nowhere": 2}
    for case, code in expected.items():
        result = subprocess.run([program, case], capture_output=True, encoding="utf-8", timeout=600)
        assert result.returncode == code, (case, result)
        assert (result.stdout + result.stderr).count("\n") == 1, result


# ---- PORTING.md ------------------------------------------------------------------------------------------------------
PAGE = ROOT / "reference" / "PORTING.md"


def test_commands_and_names_of_the_porting_page_exist():
    """Each `minibert` command line parses, and each case, file, clause and level it names is there."""
    text = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"^    minibert (.+)$", text, re.MULTILINE)
    assert len(commands) >= 7
    for line in map(shlex.split, commands):
        assert cli.parser(line).parse_args(line).run
    for name in set(re.findall(r"\b(?:bert|roberta|albert|electra|tokenizer|ops|masking)/[a-z][a-z-]+\b", text)):
        assert (cases.folder() / name / "case.json").exists(), name
    for name in set(re.findall(r"`((?:reference|examples)/[\w/.]+)`", text)):
        assert (ROOT / name).exists(), name
    specification = (ROOT / "reference" / "SPEC.md").read_text(encoding="utf-8")
    for clause in set(re.findall(r"\b(?:BERT|OP|OPT|NAME|TOK)-[A-Z0-9-]*[A-Z0-9]\b", text)):
        assert clause in specification, clause
    levels_named = re.findall(r"^\| L(\d) ([\w ]+) \|", text, re.MULTILINE)
    assert [(int(n), title) for n, title in levels_named] == list(enumerate(levels.TITLES))
    for adapter in NEEDS:
        assert f"adapters/{adapter}.py" in text


def test_what_is_said_of_gpt2_is_what_its_levels_need():
    case, text = cases.read("gpt2/published"), PAGE.read_text(encoding="utf-8")
    section = text[text.index("GPT-2's: L1") : text.index("Its weights lie")]
    asked = levels.levels(case, compare(case, {}, "float64"))
    due = {key for level in asked for key in level.needs if level.number < 5}
    named = {re.sub(r"h\.\d+$", "h.N", key) for key in due}
    assert set(re.findall(r"`(forward/[\w.]+)`", section)) == named


def test_the_ends_of_every_family_are_named():
    """L1 to L3 of each family that has cases, as its levels ask for them."""
    text = PAGE.read_text(encoding="utf-8")
    for path in cases.shipped():
        if path.name == "published" and (case := cases.read(path)).facts["kind"] == "family":
            asked = levels.levels(case, compare(case, {}, "float64"))
            row = next(line for line in text.splitlines() if line.startswith(f"| {path.parent.name} | "))
            cells = [re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")[1:]]
            due = [[re.sub(r"((?:layers?|h|block)\.)1$|\b1(?=\.output$)", r"\1N", key.removeprefix("forward/"))
                    for key in level.needs] for level in asked if 1 <= level.number <= 3]  # fmt: skip
            assert cells == due, path.parent.name


def test_the_level_table_names_what_the_levels_need():
    """What a level is said to need is what `check` asks for when nothing is given."""
    case = cases.read("bert/published")
    text = PAGE.read_text(encoding="utf-8")
    for level in levels.levels(case, compare(case, {}, "float64")):
        line = next(line for line in text.splitlines() if line.startswith(f"| L{level.number} "))
        for key in level.needs:
            if key.startswith("forward/"):
                general = re.sub(r"layer\.\d+", "layer.N", key)
                assert f"`{general}`" in line, key
