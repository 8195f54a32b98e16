from published import Published

PUBLISHED = [Published("bert_wwm_ext", "BertForMaskedLM", labels={"labels": "masked_lm"})]
DIRECTORIES = {"BertForMaskedLM": {"mlm"}, "BertForPreTraining": {"pooler", "mlm"}, "BertModel": {"pooler"}}
