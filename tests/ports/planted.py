"""Mistakes planted one at a time in the torch port, each as a porter makes it by accident.

`PLANTED[name]` starts with the id of the catalogue of known mistakes, or None where the honest answer is "unknown".
`candidate(name, …)` is `torch_from_spec.run` with that mistake; `case(name)` a case which shows it. `PAIRS` holds two
mistakes at once. The tensors named in `first` are those of three layers.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

from . import probe
from . import torch_from_spec as port

right = SimpleNamespace(**vars(port))  # the port as it stands, whatever is planted in it later
Arrays = dict[str, np.ndarray]
Edit = Callable[[dict], dict]
Loading = Callable[[Arrays, dict], Arrays]  # weights and configuration -> weights
NOTHING: Mapping[str, Any] = MappingProxyType({})

WORD, POSITION, TYPE = (f"bert.embeddings.{name}_embeddings" for name in ("word", "position", "token_type"))
LAYER = [f"bert.encoder.layer.{i}" for i in range(3)]
SELF = [f"{layer}.attention.self" for layer in LAYER]
OPTIMIZER = {"peak": 1e-3, "warmup": 5, "total": 40, "start": 3, "decay": 0.02}


def same(x: dict, config: dict | None = None) -> dict:
    """No edit."""
    return x


class Fault(NamedTuple):
    """One planted mistake.

    mistake: its id in the catalogue, or None. first: the first tensor that must differ, in the order in which `run`
    gives them. port: functions of torch_from_spec to replace. weights, inputs, config, optimizer: edits of what goes
    in. needs: the same for the case itself, where the probe hides the mistake. unobservable: why nothing differs.
    """

    mistake: str | None
    first: str
    port: Mapping[str, Any] = NOTHING
    weights: Loading = same
    inputs: Edit = same
    config: Edit = same
    optimizer: Edit = same
    needs: Mapping[str, Edit] = NOTHING
    unobservable: str = ""


def forward(mistake: str | None, path: str, **how: Any) -> Fault:
    return Fault(mistake, f"forward/{path}", **how)


def backward(mistake: str | None, path: str, **how: Any) -> Fault:
    return Fault(mistake, f"gradients/{path}", **how)


def step(mistake: str | None, path: str, **how: Any) -> Fault:
    return Fault(mistake, f"steps/{path}", **how)


def only(where: str, **wrong: Callable) -> dict[str, Callable]:
    """Functions that are wrong where the path, their last argument, contains `where`, and right elsewhere."""

    def choice(name: str) -> Callable:
        return lambda *args: (wrong[name] if where in args[-1] else getattr(right, name))(*args)

    return {name: choice(name) for name in wrong}


def fields(**new: Any) -> Edit:
    return lambda old: old | new


def changed(where: str, f: Callable[[np.ndarray], np.ndarray], but: str = "LayerNorm") -> Loading:
    """Weights whose name contains `where` (and not `but`) go through f."""
    return lambda ws, config: {n: f(w) if where in n and not (but and but in n) else w for n, w in ws.items()}


def exchanged(a: str, b: str) -> Loading:
    """Weights under a and under b trade places."""

    def edit(ws: Arrays, config: dict) -> Arrays:
        other = {n: n.replace(a, b) if a in n else n.replace(b, a) for n in ws}
        return {n: ws[other[n]] for n in ws}

    return edit


def fresh(w: np.ndarray, seed: int = 7) -> np.ndarray:
    """What an initialiser leaves in a tensor that nobody loaded."""
    return 0.02 * np.random.default_rng(seed).standard_normal(w.shape) if w.ndim > 1 else np.zeros_like(w)


def square(w: np.ndarray) -> bool:
    return w.ndim == 2 and w.shape[0] == w.shape[1]


# ---- embeddings and batch -------------------------------------------------------------------------------------------


def positions_of_kept(p, path):
    """Counts only where the mask is 1."""
    return torch.clamp(torch.cumsum(p.inputs["input_mask"], 1) - 1, min=0)


def positions_of_non_padding(p, path):
    """Counts only where the id is not the padding id."""
    return torch.clamp(torch.cumsum((p.inputs["input_ids"] != p.config["pad_token_id"]).long(), 1) - 1, min=0)


def left_padded(batch):
    """The padding goes to the front, everything else moves right; positions stay 0 ... T - 1."""
    out = dict(batch)
    T = batch["input_ids"].shape[1]
    last = np.where(batch["input_mask"] > 0, np.arange(T), -1).max(1)  # a row without keys stays where it is
    lengths = np.where(last < 0, T, last + 1)
    for name in ("input_ids", "input_mask", "segment_ids"):
        out[name] = np.stack([np.roll(row, T - n) for row, n in zip(batch[name], lengths, strict=True)])
    out["masked_lm_positions"] = batch["masked_lm_positions"] + (T - lengths)[:, None] * (
        batch["masked_lm_weights"] > 0
    )
    return out


def trainable_padding(p, ids, path):
    return p.keep(path, p.weights[path + ".weight"][ids])


def padding_in_positions(p, ids, path):
    """padding_idx given to the position table."""
    y = p.weights[path + ".weight"][ids]
    return p.keep(path, torch.where((ids == p.config["pad_token_id"])[..., None], y.detach(), y))


def last_of_repeated(p, ids, path):
    """The gradient of an id that occurs again later is overwritten."""
    flat = ids.flatten().tolist()
    last = torch.tensor([i not in flat[n + 1 :] for n, i in enumerate(flat)]).reshape(ids.shape)
    pad = ids == p.config["pad_token_id"]
    y = p.weights[path + ".weight"][ids]
    return p.keep(path, torch.where((last & ~pad)[..., None], y, y.detach()))


def zero_row(row):
    def edit(w):
        w = w.copy()
        w[row] = 0
        return w

    return edit


def row_doubled(w):
    return w * (1.0 + (np.arange(len(w)) == 3))[:, None]


def rows_exchanged(w):
    """The second and the fifth row in each other's place."""
    order = np.arange(len(w))
    order[[1, 4]] = 4, 1
    return w[order]


def dropped_before_norm(p, path):
    ids = p.inputs["input_ids"]
    word = port.lookup(p, ids, f"{path}.word_embeddings")
    token_type = port.lookup(p, p.inputs["segment_ids"], f"{path}.token_type_embeddings")
    x = word + token_type + port.lookup(p, port.position_ids(p, path), f"{path}.position_embeddings")
    x = port.dropout(p, x, p.config["hidden_dropout_prob"], f"{path}.dropout")
    return p.keep(path, p.keep(f"{path}.LayerNorm", port.layer_norm(p, x, f"{path}.LayerNorm")))


