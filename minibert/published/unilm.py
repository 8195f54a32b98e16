"""UniLM's published names: BERT's, with settings of the release that are off."""


from minibert.families import bert, unilm

MODEL_TYPE = "unilm"
VARIANTS = (*bert.VARIANTS, "label_smoothing")
# of the release and of its later reader: what is switched off
DROPPED = {
    **dict.fromkeys(("num_qkv", "relax_projection", "ffn_type", "rel_pos_bins", "max_rel_pos"), (0, None)),
    **dict.fromkeys(("new_pos_ids", "seg_emb", "fp32_embedding", "fix_word_embedding"), (False,)),
    **{"source_type_id": (4, None), "target_type_id": (5, None), "task_idx": ()},
}


def architectures(config: unilm.Config) -> dict[str, tuple[str, ...]]:
    """Class of the release -> the optional parts of the tree that it has."""
    return {"BertModel": ("pooler",), "BertForPreTrainingLossMask": ("pooler", "mlm", "nsp")}
