"""Megatron-BERT: transformers' MegatronBertForPreTraining, its norms, its first weights, its data."""

import numpy as np
import pytest
from figures import TEXT, Figures
from published import ACTIVATIONS, Published, error, example, oracle, pair, probed

import minibert
from minibert import objective, ops, tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, gpt2, megatron_bert
from minibert.mistakes.families.megatron_bert import smoothed_on_rank

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "tests": (155, "beside a published class: norms, first weights, data, what a rank computes"),
    "mistakes": (110, "a loss as one rank computes it, layouts of checkpoints"),
}

PUBLISHED = [
    Published("megatron_bert", "MegatronBertForPreTraining",
              {"labels": "masked_lm", "next_sentence_label": "next_sentence"}, configs=ACTIVATIONS),
]  # fmt: skip
DIRECTORIES = {
    "MegatronBertForPreTraining": {"pooler", "mlm", "nsp"},
    "MegatronBertForMaskedLM": {"mlm"},
    "MegatronBertForNextSentencePrediction": {"pooler", "nsp"},
    "MegatronBertModel": {"pooler"},
}
VARIANTS = ({}, {"mlm_act": "hidden_act", "mask_constant": "min", "tie_word_embeddings": False})
PARAMETERS = [
    ({}, (), 334_723_458),
    (megatron_bert.PRESETS["1.3b"], (), 1_277_591_938),
    (megatron_bert.PRESETS["3.9b"], (), 3_865_326_978),
]
FIGURES = [
    Figures(
        "megatron_bert",
        {
            "forward/loss": 4.105141378434,
            "gradients/bert.embeddings.word_embeddings.weight": 1.361140125928,
            "gradients/bert.encoder.layer.0.attention.ln.weight": 0.283908051558,
            "gradients/bert.encoder.ln.weight": 1.074948076095,
        },
        batch={**TEXT, "next_sentence_labels": [0, 1]},
    )
]


# ---- The network -----------------------------------------------------------------------------------------------------
def test_the_head_s_own_activation_beside_the_published_class():
    """`mlm_act`: its class with another activation in the head."""
    torch, _ = oracle()
    both = pair(PUBLISHED[0], {"hidden_act": "gelu_new", "mlm_act": "gelu"})
    assert error(both.model.loss(both.batch)[0], both.total().item()) > 1e-6
    both.twin.cls.predictions.transform.transform_act_fn = torch.nn.GELU()
    assert error(both.model.loss(both.batch)[0], both.total().item()) < 1e-12


def test_without_branches_it_is_the_last_norm_of_the_embeddings():
    """(d) of B3, and which states are normed (pitfall 5)."""
    model = probed("megatron_bert", layer_norm_eps=1e-12)
    for path, array in tree.items(model.params["encoder"]):
        if path.split(".")[-2] in ("output", "out"):
            array[:] = 0
    model.params["norm"]["weight"][:], model.params["norm"]["bias"][:] = 1, 0
    out = model.encode(input_ids=[[3, 7, 9, 4]])
    states = out["hidden_states"]
    assert all(np.array_equal(h, states[0]) for h in states[:-1])
    due = states[0] - states[0].mean(-1, keepdims=True)
    assert error(out["last_hidden_state"], due / due.std(-1, keepdims=True)) < 1e-9
    assert np.array_equal(states[-1], out["last_hidden_state"])


def test_a_stack_without_layers_is_bert_s_with_its_norm_moved():
    """Where its own part is off: BERT's embeddings, normed, are the last states."""
    model, rng = probed("megatron_bert", num_hidden_layers=1), np.random.default_rng(1)
    model.params["encoder"] = []
    config = bert.Config(**{name: getattr(model.config, name) for name in bert.Config.__dataclass_fields__})
    held = {**model.params["embeddings"], "norm": model.params["norm"]}
    inputs = {"input_ids": rng.integers(0, 29, (2, 5))}
    due, _ = bert.embedded(held, config, inputs, "bert.")
    out, _ = megatron_bert.encode(model.params, model.config, inputs)
    assert np.array_equal(out["last_hidden_state"], due)


