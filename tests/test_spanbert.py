"""SpanBERT: against transformers' BERT with the release's boundary head, its scalar loops, and its data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import minibert
import reference
from minibert import gradcheck, objective, tree
from minibert.checkpoint import safetensors
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, spanbert
from minibert.families.spanbert import Data as Options
from minibert.heads import span_boundary
from minibert.pretraining import pretrain
from reference.directional import directional
from reference.spanbert_loss import spanbert_loss, spanbert_loss_terms

FIELDS = {
    "vocab_size": 29,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
    "span_position_size": 7,
    "max_span": 4,
}
SBO = "cls.pair_target_predictions"


def error(got: np.ndarray, true: np.ndarray, scale: float = 0.0) -> float:
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


def probe(model: minibert.Model, rng: np.random.Generator) -> None:
    """Probe weights: std 0.4, gains around 1, one near-constant row in the embedding tables."""
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    for table in ("word", "position", "token_type"):
        rows = model.params["embeddings"][table]["weight"]
        rows[0] = 0.1 + 1e-3 * rng.standard_normal(rows.shape[1])


def case(seed: int, **fields):
    """(our model, a batch of four rows): spans of 1 to 4 tokens, the longest, two in a row, none in the last."""
    rng = np.random.default_rng(seed)
    model = minibert.create("spanbert", dtype="float64", **{**FIELDS, **fields})
    probe(model, rng)
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    del batch["dropout"]
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    left = [[1, 1, 1, 1], [0, 3, 3, 0], [2, 2, 0, 0], [0] * 4]
    right = [[6, 6, 6, 6], [2, 5, 5, 0], [5, 5, 0, 0], [0] * 4]
    batch["span_boundaries"] = np.stack([left, right], axis=-1)
    batch["span_positions"] = np.array([[0, 1, 2, 3], [0, 0, 0, 0], [1, 0, 0, 0], [0] * 4])
    return model, batch


# ---- The published implementation ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers", reason="compares with the published implementation: install minibert[oracle]")
    return pytest.importorskip("torch", reason="compares with the published implementation")


def twin_of(model: minibert.Model, torch, strict: bool = True):
    """transformers' BertForMaskedLM with the modules of the release's boundary head, under their names."""
    import transformers

    own = {name: getattr(model.config, name) for name in set(FIELDS) - {"span_position_size", "max_span"}}
    own |= {"hidden_act": model.config.hidden_act, "tie_word_embeddings": model.config.tie_word_embeddings}
    twin = transformers.BertForMaskedLM(transformers.BertConfig(**own, attn_implementation="eager"))
    d, v, eps = model.config.hidden_size, model.config.vocab_size, model.config.layer_norm_eps
    head = torch.nn.Module()
    head.position_embeddings = torch.nn.Embedding(model.config.max_span, model.config.span_position_size)
    head.mlp_layer_norm = torch.nn.Module()
    for i, width in ((1, 2 * d + model.config.span_position_size), (2, d)):
        setattr(head.mlp_layer_norm, f"linear{i}", torch.nn.Linear(width, d))
        setattr(head.mlp_layer_norm, f"layer_norm{i}", torch.nn.LayerNorm(d, eps=eps))
    head.bias = torch.nn.Parameter(torch.zeros(v))
    if not model.config.tie_word_embeddings:
        head.decoder = torch.nn.Linear(d, v, bias=False)
    twin.cls.pair_target_predictions = head
    twin = twin.double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*model.module.aliases(model.config)}
    twin.tie_weights()
    return twin


def terms(twin, batch: dict, torch) -> tuple:
    """The release's arithmetic: every span's row scores all offsets; those that nobody asks for are ignored."""
    t = {name: torch.from_numpy(np.asarray(value)) for name, value in batch.items()}
    out = twin(t["input_ids"], t["input_mask"], t["segment_ids"], output_hidden_states=True)
    chosen = t["masked_lm_weights"] > 0
    rows = torch.arange(len(chosen))[:, None].expand(chosen.shape)[chosen]
    cross_entropy = torch.nn.functional.cross_entropy
    masked_lm = cross_entropy(out.logits[rows, t["masked_lm_positions"][chosen]], t["masked_lm_ids"][chosen])

    head, mlp = twin.cls.pair_target_predictions, twin.cls.pair_target_predictions.mlp_layer_norm
    act, states = twin.cls.predictions.transform.transform_act_fn, out.hidden_states[-1]
    pairs, offsets = t["span_boundaries"], len(head.position_embeddings.weight)
    every = torch.arange(len(pairs))[:, None]
    inward = getattr(twin, "inward", 0)
    edges = pairs[..., 0] + inward, pairs[..., 1] - inward
    beside = [states[every, edge][:, :, None].expand(-1, -1, offsets, -1) for edge in edges]
    p = head.position_embeddings.weight.expand(*pairs.shape[:2], -1, -1)
    u = mlp.layer_norm1(act(mlp.linear1(torch.cat([*beside, p], -1))))
    u = mlp.layer_norm2(act(mlp.linear2(u)))
    table = head.decoder.weight if hasattr(head, "decoder") else twin.bert.embeddings.word_embeddings.weight
    scores = u @ table.T + head.bias
    targets = torch.full(scores.shape[:3], -100)
    for b, n in zip(*np.nonzero(span_boundary._used(batch)), strict=True):
        targets[b, n, t["span_positions"][b, n]] = t["span_ids"][b, n]
    return masked_lm, cross_entropy(scores.flatten(0, 2), targets.flatten())


def gradient_errors(model, cache, twin) -> dict[str, float]:
    ours = model.state_dict(model.loss_backward(cache))
    theirs = {name: p.grad.numpy() for name, p in twin.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    for name in ours:
        if name.endswith("key.bias"):  # the softmax does not see a constant added to every score of a row
            assert np.abs(ours[name]).max() < 1e-13 * largest
    return {name: error(ours[name], theirs[name], largest) for name in ours}


@pytest.mark.parametrize(("act", "tied"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_loss_and_every_gradient(torch, act, tied):
    model, batch = case(1, hidden_act=act, tie_word_embeddings=tied)
    twin = twin_of(model, torch)
    loss, cache = model.loss(batch)
    masked_lm, span_boundary = terms(twin, batch, torch)
    (masked_lm + span_boundary).backward()
    assert error(loss, (masked_lm + span_boundary).item()) < 1e-12
    assert error(cache["terms"]["masked_lm"], masked_lm.item()) < 1e-12
    assert error(cache["terms"]["span_boundary"], span_boundary.item()) < 1e-12
    errors = gradient_errors(model, cache, twin)
    worst = max(errors, key=errors.get)
    print(f"largest gradient error {errors[worst]:.1e} in {worst}")
    assert errors[worst] < 1e-12


def _ends(batch, twin):
    """The span's own ends instead of what lies beside it."""
    twin.inward = 1


