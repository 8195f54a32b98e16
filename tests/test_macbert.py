"""MacBERT: BERT's arithmetic on corrected words and on the order of segments, and where similar words come from."""

import json

import numpy as np
import pytest

import minibert
from minibert import objective, tree
from minibert.corruption import similarity
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, macbert
from minibert.families.macbert import Data as Options
from minibert.pretraining import pretrain
from minibert.tokenizers.wordpiece import WordPiece
from reference.macbert_loss import macbert_loss

# the README's own example: every word gives way to one of as many pieces
TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] we use a language text model system to pre ca ##di ##lc ##ct ##ulate the pro"
TOKENS = f"{TOKENS} po ##ba ##ssi ##bility of next word . 使 用 运 模 型 系 统 预 测 估 计 算".split()
TEXT = "we use a language model to predict the probability of the next word ."
SIMILAR = {
    "language": ["text"],
    "model": ["system"],
    "predict": ["calculate"],
    "probability": ["possibility"],
    "模型": ["系统"],
    "使用": ["运用"],
    "预测": ["估计", "计算"],
}
FIELDS = {
    "vocab_size": 29,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return WordPiece.load(path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("similar") / "similar.json"
    path.write_text(json.dumps(SIMILAR, ensure_ascii=False), encoding="utf-8")
    return str(path)


def vocabulary(tokenizer) -> Vocabulary:
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    return Vocabulary(len(tokenizer), *roles, tokenizer.continues, tuple(sorted(tokenizer.special_ids)))


def learnt(tokenizer, options, texts):
    """The similar words of a training text of one shard."""
    return macbert.study(tokenizer, options, lambda count: count(tokenizer, options, texts))


def batches(tokenizer, options, text=TEXT, seeds=60):
    """(unmasked rows, a batch of them) for many draws of documents of four equal sentences."""
    texts = [[text] * 4, [text] * 4]
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    given = macbert.mark(tokenizer, options, texts, documents)
    similar = learnt(tokenizer, options, texts)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows = macbert.rows(documents, rng, vocabulary(tokenizer), options, given)
        yield rows, macbert.corrupt(rows, rng, vocabulary(tokenizer), options, similar)


# ---- Correction ------------------------------------------------------------------------------------------------------
def test_words_give_way_to_similar_words_and_never_to_a_mask(tokenizer, table):
    """The README's example: pre ##di ##ct becomes ca ##lc ##ulate; lengths stay; labels are the original's."""
    options = Options(seq_length=64, similar=table, max_predictions=20)
    seen = dict.fromkeys(SIMILAR, 0)
    for rows, batch in batches(tokenizer, options):
        ids, now = rows["input_ids"], batch["input_ids"]
        assert not (now == tokenizer.mask_id).any()
        assert np.array_equal(batch["input_mask"], rows["input_mask"])
        used = batch["masked_lm_weights"] > 0
        chosen = np.zeros(ids.shape, bool)
        chosen[np.nonzero(used)[0], batch["masked_lm_positions"][used]] = True
        assert np.array_equal(ids[chosen], batch["masked_lm_ids"][used])
        assert np.array_equal(ids[~chosen], now[~chosen])
        for word, similar in SIMILAR.items():
            old, new = tokenizer.ids(word), tokenizer.ids(similar[0])
            for b, t in np.argwhere(ids == old[0]):
                seen[word] += now[b, t : t + len(new)].tolist() == new and ids[b, t : t + len(old)].tolist() == old
    assert all(seen[word] for word in ("language", "model", "predict", "probability"))


def test_chinese_words_of_a_segmentation(tokenizer, table, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("使用 模型 预测\n", encoding="utf-8")
    options = Options(seq_length=32, similar=table, segmenter=str(words), rate=0.3, max_predictions=20)
    similar = {tuple(tokenizer.ids(w)): {tuple(tokenizer.ids(s)) for s in found} for w, found in SIMILAR.items()}
    found = 0
    for rows, batch in batches(tokenizer, options, "使用模型预测"):
        ids, now = rows["input_ids"], batch["input_ids"]
        assert rows["starts"].shape == ids.shape
        changed = ids != now
        for b, t in np.argwhere(np.isin(ids, [word[0] for word in similar if len(word) == 2])):
            if t + 1 < ids.shape[1] and tuple(ids[b, t : t + 2].tolist()) in similar:
                found += tuple(now[b, t : t + 2].tolist()) in similar[tuple(ids[b, t : t + 2].tolist())]
        assert changed.any()
    assert found > 100


def test_without_similar_words_they_are_random(tokenizer):
    """Nothing handed in: the 80 % too are random ordinary tokens."""
    options = Options(seq_length=64, max_predictions=20)
    changed = chosen = 0
    for rows, batch in batches(tokenizer, options):
        ids, now = rows["input_ids"], batch["input_ids"]
        changed += (ids != now).sum()
        chosen += batch["masked_lm_weights"].sum()
        assert not np.isin(now[ids != now], sorted(tokenizer.special_ids)).any()
    assert abs(changed / chosen - 0.9 * (1 - 1 / (len(TOKENS) - 5))) < 0.03


def test_words_of_another_length_are_rejected(tokenizer, tmp_path):
    path = tmp_path / "similar.json"
    path.write_text(json.dumps({"model": ["possibility", "unknown"], "predict": ["text", "use"]}))
    options = [Options(seq_length=64), Options(seq_length=64, similar=str(path))]
    made = [[batch["input_ids"] for _, batch in batches(tokenizer, o, seeds=8)] for o in options]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))


def test_an_identity_table_changes_only_what_is_random(tokenizer, tmp_path):
    words = dict.fromkeys(TEXT.split())
    path = tmp_path / "similar.json"
    path.write_text(json.dumps({word: [word] for word in words}))
    changed = chosen = 0
    for rows, batch in batches(tokenizer, Options(seq_length=64, similar=str(path), max_predictions=20)):
        changed += (rows["input_ids"] != batch["input_ids"]).sum()
        chosen += batch["masked_lm_weights"].sum()
    assert 0.06 < changed / chosen < 0.13


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), ("[1]", "JSON obj"), ('{"a": "b"}', "JSON obj"), ('{"a": [1]}', "JSON obj"), ("{", "JSON")],
)
def test_unusable_tables(tokenizer, tmp_path, content, said):
    path = tmp_path / "similar.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        next(batches(tokenizer, Options(similar=str(path))))
    assert "\n" not in str(caught.value)


