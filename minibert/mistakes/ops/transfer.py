"""Mistakes in adapters, matrices of low rank, projected attention, and in what is learnt of a teacher."""

from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, entry, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

SECTION = {"Q": "Transfer"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def unscaled() -> Replacement:
    """W + B A; s gets no gradient."""
    plain = edited(ops.low_rank, lambda given: {"scale": np.ones_like(given["scale"])})

    def low_rank_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        *others, ds = ops.low_rank_backward(dy, c)
        return *others, zeros(ds)

    return Replacement(plain.forward, low_rank_backward)


def reversed_divergence() -> Replacement:
    """T² Σ w Σ_c s_c (log s_c - log q_c) / denominator."""

    def soft_targets(
        logits: Array, *, target: Array, temperature: float, weights: Array, denominator: float
    ) -> tuple[Array, Cache]:  # fmt: skip
        t = logits.dtype.type(temperature)
        log_q, log_s = (ops.log_softmax(z.astype(logits.dtype) / t)[0] for z in (target, logits))
        s, w = np.exp(log_s), weights.astype(logits.dtype) * logits.dtype.type(temperature**2 / denominator)
        apart = log_s - log_q
        each = (s * apart).sum(-1, keepdims=True)
        return np.asarray((w * each[..., 0]).sum()), {"slope": (w / t)[..., None] * s * (apart - each)}

    return Replacement(soft_targets, lambda dy, c: dy * c["slope"])


def everywhere(given: dict[str, Any]) -> dict[str, Any]:
    """A mean over all places, padding among them."""
    return {"weights": np.ones_like(given["weights"]), "denominator": float(given["weights"].size)}


def without_skip() -> Replacement:
    """gelu(f W₁ᵀ + b₁) W₂ᵀ + b₂."""

    def adapter(f: Array, p: Any) -> tuple[Array, Cache]:
        y, c = layers.adapter(f, p)
        return y - f, c

    return Replacement(adapter, lambda dy, c: (lambda df, g: (df - dy, g))(*layers.adapter_backward(dy, c)))


def bent(name: str) -> Replacement:
    """f + act(f W₁ᵀ + b₁) W₂ᵀ + b₂, with the op of this name."""
    act, act_backward = getattr(ops, name), getattr(ops, f"{name}_backward")

    def adapter(f: Array, p: Any) -> tuple[Array, Cache]:
        c: Cache = {}
        h, c["down"] = ops.linear(f, **p["down"])
        h, c["act"] = act(h)
        h, c["up"] = ops.linear(h, **p["up"])
        return kernels.add(f, h), c

    def adapter_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dh, up = ops.linear_backward(dy, c["up"])
        df, down = ops.linear_backward(act_backward(dh, c["act"]), c["down"])
        return kernels.add(dy, df), {"up": up, "down": down}

    return Replacement(adapter, adapter_backward)


def behind_the_sum() -> Replacement:
    """LN(adapter(x + Drop(f)))."""

    def add_norm(
        x: Array, f: Array, p: Any, *, eps: float, keep: Array | None, rate: float
    ) -> tuple[Array, Cache]:  # fmt: skip
        c: Cache = {}
        h, c["dropout"] = ops.dropout(f, keep=keep, rate=rate)
        h, c["adapter"] = layers.adapter(kernels.add(x, h), p["adapter"])
        y, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
        return y, c

    def add_norm_backward(dy: Array, c: Cache) -> tuple[Array, Array, Any]:
        dh, norm = ops.layer_norm_backward(dy, c["norm"])
        dx, own = layers.adapter_backward(dh, c["adapter"])
        return dx, ops.dropout_backward(dx, c["dropout"]), {"norm": norm, "adapter": own}

    return Replacement(add_norm, add_norm_backward)


def ungated() -> Replacement:
    """V_D SA(V_E x)."""

    def projected_attention(x: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
        _, c = layers.projected_attention(x, p, **given)
        z, up = ops.linear(c["up"]["x"], **p["up"])
        return z, {**c, "up": up, "gelu": None}

    def projected_attention_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dz, up = ops.linear_backward(dy, c["up"])
        dqkv = ops.attention_backward(ops.merge_heads_backward(dz, c["merge"]), c["attention"])
        found = [layers.projected_backward(d, c, name) for name, d in zip(NAMES, dqkv, strict=True)]
        dx, down = ops.linear_backward(kernels.add(*(dz for dz, _ in found)), c["down"])
        own = {name: g for name, (_, g) in zip(NAMES, found, strict=True)}
        return dx, {**own, "up": up, "down": down}

    return Replacement(projected_attention, projected_attention_backward)


NAMES = ("query", "key", "value")


def _adapted(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Where an adapter stands before the sum."""
    held = {site.path.removesuffix(".adapter") for site in at if site.name == "adapter"}
    return swap("LN(adapter(x + f))", "add_norm", behind_the_sum())(subject, [s for s in at if s.path in held])


def _unscaled_slopes(g: tuple[Array, ...], dy: Array, c: Cache) -> tuple[Array, ...]:
    dweight, ddown, dup, ds = g
    return dweight, ddown / c["scale"], dup / c["scale"], ds


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "Q01", "the scale of LoRA left out", "W + α/R B A",
    "own knowledge: merged as W + B A; with α = R nothing shows", "output", "OP-LORA-1",
    mutants=[swap("s = 1", "low_rank", unscaled())],
)  # fmt: skip
entry(
    "Q02", "LoRA's scale left out of the gradient", "dA = s Bᵀ dW', dB = s dW' Aᵀ",
    "own knowledge", "gradient", "OP-LORA-2",
    mutants=[swap("dA and dB without s", "low_rank", graded(ops.low_rank, _unscaled_slopes), section="gradients")],
)  # fmt: skip
entry(
    "Q03", "T² left out of the loss against soft targets", "T² Σ q (log q - log s)",
    "arXiv 1503.02531, section 2: else its gradient shrinks as 1/T²", "loss", "OP-SOFT-1",
    mutants=[swap("without T²", "soft_targets",
                  edited(ops.soft_targets, lambda given: {"denominator":
                                                          given["denominator"] * given["temperature"] ** 2}))],
)  # fmt: skip
entry(
    "Q04", "soft targets of which one side alone is softened", "both by T",
    "own knowledge", "loss", "OP-SOFT-1",
    mutants=[swap("the teacher's logits as they are", "soft_targets",
                  edited(ops.soft_targets, lambda given: {"target": given["target"] * given["temperature"]}))],
)  # fmt: skip
entry(
    "Q05", "the divergence the other way round", "of the teacher from the student: Σ q (log q - log s)",
    "own knowledge: arguments of a KL function exchanged", "loss", "OP-SOFT-1",
    mutants=[swap("Σ s (log s - log q)", "soft_targets", reversed_divergence())],
)  # fmt: skip
entry(
    "Q06", "an adapter without its own skip", "f + gelu(f W₁ᵀ + b₁) W₂ᵀ + b₂",
    "own knowledge: it then begins at 0, not at f", "output", "TRANS-ADAPT-1",
    mutants=[swap("no f", "adapter", without_skip())],
)  # fmt: skip
entry(
    "Q07", "another activation in an adapter", "GELU by tanh, as in the release",
    "src adapter-hub/adapters, whose houlsby config has swish and whose pfeiffer has relu", "output", "TRANS-ADAPT-1",
    mutants=[swap("ReLU", "adapter", bent("relu")), swap("GELU by erf", "adapter", bent("gelu"))],
)  # fmt: skip
entry(
    "Q08", "an adapter behind the residual sum", "on the sub-layer's output, before x is added",
    "src adapter-hub/adapters, original_ln_before and residual_before_ln of its configs", "output", "TRANS-ADAPT-1",
    mutants=[_adapted],
)  # fmt: skip
entry(
    "Q09", "projected attention without its GELU", "gelu(V_D SA(V_E x)), as released",
    "arXiv 1902.02671, section 3, has none; src AsaCooperStickland/Bert-n-Pals modeling.py has it", "output",
    "TRANS-PAL-1", mutants=[swap("V_D SA(V_E x)", "projected_attention", ungated())],
)  # fmt: skip
entry(
    "Q10", "projected attention to padding", "with the layer's mask",
    "own knowledge", "output", "TRANS-PAL-1",
    mutants=[swap("no mask", "projected_attention", edited(layers.projected_attention, lambda _: {"mask": None}))],
)  # fmt: skip
entry(
    "Q11", "a teacher whose word counts at padding, too", "the mean over the tokens that are there",
    "own knowledge: a mean over all places of a padded batch", "loss", "TRANS-DISTIL-2",
    mutants=[swap("padding's logits", "soft_targets", edited(ops.soft_targets, everywhere), r".*_taught\.loss"),
             swap("padding's states", "mean_squared_error", edited(ops.mean_squared_error, everywhere),
                  r"states_taught\.losses\.\d+")],
)  # fmt: skip
