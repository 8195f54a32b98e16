"""Reformer: transformers' ReformerModelWithLMHead and ReformerForMaskedLM, reversible layers, hashing, slices."""

import json

import numpy as np
import pytest
from figures import TEXT, TWO_TEXTS, Figures
from published import Published, error, oracle, pair, replaced

import minibert
from minibert import hashed, layers, memory, ops, tokenizers, tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import reformer

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (565, "no kin: axial positions, two kinds of attention, layers that are rebuilt, two objectives"),
    "cases": (45, "sizes of chunks, buckets and tables beside those that all families have"),
    "mistakes": (306, "19 entries of its own: hashing, rounds, chunks, two streams, positions, what float32 loses"),
    "tests": (360, "beside published classes: hashing, rounds, rebuilt layers, memory, torch's numbers"),
}

SIZES = {
    "hidden_size": 24, "attn_layers": ("lsh", "local", "lsh"), "num_attention_heads": 4, "attention_head_size": 5,
    "feed_forward_size": 37, "hidden_act": "gelu", "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 2,
    "local_num_chunks_before": 1, "lsh_num_chunks_before": 2, "num_hashes": 3, "num_buckets": (2, 4), "hash_seed": 5,
    "axial_pos_shape": (3, 7), "axial_pos_embds_dim": (10, 14), "axial_norm_std": 0.5, "max_position_embeddings": 19,
    "layer_norm_eps": 3e-5, "chunk_size_lm_head": 0, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0, "lsh_attention_probs_dropout_prob": 0.0,
}  # fmt: skip
# Of two tables of little variance layers cannot be made again to 1e-12 (8e-12, ours as theirs; 1.5e-13 with eps 0.1).
CONFIGS = (
    {},
    {"num_buckets": None, "axial_pos_embds": False, "num_hashes": 1, "chunk_size_feed_forward": 4,
     "layer_norm_eps": 1e-1},
    {"attn_layers": ("local", "lsh", "local"), "num_buckets": 4, "lsh_attn_chunk_length": 4, "hidden_act": "relu"},
    {"attn_layers": ("lsh",) * 3, "lsh_attn_chunk_length": 12},
)  # fmt: skip
CAUSAL = {"is_decoder": True}
BEHIND = {"local_num_chunks_after": 1, "lsh_num_chunks_after": 1}


def mended(module, config):
    """The head's bias is added (REFORMER-LOSS-1); layers go back outside of training, too, so that rows of any length
    are compared; what stands for a token's own score is that of float16: beside -1e5 ports lose five digits of the sum
    of a token that meets itself alone, several times (4e-12; ours, beside longdouble, 2e-15).
    """
    module.lm_head.decoder.bias = module.lm_head.bias
    for name, buffer in module.named_buffers():
        buffer.data.fill_(-1e3) if name.endswith("self_mask_value_float32") else None
    for layer in module.reformer.encoder.layers:
        layer.train = lambda mode=True, layer=layer: layer


def whole_chunks(rng, config, batch):
    """Eight tokens a row, as ports give hidden states with their padding; rotations of hash_seed on both sides."""
    batch.pop("rotations", None)
    batch |= {name: value[:, :8] for name, value in batch.items() if not name.startswith("masked_lm")}


def theirs(config):
    several = isinstance(config.num_buckets, tuple)
    return {"use_cache": False, "num_buckets": [*config.num_buckets] if several else config.num_buckets}


