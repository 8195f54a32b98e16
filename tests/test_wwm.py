"""BERT-wwm and wwm-ext: what is masked together, where words come from, and that nothing else differs from BERT."""

import gettext
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import regex

import minibert
from minibert import families, objective, tree
from minibert.corruption import masking, segmentation, units
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, bert_wwm, bert_wwm_ext
from minibert.families.bert_wwm import Data as Options
from minibert.pretraining import pretrain
from minibert.tokenizers.wordpiece import WordPiece
from reference.word_starts import word_starts

TEXT = "使用语言模型来预测下一个词的probability。"
WORDS = ["使用", "语言", "模型", "来", "预测", "下", "一个", "词", "的", "probability", "。"]
PIECES = [*"使用语言模型来预测下一个词的", "pro", "##ba", "##bility", "。"]
STARTS = [1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(PIECES), *"型号天地元黄宇宙洪荒"]
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
    "initializer_range": 0.4,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(TOKENS)) + "\n", encoding="utf-8")
    return WordPiece.load(path)


def vocabulary(tokenizer) -> Vocabulary:
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    return Vocabulary(len(tokenizer), *roles, tokenizer.continues, tuple(sorted(tokenizer.special_ids)))


def rows_of(tokenizer, texts, options, family=bert_wwm, seed=0):
    """Unmasked rows of documents of sentences, with what the options hand in."""
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    given = family.mark(tokenizer, options, texts, documents)
    rng = np.random.default_rng(seed)
    return family.rows(documents, rng, vocabulary(tokenizer), options, given), given


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(WORDS) + "\n", encoding="utf-8")
    return str(path)


# ---- Where words start -----------------------------------------------------------------------------------------------
def test_the_example_of_the_readme(tokenizer, words):
    assert tokenizer.tokenize(TEXT) == PIECES
    assert units.segmentation(PIECES, WORDS) == STARTS
    documents = [[tokenizer.ids(TEXT)]]
    found = segmentation.starts(documents, [[TEXT]], tokenizer.tokens, segmentation.segmenter(words))
    assert found == [[STARTS]]


def test_without_a_segmentation_only_pieces_group(tokenizer):
    assert units.segmentation(PIECES, []) == [0 if piece.startswith("##") else 1 for piece in PIECES]


def test_a_list_finds_the_longest_at_each_place():
    words = segmentation.listed(["模型", "语言模型", "型来", "a b", "预"])
    assert set(words(TEXT)) == {"语言模型", "模型", "型来"}
    assert units.segmentation(PIECES, words(TEXT))[2:7] == [1, 0, 0, 0, 1]


def test_only_chinese_words_and_known_characters_group(tokenizer):
    """Latin words group by their pieces, digits and punctuation never, an unknown character stands alone."""
    text = "模型12，使嗄用pro。"
    pieces = tokenizer.tokenize(text)
    found = segmentation.starts(
        [[tokenizer.ids(text)]], [[text]], tokenizer.tokens, lambda text: ["模型", "12", "，使", "使嗄用", "用pro"]
    )
    assert [piece for piece, start in zip(pieces, found[0][0], strict=True) if not start] == ["型"]


def test_jieba_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(InputError, match=r"minibert\[chinese\]"):
        segmentation.segmenter("jieba")


def test_jieba(tokenizer):
    pytest.importorskip("jieba", reason="the segmenter of the extra 'chinese'")
    words = segmentation.segmenter("jieba")
    assert {"使用", "语言", "模型", "预测", "一个"} <= set(words(TEXT)) | {"下一个", "一个"}
    found = segmentation.starts([[tokenizer.ids(TEXT)]], [[TEXT]], tokenizer.tokens, words)[0][0]
    assert found[:9] == STARTS[:9]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), (b"\xff\xfe\xfa", "not UTF-8"), (b"one two\n", "no word of two")]
)
def test_unusable_lists(tmp_path, content, said):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        segmentation.segmenter(str(path))
    assert "\n" not in str(caught.value)


