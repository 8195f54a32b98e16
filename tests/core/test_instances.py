"""From documents of ids to rows: BERT's seven published fields, and the rows of the other families."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.corruption import instances as made
from minibert.corruption import sentence_pairs, sequences
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

PAD, CLS, SEP, MASK = 0, 2, 3, 4
FIELDS = {
    "input_ids": np.int32,
    "input_mask": np.int32,
    "segment_ids": np.int32,
    "masked_lm_positions": np.int32,
    "masked_lm_ids": np.int32,
    "masked_lm_weights": np.float32,
    "next_sentence_labels": np.int32,
}


@st.composite
def corpora(draw):
    """Documents whose tokens are 5, 6, 7, …, so that an id tells its place, and the vocabulary that holds them."""
    lengths = draw(st.lists(st.lists(st.integers(0, 12), max_size=9), min_size=1, max_size=6))
    if not any(map(sum, lengths)):
        lengths.append([3, 4])
    ids = iter(range(5, 10_000))
    documents = [[[next(ids) for _ in range(n)] for n in document] for document in lengths]
    size = next(ids)
    continues = np.arange(size) % 4 == 1
    return documents, Vocabulary(size=size, cls=CLS, sep=SEP, mask=MASK, pad=PAD, continues=continues)


@given(corpora(), st.integers(5, 40), st.integers(1, 8), st.booleans(), st.integers(0, 99))
def test_properties_of_every_instance(corpus, width, slots, whole_words, seed):
    documents, vocabulary = corpus
    arguments = {"max_length": width, "duplicates": 2}
    clean = made.pairs(documents, np.random.default_rng(seed), vocabulary, **arguments)
    batch = made.instances(
        documents,
        np.random.default_rng(seed),
        vocabulary,
        max_predictions=slots,
        whole_words=whole_words,
        **arguments,
    )
    rows = len(clean["input_ids"])
    assert {name: field.dtype for name, field in batch.items()} == FIELDS
    assert list(batch) == list(FIELDS)  # the published order
    widths = {"input": (width,), "segment": (width,), "masked": (slots,), "next": ()}
    assert all(field.shape == (rows, *widths[name.split("_")[0]]) for name, field in batch.items())
    where = {t: (d, i) for d, document in enumerate(documents) for i, t in enumerate(sum(document, []))}  # noqa: RUF017
    for b in range(rows):
        ids, mask, types = (clean[name][b].tolist() for name in ("input_ids", "input_mask", "segment_ids"))
        length = sum(mask)
        assert 5 <= length <= width
        assert mask == [1] * length + [0] * (width - length)
        assert ids[length:] == [PAD] * (width - length)
        first = ids.index(SEP)
        assert (ids[0], ids[length - 1]) == (CLS, SEP)
        assert types == [0] * (first + 1) + [1] * (length - first - 1) + [0] * (width - length)
        a, c = ids[1:first], ids[first + 1 : length - 1]
        for segment in (a, c):  # order kept, nothing left out, one document
            assert segment == list(range(segment[0], segment[0] + len(segment)))
            assert where[segment[0]][0] == where[segment[-1]][0]
        label = clean["next_sentence_labels"][b]
        assert label in (0, 1)
        if label == 0:
            assert where[a[0]][0] == where[c[0]][0]
            assert a[-1] < c[0]
        row = {name: field[b] for name, field in batch.items()}
        used = row["masked_lm_weights"] == 1
        restored = row["input_ids"].copy()
        restored[row["masked_lm_positions"][used]] = row["masked_lm_ids"][used]
        assert restored.tolist() == ids  # the labels invert the corruption
        assert not row["masked_lm_positions"][~used].any()
        assert not row["masked_lm_ids"][~used].any()
        assert (np.diff(row["masked_lm_positions"][used]) > 0).all()
        assert not np.isin(row["masked_lm_ids"][used], [PAD, CLS, SEP]).any()
        assert used.sum() <= min(slots, max(1, round(0.15 * length)))
        if not whole_words:
            assert used.sum() == min(slots, max(1, round(0.15 * length)))
    for name in ("input_mask", "segment_ids", "next_sentence_labels"):
        np.testing.assert_array_equal(batch[name], clean[name])


def text(documents: int = 60, seed: int = 0) -> list[list[list[int]]]:
    draw = np.random.default_rng(seed)
    return [
        [draw.integers(5, 200, draw.integers(3, 25)).tolist() for _ in range(draw.integers(2, 40))]
        for _ in range(documents)
    ]


VOCABULARY = Vocabulary(size=200, cls=CLS, sep=SEP, mask=MASK)


def test_deterministic_given_a_seed_and_new_without():
    one, two, other = (made.instances(text(), np.random.default_rng(s), VOCABULARY, duplicates=2) for s in (1, 1, 2))
    for name in FIELDS:
        np.testing.assert_array_equal(one[name], two[name])
    assert one["input_ids"].shape != other["input_ids"].shape or (one["input_ids"] != other["input_ids"]).any()


def test_each_pass_draws_new_pairs_and_their_order_is_shuffled():
    single = made.pairs(text(), np.random.default_rng(1), VOCABULARY)
    many = made.pairs(text(), np.random.default_rng(1), VOCABULARY, duplicates=4)
    rows = np.unique(many["input_ids"], axis=0)
    assert 3.5 * len(single["input_ids"]) < len(many["input_ids"]) < 4.5 * len(single["input_ids"])
    assert len(rows) > 0.9 * len(many["input_ids"])
    # Documents are passed over in order: unshuffled, two neighbours would nearly always begin in the same document.
    home = {tuple(s[:3]): d for d, document in enumerate(text()) for s in document}
    order = [home[tuple(row[1:4])] for row in many["input_ids"].tolist() if tuple(row[1:4]) in home]
    assert np.mean(np.diff(order) == 0) < 0.1


def test_masked_share_of_static_and_dynamic_masks():
    """About 15 % of all tokens, the same in both; dynamic masks differ from epoch to epoch."""
    clean = made.pairs(text(400), np.random.default_rng(1), VOCABULARY)
    for field in clean.values():
        field.flags.writeable = False
    rng = np.random.default_rng(2)
    epochs = [made.masked(clean, rng, VOCABULARY) for _ in range(2)]
    static = made.instances(text(400), np.random.default_rng(3), VOCABULARY, duplicates=1)
    for batch in (*epochs, static):
        assert abs(batch["masked_lm_weights"].sum() / batch["input_mask"].sum() - 0.15) < 0.003
    chosen = [set(map(tuple, np.argwhere(e["input_ids"] != clean["input_ids"]).tolist())) for e in epochs]
    assert len(chosen[0] & chosen[1]) < 0.3 * len(chosen[0])
    part = made.masked({name: field[5:9] for name, field in clean.items()}, rng, VOCABULARY, max_predictions=7)
    assert part["masked_lm_ids"].shape == (4, 7)


def test_unusable_input_is_one_clear_line():
    rng = np.random.default_rng(0)
    for documents, length, message in [
        ([], 128, "no tokens"),
        ([[[]], []], 128, "no tokens"),
        ([[[5, 200]]], 128, "token id 200 lies outside the vocabulary of 200"),
        ([[[-1, 5]]], 128, "token id -1"),
        ([[[5, 6]]], 4, "max_length 4 is too short"),
    ]:
        with pytest.raises(InputError, match=message):
            made.instances(documents, rng, VOCABULARY, max_length=length)


def test_a_single_document_pairs_with_itself():
    """As in the release: ten tries to find another document, then the same one, still labelled random."""
    batch = made.pairs([[[5, 6, 7]] * 9], np.random.default_rng(0), VOCABULARY, max_length=16)
    assert set(batch["next_sentence_labels"].tolist()) <= {0, 1}
    assert (batch["input_ids"][:, 1] > SEP).all()


# ---- The rows of other families --------------------------------------------------------------------------------------
def rows_of(batch):
    """The rows without padding, in any order."""
    return Counter(
        tuple(ids[mask == 1].tolist()) for ids, mask in zip(batch["input_ids"], batch["input_mask"], strict=True)
    )


MAKERS = {
    "pairs": sequences.pairs,
    "ordered_pairs": sequences.ordered_pairs,
    "sentence_pair_rows": sequences.sentence_pair_rows,
    "full_sentences": sequences.full_sentences,
    "doc_sentences": sequences.doc_sentences,
    "single_sequence": sequences.single_sequence,
    "packed": sequences.packed,
}
LABELS = {"pairs": "next_sentence_labels", "ordered_pairs": "sentence_order_labels"}
LABELS["sentence_pair_rows"] = LABELS["pairs"]


@pytest.mark.parametrize("name", MAKERS)
@given(corpora(), st.integers(14, 40), st.integers(1, 3), st.booleans(), st.integers(0, 99))
@settings(max_examples=50)
def test_properties_of_every_row(name, corpus, width, duplicates, segmented, seed):
    documents, vocabulary = corpus
    starts = (
        [[[t % 3 == 0 for t in sentence] for sentence in document] for document in documents] if segmented else None
    )
    rows, again = (
        MAKERS[name](documents, np.random.default_rng(seed), vocabulary, width, duplicates=duplicates, starts=starts)
        for _ in range(2)
    )
    for field in rows:
        np.testing.assert_array_equal(rows[field], again[field])
    shapes = {"input_ids": (np.int32, 2), "input_mask": (np.int32, 2), "segment_ids": (np.int32, 2)}
    shapes |= {LABELS[name]: (np.int32, 1)} if name in LABELS else {}
    shapes |= {"starts": (bool, 2)} if segmented else {}
    assert {field: (a.dtype, a.ndim) for field, a in rows.items()} == shapes
    ids, mask, types = (rows[field] for field in ("input_ids", "input_mask", "segment_ids"))
    assert ids.shape == mask.shape == types.shape == (len(ids), width)
    assert (np.diff(mask) <= 0).all()  # padding at the end alone
    assert (ids[mask == 0] == PAD).all()
    assert (types[mask == 0] == 0).all()
    assert (ids[:, 0] == CLS).all()
    assert (ids == CLS).sum() == len(ids)
    last = ids[np.arange(len(ids)), mask.sum(1) - 1]
    if name not in ("full_sentences", "doc_sentences"):  # there a cut sentence has none
        assert (last == SEP).all()
    if name in ("pairs", "ordered_pairs", "packed"):
        second = np.cumsum(ids == SEP, axis=1) - (ids == SEP) >= 1
        np.testing.assert_array_equal(types == 1, second & (mask == 1))
    else:
        assert not types.any()
    plain = (mask == 1) & (ids > MASK)
    if segmented:
        np.testing.assert_array_equal(rows["starts"], np.where(plain, ids % 3 == 0, True))
    if name in ("ordered_pairs", "full_sentences", "doc_sentences", "packed"):  # what others don't promise
        count = Counter(ids[plain].tolist())
        assert set(count) <= {t for document in documents for sentence in document for t in sentence}


def fairseq_blocks(documents, limit, across):
    """The release's two break modes on lines that end in </s>; a blank line is a lone </s>."""
    lines = []
    for document in documents:
        sentences = [[*sentence, SEP] for sentence in document if sentence]
        if sentences:
            lines += [*sentences, None]
    blocks, block = [], []
    for line in lines[:-1]:
        if line is None and not across:
            blocks.append(block)
            block = []
            continue
        line = [SEP] if line is None else line
        if block and len(block) + len(line) > limit:
            blocks.append(block)
            block = []
        block = block + line
    return Counter((CLS, *block[:limit]) for block in [*blocks, block] if block)


