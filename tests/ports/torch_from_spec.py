"""BERT's pre-training step in plain torch, written from reference/SPEC.md alone; clauses in brackets.

`run` gives what a porter hands over to be checked: every intermediate, every gradient and some optimizer steps, as a
flat dictionary of arrays. Functions look each other up in this module and take the name of the tensor they make last,
so that a test can put a mistake into one of them, everywhere or in one place.

Letters: B batch, T tokens, D width, H heads, K = D / H, F feed-forward width, V vocabulary, M predicted positions.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Arrays = dict[str, np.ndarray]
SPELLINGS = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}
OPTIMIZER = {  # [OPT-ADAM-1, OPT-CLIP-1, OPT-SCHED-3]; start: updates made before the first one here
    "peak": 1e-4,
    "warmup": 10_000,
    "total": 1_000_000,
    "start": 0,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-6,
    "decay": 0.01,
    "clip": 1.0,
}


class Pass(NamedTuple):
    """One forward pass: what goes in, and what came out so far under published names, in forward order."""

    weights: dict[str, Tensor]
    inputs: dict[str, Tensor | dict[str, Tensor]]
    config: dict
    seen: dict[str, Tensor]

    def keep(self, path: str, x: Tensor) -> Tensor:
        """Note x as the output of the module at path."""
        self.seen[path] = x
        return x


# ---- operations -----------------------------------------------------------------------------------------------------


def linear(p: Pass, x: Tensor, path: str) -> Tensor:
    """(..., i) -> (..., o) [OP-LIN-1]."""
    return p.keep(path, x @ p.weights[path + ".weight"].T + p.weights[path + ".bias"])


def lookup(p: Pass, ids: Tensor, path: str) -> Tensor:
    """(B, T) -> (B, T, D); the row of the padding id gets no gradient from here [OP-EMB-1, OP-EMB-3, BERT-EMB-4]."""
    if ids.min() < 0:  # torch would count from the end
        raise IndexError(f"{path}: id {int(ids.min())} is negative")
    y = p.weights[path + ".weight"][ids]
    if path.endswith("word_embeddings"):
        pad = (ids == p.config["pad_token_id"])[..., None]
        y = torch.where(pad, y.detach(), y)
    return p.keep(path, y)


def layer_norm(p: Pass, x: Tensor, path: str) -> Tensor:
    """Over the last axis; the population's variance, eps inside the root [OP-LN-1, OP-LN-2]."""
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    normal = centred / torch.sqrt(variance + p.config["layer_norm_eps"])
    return p.weights[path + ".weight"] * normal + p.weights[path + ".bias"]


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) with erfc, which is accurate in the negative tail [OP-GELU-1]."""
    return 0.5 * x * torch.special.erfc(-x / math.sqrt(2))


def gelu_tanh(x: Tensor) -> Tensor:
    """[OP-GELT-1]."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": torch.relu,
}


def activation(p: Pass, x: Tensor, path: str) -> Tensor:
    """The configuration's, in the feed-forward and in the MLM head [BERT-ACT-1]."""
    return ACTIVATIONS[p.config["hidden_act"]](x)


def dropout(p: Pass, x: Tensor, rate: float, path: str) -> Tensor:
    """x keep / (1 - rate) where the inputs hold a keep-mask for this place, else x [OP-DROP-1]."""
    keep = p.inputs.get("dropout", {}).get(path)
    if keep is None:
        return x
    return x * keep / (1 - rate) if rate < 1 else x * 0


# ---- network --------------------------------------------------------------------------------------------------------


def position_ids(p: Pass, path: str) -> Tensor:
    """(1, T): 0 ... T - 1, padding counted [BERT-EMB-2]."""
    return torch.arange(p.inputs["input_ids"].shape[1])[None]


def embeddings(p: Pass, path: str) -> Tensor:
    """(B, T) -> (B, T, D): one sum, one norm, then dropout [BERT-EMB-1]."""
    ids = p.inputs["input_ids"]
    segments = p.inputs.get("segment_ids", torch.zeros_like(ids))
    word = lookup(p, ids, f"{path}.word_embeddings")
    token_type = lookup(p, segments, f"{path}.token_type_embeddings")
    position = lookup(p, position_ids(p, path), f"{path}.position_embeddings")
    x = p.keep(f"{path}.LayerNorm", layer_norm(p, word + token_type + position, f"{path}.LayerNorm"))
    return p.keep(path, dropout(p, x, p.config["hidden_dropout_prob"], f"{path}.dropout"))


