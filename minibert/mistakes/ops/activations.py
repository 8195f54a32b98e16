"""Mistakes in the activation."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import families, layers, ops
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import Mutant, entry, field, lineage, only, swap
from minibert.mistakes.ops.slopes import GELU_SLOPES, bent, placed
from minibert.mistakes.swap import Replacement, Site, edited, graded

SECTION = {"G": "Activation"}

Array = np.ndarray
Cache = dict[str, Any]

ERF, TANH = ("gelu",), ("gelu_new", "gelu_pytorch_tanh")


def named(name: str) -> Replacement:
    """The activation of that name, whatever the configuration says."""
    return edited(layers.activation, lambda given: {"name": name})


def pointwise(f: Callable[[Array], tuple[Array, Array]]) -> Replacement:
    """An elementwise function: f(x) -> (y, dy/dx)."""

    def activation(x: Array, *, name: str) -> tuple[Array, Cache]:
        y, slope = f(x)
        return y, {"slope": slope}

    return Replacement(activation, lambda dy, c: dy * c["slope"])


def polynomial(a: float, b: float, power: int = 3) -> Callable[[Array], tuple[Array, Array]]:
    """½x(1 + tanh(a(x + b xⁿ)))."""

    def f(x: Array) -> tuple[Array, Array]:
        t = np.tanh(a * (x + b * x**power))
        return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * a * (1 + power * b * x ** (power - 1))

    return f


def sigmoid_gelu(x: Array) -> tuple[Array, Array]:
    """x σ(1.702 x)."""
    s = ops.sigmoid(1.702 * x)[0]
    return x * s, s + 1.702 * x * s * (1 - s)


def silu(x: Array) -> tuple[Array, Array]:
    """x σ(x)."""
    s = ops.sigmoid(x)[0]
    return x * s, s + x * s * (1 - s)


def mish(x: Array) -> tuple[Array, Array]:
    """x tanh(log(1 + eˣ))."""
    t = np.tanh(np.logaddexp(0, x))
    return x * t, t + x * (1 - t * t) * ops.sigmoid(x)[0]


def sigmoid_times(value: float) -> Callable[[Array], tuple[Array, Array]]:
    """x σ(value x)."""

    def f(x: Array) -> tuple[Array, Array]:
        s = ops.sigmoid(value * x)[0]
        return x * s, s + value * x * s * (1 - s)

    return f


def leaky(value: float) -> Callable[[Array], tuple[Array, Array]]:
    """x, below 0 times a value."""
    return lambda x: (np.where(x > 0, x, value * x), np.where(x > 0, 1, value).astype(x.dtype))


def elu(value: float, width: float) -> Callable[[Array], tuple[Array, Array]]:
    """x, below 0 value·(exp(x/width) - 1)."""

    def f(x: Array) -> tuple[Array, Array]:
        below = np.minimum(x, 0) / width
        return np.where(x > 0, x, value * np.expm1(below)), np.where(x > 0, 1, value / width * np.exp(below))

    return f


def _twice() -> Replacement:
    """The activation of the activation."""
    f, f_backward = layers.activation.__wrapped__, layers.activation_backward.__wrapped__

    def activation(x: Array, *, name: str) -> tuple[Array, Cache]:
        y, first = f(x, name=name)
        y, second = f(y, name=name)
        return y, {"own": (first, second)}

    def activation_backward(dy: Array, c: Cache) -> Array:
        first, second = c["own"]
        return f_backward(f_backward(dy, second), first)

    return Replacement(activation, activation_backward)


def of_erf(inside: float = 0.5**0.5, outside: float = 0.5) -> Callable[[Array], tuple[Array, Array]]:
    """outside·x(1 + erf(inside·x))."""

    def f(x: Array) -> tuple[Array, Array]:
        z = x * (inside * 2**0.5)  # GELU's own argument, so that its erf serves
        share = 2 * _share(z, ops.gelu(z)[0])
        slope = 2 * inside / math.sqrt(math.pi) * np.exp(-np.square(inside * x))
        return outside * x * share, outside * (share + x * slope)

    return f


def activated(*at: str) -> Replacement:
    """A feed-forward with its activation at these of "before", "between" and "behind" its two linear layers."""

    def feed_forward(x: Array, p: Any, *, act: str, dropout: Any = None) -> tuple[Array, Cache]:
        c: Cache = {}
        h, c["first"] = _if("before" in at, x, act)
        h, c["in"] = ops.linear(h, **p["in"])
        if "between" in at:
            h, c["act"] = layers.activation(h, name=act)
        if dropout is not None:
            h, c["dropout"] = ops.dropout(h, keep=dropout, rate=0.0)
        y, c["out"] = ops.linear(h, **p["out"])
        y, c["last"] = _if("behind" in at, y, act)
        return y, c

    def feed_forward_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dh, out = ops.linear_backward(_if_backward(dy, c["last"]), c["out"])
        dh = ops.dropout_backward(dh, c["dropout"]) if "dropout" in c else dh
        dh = layers.activation_backward(dh, c["act"]) if "act" in c else dh
        dx, into = ops.linear_backward(dh, c["in"])
        return _if_backward(dx, c["first"]), {"in": into, "out": out}

    return Replacement(feed_forward, feed_forward_backward)


def _if(there: bool, x: Array, act: str) -> tuple[Array, tuple]:
    """An activation that may be absent; its cache in a tuple, which has no name in the trace."""
    if not there:
        return x, ()
    y, c = layers.activation(x, name=act)
    return y, (c,)


def _if_backward(dy: Array, held: tuple) -> Array:
    return layers.activation_backward(dy, held[0]) if held else dy


def _identity(x: Array) -> tuple[Array, Array]:
    return x, np.ones_like(x)


def _other_slope(forward: str, slope: str) -> Replacement:
    """One form's value with another form's derivative."""

    def activation(x: Array, *, name: str) -> tuple[Array, Cache]:
        return getattr(ops, forward)(x)[0], getattr(ops, slope)(x)[1]

    return Replacement(activation, lambda dy, c: getattr(ops, f"{slope}_backward")(dy, c), faithful=False)


def _sloped(slope: Callable[[Array, Array], Array]) -> Replacement:
    """The right value with another derivative: slope(x, y)."""

    def edit(g: Array, dy: Array, c: Cache) -> Array:
        if c["name"] not in GELUS:  # a head may have another
            return g
        x = c["cache"]["x"]
        return dy * slope(x, getattr(ops, layers.ACTIVATIONS[c["name"]])(x)[0]).astype(dy.dtype)

    return graded(layers.activation, edit)


def _share(x: Array, y: Array) -> Array:
    """Φ(x) of xΦ(x)."""
    return np.where(x == 0, 0.5, y / np.where(x == 0, 1, x))


def given(names: tuple[str, ...], makers: list[Callable]) -> list[Callable]:
    """The makers, only where the configuration's activation is one of `names`."""
    return [
        lambda subject, at, maker=maker: maker(subject, at) if _said(subject) in names else []
        for maker in makers
    ]


