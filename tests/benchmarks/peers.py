"""The peers of the forward and the step jobs: BERT by transformers, torch.compile, ONNX Runtime and JAX.

Each function takes minibert's model and returns a run on a copy of its weights that is ready: compiled, optimizer
moments in place, nothing else held. So what a process grows by in a run is what that run needs. A peer that is not
installed raises ModuleNotFoundError, one that cannot run here `Absent`.
"""

import logging
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import minibert
from minibert import kernels

Batch = dict[str, np.ndarray]
Tree = Any
RATE, DECAY, BETAS, EPS = 1e-4, 0.01, (0.9, 0.999), 1e-8  # AdamW's, for every contestant; all parameters decay
NORM = 1.0  # to which gradients are clipped


class Absent(Exception):
    """Why a peer takes no part, in a line."""


def compiler() -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise Absent("no C++ compiler is installed")


# ---- torch -----------------------------------------------------------------------------------------------------------
def quiet() -> None:
    """transformers without its bars and advice."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def twin(model: minibert.Model) -> Any:
    """transformers' module with the model's weights, its attention written out, dropout off."""
    import torch
    import transformers

    quiet()
    names = (
        "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
        "hidden_act layer_norm_eps"
    )
    fields = {name: getattr(model.config, name) for name in names.split()}
    config = transformers.BertConfig(
        **fields, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    net = transformers.BertForPreTraining(config)
    net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in model.state_dict().items()}, strict=False)
    net.tie_weights()
    return net


def eager(model: minibert.Model, ids: np.ndarray) -> Callable[[], np.ndarray]:
    return _inference(twin(model).bert.eval(), ids)


def compiled(model: minibert.Model, ids: np.ndarray) -> Callable[[], np.ndarray]:
    compiler()
    import torch

    run = _inference(torch.compile(twin(model).bert.eval()), ids)
    run()
    return run


def _inference(net: Any, ids: np.ndarray) -> Callable[[], np.ndarray]:
    import torch

    tensor = torch.from_numpy(ids)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return net(tensor).last_hidden_state.numpy()

    return run


def exported(model: minibert.Model, ids: np.ndarray) -> Callable[[], np.ndarray]:
    """ONNX Runtime on what torch exports."""
    import onnxruntime
    import onnxscript  # noqa: F401  torch's exporter needs it
    import torch

    logging.disable(logging.WARNING)  # the exporter's, about packages and folding that do not matter here
    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        net = twin(model).bert.eval()
        program = torch.onnx.export(net, (torch.from_numpy(ids),), dynamo=True, verbose=False)
    logging.disable(logging.NOTSET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = kernels.THREADS
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: ids})[0]


def eager_step(model: minibert.Model, batch: Batch) -> Callable[[], float]:
    """transformers' own loss, which multiplies every position with the vocabulary."""
    import torch

    labels = np.full(batch["input_ids"].shape, -100)
    np.put_along_axis(labels, batch["masked_lm_positions"], batch["masked_lm_ids"], 1)
    inputs = {"input_ids": batch["input_ids"], "labels": labels, "next_sentence_label": batch["next_sentence_labels"]}
    inputs = {name: torch.from_numpy(array) for name, array in inputs.items()}
    net = twin(model)
    return _updating(net, lambda: net(**inputs).loss)


def gathering_step(model: minibert.Model, batch: Batch) -> Callable[[], float]:
    """torch with the vocabulary at the predicted positions alone, as minibert has it."""
    net = twin(model)
    return _updating(net, _gathering(net, batch))


def compiled_step(model: minibert.Model, batch: Batch) -> Callable[[], float]:
    """The same, forward and backward compiled; clipping and AdamW are torch's own, which walk all tensors at once."""
    compiler()
    import torch

    net = twin(model)
    loss = torch.compile(_gathering(net.train(), batch))
    loss().backward()
    return _updating(net, loss)


def _gathering(net: Any, batch: Batch) -> Callable[[], Any]:
    import torch

    ids, targets, labels, pairs = map(
        torch.from_numpy,
        (batch["input_ids"], flat(batch), batch["masked_lm_ids"].reshape(-1), batch["next_sentence_labels"]),
    )
    cross_entropy = torch.nn.functional.cross_entropy

    def loss() -> Any:
        hidden, pooled = net.bert(ids, return_dict=False)
        masked = cross_entropy(net.cls.predictions(hidden.flatten(0, 1)[targets]), labels)
        return masked + cross_entropy(net.cls.seq_relationship(pooled), pairs)

    return loss


def flat(batch: Batch) -> np.ndarray:
    """The predicted positions, counted through all rows."""
    rows, length = batch["input_ids"].shape
    return (batch["masked_lm_positions"] + np.arange(rows)[:, None] * length).reshape(-1)


def _updating(net: Any, loss_of: Callable[[], Any]) -> Callable[[], float]:
    import torch

    net.train().zero_grad()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, betas=BETAS, eps=EPS)
    for p in net.parameters():  # the moments that its first step would make
        zeros = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[p] = {"step": torch.tensor(0.0), **zeros}

    def run() -> float:
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), NORM)
        optimizer.step()
        optimizer.zero_grad()  # nothing of the gradient is held between runs
        return loss.item()

    return run