OWN = {"edit": whole_chunks, "mend": mended, "theirs": theirs}
PUBLISHED = [
    Published("reformer", "ReformerModelWithLMHead", {"labels": "next_token"}, {**SIZES, **CAUSAL}, CONFIGS, **OWN),
    Published("reformer", "ReformerForMaskedLM", {"labels": "masked_lm"}, {**SIZES, **BEHIND}, CONFIGS, **OWN),
]
DIRECTORIES: dict = {}
FINE = {"local_num_chunks_after": 0, "lsh_num_chunks_after": 0, "is_decoder": True}
VARIANTS = (
    {},
    {"lsh_masking": "released", "num_buckets": None, "axial_pos_embds": False, "chunk_size_feed_forward": 0},
    {**FINE, "local_attn_chunk_length": 3, "lsh_masking": "released"},
)
SMALL = {"axial_pos_embds_dim": (1, 3), "attn_layers": ("lsh", "local"), "attention_head_size": 2, "num_hashes": 2}
PARAMETERS = [
    (reformer.PRESETS["crime"], (), 2_748_224),
    (reformer.PRESETS["enwik8"], (), 149_182_722),
    ({}, (), 5_975_872),
]
SEEN = {  # of eight tokens, which hash nothing
    "hidden_size": 8, "attn_layers": ("local", "lsh"), "num_attention_heads": 2, "attention_head_size": 3,
    "feed_forward_size": 16, "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 8, "axial_pos_shape": (3, 4),
    "axial_pos_embds_dim": (3, 5),
}  # fmt: skip
MASKED = {name: value for name, value in TEXT.items() if name != "segment_ids"}
FIGURES = [
    Figures(
        "reformer",
        {
            "forward/loss": 4.032191649340,
            "gradients/reformer.embeddings.word_embeddings.weight": 1.804984175182,
            "gradients/reformer.embeddings.position_embeddings.weights.1": 1.717736659710,
            "gradients/reformer.encoder.layers.0.attention.self_attention.key.weight": 0.288134826562,
            "gradients/reformer.encoder.layers.1.attention.self_attention.query_key.weight": 0.092546510253,
        },
        {**SEEN, "is_decoder": True},
        TWO_TEXTS,
    ),
    Figures("reformer", {"forward/loss": 3.210382342529}, SEEN, MASKED),
]
RNG = np.random.default_rng


def made(seed: int = 0, **fields):
    """A model with weights of deviation 0.4, nothing dropped."""
    rates = {name: 0.0 for name in reformer.PROBE if name.endswith("dropout_prob")}
    model, rng = minibert.create("reformer", dtype="float64", **{**reformer.PROBE, **rates, **fields}), RNG(seed)
    for value in tree.leaves(model.params):
        value[...] = rng.normal(0.0, 0.4, value.shape)
    return model, rng


def worst(got, due):
    """The largest error of any gradient."""
    largest = max(np.abs(g).max() for g in tree.leaves(due))
    return max(error(tree.get(got, path), g, largest) for path, g in tree.items(due))


# ---- Hashing ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(2, 3), (3, 5), (4, 4), (5, 7)])
def test_rotations_are_torchs(shape):
    """To the last bits, for fewer than 16 numbers, for 16, and for what is no multiple of it."""
    torch, _ = oracle()
    torch.manual_seed(11)
    due = torch.randn(shape, dtype=torch.float64).numpy()
    same, other = (np.abs(hashed.rotations(seed, shape=shape) - due).max() for seed in (11, 12))
    assert same < 1e-15 < other


def test_how_many_buckets_there_are():
    """REFORMER-ATT-4."""
    of = [hashed.factors(None, length=n, chunk=64, most=n) for n in (128, 4096, 16384)]
    assert of == [(4,), (128,), (16, 32)]


def asked(rounds=3, length=8, heads=2, width=4, seed=3):
    rng = RNG(seed)
    q, k, v, dy = (rng.standard_normal((2, heads, length, width)) for _ in range(4))
    return q, k, v, dy, rng.integers(0, 3, (2, heads, rounds, length))


def dense(q, k, v, causal):
    """Ordinary attention without itself, but where there is nothing else."""
    length = q.shape[2]
    mask = (np.tri(length, k=-1) if causal else 1 - np.eye(length)).astype(bool)
    mask[~mask.any(-1)] = np.eye(length, dtype=bool)[~mask.any(-1)]
    return ops.attention(q, k, v, mask=mask[None, None])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("chunk", "rules"), [(8, ("own",)), (20, ("own",)), (4, ("own", "meetings")), (2, ops.RULES)])
