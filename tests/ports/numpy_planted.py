"""Mistakes of backwards by hand, planted in `numpy_bert` by somebody who had not seen the catalogue."""

import types
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minibert.checkpoint import safetensors
from minibert.golden import case as cases

SOURCE = Path(__file__).with_name("numpy_bert.py")


class Fault(NamedTuple):
    """case: of BERT; kind: what is handed over; ids: what it is called; edits: (old, new) text of the port."""

    case: str
    kind: str
    ids: str = ""
    edits: tuple[tuple[str, str], ...] = ()


def fault(case: str, kind: str, ids: str, *edits: tuple[str, str]) -> Fault:
    """A `Fault` of these edits."""
    return Fault(case, kind, ids, edits)


def candidate(planted: Fault) -> dict[str, np.ndarray]:
    """What the port gives with the mistake in it, of the tensors that this kind of dump has."""
    text = SOURCE.read_text(encoding="utf-8")
    for old, new in planted.edits:
        assert old in text, old
        text = text.replace(old, new)
    port = types.ModuleType("numpy_bert")
    exec(compile(text, str(SOURCE), "exec"), port.__dict__)
    case = cases.read(f"bert/{planted.case}")
    weights, inputs = (safetensors.read(case.path / f"{part}.safetensors") for part in ("weights", "inputs"))
    facts = {**case.facts, "optimizer": None}
    with np.errstate(all="ignore"):
        found = port.candidate({name: a.astype(np.float32) for name, a in weights.items()}, inputs, facts)
    return {key: a for key, a in found.items() if handed_over(key, planted.kind, case)}


def handed_over(key: str, kind: str, case: cases.Case) -> bool:
    """Of "outputs and gradients" those of parameters, what the heads give, and losses."""
    section, _, name = key.partition("/")
    weight = f"weights/{name}" in case.entries
    return kind == "full" or (
        weight if section == "gradients" else name.startswith(("cls.", "loss")) and "transform" not in name
    )


PLANTED = {
    "LayerNorm backward lacks the term through the mean": fault(
        "published",
        "full",
        "L12",
        ("(dxhat - mean1 - xhat * mean2)", "(dxhat - xhat * mean2)"),
    ),
    "the variance's term in LayerNorm backward has the wrong sign": fault(
        "untied",
        "outputs and gradients",
        "L12",
        ("(dxhat - mean1 - xhat * mean2)", "(dxhat - mean1 + xhat * mean2)"),
    ),
    "gamma multiplies after the means are taken away in LayerNorm backward": fault(
        "published",
        "full",
        "L12",
        ("dxhat = dy * weight", "dxhat = dy"),
        (
            "return rstd * (dxhat - mean1 - xhat * mean2), dweight, dbias",
            "return weight * rstd * (dxhat - mean1 - xhat * mean2), dweight, dbias",
        ),
    ),
    "gamma's gradient uses the centred input, not divided by the deviation": fault(
        "corners",
        "full",
        "L30",
        ("(dy * xhat).sum(axes)", "(dy * xhat / rstd).sum(axes)"),
    ),
    "gradients of gamma and beta are of the last sequence alone: = where += should be": fault(
        "published",
        "full",
        "O48",
        (
            "(dy * xhat).sum(axes), dy.sum(axes)",
            "(dy * xhat).reshape(-1, *dy.shape[-2:])[-1].sum(0), dy.reshape(-1, *dy.shape[-2:])[-1].sum(0)",
        ),
    ),
    "the density in GELU's derivative lacks the root of two pi": fault(
        "published",
        "outputs and gradients",
        "G14",
        ("return np.exp(-0.5 * x * x) / x.dtype.type((2 * np.pi) ** 0.5)", "return np.exp(-0.5 * x * x)"),
    ),
    "GELU's derivative is taken at the output, not the input": fault(
        "published",
        "full",
        "G14",
        ("dh = act_backward(da, h, kind)", "dh = act_backward(da, a, kind)"),
    ),
    "softmax backward takes away the sum of dp, not of p * dp": fault(
        "published",
        "full",
        "A37",
        ("(dp * p).sum(-1, keepdims=True))", "dp.sum(-1, keepdims=True))"),
    ),
    "softmax backward sums over the queries": fault(
        "tanh",
        "full",
        "A37",
        ("(dp * p).sum(-1, keepdims=True))", "(dp * p).sum(-2, keepdims=True))"),
    ),
    "the keys' gradient lacks the transposition of dscores": fault(
        "published",
        "full",
        "A54",
        ("dk = dscores.transpose(0, 1, 3, 2) @ q * scale", "dk = dscores @ q * scale"),
    ),
    "the gradients of queries and keys are stored in each other's place": fault(
        "published",
        "full",
        "A54",
        ("dq2, dk2, dv2 = merge(dq), merge(dk), merge(dv)", "dq2, dk2, dv2 = merge(dk), merge(dq), merge(dv)"),
    ),
    "the keys' part is forgotten in the gradient of the layer's input": fault(
        "tanh",
        "full",
        "A56",
        ("dx = dsum1 + dxq + dxk + dxv", "dx = dsum1 + dxq + dxv"),
    ),
    "the values' gradient uses probabilities before dropout": fault(
        "dropout",
        "full",
        "D29",
        ("dv = dropped.transpose", "dv = probs.transpose"),
    ),
    "the attention's residual gets the dropped gradient too": fault(
        "dropout",
        "full",
        "L31",
        ("dx = dsum1 + dxq + dxk + dxv", "dx = dao + dxq + dxk + dxv"),
    ),
    "the attention's residual passes the gradient from above the LayerNorm": fault(
        "untied",
        "full",
        "L31",
        ("dx = dsum1 + dxq + dxk + dxv", "dx = dx1 + dxq + dxk + dxv"),
    ),
    "the position rows' gradient is the mean over the batch": fault(
        "untied",
        "outputs and gradients",
        "E25",
        ("dsummed.sum(0, keepdims=True)", "dsummed.mean(0, keepdims=True)"),
    ),
    "the masked LM gradient is divided by all slots, the loss by those that count": fault(
        "published",
        "full",
        "S18",
        ("* weight[..., None] / n", "* weight[..., None] / dtype.type(weight.size)"),
    ),
    "tanh's derivative is taken of the input: 1 - x^2": fault(
        "untied",
        "full",
        "H26",
        ("(1 - pooled**2)", "(1 - pd**2)"),
    ),
}