@pytest.mark.parametrize("across", [True, False])
@given(corpora(), st.integers(3, 40))
def test_full_and_doc_sentences_equal_their_double(across, corpus, width):
    documents, vocabulary = corpus
    maker = sequences.full_sentences if across else sequences.doc_sentences
    batch = maker(documents, np.random.default_rng(0), vocabulary, width)
    assert rows_of(batch) == fairseq_blocks(documents, width - 1, across)


def test_wrong_blocks_are_told_apart():
    """Over documents, not over them, and with room for a second special token, are three different things."""
    full, doc = (
        rows_of(maker(text(), np.random.default_rng(0), VOCABULARY, 64))
        for maker in (sequences.full_sentences, sequences.doc_sentences)
    )
    assert full != doc
    assert full not in (fairseq_blocks(text(), 63, False), fairseq_blocks(text(), 62, True))
    assert doc not in (fairseq_blocks(text(), 63, True), fairseq_blocks(text(), 62, False))


def test_documents_meet_at_one_more_separator():
    documents = [[[5, 6], [7]], [[8, 9, 10]]]
    full = sequences.full_sentences(documents, np.random.default_rng(0), VOCABULARY, 12)
    assert full["input_ids"].tolist() == [[CLS, 5, 6, SEP, 7, SEP, SEP, 8, 9, 10, SEP, PAD]]
    apart = sequences.doc_sentences(documents, np.random.default_rng(0), VOCABULARY, 12)
    assert rows_of(apart) == Counter([(CLS, 5, 6, SEP, 7, SEP), (CLS, 8, 9, 10, SEP)])