# ---- What is masked together -----------------------------------------------------------------------------------------
def groups_masked(tokenizer, options, seeds=15):
    """For many draws (sixteen rows a seed): the batch's targets as sets of positions in TEXT."""
    rows, given = rows_of(tokenizer, [[TEXT], [TEXT]], options, bert_wwm_ext)
    assert (rows["input_ids"][0, 1 : 1 + len(PIECES)] == tokenizer.ids(TEXT)).all()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        batch = bert_wwm_ext.corrupt(rows, rng, vocabulary(tokenizer), options, given)
        used = batch["masked_lm_weights"] > 0
        for b in range(len(used)):
            yield set((batch["masked_lm_positions"][b][used[b]] - 1).tolist()), batch, b


def test_words_are_chosen_whole(tokenizer, words):
    """Always a union of the README's groups, within BERT's budget, and every group has its turn."""
    options = Options(seq_length=24, rate=0.25, segmenter=words)
    begins = np.cumsum(STARTS) - 1
    groups = [set(np.flatnonzero(begins == n).tolist()) for n in range(len(WORDS))]
    seen = set()
    for chosen, _, _ in groups_masked(tokenizer, options):
        assert len(chosen) <= masking.budget(np.array(len(PIECES) + 2), 0.25)
        touched = [n for n, group in enumerate(groups) if group & chosen]
        assert set().union(*(groups[n] for n in touched)) == chosen
        seen |= set(touched)
    assert seen == set(range(len(WORDS)))


def test_pairs_know_the_words_too(tokenizer, words):
    """BERT-wwm's rows are pairs: in both segments the characters of a word start together."""
    rows, _ = rows_of(tokenizer, [[TEXT, TEXT], [TEXT, TEXT]], Options(seq_length=64, segmenter=words, short_rate=0.0))
    size, seen = len(PIECES), 0
    for ids, starts in zip(rows["input_ids"].tolist(), rows["starts"].tolist(), strict=True):
        for at in range(1, len(ids) - size):
            if ids[at : at + size] == tokenizer.ids(TEXT):
                assert [int(start) for start in starts[at : at + size]] == STARTS
                seen += 1
    assert seen > len(rows["input_ids"])


def test_characters_are_chosen_alone(tokenizer, words):
    """The baseline row of the README: 模 without 型, the middle of "probability" alone."""
    options = Options(seq_length=24, rate=0.25, units="pieces", segmenter=words)
    drawn = [chosen for chosen, _, _ in groups_masked(tokenizer, options)]
    assert any({4, 5} & chosen == {4} for chosen in drawn)
    assert any({14, 15, 16} & chosen == {15} for chosen in drawn)