def _said(subject: Any) -> str:
    """The configuration's activation, under the name that `layers.ACTIVATIONS` has for what it is."""
    act = field(subject, "hidden_act")
    return getattr(families.family(subject.family), "ACTS", {}).get(act, act)


def of_activation(what: str, replacement: Replacement, **fields: Any) -> Callable[..., list[Mutant]]:
    """The activation replaced."""
    return swap(what, "activation", replacement, **fields)


GELUS = ERF + TANH
ROOT = math.sqrt(2 / math.pi)
to_tanh, to_erf = of_activation("the tanh form", named("gelu_new")), of_activation("the erf form", named("gelu"))


def _to_tanh(subject: Subject, at: list[Site]) -> list[Mutant]:
    """A variant in BERT and its kin alone, but for RoBERTa's and ELECTRA's, whose releases have erf."""
    kin = {*lineage(subject.family)}
    kept = "bert" in kin and kin.isdisjoint({"roberta", "electra"})
    return [mutant if kept else replace(mutant, variant=False) for mutant in to_tanh(subject, at)]


entry(
    "G01", "tanh GELU where erf was trained / expected",
    "erf for RoBERTa and ELECTRA; for BERT declare it: GB released with erf (fe35475, 2018-10-31) and switched to tanh "
    "(bee6030, 2019-02-07), torch ports keep erf",
    "src GB modeling.py:275 (git log -S), src ELECTRA modeling.py:310 (erf); Blaizzy/mlx-embeddings#81; HF#11364; "
    "CyberZHG/keras-bert#129; intel BigDL#1289",
    "output", "BERT-ACT-2", when="where the configuration says gelu", variant=True,
    mutants=given(ERF, [_to_tanh]),
)  # fmt: skip
entry(
    "G02", "erf where tanh was trained", 'tanh ("gelu_new")',
    "src ALBERT modeling.py:310; HF#2395; kyutai-labs/pocket-tts#278",
    "output", "BERT-ACT-1", when="where the configuration says gelu_new, as ALBERT's and GPT-2's",
    mutants=given(TANH, [to_erf]),
)  # fmt: skip
entry(
    "G03", "polynomial coefficients swapped or mistyped", "sqrt(2/pi)(x + 0.044715 x^3)",
    "HF#11514", "output", "OP-GELT-1", when="with the tanh form", cause_of=("G01",),
    mutants=given(
        GELUS,
        [
            of_activation(text, pointwise(polynomial(*constants)))
            for text, constants in (
                ("0.44715 for 0.044715", (ROOT, 0.44715)),
                ("0.0044715 for 0.044715", (ROOT, 0.0044715)),
                ("0.04715 for 0.044715", (ROOT, 0.04715)),
                ("0.047715 for 0.044715", (ROOT, 0.047715)),
                ("0.044175 for 0.044715", (ROOT, 0.044175)),
                ("0.045715 for 0.044715", (ROOT, 0.045715)),
                ("0.044715 and √(2/π) change places", (0.044715, ROOT)),
                ("2/π for √(2/π)", (2 / math.pi, 0.044715)),
                *((f"{cut} for √(2/π)", (cut, 0.044715)) for cut in (0.7978, 0.798, 0.8)),
                ("√2/π for √(2/π)", (math.sqrt(2) / math.pi, 0.044715)),
                ("√(π/2) for √(2/π)", (1 / ROOT, 0.044715)),
                ("√(2/π) forgotten", (1.0, 0.044715)),
                ("x² for x³", (ROOT, 0.044715, 2)),
                ("the cubic term forgotten", (ROOT, 0.0)),
            )
        ],
    ),
)  # fmt: skip
entry(
    "G04", "activation hard-coded, config ignored", "read hidden_act",
    "HF#13679", "output", "BERT-ACT-1", cause_of=("G01", "G02"),
    mutants=[
        *given((*TANH, "relu", "tanh", "sigmoid"), [of_activation("the erf GELU is hard-coded", named("gelu"))]),
        *given((*ERF, "relu", "tanh", "sigmoid"), [of_activation("the tanh GELU is hard-coded", named("gelu_new"))]),
        *given((*GELUS, "tanh", "sigmoid"), [of_activation("ReLU is hard-coded", named("relu"))]),
        *given((*GELUS, "relu", "sigmoid"), [of_activation("tanh is hard-coded", named("tanh"))]),
    ],
)  # fmt: skip
entry(
    "G05", "gelu where family uses relu", "ERNIE 1.0 relu; XLNet configurable",
    "tensorflow_ernie#1; src XLNet",
    "output", "BERT-ACT-1", when="where the configuration says relu",
    mutants=given(("relu",), [to_erf, to_tanh]),
)  # fmt: skip
entry(
    "G06", "gated halves swapped", "as checkpoint",
    "aosama/astronomical#597", "output", families=("modernbert",),
)  # fmt: skip
entry(
    "G07", "tanh-GELU fp16 gradient NaN (x^3 overflow)", "compute in fp32",
    "fairseq#2235", "gradient", "OP-GELT-2", when="with the tanh form; in float16",
    reason="x³ overflows float16 beyond |x| = 40, which no probe activation reaches; float32 and float64 never show it",
)  # fmt: skip
entry(
    "G08", "CPU and GPU approximate-gelu gradient differ", "one formula",
    "TF#47724", "gradient", "OP-GELT-2", when="with either form",
    mutants=[
        *given(
            TANH,
            [of_activation("erf's derivative under tanh's value", _other_slope("gelu_tanh", "gelu"),
                           section="gradients")],
        ),
        *given(
            ERF,
            [of_activation("tanh's derivative under erf's value", _other_slope("gelu", "gelu_tanh"),
                           section="gradients")],
        ),
    ],
)  # fmt: skip
entry(
    "G09", "activation forgotten", "after intermediate dense",
    "HF src add_new_model.md", "output", "BERT-ACT-1", cause_of=("H02",),
    mutants=[of_activation("no activation", pointwise(_identity))],
)  # fmt: skip
entry(
    "G10", 'option names mislead: "approx on" = erf, "precise" = tanh, "gelu_accurate" = tanh',
    "test by value at x = -2.70",
    "tenstorrent/tt-metal#1262; mlx-embeddings#81; fairseq#2235", "output", "OP-GELU-1",
    cause_of=("G01", "G02"),
    mutants=[*given(ERF, [to_tanh]), *given(TANH, [to_erf])],
)  # fmt: skip


