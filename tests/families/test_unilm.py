"""UniLM: four masks, what they hide to the bit, rows of four objectives, fine-tuning, writing mask by mask."""

import math

import numpy as np
import pytest
from published import example, inputs, probed

import minibert
from minibert import families, tree
from minibert.corruption.masking import Vocabulary
from minibert.families import unilm
from minibert.families.unilm import BIDIRECTIONAL, LEFT, OBJECTIVES, RIGHT, SEQUENCE, Data
from minibert.tokenizers.wordpiece import WordPiece
from reference.unilm_mask import unilm_mask

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (255, "four masks, rows of four objectives, pairs to fine-tune with, writing"),
    "tests": (262, "no published class: masks to the bit, rows of four objectives, fine-tuning, writing"),
    "mistakes": (145, "each rule of four masks has mistakes of its own, which no other family has"),
}

PARAMETERS = [({}, ("mlm", "nsp"), 333_583_360), ({**unilm.PRESETS["base"]}, ("mlm", "nsp"), 108_313_344)]
VARIANTS = [{}, {"label_smoothing": 0.0, "tie_word_embeddings": False, "mask_constant": "min"}]
CLS, SEP, MASK = 1, 2, 3
VOCABULARY = Vocabulary(60, CLS, SEP, MASK, 0, np.zeros(60, bool), (0, CLS, SEP, MASK))
DOCUMENTS = [[[10 + (7 * d + 3 * s + t) % 45 for t in range(3 + (d + s) % 6)] for s in range(9)] for d in range(40)]


def rows(**given):
    data = Data(**{"seq_length": 24, "duplicates": 1, **given})
    return unilm.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, data), data


# ---- The masks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("objective", range(4))
def test_a_mask_is_that_of_the_scalar_loops(objective):
    """Of three tokens of a source, two of a target and a padding; of a row that is full."""
    for there in (5, 6):
        present = (np.arange(6) < there).astype(int)
        found = unilm.seen(np.array([objective]), present[None], np.array([3]))
        assert found[0].tolist() == unilm_mask(OBJECTIVES[objective], present.tolist(), 3)


def test_under_the_bidirectional_mask_it_is_bert_bit_for_bit():
    """Loss and every gradient, padding and all."""
    sizes = {"vocab_size": 29, "num_hidden_layers": 2, "label_smoothing": 0.0}
    ours = probed("unilm", **sizes)
    fields = {name: getattr(ours.config, name) for name in families.family("bert").Config.__dataclass_fields__}
    bert = minibert.Model("bert", families.family("bert").Config(**fields), ours.params)
    batch = example(bert)
    present = batch["input_mask"]
    mask = unilm.seen(np.full(len(present), BIDIRECTIONAL), present, present.sum(1))
    given = {**batch, "input_mask": mask, "next_sentence_weights": np.ones(len(present))}
    for one, other in ((bert.loss(batch), ours.loss(given)),):
        assert one[0] == other[0]
        gradients = (tree.items(model.loss_backward(c)) for model, c in ((bert, one[1]), (ours, other[1])))
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(*gradients, strict=True))
    plain = bert.encode(**inputs(batch))["last_hidden_state"]
    assert not np.array_equal(plain, bert.encode(input_ids=batch["input_ids"])["last_hidden_state"])
    assert np.array_equal(plain, ours.encode(**inputs({**batch, "input_mask": mask}))["last_hidden_state"])