def test_attention_by_hashing_is_full_attention_where_it_covers_everything(causal, chunk, rules):
    """One chunk, whatever the buckets and the rounds; or chunks that together meet every key, each time once."""
    q, k, v, dy, buckets = asked()
    around = {"before": 1, "after": 0} if chunk == 4 else {"before": 4, "after": 4}
    buckets = 0 * buckets if rules == ops.RULES else buckets if chunk > 4 else buckets[:, :, :1]
    y, c = ops.lsh_attention(q, k, v, buckets=buckets, chunk=chunk, causal=causal, rules=rules, **around)
    due, other = dense(q, k, v, causal)
    assert error(y, due) < 1e-12
    for got, true in zip(ops.lsh_attention_backward(dy, c), ops.attention_backward(dy, other), strict=True):
        assert error(got, true) < 1e-12
    if chunk == 2:  # met nine times over, a key counts as often where nobody counts
        given = {"buckets": RNG(0).integers(0, 3, buckets.shape), "chunk": 2, "causal": causal, **around}
        assert error(ops.lsh_attention(q, k, v, **given)[0], due) > 1e-3


def test_equal_rounds_are_one_round_and_ties_keep_their_order():
    """Where chunks have no neighbours, so that rounds do not meet; the line is undone to the bit."""
    q, k, v, _, buckets = asked(rounds=1)
    one = ops.lsh_attention(q, k, v, buckets=buckets, chunk=4, before=0)[0]
    two, c = ops.lsh_attention(q, k, v, buckets=buckets.repeat(2, 2), chunk=4, before=0)
    assert error(two, one) < 1e-14
    assert (np.take_along_axis(c["order"], c["back"], -1) == np.arange(8)).all()
    sorted_buckets = np.take_along_axis(buckets, c["order"][:, :, :1], -1)
    steps = np.diff(8 * sorted_buckets + c["order"][:, :, :1])
    assert (steps > 0).all()


def test_the_first_token_of_a_causal_model_sees_itself_and_no_other_does():
    q, k, v, _, buckets = asked()
    given = {"buckets": buckets, "chunk": 2, "causal": True, "rules": ops.RULES}
    y = ops.lsh_attention(q, k, v, **given)[0]
    assert error(y[:, :, 0], v[:, :, 0]) < 1e-14
    for t in range(1, 8):
        moved = v.copy()
        moved[:, :, t] += 1
        change = ops.lsh_attention(q, k, moved, **given)[0] - y
        assert not np.abs(change[:, :, :t]).max(initial=0) > 0  # nor is what comes behind seen


def test_buckets_that_are_kept_are_not_asked_again():
    """Rounding in an input that is made again could move one: the backward takes what the forward found."""
    model, rng = made(num_buckets=4)
    ids = rng.integers(0, 17, (2, 8))
    batch = {"input_ids": ids, "masked_lm_positions": ids[:, :2] % 8, "masked_lm_ids": ids[:, 2:4],
             "masked_lm_weights": np.ones((2, 2))}  # fmt: skip
    cache = model.loss(batch, keep="rebuilt")[1]
    due = model.loss_backward(cache)
    for layer in cache["encode"]["encoder"]:
        back, p, i, known = layer["rebuild"]
        layer["rebuild"] = back, p, i, None if known is None else (known + 1) % 4
    assert worst(model.loss_backward(cache), due) > 1e-3


# ---- Reversible layers -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fields", [{}, {"lsh_masking": "released", "chunk_size_feed_forward": 0}, FINE])
def test_layers_that_are_rebuilt_have_the_gradient_of_those_that_are_kept(fields):
    """With dropout and padding; and without the buckets, or with the streams in the other order, they have another."""
    model, rng = made(**fields, **{n: 0.3 for n in reformer.PROBE if n.endswith("dropout_prob")}, layer_norm_eps=1e-2)
    batch = reformer.example(rng, model.config)
    kept, rebuilt = (model.loss_backward(model.loss(batch, keep=keep)[1]) for keep in ("caches", "rebuilt"))
    assert worst(rebuilt, kept) < 1e-12
    cache = model.loss(batch, keep="rebuilt")[1]
    last = cache["encode"]["encoder"][-1]
    last["output"] = last["output"] + 1e-6 * rng.standard_normal(last["output"].shape)
    assert worst(model.loss_backward(cache), kept) > 1e-9