def times_root_of_width(p, ids, path):
    y = right.lookup(p, ids, path) * math.sqrt(p.config["hidden_size"])
    return p.keep(path, y)


EMBEDDINGS = {
    "segments_all_zero": forward("E01", TYPE, inputs=lambda b: b | {"segment_ids": 0 * b["segment_ids"]}),
    "segments_swapped_with_mask": forward(
        "A18", TYPE, inputs=lambda b: b | {"segment_ids": b["input_mask"], "input_mask": b["segment_ids"]}
    ),
    "positions_skip_masked": forward("E04", POSITION, port={"position_ids": positions_of_kept}),
    "positions_skip_padding_ids": forward("E04", POSITION, port={"position_ids": positions_of_non_padding}),
    "positions_start_at_2": forward(
        "E03", POSITION, port={"position_ids": lambda p, path: right.position_ids(p, path) + 2}
    ),
    "left_padding": forward("E07", WORD, inputs=left_padded),
    "eps_right_in_embeddings_only": forward(
        "E08",
        f"{LAYER[0]}.attention.output",
        port=only("bert.encoder", layer_norm=lambda p, x, path: norm(p, x, path, eps=1e-5)),
    ),
    "padding_row_trained": backward("E10", f"{WORD}.weight", port={"lookup": trainable_padding}),
    "padding_row_zero": forward(
        "E10", WORD, weights=lambda ws, c: changed("word_embeddings", zero_row(c["pad_token_id"]))(ws, c)
    ),
    "position_row_zero": forward("E10", POSITION, weights=changed("position_embeddings", zero_row(5))),
    "position_row_without_gradient": backward(
        "E10", f"{POSITION}.weight", port=only("position_embeddings", lookup=padding_in_positions)
    ),
    "repeated_ids_overwritten": backward(
        "E11", f"{WORD}.weight", port=only("word_embeddings", lookup=last_of_repeated)
    ),
    "dropout_before_norm": forward("E16", "bert.embeddings.LayerNorm", port={"embeddings": dropped_before_norm}),
    "word_vectors_times_root_of_width": forward("E23", WORD, port=only("word_embeddings", lookup=times_root_of_width)),
    "table_columns_off_by_one": forward(None, WORD, weights=changed("word_embeddings", lambda w: np.roll(w, 1, 1))),
    "table_rows_off_by_one": forward("E26", WORD, weights=changed("word_embeddings", lambda w: np.roll(w, 1, 0))),
    "two_segments_rows_swapped": forward(
        "E19", TYPE, weights=changed("token_type", lambda w: np.concatenate([w[1::-1], w[2:]]))
    ),
}

# ---- attention ------------------------------------------------------------------------------------------------------


def heads_by_reshape(p, x, path):
    return x.reshape(x.shape[0], p.config["num_attention_heads"], x.shape[1], -1)


def merged_by_reshape(p, x, path):
    return x.reshape(x.shape[0], x.shape[2], -1)


def scale_of(f):
    return lambda p, path: f(p.config["hidden_size"], p.config["num_attention_heads"])


def heads_first_mask_batch_first(p, path):
    """Scores are stacked as (H B, T, T), the mask is repeated as (B H, 1, T)."""
    bias = right.attention_bias(p, path)[:, 0]
    heads = p.config["num_attention_heads"]
    return bias.repeat_interleave(heads, 0).unflatten(0, (heads, -1)).transpose(0, 1)


def bias_with(constant, shape=lambda mask: mask[:, None, None, :]):
    """Zero on keys to keep and `constant` on the others."""

    def attention_bias(p, path):
        dtype = next(iter(p.weights.values())).dtype
        value = constant(dtype) if callable(constant) else constant
        mask = p.inputs["input_mask"]
        return shape(torch.zeros(mask.shape, dtype=dtype).masked_fill(mask == 0, value))

    return attention_bias


def bias_added_twice(p, path):
    return 2 * right.attention_bias(p, path)


def bias_of_lengths(p, path):
    """As many keys as there are ones in the mask, from the left."""
    mask = p.inputs["input_mask"]
    kept = (torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)).long()
    return right.attention_bias(p._replace(inputs=p.inputs | {"input_mask": kept}), path)


def softmax_over(f):
    return lambda p, s, bias_path: p.keep(bias_path, f(p, s, s + port.attention_bias(p, bias_path)))


def kept(p):
    return p.inputs["input_mask"][:, None, None, :]


def softmax_with_base_2(p, s, z):
    return torch.softmax(z * math.log(2), -1)


def softmax_with_lost_sum(p, s, z):
    """The backward leaves out the sum over the row."""
    e = torch.exp(z - z.amax(-1, keepdim=True).detach())
    return e / e.sum(-1, keepdim=True).detach()


def scaled_before_bias(p, x, path):
    y = x @ p.weights[path + ".weight"].T
    return p.keep(path, y * right.scale(p, path) + p.weights[path + ".bias"])


def without_bias(p, x, path):
    return p.keep(path, x @ p.weights[path + ".weight"].T)


def fused_per_head(ws, config):
    """Query, key and value in one (3, H, K) matrix, read as (H, 3, K)."""
    out, heads = dict(ws), config["num_attention_heads"]
    for path in SELF:
        for last in ("weight", "bias"):
            names = [f"{path}.{part}.{last}" for part in ("query", "key", "value")]
            fused = np.concatenate([ws[n] for n in names])
            parts = fused.reshape(heads, 3, -1, *fused.shape[1:]).swapaxes(0, 1).reshape(3, -1, *fused.shape[1:])
            out |= dict(zip(names, parts, strict=True))
    return out


def first_head_zeroed(p, a, v, path):
    v = torch.cat([0 * v[:, :1], v[:, 1:]], 1)
    return right.context(p, a, v, path)


def rounded_to_8_bits(w):
    unit = np.abs(w).max() / 127
    return np.round(w / unit) * unit


HOLE = {"inputs": lambda b: b | {"input_mask": b["input_mask"] * (np.arange(b["input_mask"].shape[1]) != 2)}}
MULTIPLIED_MASK = softmax_over(lambda p, s, z: torch.softmax(s * kept(p), -1))
MASK_AFTER = softmax_over(lambda p, s, z: torch.softmax(s, -1) * kept(p))
LARGEST = softmax_over(lambda p, s, z: torch.softmax(z.flatten(-2), -1).unflatten(-1, z.shape[-2:]))

