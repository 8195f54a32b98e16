"""BERT's pre-training step in JAX, written from SPEC.md alone, as a candidate: clauses in brackets.

    python jax_bert.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Needs jax, safetensors. Every named tensor has a zero added to it: jax.grad by these zeros is its gradient.
"""

import json
import re
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
ERF, TANH = (partial(jax.nn.gelu, approximate=tanh) for tanh in (False, True))
ACTIVATIONS = {"gelu": ERF, "gelu_new": TANH, "gelu_pytorch_tanh": TANH, "relu": jax.nn.relu}  # [BERT-ACT-1]


def forward(weights, zeros, batch, config):
    """(loss, every named tensor); zeros: what is added to each of them."""
    seen, act, eps = {}, ACTIVATIONS[config["hidden_act"]], config["layer_norm_eps"]

    def note(name, value):
        seen[name] = value + zeros[name] if name in zeros else value
        return seen[name]

    def linear(x, name):  # [OP-LIN-1]
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):  # [OP-LN-1 OP-LN-2 OP-LN-3]
        centred = x - x.mean(-1, keepdims=True)
        centred = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return weights[f"{name}.weight"] * centred + weights[f"{name}.bias"]

    def drop(x, name, rate):  # [OP-DROP-1]
        keep = batch.get(f"dropout/{name}")
        return x if keep is None else x * keep.astype(x.dtype) / (1 - rate)

    def look_up(name, ids, frozen=None):  # [OP-EMB-1 OP-EMB-3]
        rows, still = weights[f"{name}.weight"][ids], (ids == (-1 if frozen is None else frozen))[..., None]
        return note(name, jnp.where(still, jax.lax.stop_gradient(rows), rows))

    def residual(x, y, name):  # [BERT-ENC-1]
        y = drop(note(f"{name}.dense", linear(y, f"{name}.dense")), f"{name}.dropout", hidden_rate)
        return note(name, norm(x + y, f"{name}.LayerNorm"))

    ids, hidden_rate = batch["input_ids"], config["hidden_dropout_prob"]
    types = batch.get("segment_ids", batch.get("token_type_ids", jnp.zeros_like(ids)))
    frozen = None if config.get("pad_row_gradient") else config["pad_token_id"]
    x = look_up("bert.embeddings.word_embeddings", ids, frozen)
    x = x + look_up("bert.embeddings.token_type_embeddings", types)
    x = x + look_up("bert.embeddings.position_embeddings", jnp.arange(ids.shape[1])[None])  # [BERT-EMB-2]
    x = note("bert.embeddings.LayerNorm", norm(x, "bert.embeddings.LayerNorm"))
    x = note("bert.embeddings", drop(x, "bert.embeddings.dropout", hidden_rate))  # [BERT-EMB-1]
    mask = batch.get("input_mask", batch.get("attention_mask", jnp.ones_like(ids)))
    lowest = {"min": jnp.finfo(x.dtype).min, "-10000": -1e4, "-1e9": -1e9}[config.get("mask_constant", "min")]
    bias = jnp.where(mask[:, None, None, :] != 0, 0.0, lowest).astype(x.dtype)  # [BERT-ATT-4 BERT-ATT-5]
    for i in range(config["num_hidden_layers"]):
        layer, heads = f"bert.encoder.layer.{i}", config["num_attention_heads"]
        own = f"{layer}.attention.self"
        q, k, v = (note(f"{own}.{part}", linear(x, f"{own}.{part}")) for part in ("query", "key", "value"))
        q, k, v = (a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2) for a in (q, k, v))  # [BERT-ATT-2]
        scores = note(f"{own}.scores", q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)  # [OP-ATT-2]
        probs = note(f"{own}.probs", jax.nn.softmax(scores + bias, axis=-1))
        context = drop(probs, f"{own}.dropout", config["attention_probs_dropout_prob"]) @ v
        context = note(f"{own}.context", context.swapaxes(1, 2).reshape(x.shape))
        x = residual(x, context, f"{layer}.attention.output")
        y = note(f"{layer}.intermediate.dense", linear(x, f"{layer}.intermediate.dense"))  # [BERT-FF-1]
        x = residual(x, note(f"{layer}.intermediate", act(y)), f"{layer}.output")
    pooled = note("bert.pooler.dense", linear(x[:, 0], "bert.pooler.dense"))
    pooled = note("bert.pooler", jnp.tanh(pooled))  # [BERT-POOL-1]
    u = note("cls.predictions.transform.dense", linear(x, "cls.predictions.transform.dense"))
    u = note("cls.predictions.transform", norm(act(u), "cls.predictions.transform.LayerNorm"))  # [BERT-MLM-1]
    table, bias = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
    if config.get("tie_word_embeddings", True):  # [BERT-MLM-2]
        table, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    logits = note("cls.predictions", u @ weights[table].T + weights[bias])
    next_logits = note("cls.seq_relationship", linear(pooled, "cls.seq_relationship"))  # [BERT-NSP-1]

    asked = jnp.take_along_axis(logits, batch["masked_lm_positions"][..., None], 1)
    nll = -jnp.take_along_axis(jax.nn.log_softmax(asked), batch["masked_lm_ids"][..., None], -1)[..., 0]
    w = batch["masked_lm_weights"].astype(x.dtype)  # [BERT-LOSS-1 BERT-LOSS-2]
    total = w.sum() + config.get("mlm_denominator_eps", 0.0)
    seen["loss.masked_lm"] = (w * nll).sum() / jnp.where(total == 0, 1, total)
    right = jax.nn.one_hot(batch["next_sentence_labels"].reshape(-1), 2, dtype=x.dtype)  # [BERT-LOSS-3]
    seen["loss.next_sentence"] = -(right * jax.nn.log_softmax(next_logits)).sum(-1).mean()
    seen["loss"] = seen["loss.masked_lm"] + seen["loss.next_sentence"]  # [BERT-LOSS-4]
    return seen["loss"], seen