def _as_configured(subject: Any, at: Any) -> list[Mutant]:
    """The activation of the layers in the head that has its own."""
    what, head = "the layers' activation in the LM head", r"masked_lm\.head\.act"
    return swap(what, "activation", named(field(subject, "hidden_act")), head)(subject, at)
entry(
    "G11", "the LM head takes the layers' activation",
    "erf GELU in the heads of RoBERTa and ELECTRA's generator, in ports, whatever hidden_act says; releases take it",
    "src HF modeling_roberta.py, modeling_electra.py; src fairseq, electra",
    "output", "ROB-MLM-1", families=("roberta", "electra"), variant=True,
    mutants=[only("roberta electra", _as_configured)],
)  # fmt: skip
entry(
    "G12", "the sigmoid form of GELU, x·sigmoid(1.702 x)", "erf, or tanh where the configuration says so",
    "own knowledge", "output", "BERT-ACT-1",
    mutants=[*given(GELUS, [of_activation("x·sigmoid(1.702 x)", pointwise(sigmoid_gelu))])],
)  # fmt: skip
entry(
    "G13", "SiLU for the activation", "the configuration's",
    "own knowledge", "output", "BERT-ACT-1",
    mutants=[of_activation("x·sigmoid(x)", pointwise(silu))],
)  # fmt: skip
entry(
    "G14", "another derivative under GELU's value", "Φ(x) + x φ(x), or the tanh form's own",
    "own knowledge", "gradient", "OP-GELU-1", when="with either form",
    mutants=given(GELUS, [
        of_activation(f"the derivative is {what}", _sloped(slope), section="gradients")
        for what, slope in (
            ("Φ(x) alone", _share),
            ("ReLU's", lambda x, y: x > 0),
            ("1", lambda x, y: np.ones_like(x)),
            ("that of x·sigmoid(1.702 x)", lambda x, y: sigmoid_gelu(x)[1]),
        )
    ] + [placed(f"the derivative is {what}", "activation", bent(slope, GELUS)) for what, slope in GELU_SLOPES]),
)  # fmt: skip
SELU = 1.0507009873554805, 1.6732632423543772  # λ and α (arXiv 1706.02515, section 2)
entry(
    "G15", "an activation that no release has", "the configuration's",
    "own knowledge", "output", "BERT-ACT-1",
    mutants=[
        of_activation(what, pointwise(f))
        for what, f in (
            ("ReLU squared", lambda x: (np.maximum(x, 0) ** 2, 2 * np.maximum(x, 0))),
            ("SELU", lambda x: (SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(np.minimum(x, 0))),
                                SELU[0] * np.where(x > 0, 1, SELU[1] * np.exp(np.minimum(x, 0))))),
            ("Mish, x tanh(softplus(x))", mish),
            ("hard swish, x ReLU6(x + 3)/6", lambda x: (x * np.clip(x + 3, 0, 6) / 6, np.where(
                x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6)).astype(x.dtype))),
            ("softplus", lambda x: (np.logaddexp(0, x), ops.sigmoid(x)[0])),
        )
    ] + [
        solving.solvable(lambda v, of=of, what=what: of_activation(what.format(solving.shown(v)), pointwise(of(v))),
                         typical, likely, least=1e-6, most=1e2)
        for of, what, typical, likely in (
            (leaky, "leaky ReLU, {}", 0.01, (0.1, 0.2, 0.3, 0.25)),
            (lambda v: elu(v, 1.0), "ELU, {} (eˣ - 1) below 0", 1.0, (0.5, 0.1, 2.0)),
            (lambda v: elu(v, v), "CELU of α {}", 0.5, (2.0, 0.1)),
        )
    ],
)  # fmt: skip
entry(
    "G16", "another constant in the GELU", "½x(1 + erf(x/√2))",
    "own knowledge", "output", "OP-GELU-1", when="with either form; 1.702 in the sigmoid form is G12",
    mutants=given(GELUS, [
        solving.solvable(of, typical, likely, due, **bounds)
        for of, typical, likely, due, bounds in (
            (lambda v: of_activation(f"x·sigmoid({solving.shown(v)} x)", pointwise(sigmoid_times(v))),
             1.7, (1.5, 1.6, 1.703, 2.0, 0.5), None, {"least": 1e-2, "most": 1e2}),
            (lambda v: of_activation(f"erf({solving.shown(v)} x) for erf(x/√2)", pointwise(of_erf(inside=v))),
             1.0, (2**0.5, 0.5), 0.5**0.5, {"least": 1e-2, "most": 1e2}),
            (lambda v: of_activation(f"{solving.shown(v)} x (1 + erf(x/√2)) for ½", pointwise(of_erf(outside=v))),
             1.0, (2.0, 0.25), 0.5, {"least": 1e-3, "most": 1e2}),
        )
    ]),
)  # fmt: skip
entry(
    "G18", "the activation taken twice", "once",
    "own knowledge", "output", "BERT-ACT-1",
    mutants=[of_activation("the activation of the activation", _twice()),
             of_activation("the activation of the activation", _twice(), silent=r"(forward|gradients)/.*\.act")],
)  # fmt: skip
entry(
    "G17", "the activation elsewhere in the feed-forward", "between its two linear layers",
    "own knowledge", "output", "BERT-ACT-1",
    mutants=[
        swap("once more behind the second", "feed_forward", activated("between", "behind")),
        swap("in front of the first instead", "feed_forward", activated("before")),
        swap("behind the second instead", "feed_forward", activated("behind")),
        swap("once more in front of the first", "feed_forward", activated("before", "between")),
    ],
)  # fmt: skip