@pytest.mark.parametrize("objective", range(4))
def test_what_must_not_be_seen_changes_nothing_to_the_bit(objective):
    """Each token's state, while any one token that it cannot see is another; those that can see it do."""
    model, rng = probed("unilm"), np.random.default_rng(3)
    ids = rng.integers(6, 29, (1, 8))
    present, sources = np.arange(8)[None] < 7, np.array([4])
    given = {"attention_mask": unilm.seen(np.array([objective]), present, sources)}
    given["token_type_ids"] = given["attention_mask"][:, 0] * 0 + objective % 3
    first = model.encode(input_ids=ids, **given)["last_hidden_state"]
    for at in range(8):
        other = ids.copy()
        other[0, at] += 1 - 2 * (ids[0, at] == 28)
        second = model.encode(input_ids=other, **given)["last_hidden_state"]
        same = (first == second).all(-1)[0]
        blind = given["attention_mask"][0, :, at] == 0
        blind[at] = False
        dead = given["attention_mask"][0].any(1) == 0  # what sees nothing takes the mean of all
        assert same[blind & ~dead].all(), (OBJECTIVES[objective], at)
        assert not same[~blind & ~dead].any(), (OBJECTIVES[objective], at)


def test_right_to_left_is_left_to_right_of_the_row_turned_round():
    """With positions turned, too."""
    model, rng = probed("unilm"), np.random.default_rng(4)
    ids, there, places = rng.integers(6, 29, (2, 6)), np.ones((2, 6)), np.tile(np.arange(6), (2, 1))
    both = [unilm.seen(np.full(2, objective), there, np.zeros(2)) for objective in (LEFT, RIGHT)]
    left = model.encode(input_ids=ids, attention_mask=both[0], position_ids=places)["last_hidden_state"]
    right = model.encode(input_ids=ids[:, ::-1], attention_mask=both[1], position_ids=places[:, ::-1])
    assert np.allclose(right["last_hidden_state"][:, ::-1], left, rtol=0, atol=1e-13)
    forward = model.encode(input_ids=ids[:, ::-1], attention_mask=both[1], position_ids=places)["last_hidden_state"]
    assert not np.allclose(forward[:, ::-1], left, atol=1e-3)


# ---- First weights, smoothing ----------------------------------------------------------------------------------------
def test_deviations_of_first_weights_fall_with_depth():
    model = minibert.create("unilm", vocab_size=50, hidden_size=96, num_hidden_layers=3, num_attention_heads=2,
                            intermediate_size=128)  # fmt: skip
    for i, layer in enumerate(model.params["encoder"], 1):
        for own in (layer["attention"]["output"], layer["feed_forward"]["out"]):
            assert own["weight"].std() == pytest.approx(0.02 / math.sqrt(2 * i), rel=0.04)
        for own in (layer["attention"]["query"], layer["feed_forward"]["in"]):
            assert own["weight"].std() == pytest.approx(0.02, rel=0.04)


def test_a_smoothed_loss_of_five_words_by_hand():
    """q of the third of five is 0, .1/3, .9, .1/3, .1/3: its divergence from the softmax of the logits."""
    model = probed("unilm", vocab_size=5, pad_token_id=0, label_smoothing=0.1)
    logits = [1.0, 2.0, 3.0, 0.0, -1.0]
    for part in ("dense", "norm"):
        tree.map(lambda a: a.fill(0), model.params["mlm"][part])
    model.params["mlm"]["decoder"]["bias"][:] = logits
    batch = example(model)
    batch["masked_lm_ids"] = np.full_like(batch["masked_lm_ids"], 2)
    total = math.log(sum(map(math.exp, logits)))
    q = {1: 0.1 / 3, 2: 0.9, 3: 0.1 / 3, 4: 0.1 / 3}
    due = sum(share * (math.log(share) - (logits[c] - total)) for c, share in q.items())
    assert due == pytest.approx(0.28363686034600, abs=1e-12)
    assert float(model.loss(batch)[1]["terms"]["masked_lm"]) == pytest.approx(due, rel=1e-13)


# ---- Rows ------------------------------------------------------------------------------------------------------------
def test_objectives_come_in_their_shares():
    """Of 10,000 draws each within three deviations of 1/3, 1/6, 1/6, 1/3."""
    count = np.bincount(unilm.drawn(10_000, np.random.default_rng(0)), minlength=4)
    for found, share in zip(count, (1 / 3, 1 / 6, 1 / 6, 1 / 3), strict=True):
        assert abs(found - 10_000 * share) < 3 * math.sqrt(10_000 * share * (1 - share))


