"""The pytest plugin, as its user meets it: a test for each case and level, one clear text for each failure."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = '''
import numpy as np
from minibert import config, model
from minibert.checkpoint.names import from_published
from minibert.families import bert
from minibert.golden.subject import Subject, observe


def right(weights, inputs, facts):
    """The engine itself, as if it were somebody's."""
    made = config.from_fields(bert.Config, facts["config"])
    batches = [{} for _ in range(facts["batches"])]
    for name, value in inputs.items():
        at, _, rest = name.partition("/") if name[0].isdigit() else ("0", "", name)
        batches[int(at)][rest] = value
    params = from_published(weights, bert.names(made))
    checked = [model.Model("bert", made, params).checked(batch) for batch in batches if batch]
    plan = facts["optimizer"]
    return observe(Subject("bert", made, params, checked, plan), facts["steps"] if plan else ())


def wrong(weights, inputs, facts):
    name = "bert.encoder.layer.1.attention.self.query.weight"
    weights[name] = weights[name].T.copy()
    return right(weights, inputs, facts)


def without_gradients(weights, inputs, facts):
    found = right(weights, inputs, facts)
    return {name: value for name, value in found.items() if name.startswith("forward/")}


def crashing(weights, inputs, facts):
    raise RuntimeError("no such device")


def ending(weights, inputs, facts):
    raise SystemExit(3)


def strange(weights, inputs, facts):
    return {"forward/loss": np.zeros((2, 3))}


def listing(weights, inputs, facts):
    return [np.zeros((2, 3))]


def forging(weights, inputs, facts):
    return {"forward/x\\nclaim: L7 \\x1b[2J": np.zeros(3), **wrong(weights, inputs, facts)}


def empty(weights, inputs, facts):
    return {}
'''

LOOP = '''
import numpy as np


class Loop:
    """A row of numbers falls towards those of the batch; gradients are never set to 0."""

    def __init__(self, parameters=None, dropout=0.0, clip_norm=None):
        self.w, self.g, self.most = np.array((parameters or {"w": np.ones(3)})["w"]), np.zeros(3), clip_norm

    def parameters(self):
        return {"w": self.w}

    def step(self, batches):
        rows = np.concatenate([batch["x"] for batch in batches])
        self.g = self.g + (self.w - rows).mean(0)
        g = self.g * min(1, self.most / np.linalg.norm(self.g)) if self.most else self.g
        self.w = self.w - 0.1 * g
        return {"gradients": {"w": g}}


def mine():
    return Loop, {"x": np.arange(12.0).reshape(4, 3)}, {}