def update(weights, gradient, moments, rate, k, plan):
    """One update, and the norm before clipping [OPT-CLIP-1 OPT-ADAM-1 OPT-ADAM-3 OPT-ADAM-4 OPT-ADAMW-1]."""
    released = plan["name"] == "bert_adam"  # [OPT-ADAM-2]
    eps, fix1, fix2 = (1e-6, 1, 1) if released else (1e-8, 1 - 0.9**k, 1 - 0.999**k)
    norm = jnp.sqrt(sum((g**2).sum() for g in gradient.values()))
    gradient = {name: g * plan["clip_norm"] / jnp.maximum(norm, plan["clip_norm"]) for name, g in gradient.items()}
    first = {name: 0.9 * m + 0.1 * gradient[name] for name, m in moments[0].items()}
    second = {name: 0.999 * v + 0.001 * gradient[name] ** 2 for name, v in moments[1].items()}
    decay = {name: 0.0 if re.search("LayerNorm|layer_norm|bias", name) else plan["weight_decay"] for name in weights}
    step = {name: m / fix1 / (jnp.sqrt(second[name] / fix2) + eps) for name, m in first.items()}
    moved = {name: (p - rate * (step[name] + decay[name] * p)).astype(p.dtype) for name, p in weights.items()}
    return moved, (first, second), norm


def bert(weights, inputs, facts):
    """{"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of the case."""
    config, plan, batches = facts["config"], facts.get("optimizer"), {}
    for name, value in inputs.items():
        at, _, rest = name.partition("/") if name[0].isdigit() else ("0", "", name)
        batches.setdefault(int(at), {})[rest] = jnp.asarray(value)
    weights = {name: jnp.asarray(value) for name, value in weights.items()}
    shapes = jax.eval_shape(lambda w, b: forward(w, {}, b, config)[1], weights, batches[0])
    zeros = {name: jnp.zeros(a.shape, a.dtype) for name, a in shapes.items() if not name.startswith("loss")}
    slopes = jax.jit(jax.grad(partial(forward, config=config), argnums=(0, 1), has_aux=True))
    (parameters, intermediates), seen = slopes(weights, zeros, batches[0])
    found = {f"forward/{name}": value for name, value in seen.items()}
    found |= {f"gradients/{name}": value for name, value in {**intermediates, **parameters}.items()}
    updated = jax.jit(partial(update, plan=plan))
    moments = ({name: jnp.zeros_like(value) for name, value in weights.items()},) * 2
    for k in range(1, max(facts["steps"]) + 1) if plan else ():
        gradient, seen = slopes(weights, {}, batches[(k - 1) % len(batches)])
        s, warmup, total = plan["first_step"] + k - 1, plan["warmup"], plan["total"]  # [OPT-SCHED-1 OPT-SCHED-2]
        falling = 1 - s / total if plan["schedule"] == "bert" else (total - s) / (total - warmup)
        rate = plan["learning_rate"] * (s / warmup if s < warmup else max(0.0, falling))
        weights, moments, norm = updated(weights, gradient[0], moments, rate, k)
        if k in facts["steps"]:
            state = {"loss": seen["loss"], "learning_rate": np.float64(rate), "gradient_norm": norm, **weights}
            slots = ("adam_m", "adam_v") if plan["name"] == "bert_adam" else ("exp_avg", "exp_avg_sq")
            state |= {f"{slot}.{n}": m for slot, held in zip(slots, moments, strict=True) for n, m in held.items()}
            found |= {f"steps/{k}/{name}": value for name, value in state.items()}
    return {name: np.array(value) for name, value in found.items()}


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    weights, inputs = (load_file(Path(case) / f"{name}.safetensors") for name in ("weights", "inputs"))
    weights = {name: value.astype(dtype or facts["dtype"]) for name, value in weights.items()}
    save_file(bert(weights, inputs, facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