# ---- Neighbours in embeddings ----------------------------------------------------------------------------------------
def test_nearest_words_by_cosine():
    vectors = {(1,): [1, 0], (2,): [3, 1], (3,): [-1, 0], (0,): [0, 0]}
    vectors |= {(4, 5): [1, 0], (6, 7): [0, 1], (8, 9, 9): [1, 1]}
    words = [*vectors, (1,), (2,)]
    found = similarity.nearest(words, lambda word: np.array(vectors[word], float), count=1)
    assert found == {(1,): [(2,)], (2,): [(1,)], (3,): [(0,)], (0,): [(1,)], (4, 5): [(6, 7)], (6, 7): [(4, 5)]}
    assert (3,) not in similarity.nearest(words, lambda word: np.array(vectors[word], float), most=2)


def test_the_words_of_a_corpus():
    continues = np.array([False] * 5 + [True] * 5)
    documents = [[[5, 1, 6, 2], []], [[3, 7, 8]]]
    assert list(similarity.words(documents, continues)) == [(5,), (1, 6), (2,), (3, 7, 8)]
    starts = [[[1, 0, 0, 1], []], [[1, 1, 1]]]
    assert list(similarity.words(documents, continues, starts)) == [(5, 1, 6), (2,), (3,), (7,), (8,)]