def _places_from_one(batch, twin):
    batch["span_positions"] = (batch["span_positions"] + 1) % 4


def _shared_bias(batch, twin):
    twin.cls.pair_target_predictions.bias.data.copy_(twin.cls.predictions.bias.data)


def _eps(batch, twin):
    twin.cls.pair_target_predictions.mlp_layer_norm.layer_norm2.eps = 1e-12


def _no_norm(batch, twin):
    import torch

    twin.cls.pair_target_predictions.mlp_layer_norm.layer_norm1 = torch.nn.Identity()


@pytest.mark.parametrize("fault", [_ends, _places_from_one, _shared_bias, _eps, _no_norm])
def test_a_planted_fault_is_caught(torch, fault):
    model, batch = case(1)
    twin = twin_of(model, torch)
    loss = float(model.loss(batch)[0])
    changed = {name: value.copy() for name, value in batch.items()}
    fault(changed, twin)
    with torch.no_grad():
        wrong = sum(term.item() for term in terms(twin, changed, torch))
    assert error(np.array(loss), np.array(wrong)) > 1e-7


# ---- Its own scalar loops --------------------------------------------------------------------------------------------
def small(seed: int = 0):
    rng = np.random.default_rng(seed)
    fields = {**spanbert.PROBE, "hidden_size": 6, "intermediate_size": 5, "vocab_size": 7, "span_position_size": 4}
    model = minibert.create("spanbert", dtype="float64", **fields)
    probe(model, rng)
    return model, rng


def head_case():
    model, rng = small()
    args = {name: rng.standard_normal((2, 3, 6)) for name in ("left", "right")}
    args |= {"p": model.params["sbo"], "table": model.params["embeddings"]["word"]["weight"]}
    own = {"places": np.array([[0, 2, 0], [1, 1, 0]]), "eps": 1e-3}
    return args, {**own, "act": "gelu_new"}, {**own, "activation": "gelu_new"}


