"""The scalar-loop doubles against known values, closed forms and high-precision libraries; the examples of the spec."""

import ast
import doctest
import math
import re
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from minibert import ops
from minibert.pairs import PAIRS
from reference import double, scalars
from reference.derivative import derivative
from reference.directional import directional
from reference.lists import broadcast, convert, leaves, mapped, shape

FOLDER = Path(__file__).parents[2] / "reference"
RNG = np.random.default_rng(7)


def drawn(*dims):
    return RNG.normal(size=dims).tolist()


# name: (arguments, those that can be differentiated); sizes unequal, ids and positions repeated
CASES = {
    "linear": ({"x": drawn(2, 3, 4), "weight": drawn(5, 4), "bias": drawn(5)}, "x weight bias"),
    "embedding": ({"weight": drawn(5, 3), "ids": [[1, 4, 1], [0, 1, 3]]}, "weight"),
    "layer_norm": ({"x": drawn(2, 3, 5), "weight": drawn(5), "bias": drawn(5), "eps": 1e-3}, "x weight bias"),
    "gelu": ({"x": drawn(3, 4)}, "x"),
    "gelu_tanh": ({"x": drawn(3, 4)}, "x"),
    "relu": ({"x": drawn(3, 4)}, "x"),
    "tanh": ({"x": drawn(3, 4)}, "x"),
    "sigmoid": ({"x": drawn(3, 4)}, "x"),
    "softmax": ({"x": drawn(2, 3, 5)}, "x"),
    "log_softmax": ({"x": drawn(2, 3, 5)}, "x"),
    "attention": ({"q": drawn(2, 2, 3, 4), "k": drawn(2, 2, 5, 4), "v": drawn(2, 2, 5, 4),
                   "bias": drawn(2, 1, 1, 5), "dropout": (1.25 * RNG.integers(0, 2, (2, 2, 3, 5))).tolist()},
                  "q k v bias"),
    "dropout": ({"x": drawn(3, 4), "keep": RNG.integers(0, 2, (3, 4)).tolist(), "rate": 0.25}, "x"),
    "gather": ({"x": drawn(2, 4, 3), "positions": [[3, 0, 3], [1, 1, 2]]}, "x"),
    "cross_entropy": ({"logits": drawn(2, 3, 5), "labels": [[0, -100, 4], [2, 2, 1]], "ignore": -100,
                       "weights": [[1.0, 3.0, 0.0], [0.5, 2.0, 1.0]]}, "logits"),
    "binary_cross_entropy": ({"logits": drawn(2, 3), "labels": [[0, 1, 1], [1, 0, 0]],
                              "weights": [[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], "denominator": 7.0}, "logits"),
    "mean_squared_error": ({"x": drawn(2, 3), "target": drawn(2, 3), "weights": drawn(2, 3)}, "x"),
}


def close(a, b, tolerance=1e-12):
    """max|a - b| / max|b| within the tolerance; a failure shows the error."""
    a, b = (np.array(x, dtype=float) for x in (a, b))
    assert a.shape == b.shape
    error = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))
    assert error <= tolerance, f"error {error:.2e}, tolerance {tolerance:.0e}"


# ---------------------------------------------------------------- the folder

@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_double_is_short_and_imports_nothing_but_the_standard_library(path):
    text = path.read_text(encoding="utf-8")
    forward, _, behind = text.partition("_backward(")
    assert len(forward.splitlines()) <= 40
    assert len(behind.splitlines()) <= 60
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"math"}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or node.module in {"decimal", "importlib", "itertools"}


@pytest.mark.parametrize("name", CASES)
def test_every_op_has_a_double_under_its_own_name(name):
    assert double(name).__name__ == name
    assert double(name).__module__ == f"reference.{name}"


# ---------------------------------------------------------------- the spec

class Digits(doctest.OutputChecker):
    """Equal text, numbers equal to 12 significant digits: the last bits belong to the platform's libm."""

    NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")

    def check_output(self, want, got, flags):
        numbers = [[float(n) for n in self.NUMBER.findall(text)] for text in (want, got)]
        same = self.NUMBER.sub("#", want) == self.NUMBER.sub("#", got)
        return same and all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(*numbers, strict=True))