ATTENTION = {
    "heads_by_reshape": forward("A01", f"{SELF[0]}.scores", port={"split_heads": heads_by_reshape}),
    "heads_by_reshape_in_layer_1": forward(
        "A01", f"{SELF[1]}.scores", port=only(LAYER[1], split_heads=heads_by_reshape)
    ),
    "heads_by_reshape_both_ways": forward(
        "A01", f"{SELF[0]}.scores", port={"split_heads": heads_by_reshape, "merge_heads": merged_by_reshape}
    ),
    "merged_by_reshape": forward("A02", f"{SELF[0]}.context", port={"merge_heads": merged_by_reshape}),
    "merged_by_reshape_in_layer_2": forward(
        "A02", f"{SELF[2]}.context", port=only(LAYER[2], merge_heads=merged_by_reshape)
    ),
    "mask_repeated_batch_major": forward(
        "A03", f"{SELF[0]}.probs", port={"attention_bias": heads_first_mask_batch_first}
    ),
    "scale_of_width": forward("A04", f"{SELF[0]}.scores", port={"scale": scale_of(lambda D, H: 1 / math.sqrt(D))}),
    "scale_of_width_in_layer_2": forward(
        "A04", f"{SELF[2]}.scores", port=only(LAYER[2], scale=scale_of(lambda D, H: 1 / math.sqrt(D)))
    ),
    "scale_of_heads": forward("A05", f"{SELF[0]}.scores", port={"scale": scale_of(lambda D, H: 1 / math.sqrt(H))}),
    "scale_missing": forward("A06", f"{SELF[0]}.scores", port={"scale": lambda p, path: 1.0}),
    "scale_missing_in_layer_1": forward("A06", f"{SELF[1]}.scores", port=only(LAYER[1], scale=lambda p, path: 1.0)),
    "scale_twice": forward("A07", f"{SELF[0]}.scores", port={"scale": scale_of(lambda D, H: H / D)}),
    "mask_scaled_too": forward(
        "A08",
        f"{SELF[0]}.probs",
        port={"attention_bias": lambda p, path: right.attention_bias(p, path) * right.scale(p, path)},
        unobservable="finfo.min times 1/sqrt(K) still swallows every score",
    ),
    "softmax_over_queries": forward(
        "A09", f"{SELF[0]}.probs", port={"probabilities": softmax_over(lambda p, s, z: torch.softmax(z, -2))}
    ),
    "softmax_over_everything": forward("A09", f"{SELF[0]}.probs", port={"probabilities": LARGEST}),
    "mask_multiplied": forward("A10", f"{SELF[0]}.probs", port={"probabilities": MULTIPLIED_MASK}),
    "mask_after_softmax": forward("A10", f"{SELF[0]}.probs", port={"probabilities": MASK_AFTER}),
    "mask_inverted": forward("A11", f"{SELF[0]}.probs", inputs=lambda b: b | {"input_mask": 1 - b["input_mask"]}),
    "mask_not_passed": forward("A12", f"{SELF[0]}.probs", inputs=lambda b: b | {"input_mask": 0 * b["input_mask"] + 1}),
    "mask_not_passed_to_layer_2": forward(
        "A12", f"{SELF[2]}.probs", port=only(LAYER[2], attention_bias=bias_with(0.0))
    ),
    "mask_on_queries": forward(
        "A13",
        f"{SELF[0]}.probs",
        port={"attention_bias": bias_with(lambda dtype: torch.finfo(dtype).min, lambda m: m[:, None, :, None])},
    ),
    "mask_of_minus_infinity": forward("A14", f"{SELF[0]}.probs", port={"attention_bias": bias_with(-math.inf)}),
    "mask_of_minus_10000": forward("A15", f"{SELF[0]}.probs", port={"attention_bias": bias_with(-10000.0)}),
    "mask_of_minus_1e9": forward("A15", f"{SELF[0]}.probs", port={"attention_bias": bias_with(-1e9)}),
    "mask_added_twice": forward("A16", f"{SELF[0]}.probs", port={"attention_bias": bias_added_twice}),
    "mask_read_as_lengths": forward("A17", f"{SELF[0]}.probs", port={"attention_bias": bias_of_lengths}, needs=HOLE),
    "fused_projections_per_head": forward("A19", f"{SELF[0]}.query", weights=fused_per_head),
    "key_bias_dropped": forward("A29", f"{SELF[0]}.key", port=only(".self.key", linear=without_bias)),
    "query_and_key_swapped": forward(
        "A30", f"{SELF[0]}.scores", port={"scores": lambda p, q, k, path: right.scores(p, k, q, path)}
    ),
    "query_and_key_loaded_swapped": forward("A30", f"{SELF[0]}.query", weights=exchanged(".query.", ".key.")),
    "query_scaled_before_its_bias": forward(
        "A30", f"{SELF[0]}.query", port=only(".self.query", linear=scaled_before_bias) | {"scale": lambda p, path: 1.0}
    ),
    "temperature_1.1": forward(
        "A46", f"{SELF[0]}.probs", port={"probabilities": softmax_over(lambda p, s, z: torch.softmax(z / 1.1, -1))}
    ),
    "softmax_with_base_2": forward(
        "A35", f"{SELF[0]}.probs", port={"probabilities": softmax_over(softmax_with_base_2)}
    ),
    "softmax_gradient_without_its_sum": backward(
        "A37", f"{SELF[2]}.scores", port={"probabilities": softmax_over(softmax_with_lost_sum)}
    ),
    "one_head_zeroed": forward("A48", f"{SELF[1]}.context", port=only(LAYER[1], context=first_head_zeroed)),
    "value_in_8_bits": forward("C10", f"{SELF[0]}.value", weights=changed("value.weight", rounded_to_8_bits)),
    "value_bias_dropped": forward("C15", f"{SELF[0]}.value", port=only(".self.value", linear=without_bias)),
    "attention_output_bias_dropped": forward(
        "C15",
        f"{LAYER[1]}.attention.output.dense",
        port=only(f"{LAYER[1]}.attention.output.dense", linear=without_bias),
    ),
}

# ---- layer norm and residuals ---------------------------------------------------------------------------------------


def norm(p, x, path, eps=None, outside=False, sample=False, power=0.5, axes=(-1,), no_mean=False, no_variance=False):
    """A layer norm with one thing wrong; no_mean and no_variance lose a term of the gradient alone."""
    eps = p.config["layer_norm_eps"] if eps is None else eps
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    variance = variance * x.shape[-1] / (x.shape[-1] - 1) if sample else variance
    root = torch.sqrt(variance) + eps if outside else (variance + eps) ** power
    normal = (x - (mean.detach() if no_mean else mean)) / (root.detach() if no_variance else root)
    return p.weights[path + ".weight"] * normal + p.weights[path + ".bias"]


def norms(**wrong):
    return lambda p, x, path: norm(p, x, path, **wrong)


def norm_of_attention_reused(p, x, path):
    return right.layer_norm(p, x, path.replace(".output.", ".attention.output.") if ".attention." not in path else path)


