"""Whole words, entities and n-grams of Chinese and English, as the data functions of wwm and wwm-ext mask them."""

import numpy as np
import pytest
import regex

from minibert.corruption import masking
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert_wwm, bert_wwm_ext
from minibert.families.bert_wwm import Data
from minibert.tokenizers.wordpiece import WordPiece

TEXT = "使用语言模型来预测下一个词的probability。"
WORDS = ["使用", "语言", "模型", "来", "预测", "下", "一个", "词", "的", "probability", "。"]
PIECES = [*"使用语言模型来预测下一个词的", "pro", "##ba", "##bility", "。"]
STARTS = [1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(PIECES), *"型号天地元黄宇宙洪荒"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(list(dict.fromkeys(TOKENS)))


def vocabulary(tokenizer) -> Vocabulary:
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    return Vocabulary(len(tokenizer), *roles, tokenizer.continues, tuple(sorted(tokenizer.special_ids)))


def rows_of(tokenizer, texts, options, family=bert_wwm, seed=0):
    """Unmasked rows of documents of sentences, with what the options hand in."""
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    given = family.mark(tokenizer, options, texts, documents)
    rng = np.random.default_rng(seed)
    return family.rows(documents, rng, vocabulary(tokenizer), options, given), given


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(WORDS) + "\n", encoding="utf-8")
    return str(path)


def groups_masked(tokenizer, options, seeds=15):
    """For many draws (sixteen rows a seed): the batch's targets as sets of positions in TEXT."""
    rows, given = rows_of(tokenizer, [[TEXT], [TEXT]], options, bert_wwm_ext)
    assert (rows["input_ids"][0, 1 : 1 + len(PIECES)] == tokenizer.ids(TEXT)).all()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        batch = bert_wwm_ext.corrupt(rows, rng, vocabulary(tokenizer), options, given)
        used = batch["masked_lm_weights"] > 0
        for b in range(len(used)):
            yield set((batch["masked_lm_positions"][b][used[b]] - 1).tolist()), batch, b


def test_words_are_chosen_whole(tokenizer, words):
    """Always a union of the README's groups, within BERT's budget, and every group has its turn."""
    options = Data(seq_length=24, rate=0.25, segmenter=words)
    begins = np.cumsum(STARTS) - 1
    groups = [set(np.flatnonzero(begins == n).tolist()) for n in range(len(WORDS))]
    seen = set()
    for chosen, _, _ in groups_masked(tokenizer, options):
        assert len(chosen) <= masking.budget(np.array(len(PIECES) + 2), 0.25)
        touched = [n for n, group in enumerate(groups) if group & chosen]
        assert set().union(*(groups[n] for n in touched)) == chosen
        seen |= set(touched)
    assert seen == set(range(len(WORDS)))


def test_pairs_know_the_words_too(tokenizer, words):
    """BERT-wwm's rows are pairs: in both segments the characters of a word start together."""
    rows, _ = rows_of(tokenizer, [[TEXT, TEXT], [TEXT, TEXT]], Data(seq_length=64, segmenter=words, short_rate=0.0))
    size, seen = len(PIECES), 0
    for ids, starts in zip(rows["input_ids"].tolist(), rows["starts"].tolist(), strict=True):
        for at in range(1, len(ids) - size):
            if ids[at : at + size] == tokenizer.ids(TEXT):
                assert [int(start) for start in starts[at : at + size]] == STARTS
                seen += 1
    assert seen > len(rows["input_ids"])


def test_characters_are_chosen_alone(tokenizer, words):
    """The baseline row of the README: 模 without 型, the middle of "probability" alone."""
    options = Data(seq_length=24, rate=0.25, units="pieces", segmenter=words)
    drawn = [chosen for chosen, _, _ in groups_masked(tokenizer, options)]
    assert any({4, 5} & chosen == {4} for chosen in drawn)
    assert any({14, 15, 16} & chosen == {15} for chosen in drawn)