UNSAID = {"add", "split_heads", "merge_heads"}  # ops whose sentence on the page says all of it
DOUBLES = {path.stem: found for path in sorted(FOLDER.glob("*.py"))
           if (found := getattr(import_module(f"reference.{path.stem}"), path.stem, None))}  # fmt: skip


PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((FOLDER / "spec").glob("*.md"))}


def spec_failures(text):
    fences_blank = re.sub(r"(?m)^```.*$", "", text)  # else a closing fence counts as expected output
    examples = doctest.DocTestParser().get_doctest(
        fences_blank, dict(DOUBLES), "the page", "the page", 0)
    report = []
    results = doctest.DocTestRunner(Digits(), verbose=False).run(examples, out=report.append)
    return results.attempted, "".join(report)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_of_the_spec_come_out(page):
    attempted, report = spec_failures(PAGES[page])
    assert attempted == PAGES[page].count(">>> ")
    assert not report, report


def test_a_wrong_digit_in_the_spec_is_caught():
    assert spec_failures(PAGES["operations"].replace("0.2689414213699951", "0.2689414213799951"))[1]


def test_every_op_has_an_example_in_the_spec():
    text = "".join(PAGES.values())
    assert text.count(">>> ") > 35
    named = {name for name in vars(ops) if name in PAIRS and name in DOUBLES} - UNSAID
    assert len(named) > 25
    assert not [name for name in named if not re.search(rf">>> .*\b{name}\(", text)]


# ---------------------------------------------------------------- numbers

@pytest.mark.parametrize(("name", "points"), [
    ("exp", "-80.5 -1 -1e-17 0.3 2 50"), ("log", "1e-30 0.1 0.999999 1.5 2 1e20"), ("sqrt", "1e-20 0.1 2 1e20"),
    ("tanh", "-90 -2 -0.1 -1e-16 1e-10 0.4 3 700"), ("erf", "-14 -6 -2 -0.5 1e-16 0.01 0.5 1 3 9 12.9 13.1"),
    ("erfc", "-14 -3 -0.5 0.01 1 3"), ("pi", "1"),
])
def test_functions_are_right_to_48_digits(name, points):
    mp = pytest.importorskip("mpmath", reason="mpmath is the independent 80-digit library").mp.clone()
    mp.dps = 80
    for point in points.split():
        with scalars.fifty_digits():
            ours = getattr(scalars, name)(Decimal(point))
        truth = mp.pi if name == "pi" else getattr(mp, name)(mp.mpf(point))
        assert abs(mp.mpf(str(ours)) - truth) <= abs(truth) * mp.mpf("1e-48"), point


def test_convert_is_exact_and_leaves_the_rest_alone():
    tree = {"a": [0.5, 3, None], "b": ("min", [float("-inf")])}
    assert convert(tree) == {"a": [Decimal("0.5"), 3, None], "b": ["min", [Decimal("-Infinity")]]}
    assert str(convert(0.1)).startswith("0.1000000000000000055511151231257827021181583404541015625")


@pytest.mark.parametrize("name", CASES)
def test_float_and_50_digits_agree(name):
    arguments = CASES[name][0]
    with scalars.fifty_digits():
        exact = double(name)(**convert(arguments))
    assert all(isinstance(value, Decimal) for value in leaves(exact))
    close(double(name)(**arguments), mapped(float, exact), 1e-14)


# ---------------------------------------------------------------- known values

def test_known_values_of_gelu_erf_and_tanh_gelu():
    """Made with mpmath at 40 digits."""
    exact = {1.0: 0.84134474606854295, -1.0: -0.15865525393145705, 0.5: 0.34573123063700656,
             -3.0: -0.0040496940948902836, -10.0: -7.6198530241605261e-23,
             -0.75179152469356446: -0.16997120747990369}
    for x, y in exact.items():
        close(double("gelu")(x), y, 2e-14)
    close(double("gelu_tanh")([1.0, -3.0]), [0.8411919906082767, -0.0036373920817730188], 1e-14)
    close(scalars.erf(0.5), 0.52049987781304654, 1e-15)
    close(scalars.erfc(5.0), 1.5374597944280349e-12, 1e-14)
    slopes = derivative(double("gelu"), {"x": [1.0, -1.0, -3.0, 0.0]}, "x", [1.0] * 4)
    close(slopes, [1.0833154705876863, -0.083315470587686298, -0.011945647204183927, 0.5], 1e-15)