def test_no_segmentation_draws_what_bert_draws(tokenizer):
    """Of Chinese alone, whole words without a segmentation are characters: the same stream, bit for bit."""
    text = "使用语言模型来预测下一个词的模型。"
    own = {"seq_length": 24, "rate": 0.25}
    made = [
        [batch for _, batch, _ in groups_masked_of(tokenizer, text, Options(**own, units=kind))]
        for kind in ("words", "pieces")
    ]
    for one, other in zip(*made, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def groups_masked_of(tokenizer, text, options):
    rows, given = rows_of(tokenizer, [[text], [text]], options)
    assert "starts" not in rows
    for seed in range(20):
        yield seed, bert_wwm.corrupt(rows, np.random.default_rng(seed), vocabulary(tokenizer), options, given), 0


def test_shares_over_many_draws(tokenizer, words):
    """Chosen stays below the budget; of the chosen pieces 80/10/10, piece by piece."""
    options = Options(seq_length=24, rate=0.25, segmenter=words)
    mask = keep = chosen_in_all = halves = draws = 0
    for chosen, batch, b in groups_masked(tokenizer, options, 250):
        draws += 1
        targets = np.array(sorted(chosen)) + 1
        now, labels = batch["input_ids"][b, targets], batch["masked_lm_ids"][b][: len(targets)]
        chosen_in_all += len(targets)
        mask += (now == tokenizer.mask_id).sum()
        keep += (now == labels).sum()
        word = {4, 5} <= chosen
        halves += word and ((batch["input_ids"][b, [5, 6]] == tokenizer.mask_id).sum() == 1)
    assert 0.85 < chosen_in_all / (5 * draws) <= 1
    assert abs(mask / chosen_in_all - 0.8) < 0.015
    assert abs(keep / chosen_in_all - (0.1 + 0.1 / len(tokenizer))) < 0.012
    assert halves  # one character of a word masked, the other not


def test_entities_are_chosen_whole(tokenizer, tmp_path, words):
    entities = tmp_path / "entities.txt"
    entities.write_text("语言模型\n\n模型来\n预测下一个词\nPRO\n", encoding="utf-8")
    options = Options(seq_length=24, rate=0.3, units="entities", entities=str(entities), segmenter=words)
    rows, given = rows_of(tokenizer, [[TEXT], [TEXT]], options, bert_wwm_ext)
    assert given["entities"] == {tuple(tokenizer.ids(e)) for e in ("语言模型", "模型来", "预测下一个词", "pro")}
    expected = [-1, -1, -1, 3, 3, 3, 3, -1, 8, 8, 8, 8, 8, 8, -1, -1, -1, -1, -1]  # "pro" goes on: no entity
    assert rows["units"][0, : len(expected)].tolist() == expected
    whole = set()
    for chosen, _, _ in groups_masked(tokenizer, options):
        for entity in (set(range(2, 6)), set(range(7, 13)), {0, 1}):
            assert chosen & entity in (set(), entity)
            whole |= {len(entity)} if entity <= chosen else set()
    assert whole == {2, 4, 6}


def test_entities_end_with_the_row():
    known = {(7,), (7, 8), (8, 9, 9)}
    ids = np.array([[7, 8, 9, 9], [9, 9, 7, 8], [8, 9, 9, 7], [9, 7, 7, 8]])
    assert segmentation.entities(ids, known).tolist() == [
        [0, 0, -1, -1],
        [-1, -1, 2, 2],
        [0, 0, 0, 3],
        [-1, 1, 2, 2],
    ]


def test_ngrams_are_runs_of_words(tokenizer, words):
    options = Options(seq_length=24, rate=0.4, units="ngrams", segmenter=words)
    begins = np.cumsum(STARTS) - 1
    longest = 0
    for chosen, _, _ in groups_masked(tokenizer, options, 50):
        touched = {int(begins[i]) for i in chosen}
        assert {i for i in range(len(PIECES)) if begins[i] in touched} == chosen
        runs = regex.findall("1+", "".join("1" if n in touched else "0" for n in range(len(WORDS))))
        longest = max(longest, *map(len, runs))
    assert longest >= 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": "word"}, "did you mean 'words'"),
        ({"units": "entities"}, "--entities FILE"),
        ({"units": "entities", "entities": "nowhere.txt"}, "cannot read nowhere.txt"),
        ({"segmenter": "nowhere.txt"}, "cannot read nowhere.txt"),
    ],
)
def test_unusable_options(tokenizer, options, said):
    with pytest.raises(InputError, match=said):
        rows_of(tokenizer, [[TEXT]], Options(**options))


# ---- Nothing else differs from BERT ----------------------------------------------------------------------------------
def test_names():
    assert families.family("wwm") is families.family("bert-wwm") is bert_wwm
    assert families.family("wwm-ext") is families.family("bert_wwm_ext") is bert_wwm_ext
    assert minibert.create("wwm-ext", **bert.PROBE).family == "bert_wwm_ext"


def test_the_loss_is_berts_to_the_last_bit():
    ours, theirs = (minibert.create(name, 3, **FIELDS) for name in ("wwm", "bert"))
    batch = bert.example(np.random.default_rng(0), theirs.config)
    losses = [model.loss(batch) for model in (ours, theirs)]
    assert losses[0][0] == losses[1][0]
    gradients = [tree.leaves(model.loss_backward(c)) for model, (_, c) in zip((ours, theirs), losses, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True))


def test_parameter_counts_of_the_published_sizes():
    """Chinese base and large (RoBERTa-wwm-ext-large), nothing allocated."""

    def count(config, *left_out):
        items = tree.items(objective.shapes(bert_wwm, config))
        return sum(int(np.prod(shape)) for path, shape in items if path.split(".")[0] not in left_out)

    base = bert_wwm.Config()
    assert count(base, "mlm", "nsp") == 102_267_648
    assert count(base) == 102_882_442
    assert count(bert_wwm.Config(**bert_wwm.PRESETS["large"]), "mlm", "nsp") == 325_522_432


def error(got, true, scale=0.0):
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


def case(seed, **fields):
    rng = np.random.default_rng(seed)
    model = minibert.create("wwm-ext", dtype="float64", **{**FIELDS, **fields})
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    del batch["dropout"]
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    return model, batch, labels


