"""XLNet: transformers' XLNetLMHeadModel in float64, orders, streams, segments, memory, and the release's data."""

import itertools

import figures
import numpy as np
import published
import pytest
from published import Published, error, example, oracle, pair, probed, replaced

import minibert
from minibert import inference, optim, tree
from minibert.corruption import orders
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import xlnet

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (530, "two streams, three terms of scores, memory, a state, orders as data, no kin"),
    "tests": (485, "beside a published class in float64: orders, streams, memory, the data of the release"),
    "mistakes": (210, "streams, distances, segments and memory of its own"),
    "cases": (45, "what is behind a memory, and its own double"),
    "double": (115, "scores of three terms pair by pair, streams and memory, each file within 90 lines"),
}

LABELS = {"labels": "permuted_lm"}


def mend(module, config):
    """Sinusoids in float64: theirs are in float32 whatever the states are."""
    torch, _ = oracle()
    base = module.base_model

    def encoding(qlen, klen, bsz=None, device=None):
        f = 1 / 10000 ** (torch.arange(0, base.d_model, 2, dtype=torch.float64) / base.d_model)
        ahead = torch.arange(klen, -qlen, -1, dtype=torch.float64)
        far = base.clamp_len
        ahead = ahead.clamp(-far, far) if far > 0 else ahead
        if not base.bi_data:
            return base.positional_embedding(ahead, f, bsz)
        return torch.cat([base.positional_embedding(way, f, bsz // 2) for way in (ahead, -ahead)], 1)

    base.relative_positional_encoding = encoding


def twin(model):
    """Theirs, which gives the states of both streams in turn, and attentions in pairs: here those of the content."""
    defaults = {"attn_type": "bi", "use_mems_eval": True}
    spared = published.spared(model)
    made = published.twin(model.config, model.state_dict(), spared, "XLNetLMHeadModel", mend, **defaults)
    forward = made.base_model.forward

    def of_content(*given, **named):
        out = forward(*given, **{**named, "backward": None})
        if out.get("hidden_states") is not None and named.get("target_mapping") is not None:
            out["hidden_states"] = out["hidden_states"][::2]
        out["attentions"] = None
        out["mems"] = tuple(mem.transpose(0, 1) for mem in out["mems"])
        return out

    made.base_model.forward = of_content
    return made


def terms(module, batch):
    torch, _ = oracle()
    named = {name: torch.from_numpy(array) for name, array in batch.items() if name not in ("mems", "backward")}
    for name in ("perm_mask", "target_mapping", "attention_mask"):
        named[name] = named[name].double()
    memory = {"mems": [torch.from_numpy(mem).transpose(0, 1) for mem in batch["mems"]]} if "mems" in batch else {}
    return {"permuted_lm": module(**named, **memory).loss}


def halved(rng, config, batch):
    """Theirs read the second half of a batch backwards; masks as floats."""
    batch.pop("backward", None)
    for name in ("perm_mask", "target_mapping", "attention_mask"):
        batch[name] = batch[name].astype(np.float64)


OWN = {"mem_len": 6, "reuse_len": 5, "clamp_len": 6, "bi_data": True}
CONFIGS = ({"ff_activation": "gelu"}, {"ff_activation": "gelu_new", "clamp_len": -1, "reuse_len": None},
           {"ff_activation": "relu", "tie_word_embeddings": False, "bi_data": False, "mem_len": None})  # fmt: skip
OURS = {"edit": halved, "mend": mend, "twin": twin, "terms": terms, "joined": True}
PUBLISHED = [Published("xlnet", "XLNetLMHeadModel", LABELS, OWN, CONFIGS, **OURS)]
DIRECTORIES = {"XLNetLMHeadModel": {"lm"}, "XLNetModel": set()}
RUNS = [({}, {}), ({"memory": 20, "perm_size": 6}, {})]
VARIANTS = ({}, {"bi_data": False, "clamp_len": -1, "tie_word_embeddings": True, "ff_activation": "relu"})
PARAMETERS = [({}, ("lm",), 116_718_336), ({}, (), 116_750_336),
              (xlnet.PRESETS["large"], ("lm",), 360_268_800), (xlnet.PRESETS["large"], (), 360_300_800)]  # fmt: skip
IDLE = r"transformer\.layer\.1\.rel_attn\.dropout"  # the last layer's content, which no query comes to see


def loss(model, batch):
    return float(model.loss(batch)[0])


def with_memory(model, batch, length=4, seed=5):
    rng = np.random.default_rng(seed)
    shape = (len(batch["input_ids"]), length, model.config.d_model)
    return {**batch, "mems": [rng.standard_normal(shape) for _ in range(model.config.n_layer)]}


# ---- Beside the published class --------------------------------------------------------------------------------------
def test_with_memory_in_both_directions():
    """Loss, new memory and every gradient; the memory that is given gets none."""
    both = pair(PUBLISHED[0], CONFIGS[0], seed=4)
    batch = with_memory(both.model, both.batch)
    value, cache = both.model.loss(batch)
    due = terms(both.twin, batch)["permuted_lm"]
    due.backward()
    assert error(value, due.item()) < 1e-12
    theirs = {name: p.grad.numpy() for name, p in both.twin.named_parameters()}
    assert published.worst(both.model.state_dict(both.model.loss_backward(cache)), theirs) < 1e-12
    torch, _ = oracle()
    given = {name: batch[name] for name in ("input_ids", "perm_mask", "target_mapping", "mems")}
    with torch.no_grad():
        tensors = {name: torch.from_numpy(given[name]) for name in ("input_ids", "perm_mask", "target_mapping")}
        out = both.twin.base_model(**tensors, mems=[torch.from_numpy(mem).transpose(0, 1) for mem in batch["mems"]])
    ours = both.model.encode(**given)
    assert [mem.shape for mem in ours["mems"]] == [(4, 6, 24)] * 3
    for mine, true in zip(ours["mems"], out["mems"], strict=True):
        assert error(mine, true.numpy()) < 1e-12
    assert error(ours["last_hidden_state"], out["last_hidden_state"].numpy()) < 1e-12


def hides(targets, known):
    """perm_mask (8, 8) of targets that all see none of, but where a later one knows an earlier."""
    mask = np.zeros((8, 8), np.int64)
    mask[:, targets] = 1
    for row, seen in known.items():
        mask[row, seen] = 0
    return mask


def test_the_values_of_its_page():
    """XLN-ALL-1: two streams behind a memory of three states."""
    sizes = {"vocab_size": 17, "d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 16, "mem_len": 3, "reuse_len": 4}
    model = figures.model(figures.Figures("xlnet", {}, sizes))
    text = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    batch = {own: np.array(figures.TEXT[name]) for own, name in text.items()}
    places = ((1, 3, 7), (2, 4))
    mapping = np.zeros((2, 3, 8), np.int64)
    for n, row in enumerate(places):
        mapping[n, np.arange(len(row)), row] = 1
    flat = np.arange(48).reshape(3, 2, 8)
    batch |= {
        "labels": np.array([[9, 11, 8], [10, 12, -100]]),
        "target_mapping": mapping,
        "perm_mask": np.stack([hides([1, 3, 7], {3: [1], 7: [1, 3]}), hides([2, 4], {4: [2]})]),
        "mems": [0.5 * np.cos(0.3 * flat + 0.2 * n).swapaxes(0, 1) for n in range(2)],
    }
    value, cache = model.loss(batch)
    assert abs(float(value) - 3.775042904509) < 1e-11
    gradient = model.state_dict(model.loss_backward(cache))
    due = {"word_embedding.weight": 1.307555543015, "mask_emb": 0.969482670581, "layer.0.rel_attn.r": 0.065376500758,
           "layer.0.rel_attn.r_w_bias": 0.076748978637, "layer.0.rel_attn.r_r_bias": 0.075819321342,
           "layer.0.rel_attn.r_s_bias": 0.023891222554, "layer.0.rel_attn.seg_embed": 0.019329432401,
           "layer.1.ff.layer_1.weight": 1.221755309333}  # fmt: skip
    for name, norm in due.items():
        assert abs(np.linalg.norm(gradient[f"transformer.{name}"]) - norm) < 1e-11, name
    out = model.encode(**{name: array for name, array in batch.items() if name != "labels"})
    assert [mem.shape for mem in out["mems"]] == [(2, 3, 8)] * 2
    last = [-0.219527602623, 0.555168687326, -0.683087943834, 1.110159406086]
    assert np.abs(out["mems"][1][0, -1, :4] - last).max() < 1e-11
    alone = model.encode(**{name: batch[name] for name in text})["last_hidden_state"][0, 0, :2]
    assert np.abs(alone - [-1.2595316224, -2.354112420477]).max() < 1e-9


# ---- Orders ----------------------------------------------------------------------------------------------------------
def test_the_orders_of_the_release():
    """The six tokens of its page, two of them chosen, a separator and <cls>."""
    chosen, functional = np.array([0, 1, 0, 1, 0, 0], bool), np.array([0, 0, 0, 0, 1, 1], bool)
    mask, targets = orders.local(chosen, functional, np.array([2, 5, 0, 1, 3, 4]))
    rows = ["".join(map(str, row)) for row in mask.astype(int)]
    assert rows == ["010111", "010000", "010111", "010111", "010001", "010000"]
    assert targets.tolist() == [False, True, False, True, False, False]


def three(model, order, ids):
    """The loss of three tokens behind one that all see, in this order."""
    length = 4
    mapping = (np.arange(1, length)[:, None] == np.arange(length))[None].astype(np.int64)
    given = {"input_ids": ids, "perm_mask": orders.hidden(np.array(order), length)[None], "target_mapping": mapping}
    return loss(model, {**given, "labels": ids[:, 1:]})


def test_the_objective_is_the_mean_over_all_orders():
    """Of three tokens: drawn orders come to the mean of the 3! as fast as they have to."""
    model, ids = probed("xlnet", bi_data=False), np.array([[5, 9, 11, 3]])
    every = {order: three(model, order, ids) for order in itertools.permutations((1, 2, 3))}
    assert len({round(value, 9) for value in every.values()}) == 6
    mean, spread = np.mean([*every.values()]), np.std([*every.values()])
    rng = np.random.default_rng(0)
    drawn = [every[tuple((1 + rng.random(3).argsort()).tolist())] for _ in range(20_000)]
    assert abs(np.mean(drawn) - mean) < 5 * spread / len(drawn) ** 0.5
    assert spread > 1e-3


# ---- Who depends on what ---------------------------------------------------------------------------------------------
def dependence(model, given, name):
    """Which state of a stream changes by a bit where a token does: (T, T)."""
    ids = given["input_ids"]

    def states(ids):
        out, _ = xlnet.encode(model.params, model.config, {**given, "input_ids": ids}, keep="last")
        return out["last_hidden_state"][0]

    rows, first = [], states(ids)
    for j in range(ids.shape[1]):
        other = ids.copy()
        other[0, j] = (other[0, j] + 3) % 29
        rows.append((states(other) != first).any(-1))
    return np.array(rows).T


@pytest.mark.parametrize("seed", [None, 1])
def test_a_query_knows_what_stands_before_it_and_the_content_itself_too(seed):
    """To the bit, in any order, over three layers; the first of an order sees the memory."""
    model, length = probed("xlnet", bi_data=False), 5
    order = np.arange(length) if seed is None else np.random.default_rng(seed).permutation(length)
    ids = np.array([[4, 8, 15, 16, 23]])
    given = {**with_memory(model, {"input_ids": ids}), "perm_mask": orders.hidden(order, length)[None]}
    rank = order.argsort()
    before = rank[None] < rank[:, None]
    assert np.array_equal(dependence(model, given, "content"), before | np.eye(length, dtype=bool))
    queries = {**given, "target_mapping": np.eye(length)[None]}
    assert np.array_equal(dependence(model, queries, "queries"), before)


def test_relabelled_segments_are_the_same_and_other_segments_are_not():
    model = probed("xlnet", bi_data=False)
    batch = example(model)
    batch["token_type_ids"] = np.where(batch["attention_mask"], batch["token_type_ids"], 3)
    due = loss(model, batch)
    assert loss(model, {**batch, "token_type_ids": np.array([1, 0, 2, 4, 3])[batch["token_type_ids"]]}) == due
    assert abs(loss(model, {**batch, "token_type_ids": np.zeros_like(batch["token_type_ids"])}) - due) > 1e-4
    memory = with_memory(model, batch)
    turned = {**memory, "token_type_ids": np.array([1, 0, 2, 3, 4])[batch["token_type_ids"]]}
    assert abs(loss(model, turned) - loss(model, memory)) > 1e-4  # which counts as segment 0


def test_what_is_written_is_the_published_class_s():
    """One query behind all that is written, each token read in the order of the text; theirs reads all anew."""
    torch, _ = oracle()
    both = pair(PUBLISHED[0], {**CONFIGS[1], "bi_data": False, "mem_len": None, "reuse_len": None})
    due = np.array([[3, 7, 9, 11], [4, 14, 1, 2]])
    for _ in range(5):
        length = due.shape[1] + 1
        hidden = np.broadcast_to(1.0 - np.tri(length), (2, length, length)).copy()
        asked = np.broadcast_to(np.arange(length) == length - 1, (2, 1, length)).astype(np.float64)
        given = {"input_ids": np.pad(due, ((0, 0), (0, 1))), "perm_mask": hidden, "target_mapping": asked}
        with torch.no_grad():
            logits = both.twin(**{name: torch.from_numpy(array) for name, array in given.items()}).logits[:, 0].numpy()
        due = np.concatenate([due, logits.argmax(-1)[:, None]], 1)
    found = both.model.generate(due[:, :4], max_new_tokens=5, eos_token_id=None)
    assert np.array_equal(found, due)


def test_padding_on_either_side_changes_nothing():
    model, rng = probed("xlnet", bi_data=False), np.random.default_rng(2)
    ids, types = rng.integers(0, 29, (2, 6)), np.array([[0, 0, 0, 1, 1, 2]] * 2)
    due = model.encode(input_ids=ids, token_type_ids=types)["last_hidden_state"]
    for width in ((0, 3), (3, 0)):
        mask, own = np.pad(np.ones_like(ids), ((0, 0), width)), slice(width[0], width[0] + 6)
        wide = np.where(mask, np.pad(ids, ((0, 0), width)), rng.integers(0, 29, mask.shape))
        types_ = np.pad(types, ((0, 0), width), constant_values=3)
        found = model.encode(input_ids=wide, attention_mask=mask, token_type_ids=types_)["last_hidden_state"][:, own]
        assert error(found, due) < 1e-12


def test_a_text_in_segments_with_memory_is_the_text():
    """As one pass from left to right; what memory does not hold is missed, and no gradient reaches it."""
    model, rng = probed("xlnet", bi_data=False, mem_len=None, reuse_len=None, clamp_len=-1), np.random.default_rng(3)
    ids = rng.integers(0, 29, (2, 9))

    def read(ids, **given):
        hidden = np.broadcast_to(1 - np.tri(ids.shape[1], dtype=np.int64), (2, ids.shape[1], ids.shape[1]))
        return model.encode(input_ids=ids, perm_mask=hidden, **given)

    whole = read(ids)["last_hidden_state"]
    first = read(ids[:, :4])
    second = read(ids[:, 4:], mems=first["mems"])
    assert error(np.concatenate([first["last_hidden_state"], second["last_hidden_state"]], 1), whole) < 1e-12
    model.config = replaced(model, mem_len=2).config
    assert error(read(ids[:, 4:], mems=read(ids[:, :4])["mems"])["last_hidden_state"], whole[:, 4:]) > 1e-3
    model.config = replaced(model, mem_len=None, reuse_len=3).config
    assert np.array_equal(read(ids)["mems"][1], first["mems"][1][:, :3])
    with pytest.raises(InputError, match="mems: 1 arrays, but there are 3 layers"):
        read(ids, mems=first["mems"][:1])


# ---- From token to token ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1), (2, 3), (5,)])
def test_step_by_step_is_the_whole(cuts):
    model, ids = probed("xlnet"), np.random.default_rng(1).integers(0, 29, (3, 5))
    state, at = {}, 0
    for n in cuts:
        z, state = model.step(ids[:, at : at + n], state)
        at += n
        whole = {"input_ids": np.pad(ids[:, :at], ((0, 0), (0, 1))), "backward": np.zeros(3, np.int64)}
        whole["perm_mask"] = np.broadcast_to(1 - np.tri(at + 1, k=-1, dtype=np.int64), (3, at + 1, at + 1))
        whole["target_mapping"] = np.broadcast_to(np.arange(at + 1) == at, (3, 1, at + 1)).astype(np.int64)
        g = model.encode(**whole)["last_hidden_state"][:, 0]
        due = g @ model.params["embeddings"]["word"]["weight"].T + model.params["lm"]["decoder"]["bias"]
        assert error(z, due) < 1e-12
    prompt = np.pad(ids[:1], ((0, 0), (2, 0)))
    mask = np.pad(np.ones_like(ids[:1]), ((0, 0), (2, 0)))
    padded = model.generate(prompt, attention_mask=mask, max_new_tokens=4, eos_token_id=None)
    assert np.array_equal(padded[:, 2:], model.generate(ids[:1], max_new_tokens=4, eos_token_id=None))


# ---- Data ------------------------------------------------------------------------------------------------------------
VOCABULARY = Vocabulary(60, cls=3, sep=4, mask=6, pad=5, specials=(0, 3, 4, 5, 6, 7), end=7)
STARTS = np.arange(60) % 3 > 0


def text(rng, documents=30):
    return [[rng.integers(8, 60, rng.integers(2, 9)).tolist() for _ in range(12)] for _ in range(documents)]


@pytest.mark.parametrize("both_ways", [False, True])
def test_rows_are_running_text_and_a_pair(both_ways):
    rng = np.random.default_rng(0)
    made = orders.halves(text(rng), rng, VOCABULARY, 32, 1, both_ways)
    ids, types = made["input_ids"], made["token_type_ids"]
    assert ids.shape[1] == 32
    assert (ids[:, -1] == 3).all()
    assert (ids[:, -2] == 4).all()
    assert ((ids == 4).sum(1) == 2).all()
    assert not np.isin(ids[:, :16], (3, 4)).any()
    first = (ids == 4).argmax(1)
    at = np.arange(32)
    assert np.array_equal(types, np.where(at <= first[:, None], 0, np.where(at == 31, 2, 1)))
    ahead = ids[made["backward"] == 0] if both_ways else ids
    follow = ahead[:-1, 16 : 16 + 5] == ahead[1:, :5]  # a row goes on where half of the one before it ended
    there = np.arange(5) < (ahead[:-1, 16:] == 4).argmax(1)[:, None]
    assert follow[there].all()
    if both_ways:
        back = made["backward"] == 1
        assert back.any()
        assert not back.all()
        stream = ids[~back][0, :16].tolist()
        assert any(row[::-1] == stream for row in ids[back][:, :16].tolist()) or len(stream) == 16


def test_half_of_the_pairs_are_consecutive():
    rng, turn = np.random.default_rng(1), np.repeat(np.arange(200), 5)
    parts = [orders.pair(turn, int(rng.integers(0, 900)), 20, rng) for _ in range(2000)]
    parts = [part for part in parts if part]
    assert all(a_end - a + b_end - b == 20 for (a, a_end), (b, b_end) in parts)
    follows = np.mean([turn[a_end - 1] + 1 >= turn[b] >= turn[a_end - 1] for (a, a_end), (b, _) in parts])
    assert abs(follows - 0.5) < 0.1


def test_spans_are_pieces_that_begin_with_a_word():
    """n with probability proportional to 1/n, as many pieces, the goal met."""
    rng, sizes, starts = np.random.default_rng(2), np.zeros(6), STARTS[np.arange(512) % 60]
    for _ in range(300):
        chosen = orders.spans(starts, 43, rng)
        assert chosen.sum() == 43
        runs = np.split(np.flatnonzero(chosen), np.flatnonzero(np.diff(np.flatnonzero(chosen)) > 1) + 1)
        for run in runs[:4]:  # before what was missing is filled up, and lengths are cut to what is left
            if len(run) <= 5 and starts[run[0]]:
                sizes[len(run)] += 1
    share = sizes[1:] / sizes.sum()
    due = 1 / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()
    assert np.abs(share - due).max() < 0.06
    assert np.array_equal(orders.spans(starts, 9, np.random.default_rng(4), backward=True)[::-1],
                          orders.spans(starts[::-1], 9, np.random.default_rng(4)))  # fmt: skip


def test_what_an_order_hides_of_a_row():
    rng = np.random.default_rng(5)
    given = xlnet.Data(seq_length=32, rate=85 / 512)
    rows = xlnet.rows(text(rng), rng, VOCABULARY, given)
    made = xlnet.corrupt(rows, rng, VOCABULARY, given, STARTS)
    hidden, mapping, labels, ids = (made[name] for name in ("perm_mask", "target_mapping", "labels", "input_ids"))
    assert np.array_equal(ids, rows["input_ids"])  # nothing is masked: targets are hidden
    assert (hidden[:, :16, 16:] == 1).all()
    assert not hidden[:, 16:, :16].any()
    used = mapping.any(-1)
    assert np.array_equal(used, labels >= 0)
    assert (mapping.sum(-1) <= 1).all()
    places = mapping.argmax(-1)
    assert (np.take_along_axis(ids, places, 1) == labels)[used].all()
    assert not np.isin(labels[used], (3, 4)).any()
    assert used.sum(1).max() == given.slots
    targets = mapping.sum(1).astype(bool)
    own = np.einsum("nii->ni", hidden).astype(bool)
    assert np.array_equal(own, targets)  # a target does not see itself, all others do
    told = ~targets & (ids != 3) & (ids != 4)
    seen_by_all = ~hidden[:, 16:, 16:].any(1)
    assert (seen_by_all == told[:, 16:])[told[:, 16:]].all()


def test_a_learnt_vocabulary_puts_its_ends_behind():
    kind = minibert.tokenizers.tokenizer(xlnet.TOKENIZER)
    made = kind.train(["Some words of text."] * 9, 40, lowercase=False, specials=xlnet.SPECIALS)
    encoding = made.encode("Some", "words")
    assert [token for token in encoding.tokens if token[0] == "<"] == ["<sep>", "<sep>", "<cls>"]
    assert encoding.type_ids[-1] == 2
    assert made.tokens[made.eos_id] == "<eod>"


def test_a_mask_is_filled_by_a_query_that_does_not_see_it():
    made = minibert.tokenizers.tokenizer(xlnet.TOKENIZER)
    made = made.train(["Some words of text."] * 9, 40, lowercase=False, specials=xlnet.SPECIALS)
    model = probed("xlnet", vocab_size=len(made), bi_data=False)
    model.tokenizer = made
    (guesses,) = inference.masked_words(model, "Some <mask> of text.", top=len(made))
    assert abs(sum(guess.probability for guess in guesses) - 1) < 1e-12
    model.params["embeddings"]["word"]["weight"] = model.params["embeddings"]["word"]["weight"].copy()
    model.params["embeddings"]["word"]["weight"][made.mask_id] += 1.0  # which nobody reads but the logit of <mask>
    (others,) = inference.masked_words(model, "Some <mask> of text.", top=len(made))
    ratio = {guess.id: guess.probability for guess in others if guess.id != made.mask_id}
    held = {guess.id: guess.probability for guess in guesses if guess.id != made.mask_id}
    assert np.ptp([ratio[i] / held[i] for i in held]) < 1e-9


def test_what_decays_is_the_release_s():
    """u, v and t do, though they are biases by name; norms and other biases don't."""
    model = minibert.create("xlnet", **xlnet.PROBE)
    rates = optim.decay_rates(model.names(), 0.01)
    named = {name: rates[path] for path, name, _ in model.names()}
    assert {name.split(".")[-1] for name, held in named.items() if not held} == {"bias", "weight"}
    assert all(held == ("layer_norm" not in name and not name.endswith(".bias")) * 0.01 for name, held in named.items())
    assert named["transformer.layer.0.rel_attn.r_w_bias"] == 0.01


# ---- Files -----------------------------------------------------------------------------------------------------------
def test_input_mask_is_refused_by_its_name():
    model = probed("xlnet")
    with pytest.raises(InputError, match="unknown input 'input_mask'"):
        model.encode(input_ids=[[1, 2]], input_mask=[[0, 0]])


def test_no_gradient_of_what_is_not_asked():
    model = probed("xlnet")
    batch = example(model)
    batch["labels"] = np.full_like(batch["labels"], -100)
    assert loss(model, batch) == 0
    assert not any(g.any() for g in tree.leaves(model.loss_backward(model.loss(batch)[1])))


def test_an_order_of_fewer_places_holds_for_each_block():
    rank = orders.ranked(12, 4, np.random.default_rng(0))
    assert sorted(rank) == [*range(12)]
    assert np.array_equal(rank[4:] - rank[:-4], np.full(8, 4))
    assert np.array_equal(orders.ranked(12, 0, np.random.default_rng(1)), np.random.default_rng(1).random(12).argsort())
    with pytest.raises(InputError, match="it must divide half of seq_length, 32"):
        xlnet.Data(perm_size=5)


def test_a_row_of_a_stream_goes_on_from_half_of_those_before():
    """reuse: each layer's memory is what entered it in the first halves, the last of them; the loss is of that."""
    data = xlnet.Data(seq_length=16, memory=12, duplicates=1)
    made = orders.halves(text(np.random.default_rng(0), 5), np.random.default_rng(1), VOCABULARY, 16)
    batch = orders.ordered(made, np.random.default_rng(2), VOCABULARY, data.slots, STARTS)
    model = probed("xlnet", **{**xlnet.fields(data, {}), "vocab_size": 60, "dropout": 0.0})
    assert (model.config.mem_len, model.config.reuse_len) == (12, 8)
    row, mems, losses = (lambda n: {name: array[n : n + 1] for name, array in batch.items()}), {}, []
    for n in range(3):
        loss, cache = model.loss({**row(n), **mems})
        mems = cache["carried"]
        losses.append(float(loss))
        states = model.encode(**published.inputs(row(n)))["hidden_states"]
        if n == 0:
            assert all(np.array_equal(m, h[:, :8]) for m, h in zip(mems["mems"], states, strict=False))
    assert mems["mems"][0].shape[1] == 12
    word = model.params["embeddings"]["word"]["weight"]
    assert np.array_equal(mems["mems"][0][0], word[np.concatenate([batch["input_ids"][n, :8] for n in (1, 2)])[-12:]])
    assert losses[1] != float(model.loss(row(1))[0])