def test_the_two_gelus_differ_most_at_2_699():
    points = [i / 1000 for i in range(-4000, 4001)]
    gaps = [abs(a - b) for a, b in zip(double("gelu")(points), double("gelu_tanh")(points), strict=True)]
    assert max(gaps) == pytest.approx(4.7324e-4, rel=1e-4)
    assert abs(points[gaps.index(max(gaps))]) == 2.699


def test_layer_norm_of_equal_entries_is_the_bias():
    assert double("layer_norm")([[3.0, 3.0]], [2.0, 5.0], [0.25, -1.0], eps=1e-12) == [[0.25, -1.0]]
    arguments = {"x": [3.0, 3.0], "weight": [2.0, 5.0], "bias": [0.25, -1.0], "eps": 0.01}
    close(derivative(double("layer_norm"), arguments, "x", [0.3, 0.7]), [-14.5, 14.5], 1e-14)


def test_extreme_inputs_stay_finite():
    assert double("log_softmax")([1e4, 0.0]) == [0.0, -1e4]
    assert double("sigmoid")([-1e4, 1e4]) == [0.0, 1.0]
    assert double("binary_cross_entropy")([1e4, -1e4], labels=[0, 0]) == 5000.0
    assert double("cross_entropy")([[1e4, 0.0]], labels=[1]) == 1e4


def test_nothing_to_predict_costs_nothing():
    logits = drawn(2, 3)
    assert double("cross_entropy")(logits, labels=[-1, -1], ignore=-1) == 0
    assert double("cross_entropy")(logits, labels=[0, 1], weights=[0.0, 0.0]) == 0
    assert double("binary_cross_entropy")(logits, labels=logits, weights=[[0.0] * 3] * 2) == 0
    assert double("mean_squared_error")(logits, target=drawn(2, 3), weights=0.0) == 0


def test_schedule_of_bert():
    rates = [double("schedule")(s, peak=1e-4, warmup=10_000, total=1_000_000)
             for s in (0, 1, 9_999, 10_000, 500_000, 1_000_000, 2_000_000)]
    assert rates == pytest.approx([0, 1e-8, 9.999e-5, 9.9e-5, 5e-5, 0, 0], rel=1e-14, abs=0)
    assert double("schedule")(0, peak=1e-4, warmup=0, total=10) == 1e-4


@pytest.mark.parametrize(("decay", "values"), [(0.01, [0.9682872202370383, 0.9271798967114366]),
                                               (0.0, [0.9683872202370383, 0.9273767254334603])])
def test_bert_adam_of_one_scalar(decay, values):
    state = 1.0, 0.0, 0.0
    for gradient, value in zip((0.1, 0.2), values, strict=True):
        p, m, v = state
        state = double("bert_adam")(p, gradient, m, v, rate=0.01, decay=decay, beta1=0.9, beta2=0.999, eps=1e-6)
        close(state[0], value, 1e-15)


def test_bert_adam_starts_3_16_times_too_fast_and_peaks_at_step_12():
    p, m, v, steps = 0.0, 0.0, 0.0, []
    for _ in range(20):
        before = p
        p, m, v = double("bert_adam")(p, 1.0, m, v, rate=1.0, decay=0, beta1=0.9, beta2=0.999, eps=0.0)
        steps.append(before - p)
    assert steps[0] == pytest.approx(math.sqrt(10), rel=1e-12)
    assert max(steps) == pytest.approx(6.5685, abs=1e-4)
    assert steps.index(max(steps)) == 11


