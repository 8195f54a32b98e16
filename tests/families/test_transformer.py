"""The Transformer: torch.nn.Transformer's stacks, what its page asks for, and the state from token to token."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error
from twins import transformer as twins

import minibert
from minibert import batches, layers, tree
from minibert.corruption import translation
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import transformer

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (360, "the first encoder with a decoder: variants of four releases"),
    "tests": (235, "beside a twin in torch: what its paper states, and the state"),
    "mistakes": (175, "sinusoids, roots and smoothing, which no other family has"),
    "cases": (45, "what is generated, beside the cases that all families have"),
}

TERM = {"labels": "next_token"}
CONFIGS = (
    {"norm_first": True, "final_norm": True, "activation": "gelu", "positions": "concatenated"},
    {"final_norm": True, "activation": "relu"},
    {"activation": "gelu_new", "attention_bias": False},
)
OWN = {"num_decoder_layers": 2, "dropout": 0.0, "label_smoothing": 0.2, "max_position_embeddings": 19,
       "attention_bias": True, "eos_token_id": 4, "bos_token_id": 2, "decoder_start_token_id": 3}  # fmt: skip
PUBLISHED = [
    Published("transformer", "", TERM, OWN, CONFIGS, edit=twins.seen, twin=twins.with_smoothing, terms=twins.terms)
]
DIRECTORIES: dict = {}
LAWS = ["probe"]
VARIANTS = (
    {"norm_first": False, "final_norm": False, "attention_bias": False, "positions": "interleaved"},
    {"norm_first": False, "label_smoothing": 0.0},
    {},
)
SMALL = {"max_position_embeddings": 6}
# 2: base without output bias, without and with biases of attention; big
PARAMETERS = [
    ({}, (), 63_045_632),
    ({"attention_bias": True}, (), 63_082_496),
    ({"attention_bias": True, "final_norm": True, "vocab_size": 1}, (), 44_140_544 + 512),
    ({**transformer.PRESETS["big"]}, (), 214_171_648),
]
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7], [2, 6, 10, 3, 1, 1]],
    "attention_mask": [[1] * 6, [1] * 4 + [0] * 2],
    "decoder_input_ids": [[0, 4, 8, 12, 5], [0, 13, 3, 14, 1]],
    "labels": [[4, 8, 12, 5, 1], [13, 3, 14, 1, -100]],
}
SMALLER = {"num_decoder_layers": 2, "max_position_embeddings": 12}
FIGURES = [
    Figures(
        "transformer",
        {
            "forward/loss": 3.058610138998,
            "gradients/embedding.weight": 0.813810027970,
            "gradients/encoder.layers.0.self_attn.in_proj_weight": 0.113053620355,
            "gradients/decoder.layers.1.multihead_attn.in_proj_weight": 0.262005772649,
            "gradients/decoder.layers.0.norm2.weight": 0.066258256058,
        },
        SMALLER,
        BATCH,
        values={("last_hidden_state", (0, 4, 0)): -1.8362235144514725},
    ),
    Figures(
        "transformer",
        {"forward/loss": 3.310903470158, "gradients/embedding.weight": 1.174356708200},
        {**SMALLER, "norm_first": True, "attention_bias": True},
        BATCH,
    ),
]


def model(seed: int = 0, **fields):
    config = {**transformer.PROBE, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, **fields}
    made = minibert.create("transformer", dtype="float64", **config)
    rng = np.random.default_rng(seed)
    for path, value in tree.items(made.params):
        value[...] = rng.normal(1.0 if "norm.weight" in path else 0.0, 0.4, value.shape)
    return made, rng


def logits(made, **given):
    return made.encode(**given)["last_hidden_state"] @ made.params["embeddings"]["word"]["weight"].T


def test_sinusoids_are_the_papers_and_the_releases():
    paper, release = (transformer.Config(d_model=4, nhead=2, positions=p) for p in transformer.POSITIONS)
    assert transformer.sinusoids(2, paper)[1] == pytest.approx([0.841471, 0.540302, 0.01, 0.99995], abs=1e-6)
    assert transformer.sinusoids(2, release)[1] == pytest.approx([0.841471, 0.0001, 0.540302, 1.0], abs=1e-6)


def test_a_shift_of_positions_is_a_rotation():
    """S(t + k) is S(t) turned by an angle in each pair of entries that depends on k alone (section 3.5)."""
    s = transformer.sinusoids(40, transformer.Config(d_model=12, nhead=2)).reshape(40, 6, 2)
    z = s[..., 1] + 1j * s[..., 0]
    turned = z[7:] / z[:-7]
    assert np.allclose(turned, turned[0], rtol=0, atol=1e-12)
    assert np.allclose(abs(turned), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [True, False])
def test_a_later_target_changes_no_earlier_logit_by_a_bit(first):
    made, rng = model(norm_first=first)
    source, ids = rng.integers(0, 17, (2, 6)), rng.integers(0, 17, (2, 7))
    before = logits(made, input_ids=source, decoder_input_ids=ids)
    for t in range(1, 7):
        other = ids.copy()
        other[:, t:] = (other[:, t:] + 1) % 17
        after = logits(made, input_ids=source, decoder_input_ids=other)
        assert np.array_equal(after[:, :t], before[:, :t])
        assert not np.allclose(after[:, t], before[:, t])


def test_padding_of_the_source_changes_nothing():
    made, rng = model()
    source, ids = rng.integers(0, 17, (2, 5)), rng.integers(0, 17, (2, 4))
    wide, mask = np.full((2, 9), 5), np.arange(9) < [[5], [5]]
    wide[:, :5] = source
    padded = logits(made, input_ids=wide, attention_mask=mask * 1, decoder_input_ids=ids)
    assert error(padded, logits(made, input_ids=source, decoder_input_ids=ids)) < 1e-12


def test_the_table_gets_three_gradients():
    """Those of the source's look-ups, of the target's and of the logits."""
    made, rng = model()
    batch = batches.example(transformer, made.config, rng)
    g = made.loss_backward(made.loss(batch)[1])["embeddings"]["word"]["weight"]
    table, h = made.params["embeddings"]["word"]["weight"], 1e-6
    direction = rng.standard_normal(table.shape)

    def moved(sign):
        params = {**made.params, "embeddings": {"word": {"weight": table + sign * h * direction}}}
        return float(minibert.Model("transformer", made.config, params).loss(batch)[0])

    assert (moved(1) - moved(-1)) / (2 * h) == pytest.approx((g * direction).sum(), rel=1e-6)


def test_labels_make_what_the_decoder_reads():
    made, rng = model()
    batch = batches.example(transformer, made.config, rng)
    read = np.concatenate([np.full((3, 1), 3), np.where(batch["labels"] == -100, 5, batch["labels"])[:, :-1]], 1)
    given = {name: value for name, value in batch.items() if name != "decoder_input_ids"}
    assert made.loss(given)[0] == made.loss({**given, "decoder_input_ids": read})[0]
    with pytest.raises(InputError, match="decoder_input_ids are missing"):
        made.encode(input_ids=batch["input_ids"])


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1), (3, 2), (5,), (1, 4)])
@pytest.mark.parametrize("first", [True, False])
def test_word_after_word_as_all_at_once(first, cuts):
    made, rng = model(norm_first=first)
    source, ids = rng.integers(0, 17, (3, 6)), rng.integers(0, 17, (3, 5))
    mask = (np.arange(6) < [[6], [4], [2]]) * 1
    whole = logits(made, input_ids=source, attention_mask=mask, decoder_input_ids=ids)
    state, at = made.start(input_ids=source, attention_mask=mask), 0
    for n in cuts:
        z, state = made.step(ids[:, at : at + n], state)
        at += n
        assert error(z, whole[:, at - 1]) < 1e-12


def test_what_is_beyond_the_last_position_is_refused():
    made, rng = model()
    with pytest.raises(InputError, match="max_position_embeddings is 9; truncate"):
        made.encode(input_ids=rng.integers(0, 17, (1, 10)), decoder_input_ids=[[3]])
    for fields in ({"d_model": 9, "nhead": 3}, {"nhead": 3}, {"pad_token_id": 17}):
        with pytest.raises(InputError, match="allowed"):
            transformer.Config(**{**transformer.PROBE, **fields})


def test_a_source_is_projected_once():
    """The memory's keys and values in the state are those that the whole pass computes."""
    made, rng = model()
    source = rng.integers(0, 17, (2, 6))
    state = made.start(input_ids=source)
    memory = made.encode(input_ids=source, decoder_input_ids=[[3], [3]])["encoder_last_hidden_state"]
    for kept, layer in zip(state["source"], made.params["decoder"], strict=True):
        assert np.allclose(kept["key"], layers.remembered(memory, layer["cross_attention"], width=4)["key"])