def test_similar_words_of_a_model_that_we_trained(tokenizer, tmp_path):
    """The neighbours planted in its table are found, by spelling, also where its vocabulary is in another order."""
    other = [*TOKENS[:5], *TOKENS[:4:-1], "more"]
    (tmp_path / "vocab.txt").write_text("\n".join(other) + "\n", encoding="utf-8")
    model = minibert.create("bert", **{**FIELDS, "vocab_size": len(other), "hidden_size": 24, "pad_token_id": 0})
    model.tokenizer = WordPiece.load(tmp_path / "vocab.txt")
    rows = model.params["embeddings"]["word"]["weight"]
    for a, b in (("model", "word"), ("pre", "pro"), ("##di", "##ba"), ("##ct", "##bility")):
        rows[other.index(a)] = 2 * rows[other.index(b)]
    model.save(tmp_path / "model")
    documents = [[tokenizer.ids(TEXT)]]
    options = Options(similar=str(tmp_path / "model"))
    words = similarity.words(documents, tokenizer.continues)
    found = similarity.in_embeddings(words, tokenizer.tokens, options.similar)
    assert found[tuple(tokenizer.ids("model"))][0] == tuple(tokenizer.ids("word"))
    assert found[tuple(tokenizer.ids("predict"))] == [tuple(tokenizer.ids("probability"))]
    assert len(learnt(tokenizer, options, [[TEXT]]).words)
    fewer = ["x" if token == "model" else token for token in other]
    (tmp_path / "vocab.txt").write_text("\n".join(fewer) + "\n", encoding="utf-8")
    model.tokenizer = WordPiece.load(tmp_path / "vocab.txt")
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match="--vocabulary"):
        learnt(tokenizer, options, [[TEXT]])


# ---- The objective ---------------------------------------------------------------------------------------------------
def case(seed, **fields):
    rng = np.random.default_rng(seed)
    model = minibert.create("macbert", dtype="float64", **{**FIELDS, **fields})
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    del batch["dropout"]
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    return model, batch


def error(got, true, scale=0.0):
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