@given(corpora(), st.integers(3, 40))
def test_single_sequences_equal_their_double(corpus, width):
    documents, vocabulary = corpus
    expected = []
    for document in documents:
        chunk = []
        for sentence in [*(s for s in document if s), None]:
            whole = sentence is not None and len(sentence) <= width - 2
            if chunk and (not whole or sum(map(len, chunk)) + len(sentence) > width - 2):
                expected.append((CLS, *(t for s in chunk for t in s), SEP))
                chunk = []
            if whole:
                chunk.append(sentence)
    if not expected:
        with pytest.raises(InputError, match="more than"):
            sequences.single_sequence(documents, np.random.default_rng(0), vocabulary, width)
        return
    assert rows_of(sequences.single_sequence(documents, np.random.default_rng(0), vocabulary, width)) == Counter(
        expected
    )


def electra_rows(documents, rng, limit, single=0.1, short=0.05):
    """The release's builder, a line at a time, on the same generator."""
    made, sentences, target = [], [], limit

    def example():
        nonlocal sentences, target
        aim = 100_000 if rng.random() < single else (target - 3) // 2
        first, second = [], []
        for sentence in sentences:
            if (
                not first
                or len(first) + len(sentence) < aim
                or (not second and len(first) < aim and rng.random() < 0.5)
            ):
                first = first + sentence
            else:
                second = second + sentence
        first = first[: limit - 2]
        second = second[: max(0, limit - len(first) - 3)]
        sentences, target = [], limit
        if rng.random() < short:
            target = int(rng.integers(5, limit, endpoint=True))
        made.append((CLS, *first, SEP, *second, SEP) if second else (CLS, *first, SEP))

    for document in documents:
        for sentence in filter(None, document):
            sentences.append(sentence)
            if sum(map(len, sentences)) >= target:
                example()
        if sentences:
            example()
    return Counter(made)