def split_heads(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, H, T, K) [BERT-ATT-2]."""
    return x.unflatten(-1, (p.config["num_attention_heads"], -1)).transpose(1, 2)


def merge_heads(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, H, T, K) -> (B, T, D) [BERT-ATT-2]."""
    return x.transpose(1, 2).flatten(2)


def scale(p: Pass, path: str) -> float:
    """1 / sqrt(K) [OP-ATT-2]."""
    return 1 / math.sqrt(p.config["hidden_size"] // p.config["num_attention_heads"])


def scores(p: Pass, q: Tensor, k: Tensor, path: str) -> Tensor:
    """(B, H, T, K) twice -> (B, H, T, T), before the mask [OP-ATT-1]."""
    return p.keep(path, q @ k.transpose(-1, -2) * scale(p, path))


def attention_bias(p: Pass, path: str) -> Tensor:
    """(B, 1, 1, T): 0 on keys to keep, the dtype's most negative number on the others [BERT-ATT-4, OP-ATT-4]."""
    mask = p.inputs.get("input_mask", torch.ones_like(p.inputs["input_ids"]))
    dtype = next(iter(p.weights.values())).dtype
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(mask == 0, torch.finfo(dtype).min)[:, None, None, :]


def probabilities(p: Pass, s: Tensor, path: str) -> Tensor:
    """Softmax over the keys. A row without keys is uniform, and dS passes through it as if it were not [OP-ATT-8]."""
    return p.keep(path, torch.softmax(s + attention_bias(p, path), -1))


def context(p: Pass, a: Tensor, v: Tensor, path: str) -> Tensor:
    """(B, H, T, T), (B, H, T, K) -> (B, T, D)."""
    return p.keep(path, merge_heads(p, a @ v, path))


def self_attention(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, D), up to the merged contexts [BERT-ATT-1 ... 4]."""
    q, k, v = (split_heads(p, linear(p, x, f"{path}.{name}"), f"{path}.{name}") for name in ("query", "key", "value"))
    a = probabilities(p, scores(p, q, k, f"{path}.scores"), f"{path}.probs")
    a = dropout(p, a, p.config["attention_probs_dropout_prob"], f"{path}.dropout")
    return context(p, a, v, f"{path}.context")


def sublayer_output(p: Pass, x: Tensor, y: Tensor, path: str) -> Tensor:
    """layer_norm(x + drop(linear(y))) [BERT-ENC-1, BERT-DROP-1]."""
    y = dropout(p, linear(p, y, f"{path}.dense"), p.config["hidden_dropout_prob"], f"{path}.dropout")
    return p.keep(path, layer_norm(p, x + y, f"{path}.LayerNorm"))


def intermediate(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, F) [BERT-FF-1]."""
    return p.keep(path, activation(p, linear(p, x, f"{path}.dense"), path))


def encoder_layer(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, D) [BERT-ENC-1]."""
    a = sublayer_output(p, x, self_attention(p, x, f"{path}.attention.self"), f"{path}.attention.output")
    return sublayer_output(p, a, intermediate(p, a, f"{path}.intermediate"), f"{path}.output")


def encoder(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, D); nothing after the last layer [BERT-ENC-2]."""
    for i in range(p.config["num_hidden_layers"]):
        x = encoder_layer(p, x, f"{path}.layer.{i}")
    return x


# ---- heads and loss -------------------------------------------------------------------------------------------------


def pooler(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, D) [BERT-POOL-1]."""
    return p.keep(path, torch.tanh(linear(p, x[:, 0], f"{path}.dense")))


def transform(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, D) [BERT-MLM-1]."""
    return p.keep(path, layer_norm(p, activation(p, linear(p, x, f"{path}.dense"), path), f"{path}.LayerNorm"))


def predictions(p: Pass, x: Tensor, path: str) -> Tensor:
    """(B, T, D) -> (B, T, V). The specification gathers the predicted positions first; all positions give the same loss
    [BERT-MLM-1, BERT-MLM-2]."""
    u = transform(p, x, f"{path}.transform")
    own = not p.config.get("tie_word_embeddings", True)
    table = p.weights[f"{path}.decoder.weight" if own else "bert.embeddings.word_embeddings.weight"]
    return p.keep(path, u @ table.T + p.weights[f"{path}.bias"])


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """(..., c), (...), (...) -> (): sum of w nll / sum of w; 0 where nothing counts [OP-CE-1, OP-CE-3]."""
    nll = -torch.log_softmax(logits, -1).gather(-1, labels[..., None])[..., 0]
    total = weights.sum()
    return (weights * nll).sum() / torch.where(total > 0, total, torch.ones_like(total))


def masked_lm_loss(p: Pass, logits: Tensor, path: str) -> Tensor:
    """(B, T, V) -> (): one mean over all slots of the batch [BERT-LOSS-1]."""
    at = p.inputs["masked_lm_positions"][..., None].expand(-1, -1, logits.shape[-1])
    return p.keep(path, cross_entropy(logits.gather(1, at), p.inputs["masked_lm_ids"], p.inputs["masked_lm_weights"]))


def next_sentence_loss(p: Pass, logits: Tensor, path: str) -> Tensor:
    """(B, 2) -> () [BERT-LOSS-3]."""
    labels = p.inputs["next_sentence_labels"].reshape(-1)
    return p.keep(path, cross_entropy(logits, labels, torch.ones_like(logits[:, 0])))


def total_loss(p: Pass, masked_lm: Tensor, next_sentence: Tensor, path: str) -> Tensor:
    """[BERT-LOSS-4]."""
    return p.keep(path, masked_lm + next_sentence)


def loss(weights: dict[str, Tensor], inputs: dict, config: dict) -> tuple[Tensor, dict[str, Tensor]]:
    """The joint loss () and every intermediate under its published name, in forward order."""
    p = Pass(weights, inputs, config, {})
    x = encoder(p, embeddings(p, "bert.embeddings"), "bert.encoder")
    pooled = pooler(p, x, "bert.pooler")
    masked_lm_logits = predictions(p, x, "cls.predictions")
    next_sentence_logits = linear(p, pooled, "cls.seq_relationship")
    masked_lm = masked_lm_loss(p, masked_lm_logits, "loss.masked_lm")
    next_sentence = next_sentence_loss(p, next_sentence_logits, "loss.next_sentence")
    return total_loss(p, masked_lm, next_sentence, "loss"), p.seen


def gradients(value: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """d value / d each tensor, 0 where value does not depend on it."""
    wanted = {name: x for name, x in tensors.items() if x.requires_grad}
    found: tuple = (None,) * len(wanted)
    if value.requires_grad:
        found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
    known = {name: g for name, g in zip(wanted, found, strict=True) if g is not None}
    return {name: known.get(name, torch.zeros_like(x)) for name, x in tensors.items()}


# ---- optimizer ------------------------------------------------------------------------------------------------------


def learning_rate(s: int, o: dict) -> float:
    """After s updates: the warm-up replaces the decay, which counts from step 0 [OPT-SCHED-1, OPT-SCHED-2]."""
    if s < o["warmup"]:
        return o["peak"] * s / o["warmup"]
    return o["peak"] * max(0.0, 1 - s / o["total"])


def global_norm(gs: dict[str, Tensor]) -> Tensor:
    """Over all parameters, a tied one once [OPT-CLIP-1]."""
    return torch.sqrt(sum((g * g).sum() for g in gs.values()))


def clip(gs: dict[str, Tensor], norm: Tensor, o: dict) -> dict[str, Tensor]:
    """g c / max(norm, c) [OPT-CLIP-1]."""
    factor = o["clip"] / torch.clamp(norm, min=o["clip"])
    return {name: g * factor for name, g in gs.items()}


def decay(name: str, o: dict) -> float:
    """No decay where the published name says norm or bias [OPT-ADAM-4]."""
    return 0.0 if any(part in name for part in ("LayerNorm", "layer_norm", "bias")) else o["decay"]


def adam(
    name: str, w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, rate: float, o: dict
) -> tuple[Tensor, Tensor, Tensor]:
    """The t-th update (from 1) of one parameter and its moments: no bias correction, decoupled decay [OPT-ADAM]."""
    m = o["beta1"] * m + (1 - o["beta1"]) * g
    v = o["beta2"] * v + (1 - o["beta2"]) * g * g
    return w - rate * (m / (torch.sqrt(v) + o["eps"]) + decay(name, o) * w), m, v


def parameters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leaves for the gradients to arrive at."""
    return {name: w.detach().clone().requires_grad_() for name, w in weights.items()}


def steps(weights: dict[str, Tensor], batches: list[dict], config: dict, o: dict, at: tuple[int, ...]) -> dict:
    """Tensors after the optimizer steps `at` (from 1): loss, norm before clipping, rate, moments, parameters, in order.

    The loss is the one whose gradient the step uses, so before the update. Batches are used in turn.
    """
    out = {}
    m = {name: torch.zeros_like(w) for name, w in weights.items()}
    v = {name: torch.zeros_like(w) for name, w in weights.items()}
    for t in range(1, max(at) + 1):
        weights = parameters(weights)
        value, _ = loss(weights, batches[(t - 1) % len(batches)], config)
        gs = gradients(value, weights)
        norm = global_norm(gs)
        rate = learning_rate(o["start"] + t - 1, o)
        clipped = clip(gs, norm, o)
        with torch.no_grad():
            new = {n: adam(n, w, clipped[n], m[n], v[n], t, rate, o) for n, w in weights.items()}
        weights, m, v = ({n: triple[i] for n, triple in new.items()} for i in range(3))
        if t in at:
            found = {"loss": value, "gradient_norm": norm, "learning_rate": torch.tensor(rate, dtype=value.dtype)}
            found |= {f"adam_m.{n}": x for n, x in m.items()} | {f"adam_v.{n}": x for n, x in v.items()} | weights
            out |= {f"steps/{t}/{n}": x for n, x in found.items()}
    return out


# ---- the candidate --------------------------------------------------------------------------------------------------


def canonical(weights: Arrays, config: dict) -> Arrays:
    """Weights under canonical names: aliases resolved (each must equal its original), no buffers [NAME-3, NAME-4]."""
    spellings = {"gamma": "weight", "beta": "bias"}
    aliases = {"cls.predictions.decoder.bias": "cls.predictions.bias"}
    if config.get("tie_word_embeddings", True):
        aliases["cls.predictions.decoder.weight"] = "bert.embeddings.word_embeddings.weight"
    out: Arrays = {}
    for name, value in weights.items():
        module, _, last = name.rpartition(".")
        if last == "position_ids":
            continue
        name = f"{module}.{spellings.get(last, last)}"
        name = aliases.get(name, name)
        if name in out and not np.array_equal(out[name], value):
            raise ValueError(f"{name} is stored twice with different values")
        out[name] = value
    return out


def tensors(inputs: dict, dtype: torch.dtype) -> dict:
    """Inputs as tensors under BERT's own names: labels and ids as integers, weights and keep-masks in dtype."""
    out = {}
    for name, value in inputs.items():
        if name == "dropout":
            out[name] = {path: torch.tensor(np.asarray(keep), dtype=dtype) for path, keep in value.items()}
        else:
            kind = dtype if name == "masked_lm_weights" else torch.int64
            out[SPELLINGS.get(name, name)] = torch.tensor(np.asarray(value), dtype=kind)
    return out


def made_with(seen: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, list[str]]:
    """Path -> its parameters, in forward order; a parameter belongs to the innermost module whose output is known."""
    out: dict[str, list[str]] = {path: [] for path in ["", *seen]}
    for name in weights:
        home = name.rpartition(".")[0]
        while home not in out:
            home = home.rpartition(".")[0]
        out[home].append(name)
    return out


def run(
    weights: Arrays,
    inputs: dict,
    config: dict,
    *,
    dtype: str = "float64",
    optimizer: dict | None = None,
    batches: list[dict] | None = None,
    at: tuple[int, ...] = (1, 2, 10),
) -> Arrays:
    """Every tensor of a pre-training step, in the order in which it is computed.

    weights: published names -> arrays. inputs: input_ids, input_mask, segment_ids (B, T), masked_lm_positions,
    masked_lm_ids, masked_lm_weights (B, M), next_sentence_labels (B,) or (B, 1), and, for dropout, "dropout":
    keep-masks under the path of the published dropout module (`bert.embeddings.dropout`, `….attention.self.dropout`,
    `….attention.output.dropout`, `….output.dropout`). optimizer: fields that differ from OPTIMIZER; None for no steps.
    batches: the inputs of each step, used in turn; None for `inputs` again and again.

    Returns `forward/NAME`, `gradients/NAME` (walking back; not of the loss terms), `steps/N/NAME` for N in `at`.
    """
    kind = getattr(torch, np.dtype(dtype).name)
    start = {n: torch.tensor(np.asarray(w), dtype=kind) for n, w in canonical(weights, config).items()}
    leaves = parameters(start)
    value, seen = loss(leaves, tensors(inputs, kind), config)
    inner = {name: x for name, x in seen.items() if not name.startswith("loss")}
    found = gradients(value, inner | leaves)
    out = {f"forward/{name}": x for name, x in seen.items()}
    parts = made_with(inner, leaves)
    for path in reversed(parts):
        out |= {f"gradients/{name}": found[name] for name in [path, *parts[path]] if name}
    if optimizer is not None:
        turns = [tensors(batch, kind) for batch in batches or [inputs]]
        in_order = {name: start[name] for names in parts.values() for name in names}
        out |= steps(in_order, turns, config, OPTIMIZER | optimizer, at)
    return {name: x.detach().numpy() for name, x in out.items()}
