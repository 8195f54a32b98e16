"""BERT against transformers' BertForPreTraining: float64, probe weights, nothing at its default; bar 1e-12."""

import numpy as np
import pytest

import minibert
from minibert import tree

torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
transformers = pytest.importorskip("transformers", reason="compares with the published implementation")

FIELDS = {
    "vocab_size": 29,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
}


def probe(model: minibert.Model, rng: np.random.Generator) -> None:
    """Probe weights: std 0.4, gains around 1, one near-constant row in the word table (a low-variance norm input)."""
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    for table in ("word", "position", "token_type"):
        rows = model.params["embeddings"][table]["weight"]
        rows[0] = 0.1 + 1e-3 * rng.standard_normal(rows.shape[1])


def published(model: minibert.Model, act: str) -> "transformers.BertForPreTraining":
    fields = {**FIELDS, "hidden_act": act, "tie_word_embeddings": model.config.tie_word_embeddings}
    config = transformers.BertConfig(**fields, attn_implementation="eager")
    twin = transformers.BertForPreTraining(config).double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*model.module.aliases(model.config), "bert.embeddings.position_ids"}
    twin.tie_weights()
    return twin


def case(seed: int, act: str = "gelu", tied: bool = True):
    """(our model, the published twin, a batch, the published inputs and labels)."""
    rng = np.random.default_rng(seed)
    model = minibert.create("bert", dtype="float64", **FIELDS, hidden_act=act, tie_word_embeddings=tied)
    probe(model, rng)
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    del batch["dropout"]
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    inputs = {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["input_mask"],
        "token_type_ids": batch["segment_ids"],
        "labels": labels,
        "next_sentence_label": batch["next_sentence_labels"],
    }
    return model, published(model, act), batch, {name: torch.from_numpy(value) for name, value in inputs.items()}


def error(got: np.ndarray, true: np.ndarray, scale: float = 0.0) -> float:
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


@pytest.mark.parametrize(("act", "tied"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_loss_and_every_gradient(act, tied):
    model, twin, batch, inputs = case(1, act, tied)
    loss, cache = model.loss(batch)
    out = twin(**inputs)
    out.loss.backward()
    assert error(loss, out.loss.item()) < 1e-12
    rows, columns = np.nonzero(inputs["labels"].numpy() != -100)
    cross_entropy = torch.nn.functional.cross_entropy
    masked_lm = cross_entropy(out.prediction_logits[rows, columns], inputs["labels"][rows, columns])
    next_sentence = cross_entropy(out.seq_relationship_logits, inputs["next_sentence_label"])
    assert error(cache["terms"]["masked_lm"], masked_lm.item()) < 1e-12
    assert error(cache["terms"]["next_sentence"], next_sentence.item()) < 1e-12

    ours = model.state_dict(model.loss_backward(cache))
    theirs = {name: p.grad.numpy() for name, p in twin.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    errors = {name: error(ours[name], theirs[name], largest) for name in ours}
    worst = max(errors, key=errors.get)
    print(f"largest gradient error {errors[worst]:.1e} in {worst}")
    assert errors[worst] < 1e-12
    for name in ours:
        if name.endswith("key.bias"):  # the softmax does not see a constant added to every score of a row
            assert np.abs(ours[name]).max() < 1e-13 * largest


def test_encode():
    model, twin, _, inputs = case(2)
    names = ("input_ids", "attention_mask", "token_type_ids")
    ours = model.encode(**{name: inputs[name].numpy() for name in names})
    with torch.no_grad():
        theirs = twin.bert(**{n: inputs[n] for n in names}, output_hidden_states=True, output_attentions=True)
    assert error(ours["last_hidden_state"], theirs.last_hidden_state.numpy()) < 1e-12
    assert error(ours["pooler_output"], theirs.pooler_output.numpy()) < 1e-12
    for name in ("hidden_states", "attentions"):
        assert len(ours[name]) == len(theirs[name])
        for mine, true in zip(ours[name], theirs[name], strict=True):
            assert error(mine, true.numpy()) < 1e-12


def test_a_fully_masked_row_is_uniform_in_float32():
    model, twin, batch, inputs = case(3)
    model = minibert.Model("bert", model.config, tree.map(lambda a: a.astype(np.float32), model.params))
    mask = batch["input_mask"].copy()
    mask[1] = 0
    ours = model.encode(batch["input_ids"], attention_mask=mask)
    with torch.no_grad():
        theirs = twin.float().bert(
            inputs["input_ids"], attention_mask=torch.from_numpy(mask), output_attentions=True
        )
    assert np.abs(ours["attentions"][0][1] - 1 / mask.shape[1]).max() < 1e-6
    assert error(ours["last_hidden_state"], theirs.last_hidden_state.numpy()) < 1e-4


def test_a_shifted_twin_is_caught():
    """The comparison can fail: another eps in the published twin is seen."""
    model, twin, batch, inputs = case(1)
    twin.bert.encoder.layer[1].output.LayerNorm.eps = 1e-12
    assert error(model.loss(batch)[0], twin(**inputs).loss.item()) > 1e-9
