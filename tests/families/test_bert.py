"""BERT: what it is compared with, its figures, and what fully masked rows do."""

import numpy as np
import pytest
from figures import SIZES, TEXT, Figures, model
from published import Published, error, example, oracle, pair, probed, torch_inputs

import minibert
from minibert import tree
from minibert.families import bert

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (330, "the family that the others are kin of: all data that theirs are made of"),
    "cases": (251, "every kind of case, which the others have one or two of"),
    "page of the spec": (140, "the clauses that bind in all encoders that are kin to it"),
    "bytes of golden cases": (7_800_000, "dtypes, variants, optimizers that others need not repeat"),
}

LABELS = {"labels": "masked_lm", "next_sentence_label": "next_sentence"}
PUBLISHED = [
    Published("bert", "BertForPreTraining", labels=LABELS),
    Published("bert", "BertForPreTraining", labels=LABELS, fields={"vocab_size": 119_547}),  # multilingual, cased
]
DIRECTORIES = {
    "BertForPreTraining": {"pooler", "mlm", "nsp"},
    "BertForMaskedLM": {"mlm"},
    "BertForNextSentencePrediction": {"pooler", "nsp"},
    "BertModel": {"pooler"},
}
PARAMETERS = [
    ({}, ("mlm", "nsp"), 109_482_240),
    ({}, (), 110_106_428),
    (bert.PRESETS["large"], ("mlm", "nsp"), 335_141_888),
    (bert.PRESETS["large"], (), 336_226_108),
    (bert.PRESETS["tiny"], ("mlm", "nsp"), 4_385_920),
    (bert.PRESETS["tiny"], (), 4_433_468),
]
PLAN = {"learning_rate": 1e-2, "warmup": 4, "total": 40, "first_step": 2, "weight_decay": 0.01, "clip_norm": 1.0}
BATCH = {**TEXT, "next_sentence_labels": [0, 1]}
FIGURES = [
    Figures(
        "bert",
        {
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
        },
        batch=BATCH,
        plan={**PLAN, "name": "bert_adam", "schedule": "bert"},
    ),
    Figures("bert", {"forward/loss": 4.481623663301}, {"hidden_act": "gelu_new"}, BATCH),
]


def test_the_port_written_from_the_spec_has_the_figures_too():
    """BERT-ALL-1 to 3 by torch, from the clauses alone."""
    oracle()
    from ports import torch_from_spec

    names = {"peak": "learning_rate", "start": "first_step", "decay": "weight_decay", "clip": "clip_norm"}
    plan = {name: PLAN[names.get(name, name)] for name in ("peak", "warmup", "total", "start", "decay", "clip")}
    inputs = {name: np.array(value) for name, value in BATCH.items()}
    config = {**SIZES, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0}
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tensors = torch_from_spec.run(model(FIGURES[0]).state_dict(), inputs, config, optimizer=plan, at=(1, 2))
    for key, figure in FIGURES[0].figures.items():
        assert np.linalg.norm(tensors[key]) == pytest.approx(figure, rel=1e-9), key


def test_a_fully_masked_row_is_uniform_in_float32():
    both = pair(PUBLISHED[0], {}, seed=3)
    single = tree.map(lambda a: a.astype(np.float32), both.model.params)
    ours, batch = minibert.Model("bert", both.model.config, single), both.batch
    batch["input_mask"][1] = 0
    found = ours.encode(batch["input_ids"], attention_mask=batch["input_mask"])
    torch, _ = oracle()
    inputs = {name: value for name, value in torch_inputs(batch).items() if name != "token_type_ids"}
    with torch.no_grad():
        theirs = both.twin.float().bert(**inputs)
    assert np.abs(found["attentions"][0][1] - 1 / batch["input_mask"].shape[1]).max() < 1e-6
    assert error(found["last_hidden_state"], theirs.last_hidden_state.numpy()) < 1e-4


def test_positions_count_padding():
    """BERT-EMB-2: a row that begins with padding is another one."""
    ours = probed("bert")
    batch = example(ours)
    ids, mask = batch["input_ids"], batch["input_mask"]
    straight = ours.encode(ids[:, :-2], attention_mask=mask[:, :-2])["last_hidden_state"]
    moved = np.roll(np.pad(ids[:, :-2], ((0, 0), (0, 2))), 2, 1)
    shifted = ours.encode(moved, attention_mask=np.roll(np.pad(mask[:, :-2], ((0, 0), (0, 2))), 2, 1))
    assert error(shifted["last_hidden_state"][:, 2:], straight) > 1e-2

