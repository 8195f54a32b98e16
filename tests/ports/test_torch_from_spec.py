"""The torch port against SPEC.md's numbers and against transformers' BertForPreTraining; bar 1e-12 in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a port in torch: install minibert[oracle]")

from . import torch_from_spec as port  # noqa: E402  torch first, so that a run without it skips
from .probe import CONFIG, inputs, weights  # noqa: E402


def spec_model() -> tuple[dict, dict, dict]:
    """Weights, inputs and configuration of clause BERT-ALL-1."""
    sizes = {"vocab_size": 17, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "max_position_embeddings": 12, "type_vocab_size": 2}
    config = CONFIG | sizes | {"layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0}
    ws = {}
    for k, (name, w) in enumerate(sorted(weights(config, seed=0).items())):
        j = np.arange(w.size)
        value = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + (1.0 if name.endswith("LayerNorm.weight") else 0.0)
        ws[name] = value.reshape(w.shape)
    batch = {
        "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
        "input_mask": [[1] * 8, [1] * 7 + [0]],
        "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
        "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
        "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
        "masked_lm_weights": [[1, 1, 1], [1, 1, 0]],
        "next_sentence_labels": [0, 1],
    }
    return ws, batch, config


@pytest.mark.parametrize(("act", "expected"), [("gelu", 4.481629302687), ("gelu_new", 4.481623663301)])
def test_the_specification_s_whole_model(act, expected):
    """BERT-ALL-1, to its 12 decimals."""
    ws, batch, config = spec_model()
    assert len(ws) == 46
    assert abs(float(port.run(ws, batch, config | {"hidden_act": act})["forward/loss"]) - expected) < 1e-12


def test_the_specification_s_optimizer():
    """The examples of section 6: clip, bert_adam twice, the schedule at six steps."""
    o = port.OPTIMIZER | {"decay": 0.01}
    gs = {"a": torch.tensor([3.0], dtype=torch.float64), "b": torch.tensor([4.0], dtype=torch.float64)}
    norm = port.global_norm(gs)
    clipped = port.clip(gs, norm, o)
    assert [float(norm), *(round(float(g), 12) for g in clipped.values())] == [5.0, 0.6, 0.8]
    p, m, v = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 0.0, 0.0))
    for t, (g, expected) in enumerate([(0.1, 0.9682872202370383), (0.2, 0.9271798967114366)], start=1):
        p, m, v = port.adam("a.weight", p, torch.tensor([g], dtype=torch.float64), m, v, t, 0.01, o)
        assert abs(float(p) - expected) < 1e-15
    rates = [port.learning_rate(s, o) for s in (0, 9_999, 10_000, 500_000, 1_000_000, 1_000_001)]
    np.testing.assert_allclose(rates, [0.0, 9.999e-5, 9.9e-5, 5e-5, 0.0, 0.0], rtol=1e-12)


def published(config: dict, ws: dict, monkeypatch: pytest.MonkeyPatch, batch: dict):
    """transformers' model with these weights, whose dropout multiplies by the batch's keep-masks, in order of use."""
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    model = transformers.BertForPreTraining(transformers.BertConfig(**config, attn_implementation="eager")).double()
    state = {name: torch.tensor(w) for name, w in ws.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids"}
    assert not unexpected, unexpected
    assert set(missing) <= tied, missing
    order = ["bert.embeddings.dropout"]
    for i in range(config["num_hidden_layers"]):
        order += [f"bert.encoder.layer.{i}.{d}.dropout" for d in ("attention.self", "attention.output", "output")]
    masks = iter([batch["dropout"][path] for path in order if "dropout" in batch])

    def drop(x, p=0.5, training=True, inplace=False):
        return x * torch.tensor(next(masks), dtype=x.dtype) / (1 - p) if training else x

    monkeypatch.setattr(torch.nn.functional, "dropout", drop)
    return model.train("dropout" in batch)


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("drop", [False, True])
def test_equals_the_published_model(monkeypatch, act, drop):
    """Every intermediate that a hook sees, the loss, and the gradients of all of them and of all parameters."""
    config = CONFIG | {"hidden_act": act}
    ws, batch = weights(config, seed=1), inputs(config, seed=2)
    if not drop:
        del batch["dropout"]
    mine = port.run(ws, batch, config)

    model = published(config, ws, monkeypatch, batch)
    seen = {}

    def keep(name):
        def hook(_, __, y):
            if torch.is_tensor(y):
                y.retain_grad()
                seen[name] = y

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    labels = np.full(batch["input_ids"].shape, -100)
    for row, positions in enumerate(batch["masked_lm_positions"]):
        for slot, t in enumerate(positions):
            if batch["masked_lm_weights"][row, slot]:
                labels[row, t] = batch["masked_lm_ids"][row, slot]
    out = model(
        input_ids=torch.tensor(batch["input_ids"]),
        attention_mask=torch.tensor(batch["input_mask"]),
        token_type_ids=torch.tensor(batch["segment_ids"]),
        labels=torch.tensor(labels),
        next_sentence_label=torch.tensor(batch["next_sentence_labels"]),
        output_attentions=True,
    )
    out.loss.backward()

    truth = {"forward/loss": out.loss, "forward/cls.predictions": out.prediction_logits}
    truth["forward/cls.seq_relationship"] = out.seq_relationship_logits
    if not drop:  # the published model returns the probabilities after dropout
        truth |= {f"forward/bert.encoder.layer.{i}.attention.self.probs": a for i, a in enumerate(out.attentions)}
    for name, y in seen.items():
        if "forward/" + name in mine:
            truth["forward/" + name] = y
            truth["gradients/" + name] = y.grad
    truth |= {"gradients/" + name: w.grad for name, w in model.named_parameters()}
    layers = config["num_hidden_layers"]
    assert len([n for n in truth if n.startswith("forward/")]) >= 10 + 9 * layers
    assert set(truth) >= {"gradients/" + name for name in ws}

    largest = max(float(g.abs().max()) for n, g in truth.items() if n.startswith("gradients/"))
    for name, b in truth.items():
        a, b = mine[name], b.detach().numpy()
        assert a.shape == b.shape, name
        floor = 1e-3 * largest if name.startswith("gradients/") else 0.0
        assert np.abs(a - b).max() <= 1e-12 * max(np.abs(b).max(), floor), name


def test_steps_follow_the_gradients():
    """Step 1 is one Adam step on the clipped gradients of `gradients/`; later steps use the batches in turn."""
    ws, first, second = weights(CONFIG, seed=1), inputs(CONFIG, seed=2), inputs(CONFIG, seed=3)
    o = {"peak": 1e-3, "warmup": 4, "total": 30, "start": 2}
    out = port.run(ws, first, CONFIG, optimizer=o, batches=[first, second])
    gs = {name: out["gradients/" + name] for name in ws}
    norm = np.sqrt(sum((g * g).sum() for g in gs.values()))
    assert norm > 1
    np.testing.assert_allclose(out["steps/1/gradient_norm"], norm, rtol=1e-13)
    np.testing.assert_allclose(out["steps/1/learning_rate"], 5e-4, rtol=1e-13)
    np.testing.assert_allclose(out["steps/10/learning_rate"], 1e-3 * (1 - 11 / 30), rtol=1e-13)
    assert out["steps/1/loss"] == out["forward/loss"]
    for name, w in ws.items():
        g = gs[name] / norm
        kept = "LayerNorm" in name or "bias" in name
        u = 0.1 * g / (np.sqrt(0.001 * g * g) + 1e-6) + (0.0 if kept else 0.01) * w
        np.testing.assert_allclose(out["steps/1/adam_m." + name], 0.1 * g, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(out["steps/1/" + name], w - 5e-4 * u, rtol=1e-12, atol=1e-14)
    moved = {name.removeprefix("steps/1/"): w for name, w in out.items() if name.startswith("steps/1/bert")}
    moved |= {name.removeprefix("steps/1/"): w for name, w in out.items() if name.startswith("steps/1/cls")}
    again = port.run(moved, second, CONFIG)
    np.testing.assert_allclose(out["steps/2/loss"], again["forward/loss"], rtol=1e-13)


def test_aliases_and_small_print():
    """gamma and beta, the decoder's aliases, buffers; an alias that differs; a negative id; a batch without targets."""
    ws, batch = weights(CONFIG, seed=1), inputs(CONFIG, seed=2)
    table = "bert.embeddings.word_embeddings.weight"
    old = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): w for n, w in ws.items()}
    old |= {"cls.predictions.decoder.weight": ws[table], "cls.predictions.decoder.bias": ws["cls.predictions.bias"]}
    old["bert.embeddings.position_ids"] = np.arange(9)
    a, b = port.run(ws, batch, CONFIG), port.run(old, batch, CONFIG)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[n], b[n]) for n in a)
    with pytest.raises(ValueError, match="twice"):
        port.run(old | {"cls.predictions.decoder.weight": 2 * ws[table]}, batch, CONFIG)
    with pytest.raises(IndexError, match="negative"):
        port.run(ws, batch | {"input_ids": batch["input_ids"] - 3}, CONFIG)
    none = port.run(ws, batch | {"masked_lm_weights": 0 * batch["masked_lm_weights"]}, CONFIG)
    assert none["forward/loss.masked_lm"] == 0
    assert none["forward/loss"] == none["forward/loss.next_sentence"]
    assert not none["gradients/cls.predictions.bias"].any()
    untied = CONFIG | {"tie_word_embeddings": False}
    c = port.run(ws | {"cls.predictions.decoder.weight": ws[table]}, batch, untied)
    both = c["gradients/" + table] + c["gradients/cls.predictions.decoder.weight"]
    np.testing.assert_allclose(both, a["gradients/" + table], rtol=0, atol=1e-14)


def test_float32():
    """Every tensor comes out in the dtype asked for, near the float64 one."""
    ws, batch = weights(CONFIG, seed=1), inputs(CONFIG, seed=2)
    double = port.run(ws, batch, CONFIG, optimizer={"start": 10, "warmup": 20})
    single = port.run(ws, batch, CONFIG, dtype="float32", optimizer={"start": 10, "warmup": 20})
    assert {x.dtype for x in single.values()} == {np.dtype("float32")}
    assert all(np.abs(single[n] - x).max() <= 1e-3 * max(np.abs(x).max(), 1e-3) for n, x in double.items())
