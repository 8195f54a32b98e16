"""Similar words for MacBERT: neighbours among embeddings, of the words of a corpus."""

import numpy as np
import pytest

import minibert
from minibert.corruption import similarity
from minibert.errors import InputError
from minibert.families import macbert
from minibert.tokenizers.wordpiece import WordPiece

TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] we use a language text model system to pre ca ##di ##lc ##ct ##ulate the pro"
TOKENS = f"{TOKENS} po ##ba ##ssi ##bility of next word . 使 用 运 模 型 系 统 预 测 估 计 算".split()
TEXT = "we use a language model to predict the probability of the next word ."
FIELDS = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 7}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return WordPiece.load(path)


def studied(tokenizer, options, texts):
    """The similar words of a training text of one shard."""
    return macbert.study(tokenizer, options, lambda count: count(tokenizer, options, texts))


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