def test_no_segmentation_draws_what_bert_draws(tokenizer):
    """Of Chinese alone, whole words without a segmentation are characters: the same stream, bit for bit."""
    text = "使用语言模型来预测下一个词的模型。"
    own = {"seq_length": 24, "rate": 0.25}
    made = [
        [batch for _, batch, _ in groups_masked_of(tokenizer, text, Data(**own, units=kind))]
        for kind in ("words", "pieces")
    ]
    for one, other in zip(*made, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def groups_masked_of(tokenizer, text, options):
    rows, given = rows_of(tokenizer, [[text], [text]], options)
    assert "starts" not in rows
    for seed in range(20):
        yield seed, bert_wwm.corrupt(rows, np.random.default_rng(seed), vocabulary(tokenizer), options, given), 0


def test_shares_over_many_draws(tokenizer, words):
    """Chosen stays below the budget; of the chosen pieces 80/10/10, piece by piece."""
    options = Data(seq_length=24, rate=0.25, segmenter=words)
    mask = keep = chosen_in_all = halves = draws = 0
    for chosen, batch, b in groups_masked(tokenizer, options, 250):
        draws += 1
        targets = np.array(sorted(chosen)) + 1
        now, labels = batch["input_ids"][b, targets], batch["masked_lm_ids"][b][: len(targets)]
        chosen_in_all += len(targets)
        mask += (now == tokenizer.mask_id).sum()
        keep += (now == labels).sum()
        word = {4, 5} <= chosen
        halves += word and ((batch["input_ids"][b, [5, 6]] == tokenizer.mask_id).sum() == 1)
    assert 0.85 < chosen_in_all / (5 * draws) <= 1
    assert abs(mask / chosen_in_all - 0.8) < 0.015
    assert abs(keep / chosen_in_all - (0.1 + 0.1 / len(tokenizer))) < 0.012
    assert halves  # one character of a word masked, the other not


def test_entities_are_chosen_whole(tokenizer, tmp_path, words):
    entities = tmp_path / "entities.txt"
    entities.write_text("语言模型\n\n模型来\n预测下一个词\nPRO\n", encoding="utf-8")
    options = Data(seq_length=24, rate=0.3, units="entities", entities=str(entities), segmenter=words)
    rows, given = rows_of(tokenizer, [[TEXT], [TEXT]], options, bert_wwm_ext)
    assert given["entities"] == {tuple(tokenizer.ids(e)) for e in ("语言模型", "模型来", "预测下一个词", "pro")}
    expected = [-1, -1, -1, 3, 3, 3, 3, -1, 8, 8, 8, 8, 8, 8, -1, -1, -1, -1, -1]  # "pro" goes on: no entity
    assert rows["units"][0, : len(expected)].tolist() == expected
    whole = set()
    for chosen, _, _ in groups_masked(tokenizer, options):
        for entity in (set(range(2, 6)), set(range(7, 13)), {0, 1}):
            assert chosen & entity in (set(), entity)
            whole |= {len(entity)} if entity <= chosen else set()
    assert whole == {2, 4, 6}


def test_ngrams_are_runs_of_words(tokenizer, words):
    options = Data(seq_length=24, rate=0.4, units="ngrams", segmenter=words)
    begins = np.cumsum(STARTS) - 1
    longest = 0
    for chosen, _, _ in groups_masked(tokenizer, options, 50):
        touched = {int(begins[i]) for i in chosen}
        assert {i for i in range(len(PIECES)) if begins[i] in touched} == chosen
        runs = regex.findall("1+", "".join("1" if n in touched else "0" for n in range(len(WORDS))))
        longest = max(longest, *map(len, runs))
    assert longest >= 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": "word"}, "did you mean 'words'"),
        ({"units": "entities"}, "--entities FILE"),
        ({"units": "entities", "entities": "nowhere.txt"}, "cannot read nowhere.txt"),
        ({"segmenter": "nowhere.txt"}, "cannot read nowhere.txt"),
    ],
)
def test_unusable_options(tokenizer, options, said):
    with pytest.raises(InputError, match=said):
        rows_of(tokenizer, [[TEXT]], Data(**options))


def test_strategies_differ_on_english(tmp_path):
    """Pieces of a word together, without any segmenter; every strategy makes other batches."""
    rng = np.random.default_rng(3)
    stems = ["".join(rng.choice(list("abdegiklmnorstu"), rng.integers(3, 8))) for _ in range(60)]
    lines = [" ".join(rng.choice(stems, rng.integers(4, 9))) + "." for _ in range(120)]
    tokenizer = WordPiece.train(lines, 60)
    assert tokenizer.continues.sum() > 15
    texts = [lines[i : i + 12] for i in range(0, 120, 12)]
    entities = tmp_path / "entities.txt"
    entities.write_text(f"{stems[0]} {stems[1]}\n{stems[2]}\n", encoding="utf-8")
    made = []
    for kind in bert_wwm.UNITS:
        options = Data(seq_length=48, units=kind, entities=str(entities))
        rows, given = rows_of(tokenizer, texts, options)
        batch = bert_wwm.corrupt(rows, np.random.default_rng(5), vocabulary(tokenizer), options, given)
        chosen = np.zeros(rows["input_ids"].shape, bool)
        used = batch["masked_lm_weights"] > 0
        chosen[np.nonzero(used)[0], batch["masked_lm_positions"][used]] = True
        follows = tokenizer.continues[rows["input_ids"]]
        follows[:, 1:] &= ~np.isin(rows["input_ids"][:, :-1], (tokenizer.cls_id, tokenizer.sep_id))
        split = (chosen[:, 1:] != chosen[:, :-1]) & follows[:, 1:]
        assert split.any() == (kind == "pieces")
        made.append(chosen)
    assert all((a != b).any() for i, a in enumerate(made) for b in made[:i])