def test_the_boundary_head_against_its_double_and_fifty_digits():
    args, constants, doubled = head_case()
    ours = span_boundary.sbo_head(**args, **constants)[0]
    lists = tree.map(lambda a: a.tolist() if isinstance(a, np.ndarray) else a, {**args, **doubled})
    assert error(ours, np.array(reference.double("sbo_head")(**lists))) < 1e-13
    pair = span_boundary.sbo_head, span_boundary.sbo_head_backward
    found = gradcheck.exact(*pair, reference.double("sbo_head"), args, constants, doubled)
    assert max(found.values()) < gradcheck.EXACT_BAR, found


def test_a_lost_part_of_the_backward_is_seen():
    args, constants, doubled = head_case()

    def wrong(dy, c):
        dleft, dright, g, dtable = span_boundary.sbo_head_backward(dy, c)
        return dright, dleft, g, dtable

    found = gradcheck.exact(span_boundary.sbo_head, wrong, reference.double("sbo_head"), args, constants, doubled)
    assert found["left"] > 1e-3


def test_the_loss_against_its_double():
    """Both terms, and the derivative along a random direction in each part of the tree at 50 digits."""
    model, rng = small(3)
    batch = model.module.example(rng, model.config, {"B": 2, "T": 5})
    del batch["dropout"]
    config = {name: getattr(model.config, name) for name in ("num_attention_heads", "hidden_act", "layer_norm_eps")}
    config |= {"mlm_denominator_eps": 0.01, "mask_constant": -10000.0}
    cache = model.loss(batch)[1]
    lists = [tree.map(lambda a: a.tolist(), part) for part in (model.params, batch)]
    truth = spanbert_loss_terms(lists[0], config, lists[1])
    for term, value in cache["terms"].items():
        assert error(value, np.array(truth[term])) < 1e-13
    gradient = model.loss_backward(cache)
    signs = tree.map(lambda a: rng.choice([-1.0, 1.0], a.shape), model.params)
    arguments = {"p": lists[0], "config": config, "batch": lists[1]}
    for part in (None, "sbo", "mlm"):
        along = {n: s if part in (None, n) else tree.map(np.zeros_like, s) for n, s in signs.items()}
        slope = directional(spanbert_loss, arguments, "p", tree.map(lambda a: a.tolist(), along))
        ours = sum(float((a * tree.get(along, path)).sum()) for path, a in tree.items(gradient))
        size = sum(float(np.abs(a * tree.get(along, path)).sum()) for path, a in tree.items(gradient))
        assert abs(ours - float(slope)) < 1e-13 * size, part


def fill(shape: tuple[int, ...], k: int) -> np.ndarray:
    j = np.arange(np.prod(shape))
    return (0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k)).reshape(shape)


def test_the_published_values():
    """The spec's example of the head: logits of three places, and the summed loss of two targets."""
    dense = [{"weight": fill((4, 12), 2), "bias": fill((4,), 3)}, {"weight": fill((4, 4), 6), "bias": fill((4,), 7)}]
    norm = [{"weight": 1 + fill((4,), k), "bias": fill((4,), k + 1)} for k in (4, 8)]
    p = {
        "position": {"weight": fill((5, 4), 1)},
        **{name: {"dense": dense[i], "norm": norm[i]} for i, name in enumerate(("first", "second"))},
        "decoder": {"bias": fill((7,), 11)},
    }
    x, places = fill((6, 4), 0), np.arange(3)
    y = span_boundary.sbo_head(x[[1] * 3], x[[4] * 3], p, fill((7, 4), 10), places=places, act="gelu", eps=1e-12)[0]
    assert y[0, :3] == pytest.approx([0.990585397094, 1.051401981575, 0.075467765713], abs=1e-11)
    assert y[1, 2:5] == pytest.approx([1.155509219147, 1.061812035172, -0.530489886871], abs=1e-11)
    assert y[2, 4:] == pytest.approx([-1.048445939559, -0.437590181806, 1.043641349458], abs=1e-11)
    nll = np.log(np.exp(y).sum(-1)) - y[np.arange(3), [3, 5, 0]]
    assert nll[:2].sum() == pytest.approx(5.268648227235351, rel=1e-13)


