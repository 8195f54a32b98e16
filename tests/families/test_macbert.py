from published import Published

PUBLISHED = [
    Published("macbert", "BertForPreTraining", labels={"labels": "masked_lm", "next_sentence_label": "sentence_order"})
]
DIRECTORIES = {"BertForPreTraining": {"pooler", "mlm", "nsp"}, "BertForMaskedLM": {"mlm"}}
