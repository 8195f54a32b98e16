"""MacBERT: words give way to similar words, never to a mask; the order of segments."""

import json

import numpy as np
import pytest
from corrections import SIMILAR, TOKENS, batches
from published import Published, error, example, probed

from minibert.errors import InputError
from minibert.families import macbert
from minibert.families.macbert import Data
from minibert.tokenizers.wordpiece import WordPiece

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "data-only family": (130, "its table of similar words, and a term with a name of its own"),
}

PUBLISHED = [
    Published("macbert", "BertForPreTraining", labels={"labels": "masked_lm", "next_sentence_label": "sentence_order"})
]
DIRECTORIES = {"BertForPreTraining": {"pooler", "mlm", "nsp"}, "BertForMaskedLM": {"mlm"}}
PARAMETERS = [({}, ("mlm", "nsp"), 102_267_648), (macbert.PRESETS["large"], ("mlm", "nsp"), 325_522_432)]
RUNS = [({"similar": "similar.json", "segmenter": "words.txt"}, {})]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(TOKENS)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("similar") / "similar.json"
    path.write_text(json.dumps(SIMILAR, ensure_ascii=False), encoding="utf-8")
    return str(path)


def test_words_give_way_to_similar_words_and_never_to_a_mask(tokenizer, table):
    """The README's example: pre ##di ##ct becomes ca ##lc ##ulate; lengths stay; labels are the original's."""
    options = Data(seq_length=64, similar=table, max_predictions=20)
    seen = dict.fromkeys(SIMILAR, 0)
    for rows, batch in batches(tokenizer, options):
        ids, now = rows["input_ids"], batch["input_ids"]
        assert not (now == tokenizer.mask_id).any()
        assert np.array_equal(batch["input_mask"], rows["input_mask"])
        used = batch["masked_lm_weights"] > 0
        chosen = np.zeros(ids.shape, bool)
        chosen[np.nonzero(used)[0], batch["masked_lm_positions"][used]] = True
        assert np.array_equal(ids[chosen], batch["masked_lm_ids"][used])
        assert np.array_equal(ids[~chosen], now[~chosen])
        for word, similar in SIMILAR.items():
            old, new = tokenizer.ids(word), tokenizer.ids(similar[0])
            for b, t in np.argwhere(ids == old[0]):
                seen[word] += now[b, t : t + len(new)].tolist() == new and ids[b, t : t + len(old)].tolist() == old
    assert all(seen[word] for word in ("language", "model", "predict", "probability"))


def test_labels_of_the_order_are_not_of_the_next_sentence():
    both = probed("macbert")
    batch = example(both)
    loss = both.loss(batch)[0]
    assert error(both.loss({**batch, "sentence_order_labels": 1 - batch["sentence_order_labels"]})[0], loss) > 1e-3
    with pytest.raises(InputError, match="next_sentence_labels"):
        both.loss({**batch, "next_sentence_labels": batch["sentence_order_labels"]})