# ---- JAX -------------------------------------------------------------------------------------------------------------
# XLA's CPU client starts a thread for each processor that the process may use, or PJRT_NPROC threads where that is set:
# side_by_side.py sets it, and the processors of each job's process too, to minibert's number of threads.
def _jax() -> Any:
    import jax

    jax.config.update("jax_platforms", "cpu")
    return jax


def _copies(tree: Tree) -> Tree:
    """As JAX's arrays. Copies: it would share NumPy's memory, which minibert's optimizer writes to."""
    jax = _jax()
    return jax.tree.map(lambda array: jax.numpy.array(array, copy=True), tree)


def _dense(x: Any, p: Tree) -> Any:
    return x @ p["weight"].T + p["bias"]


def _norm(x: Any, p: Tree, eps: float) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / (((centred * centred).mean(-1, keepdims=True) + eps) ** 0.5) * p["weight"] + p["bias"]


def _hidden(p: Tree, config: Any, ids: Any) -> Any:
    """BERT's last hidden states (B, T, D) from minibert's tree of parameters; one segment, no padding, no dropout."""
    jax = _jax()
    rows, length = ids.shape
    eps, heads = config.layer_norm_eps, config.num_attention_heads
    tables = p["embeddings"]
    h = tables["word"]["weight"][ids] + tables["position"]["weight"][:length] + tables["token_type"]["weight"][0]
    h = _norm(h, tables["norm"], eps)
    for layer in p["encoder"]:
        attention, wide = layer["attention"], layer["feed_forward"]
        q, k, v = (_dense(h, attention[name]).reshape(rows, length, heads, -1) for name in ("query", "key", "value"))
        scores = jax.numpy.einsum("bthk,bshk->bhts", q, k) / q.shape[-1] ** 0.5
        context = jax.numpy.einsum("bhts,bshk->bthk", jax.nn.softmax(scores), v)
        h = _norm(h + _dense(context.reshape(h.shape), attention["output"]), attention["norm"], eps)
        inner = jax.nn.gelu(_dense(h, wide["in"]), approximate=False)
        h = _norm(h + _dense(inner, wide["out"]), wide["norm"], eps)
    return h


def _loss(p: Tree, config: Any, batch: Tree) -> Any:
    """Masked tokens at the predicted positions and the next sentence."""
    jax = _jax()

    def cross_entropy(logits: Any, labels: Any) -> Any:
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    h = _hidden(p, config, batch["ids"])
    at = h.reshape(-1, h.shape[-1])[batch["targets"]]
    at = _norm(jax.nn.gelu(_dense(at, p["mlm"]["dense"]), approximate=False), p["mlm"]["norm"], config.layer_norm_eps)
    words = at @ p["embeddings"]["word"]["weight"].T + p["mlm"]["decoder"]["bias"]
    pairs = _dense(jax.numpy.tanh(_dense(h[:, 0], p["pooler"])), p["nsp"])
    return cross_entropy(words, batch["labels"]) + cross_entropy(pairs, batch["pairs"])


def jitted(model: minibert.Model, ids: np.ndarray) -> Callable[[], np.ndarray]:
    jax = _jax()
    p, tokens = _copies(model.params), _copies(ids)
    program = jax.jit(lambda p, ids: _hidden(p, model.config, ids)).lower(p, tokens).compile()
    return lambda: np.asarray(program(p, tokens))


def jitted_step(model: minibert.Model, batch: Batch) -> Callable[[], float]:
    """Forward, backward, clipping and AdamW as one program, which may reuse the memory of parameters and moments."""
    jax = _jax()
    config, (first, second) = model.config, BETAS

    def step(state: Tree, batch: Tree) -> Any:
        p, m, v, t = state
        loss, g = jax.value_and_grad(lambda p: _loss(p, config, batch))(p)
        norm = sum((x * x).sum() for x in jax.tree.leaves(g)) ** 0.5
        g = jax.tree.map(lambda x: x * (NORM / jax.numpy.maximum(norm, NORM)), g)
        t = t + 1
        m = jax.tree.map(lambda m, g: first * m + (1 - first) * g, m, g)
        v = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, v, g)
        size, root = RATE / (1 - first**t), (1 - second**t) ** 0.5
        p = jax.tree.map(lambda p, m, v: p * (1 - RATE * DECAY) - size * m / (v**0.5 / root + EPS), p, m, v)
        return (p, m, v, t), loss

    p = _copies(model.params)
    state = [(p, *(jax.tree.map(jax.numpy.zeros_like, p) for _ in "mv"), jax.numpy.float32(0))]
    inputs = _copies(
        {
            "ids": batch["input_ids"],
            "targets": flat(batch),
            "labels": batch["masked_lm_ids"].reshape(-1),
            "pairs": batch["next_sentence_labels"],
        }
    )
    program = jax.jit(step, donate_argnums=0).lower(state[0], inputs).compile()

    def run() -> float:
        state[0], loss = program(state[0], inputs)
        jax.block_until_ready(state[0])
        return float(loss)

    return run


FORWARD = {"transformers eager": eager, "torch.compile": compiled, "ONNX Runtime": exported, "JAX": jitted}
STEP = {
    "transformers eager": eager_step,
    "torch, gathering": gathering_step,
    "torch.compile, gathering": compiled_step,
    "JAX, gathering": jitted_step,
}
