"""BERT-ALL-1 to 3 of SPEC.md, by the engine and by the torch port that was written from the SPEC alone."""

import re
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert.golden.subject import Subject, observe

FIELDS = {
    "vocab_size": 17,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
    "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
    "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
    "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
    "next_sentence_labels": [0, 1],
}
PLAN = {"learning_rate": 1e-2, "warmup": 4, "total": 40, "first_step": 2, "weight_decay": 0.01, "clip_norm": 1.0}
NORMS = {
    "gradients/bert.embeddings.word_embeddings.weight": 1.483213634112,
    "gradients/bert.embeddings.position_embeddings.weight": 0.610135376963,
    "gradients/bert.encoder.layer.0.attention.self.query.weight": 0.294316728300,
    "gradients/bert.encoder.layer.1.output.LayerNorm.weight": 0.342677021655,
    "gradients/bert.pooler.dense.weight": 0.443322856494,
    "gradients/cls.predictions.bias": 0.443976923693,
    "gradients/cls.predictions.transform.dense.weight": 2.154946421338,
    "steps/1/gradient_norm": 4.814471419483,
    "steps/1/learning_rate": 0.005,
    "steps/2/loss": 3.458239713859,
    "steps/2/gradient_norm": 4.115395150086,
    "steps/2/learning_rate": 0.0075,
    "steps/2/bert.pooler.dense.weight": 2.769920395239,
    "steps/2/cls.predictions.bias": 1.333366566305,
    "forward/loss.masked_lm": 3.660497747,
    "forward/loss.next_sentence": 0.821131556,
    "forward/loss": 4.481629302687,
}


def weights() -> dict[str, np.ndarray]:
    """The recipe of BERT-ALL-1."""
    arrays = minibert.create("bert", dtype="float64", **FIELDS).state_dict()
    for k, name in enumerate(sorted(arrays)):
        j = np.arange(arrays[name].size)
        values = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + name.endswith("LayerNorm.weight")
        arrays[name][...] = values.reshape(arrays[name].shape)
    return arrays


def engine() -> dict[str, np.ndarray]:
    model = minibert.create("bert", dtype="float64", **FIELDS)
    for name, array in weights().items():
        model.state_dict()[name][...] = array
    plan = {**PLAN, "name": "bert_adam", "schedule": "bert"}
    return observe(Subject("bert", model.config, model.params, [model.checked(BATCH)], plan), (1, 2))


def torch_port() -> dict[str, np.ndarray]:
    pytest.importorskip("torch", reason="the port written from the SPEC is in torch: install minibert[oracle]")
    from ports import torch_from_spec

    names = {"peak": "learning_rate", "start": "first_step", "decay": "weight_decay", "clip": "clip_norm"}
    plan = {name: PLAN[names.get(name, name)] for name in ("peak", "warmup", "total", "start", "decay", "clip")}
    inputs = {name: np.array(value) for name, value in BATCH.items()}
    config = {**FIELDS, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0}
    return torch_from_spec.run(weights(), inputs, config, optimizer=plan, at=(1, 2))


@pytest.mark.parametrize("run", [engine, torch_port])
def test_the_figures_of_the_whole_model(run):
    tensors = run()
    for key, expected in NORMS.items():
        assert np.linalg.norm(tensors[key]) == pytest.approx(expected, rel=1e-9), key


def test_they_are_the_figures_in_the_text():
    text = (Path(__file__).resolve().parent.parent / "reference" / "spec" / "bert.md").read_text(encoding="utf-8")
    section = text[text.index("- **BERT-ALL-1**") :]
    stated = {float(number) for number in re.findall(r"\d+\.\d+", section)}
    assert set(NORMS.values()) <= stated
