"""BERT-wwm-ext: the masked LM alone, over whole words; a published pooler is kept, a next-sentence head passed over."""

from published import Published

from minibert.families import bert_wwm_ext

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "data-only family": (85, "rows of single sentences, and a published head that it passes over"),
}

PUBLISHED = [Published("bert_wwm_ext", "BertForMaskedLM", labels={"labels": "masked_lm"})]
DIRECTORIES = {"BertForMaskedLM": {"mlm"}, "BertForPreTraining": {"pooler", "mlm"}, "BertModel": {"pooler"}}
PARAMETERS = [
    ({}, ("mlm",), 102_267_648),
    (bert_wwm_ext.PRESETS["large"], ("mlm",), 325_522_432),
]
RUNS = [({"segmenter": "words.txt", "units": "words"}, {})]