@given(corpora(), st.integers(5, 40), st.sampled_from([(0.1, 0.05), (0.5, 0.5), (0.0, 0.0)]), st.integers(0, 99))
@settings(max_examples=200)
def test_packed_rows_equal_their_double_on_the_same_generator(corpus, width, rates, seed):
    documents, vocabulary = corpus
    given_rates = {"single_rate": rates[0], "short_rate": rates[1]}
    batch = sequences.packed(documents, np.random.default_rng(seed), vocabulary, width, **given_rates)
    assert rows_of(batch) == electra_rows(documents, np.random.default_rng(seed), width, *rates)


def test_wrong_packing_is_told_apart():
    rows = rows_of(sequences.packed(text(), np.random.default_rng(0), VOCABULARY, 64))
    assert rows == electra_rows(text(), np.random.default_rng(0), 64)
    assert rows != electra_rows(text(), np.random.default_rng(0), 64, single=0.0)
    assert rows != electra_rows(text(), np.random.default_rng(0), 64, short=0.0)


@pytest.mark.parametrize("maker", [sequences.pairs, sequences.ordered_pairs, sequences.sentence_pair_rows])
def test_layouts_hold_the_same_segments(maker):
    bert = maker(text(), np.random.default_rng(1), VOCABULARY, 63, layout="bert")
    roberta = maker(text(), np.random.default_rng(1), VOCABULARY, 64, layout="roberta")
    assert not roberta["segment_ids"].any()
    for one, two in zip(bert["input_ids"].tolist(), roberta["input_ids"].tolist(), strict=True):
        between = one.index(SEP)
        assert two == [*one[:between], SEP, *one[between:]]  # a second </s>, nothing else
    with pytest.raises(InputError, match="layout"):
        maker(text(), np.random.default_rng(1), VOCABULARY, 64, layout="xlnet")


@pytest.mark.parametrize("name", MAKERS)
def test_every_maker_refuses_what_it_cannot_use(name):
    rng = np.random.default_rng(0)
    for documents, length, starts, message in [
        ([[]], 64, None, "no tokens"),
        ([[[5, 200]]], 64, None, "token id 200"),
        ([[[5, 6]]], 2, None, "max_length 2 is too short"),
        ([[[5, 6]]], 64, [[[1]]], "nesting"),
    ]:
        with pytest.raises(InputError, match=message):
            MAKERS[name](documents, rng, VOCABULARY, length, starts=starts)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("role", "said"), [("cls", "no cls token"), ("sep", "no sep token"), ("pad", "no padding")])
def test_every_maker_says_which_token_it_lacks(name, role, said):
    with pytest.raises(InputError, match=said):
        MAKERS[name](text(), np.random.default_rng(0), VOCABULARY._replace(**{role: None}))


