"""curated-transformers' encoders as candidates: BERT, RoBERTa, ALBERT, ELECTRA, forward pass.

    python curated.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Needs curated-transformers, torch and safetensors. The library has no heads and no pooler, and of embeddings that are
projected shows only what is projected: level L2.
"""

import json
import sys
from pathlib import Path

import torch
from curated_transformers.layers import AttentionMask
from curated_transformers.models import ALBERTEncoder, BERTEncoder, RoBERTaEncoder
from curated_transformers.models.electra import ELECTRAEncoder
from safetensors.torch import load_file, save_file

ENCODERS = {"bert": BERTEncoder, "roberta": RoBERTaEncoder, "albert": ALBERTEncoder, "electra": ELECTRAEncoder}
LAYERS = "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm"


def candidate(weights, inputs, facts):
    """{"forward/NAME": array} of a case; facts: what its case.json says."""
    family, config = facts["family"] if facts["family"] in ENCODERS else "bert", facts["config"]
    torch.set_default_dtype(next(iter(weights.values())).dtype)
    model = ENCODERS[family].from_hf_config(hf_config={**config, "model_type": family}).eval()
    own = {name: value for name, value in weights.items() if name.startswith(f"{family}.") and "pooler" not in name}
    model.load_state_dict(ENCODERS[family].state_dict_from_hf(own))
    mask = inputs.get("input_mask", torch.ones_like(inputs["input_ids"])).bool()
    with torch.no_grad():
        seen = model(inputs["input_ids"], AttentionMask(mask), type_ids=inputs.get("segment_ids")).all_outputs
    projected = {"albert": "albert.encoder.embedding_hidden_mapping_in", "electra": "electra.embeddings_project"}
    whole = config.get("embedding_size", config["hidden_size"]) == config["hidden_size"]
    names = [projected.get(family) if family == "albert" or not whole else f"{family}.embeddings"]
    for i in range(len(seen) - 1):
        repeated = LAYERS + (f"@{i}" if i else "")
        names.append(repeated if family == "albert" else f"{family}.encoder.layer.{i}.output")
    return {f"forward/{name}": value.contiguous() for name, value in zip(names, seen, strict=True)}


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    kind = getattr(torch, dtype or facts["dtype"])
    weights = {name: w.to(kind) for name, w in load_file(Path(case) / "weights.safetensors").items()}
    save_file(candidate(weights, load_file(Path(case) / "inputs.safetensors"), facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