def norm_of_embeddings_in_head(p, x, path):
    return right.layer_norm(p, x, "bert.embeddings.LayerNorm")


def norm_in_half(p, x, path):
    half = x.half()
    mean, variance = half.mean(-1, keepdim=True), half.var(-1, keepdim=True, unbiased=False)
    root = torch.sqrt(variance + p.config["layer_norm_eps"])
    return p.weights[path + ".weight"] * ((half - mean) / root).to(x.dtype) + p.weights[path + ".bias"]


def norm_detached(p, x, path):
    """A fused kernel without a backward: the gradient arrives and ends here."""
    return right.layer_norm(p, x, path).detach().requires_grad_()


def pre_norm_layer(p, x, path):
    a = port.layer_norm(p, x, f"{path}.attention.output.LayerNorm")
    a = port.linear(p, port.self_attention(p, a, f"{path}.attention.self"), f"{path}.attention.output.dense")
    a = x + port.dropout(p, a, p.config["hidden_dropout_prob"], f"{path}.attention.output.dropout")
    a = p.keep(f"{path}.attention.output", a)
    y = port.intermediate(p, port.layer_norm(p, a, f"{path}.output.LayerNorm"), f"{path}.intermediate")
    y = port.dropout(
        p, port.linear(p, y, f"{path}.output.dense"), p.config["hidden_dropout_prob"], f"{path}.output.dropout"
    )
    return p.keep(f"{path}.output", a + y)


def residual_of_the_layer_s_input(p, x, path):
    """The feed-forward's residual is what came into the layer, not into the feed-forward."""
    a = port.sublayer_output(p, x, port.self_attention(p, x, f"{path}.attention.self"), f"{path}.attention.output")
    return port.sublayer_output(p, x, port.intermediate(p, a, f"{path}.intermediate"), f"{path}.output")


def residual(combined):
    """sublayer_output with another way to put x and y together; combined gets the norm as a function."""

    def sublayer_output(p, x, y, path):
        y = port.linear(p, y, f"{path}.dense")
        y = port.dropout(p, y, p.config["hidden_dropout_prob"], f"{path}.dropout")
        return p.keep(path, combined(x, y, lambda z: port.layer_norm(p, z, f"{path}.LayerNorm")))

    return sublayer_output


def final_norm(p, x, path):
    x = right.encoder(p, x, path)
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=p.config["layer_norm_eps"])


FIRST_NORM = "bert.embeddings.LayerNorm"
HEAD = "cls.predictions.transform"

NORMS = {
    "eps_1e-5": forward("L01", FIRST_NORM, port={"layer_norm": norms(eps=1e-5)}),
    "eps_1e-3": forward("L01", FIRST_NORM, port={"layer_norm": norms(eps=1e-3)}),
    "eps_1e-5_in_layer_1": forward(
        "L01", f"{LAYER[1]}.attention.output", port=only(LAYER[1], layer_norm=norms(eps=1e-5))
    ),
    "eps_1e-5_in_head": forward("L01", HEAD, port=only("cls.", layer_norm=norms(eps=1e-5))),
    "eps_outside_the_root": forward("L03", FIRST_NORM, port={"layer_norm": norms(outside=True)}),
    "sample_variance": forward("L04", FIRST_NORM, port={"layer_norm": norms(sample=True)}),
    "sample_variance_in_layer_2": forward(
        "L04", f"{LAYER[2]}.output", port=only(f"{LAYER[2]}.output", layer_norm=norms(sample=True))
    ),
    "norm_over_tokens_too": forward("L05", FIRST_NORM, port={"layer_norm": norms(axes=(-2, -1))}),
    "square_for_root": forward("L06", FIRST_NORM, port={"layer_norm": norms(power=2)}),
    "attention_norm_reused": forward(
        "L07", f"{LAYER[0]}.output", port=only("bert.encoder", layer_norm=norm_of_attention_reused)
    ),
    "embedding_norm_in_head": forward("L07", HEAD, port=only("cls.", layer_norm=norm_of_embeddings_in_head)),
    "pre_norm": forward("L08", f"{SELF[0]}.query", port={"encoder_layer": pre_norm_layer}),
    "pre_norm_in_layer_1": forward("L08", f"{SELF[1]}.query", port=only(LAYER[1], encoder_layer=pre_norm_layer)),
    "residual_of_the_layer_s_input": forward(
        "L09", f"{LAYER[0]}.output", port={"encoder_layer": residual_of_the_layer_s_input}
    ),
    "residual_of_the_normed": forward(
        "L09",
        f"{LAYER[0]}.attention.output",
        port={
            "sublayer_output": residual(lambda x, y, norm: norm(torch.nn.functional.layer_norm(x, x.shape[-1:]) + y))
        },
    ),
    "final_norm": forward("L10", "bert.pooler.dense", port={"encoder": final_norm}),
    "norm_in_half_precision": forward("L11", FIRST_NORM, port={"layer_norm": norm_in_half}),
    "norm_gradient_without_mean": backward("L12", f"{HEAD}.dense", port={"layer_norm": norms(no_mean=True)}),
    "norm_gradient_without_variance": backward("L12", f"{HEAD}.dense", port={"layer_norm": norms(no_variance=True)}),
    "norm_gradient_without_variance_in_layer_1": backward(
        "L12", f"{LAYER[1]}.output.dense", port=only(f"{LAYER[1]}.output", layer_norm=norms(no_variance=True))
    ),
    "norm_without_gradient": backward("L13", f"{HEAD}.LayerNorm.weight", port={"layer_norm": norm_detached}),
    "residual_missing": forward(
        "L20",
        f"{LAYER[1]}.output",
        port=only(f"{LAYER[1]}.output", sublayer_output=residual(lambda x, y, norm: norm(y))),
    ),
    "residual_times_0.9": forward(
        "L25", f"{LAYER[0]}.attention.output", port={"sublayer_output": residual(lambda x, y, norm: norm(0.9 * x + y))}
    ),
    "norm_inside_the_residual": forward(
        "L21", f"{LAYER[0]}.attention.output", port={"sublayer_output": residual(lambda x, y, norm: x + norm(y))}
    ),
    "gain_and_shift_swapped": forward(
        "C02", FIRST_NORM, weights=exchanged("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
    ),
}

# ---- activation -----------------------------------------------------------------------------------------------------


def always(f):
    return lambda p, x, path: f(x)


def mistyped(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.44715 * x**3)))


def coefficients_swapped(x):
    return 0.5 * x * (1 + torch.tanh(0.044715 * (x + math.sqrt(2 / math.pi) * x**3)))