ALL = {
    "vocab_size": 17,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "span_position_size": 4,
    "max_span": 5,
}
ALL_BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0] * 8] * 2,
    "masked_lm_positions": [[2, 3, 5], [3, 4, 0]],
    "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
    "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
    "span_boundaries": [[[1, 4], [1, 4], [4, 6]], [[2, 5], [2, 5], [0, 0]]],
    "span_positions": [[0, 1, 0], [0, 1, 0]],
    "span_ids": [[9, 11, 8], [10, 12, 0]],
}
FIGURES = {
    "loss": 6.281170524707,
    "masked_lm": 2.815555369961,
    "span_boundary": 3.465615154746,
    "bert.embeddings.word_embeddings.weight": 2.374003912986,
    f"{SBO}.position_embeddings.weight": 0.224065180803,
    f"{SBO}.mlp_layer_norm.linear1.weight": 2.557084521026,
    f"{SBO}.bias": 0.451340337669,
}


def whole():
    """SPAN-ALL-1: the weights of BERT-ALL-1's recipe."""
    model = minibert.create("spanbert", dtype="float64", **ALL)
    arrays = model.state_dict()
    for k, name in enumerate(sorted(arrays)):
        norm = name.endswith(("LayerNorm.weight", "layer_norm1.weight", "layer_norm2.weight"))
        arrays[name][...] = fill(arrays[name].shape, k) + norm
    return model, {name: np.array(value) for name, value in ALL_BATCH.items()}


def test_the_figures_of_the_whole_model():
    model, batch = whole()
    loss, cache = model.loss(batch)
    gradient = model.state_dict(model.loss_backward(cache))
    found = {"loss": loss, **cache["terms"], **{n: np.linalg.norm(gradient[n]) for n in FIGURES if n in gradient}}
    for name, figure in FIGURES.items():
        assert found[name] == pytest.approx(figure, rel=1e-9), name


def test_they_are_the_figures_in_the_text():
    text = (Path(reference.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
    section = text[text.index("- **SPAN-ALL-1**") :]
    assert set(FIGURES.values()) <= {float(number) for number in re.findall(r"\d+\.\d+", section)}


def test_the_figures_are_those_of_torch(torch):
    model, batch = whole()
    found = [term.item() for term in terms(twin_of(model, torch), batch, torch)]
    assert found == pytest.approx([FIGURES["masked_lm"], FIGURES["span_boundary"]], rel=1e-10)


# ---- What the objective sees -----------------------------------------------------------------------------------------
def test_parameter_counts_of_the_published_sizes():
    """Cased base: the encoder, the masked-LM head, the boundary head with its 15 places; nothing is allocated."""
    sizes: dict[str, int] = {}
    for path, shape in tree.items(objective.shapes(spanbert, spanbert.Config())):
        part = path.split(".")[0]
        sizes[part] = sizes.get(part, 0) + int(np.prod(shape))
    assert sizes["embeddings"] + sizes["encoder"] == 107_719_680
    assert sizes["mlm"] == 621_124
    assert sizes["sbo"] == 1_959_676
    assert sum(sizes[part] for part in ("embeddings", "encoder", "mlm", "sbo")) == 110_300_480


def test_a_state_inside_the_span_matters_to_the_masked_token_alone():
    """Position embeddings perturbed in a network without attention: h inside changes (8), h beside it all of (15)."""
    model, batch = case(2, num_hidden_layers=1)
    for part in model.params["encoder"][0]["attention"]["output"].values():
        part[...] = 0
    batch["span_boundaries"], batch["span_positions"] = np.tile([1, 5], (4, 4, 1)), np.tile([0, 1, 2, 2], (4, 1))
    batch["masked_lm_positions"] = np.tile([2, 3, 4, 4], (4, 1))
    before = model.loss(batch)[1]["terms"]
    for position, changed in ((3, {"masked_lm"}), (1, {"span_boundary"}), (5, {"span_boundary"}), (6, set())):
        table = model.params["embeddings"]["position"]["weight"]
        kept = table[position].copy()
        table[position] = np.roll(kept, 1)
        after = model.loss(batch)[1]["terms"]
        table[position] = kept
        assert {term for term in after if after[term] != before[term]} == changed


def test_unused_slots_and_targets_of_none():
    model, batch = case(4)
    loss, cache = model.loss(batch)
    more = {"span_boundaries": np.tile([3, 4], (4, 2, 1)), "span_positions": np.ones((4, 2), int)}
    more["span_ids"] = np.full((4, 2), 9)
    wider = {**batch, **{name: np.concatenate([batch[name], value], axis=1) for name, value in more.items()}}
    assert model.loss(wider)[0] == loss
    none = {**batch, "span_boundaries": np.zeros_like(batch["span_boundaries"])}
    empty, cache = model.loss(none)
    assert cache["terms"]["span_boundary"] == 0
    assert empty == cache["terms"]["masked_lm"]
    assert not any(a.any() for a in tree.leaves(model.loss_backward(cache)["sbo"]))
    dense = objective.loss(model.module, model.params, model.config, model.checked(batch), dense=True)
    assert error(dense[0], loss) < 1e-14
    assert objective.counts(model.module, model.config, batch)["span_boundary"] == 9
    right, counted, ones = objective.right(model.loss(batch)[1])["span_boundary"]
    assert (counted, ones) == (9, None)
    assert 0 <= right <= 9
    with pytest.raises(InputError, match="span_positions"):
        model.loss({**batch, "span_positions": batch["span_positions"] + 1})
    with pytest.raises(InputError, match="span_ids"):
        model.loss({name: value for name, value in batch.items() if name != "span_ids"})


# ---- Published directories -------------------------------------------------------------------------------------------
def test_a_directory_of_transformers_and_back(torch, tmp_path):
    """Published SpanBERT is a BERT with masked-LM head and a pooler: it loads, fills masks, and lacks (14)."""
    import transformers

    config = {**FIELDS, "hidden_act": "gelu_new"}
    del config["span_position_size"], config["max_span"]
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**config, attn_implementation="eager")).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = minibert.load(tmp_path / "theirs", family="spanbert")
    assert set(model.params) == {"embeddings", "encoder", "pooler", "mlm"}
    ids = np.array([[3, 7, 9, 4, 11]])
    with torch.no_grad():
        out = theirs(torch.from_numpy(ids))
        pooled = theirs.bert(torch.from_numpy(ids)).pooler_output
    inputs = {"input_ids": ids}
    logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", (0, [1, 3]))
    assert error(logits, out.prediction_logits[0, [1, 3]].numpy()) < 1e-5
    assert error(model.encode(ids)["pooler_output"], pooled.numpy()) < 1e-5
    with pytest.raises(InputError, match="'sbo'"):
        model.loss(case(1)[1])
    model.save(tmp_path / "back")
    saved = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (saved["model_type"], saved["minibert_family"]) == ("bert", "spanbert")
    assert saved["architectures"] == ["BertForPreTraining"]
    assert minibert.load(tmp_path / "back").family == "spanbert"


