"""RoBERTa, ALBERT, ELECTRA's discriminator and GPT-2 in JAX: right; mistakes go in as edits.

Each function stands in the place of `forward` of adapters/jax_bert.py, which does the rest.
"""

from functools import partial

import jax
import jax.numpy as jnp

ERF, TANH = (partial(jax.nn.gelu, approximate=tanh) for tanh in (False, True))
ACTIVATIONS = {"gelu": ERF, "gelu_new": TANH, "relu": jax.nn.relu}


class Pass:
    """The tensors of one pass by name, and the layers."""

    def __init__(self, weights, zeros, eps):
        self.weights, self.zeros, self.eps, self.seen = weights, zeros, eps, {}

    def note(self, name, value):
        while name in self.seen:
            start, _, n = name.partition("@")
            name = f"{start}@{int(n or 0) + 1}"
        self.seen[name] = value + self.zeros[name] if name in self.zeros else value
        return self.seen[name]

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def conv1d(self, x, name):
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        centred = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + self.eps)
        return self.weights[f"{name}.weight"] * centred + self.weights[f"{name}.bias"]

    def look_up(self, name, ids, frozen=-1):
        rows = self.weights[f"{name}.weight"][ids]
        return self.note(name, jnp.where((ids == frozen)[..., None], jax.lax.stop_gradient(rows), rows))

    def embedded(self, start, ids, types, positions, frozen, frozen_position=-1):
        x = self.look_up(f"{start}.word_embeddings", ids, frozen)
        x = x + self.look_up(f"{start}.token_type_embeddings", types)
        x = x + self.look_up(f"{start}.position_embeddings", positions, frozen_position)
        x = self.note(f"{start}.LayerNorm", self.norm(x, f"{start}.LayerNorm"))
        return self.note(start, x)

    def attended(self, x, bias, heads, own, parts):
        q, k, v = (self.note(f"{own}.{part}", self.linear(x, f"{own}.{part}")) for part in parts)
        q, k, v = (a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2) for a in (q, k, v))
        scores = self.note(f"{own}.scores", q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
        probs = self.note(f"{own}.probs", jax.nn.softmax(scores + bias, axis=-1))
        return self.note(f"{own}.context", (probs @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1))

    def layers(self, x, bias, start, config):
        act, heads = ACTIVATIONS[config["hidden_act"]], config["num_attention_heads"]
        for i in range(config["num_hidden_layers"]):
            layer = f"{start}.encoder.layer.{i}"
            y = self.attended(x, bias, heads, f"{layer}.attention.self", ("query", "key", "value"))
            y = self.note(f"{layer}.attention.output.dense", self.linear(y, f"{layer}.attention.output.dense"))
            x = self.norm(x + y, f"{layer}.attention.output.LayerNorm")
            x = self.note(f"{layer}.attention.output", x)
            y = self.note(f"{layer}.intermediate.dense", self.linear(x, f"{layer}.intermediate.dense"))
            y = self.note(f"{layer}.intermediate", act(y))
            y = self.note(f"{layer}.output.dense", self.linear(y, f"{layer}.output.dense"))
            x = self.note(f"{layer}.output", self.norm(x + y, f"{layer}.output.LayerNorm"))
        return x


def masked_lm(logits, batch, config):
    asked = jnp.take_along_axis(logits, batch["masked_lm_positions"][..., None], 1)
    nll = -jnp.take_along_axis(jax.nn.log_softmax(asked), batch["masked_lm_ids"][..., None], -1)[..., 0]
    w = batch["masked_lm_weights"].astype(logits.dtype)
    total = w.sum() + config.get("mlm_denominator_eps", 0.0)
    return (w * nll).sum() / jnp.where(total == 0, 1, total)


def lowest(mask, dtype):
    return jnp.where(mask[:, None, None, :] != 0, 0.0, jnp.finfo(dtype).min).astype(dtype)


def roberta(weights, zeros, batch, config):
    p, ids, mask = Pass(weights, zeros, config["layer_norm_eps"]), batch["input_ids"], batch["input_mask"]
    pad = config["pad_token_id"]
    real = (ids != pad).astype(ids.dtype)
    positions = jnp.cumsum(real, 1) * real + pad
    x = p.embedded("roberta.embeddings", ids, batch["segment_ids"], positions, pad, pad)
    x = p.layers(x, lowest(mask, x.dtype), "roberta", config)
    u = p.note("lm_head.dense", p.linear(x, "lm_head.dense"))
    u = p.note("lm_head.layer_norm", p.norm(ERF(u), "lm_head.layer_norm"))
    table = weights["roberta.embeddings.word_embeddings.weight"]
    logits = p.note("lm_head", u @ table.T + weights["lm_head.bias"])
    p.seen["loss.masked_lm"] = p.seen["loss"] = masked_lm(logits, batch, config)
    return p.seen["loss"], p.seen


def albert(weights, zeros, batch, config):
    p, ids, mask = Pass(weights, zeros, config["layer_norm_eps"]), batch["input_ids"], batch["input_mask"]
    act, heads, start = ACTIVATIONS[config["hidden_act"]], config["num_attention_heads"], "albert.encoder"
    positions = jnp.arange(ids.shape[1])[None]
    x = p.embedded("albert.embeddings", ids, batch["segment_ids"], positions, config["pad_token_id"])
    x = p.note(f"{start}.embedding_hidden_mapping_in", p.linear(x, f"{start}.embedding_hidden_mapping_in"))
    bias = lowest(mask, x.dtype)
    for i in range(config["num_hidden_layers"]):
        group = i * config["num_hidden_groups"] // config["num_hidden_layers"]
        layer = f"{start}.albert_layer_groups.{group}.albert_layers.0"
        y = p.attended(x, bias, heads, f"{layer}.attention", ("query", "key", "value"))
        y = p.note(f"{layer}.attention.dense", p.linear(y, f"{layer}.attention.dense"))
        x = p.note(f"{layer}.attention", p.norm(x + y, f"{layer}.attention.LayerNorm"))
        y = p.note(f"{layer}.ffn", p.linear(x, f"{layer}.ffn"))
        y = p.note(f"{layer}.activation", act(y))
        y = p.note(f"{layer}.ffn_output", p.linear(y, f"{layer}.ffn_output"))
        x = p.note(f"{layer}.full_layer_layer_norm", p.norm(x + y, f"{layer}.full_layer_layer_norm"))
    pooled = p.note("albert.pooler", p.linear(x[:, 0], "albert.pooler"))
    pooled = p.note("albert.pooler_activation", jnp.tanh(pooled))
    u = p.note("predictions.dense", p.linear(x, "predictions.dense"))
    u = p.note("predictions.LayerNorm", p.norm(act(u), "predictions.LayerNorm"))
    table = weights["albert.embeddings.word_embeddings.weight"]
    logits = p.note("predictions", u @ table.T + weights["predictions.bias"])
    pairs = p.note("sop_classifier", p.linear(pooled, "sop_classifier.classifier"))
    p.seen["loss.masked_lm"] = masked_lm(logits, batch, config)
    right = jax.nn.one_hot(batch["sentence_order_labels"].reshape(-1), 2, dtype=x.dtype)
    p.seen["loss.sentence_order"] = -(right * jax.nn.log_softmax(pairs)).sum(-1).mean()
    p.seen["loss"] = p.seen["loss.masked_lm"] + p.seen["loss.sentence_order"]
    return p.seen["loss"], p.seen


def electra(weights, zeros, batch, config):
    p, ids, mask = Pass(weights, zeros, config["layer_norm_eps"]), batch["input_ids"], batch["input_mask"]
    positions = jnp.arange(ids.shape[1])[None]
    x = p.embedded("electra.embeddings", ids, batch["segment_ids"], positions, config["pad_token_id"])
    x = p.note("electra.embeddings_project", p.linear(x, "electra.embeddings_project"))
    x = p.layers(x, lowest(mask, x.dtype), "electra", config)
    head = "discriminator_predictions"
    u = ACTIVATIONS[config["hidden_act"]](p.note(f"{head}.dense", p.linear(x, f"{head}.dense")))
    logits = p.note(f"{head}.dense_prediction", p.linear(u, f"{head}.dense_prediction"))
    logits = p.note(head, logits[..., 0])
    labels, w = batch["replaced_labels"].astype(x.dtype), mask.astype(x.dtype)
    each = jnp.logaddexp(0, logits) - labels * logits
    p.seen["loss.replaced_token"] = p.seen["loss"] = (each * w).sum() / w.sum()
    return p.seen["loss"], p.seen


def gpt2(weights, zeros, batch, config):
    p, ids, mask = Pass(weights, zeros, config["layer_norm_epsilon"]), batch["input_ids"], batch["attention_mask"]
    act, heads, n = ACTIVATIONS[config["activation_function"]], config["n_head"], ids.shape[1]
    x = p.look_up("transformer.wte", ids) + p.look_up("transformer.wpe", jnp.arange(n)[None])
    x = p.note("transformer.drop", x)
    sees = jnp.tril(jnp.ones((n, n), bool)) & (mask[:, None, None, :] != 0)
    for i in range(config["n_layer"]):
        block = f"transformer.h.{i}"
        y = p.note(f"{block}.ln_1", p.norm(x, f"{block}.ln_1"))
        y = p.note(f"{block}.attn.c_attn", p.conv1d(y, f"{block}.attn.c_attn"))
        q, k, v = jnp.split(y, 3, axis=-1)
        q, k, v = (a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2) for a in (q, k, v))
        scores = p.note(f"{block}.attn.scores", q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
        scores = jnp.where(sees, scores, jnp.finfo(scores.dtype).min)
        probs = p.note(f"{block}.attn.probs", jax.nn.softmax(scores, axis=-1))
        y = p.note(f"{block}.attn.context", (probs @ v).swapaxes(1, 2).reshape(x.shape))
        y = p.note(f"{block}.attn.c_proj", p.conv1d(y, f"{block}.attn.c_proj"))
        x = x + p.note(f"{block}.attn", y)
        y = p.note(f"{block}.ln_2", p.norm(x, f"{block}.ln_2"))
        y = p.note(f"{block}.mlp.c_fc", p.conv1d(y, f"{block}.mlp.c_fc"))
        y = p.note(f"{block}.mlp.act", act(y))
        y = p.note(f"{block}.mlp.c_proj", p.conv1d(y, f"{block}.mlp.c_proj"))
        x = p.note(block, x + p.note(f"{block}.mlp", y))
    x = p.note("transformer.ln_f", p.norm(x, "transformer.ln_f"))
    logits = p.note("lm_head", x @ weights["transformer.wte.weight"].T)
    asked, targets = logits[:, :-1], batch["labels"][:, 1:]
    counts = targets != -100
    nll = -jnp.take_along_axis(jax.nn.log_softmax(asked), jnp.where(counts, targets, 0)[..., None], -1)[..., 0]
    p.seen["loss.next_token"] = p.seen["loss"] = (nll * counts).sum() / counts.sum()
    return p.seen["loss"], p.seen