# ---- Running text ----------------------------------------------------------------------------------------------------
@given(corpora(), st.integers(2, 30), st.integers(1, 3), st.integers(0, 99))
def test_running_text_loses_the_last_incomplete_row_alone(corpus, width, duplicates, seed):
    """All documents, each whole and closed, then all of them again in an order of its own."""
    documents, vocabulary = corpus
    whole = [[i for sentence in document for i in sentence] for document in documents]
    whole, end = [document for document in whole if document], 3
    due = duplicates * sum(len(document) + 1 for document in whole)
    made = (documents, np.random.default_rng(seed), vocabulary._replace(cls=None, sep=None, pad=None, end=end))
    if due < width:
        with pytest.raises(InputError, match=f"has {due} tokens, fewer than a row of {width}: give more text"):
            sequences.running_text(*made, width, duplicates)
        return
    batch = sequences.running_text(*made, width, duplicates)
    assert {name: (rows.shape, rows.dtype) for name, rows in batch.items()} == dict.fromkeys(
        ("input_ids", "labels"), ((due // width, width), np.int32)
    )
    np.testing.assert_array_equal(batch["input_ids"], batch["labels"])
    assert not np.shares_memory(batch["input_ids"], batch["labels"])
    stream, passes = batch["input_ids"].ravel().tolist(), np.random.default_rng(seed)
    expected = []
    for _ in range(duplicates):
        for d in passes.permutation(len(whole)):
            expected += [*whole[d], end]
    assert stream == expected[: due // width * width]


def test_running_text_takes_documents_in_a_new_order_each_pass():
    documents = [[[5 + d] * 9] for d in range(40)]
    rows = sequences.running_text(documents, np.random.default_rng(1), VOCABULARY._replace(end=0), 10, 3)["input_ids"]
    passes = rows[:, 0].reshape(3, 40)
    assert (np.sort(passes) == np.arange(5, 45)).all()
    assert len({tuple(row) for row in passes.tolist()}) == 3
    assert (rows[:, -1] == 0).all()


def test_running_text_refuses_what_it_cannot_use():
    rng, closed = np.random.default_rng(0), VOCABULARY._replace(end=0)
    for documents, vocabulary, length, message in [
        ([[[5, 6]]], VOCABULARY, 2, "no end of text token"),
        ([[]], closed, 2, "no tokens"),
        ([[[5, 200]]], closed, 2, "token id 200"),
        ([[[5, 6]]], closed, 1, "max_length 1 leaves no next token"),
        ([[[5, 6]]], closed, 4, "has 3 tokens, fewer than a row of 4"),
    ]:
        with pytest.raises(InputError, match=message):
            sequences.running_text(documents, rng, vocabulary, length)


# ---- A sentence like a book ------------------------------------------------------------------------------------------
class Counting:
    """A generator that counts the numbers it draws."""

    def __init__(self, seed):
        self.rng, self.drawn = np.random.default_rng(seed), 0

    def random(self, size=None):
        self.drawn += 1 if size is None else size
        return self.rng.random(size)

    def __getattr__(self, name):
        self.drawn += 1
        return getattr(self.rng, name)


@pytest.mark.parametrize("maker", [
    sentence_pairs.sentence_pairs, sentence_pairs.ordered_pairs, sentence_pairs.single_pairs
])  # fmt: skip
def test_a_partner_of_great_length_is_not_cut_token_by_token(maker):
    """It is drawn by thousands of sentences; each cut draws a few numbers, not one a token."""
    long, short = 200_000, 3_000
    lengths = [long, *[7] * short]
    rng = Counting(3)
    made = maker(np.cumsum([0, *lengths]), [0, 1, 1 + short], rng, 61)
    assert rng.drawn < 100 * len(made) + long
    sizes = np.stack([made[:, 1] - made[:, 0], made[:, 3] - made[:, 2]])
    assert (sizes.sum(0) <= 61).all()
    assert (sizes >= 1).all()


@pytest.mark.parametrize("a_first", [True, False])
def test_the_law_of_cutting_is_the_same_at_once_and_token_by_token(a_first, monkeypatch):
    """What is left has the same length, and begins at a place that is binomial: same mean and spread."""
    segments = [(5, 12), (100, 900)][:: 1 if a_first else -1]
    found = {}
    for many in (10_000, 10):
        monkeypatch.setattr(sentence_pairs, "MANY", many)
        rng = np.random.default_rng(many)
        cuts = np.array([sentence_pairs._truncation(*segments, 61, rng) for _ in range(4000)])
        found[many] = cuts[:, 2] if a_first else cuts[:, 0]
        other = cuts[:, :2] if a_first else cuts[:, 2:]
        assert (other == (5, 12)).all()
        assert (np.diff(cuts[:, 2:] if a_first else cuts[:, :2]) == 54).all()
    cut = 800 - 54
    for places in found.values():
        assert abs(places.mean() - (100 + cut / 2)) < 4 * (cut / 4 / 4000) ** 0.5
        assert abs(places.var() / (cut / 4) - 1) < 4 * (2 / 4000) ** 0.5