def gelu_with_detached_phi(x):
    return x * (0.5 * torch.special.erfc(-x / math.sqrt(2))).detach()


FIRST_ACT, HEAD_ACT = f"{LAYER[0]}.intermediate", HEAD
TANH, RELU = {"config": fields(hidden_act="gelu_new")}, {"config": fields(hidden_act="relu")}

ACTIVATION = {
    "tanh_gelu": forward("G01", FIRST_ACT, config=fields(hidden_act="gelu_new")),
    "tanh_gelu_in_feed_forward": forward(
        "G01", FIRST_ACT, port=only("bert.encoder", activation=always(port.gelu_tanh))
    ),
    "tanh_gelu_in_head": forward("G01", HEAD_ACT, port=only("cls.", activation=always(port.gelu_tanh))),
    "tanh_gelu_in_layer_2": forward(
        "G01", f"{LAYER[2]}.intermediate", port=only(LAYER[2], activation=always(port.gelu_tanh))
    ),
    "erf_gelu_for_tanh": forward("G02", FIRST_ACT, config=fields(hidden_act="gelu"), needs=TANH),
    "tanh_gelu_mistyped": forward("G03", FIRST_ACT, port={"activation": always(mistyped)}, needs=TANH),
    "tanh_gelu_coefficients_swapped": forward(
        "G03", FIRST_ACT, port={"activation": always(coefficients_swapped)}, needs=TANH
    ),
    "tanh_gelu_mistyped_for_erf": forward("G03", FIRST_ACT, port={"activation": always(mistyped)}),
    "gelu_hard_coded": forward("G04", FIRST_ACT, port={"activation": always(port.gelu)}, needs=RELU),
    "gelu_hard_coded_in_head": forward("G04", HEAD_ACT, port=only("cls.", activation=always(port.gelu)), needs=RELU),
    "relu_hard_coded": forward("G04", FIRST_ACT, port={"activation": always(torch.relu)}),
    "activation_forgotten": forward("G09", FIRST_ACT, port=only("bert.encoder", activation=always(lambda x: x))),
    "activation_forgotten_in_layer_1": forward(
        "G09", f"{LAYER[1]}.intermediate", port=only(LAYER[1], activation=always(lambda x: x))
    ),
    "activation_forgotten_in_head": forward("G09", HEAD_ACT, port=only("cls.", activation=always(lambda x: x))),
    "precise_option_means_tanh": forward(
        "G10",
        FIRST_ACT,
        port={"activation": always(lambda x: torch.nn.functional.gelu(x, approximate="tanh"))},
    ),
    "approximate_option_means_erf": forward(
        "G10", FIRST_ACT, port={"activation": always(lambda x: torch.nn.functional.gelu(x))}, needs=TANH
    ),
    "swish": forward("G13", FIRST_ACT, port={"activation": always(torch.nn.functional.silu)}),
    "sigmoid_gelu": forward("G12", FIRST_ACT, port={"activation": always(lambda x: x * torch.sigmoid(1.702 * x))}),
    "gelu_gradient_without_phi": backward("G14", f"{HEAD}.dense", port={"activation": always(gelu_with_detached_phi)}),
}

# ---- heads ----------------------------------------------------------------------------------------------------------


def decoder(logits):
    """predictions with the decoder replaced: logits(p, u, table, bias)."""

    def predictions(p, x, path):
        u = port.transform(p, x, f"{path}.transform")
        return p.keep(path, logits(p, u, p.weights[f"{WORD}.weight"], p.weights[f"{path}.bias"]))

    return {"predictions": predictions}


def fresh_table(table):
    return torch.tensor(fresh(table.detach().numpy()), dtype=table.dtype)


def without_transform(p, x, path):
    return x


def transform_without_norm(p, x, path):
    return p.keep(path, port.activation(p, port.linear(p, x, f"{path}.dense"), path))


def pooler_with(f, token=0):
    return {"pooler": lambda p, x, path: p.keep(path, f(port.linear(p, x[:, token], f"{path}.dense")))}


def pooled_is_first_token(p, x, path):
    return p.keep(path, x[:, 0])


def pooled_mean(p, x, path):
    return p.keep(path, torch.tanh(port.linear(p, x.mean(1), f"{path}.dense")))


def read_as_d_by_2(p, x, path):
    return p.keep(path, x @ p.weights[path + ".weight"].reshape(-1, 2) + p.weights[path + ".bias"])


def gradient_of_table_halved(value, tensors):
    return {n: g / 2 if n == f"{WORD}.weight" else g for n, g in right.gradients(value, tensors).items()}


HEADS = {
    "decoder_copied": backward("H01", f"{WORD}.weight", port=decoder(lambda p, u, e, b: u @ e.detach().T + b)),
    "decoder_fresh": forward("H01", "cls.predictions", port=decoder(lambda p, u, e, b: u @ fresh_table(e).T + b)),
    "transform_missing": forward("H02", "cls.predictions", port={"transform": without_transform}),
    "transform_without_norm": forward("H02", HEAD, port={"transform": transform_without_norm}),
    "output_bias_missing": forward("H03", "cls.predictions", port=decoder(lambda p, u, e, b: u @ e.T)),
    "output_bias_twice": forward("H04", "cls.predictions", port=decoder(lambda p, u, e, b: u @ e.T + b + b)),
    "decoder_read_as_d_by_v": forward(
        "H05", "cls.predictions", port=decoder(lambda p, u, e, b: u @ e.reshape(e.shape[::-1]) + b)
    ),
    "pooler_without_tanh": forward("H06", "bert.pooler", port=pooler_with(lambda x: x)),
    "pooler_fresh": forward("H06", "bert.pooler.dense", weights=changed("pooler", fresh)),
    "pooler_transposed": forward("H07", "bert.pooler.dense", weights=changed("pooler.dense.weight", lambda w: w.T)),
    "pooled_is_first_token": forward("H08", "bert.pooler", port={"pooler": pooled_is_first_token}),
    "next_sentence_labels_flipped": forward(
        "H10",
        "loss.next_sentence",
        inputs=lambda b: b | {"next_sentence_labels": 1 - b["next_sentence_labels"]},
    ),
    "next_sentence_classes_swapped": forward(
        "H10", "cls.seq_relationship", weights=changed("seq_relationship", lambda w: w[::-1].copy())
    ),
    "next_sentence_read_as_d_by_2": forward(
        "H11", "cls.seq_relationship", port=only("seq_relationship", linear=read_as_d_by_2)
    ),
    "vocabulary_padded_to_8": forward(
        "H18",
        "loss.masked_lm",
        port={
            "masked_lm_loss": lambda p, x, path: right.masked_lm_loss(
                p, torch.nn.functional.pad(x, (0, -x.shape[-1] % 8)), path
            )
        },
    ),
    "sin_for_tanh_in_pooler": forward(None, "bert.pooler", port=pooler_with(torch.sin)),
    "pooler_of_last_token": forward("H23", "bert.pooler.dense", port=pooler_with(torch.tanh, token=-1)),
    "pooler_of_the_mean": forward("H23", "bert.pooler.dense", port={"pooler": pooled_mean}),
}

