"""Similar words for MacBERT: tables that are handed in, and neighbours among embeddings."""

import json

import numpy as np
import pytest
from corrections import SIMILAR, TEXT, TOKENS, batches, studied

import minibert
from minibert.corruption import similarity
from minibert.errors import InputError
from minibert.families import macbert
from minibert.pretraining import pretrain
from minibert.tokenizers.wordpiece import WordPiece

FIELDS = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 7}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return WordPiece.load(path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("similar") / "similar.json"
    path.write_text(json.dumps(SIMILAR, ensure_ascii=False), encoding="utf-8")
    return str(path)


# ---- Handed in -------------------------------------------------------------------------------------------------------
def test_chinese_words_of_a_segmentation(tokenizer, table, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("使用 模型 预测\n", encoding="utf-8")
    options = macbert.Data(seq_length=32, similar=table, segmenter=str(words), rate=0.3, max_predictions=20)
    similar = {tuple(tokenizer.ids(w)): {tuple(tokenizer.ids(s)) for s in found} for w, found in SIMILAR.items()}
    found = 0
    for rows, batch in batches(tokenizer, options, "使用模型预测"):
        ids, now = rows["input_ids"], batch["input_ids"]
        assert rows["starts"].shape == ids.shape
        changed = ids != now
        for b, t in np.argwhere(np.isin(ids, [word[0] for word in similar if len(word) == 2])):
            if t + 1 < ids.shape[1] and tuple(ids[b, t : t + 2].tolist()) in similar:
                found += tuple(now[b, t : t + 2].tolist()) in similar[tuple(ids[b, t : t + 2].tolist())]
        assert changed.any()
    assert found > 100


def test_without_similar_words_they_are_random(tokenizer):
    """Nothing handed in: the 80 % too are random ordinary tokens."""
    options = macbert.Data(seq_length=64, max_predictions=20)
    changed = chosen = 0
    for rows, batch in batches(tokenizer, options):
        ids, now = rows["input_ids"], batch["input_ids"]
        changed += (ids != now).sum()
        chosen += batch["masked_lm_weights"].sum()
        assert not np.isin(now[ids != now], sorted(tokenizer.special_ids)).any()
    assert abs(changed / chosen - 0.9 * (1 - 1 / (len(TOKENS) - 5))) < 0.03


def test_words_of_another_length_are_rejected(tokenizer, tmp_path):
    path = tmp_path / "similar.json"
    path.write_text(json.dumps({"model": ["possibility", "unknown"], "predict": ["text", "use"]}))
    options = [macbert.Data(seq_length=64), macbert.Data(seq_length=64, similar=str(path))]
    made = [[batch["input_ids"] for _, batch in batches(tokenizer, o, seeds=8)] for o in options]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))


def test_an_identity_table_changes_only_what_is_random(tokenizer, tmp_path):
    words = dict.fromkeys(TEXT.split())
    path = tmp_path / "similar.json"
    path.write_text(json.dumps({word: [word] for word in words}))
    changed = chosen = 0
    for rows, batch in batches(tokenizer, macbert.Data(seq_length=64, similar=str(path), max_predictions=20)):
        changed += (rows["input_ids"] != batch["input_ids"]).sum()
        chosen += batch["masked_lm_weights"].sum()
    assert 0.06 < changed / chosen < 0.13


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), ("[1]", "JSON obj"), ('{"a": "b"}', "JSON obj"), ('{"a": [1]}', "JSON obj"), ("{", "JSON")],
)
def test_unusable_tables(tokenizer, tmp_path, content, said):
    path = tmp_path / "similar.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        next(batches(tokenizer, macbert.Data(similar=str(path))))
    assert "\n" not in str(caught.value)


# ---- Neighbours in embeddings ----------------------------------------------------------------------------------------
def test_nearest_words_by_cosine():
    vectors = {(1,): [1, 0], (2,): [3, 1], (3,): [-1, 0], (0,): [0, 0]}
    vectors |= {(4, 5): [1, 0], (6, 7): [0, 1], (8, 9, 9): [1, 1]}
    words = [*vectors, (1,), (2,)]
    found = similarity.nearest(words, lambda word: np.array(vectors[word], float), count=1)
    assert found == {(1,): [(2,)], (2,): [(1,)], (3,): [(0,)], (0,): [(1,)], (4, 5): [(6, 7)], (6, 7): [(4, 5)]}
    assert (3,) not in similarity.nearest(words, lambda word: np.array(vectors[word], float), most=2)


def test_the_words_of_a_corpus():
    continues = np.array([False] * 5 + [True] * 5)
    documents = [[[5, 1, 6, 2], []], [[3, 7, 8]]]
    assert list(similarity.words(documents, continues)) == [(5,), (1, 6), (2,), (3, 7, 8)]
    starts = [[[1, 0, 0, 1], []], [[1, 1, 1]]]
    assert list(similarity.words(documents, continues, starts)) == [(5, 1, 6), (2,), (3,), (7,), (8,)]


def test_similar_words_of_a_model_that_we_trained(tokenizer, tmp_path):
    """The neighbours planted in its table are found, by spelling, also where its vocabulary is in another order."""
    other = [*TOKENS[:5], *TOKENS[:4:-1], "more"]
    (tmp_path / "vocab.txt").write_text("\n".join(other) + "\n", encoding="utf-8")
    model = minibert.create("bert", **{**FIELDS, "vocab_size": len(other), "pad_token_id": 0})
    model.tokenizer = WordPiece.load(tmp_path / "vocab.txt")
    rows = model.params["embeddings"]["word"]["weight"]
    for a, b in (("model", "word"), ("pre", "pro"), ("##di", "##ba"), ("##ct", "##bility")):
        rows[other.index(a)] = 2 * rows[other.index(b)]
    model.save(tmp_path / "model")
    documents = [[tokenizer.ids(TEXT)]]
    options = macbert.Data(similar=str(tmp_path / "model"))
    words = similarity.words(documents, tokenizer.continues)
    found = similarity.in_embeddings(words, tokenizer.tokens, options.similar)
    assert found[tuple(tokenizer.ids("model"))][0] == tuple(tokenizer.ids("word"))
    assert found[tuple(tokenizer.ids("predict"))] == [tuple(tokenizer.ids("probability"))]
    assert len(studied(tokenizer, options, [[TEXT]]).words)
    fewer = ["x" if token == "model" else token for token in other]
    (tmp_path / "vocab.txt").write_text("\n".join(fewer) + "\n", encoding="utf-8")
    model.tokenizer = WordPiece.load(tmp_path / "vocab.txt")
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match="--vocabulary"):
        studied(tokenizer, options, [[TEXT]])


def test_a_run_takes_the_neighbours_of_another_runs_embeddings(corpus, tmp_path):
    """First BERT, then MacBERT with its vocabulary and the similar words of its table."""
    fields = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    given = {"steps": 4, "batch_size": 4, "seq_length": 24, "duplicates": 1, "held_out": 0.2, "fields": fields}
    first = pretrain("bert", [corpus / "text.txt"], tmp_path / "bert", vocab_size=300, **given)
    given |= {"vocabulary": str(first), "similar": str(first)}
    run = pretrain("macbert", [corpus / "text.txt"], tmp_path / "macbert", **given)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert set(report["terms"]) == {"masked_lm", "sentence_order"}
    assert "sentence_order" in report["majority"]
    assert minibert.load(run).family == "macbert"