def test_adamw_of_one_scalar_as_torch():
    p, m, v = 1.0, 0.0, 0.0
    for step, gradient, value in ((1, 0.1, 0.989900099999), (2, 0.2, 0.9801493507647085)):
        p, m, v = double("adamw")(p, gradient, m, v, step=step, rate=0.01, decay=0.01, beta1=0.9, beta2=0.999, eps=1e-6)
        close(p, value, 1e-12)


def test_sgd_accumulates_velocity():
    p, b = double("sgd")([1.0, 2.0], [0.5, -1.0], [0.0, 0.0], rate=0.1, momentum=0.9, decay=0.1)
    close([p, b], [[0.94, 2.08], [0.6, -0.8]], 1e-15)
    close(double("sgd")(p, [0.0, 0.0], b, rate=0.1, momentum=0.9)[0], [0.886, 2.152], 1e-15)


def test_clipping_is_global_and_leaves_small_gradients_alone():
    scaled, norm = double("clip")({"a": [3.0], "b": [[0.0, 4.0]]}, 1.0)
    assert norm == 5
    close(leaves(list(scaled.values())), [0.6, 0.0, 0.8], 1e-15)
    assert double("clip")([0.3, 0.4], 1.0)[0] == [0.3, 0.4]


# ---------------------------------------------------------------- derivatives

def norm_parts(x, eps):
    deviation = np.sqrt(x.var(-1, keepdims=True) + eps)
    return (x - x.mean(-1, keepdims=True)) / deviation, deviation