def test_first_weights_are_smaller_where_a_branch_ends():
    sizes = {"vocab_size": 100, "hidden_size": 48, "num_hidden_layers": 8, "num_attention_heads": 4,
             "intermediate_size": 96}  # fmt: skip
    model = minibert.create("megatron_bert", 3, "float64", **sizes)
    for path, array in tree.items(model.params):
        if array.size > 2000:
            due = 0.02 / 4 if path.startswith("encoder") and path.split(".")[-2] in ("output", "out") else 0.02
            assert abs(array.std() / due - 1) < 5 / (2 * array.size) ** 0.5, path


# ---- Sizes, data, what a rank computes -------------------------------------------------------------------------------
def test_turing_nlg_is_gpt2_at_another_size():
    """B3: 78 layers, 4256 wide, 28 heads of 152: 17 billion parameters."""
    config = gpt2.Config(**gpt2.PRESETS["turing-nlg"])
    shapes = objective.shapes(gpt2, config)
    assert sum(int(np.prod(shape)) for _, shape in tree.items(shapes)) == 17_176_845_728
    assert config.n_embd // config.n_head == 152


def test_half_of_the_segments_are_swapped_and_words_are_masked_whole():
    rng = np.random.default_rng(0)
    documents = [[list(range(10 * s + 10, 10 * s + 16)) for s in range(count)] for count in (8, 1, 5, 3, 2) * 20]
    vocabulary = Vocabulary(100, 1, 2, 3, 0, continues=np.arange(100) % 2 == 1)
    data = megatron_bert.Data(seq_length=32, duplicates=3)
    made = megatron_bert.rows(documents, rng, vocabulary, data)
    first = [row[types == 0].max() for row, types in zip(made["input_ids"], made["segment_ids"], strict=True)]
    second = [row[types == 1].max() for row, types in zip(made["input_ids"], made["segment_ids"], strict=True)]
    assert np.array_equal(np.array(first) > np.array(second), made["next_sentence_labels"] == 1)
    count = len(first)
    assert all(len({*row[row >= 10] // 10}) > 1 for row in made["input_ids"])  # two sentences of one document
    with pytest.raises(InputError, match="no document has two sentences"):
        megatron_bert.rows([[[10, 11]]], rng, vocabulary, data)
    assert abs(made["next_sentence_labels"].sum() - count / 2) < 3 * (count / 4) ** 0.5
    masked = megatron_bert.corrupt(made, rng, vocabulary, data)
    for ids, places, weights in zip(made["input_ids"], masked["masked_lm_positions"], masked["masked_lm_weights"],
                                    strict=True):  # fmt: skip
        chosen = {*places[weights != 0].tolist()}
        assert all((t + 1 in chosen) == (t in chosen) for t in range(31) if ids[t] >= 10 and ids[t + 1] == ids[t] + 1
                   and ids[t] % 2 == 0)  # fmt: skip


def test_labels_smoothed_on_each_rank_are_another_loss_on_each():
    """Pitfall 1 of B3: of one rank it is the whole; of four no two are the same."""
    rng = np.random.default_rng(2)
    z, given = rng.standard_normal((6, 8)), {"labels": np.array([0, 3, 4, 7, 1, 6]), "smoothing": 0.1}
    due = ops.smoothed_cross_entropy(z, labels=given["labels"], smoothing=0.1 * 8 / 7)[0]
    assert error(smoothed_on_rank(1, 0).forward(z, **given)[0], due) < 1e-14
    found = [float(smoothed_on_rank(4, rank).forward(z, **given)[0]) for rank in range(4)]
    assert min(abs(a - b) for i, a in enumerate([*found, float(due)]) for b in found[:i]) > 1e-3


def test_padding_is_seen_by_nobody():
    model = probed("megatron_bert", mask_constant="min")
    batch = example(model)
    other = {**batch, "input_ids": np.where(batch["input_mask"], batch["input_ids"], 11)}
    assert model.loss(other)[0] == model.loss(batch)[0]
