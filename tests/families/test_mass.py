"""MASS: fragments, what the decoder reads and attends to, and its two ends: a masked token, a language model."""

import numpy as np
import pytest
from published import error, example, inputs, probed

import minibert
from minibert import families, pretraining, tree
from minibert.checkpoint import safetensors
from minibert.corruption import fragments
from minibert.corruption.masking import Vocabulary
from minibert.families import mass
from minibert.tokenizers.wordpiece import WordPiece

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "data-only family": (170, "sizes, two inputs and names of its own over BART's network"),
    "cases": (46, "the double's states, as BART's, with names of its own"),
    "tests": (200, "no published class: rows of three releases, hidden memory, its two ends, files"),
}

PARAMETERS = [({}, (), 123_469_824)]
SMALL = {"max_position_embeddings": 6, "decoder_layers": 1, "decoder_ffn_dim": 3, "decoder_attention_heads": 1}
VARIANTS = ({"tie_word_embeddings": True, "activation_function": "relu", "scale_embedding": True}, {})
CLS, SEP, MASK = 1, 2, 3
VOCABULARY = Vocabulary(60, CLS, SEP, MASK, 0, np.zeros(60, bool), (0, CLS, SEP, MASK))
DOCUMENTS = [[[10 + (7 * d + 3 * s + t) % 45 for t in range(3 + (d + s) % 6)] for s in range(9)] for d in range(60)]
IDS = {"decoder_start_token_id": 3, "eos_token_id": 4, "bos_token_id": 1}


def made(**given):
    data = fragments.Fragments(**{"seq_length": 24, "duplicates": 1, **given})
    rows = fragments.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, data)
    return rows, fragments.corrupt(rows, np.random.default_rng(1), VOCABULARY, data), data


# ---- Rows ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("release", fragments.RELEASES)
def test_what_the_encoder_was_not_shown_is_what_the_decoder_writes(release):
    """Together they are the text; the decoder reads what stands before, where it stands there."""
    rows, batch, _ = made(release=release)
    text, kept, masks = rows["text"], [], []
    for b, length in enumerate(rows["attention_mask"].sum(1)):
        asked = batch["decoder_attention_mask"][b] == 1
        places, labels = batch["decoder_position_ids"][b][asked], batch["labels"][b][asked]
        assert np.array_equal(labels, text[b][places + 1])
        assert np.array_equal(np.diff(places), np.ones(len(places) - 1)), "one fragment"
        share = int((length - 1) * 0.5) if release == "summarization" else round(length * 0.5)
        assert len(places) == max(1, min(share, length - 1))
        restored = batch["input_ids"][b].copy()
        restored[places + 1] = labels
        assert np.array_equal(restored, text[b])
        assert 0 <= places.min() <= places.max() + 1 < length
        assert (batch["labels"][b][~asked] == -100).all()
        read = batch["decoder_input_ids"][b]
        assert not read[~asked].any()
        kept.append(read[asked] == text[b][places])
        hidden = batch["input_ids"][b] == MASK if release == "unsupervised" else np.zeros(24, bool)
        shown = batch["encoder_attention_mask"][b] == 1
        assert np.array_equal(shown, (np.arange(24) < length) & ~hidden)
        masks.append(batch["input_ids"][b][places + 1] == MASK)
    assert 0.75 < np.concatenate(masks).mean() < 0.87
    share = np.concatenate(kept).mean()
    assert share == 1 if release != "supervised" else 0.75 < share < 0.9