# ---- loss and dropout -----------------------------------------------------------------------------------------------


def masked_lm(f):
    """masked_lm_loss as f(p, nll (B, M), weights (B, M)), with the right log-probabilities."""

    def masked_lm_loss(p, logits, path):
        ids, at = p.inputs["masked_lm_ids"], p.inputs["masked_lm_positions"]
        rows = torch.arange(len(ids))[:, None]
        nll = -torch.log_softmax(logits, -1)[rows, at, ids]
        return p.keep(path, f(p, nll, p.inputs["masked_lm_weights"]))

    return {"masked_lm_loss": masked_lm_loss}


def every_token_labelled(p, logits, path):
    """Labels -1 where nothing was masked, but the loss ignores -100: -1 is the last word of the vocabulary."""
    labels = torch.full(logits.shape[:2], -1)
    rows, slots = torch.nonzero(p.inputs["masked_lm_weights"], as_tuple=True)
    labels[rows, p.inputs["masked_lm_positions"][rows, slots]] = p.inputs["masked_lm_ids"][rows, slots]
    kept = (labels != -100).to(logits.dtype)
    return p.keep(path, port.cross_entropy(logits, labels % logits.shape[-1], kept))


def next_sentence_ignoring_0(p, logits, path):
    labels = p.inputs["next_sentence_labels"].reshape(-1)
    return p.keep(path, port.cross_entropy(logits, labels, (labels != 0).to(logits.dtype)))


def mean_of_means(p, nll, w):
    rows = [(n * v).sum() / v.sum() for n, v in zip(nll, w, strict=True) if v.sum() > 0]
    return sum(rows) / len(rows)


def softmax_over_positions(p, logits, path):
    rows = torch.arange(len(logits))[:, None]
    nll = -torch.log_softmax(logits, 1)[rows, p.inputs["masked_lm_positions"], p.inputs["masked_lm_ids"]]
    w = p.inputs["masked_lm_weights"]
    return p.keep(path, (w * nll).sum() / w.sum())


def gathered_from_the_first_row(p, logits, path):
    """Positions index the flattened (B T, V) without b T."""
    nll = -torch.log_softmax(logits.flatten(0, 1), -1)[p.inputs["masked_lm_positions"], p.inputs["masked_lm_ids"]]
    w = p.inputs["masked_lm_weights"]
    return p.keep(path, (w * nll).sum() / w.sum())


def smoothed(p, logits, path):
    """A tenth of the target is spread evenly over the vocabulary."""
    mean = -torch.log_softmax(logits, -1).mean(-1)
    w, at = p.inputs["masked_lm_weights"], p.inputs["masked_lm_positions"]
    uniform = (w * mean.gather(1, at)).sum() / w.sum()
    return p.keep(path, 0.9 * right.masked_lm_loss(p, logits, path) + 0.1 * uniform)


def weighted(f):
    return {"total_loss": lambda p, m, n, path: p.keep(path, f(m, n))}


def dropout_with(f):
    """f(x, keep, rate, path) where there is a mask."""

    def dropout(p, x, rate, path):
        keep = p.inputs.get("dropout", {}).get(path)
        return x if keep is None else f(x, keep, rate)

    return {"dropout": dropout}


def drawn_dropout(p, x, rate, path):
    """Nobody called eval()."""
    keep = np.random.default_rng(sum(map(ord, path))).random(x.shape) >= rate
    return x * torch.tensor(keep, dtype=x.dtype) / (1 - rate)


def exchanged_rates(config):
    hidden, attention = config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]
    return config | {"hidden_dropout_prob": attention, "attention_probs_dropout_prob": hidden}


def dropped_in_head(p, x, path):
    """Dropout on the pooled vector, as a fine-tuning classifier has it."""
    pooled = right.pooler(p, x, path)
    keep = np.random.default_rng(5).random(pooled.shape) >= 0.1
    return p.keep(path, pooled * torch.tensor(keep, dtype=x.dtype) / 0.9)


NO_TARGETS = {"inputs": lambda b: b | {"masked_lm_weights": 0 * b["masked_lm_weights"]}}
EVALUATION = {"inputs": lambda b: {n: x for n, x in b.items() if n != "dropout"}}
MLM, NSP = "loss.masked_lm", "loss.next_sentence"

LOSS = {
    "ignored_label_not_ignored": forward("S01", MLM, port={"masked_lm_loss": every_token_labelled}),
    "next_sentence_ignores_class_0": forward("S02", NSP, port={"next_sentence_loss": next_sentence_ignoring_0}),
    "mean_over_all_tokens": forward(
        "S03", MLM, port=masked_lm(lambda p, nll, w: (w * nll).sum() / p.inputs["input_ids"].numel())
    ),
    "mean_over_all_slots": forward("S03", MLM, port=masked_lm(lambda p, nll, w: (w * nll).mean())),
    "empty_slots_counted": forward("S03", MLM, port=masked_lm(lambda p, nll, w: nll.mean())),
    "mean_of_means": forward("S04", MLM, port=masked_lm(mean_of_means)),
    "denominator_plus_1e-5": forward("S05", MLM, port=masked_lm(lambda p, nll, w: (w * nll).sum() / (w.sum() + 1e-5))),
    "softmax_over_positions": forward("S08", MLM, port={"masked_lm_loss": softmax_over_positions}),
    "no_target_gives_nan": forward(
        "S09", MLM, port=masked_lm(lambda p, nll, w: (w * nll).sum() / w.sum()), needs=NO_TARGETS
    ),
    "gathered_from_the_first_row": forward("D14", MLM, port={"masked_lm_loss": gathered_from_the_first_row}),
    "dropout_while_comparing": forward("D11", "bert.embeddings", port={"dropout": drawn_dropout}, needs=EVALUATION),
    "keep_rate_for_drop_rate": forward(
        "D12", "bert.embeddings", port=dropout_with(lambda x, keep, rate: x * keep / rate)
    ),
    "dropout_rates_swapped": forward("D13", "bert.embeddings", config=exchanged_rates),
    "loss_in_bits": forward("S19", MLM, port=masked_lm(lambda p, nll, w: (w * nll).sum() / w.sum() / math.log(2))),
    "label_smoothing": forward("S14", MLM, port={"masked_lm_loss": smoothed}),
    "next_sentence_at_half_weight": forward("S24", "loss", port=weighted(lambda m, n: m + 0.5 * n)),
    "mean_of_the_two_losses": forward("S16", "loss", port=weighted(lambda m, n: (m + n) / 2)),
    "dropout_not_rescaled": forward("D24", "bert.embeddings", port=dropout_with(lambda x, keep, rate: x * keep)),
    "dropout_in_head": forward(None, "bert.pooler", port={"pooler": dropped_in_head}),
}