# ---- Data ------------------------------------------------------------------------------------------------------------
class Words:
    """A tokenizer of whole words."""

    def __init__(self, *words):
        self.known = ["<s>", "</s>", "<pad>", *words]

    def ids(self, text):
        return [self.known.index(word) for word in text.split()]


def test_rows_are_pairs_in_any_order():
    words = Words("the", "Cat", "cat", "sat.", "sat", "El", "gato")
    vocabulary = Vocabulary(len(words.known), 0, 1, None, 2, end=1)
    texts = [["the Cat sat.", "El gato"], ["Cat", "El"]]
    ids = [[words.ids(sentence) for sentence in document] for document in texts]
    data = translation.Translated(task="pairs", seq_length=8)
    assert translation.sources(words, data, texts, ids) is None
    made = translation.rows(ids, np.random.default_rng(0), vocabulary, data, None)
    assert made.keys() == {"input_ids", "attention_mask", "labels", "decoder_attention_mask"}
    rows = {tuple(ids[:sum(seen)]): tuple(labels[labels != -100]) for ids, seen, labels in
            zip(made["input_ids"].tolist(), made["attention_mask"].tolist(), made["labels"], strict=True)}  # fmt: skip
    assert rows == {(0, 3, 4, 6, 1): (8, 9, 1), (0, 4, 1): (8, 1)}
    assert np.array_equal(made["decoder_attention_mask"], made["labels"] != -100)
    half = translation.rows([*ids[:1], ids[1][:1]], np.random.default_rng(0), vocabulary, data, None)
    assert len(half["labels"]) == 1  # its other half was held out
    with pytest.raises(InputError, match="document 2 of the text is no pair"):
        translation.rows([*ids, [*ids[0], *ids[0]]][1:], np.random.default_rng(0), vocabulary, data, None)
    with pytest.raises(InputError, match="none of 1 pairs fits into rows of 8 tokens"):
        translation.rows([[[3] * 7, [8]]], np.random.default_rng(0), vocabulary, data, None)


def test_without_pairs_a_sentence_is_restored():
    words = Words("cat", "sat", "Cat", "sat.")
    vocabulary = Vocabulary(len(words.known), 0, 1, None, 2, end=1)
    texts, data = [["Cat sat."]], translation.Translated(seq_length=8)
    marked = translation.sources(words, data, texts, None)
    made = translation.rows([[words.ids("Cat sat.")]], np.random.default_rng(0), vocabulary, data, marked)
    assert made["input_ids"][0].tolist() == [0, 3, 4, 1, 2, 2, 2, 2]
    assert made["labels"][0, :4].tolist() == [5, 6, 1, -100]
    assert translation.plain("L'Été, 3.11 (x)!") == "l été 3 11 x"