def test_rows_are_what_their_objective_reads():
    """One text or two that follow each other; segments and masks to it; targets are what stood there, in both texts."""
    made, data = rows(duplicates=4)
    batch = unilm.corrupt(made, np.random.default_rng(1), VOCABULARY, data)
    objectives = made["objectives"]
    texts = [" ".join(map(str, (t for s in document for t in s))) for document in DOCUMENTS]
    segments = {BIDIRECTIONAL: {0, 1}, LEFT: {2}, RIGHT: {3}, SEQUENCE: {4, 5}}
    followed = {}
    for row, objective in enumerate(objectives):
        there = made["present"][row] != 0
        ids, kinds = made["input_ids"][row][there], batch["segment_ids"][row]
        assert {*kinds[there]} == segments[objective]
        assert not kinds[~there].any()
        source = 1 + int(np.argmax(ids == SEP))
        assert batch["input_mask"][row].tolist() == unilm_mask(OBJECTIVES[objective], there.tolist(), source)
        parts = [" ".join(map(str, part)) for part in (ids[1 : source - 1], ids[source:-1])]
        known = any(parts[0] in text and parts[1] in text.partition(parts[0])[2] for text in texts)
        followed.setdefault((objective, made["next_sentence_labels"][row]), []).append(known)
        assert (ids == SEP).sum() == (2 if objective in (BIDIRECTIONAL, SEQUENCE) else 1)
    assert all(np.mean(found) > 0.95 for (_, label), found in followed.items() if label == 0)
    assert np.mean(followed.pop((BIDIRECTIONAL, 1))) < 0.5
    assert {label for _, label in followed} == {0}
    assert np.array_equal(batch["next_sentence_weights"], objectives == BIDIRECTIONAL)
    asked = asked_of(batch)
    assert not np.isin(made["input_ids"][asked], (CLS, SEP, 0)).any()
    both = [asked[objectives == SEQUENCE] & (made["second"][objectives == SEQUENCE] == second) for second in (0, 1)]
    assert all(chosen.sum() > 50 for chosen in both), "source and target are masked"
    runs = np.diff(np.flatnonzero(np.diff(np.pad(asked, ((0, 0), (1, 1))).astype(int).ravel())))[::2]
    assert 0.1 < (runs > 1).mean() < 0.35, "some in runs of two and three"


def asked_of(batch):
    at = np.nonzero(batch["masked_lm_weights"])
    asked = np.zeros(batch["input_ids"].shape, bool)
    asked[at[0], batch["masked_lm_positions"][at]] = True
    return asked


def test_fine_tuning_masks_the_target_alone_its_end_too():
    """round(0.7·n) of n tokens and the [SEP] behind them."""
    made, data = rows(objective="fine-tuning")
    batch = unilm.corrupt(made, np.random.default_rng(1), VOCABULARY, data)
    asked = asked_of(batch)
    target = (made["second"] != 0) & (made["present"] != 0)
    assert not asked[~target].any()
    size = target.sum(1) - 1
    assert np.array_equal(asked.sum(1), np.maximum(1, np.rint(0.7 * size)))
    assert (made["input_ids"][asked] == SEP).any()
    assert {*made["objectives"]} == {SEQUENCE}
    assert np.isin(batch["segment_ids"][target], 5).all()
    masked = batch["input_ids"][asked] == MASK
    assert 0.7 < masked.mean() < 0.9


def test_pairs_to_learn_from_are_cut_and_masked_in_the_target_alone():
    sources, targets = [[1, 10, 11, 12, 2], [1, 10, 2]], [[1, 20, 21, 2], [1, *range(20, 40), 2]]
    batch = unilm.filled(sources, targets, np.random.default_rng(0), VOCABULARY, 12)
    assert batch["segment_ids"].tolist() == [[4] * 5 + [5] * 3 + [0], [4] * 3 + [5] * 6]
    assert not batch["next_sentence_weights"].any()
    whole, asked = batch["input_ids"].copy(), asked_of(batch)
    assert not asked[batch["segment_ids"] != 5].any()
    whole[asked] = batch["masked_lm_ids"][batch["masked_lm_weights"] > 0]
    assert whole.tolist() == [[1, 10, 11, 12, 2, 20, 21, 2, 0], [1, 10, 2, 20, 21, 22, 23, 24, 2]]


