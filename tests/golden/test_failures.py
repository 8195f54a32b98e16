"""From a property test that failed to a golden case, and the floor that a snapshot needs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import cli, ops
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.golden import case as cases
from minibert.golden import failures
from minibert.golden.floor import floor

ROOT = Path(__file__).resolve().parents[2]
PROPERTY = '''
import numpy as np
from hypothesis import given
from minibert import ops, strategies
from minibert.pairs import PAIRS


@given(strategies.of_pair(PAIRS["layer_norm"]))
def test_mine(drawn):
    """A norm that forgets eps's place where rows are short."""
    args, constants = drawn
    assert args["x"].shape[-1] < 3


def test_that_draws_nothing():
    raise ValueError("no example")


def test_snapshot(floor):
    assert 2**-24 <= floor(lambda x: np.tanh(x), {"x": np.ones(3)}) < 1e-6
'''


def test_a_failed_test_s_shrunk_example_becomes_a_case(tmp_path, capsys):
    (tmp_path / "test_mine.py").write_text(PROPERTY, encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_minibert", "--minibert-failures", "kept"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert "2 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == "test_mine.py-test_mine.safetensors"
    assert f"minibert: drawn arguments in {Path('kept') / kept.name}" in ran.stdout
    held = safetensors.read(kept)
    assert held["x"].shape[-1] == 3 == held["weight"].size  # the smallest that fails, not the first

    case = tmp_path / "case"
    assert cli.main(["golden", "make", "layer_norm", "--from-failure", str(kept), "-o", str(case)]) == 0
    made = cases.read(case)
    assert made.facts["pair"] == "layer_norm"
    assert made.facts["certified"]
    np.testing.assert_array_equal(made.tensor("inputs/x"), held["x"].astype(np.float32))
    assert cli.main(["golden", "verify", str(case)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("op", "arrays", "constants", "said"),
    [
        ("gelu", {"y": np.ones(3)}, {}, "the op gelu has no argument 'y'; it takes: x"),
        ("layer_norm", {"x": np.ones((2, 3)), "bias": np.ones(3)}, {}, "the op layer_norm needs 'weight'"),
        ("gelu", {"x": np.array([np.inf])}, {}, "'x' is not finite"),
        ("gelu", {"x": np.ones(5000)}, {}, "5000 numbers, of at most 4096"),
        ("gelo", {"x": np.ones(3)}, {}, "no op 'gelo'"),
        ("linear", {"x": np.ones((2, 3)), "weight": np.ones((4, 2)), "bias": np.ones(4)}, {}, "cannot be computed"),
        ("linear", {"x": np.ones(3), "weight": np.ones(3), "bias": np.ones(4)}, {}, "'weight' has 1 dimensions"),
        ("gelu", {"x": np.ones(3)}, {"slope": 2.0}, "the op gelu has no argument 'slope'"),
    ],
)
def test_what_is_no_example_of_the_op_is_refused_in_a_line(op, arrays, constants, said, tmp_path):
    path = failures.written(tmp_path, "test.py::test[x/y]", arrays, constants)
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        failures.recipe(op, path)
    assert said in str(caught.value)


def test_a_number_alone_has_an_axis(tmp_path):
    path, out = failures.written(tmp_path, "one", {"x": np.array(0.5)}, {}), tmp_path / "case"
    assert cli.main(["golden", "make", "gelu", "--from-failure", str(path), "-o", str(out)]) == 0
    np.testing.assert_array_equal(cases.read(out).tensor("inputs/x"), [0.5])


def test_constants_are_kept_and_data_that_was_not_drawn_is_absent(tmp_path):
    """Not drawn anew, in other sizes."""
    given = {"logits": np.random.default_rng(0).standard_normal((2, 5)), "labels": np.array([4, 1])}
    path, out = failures.written(tmp_path, "t", given, {"denominator": 3.0}), tmp_path / "case"
    assert cli.main(["golden", "make", "cross_entropy", "--from-failure", str(path), "-o", str(out)]) == 0
    made = cases.read(out)
    assert made.facts["config"]["denominator"] == 3.0
    assert {key for key in made.entries if key.startswith("inputs/")} == {f"inputs/{k}" for k in (*given, "cotangent")}


# ---- The floor -------------------------------------------------------------------------------------------------------
def test_the_floor_covers_what_another_order_of_summation_does_and_no_mistake():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 300)), rng.standard_normal((7, 300))
    measured = floor(lambda x, weight: x @ weight.T, {"x": x, "weight": w})
    rounded = {"x": x.astype("f4"), "w": w.astype("f4")}
    truth = rounded["x"].astype(float) @ rounded["w"].T.astype(float)
    order = rng.permutation(300)
    other = rounded["x"][:, order] @ rounded["w"][:, order].T
    assert np.abs(other - truth).max() <= 4 * measured * np.abs(truth).max()
    assert np.abs(truth * (1 + 1e-4) - truth).max() > 4 * measured * np.abs(truth).max()


def test_the_floor_of_what_cancels_is_large():
    """(x + 1e4) - 1e4 loses four digits, whatever the order."""
    x = np.linspace(0.1, 1, 7)
    plain, cancelled = floor(lambda x: x * 2, {"x": x}), floor(lambda x: (x + 1e4) - 1e4, {"x": x})
    assert plain < 3 * 2.0**-23
    assert cancelled > 1e3 * plain


def test_floors_come_by_path_and_follow_the_precision():
    def f(p, ids, mask):
        return {"rows": [p["table"][ids] * mask, np.exp(p["table"]).sum()]}

    given = {"p": {"table": np.linspace(-1, 1, 6).reshape(3, 2)}, "ids": np.array([0, 2]), "mask": True}
    single, half = floor(f, given), floor(f, given, dtype="float16")
    assert single.keys() == half.keys() == {"rows.0", "rows.1"}
    assert half["rows.1"] > 100 * single["rows.1"]
    assert floor(f, given) == single  # drawn from a seed


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: x.astype("f4"), "is float32 for float64 inputs"),
        (lambda x: np.log(-x), "is not finite in float64"),
        (lambda x: x > 0, "of bool, not real numbers"),
        (lambda x: x[: 2 if x.dtype == "f4" else 3], "another shape of output '' in float32"),
    ],
)
def test_what_has_no_floor_says_why(f, said):
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=r"^floor: [^\n]*$") as caught:
        floor(f, {"x": np.arange(1.0, 4.0)})
    assert said in str(caught.value)


def test_the_floor_of_an_op_is_that_of_its_case():
    """Within a factor of four of what other orders of the op itself give."""
    case = cases.read("ops/layer_norm")
    given = {name: case.tensor(f"inputs/{name}") for name in ("x", "weight", "bias")}
    eps = case.facts["config"]["eps"]
    measured = floor(lambda **args: ops.layer_norm(**args, eps=eps)[0], given)
    floors = case.entries["forward/output"].noise["float32"]
    assert 1 / 4 < measured / floors < 4