def held(depth, keep):
    """Bytes of a cache but for masks and buckets, which are data of each layer."""
    model, rng = made(attn_layers=("local", "lsh") * (depth // 2))
    batch = reformer.example(rng, model.config, {"B": 2, "T": 12})
    del batch["dropout"], batch["rotations"]
    found = memory.activations(model, 2, 12, keep)
    return sum(each.bytes for each in found if "rotations" not in each.place)


def test_what_is_held_for_the_backward_does_not_grow_with_the_layers():
    """Eight layers more: buckets and dropout masks of one bit a number; what is kept otherwise is 30 times as much."""
    grown = {keep: held(10, keep) - held(2, keep) for keep in ("caches", "inputs", "rebuilt")}
    assert 0 <= grown["rebuilt"] < 0.05 * grown["caches"]
    assert grown["rebuilt"] < 0.5 * grown["inputs"]


def test_only_reversible_layers_are_rebuilt():
    bert = minibert.create("bert", **minibert.families.family("bert").PROBE)
    with pytest.raises(InputError, match="the inputs of these layers can't be made of their outputs"):
        layers.stack(lambda x, p, i: (x, {}), np.ones(3), [{}], "rebuilt")
    assert bert


@pytest.mark.parametrize("slices", [1, 3, 4, 8, 100])
def test_the_feed_forward_in_slices_is_the_feed_forward(slices):
    model, rng = made(chunk_size_feed_forward=0)
    batch = reformer.example(rng, model.config)
    del batch["dropout"]
    loss, cache = model.loss(batch)
    other = replaced(model, chunk_size_feed_forward=slices)
    for keep in ("caches", "rebuilt"):
        again, c = other.loss(batch, keep=keep)
        assert error(again, loss) < 1e-14
        assert worst(other.loss_backward(c), model.loss_backward(cache)) < 1e-12


# ---- Beside the published one ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("length", [3, 5, 11])
def test_rows_that_are_no_whole_chunks(length):
    """Padded in ports, too, outside of training; shorter than each chunk, than one, and than the tables."""
    both = pair(PUBLISHED[1], {})
    ids = RNG(0).integers(0, 29, (2, length))
    ours = both.model.encode(input_ids=ids)["last_hidden_state"]
    with oracle()[0].no_grad():
        theirs = both.twin.base_model(input_ids=oracle()[0].from_numpy(ids)).last_hidden_state.numpy()
    assert error(ours, theirs) < 1e-12


def test_a_directory_of_theirs(tmp_path):
    """Names, and fields that they do not write where they are defaults; the bias that later ones do not add."""
    torch, transformers = oracle()
    both = pair(PUBLISHED[0], {})
    both.twin.lm_head.decoder.bias = None
    both.twin.save_pretrained(tmp_path)
    model = minibert.load(tmp_path)
    assert (model.family, model.config.num_buckets, model.config.is_decoder) == ("reformer", (2, 4), True)
    ids = both.batch["input_ids"]
    with torch.no_grad():
        theirs = (both.twin(torch.from_numpy(ids)).logits + both.twin.lm_head.bias).numpy()
    state = model.start(input_ids=ids[:, :-1])
    assert error(model.step(ids[:, -1:], state)[0], theirs[:, -1]) < 1e-12
    model.save(tmp_path / "ours")
    kind = transformers.ReformerModelWithLMHead
    again, report = kind.from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float64)
    assert not {*report["missing_keys"], *report["unexpected_keys"]}
    with torch.no_grad():
        bare = again.eval()(torch.from_numpy(ids)).logits + again.lm_head.bias
    assert error(bare.numpy(), theirs) < 1e-6  # they read axial tables as float32, whatever they are told
    assert json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))["num_buckets"] == [2, 4]