# ---- Writing ---------------------------------------------------------------------------------------------------------
TEXT = ["The cat sat on the mat.", "the dog sat on the cat", "a dog is not a cat, is it?"]


@pytest.fixture(scope="module")
def words():
    return WordPiece.train(TEXT * 3, 60)


@pytest.fixture(scope="module")
def model(words):
    """A row of the table beyond the vocabulary."""
    made = probed("unilm", vocab_size=len(words) + 1, type_vocab_size=6, max_position_embeddings=30)
    for name in ("position", "token_type"):  # so large that choices differ from step to step
        table = made.params["embeddings"][name]["weight"]
        table[...] = np.random.default_rng(5).standard_normal(table.shape)
    made.tokenizer = words
    return made


def _written(model, ids, new):
    """A row written on by a loop over `encode`, one [MASK] at a time."""
    tokenizer = model.tokenizer
    never = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.unk_id, tokenizer.mask_id, len(tokenizer)]
    for _ in range(new):
        read, source = [*ids, tokenizer.mask_id], ids.index(tokenizer.sep_id) + 1 if tokenizer.sep_id in ids else 0
        mask = unilm_mask("sequence-to-sequence" if source else "left-to-right", [1] * len(read), source)
        types = [(4 if t < source else 5) if source else 2 for t in range(len(read))]
        h = model.encode(input_ids=[read], attention_mask=[mask], token_type_ids=[types])["last_hidden_state"]
        term = unilm.terms(model.config)["masked_lm"]
        table = tree.get(model.params, term.table)
        logits = term.head.predict(h[0, -1], model.params["mlm"], table=table, **term.constants)
        logits[never] = -np.inf
        ids = [*ids, int(logits.argmax())]
    return ids


def test_what_is_written_is_what_stands_in_one_mask_after_another(model, words):
    """Left to right, and behind a source; in a batch padded on the left."""
    texts = [words.encode(text).ids for text in ("The cat", "a dog is not")]
    prompts = [texts[0][:-1], texts[1][:-1], texts[1]]
    length = max(map(len, prompts))
    mask = np.array([[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts])
    ids = np.zeros((3, length), int)
    ids[mask == 1] = np.concatenate(prompts)
    found = model.generate(ids, mask, max_new_tokens=5, eos_token_id=None)
    for row, prompt in zip(found, prompts, strict=True):
        assert row[length - len(prompt) :].tolist() == _written(model, prompt, 5)
    assert found[1, -5:].tolist() != found[2, -5:].tolist(), "a source is read otherwise than what was written"


def test_texts_are_read_under_the_bidirectional_mask(model, words):
    one = unilm.read([words.encode(text) for text in TEXT[:2]], words.pad_id)
    assert one["attention_mask"].shape == (2, *one["input_ids"].shape[1:] * 2)
    alone = unilm.read([words.encode(TEXT[1])], words.pad_id)
    length = alone["input_ids"].shape[1]
    both = [model.encode(**given)["last_hidden_state"] for given in (one, alone)]
    assert np.allclose(both[0][1, :length], both[1][0], rtol=0, atol=1e-12)


def test_published_options_that_are_on_are_refused(tmp_path):
    """And those that are off are passed over."""
    model = minibert.create("unilm", **unilm.PROBE)
    model.save(tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("{", '{"new_pos_ids": false, "rel_pos_bins": 0,', 1), encoding="utf-8")
    assert minibert.load(tmp_path).family == "unilm"
    path.write_text(text.replace("{", '{"rel_pos_bins": 32,', 1), encoding="utf-8")
    with pytest.raises(minibert.InputError, match="rel_pos_bins"):
        minibert.load(tmp_path)