# ---- optimizer ------------------------------------------------------------------------------------------------------


def adam_with(update):
    """adam with another update(m, v, t, o), before the decay."""

    def adam(name, w, g, m, v, t, rate, o):
        _, m, v = right.adam(name, w, g, m, v, t, rate, o)
        return w - rate * (update(m, v, t, o) + port.decay(name, o) * w), m, v

    return {"adam": adam}


def corrected(m, v, t, o):
    m, v = m / (1 - o["beta1"] ** t), v / (1 - o["beta2"] ** t)
    return m / (torch.sqrt(v) + o["eps"])


def coupled_decay(name, w, g, m, v, t, rate, o):
    """The decay is part of the gradient."""
    g = g + right.decay(name, o) * w
    return right.adam(name, w, g, m, v, t, rate, o | {"decay": 0.0})


def rate_not_times_decay(name, w, g, m, v, t, rate, o):
    new, m, v = right.adam(name, w, g, m, v, t, rate, o | {"decay": 0.0})
    return new - right.decay(name, o) * w, m, v


def clipped_one_by_one(gs, norm, o):
    return {n: g * o["clip"] / torch.clamp(torch.sqrt((g * g).sum()), min=o["clip"]) for n, g in gs.items()}


def clipped_by_value(gs, norm, o):
    return {n: g.clamp(-o["clip"], o["clip"]) for n, g in gs.items()}


def clipped_before_unscaling(gs, norm, o):
    """The loss was scaled by 1024 and the gradients are unscaled after the clipping."""
    scaled = {n: 1024 * g for n, g in gs.items()}
    return {n: g / 1024 for n, g in right.clip(scaled, 1024 * norm, o).items()}


def norm_with_table_twice(gs):
    table = gs[f"{WORD}.weight"]
    return torch.sqrt(right.global_norm(gs) ** 2 + (table * table).sum())


def decay_from_end_of_warmup(s, o):
    if s < o["warmup"]:
        return right.learning_rate(s, o)
    return o["peak"] * max(0.0, 1 - (s - o["warmup"]) / (o["total"] - o["warmup"]))


def warmup_times_decay(s, o):
    return o["peak"] * max(0.0, 1 - s / o["total"]) * min(1.0, s / o["warmup"])


def unclamped(s, o):
    return o["peak"] * s / o["warmup"] if s < o["warmup"] else o["peak"] * (1 - s / o["total"])


SHORT = {"optimizer": fields(total=8)}
FIRST = f"1/{WORD}.weight"
FIRST_M = f"1/adam_m.{WORD}.weight"

STEPS = {
    "bias_correction": step("O01", FIRST, port=adam_with(corrected)),
    "eps_inside_the_root": step("O02", FIRST, port=adam_with(lambda m, v, t, o: m / torch.sqrt(v + o["eps"]))),
    "eps_1e-8": step("O03", FIRST, optimizer=fields(eps=1e-8)),
    "decay_everywhere": step("O04", f"1/{FIRST_NORM}.weight", port={"decay": lambda name, o: o["decay"]}),
    "decay_on_norm_weights": step(
        "O04", f"1/{FIRST_NORM}.weight", port={"decay": lambda name, o: 0.0 if "bias" in name else o["decay"]}
    ),
    "decay_inverted": step("O04", FIRST, port={"decay": lambda name, o: o["decay"] - right.decay(name, o)}),
    "no_decay_of_the_tables": step(
        "O04", FIRST, port={"decay": lambda name, o: 0.0 if "embeddings" in name else right.decay(name, o)}
    ),
    "clipped_one_by_one": step("O05", FIRST_M, port={"clip": clipped_one_by_one}),
    "warmup_off_by_one": step(
        "O06", "1/learning_rate", port={"learning_rate": lambda s, o: right.learning_rate(s + 1, o)}
    ),
    "decay_from_end_of_warmup": step(
        "O06", "2/learning_rate", port={"learning_rate": decay_from_end_of_warmup}, needs={"optimizer": fields(start=4)}
    ),
    "decay_in_the_gradient": step("O07", FIRST_M, port={"adam": coupled_decay}),
    "tied_gradient_halved": backward("O08", f"{WORD}.weight", port={"gradients": gradient_of_table_halved}),
    "tied_table_twice_in_norm": step("O08", "1/gradient_norm", port={"global_norm": norm_with_table_twice}),
    "negative_rate": step("O09", "10/loss", port={"learning_rate": unclamped}, needs=SHORT),
    "clipped_before_unscaling": step("O10", FIRST_M, port={"clip": clipped_before_unscaling}),
    "warmup_times_decay": step("O11", "1/learning_rate", port={"learning_rate": warmup_times_decay}),
    "not_clipped": step("O26", FIRST_M, port={"clip": lambda gs, norm, o: gs}),
    "clipped_by_value": step("O26", FIRST_M, port={"clip": clipped_by_value}),
    "betas_swapped": step("O39", FIRST_M, optimizer=lambda o: o | {"beta1": o["beta2"], "beta2": o["beta1"]}),
    "beta2_0.98": step(None, f"1/adam_v.{WORD}.weight", optimizer=fields(beta2=0.98)),
    "decay_not_times_rate": step("O30", FIRST, port={"adam": rate_not_times_decay}),
    "rate_doubled": step(None, "1/learning_rate", optimizer=lambda o: o | {"peak": 2 * o["peak"]}),
}

# ---- loading --------------------------------------------------------------------------------------------------------


def square_matrices(f, where=""):
    return lambda ws, config: {n: f(w) if square(w) and where in n else w for n, w in ws.items()}


def fortran(w):
    """Written raw in Fortran order, read back in C order."""
    return w.T.reshape(w.shape) if w.ndim > 1 else w


def norms_not_loaded(ws, config):
    init = {"weight": np.ones_like, "bias": np.zeros_like}
    return {n: init[n.rpartition(".")[2]](w) if "LayerNorm" in n else w for n, w in ws.items()}


def nothing_loaded(ws, config):
    every = {n: fresh(w, i) + (n.endswith("LayerNorm.weight")) for i, (n, w) in enumerate(ws.items())}
    return {n: every[n] if n.startswith("bert.") else w for n, w in ws.items()}


