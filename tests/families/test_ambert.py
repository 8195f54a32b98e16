"""AMBERT: two grains over shared layers, against BERT and against itself, nested masks, classes by both."""

import dataclasses

import numpy as np
import pytest
from published import error

import minibert
from minibert import batches, families, tree
from minibert.corruption import grains
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import ambert
from minibert.heads import grained_classification
from minibert.tokenizers.wordpiece import WordPiece

VARIANTS = ({"structure": "shared", "tie_word_embeddings": False}, {"structure": "combo"}, {"structure": "hybrid"})
SMALL = {"coarse_vocab_size": 11, "num_classes": 2}
PARAMETERS = [
    ({}, ("mlm", "coarse_mlm", "classifier"), 157_460_736),  # as BERT without pooler, and a second table
    ({"structure": "combo"}, ("mlm", "coarse_mlm", "classifier"), 242_911_488),
]
PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (325, "two grains in three structures"),
    "double": (75, "three structures and three terms, encoder and loss each within the loops' 40 lines"),
    "cases": (50, "two grains' targets, structures, and the double composed"),
    "mistakes": (115, "two grains and a distance that are in no other family"),
    "tests": (180, "BERT to the bit, both grains against each other, nested masks, the distance"),
}
OWN = ("coarse_embeddings", "coarse_mlm", "classifier")


def case(seed=0, **fields):
    """A model with random weights and a batch without dropout."""
    model = minibert.create("ambert", seed, "float64", **{**ambert.PROBE, "initializer_range": 0.4, **fields})
    batch = batches.example(ambert, model.config, np.random.default_rng(seed))
    del batch["dropout"]
    return model, batch


def fine(batch):
    """The fine tokens alone, and what is asked of them."""
    own = ("input_ids", "input_mask", "segment_ids")
    return {name: value for name, value in batch.items() if name in own or name.startswith("masked_lm")}


def test_without_coarse_tokens_it_is_bert_bit_for_bit():
    """Its encoder, its masked LM, and every gradient of those; its own parts get none."""
    model, batch = case()
    known = {name: value for name, value in vars(model.config).items() if hasattr(families.family("bert").Config, name)}
    twin = minibert.create("bert", dtype="float64", **known)
    twin.params = {part: model.params[part] for part in ("embeddings", "encoder", "mlm")}
    own, other = fine(batch), model.loss(fine(batch))
    masked = {**own, "next_sentence_labels": np.zeros(3, int)}
    twin.params |= {"pooler": minibert.create("bert", dtype="float64", **known).params["pooler"],
                    "nsp": tree.map(np.zeros_like, minibert.create("bert", dtype="float64", **known).params["nsp"])}
    _, cache = twin.loss(masked)
    assert cache["terms"]["masked_lm"] == other[0] == other[1]["terms"]["masked_lm"]
    gradient, due = model.loss_backward(other[1]), twin.loss_backward(cache)
    assert not any(a.any() for part in OWN for a in tree.leaves(gradient[part]))
    for part in ("embeddings", "encoder", "mlm"):
        both = zip(tree.leaves(gradient[part]), tree.leaves(due[part]), strict=True)
        assert all(np.array_equal(a, b) for a, b in both)


def test_equal_tokens_and_tables_give_equal_states():
    """(a) of B15, to the bit; of two encoders apart only where they are equal."""
    model, batch = case(coarse_vocab_size=17)
    model.params["coarse_embeddings"]["word"]["weight"][...] = model.params["embeddings"]["word"]["weight"]
    same = {"coarse_ids": batch["input_ids"], "coarse_attention_mask": batch["input_mask"],
            "coarse_token_type_ids": batch["segment_ids"]}  # fmt: skip
    out = model.encode(input_ids=batch["input_ids"], attention_mask=batch["input_mask"],
                       token_type_ids=batch["segment_ids"], **same)  # fmt: skip
    assert np.array_equal(out["last_hidden_state"], out["coarse_last_hidden_state"])


def test_shared_parts_get_the_sum_of_both_grains():
    """(b) of B15; neither grain's table learns from the other's loss."""
    model, batch = case(coarse_weight=1.0)
    both = {name: value for name, value in batch.items() if name != "class_labels"}
    coarse, apart = ({name: value for name, value in both.items() if not name.startswith(start)}
                     for start in ("masked_lm", "coarse_masked"))  # fmt: skip
    one, other, together = (model.loss_backward(model.loss(each)[1]) for each in (apart, coarse, both))
    for path, value in tree.items(together):
        total = tree.get(one, path) + tree.get(other, path)
        assert np.abs(value - total).max() <= 1e-13 * max(1, np.abs(value).max()), path
    assert not one["coarse_embeddings"]["word"]["weight"].any()
    rows = other["embeddings"]["word"]["weight"]
    assert not rows.any()


def test_only_a_hybrid_sees_the_other_grain():
    for structure in ambert.STRUCTURES:
        model, batch = case(structure=structure)
        inputs = {name: value for name, value in batch.items() if "lm_" not in name and name != "class_labels"}
        inputs["attention_mask"], inputs["token_type_ids"] = inputs.pop("input_mask"), inputs.pop("segment_ids")
        moved = {**inputs, "coarse_ids": (inputs["coarse_ids"] + 1) % 23}
        states = [model.encode(**given)["last_hidden_state"] for given in (inputs, moved)]
        assert np.array_equal(*states) == (structure != "hybrid")