'''


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """pytest in a folder of its own; the plugin named, since the checkout need not be installed."""
    (folder / "mine.py").write_text(ADAPTERS, encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", *PLUGIN, *arguments]
    environment = surroundings({**os.environ, "PYTHONPATH": paths})
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=1000)


PLUGIN = ("-p", "pytest_minibert", "-p", "no:cacheprovider")


def surroundings(environment: dict[str, str]) -> dict[str, str]:
    """Without what makes pytest speak in colour, or repeat whole messages in its summary."""
    spoken = ("CI", "BUILD_NUMBER", "FORCE_COLOR", "PY_COLORS", "PYTEST_ADDOPTS")
    kept = {name: value for name, value in environment.items() if name not in spoken}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONUTF8": "1"}


@pytest.fixture
def within(tmp_path, monkeypatch):
    """The same in this process, which has imported already what a process of its own takes a second for."""

    def run_within(*arguments: str) -> SimpleNamespace:
        (tmp_path / "mine.py").write_text(ADAPTERS, encoding="utf-8")
        out, err, before = io.StringIO(), io.StringIO(), {*sys.modules}
        with monkeypatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(os, "environ", surroundings({**os.environ}))
            patch.syspath_prepend(str(tmp_path))
            patch.chdir(tmp_path)
            code = pytest.main([*PLUGIN, *arguments])
        for name in {*sys.modules} - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]  # the next adapter has the same name
        return SimpleNamespace(returncode=int(code), stdout=out.getvalue(), stderr=err.getvalue())

    return run_within


def test_a_right_implementation_reaches_every_level_and_obeys_laws(tmp_path):
    """Two of them: what each is held to stands in test_laws.py."""
    arguments = ("--minibert-adapter", "mine:right", "--minibert-case", "bert/published", "--minibert-laws", "-v")
    result = run(tmp_path, *arguments, "-k", "not law or head_permutation or gradient_is_the_slope")
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("L1 embeddings", "L7 trajectory", "law head_permutation", "law gradient_is_the_slope"):
        assert f"minibert::bert/published::{name} PASSED" in result.stdout


def test_a_family_s_name_stands_for_its_cases(within):
    arguments = ("--minibert-adapter", "mine:right", "--collect-only", "-q", "--minibert-case", "electra")
    result = within(*arguments, "--minibert-case", "roberta/published")
    collected = {line.split("::")[1] for line in result.stdout.splitlines() if line.startswith("minibert::")}
    assert {"electra/published", "electra/generator", "roberta/published"} <= collected
    assert all(name.startswith("electra/") or name == "roberta/published" for name in collected)


def test_every_case_of_bert_is_taken_by_default_and_k_chooses(within):
    arguments = ("--minibert-adapter", "mine:right", "--collect-only", "-q", "-k", "L5 or L1")
    result = within(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    collected = [line for line in result.stdout.splitlines() if line.startswith("minibert::")]
    assert {line.split("::")[2][:2] for line in collected} == {"L1", "L5"}
    assert len({line.split("::")[1] for line in collected}) >= 7


def test_a_difference_fails_its_levels_and_is_told_once(tmp_path):
    """The adapter is a function of a file; the mistake stands in the summary's lines, and in JUnit's."""
    arguments = ("--minibert-adapter", "mine.py:wrong", "--minibert-case", "bert/published", "-v")
    result = run(tmp_path, *arguments, "--minibert-dtype", "float32", f"--junitxml={tmp_path / 'junit.xml'}")
    assert result.returncode == 1
    assert "::L1 embeddings PASSED" in result.stdout
    assert all(f"::{level} FAILED" in result.stdout for level in ("L2 encoder", "L4 losses", "L5 gradients"))
    assert result.stdout.count("first divergence: forward/bert.encoder.layer.1.attention.self.query") == 1
    assert "the report is that of L2 encoder" in result.stdout
    assert "float32" in result.stdout
    assert "Traceback" not in result.stdout
    summary = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert len(summary) == 6
    assert all(" - C01 in layer 1 attention" in line for line in summary), summary
    assert "C01 in layer 1 attention" in (tmp_path / "junit.xml").read_text(encoding="utf-8")


def test_a_partial_implementation_is_skipped_with_what_it_lacks(within):
    arguments = ("--minibert-adapter", "mine:without_gradients", "--minibert-case", "bert/published", "-v", "-rs")
    result = within(*arguments)
    assert result.returncode == 0, result.stdout
    assert "::L4 losses PASSED" in result.stdout
    assert "::L5 gradients SKIPPED" in result.stdout
    assert "L5 gradients needs gradients/" in result.stdout


def test_an_adapter_s_names_forge_no_lines(within):
    result = within("--minibert-adapter", "mine:forging", "--minibert-case", "bert/published", "-q")
    assert result.returncode == 1
    assert r"x\nclaim: L7 \x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout
    assert not any(line.startswith("claim: L7") for line in result.stdout.splitlines())


def test_an_adapter_that_gives_nothing_fails_once(within):
    """Not in each of its seven tests, nor in each case's."""
    two = ("--minibert-case", "bert/published", "--minibert-case", "bert/tanh", "-rs", "-q")
    result = within("--minibert-adapter", "mine:empty", *two)
    assert re.search(r"^1 failed, 13 skipped", result.stdout, re.MULTILINE), result.stdout
    assert "the adapter gives nothing: an empty dict" in result.stdout
    assert "the adapter gives nothing: see bert/published L1 embeddings" in result.stdout


@pytest.mark.parametrize(
    ("adapter", "text"),
    [("listing", "not a dict of arrays by name"), ("crashing", "RuntimeError: no such device"),
     ("ending", "SystemExit: 3"), ("strange", "'forward/loss' is (2, 3), the case has ()")],
)  # fmt: skip
def test_an_adapter_that_fails_says_so(within, adapter, text):
    result = within("--minibert-adapter", f"mine:{adapter}", "--minibert-case", "bert/published", "-q")
    assert result.returncode == 1
    assert text in result.stdout
    assert re.search(r"^1 failed, 6 skipped", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--minibert-adapter", "mine"), "expected package.module:function"),
        (("--minibert-adapter", "nowhere.py:f"), "nowhere.py: no such file"),
        (("--minibert-adapter", "mine:nobody"), "mine has no function 'nobody'"),
        (("--minibert-adapter", "nothing:f"), "No module named 'nothing'"),
        (("--minibert-adapter", "mine:right", "--minibert-case", "bert/nowhere"), "bert/nowhere is no case"),
        (("--minibert-adapter", "mine:right", "--minibert-case", "ops/gelu"), "ops/gelu is of kind 'op'"),
        (("--minibert-adapter", "mine:right", "--minibert-case", "bert_wwm"), "it is a network of bert's"),
    ],
)
def test_unusable_options_are_one_line(within, arguments, text):
    result = within(*arguments)
    assert result.returncode == 4
    assert text in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout


def test_without_the_option_nothing_of_minibert_is_imported(tmp_path):
    (tmp_path / "test_alone.py").write_text(
        "import sys\ndef test_alone():\n    assert 'minibert' not in sys.modules\n", encoding="utf-8"
    )
    result = run(tmp_path, "-q")
    assert result.returncode == 0, result.stdout


def test_a_training_loop_is_asked_its_laws(tmp_path, within):
    """One test a law; what is wrong is named in the summary's line."""
    (tmp_path / "loop.py").write_text(LOOP, encoding="utf-8")
    result = within("--minibert-loop", "loop.py:mine", "-q", "-rsf")
    assert "1 failed, 3 passed, 7 skipped" in result.stdout, result.stdout
    assert "FAILED minibert::loop::each_step_has_its_own_gradient - the gradient of the" in result.stdout
    assert "Traceback" not in result.stdout
    wrong = within("--minibert-loop", "loop.py:none", "-q")
    assert wrong.returncode == 4
    assert "--minibert-loop 'loop.py:none': loop.py has no function 'none'" in wrong.stderr


@pytest.mark.parametrize(
    ("loop", "said"),
    [("def mine():\n    return 3\n", "returned 3, not (start, batch, facts)"),
     ("def mine():\n    raise RuntimeError('no device')\n", "RuntimeError: no device"),
     (LOOP.replace("def step(self, batches):", "def step(self, batches):\n        raise OSError('full')"), "full")],
)  # fmt: skip
def test_a_loop_that_does_not_run_fails_once(loop, said, tmp_path, within):
    (tmp_path / "loop.py").write_text(loop, encoding="utf-8")
    result = within("--minibert-loop", "loop.py:mine", "-q", "-rs")
    assert re.search(r"^1 failed, 10 skipped", result.stdout, re.MULTILINE), result.stdout
    assert said in result.stdout
    assert "the loop does not run: see parts_make_the_whole" in result.stdout
