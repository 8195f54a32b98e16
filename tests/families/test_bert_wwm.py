"""BERT-wwm: nothing but the data differs from BERT; what is masked together is in tests/core/test_whole_words.py."""

import numpy as np
from published import Published, example, probed

import minibert
from minibert import families, tree
from minibert.families import bert, bert_wwm, bert_wwm_ext

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "data-only family": (105, "words, entities and n-grams, for kin that use them too"),
}

PUBLISHED = [
    Published(
        "bert_wwm",
        "BertForPreTraining",
        labels={"labels": "masked_lm", "next_sentence_label": "next_sentence"},
        configs=({},),
    )
]
DIRECTORIES = {"BertForPreTraining": {"pooler", "mlm", "nsp"}, "BertForMaskedLM": {"mlm"}}
PARAMETERS = [
    ({}, ("mlm", "nsp"), 102_267_648),
    ({}, (), 102_882_442),
    (bert_wwm.PRESETS["large"], ("mlm", "nsp"), 325_522_432),
]
WORDWISE = {"segmenter": "words.txt", "units": "words"}
RUNS = [(WORDWISE, {}), ({**WORDWISE, "units": "entities", "entities": "entities.txt"}, {}),
        ({**WORDWISE, "units": "ngrams"}, {})]  # fmt: skip


def test_names():
    assert families.family("wwm") is families.family("bert-wwm") is bert_wwm
    assert families.family("wwm-ext") is families.family("bert_wwm_ext") is bert_wwm_ext
    assert minibert.create("wwm-ext", **bert.PROBE).family == "bert_wwm_ext"


def test_the_loss_is_berts_to_the_last_bit():
    ours, theirs = (probed(name, 3) for name in ("bert_wwm", "bert"))
    losses = [model.loss(example(theirs)) for model in (ours, theirs)]
    assert losses[0][0] == losses[1][0]
    gradients = [tree.leaves(model.loss_backward(c)) for model, (_, c) in zip((ours, theirs), losses, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True))