def brain_float(w):
    return torch.tensor(w).bfloat16().to(torch.float64).numpy()


LOADING = {
    "kernels_not_transposed": forward("C01", f"{SELF[0]}.query", weights=square_matrices(lambda w: w.T)),
    "value_not_transposed_in_layer_1": forward(
        "C01", f"{SELF[1]}.value", weights=square_matrices(lambda w: w.T, f"{SELF[1]}.value")
    ),
    "transform_not_transposed": forward("C01", f"{HEAD}.dense", weights=square_matrices(lambda w: w.T, HEAD)),
    "gamma_and_beta_not_loaded": forward("C02", FIRST_NORM, weights=norms_not_loaded),
    "transform_not_loaded": forward("C04", f"{HEAD}.dense", weights=changed(HEAD, fresh)),
    "prefix_not_found": forward("C05", WORD, weights=nothing_loaded),
    "fortran_order": forward("C06", WORD, weights=changed("", fortran)),
    "shared_bias_dropped": forward("C07", "cls.predictions", weights=changed("cls.predictions.bias", np.zeros_like)),
    "decoder_alias_not_found": forward(
        "C07", "cls.predictions", port=decoder(lambda p, u, e, b: u @ fresh_table(e).T + b)
    ),
    "layer_2_not_loaded": forward("C08", f"{SELF[2]}.query", weights=changed(LAYER[2], fresh)),
    "dropout_rates_lost": forward(
        "C09", "bert.embeddings", config=fields(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    ),
    "weights_in_half": forward("C10", WORD, weights=changed("", lambda w: w.astype(np.float16).astype(float), but="")),
    "weights_in_bfloat16": forward("C10", WORD, weights=changed("", brain_float, but="")),
    "two_position_rows_cut": forward(
        "C11", POSITION, weights=changed("position_embeddings", lambda w: np.concatenate([w[2:], 0 * w[:2]]))
    ),
    "one_tensor_times_1.01": forward(
        None, f"{LAYER[1]}.output.dense", weights=changed(f"{LAYER[1]}.output.dense.weight", lambda w: 1.01 * w)
    ),
    "one_row_of_a_matrix_zero": forward(
        None, f"{LAYER[2]}.intermediate.dense", weights=changed(f"{LAYER[2]}.intermediate.dense.weight", zero_row(3))
    ),
    "one_row_of_a_matrix_doubled": forward(
        None, f"{SELF[1]}.key", weights=changed(f"{SELF[1]}.key.weight", row_doubled)
    ),
    "two_rows_of_a_matrix_exchanged": forward(
        None, f"{LAYER[1]}.intermediate.dense", weights=changed(f"{LAYER[1]}.intermediate.dense.weight", rows_exchanged)
    ),
    "one_bias_backwards": forward(
        None, f"{LAYER[0]}.output.dense", weights=changed(f"{LAYER[0]}.output.dense.bias", lambda b: b[::-1].copy())
    ),
    "two_layers_swapped": forward("C17", f"{SELF[0]}.query", weights=exchanged(LAYER[0], LAYER[1])),
    "layer_2_left_out": forward(
        "C16",
        f"{SELF[2]}.query",
        weights=lambda ws, config: ws | {n.replace("layer.1", "layer.2"): w for n, w in ws.items() if LAYER[1] in n},
    ),
    "value_and_output_swapped": forward(
        "C20", f"{SELF[0]}.value", weights=exchanged("attention.self.value", "attention.output.dense")
    ),
}

PLANTED: dict[str, Fault] = EMBEDDINGS | ATTENTION | NORMS | ACTIVATION | HEADS | LOSS | STEPS | LOADING


def both(a: str, b: str) -> Fault:
    """Two mistakes at once; a's divergence comes first."""
    x, y = PLANTED[a], PLANTED[b]
    assert not x.port.keys() & y.port.keys(), f"{a} and {b} replace the same function"
    assert not x.needs, f"{a} needs a case of its own"
    assert not y.needs, f"{b} needs a case of its own"
    edits: dict[str, Any] = {
        e: lambda v, e=e: getattr(y, e)(getattr(x, e)(v)) for e in ("inputs", "config", "optimizer")
    }
    edits["weights"] = lambda ws, config: y.weights(x.weights(ws, config), config)
    return Fault(f"{x.mistake}+{y.mistake}", x.first, port=x.port | y.port, **edits)


PAIRS: dict[str, Fault] = {
    "eps_outside_the_root_and_sample_variance": forward(
        "L03+L04", FIRST_NORM, port={"layer_norm": norms(outside=True, sample=True)}
    ),
    "eps_1e-5_and_tanh_gelu": both("eps_1e-5", "tanh_gelu"),
    "segments_all_zero_and_scale_of_width": both("segments_all_zero", "scale_of_width"),
    "tanh_gelu_and_pooler_without_tanh": both("tanh_gelu", "pooler_without_tanh"),
    "mask_of_minus_10000_and_sample_variance": both("sample_variance", "mask_of_minus_10000"),
    "output_bias_missing_and_mean_over_all_tokens": both("output_bias_missing", "mean_over_all_tokens"),
    "bias_correction_and_decay_everywhere": both("bias_correction", "decay_everywhere"),
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[Fault]:
    """The port's functions replaced, and put back afterwards."""
    fault = (PLANTED | PAIRS)[name]
    try:
        for function, wrong in fault.port.items():
            setattr(port, function, wrong)
        yield fault
    finally:
        for function in fault.port:
            setattr(port, function, getattr(right, function))


def candidate(
    name: str,
    weights: Arrays,
    inputs: dict,
    config: dict,
    *,
    dtype: str = "float64",
    optimizer: dict | None = None,
    batches: list[dict] | None = None,
) -> Arrays:
    """What `torch_from_spec.run` gives with the mistake of that name; its `needs` are the caller's to meet."""
    with planted(name) as fault:
        return port.run(
            fault.weights(weights, config),
            fault.inputs(inputs),
            fault.config(config),
            dtype=dtype,
            optimizer=None if optimizer is None else fault.optimizer(right.OPTIMIZER | optimizer),
            batches=None if batches is None else [fault.inputs(batch) for batch in batches],
        )


def case(name: str, seed: int = 1) -> tuple[Arrays, dict, dict, dict]:
    """Weights, inputs, configuration and optimizer that show the mistake: the probe, or what the mistake needs."""
    needs = (PLANTED | PAIRS)[name].needs
    config = needs.get("config", same)(probe.CONFIG)
    inputs = needs.get("inputs", same)(probe.inputs(config, seed=seed + 1))
    return probe.weights(config, seed=seed), inputs, config, needs.get("optimizer", same)(OPTIMIZER)
