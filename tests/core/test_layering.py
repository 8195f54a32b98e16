"""The shape of the project: imports point downwards only, nothing but NumPy and regex is needed, every op is whole."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import reference
from minibert import ops
from minibert.pairs import PAIRS

ROOT = Path(__file__).resolve().parents[2]
# each module may import from its own level and those above it in this list
LEVELS = [
    ["errors", "buffers", "reading", "progress", "streams"],
    ["tree", "config", "signatures", "options", "checkpoint.atomic", "checkpoint.strictjson", "processes", "ranks"],
    ["pairs", "lengths", "kernels", "checkpoint.safetensors", "checkpoint.growing", "metrics"],
    ["checkpoint.numpy_files"],
    ["ops", "strategies", "trace", "spectrogram"],
    ["layers", "relative", "sliding", "recurrent", "informed", "vision", "convolutional", "hashed",
     "reversible"],
    ["tensor_parallel"],
    ["pooling", "adapters", "narrowed"],
    ["heads"],
    ["objective", "encoder_decoder", "summaries"],
    ["checkpoint.names", "batches", "generation"],
    ["filling", "teaching"],
    ["families", "published", "tokenizers", "corruption", "corpus", "recordings", "pictures", "languages", "parallel",
     "cleaning", "rows", "optim", "states"],
    ["tasks"],
    ["checkpoint"],
    ["model"],
    ["touched", "quantization", "vectors"],
    ["gradcheck", "laws", "memory", "training", "inference"],
    ["sentences", "runs", "uses", "transfer", "multitask"],
    ["data"],
    ["golden"],
    ["mistakes", "analysis", "exercises"],
    ["learning"],
    ["pretraining", "finetuning"],
    ["commands"],
    ["cli", "pytest_plugin"],
]


def level(module: str) -> int:
    """The level of a module by its longest listed prefix."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        for i, names in enumerate(LEVELS):
            if ".".join(parts[:n]) in names:
                return i
    raise AssertionError(f"minibert.{module} has no place in the layers")


# imported inside functions, upwards: the module, what it imports, and why
LAZY = {
    ("commands.completion", "cli"): "what a shell completes is generated from the parsers of all commands",
    ("golden.checking", "mistakes"): "a check names the mistake, mistakes are made on golden cases",
    ("golden.tokens", "mistakes"): "the same, of tokens",
    ("families.cove", "checkpoint.vectors"): "word vectors that a run is given are a file",
    ("corruption.similarity", "checkpoint.directory"): "words are looked up in a model that is read, none is made",
}


def imports(path: Path, inside: bool = False):
    """Modules imported at the top of a file, or inside its functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree) if inside else tree.body:
        if inside and id(node) in top:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:  # a module of a package, else what stands in the package or module itself
                inner = f"{node.module}.{alias.name}"
                yield inner if within(inner) else node.module


def test_imports_point_downwards():
    for path in sorted((ROOT / "minibert").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "minibert").with_suffix("").parts).removesuffix(".__init__")
        if module in ("__init__", "__main__"):
            continue
        for name in imports(path):
            if inner := within(name):
                assert level(inner) <= level(module), f"minibert.{module} imports minibert.{inner}"


def within(name: str) -> str | None:
    """The module or package of ours that an imported name is; None of others and of what stands in them."""
    inner = name.removeprefix("minibert.")
    place = ROOT / "minibert" / inner.replace(".", "/")
    return inner if inner != name and (place.with_suffix(".py").exists() or place.is_dir()) else None


def test_imports_inside_functions_point_upwards_only_where_it_is_said():
    """A circle that is hidden in a function is one all the same."""
    found = set()
    for path in sorted((ROOT / "minibert").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "minibert").with_suffix("").parts).removesuffix(".__init__")
        if module not in ("__init__", "__main__"):
            inner = {within(name) for name in imports(path, inside=True)} - {None}
            found |= {(module, name) for name in inner if level(name) > level(module)}
    assert found == LAZY.keys()


def test_heads_know_no_family():
    for path in (ROOT / "minibert" / "heads").glob("*.py"):
        assert not any("families" in name for name in imports(path)), path.name


def test_the_package_needs_numpy_and_regex_alone():
    allowed = ["numpy", "regex"]
    program = f"""
import sys, importlib, pkgutil
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {[*allowed, "minibert", "reference"]}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import minibert
for module in pkgutil.walk_packages(minibert.__path__, "minibert."):
    if module.name not in ("minibert.strategies", "minibert.pytest_plugin"):
        importlib.import_module(module.name)
model = minibert.create("bert", **importlib.import_module("minibert.families.bert").PROBE)
model.encode([[1, 2, 3]])
print("fine")
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "fine\n", result.stderr


@pytest.mark.parametrize("name", PAIRS)
def test_every_op_is_whole(name):
    pair = PAIRS[name]
    assert getattr(ops, name) is pair.forward
    assert pair.backward is not None
    assert pair.forward.__doc__
    assert callable(reference.double(name))
    assert pair.backward.__wrapped__.__code__.co_firstlineno > pair.forward.__wrapped__.__code__.co_firstlineno


def test_ops_are_called_through_their_module():
    for path in (ROOT / "minibert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("minibert.ops", "minibert.layers"), f"{path.name}: import the module"