def test_a_classifier_of_theirs(tmp_path):
    """The first token's state behind a layer of the head's own, D wide; of a causal model the last one's."""
    torch, transformers = oracle()
    given = pair(PUBLISHED[1], {}).twin.config.to_dict()
    config = transformers.ReformerConfig(**{**given, "id2label": {0: "no", 1: "perhaps", 2: "yes"}})
    theirs, rng = transformers.ReformerForSequenceClassification(config).double(), RNG(3)
    for layer in theirs.reformer.encoder.layers:
        layer.train = lambda mode=True, layer=layer: layer
    with torch.no_grad():
        for value in theirs.eval().parameters():
            value.copy_(torch.from_numpy(rng.normal(0.0, 0.4, value.shape)))
    theirs.save_pretrained(tmp_path)
    model = minibert.load(tmp_path)
    assert (model.tasks, model.left, model.params["summary"]["weight"].shape) == (("classify",), (), (24, 48))
    ids, labels = rng.integers(0, 17, (2, 8)), np.array([2, 0])
    out = theirs(torch.from_numpy(ids), labels=torch.from_numpy(labels))
    out.loss.backward()
    loss, cache = model.loss({"input_ids": ids, "labels": labels})
    assert error(loss, out.loss.item()) < 1e-12
    assert error(model.predict({"input_ids": ids})["logits"], out.logits.detach().numpy()) < 1e-12
    ours, parts = model.state_dict(model.loss_backward(cache)), theirs.named_parameters()
    due = {name: value.grad.numpy() for name, value in parts if value.grad is not None}
    largest = max(np.abs(g).max() for g in due.values())
    assert max(error(ours[name], g, largest) for name, g in due.items()) < 1e-12
    causal = minibert.create("reformer", tasks={"classify": {"classes": 3}}, **{**SIZES, **CAUSAL})
    first, second = (causal.predict({"input_ids": ids[:1, :n]})["logits"] for n in (7, 8))
    assert error(first, second) > 1e-3


def test_pretraining_on_masked_tokens():
    """An option: rows as ever, 15 % of them asked for, drawn anew; the network reads both ways, and has a mask."""
    text = tokenizers.tokenizer("byte_level").train(["The cat sat on the mat."] * 9, 300,
                                                    specials=reformer.Data(objective="mlm").specials)  # fmt: skip
    known, rng = Vocabulary.of(text), np.random.default_rng
    plain, data = reformer.Data(seq_length=20), reformer.Data(seq_length=20, objective="mlm", rate=0.25)
    documents = [[np.array(text.ids("The cat sat on a mat."), np.int32)] * 9] * 4
    held, rows = (reformer.rows(documents, rng(0), known, of) for of in (plain, data))
    assert np.array_equal(held["input_ids"], rows["input_ids"])
    assert reformer.corrupt(held, rng(1), known, plain) is held
    assert (plain.masking, data.masking, plain.specials) == ("no", "dynamic", reformer.SPECIALS)
    made = reformer.corrupt(rows, rng(1), known, data)
    assert made["masked_lm_positions"].shape == (len(rows["input_ids"]), 5)
    asked = np.take_along_axis(rows["input_ids"], made["masked_lm_positions"], 1)
    assert np.array_equal(asked[made["masked_lm_weights"] > 0], made["masked_lm_ids"][made["masked_lm_weights"] > 0])
    assert (made["input_ids"] == text.mask_id).any()
    assert [reformer.fields(of, {})["is_decoder"] for of in (plain, data)] == [True, False]
    with pytest.raises(InputError, match="'is_decoder' is True; the objective mlm needs False"):
        reformer.fields(data, {"is_decoder": True})


def test_what_does_not_fit_is_refused():
    model, rng = made()
    for fields, said in (
        ({"attn_layers": ("lsh", "full")}, "'attn_layers' is .*allowed: 1 to 1024 of local, lsh"),
        ({"axial_pos_embds_dim": (3, 4)}, "two numbers whose sum is hidden_size, 8"),
        ({"num_buckets": 5}, "null, an even number or several"),
        ({"is_decoder": True}, "allowed: 0, as is_decoder hides what comes behind"),
    ):
        with pytest.raises(InputError, match=said):
            minibert.create("reformer", **{**reformer.PROBE, **fields})
    with pytest.raises(InputError, match="15 tokens a row, but there are 14 positions"):
        model.encode(input_ids=rng.integers(0, 17, (1, 15)))
    with pytest.raises(InputError, match="is_decoder is false"):
        model.start(input_ids=[[2]])
    with pytest.raises(InputError, match=r"rotations: \(B, 2, 3, 3, 3\) for rows of 8 tokens"):
        model.encode(input_ids=rng.integers(0, 17, (1, 8)), rotations=[np.ones((1, 2, 3, 3, 4))] * 2)
