"""RoBERTa: positions after the padding id, the padding rows, a head with an activation of its own, next sentence."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error, example, pair, probed, replaced

import minibert
from minibert import tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, roberta

LAWS = ["next-sentence"]
PUBLISHED = [Published("roberta", "RobertaForMaskedLM", labels={"labels": "masked_lm"})]
DIRECTORIES = {"RobertaForMaskedLM": {"mlm"}, "RobertaModel": {"pooler"}}
RUNS = [
    ({"masking": "dynamic", "format": "full-sentences"}, {}),
    ({"masking": "static", "format": "segment-pair"}, {}),
]
VARIANTS = ({"next_sentence": False}, {"next_sentence": True})
PARAMETERS = [
    ({}, ("mlm",), 124_645_632),
    ({}, ("mlm", "pooler"), 124_055_040),
    ({}, ("pooler",), 124_697_433),
    (roberta.PRESETS["large"], ("mlm",), 355_359_744),
    (roberta.PRESETS["large"], ("pooler",), 355_412_057),
]
FIGURES = [
    Figures(
        "roberta",
        {
            "forward/loss": 3.817530928373,
            "gradients/roberta.embeddings.word_embeddings.weight": 1.224174251967,
            "gradients/roberta.embeddings.position_embeddings.weight": 0.728236972379,
            "gradients/lm_head.bias": 0.51532709004,
        },
        batch={
            "input_ids": [[0, 9, 5, 11, 3, 7, 4, 2], [0, 6, 10, 3, 12, 2, 1, 1]],
            "input_mask": [[1] * 8, [1] * 6 + [0] * 2],
            "segment_ids": [[0] * 8] * 2,
            "masked_lm_positions": [[1, 3], [2, 4]],
            "masked_lm_ids": [[9, 11], [10, 12]],
            "masked_lm_weights": [[1.0, 1.0], [1.0, 1.0]],
        },
    )
]


# ---- Positions -------------------------------------------------------------------------------------------------------
def test_positions_of_the_specification():
    ids = np.array([[0, 9, 5, 2, 1, 1], [1, 1, 0, 9, 5, 2], [0, 1, 9, 1, 5, 2]])
    assert roberta.positions(ids, 1).tolist() == [[2, 3, 4, 5, 1, 1], [1, 1, 2, 3, 4, 5], [2, 1, 3, 1, 4, 5]]


def test_padding_on_the_left_changes_no_token():
    model = probed("roberta")
    ids = np.array([[7, 9, 11, 13, 9], [8, 6, 7, 10, 12]])
    padded = np.concatenate([np.full((2, 3), 5), ids], 1)
    straight = model.encode(ids)["last_hidden_state"]
    shifted = model.encode(padded, attention_mask=(padded != 5).astype(int))["last_hidden_state"][:, 3:]
    assert error(shifted, straight) < 1e-12
    counted = model.encode(padded, attention_mask=padded != 5, position_ids=np.arange(8)[None].repeat(2, 0))
    assert error(counted["last_hidden_state"][:, 3:], straight) > 1e-2  # BERT's positions are seen


def test_rows_beyond_the_padding_rows_are_refused():
    model = probed("roberta")
    assert model.encode(np.full((1, 13), 7))["last_hidden_state"].shape == (1, 13, 24)
    with pytest.raises(InputError, match="14 tokens a row, but max_position_embeddings is 19, of which 13 are for"):
        model.encode(np.full((1, 14), 7))
    with pytest.raises(InputError, match="'max_position_embeddings' is 2; allowed: 3 or more"):
        minibert.create("roberta", max_position_embeddings=2)


# ---- The objective ---------------------------------------------------------------------------------------------------
def test_next_sentence_is_a_variant():
    plain, paired = (probed("roberta", next_sentence=asked) for asked in (False, True))
    assert set(paired.params) - set(plain.params) == {"pooler", "nsp"}
    batch = example(paired)
    assert list(paired.loss(batch)[1]["terms"]) == ["masked_lm", "next_sentence"]
    with pytest.raises(InputError, match="unknown input 'next_sentence_labels'"):
        plain.loss(batch)
    assert list(plain.loss(example(plain))[1]["terms"]) == ["masked_lm"]


def test_the_padding_rows_get_no_look_up_gradient():
    """Of the position table that is all that they would get (ROB-EMB-2); `pad_row_gradient` shows that it could."""
    model = probed("roberta")
    batch = example(model)
    for variant in (False, True):
        free = replaced(model, pad_row_gradient=variant)
        gradient = tree.flatten(free.loss_backward(free.loss(batch)[1]))
        assert gradient["embeddings.position.weight"][5].any() == variant


@pytest.mark.parametrize("fault", ["positions", "activation of the head"])
def test_a_planted_fault_is_seen(fault, monkeypatch):
    both = pair(PUBLISHED[0], {"hidden_act": "relu"})
    term = bert.masked_lm_term
    if fault == "positions":
        monkeypatch.setattr(roberta, "positions", lambda ids, pad: np.arange(ids.shape[1]) + pad + 1)
    else:
        monkeypatch.setattr(bert, "masked_lm_term", lambda config, width, act: term(config, width, "gelu_new"))
    assert error(both.model.loss(both.batch)[0], both.terms()["masked_lm"].item()) > 1e-9


# ---- Data ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", roberta.FORMATS)
def test_every_format_has_one_segment_and_a_budget_of_all_its_tokens(form):
    """floor(0.15 T + u) of a row's T tokens, <s> and </s> included (ROB-DATA-1)."""
    rng, vocabulary = np.random.default_rng(0), Vocabulary(60, cls=0, sep=2, mask=59, pad=1, specials=(0, 1, 2, 3, 59))
    text = [[rng.integers(4, 59, rng.integers(2, 7)).tolist() for _ in range(9)] for _ in range(8)]
    given = roberta.Data(seq_length=16, duplicates=1, format=form)
    rows = roberta.rows(text, rng, vocabulary, given)
    assert not rows["segment_ids"].any()
    counts = roberta.corrupt(rows, rng, vocabulary, given)["masked_lm_weights"].sum(1)
    length = rows["input_mask"].sum(1)
    assert ((counts == np.floor(0.15 * length)) | (counts == np.ceil(0.15 * length))).all()