def test_our_directory_loads_as_a_masked_lm(torch, tmp_path):
    import transformers

    model, batch = case(5)
    model.save(tmp_path / "ours")
    theirs, info = transformers.BertForMaskedLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True, attn_implementation="eager", dtype=torch.float64
    )
    assert not info["missing_keys"]
    assert {name for name in info["unexpected_keys"] if not name.startswith(SBO)} == set()
    with torch.no_grad():
        out = theirs(*(torch.from_numpy(batch[name]) for name in ("input_ids", "input_mask", "segment_ids")))
    inputs = {"input_ids": batch["input_ids"][:1], "attention_mask": batch["input_mask"][:1]}
    inputs["token_type_ids"] = batch["segment_ids"][:1]
    logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", (0, [2, 4]))
    assert error(logits, out.logits[0, [2, 4]].numpy()) < 1e-12
    again = minibert.load(tmp_path / "ours")
    assert again.family == "spanbert"
    assert again.config == model.config
    assert all(np.array_equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_releases_spelling_of_norms_and_its_tied_decoder(tmp_path):
    model, batch = case(6)
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


def test_a_pooler_learns_nothing():
    model, batch = case(7)
    rng = np.random.default_rng(0)
    model.params["pooler"] = {"weight": rng.standard_normal((24, 24)), "bias": rng.standard_normal(24)}
    gradient = model.loss_backward(model.loss(batch)[1])
    assert set(gradient) == set(model.params)
    assert not any(a.any() for a in tree.leaves(gradient["pooler"]))


# ---- Data ------------------------------------------------------------------------------------------------------------
def test_corrupted_rows_have_the_targets_of_their_spans():
    """A row at a time: what lies beside a span is no target, its place and its token are the original's."""
    rng = np.random.default_rng(1)
    size = 60
    continues = np.arange(size) >= 45
    vocabulary = Vocabulary(size, 2, 3, 4, 0, continues, (0, 1, 2, 3, 4))
    documents = [[rng.integers(5, size, rng.integers(3, 12)).tolist() for _ in range(20)] for _ in range(10)]
    options = Options(seq_length=32, rate=0.2)
    pool = np.array([i for d in documents for s in d for i in s])
    rows = spanbert.rows(documents, rng, vocabulary, options)
    batch = spanbert.corrupt(rows, rng, vocabulary, options, pool)
    assert not rows["segment_ids"].any()
    ids, slots = rows["input_ids"], options.slots
    assert batch["masked_lm_weights"].sum() == np.minimum(np.ceil(0.2 * (rows["input_mask"].sum(1) - 2)), slots).sum()
    used = span_boundary._used(batch)
    assert used.sum() > 0.8 * batch["masked_lm_weights"].sum()
    for b, n in np.argwhere(used):
        left, right = batch["span_boundaries"][b, n]
        at = left + 1 + batch["span_positions"][b, n]
        targets = set(batch["masked_lm_positions"][b][batch["masked_lm_weights"][b] > 0].tolist())
        assert set(range(left + 1, right)) <= targets
        assert not {left, right} & targets
        assert batch["span_ids"][b, n] == ids[b, at]
        assert left < at < right
        assert rows["input_mask"][b, [left, right]].all()
        assert not np.isin(ids[b, [left, right]], (2, 3)).any()
    for name in ("span_boundaries", "span_positions", "span_ids"):
        assert not batch[name][~used].any()
    made = batch["input_ids"][batch["input_ids"] != ids]
    assert set(made.tolist()) - {vocabulary.mask} <= set(pool.tolist())
    one = spanbert.corrupt(rows, rng, vocabulary, options, np.array([7]))  # a corpus of one word
    assert set(one["input_ids"][one["input_ids"] != ids].tolist()) == {vocabulary.mask, 7}
    long = Options(seq_length=32, rate=0.7)
    places = spanbert.corrupt(rows, rng, vocabulary, long, pool)["span_positions"]
    assert places.max() == spanbert.Config.max_span - 1
    fields = {**spanbert.PROBE, "vocab_size": size, "max_position_embeddings": 32, "max_span": 15}
    assert np.isfinite(minibert.create("spanbert", **fields).loss(batch)[0])


def test_random_tokens_follow_the_training_text():
    """Drawing from the counts of a text is drawing from the text in the order of its ids, whatever its shards."""
    rng = np.random.default_rng(0)
    texts = [[" ".join(map(str, rng.integers(2, 9, 7))) for _ in range(3)] for _ in range(4)]

    class Digits:
        ids = staticmethod(lambda text: list(map(int, text.split())))
        __len__ = staticmethod(lambda: 11)

    def counted(count):
        return count(Digits(), None, texts[:1]) + count(Digits(), None, texts[1:])

    pool = spanbert.study(Digits(), None, counted)
    tokens = sorted(i for document in texts for sentence in document for i in Digits.ids(sentence))
    assert len(pool) == len(tokens)
    assert pool[np.arange(len(tokens))].tolist() == tokens


def test_pretrain(tmp_path, capsys):
    """From text to a directory, stopped half way: the same bits; the directory fills masks and embeds."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abdegiklmnorstu"), rng.integers(2, 6))) for _ in range(60)]
    lines = [" ".join(rng.choice(words, rng.integers(4, 9))).capitalize() + "." for _ in range(240)]
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(lines[i : i + 12]) for i in range(0, 240, 12)) + "\n", encoding="utf-8")
    options = {"steps": 8, "batch_size": 4, "seq_length": 16, "vocab_size": 120, "held_out": 0.2, "checkpoint_every": 3}
    fields = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    whole = pretrain("spanbert", [text], tmp_path / "whole", fields=fields, **options)
    report = json.loads((whole / "report.json").read_text())
    assert set(report["terms"]) == {"masked_lm", "span_boundary"}
    assert json.loads((whole / "run.json").read_text())["options"]["masking"] == "dynamic"
    again = pretrain("spanbert", [text], tmp_path / "again", fields=fields, **options)
    for name in ("checkpoints/00000008", "model.safetensors", "report.json"):
        path = again / name
        path.rename(again / f"lost-{path.name}")
    pretrain("spanbert", out=again, resume=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    model = minibert.load(whole)
    assert model.family == "spanbert"
    assert isinstance(model.config, spanbert.Config)
    assert bert.Config in type(model.config).__mro__