@pytest.mark.parametrize(("act", "tied"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_wwm_ext_is_a_masked_lm_with_every_gradient(act, tied):
    """Against transformers' BertForMaskedLM, float64; another eps is seen."""
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    model, batch, labels = case(1, hidden_act=act, tie_word_embeddings=tied)
    config = transformers.BertConfig(**FIELDS, hidden_act=act, tie_word_embeddings=tied, attn_implementation="eager")
    twin = transformers.BertForMaskedLM(config).double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*model.module.aliases(model.config)}
    twin.tie_weights()
    given = (batch[name] for name in ("input_ids", "input_mask", "segment_ids"))
    inputs = [torch.from_numpy(value) for value in given]
    out = twin(*inputs, labels=torch.from_numpy(labels))
    out.loss.backward()
    loss, cache = model.loss(batch)
    assert error(loss, out.loss.item()) < 1e-12
    assert cache["terms"] == {"masked_lm": loss}
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
    twin.bert.encoder.layer[1].output.LayerNorm.eps = 1e-12
    assert error(loss, twin(*inputs, labels=torch.from_numpy(labels)).loss.item()) > 1e-9


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForPreTraining", "BertModel"])
def test_wwm_ext_directories_there_and_back(kind, tmp_path):
    """Of any published class: a pooler is kept and used, a next-sentence head passed over; theirs loads ours."""
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    theirs = getattr(transformers, kind)(transformers.BertConfig(**FIELDS, attn_implementation="eager")).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({**config, "minibert_family": "bert_wwm_ext"}))
    model = minibert.load(tmp_path / "theirs")
    assert model.family == "bert_wwm_ext"
    heads = {"BertForMaskedLM": {"mlm"}, "BertForPreTraining": {"pooler", "mlm"}, "BertModel": {"pooler"}}[kind]
    assert model.params.keys() - {"embeddings", "encoder"} == heads
    if "mlm" in heads:
        gradient = model.loss_backward(model.loss(case(2)[1])[1])
        assert gradient.keys() == model.params.keys()
    model.save(tmp_path / "ours")
    again, info = getattr(transformers, kind).from_pretrained(tmp_path / "ours", output_loading_info=True)
    spared = {"cls.seq_relationship.weight", "cls.seq_relationship.bias"} if kind == "BertForPreTraining" else set()
    assert info["missing_keys"] - spared == info["unexpected_keys"] == set()
    state = {name: value for name, value in again.state_dict().items() if not name.startswith("cls.seq")}
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in state.items())


# ---- Real text -------------------------------------------------------------------------------------------------------
def chinese() -> list[str]:
    """Messages of the programs installed here, as their gettext catalogues have them in Chinese."""
    found: dict[str, None] = {}
    for path in sorted(Path("/usr/share/locale/zh_CN/LC_MESSAGES").glob("*.mo")):
        try:
            with path.open("rb") as file:
                messages = gettext.GNUTranslations(file)._catalog.values()
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        for message in messages:
            text = " ".join(message.split())
            if len(regex.findall(r"\p{Han}", text)) >= 8 and "%" not in text and len(text) < 80:
                found[text] = None
    return list(found)


FREQUENT = "文件 目录 选项 命令 使用 无法 错误 密码 用户 系统 信息 显示 设置 服务 程序 软件包 名称 数据 指定 打开"


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    texts = chinese()[:1200]
    if len(texts) < 300:
        pytest.skip("real Chinese text: needs gettext catalogues of zh_CN on this machine")
    folder = tmp_path_factory.mktemp("chinese")
    blocks = ["\n".join(texts[i : i + 10]) for i in range(0, len(texts), 10)]
    (folder / "text.txt").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    (folder / "words.txt").write_text(FREQUENT, encoding="utf-8")
    (folder / "entities.txt").write_text("软件包\n打开文件\n目录\n", encoding="utf-8")
    return folder


