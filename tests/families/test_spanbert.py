"""SpanBERT: transformers' masked LM with the release's boundary head (`twins.spanbert`), and its data."""

import pytest
from figures import TEXT, Figures
from published import Published, error, example, inputs, oracle, pair, probed, torch_inputs
from twins.spanbert import SBO, spans, terms, with_the_head

import minibert
from minibert import objective
from minibert.checkpoint import safetensors
from minibert.families import spanbert

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "mistakes": (155, "its own head has as many parts as BERT's two together"),
}

PUBLISHED = [
    Published(
        "spanbert",
        "BertForMaskedLM",
        labels={"labels": "masked_lm", "span_ids": "span_boundary"},
        fields={"span_position_size": 7, "max_span": 4},
        edit=spans,
        twin=with_the_head,
        terms=terms,
    )
]
DIRECTORIES = {"BertForPreTraining": {"pooler", "mlm"}, "BertForMaskedLM": {"mlm"}}
PARAMETERS = [
    ({}, ("mlm", "sbo", "pooler"), 107_719_680),
    ({}, ("embeddings", "encoder", "pooler", "sbo"), 621_124),
    ({}, ("embeddings", "encoder", "pooler", "mlm"), 1_959_676),
    ({}, ("pooler",), 110_300_480),
]
FIGURES = [
    Figures(
        "spanbert",
        {
            "forward/loss": 6.281170524707,
            "forward/loss.masked_lm": 2.815555369961,
            "forward/loss.span_boundary": 3.465615154746,
            "gradients/bert.embeddings.word_embeddings.weight": 2.374003912986,
            f"gradients/{SBO}.position_embeddings.weight": 0.224065180803,
            f"gradients/{SBO}.mlp_layer_norm.linear1.weight": 2.557084521026,
            f"gradients/{SBO}.bias": 0.451340337669,
        },
        {"span_position_size": 4, "max_span": 5},
        {
            **TEXT,
            "segment_ids": [[0] * 8] * 2,
            "masked_lm_positions": [[2, 3, 5], [3, 4, 0]],
            "span_boundaries": [[[1, 4], [1, 4], [4, 6]], [[2, 5], [2, 5], [0, 0]]],
            "span_positions": [[0, 1, 0], [0, 1, 0]],
            "span_ids": [[9, 11, 8], [10, 12, 0]],
        },
    )
]


# ---- Planted faults --------------------------------------------------------------------------------------------------
def _shared_bias(both):
    both.twin.cls.pair_target_predictions.bias.data.copy_(both.twin.cls.predictions.bias.data)


def _no_norm(both):
    both.twin.cls.pair_target_predictions.mlp_layer_norm.layer_norm1 = oracle()[0].nn.Identity()


FAULTS = {
    "the span's own ends": lambda both: setattr(both.twin, "inward", 1),
    "places from 1": lambda both: both.batch.update(span_positions=(both.batch["span_positions"] + 1) % 4),
    "the bias of the other head": _shared_bias,
    "no norm": _no_norm,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    both = pair(PUBLISHED[0], {})
    loss = both.model.loss(both.batch)[0]
    FAULTS[fault](both)
    assert error(loss, both.total().item()) > 1e-7


def test_the_releases_spelling_of_norms_and_its_tied_decoder(tmp_path):
    model = probed("spanbert", span_position_size=7, max_span=4)
    batch = example(model)
    model.save(tmp_path)
    tensors = {}
    for name, value in model.state_dict().items():
        if "LayerNorm" in name or "layer_norm1" in name or "layer_norm2" in name:
            name = name.removesuffix("weight") + "gamma" if name.endswith("weight") else name[:-4] + "beta"
        tensors[name] = value
    assert f"{SBO}.mlp_layer_norm.layer_norm1.gamma" in tensors
    tensors[f"{SBO}.decoder.weight"] = model.params["embeddings"]["word"]["weight"]
    safetensors.write(tmp_path / "model.safetensors", tensors)
    assert minibert.load(tmp_path).loss(batch)[0] == model.loss(batch)[0]


def test_our_directory_loads_as_a_masked_lm(tmp_path):
    """There the head of ours is unexpected, and nothing else."""
    torch, transformers = oracle()
    model = probed("spanbert", span_position_size=7, max_span=4)
    batch = example(model)
    model.save(tmp_path)
    theirs, info = transformers.BertForMaskedLM.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager", dtype=torch.float64
    )
    assert not info["missing_keys"]
    assert all(name.startswith(SBO) for name in info["unexpected_keys"])
    with torch.no_grad():
        out = theirs(**torch_inputs(batch))
    first = {name: array[:1] for name, array in inputs(batch).items()}
    logits = objective.predict(spanbert, model.params, model.config, first, "masked_lm", (0, [2, 4]))
    assert error(logits, out.logits[0, [2, 4]].numpy()) < 1e-12