def test_fragments_begin_first_last_and_anywhere():
    """20, 20 and 60 % of 10,000, the ten places among them alike; each within three deviations."""
    data, rng, n = fragments.Fragments(fragment=0.5), np.random.default_rng(2), 10_000
    starts = np.array([fragments.fragment(18, rng, data)[0] for _ in range(n)])
    assert {len(fragments.fragment(18, rng, data))} == {9}
    count = np.bincount(starts, minlength=10)[1:]
    due = np.full(9, 0.6 / 9)
    due[[0, -1]] += 0.2
    assert len(count) == 9
    assert (np.abs(count - n * due) < 3 * np.sqrt(n * due * (1 - due))).all()
    anywhere = fragments.Fragments(fragment=0.5, release="summarization")
    count = np.bincount([fragments.fragment(18, rng, anywhere)[0] for _ in range(n)])[1:]
    due = np.full(10, 0.1)
    assert (np.abs(count - n * due) < 3.5 * np.sqrt(n * due * (1 - due))).all()
    blocks = fragments.fragment(130, rng, fragments.Fragments(fragment=0.25, release="summarization"))
    assert [((blocks - 1) // 64 == i).sum() for i in range(3)] == [16, 16, 1]


def test_halves_are_rounded_to_the_even():
    sizes = [fragments.size(n, fragments.Fragments()) for n in (2, 3, 5, 7, 9)]
    assert sizes == [1, 2, 2, 4, 4]
    assert fragments.size(7, fragments.Fragments(release="summarization")) == 3
    assert fragments.size(9, fragments.Fragments(fragment=1.0)) == 8, "<s> is never hidden"
    assert fragments.size(9, fragments.Fragments(fragment=0.0)) == 1


# ---- The network -----------------------------------------------------------------------------------------------------
def test_where_nothing_is_hidden_it_is_bart_bit_for_bit():
    """Its table of places a row shorter, the decoder's places 0, 1, …"""
    model = probed("mass", **IDS)
    fields = {name: getattr(model.config, name) for name in families.family("bart").Config.__dataclass_fields__}
    config = families.family("bart").Config(**fields)
    longer = tree.map(np.array, model.params)
    for stack in ("encoder", "decoder"):
        own = longer[f"{stack}_embeddings"]["position"]
        own["weight"] = np.concatenate([own["weight"][:1], own["weight"]])
    bart, batch = minibert.Model("bart", config, longer), example(model)
    plain = {name: a for name, a in batch.items() if name not in ("decoder_position_ids", "encoder_attention_mask")}
    one, other = model.loss(plain), bart.loss(plain)
    assert one[0] == other[0]
    ours, theirs = model.loss_backward(one[1]), bart.loss_backward(other[1])
    for path, gradient in tree.items(ours):
        due = tree.get(theirs, path)
        assert np.array_equal(gradient, due[1:] if path.endswith("position.weight") else due), path
    places = np.arange(plain["decoder_input_ids"].shape[1]) + 0 * plain["decoder_input_ids"]
    assert model.loss({**plain, "decoder_position_ids": places})[0] == one[0]
    assert model.loss({**plain, "decoder_position_ids": places + 1})[0] != one[0]


def _written(model, source, target, places, **given):
    return model.encode(input_ids=source, decoder_input_ids=target, decoder_position_ids=places, **given)


def test_hidden_slots_have_no_probability_and_their_tokens_matter_through_the_encoder_alone():
    """Exactly 0; those that stay or are random ones have some."""
    model, rng = probed("mass", **IDS), np.random.default_rng(5)
    source = rng.integers(7, 29, (2, 8))
    source[:, 3:6] = MASK
    source[0, 4] = 9  # one that stays
    shown = source != MASK
    target, places = source[:, 2:5], np.tile(np.arange(2, 5), (2, 1))
    out = _written(model, source, target, places, encoder_attention_mask=shown)
    given = {"decoder_input_ids": target, "decoder_position_ids": places, "encoder_attention_mask": shown}
    c = mass.encode(model.params, model.config, {"input_ids": source, **given})[1]
    for layer in c["decoder"]:
        probs = layer["cross_attention"]["attention"]["probs"]
        assert not probs[np.broadcast_to(~shown[:, None, None], probs.shape)].any()
        assert (probs[np.broadcast_to(shown[:, None, None], probs.shape)] > 0).all()
    other = source.copy()
    other[:, 3] = 10  # another token in a slot that stays hidden
    moved = _written(model, other, target, places, encoder_attention_mask=shown)
    assert not np.array_equal(out["last_hidden_state"], moved["last_hidden_state"])


def test_a_fragment_of_one_token_is_masked_prediction():
    """One label, of what the encoder reads at both sides of one mask; the decoder's one token stands before it."""
    model, rng = probed("mass", **IDS), np.random.default_rng(6)
    data = fragments.Fragments(fragment=0.0, seq_length=24)
    rows = fragments.rows(DOCUMENTS, rng, VOCABULARY, data)
    batch = fragments.corrupt(rows, rng, VOCABULARY, data)
    assert (batch["decoder_attention_mask"].sum(1) == 1).all()
    text = rng.integers(7, 29, (1, 7))
    source = text.copy()
    source[0, 3] = MASK
    given = {"input_ids": source, "encoder_attention_mask": source != MASK, "decoder_input_ids": text[:, 2:3],
             "decoder_position_ids": np.array([[2]]), "labels": text[:, 3:4]}  # fmt: skip
    loss = float(model.loss(given)[0])
    table = model.params["embeddings"]["word"]["weight"]
    z = model.encode(**inputs({k: v for k, v in given.items() if k != "labels"}))["last_hidden_state"][0, 0] @ table.T
    assert loss == pytest.approx(float(np.log(np.exp(z - z.max()).sum()) + z.max() - z[text[0, 3]]), rel=1e-12)
    for side in (1, 5):
        other = source.copy()
        other[0, side] += 1 if other[0, side] < 28 else -1
        assert error(model.loss({**given, "input_ids": other})[0], loss) > 1e-6, "both sides are seen"


def test_where_all_is_hidden_the_decoder_is_a_language_model():
    """Whatever the text: nothing of it reaches the decoder but what it has read, each token up to itself."""
    model, rng = probed("mass", **IDS), np.random.default_rng(7)
    text = rng.integers(7, 29, (1, 8))
    source, places = np.full_like(text, MASK), np.arange(7)[None]
    given = {"encoder_attention_mask": np.zeros_like(source)}
    first = _written(model, source, text[:, :-1], places, **given)["last_hidden_state"]
    for at in range(1, 7):
        other = text.copy()
        other[0, at] += 1 if other[0, at] < 28 else -1
        second = _written(model, source, other[:, :-1], places, **given)["last_hidden_state"]
        assert np.array_equal(first[:, :at], second[:, :at])
        assert not np.array_equal(first[:, at], second[:, at])


# ---- Files -----------------------------------------------------------------------------------------------------------
def test_files_have_the_release_s_names(tmp_path):
    """Query, key and value in one tensor; the decoder's table repeats the encoder's."""
    model = minibert.create("mass", **{**mass.PROBE, "tie_word_embeddings": True})
    model.save(tmp_path)
    held = safetensors.read(tmp_path / "model.safetensors")
    d, f = 8, 13
    assert held["decoder.layers.0.encoder_attn.in_proj_weight"].shape == (3 * d, d)
    assert held["decoder.layers.2.fc1.weight"].shape == (f, d)
    assert held["encoder.embed_positions.weight"].shape == (10, d)
    assert {"encoder.embed_tokens.weight", "decoder.emb_layer_norm.bias"} <= held.keys()
    again = {**held, "decoder.embed_tokens.weight": held["encoder.embed_tokens.weight"],
             "encoder.version": np.array([3.0], np.float32)}  # fmt: skip
    safetensors.write(tmp_path / "model.safetensors", again)
    loaded = minibert.load(tmp_path)
    assert loaded.family == "mass"
    assert all(np.array_equal(a, loaded.state_dict()[name]) for name, a in model.state_dict().items())


def test_what_ends_a_text_is_the_vocabularys_own():
    """Not the release's 102, which a smaller vocabulary has not."""
    tokenizer = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    fields = pretraining._of_vocabulary(mass, tokenizer, {"request": {}, "fields": {}, "options": {}})
    assert fields["eos_token_id"] == fields["decoder_start_token_id"] == tokenizer.sep_id == 3