def test_chinese_text_groups_into_words(messages):
    """On real text: about as many groups as frequent words occur; characters else."""
    lines = (messages / "text.txt").read_text(encoding="utf-8").split("\n")
    lines = [line for line in lines if line]
    tokenizer = WordPiece.train(lines, 1200)
    documents = [[tokenizer.ids(line) for line in lines]]
    segmenter = segmentation.segmenter(str(messages / "words.txt"))
    found = segmentation.starts(documents, [lines], tokenizer.tokens, segmenter)[0]
    joined = 0
    for ids, marks in zip(documents[0], found, strict=True):
        assert len(ids) == len(marks)
        pieces = [tokenizer.tokens[i] for i in ids]
        joined += sum(not mark and not piece.startswith("##") for mark, piece in zip(marks, pieces, strict=True))
    expected = sum(line.count(word) * (len(word) - 1) for word in FREQUENT.split() for line in lines)
    assert expected > 300
    assert 0.95 * expected <= joined <= expected


@pytest.mark.parametrize(
    ("family", "own"),
    [
        ("wwm", {"units": "words"}),
        ("wwm-ext", {"units": "words"}),
        ("wwm", {"units": "entities"}),
        ("wwm", {"units": "ngrams"}),
    ],
)
def test_pretrain_on_chinese(messages, tmp_path, family, own, capsys):
    """A segmentation handed in, a few steps, stopped and continued: the same bits."""
    if own["units"] == "entities":
        own = {**own, "entities": str(messages / "entities.txt")}
    options = {"steps": 6, "batch_size": 4, "seq_length": 32, "vocab_size": 1200, "duplicates": 1, "held_out": 0.2,
               "checkpoint_every": 2, "segmenter": str(messages / "words.txt"), **own}  # fmt: skip
    fields = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    whole = pretrain(family, [messages / "text.txt"], tmp_path / "whole", fields=fields, **options)
    again = pretrain(family, [messages / "text.txt"], tmp_path / "again", fields=fields, **options)
    for path in (again / "checkpoints" / "00000006", again / "model.safetensors", again / "report.json"):
        path.rename(again / f"lost-{path.name}")
    pretrain(family, out=again, resume=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    model = minibert.load(whole)
    assert model.family == families.family(family).__name__.rpartition(".")[2]
    report = json.loads((whole / "report.json").read_text())
    assert set(report["terms"]) == set(model.module.terms(model.config))


def test_pretrain_on_english(tmp_path):
    """Pieces of a word together, without any segmenter; every strategy makes other batches."""
    rng = np.random.default_rng(3)
    stems = ["".join(rng.choice(list("abdegiklmnorstu"), rng.integers(3, 8))) for _ in range(60)]
    lines = [" ".join(rng.choice(stems, rng.integers(4, 9))) + "." for _ in range(120)]
    tokenizer = WordPiece.train(lines, 60)
    assert tokenizer.continues.sum() > 15
    texts = [lines[i : i + 12] for i in range(0, 120, 12)]
    entities = tmp_path / "entities.txt"
    entities.write_text(f"{stems[0]} {stems[1]}\n{stems[2]}\n", encoding="utf-8")
    made = []
    for kind in bert_wwm.UNITS:
        options = Options(seq_length=48, units=kind, entities=str(entities))
        rows, given = rows_of(tokenizer, texts, options)
        batch = bert_wwm.corrupt(rows, np.random.default_rng(5), vocabulary(tokenizer), options, given)
        chosen = np.zeros(rows["input_ids"].shape, bool)
        used = batch["masked_lm_weights"] > 0
        chosen[np.nonzero(used)[0], batch["masked_lm_positions"][used]] = True
        follows = tokenizer.continues[rows["input_ids"]]
        follows[:, 1:] &= ~np.isin(rows["input_ids"][:, :-1], (tokenizer.cls_id, tokenizer.sep_id))
        split = (chosen[:, 1:] != chosen[:, :-1]) & follows[:, 1:]
        assert split.any() == (kind == "pieces")
        made.append(chosen)
    assert all((a != b).any() for i, a in enumerate(made) for b in made[:i])


def test_the_alignment_is_its_double():
    """`units.segmentation` and the scalar loop on random texts with words that overlap."""
    rng = np.random.default_rng(8)
    pieces = [*"天地元黄宇宙", "##天", "ab", "##ab", "。", "1"]
    joined = 0
    for _ in range(300):
        text = [str(piece) for piece in rng.choice(pieces, rng.integers(1, 14))]
        words = {"".join(rng.choice(pieces, rng.integers(1, 5))) for _ in range(40)}
        found = units.segmentation(text, words)
        assert found == word_starts(text, words)
        joined += found.count(0)
    assert joined > 100