def test_the_distance_is_0_where_predictions_are_equal():
    """(d) of B15: a norm, not its square, whose gradient there is 0."""
    z = np.random.default_rng(0).standard_normal((3, 4))
    assert grained_classification.disagreement(z, z + 2.0)[0] == pytest.approx(0, abs=1e-15)  # a constant, unseen
    value, c = grained_classification.disagreement(z, z)
    assert value == 0
    assert not any(d.any() for d in grained_classification.disagreement_backward(np.asarray(1.0), c))
    model, batch = case(agreement=2.0)
    more, less = (dataclasses.replace(model.config, agreement=weight) for weight in (2.0, 0.0))
    made = [minibert.Model("ambert", config, model.params) for config in (more, less)]
    values = [each.loss(batch)[1]["terms"]["classification"] for each in made]
    inputs = {name: batch[name] for name in ("coarse_ids", "coarse_attention_mask", "coarse_token_type_ids")}
    out = model.encode(input_ids=batch["input_ids"], attention_mask=batch["input_mask"],
                       token_type_ids=batch["segment_ids"], **inputs)["first_states"]  # fmt: skip
    head, width = model.params["classifier"], out.shape[1] // 2
    z = [out[:, at] @ head[name]["weight"].T + head[name]["bias"]
         for name, at in (("fine", slice(width)), ("coarse", slice(width, None)))]  # fmt: skip
    one, other = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in z)
    due = 2 * np.linalg.norm(one - other, axis=1).mean()
    assert error(values[0] - values[1], due) < 1e-12


# ---- Data ------------------------------------------------------------------------------------------------------------
def test_coarse_tokens_are_the_longest_known_from_the_left():
    known = {(5, 6): 20, (5, 6, 7): 21, (8, 9): 22}
    starts = [True, True, False, True, True, True, True]
    found, places = grains.coarse_tokens([2, 5, 6, 7, 8, 9, 3], starts, known, 3)
    assert (found, places) == ([2, 21, 22, 3], [0, 1, 1, 1, 2, 2, 3])
    starts[4] = False  # 7 ##8: no phrase ends before it
    assert grains.coarse_tokens([2, 5, 6, 7, 8, 9, 3], starts, known, 3)[0] == [2, 20, 7, 8, 9, 3]


def test_masks_are_nested():
    """(c) of B15: with a coarse token all fine ones in it, no other, and all treated alike."""
    rng, known = np.random.default_rng(0), {(a, b): 60 + n for n, (a, b) in enumerate([(5, 6), (7, 8), (9, 10)])}
    vocabulary = Vocabulary(60, cls=1, sep=2, mask=3, pad=0, continues=np.zeros(60, bool))
    ids = rng.integers(5, 60, (200, 24))
    ids[:, 3:5], ids[:, 9:11], ids[:, 14:16] = (5, 6), (7, 8), (9, 10)
    ids[:, 0], ids[:, -1] = 1, 2
    rows = {"input_ids": ids.astype(np.int32), "input_mask": np.ones_like(ids), "segment_ids": 0 * ids}
    data = ambert.Data(seq_length=24, rate=0.15)
    made = ambert.corrupt(rows, rng, vocabulary, data, known)
    counts, treated, alike = [], [], []
    for b in range(200):
        _, places = grains.coarse_tokens(ids[b].tolist(), [True] * 24, known, 2)
        fine, coarse = ({*made[f"{grain}masked_lm_positions"][b][made[f"{grain}masked_lm_weights"][b] > 0].tolist()}
                        for grain in ("", "coarse_"))  # fmt: skip
        assert fine == {at for at, place in enumerate(places) if place in coarse}
        for place in coarse:
            own = [at for at in fine if places[at] == place]
            hidden = made["coarse_ids"][b, place] == 3
            alike.append(all((made["input_ids"][b, at] == 3) == hidden for at in own))
            treated.append(hidden)
        counts.append(len(coarse))
    assert np.mean(counts) == pytest.approx(0.15 * 21, abs=0.5)
    assert np.mean(treated) == pytest.approx(0.8, abs=0.06)
    assert np.mean(alike) > 0.99  # a random token may be the mask


def test_a_directory_keeps_its_coarse_tokens(tmp_path):
    """Also one that a loaded model is saved to; a text is read in both grains by them."""
    tokenizer = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york", "##er", "is"])
    known = {(5, 6): 9, (6, 7): 10}
    model, _ = case(vocab_size=9, coarse_vocab_size=11, pad_token_id=0)
    model.tokenizer = tokenizer
    ambert.begun(model, ambert.Data(), known)
    model.save(tmp_path / "first")
    minibert.load(tmp_path / "first").save(tmp_path / "second")
    assert (tmp_path / "second" / grains.FILE).read_text(encoding="utf-8") == "new york\nyork ##er\n"
    model = minibert.load(tmp_path / "second")
    inputs = ambert.both(model, [tokenizer.encode("new york is"), tokenizer.encode("new yorker")])
    assert inputs["coarse_ids"].tolist() == [[2, 9, 8, 3], [2, 5, 10, 3]]
    out = model.encode(**inputs)
    assert out["coarse_last_hidden_state"].shape == (2, 4, 8)
    model.beside = {grains.FILE: "new rome\n"}
    with pytest.raises(InputError, match="line 1: 'rome' is no piece"):
        ambert.both(model, [tokenizer.encode("new york")])