@pytest.mark.parametrize(("act", "tied"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_loss_and_every_gradient(act, tied):
    """transformers' BertForPreTraining, the labels of order in place of its next-sentence labels."""
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    model, batch = case(1, hidden_act=act, tie_word_embeddings=tied)
    config = transformers.BertConfig(**FIELDS, hidden_act=act, tie_word_embeddings=tied, attn_implementation="eager")
    twin = transformers.BertForPreTraining(config).double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*model.module.aliases(model.config)}
    twin.tie_weights()
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    given = (batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    order = torch.from_numpy(batch["sentence_order_labels"])
    out = twin(*map(torch.from_numpy, given), labels=torch.from_numpy(labels), next_sentence_label=order)
    out.loss.backward()
    loss, cache = model.loss(batch)
    assert error(loss, out.loss.item()) < 1e-12
    swapped = torch.nn.functional.cross_entropy(out.seq_relationship_logits, order)
    assert error(cache["terms"]["sentence_order"], swapped.item()) < 1e-12
    ours = model.state_dict(model.loss_backward(cache))
    theirs = {name: p.grad.numpy() for name, p in twin.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    errors = {name: error(ours[name], theirs[name], largest) for name in ours}
    print(f"largest gradient error {max(errors.values()):.1e}")
    assert max(errors.values()) < 1e-12
    for name in ours:
        if name.endswith("key.bias"):
            assert np.abs(ours[name]).max() < 1e-13 * largest
    wrong, _ = model.loss({**batch, "sentence_order_labels": 1 - batch["sentence_order_labels"]})
    assert error(wrong, out.loss.item()) > 1e-3


def test_the_loss_against_its_double():
    rng = np.random.default_rng(2)
    model = minibert.create("macbert", dtype="float64", **{**macbert.PROBE, "initializer_range": 0.4})
    batch = model.module.example(rng, model.config)
    del batch["dropout"]
    config = {name: getattr(model.config, name) for name in ("num_attention_heads", "hidden_act", "layer_norm_eps")}
    config |= {"mlm_denominator_eps": 0.01, "mask_constant": -10000.0}
    p, lists = (tree.map(lambda a: a.tolist(), part) for part in (model.params, batch))
    assert error(model.loss(batch)[0], np.array(macbert_loss(p, config, lists))) < 1e-13
    assert macbert_loss(p, config, {**lists, "sentence_order_labels": [1, 1, 1]}) != macbert_loss(p, config, lists)


def test_terms_labels_and_counts():
    model, batch = case(3)
    loss, cache = model.loss(batch)
    for named in (cache["terms"], objective.counts(model.module, model.config, batch), objective.right(cache)):
        assert set(named) == set(macbert.terms(model.config))
    assert objective.counts(model.module, model.config, batch)["sentence_order"] == 4
    counts = objective.counts(model.module, model.config, batch)
    halved, _ = model.loss(batch, denominators={**counts, "sentence_order": 8})
    assert float(loss - halved) == pytest.approx(float(cache["terms"]["sentence_order"]) / 2, rel=1e-12)
    with pytest.raises(InputError, match="sentence_order_labels"):
        model.loss({name: value for name, value in batch.items() if name != "sentence_order_labels"})
    renamed = {**batch, "next_sentence_labels": batch["sentence_order_labels"]}
    with pytest.raises(InputError, match="next_sentence_labels"):
        model.loss(renamed)


def test_parameter_counts_of_the_published_sizes():
    def count(config):
        items = tree.items(objective.shapes(macbert, config))
        return sum(int(np.prod(shape)) for path, shape in items if path.split(".")[0] not in ("mlm", "nsp"))

    assert count(macbert.Config()) == 102_267_648
    assert count(macbert.Config(**macbert.PRESETS["large"])) == 325_522_432


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForPreTraining"])
def test_directories_there_and_back(kind, tmp_path):
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    theirs = getattr(transformers, kind)(transformers.BertConfig(**FIELDS)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = minibert.load(tmp_path / "theirs", family="macbert")
    assert ("nsp" in model.params) == (kind == "BertForPreTraining")
    model.save(tmp_path / "ours")
    assert minibert.load(tmp_path / "ours").family == "macbert"
    again, info = getattr(transformers, kind).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in again.state_dict().items())


# ---- The whole way ---------------------------------------------------------------------------------------------------
def test_pretrain(tmp_path):
    """First BERT, then MacBERT with the similar words of its embeddings; stopped and continued: the same bits."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abdegiklmnorstu"), rng.integers(2, 6))) for _ in range(60)]
    lines = [" ".join(rng.choice(words, rng.integers(4, 9))).capitalize() + "." for _ in range(240)]
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(lines[i : i + 12]) for i in range(0, 240, 12)) + "\n", encoding="utf-8")
    options = {"steps": 6, "batch_size": 4, "seq_length": 24, "vocab_size": 120, "held_out": 0.2, "checkpoint_every": 2,
               "duplicates": 1}  # fmt: skip
    fields = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    first = pretrain("bert", [text], tmp_path / "bert", fields=fields, **options)
    options |= {"vocabulary": str(first), "similar": str(first)}
    whole, again = (pretrain("macbert", [text], tmp_path / n, fields=fields, **options) for n in ("whole", "again"))
    for path in (again / "checkpoints" / "00000006", again / "model.safetensors", again / "report.json"):
        path.rename(again / f"lost-{path.name}")
    pretrain("macbert", out=again, resume=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    report = json.loads((whole / "report.json").read_text())
    assert set(report["terms"]) == {"masked_lm", "sentence_order"}
    assert "sentence_order" in report["majority"]
    model = minibert.load(whole)
    assert (model.family, type(model.config).__mro__[1]) == ("macbert", bert.Config)