def softmax_of(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def scattered(dy, rows, like):
    out = np.zeros_like(like)
    np.add.at(out, rows, dy)
    return out


def closed_forms(name, a, dy):
    """Textbook gradients in NumPy, written apart from the doubles: name of argument -> gradient."""
    x = a.get("x")
    if name == "linear":
        return {"x": dy @ a["weight"], "weight": np.einsum("bto,bti->oi", dy, x), "bias": dy.sum((0, 1))}
    if name == "embedding":
        return {"weight": scattered(dy, a["ids"], a["weight"])}
    if name == "layer_norm":
        unit, deviation = norm_parts(x, a["eps"])
        g = dy * a["weight"]
        dx = (g - g.mean(-1, keepdims=True) - unit * (g * unit).mean(-1, keepdims=True)) / deviation
        return {"x": dx, "weight": (dy * unit).sum((0, 1)), "bias": dy.sum((0, 1))}
    if name == "gelu":
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return {"x": dy * (np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2 + x * density)}
    if name == "gelu_tanh":
        t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        inner = math.sqrt(2 / math.pi) * (1 + 0.134145 * x * x)
        return {"x": dy * ((1 + t) / 2 + x * (1 - t * t) * inner / 2)}
    if name == "relu":
        return {"x": dy * (x > 0)}
    if name == "tanh":
        return {"x": dy / np.cosh(x) ** 2}
    if name == "sigmoid":
        return {"x": dy / (2 + 2 * np.cosh(x))}
    if name == "softmax":
        y = softmax_of(x)
        return {"x": y * (dy - (dy * y).sum(-1, keepdims=True))}
    if name == "log_softmax":
        return {"x": dy - softmax_of(x) * dy.sum(-1, keepdims=True)}
    if name == "attention":
        q, k, v = a["q"], a["k"], a["v"]
        p = softmax_of(q @ k.swapaxes(-1, -2) / 2 + a["bias"])  # head width 4
        dp = dy @ v.swapaxes(-1, -2) * a["dropout"]
        ds = p * (dp - (dp * p).sum(-1, keepdims=True))
        return {"q": ds @ k / 2, "k": ds.swapaxes(-1, -2) @ q / 2, "v": (p * a["dropout"]).swapaxes(-1, -2) @ dy,
                "bias": ds.sum((1, 2), keepdims=True)}
    if name == "dropout":
        return {"x": dy * a["keep"] / (1 - a["rate"])}
    if name == "gather":
        return {"x": scattered(dy, (np.arange(2)[:, None], a["positions"]), x)}
    if name == "cross_entropy":
        w = np.where(a["labels"] == a["ignore"], 0, a["weights"])
        return {"logits": dy * (w / w.sum())[..., None] * (softmax_of(a["logits"]) - np.eye(5)[a["labels"] % 5])}
    if name == "binary_cross_entropy":
        return {"logits": dy * a["weights"] * (1 / (1 + np.exp(-a["logits"])) - a["labels"]) / a["denominator"]}
    return {"x": dy * 2 * a["weights"] * (x - a["target"]) / a["weights"].sum()}


@pytest.mark.parametrize("name", CASES)
def test_the_derivative_of_a_double_is_the_textbook_gradient(name):
    arguments, differentiable = CASES[name]
    cotangent = RNG.normal(size=np.shape(double(name)(**arguments)))
    gradients = closed_forms(name, {key: np.array(value) for key, value in arguments.items()}, cotangent)
    assert list(gradients) == differentiable.split()
    for argument, gradient in gradients.items():
        close(derivative(double(name), arguments, argument, cotangent.tolist()), gradient, 1e-13)


def test_a_lost_term_of_the_layer_norm_backward_is_seen():
    arguments = CASES["layer_norm"][0]
    x, dy = np.array(arguments["x"]), RNG.normal(size=(2, 3, 5))
    g, deviation = dy * arguments["weight"], norm_parts(x, arguments["eps"])[1]
    wrong = (g - g.mean(-1, keepdims=True)) / deviation
    with pytest.raises(AssertionError, match="error"):
        close(derivative(double("layer_norm"), arguments, "x", dy.tolist()), wrong, 1e-2)


def test_derivatives_are_good_to_30_digits():
    x = [0.3, -1.7, 2.2]
    slopes = derivative(double("tanh"), {"x": x}, "x", [1.0] * 3)
    with scalars.fifty_digits():
        for slope, value in zip(slopes, x, strict=True):
            assert abs(slope - (1 - scalars.tanh(Decimal(value)) ** 2)) < Decimal("1e-30")


def test_derivative_leaves_its_arguments_as_they_are_and_walks_trees():
    p = {"dense": {"weight": drawn(2, 3), "bias": drawn(2)}}
    before = repr(p)

    def dense(x, p):
        return double("linear")(x, **p["dense"])

    slopes = derivative(dense, {"x": drawn(4, 3), "p": p}, "p", drawn(4, 2))
    assert repr(p) == before
    assert mapped(lambda _: 0, slopes) == mapped(lambda _: 0, p)


def test_a_directional_derivative_is_the_sum_of_its_parts():
    arguments = CASES["layer_norm"][0]
    cotangent, direction = drawn(2, 3, 5), drawn(2, 3, 5)
    slopes = derivative(double("layer_norm"), arguments, "x", cotangent)
    along = directional(double("layer_norm"), arguments, "x", direction, cotangent)
    assert float(along) == pytest.approx(np.vdot(np.array(slopes, dtype=float), direction), rel=1e-13)


# ---------------------------------------------------------------- attention

def test_a_row_that_forbids_every_key_is_the_mean_of_the_values():
    q, k, v = drawn(2, 3, 4), drawn(2, 5, 4), drawn(2, 5, 4)
    mean = broadcast(np.mean(v, axis=1, keepdims=True).tolist(), [2, 3, 4])
    for constant in (float("-inf"), float(np.finfo(np.float32).min), -1e30):
        arguments = {"q": q, "k": k, "v": v, "bias": [[constant] * 5]}
        close(double("attention")(**arguments), mean, 1e-14)
        assert not any(leaves(derivative(double("attention"), arguments, "q", drawn(2, 3, 4))))


def test_a_forbidden_key_might_as_well_be_absent():
    q, k, v = drawn(2, 3, 4), drawn(2, 5, 4), drawn(2, 5, 4)
    bias = [[0.0, 0.0, 0.0, float("-inf"), -1e38]]
    fewer = double("attention")(q, [rows[:3] for rows in k], [rows[:3] for rows in v])
    close(double("attention")(q, k, v, bias=bias), fewer, 1e-15)


def test_biases_of_fewer_dimensions_broadcast():
    arguments = {name: CASES["attention"][0][name] for name in "qkv"}
    bias = drawn(5)
    for form in ([bias], [[bias]], [[[bias]], [[bias]]], broadcast(bias, [2, 2, 3, 5])):
        close(double("attention")(**arguments, bias=form), double("attention")(**arguments, bias=bias), 1e-15)


# ---------------------------------------------------------------- BERT

# The published values of a tiny BERT (SPEC BERT-ALL-1): transformers 5.23, torch 2.13, float64, eager attention.
TINY = {"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
    "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
    "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
    "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
    "next_sentence_labels": [[0], [1]],
}


def tiny_shapes():
    """Published name -> shape."""
    shapes = {"bert.embeddings.word_embeddings.weight": (17, 8), "bert.embeddings.position_embeddings.weight": (12, 8),
              "bert.embeddings.token_type_embeddings.weight": (2, 8), "cls.predictions.bias": (17,)}
    layers = ["bert.encoder.layer.0", "bert.encoder.layer.1"]
    dense = {"bert.pooler.dense": (8, 8), "cls.predictions.transform.dense": (8, 8), "cls.seq_relationship": (2, 8)}
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in layers:
        dense |= {f"{layer}.attention.self.{part}": (8, 8) for part in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (8, 8), f"{layer}.intermediate.dense": (16, 8),
                  f"{layer}.output.dense": (8, 16)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    shapes |= {f"{name}.weight": size for name, size in dense.items()}
    shapes |= {f"{name}.bias": size[:1] for name, size in dense.items()}
    return shapes | {f"{name}.{part}": (8,) for name in norms for part in ("weight", "bias")}


def tiny_parameters():
    tensors = {}
    for k, (name, size) in enumerate(sorted(tiny_shapes().items())):
        j = np.arange(math.prod(size), dtype=float)
        flat = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + name.endswith("LayerNorm.weight")
        tensors[name] = flat.reshape(size).tolist()
    assert len(tensors) == 46

    def pair(name):
        return {"weight": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}

    def layer(name):
        attention = {part: pair(f"{name}.attention.self.{part}") for part in ("query", "key", "value")}
        attention["output"] = pair(f"{name}.attention.output.dense")
        attention["norm"] = pair(f"{name}.attention.output.LayerNorm")
        return {"attention": attention,
                "feed_forward": {"in": pair(f"{name}.intermediate.dense"), "out": pair(f"{name}.output.dense"),
                                 "norm": pair(f"{name}.output.LayerNorm")}}

    tables = {part: {"weight": tensors[f"bert.embeddings.{part}_embeddings.weight"]}
              for part in ("word", "position", "token_type")}
    return {"embeddings": tables | {"norm": pair("bert.embeddings.LayerNorm")},
            "encoder": [layer("bert.encoder.layer.0"), layer("bert.encoder.layer.1")],
            "pooler": pair("bert.pooler.dense"),
            "mlm": {"dense": pair("cls.predictions.transform.dense"),
                    "norm": pair("cls.predictions.transform.LayerNorm"),
                    "decoder": {"bias": tensors["cls.predictions.bias"]}},
            "nsp": pair("cls.seq_relationship")}


PARAMETERS = tiny_parameters()


def loss(config=TINY, **batch):
    return double("bert_loss")(PARAMETERS, config, BATCH | batch)


def test_the_loss_of_a_tiny_bert_is_the_published_one():
    assert loss() == pytest.approx(4.481629302687, abs=1e-12)
    assert loss(TINY | {"hidden_act": "gelu_new"}) == pytest.approx(4.481623663301, abs=1e-12)
    with scalars.fifty_digits():
        assert float(double("bert_loss")(*convert([PARAMETERS, TINY, BATCH]))) == pytest.approx(loss(), rel=1e-14)


def test_the_outputs_of_a_tiny_bert_are_the_published_ones():
    x = double("bert_encode")(PARAMETERS, TINY, *(BATCH[f] for f in ("input_ids", "input_mask", "segment_ids")))
    first = [-2.115146892516, 2.86622040229, 0.282219365393, -0.228195514014,
             -0.680989474798, -1.123737815628, 1.624483315578, -0.016832989407]
    assert x[0][0] == pytest.approx(first, abs=1e-11)
    pooled = double("pooler")(x, PARAMETERS["pooler"])
    assert pooled[1][:3] == pytest.approx([-0.942265739196, -0.87767526719, -0.97698386588], abs=1e-11)
    assert leaves(double("nsp_head")(pooled, PARAMETERS["nsp"])) == pytest.approx(
        [0.211829683417, -0.532288144577, 0.405858692785, -0.511465421726], abs=1e-11)
    table = PARAMETERS["embeddings"]["word"]["weight"]
    logits = double("mlm_head")(x[0][1], PARAMETERS["mlm"], table, "gelu", 1e-12)
    assert logits[:3] == pytest.approx([-1.142018082819, -0.580633036148, 0.885797764907], abs=1e-11)


def test_a_gradient_of_a_tiny_bert_is_the_published_one():
    exact, config, batch = convert(PARAMETERS), convert(TINY), convert(BATCH)

    def loss_of_bias(bias):
        return double("bert_loss")(exact | {"mlm": exact["mlm"] | {"decoder": {"bias": bias}}}, config, batch)

    slopes = derivative(loss_of_bias, {"bias": PARAMETERS["mlm"]["decoder"]["bias"]}, "bias")
    assert math.hypot(*map(float, slopes)) == pytest.approx(0.443976923693, abs=1e-11)


def test_slots_of_weight_zero_and_padded_tokens_change_nothing():
    more = {"masked_lm_positions": [[1, 3, 7, 5], [2, 4, 0, 0]], "masked_lm_ids": [[9, 11, 8, 3], [10, 12, 0, 1]],
            "masked_lm_weights": [[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]}
    assert loss(**more) == pytest.approx(loss(), rel=1e-15)
    padded = {"input_ids": [[*row, 5, 0] for row in BATCH["input_ids"]],
              "input_mask": [[*row, 0, 0] for row in BATCH["input_mask"]],
              "segment_ids": [[*row, 1, 0] for row in BATCH["segment_ids"]]}
    assert loss(**padded) == pytest.approx(loss(), rel=1e-14)


def test_the_releases_denominator_is_a_named_variant():
    masked_lm = 3.6604977465301802  # five targets
    assert loss(TINY | {"mlm_denominator_eps": 1e-5}) - loss() == pytest.approx(masked_lm * (5 / 5.00001 - 1), rel=1e-9)
    empty = loss(masked_lm_weights=[[0.0] * 3] * 2)
    assert empty == pytest.approx(loss() - masked_lm, rel=1e-14)
    assert loss(TINY | {"mlm_denominator_eps": 1e-5}, masked_lm_weights=[[0.0] * 3] * 2) == empty


def test_the_releases_mask_constant_differs_only_in_fully_masked_rows():
    release = TINY | {"mask_constant": -10000.0}
    assert loss(release) == pytest.approx(loss(), rel=1e-14)
    dead = {"input_mask": [[1] * 8, [0] * 8]}
    assert abs(loss(release, **dead) - loss(**dead)) > 1e-4


def test_the_key_bias_has_no_gradient_and_the_query_bias_has():
    p = {part: {"weight": drawn(4, 4), "bias": drawn(4)} for part in ("query", "key", "value", "output")}
    slopes = derivative(double("self_attention"), {"x": drawn(1, 3, 4), "p": p, "heads": 2}, "p", drawn(1, 3, 4))
    assert max(abs(float(slope)) for slope in slopes["key"]["bias"]) < 1e-30
    assert max(abs(float(slope)) for slope in slopes["query"]["bias"]) > 1e-3


def test_an_encoder_layer_runs_at_any_leading_shape():
    layer, x = PARAMETERS["encoder"][0], drawn(2, 3, 8)
    whole = double("encoder_layer")(x, layer, 2, None, "relu", 1e-12)
    assert shape(whole) == [2, 3, 8]
    close(double("encoder_layer")(x[1], layer, 2, None, "relu", 1e-12), whole[1], 1e-15)
