"""ChineseBERT: pinyin by a plain loop, the order of fusion, what gives an answer away, rows, fonts and readings."""

import json

import numpy as np
import pytest
from published import Published, error, example, inputs, probed
from twins import chinesebert as twins

import minibert
from minibert import tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import chinesebert
from minibert.tokenizers import glyphs, pinyin
from minibert.tokenizers.encoding import Encoding

TERM = {"labels": "masked_lm"}
OWN = {"pinyin_letters": 6, "pinyin_length": 5, "pinyin_width": 3, "glyph_fonts": 2, "glyph_size": 3}
PUBLISHED = [
    Published("chinesebert", "", TERM, OWN, ({"hidden_act": "gelu"}, {"use_segments": False, "hidden_act": "relu"}),
              twin=twins.with_fusion, terms=twins.terms),
    Published("chinesebert", "", TERM, {**OWN, "use_glyphs": False}, ({"hidden_act": "gelu"},),
              twin=twins.with_fusion, terms=twins.terms),
]  # fmt: skip
VARIANTS = ({"use_segments": False}, {"use_pinyin": False}, {"use_glyphs": False})
PARAMETERS = [({}, ("mlm",), 147_337_984)]  # with pooler: the paper's 147M
PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (335, "three sources of an embedding with a backward each, rows with letters"),
    "tests": (225, "windows in a loop, leaks, order of fusion, rows of two kinds, readings and fonts"),
    "cases": (40, "sizes of its own parts, and the double composed"),
    "mistakes": (150, "letters, pixels and their fusion are in no other family"),
}


# ---- The network -----------------------------------------------------------------------------------------------------
def test_pinyin_is_a_loop_over_windows_and_a_maximum():
    """(a) of B14; the release's 8 letters make 7 windows, those of padding among them."""
    rng = np.random.default_rng(0)
    p = {"letter": {"weight": rng.standard_normal((6, 3))},
         "conv": {"weight": rng.standard_normal((4, 3, 2)), "bias": rng.standard_normal(4)}}  # fmt: skip
    letters = rng.integers(0, 6, (2, 3, 8))
    letters[0, 0] = 0
    found, _ = chinesebert.pinyin_encoder(p, letters=letters)
    for b, t in np.ndindex(2, 3):
        rows, w = p["letter"]["weight"][letters[b, t]], p["conv"]["weight"]
        windows = [w[:, :, 0] @ rows[i] + w[:, :, 1] @ rows[i + 1] + p["conv"]["bias"] for i in range(7)]
        assert error(found[b, t], np.max(windows, 0)) < 1e-14


def test_fonts_in_another_order_with_their_weights_are_the_same():
    """(b) of B14."""
    model = probed("chinesebert", 3, **OWN)
    batch = example(model)
    loss, glyph = model.loss(batch)[0], model.params["embeddings"]["glyph"]
    for leaf in (glyph["image"]["weight"], glyph["map"]["weight"]):
        leaf[...] = np.roll(leaf, OWN["glyph_size"] ** 2, 1)
    assert abs(model.loss(batch)[0] - loss) < 1e-12
    glyph["map"]["weight"][...] = np.roll(glyph["map"]["weight"], 1, 1)
    assert abs(model.loss(batch)[0] - loss) > 1e-3


def test_each_part_has_its_columns_of_the_fusion():
    """(d) of B14, the columns in the order word, pinyin, glyph; (c): letters of a masked place change what is said."""
    model = probed("chinesebert", 4, **OWN)
    given, width = inputs(example(model)), model.config.hidden_size
    weight = model.params["embeddings"]["fusion"]["weight"]
    images = model.params["embeddings"]["glyph"]["image"]["weight"]
    before = model.encode(**given)["last_hidden_state"]
    spoken = {**given, "pinyin_ids": (given["pinyin_ids"] + 1) % 6}
    assert np.abs(model.encode(**spoken)["last_hidden_state"] - before).max() > 1e-3
    weight[:, 2 * width :] = 0
    blind = model.encode(**given)["last_hidden_state"]
    images[...] += 1.0
    assert np.array_equal(model.encode(**given)["last_hidden_state"], blind)
    weight[:, width : 2 * width] = 0
    deaf = model.encode(**given)["last_hidden_state"]
    assert np.array_equal(model.encode(**spoken)["last_hidden_state"], deaf)
    assert np.abs(deaf - blind).max() > 1e-3


def test_the_row_of_segment_0_is_a_constant():
    """(f) of B14: moved into the table of positions it is a model without segments."""
    model = probed("chinesebert", 5, **OWN)
    batch = {**example(model), "segment_ids": np.zeros((4, 11), int)}
    plain = probed("chinesebert", 5, **OWN, use_segments=False)
    held = tree.flatten(model.params)
    for path, leaf in tree.items(plain.params):
        leaf[...] = held[path]
    plain.params["embeddings"]["position"]["weight"] += held["embeddings.token_type.weight"][0]
    assert abs(plain.loss(batch)[0] - model.loss(batch)[0]) < 1e-12


def test_without_pinyin_and_glyphs_it_is_bert_bit_for_bit():
    model = probed("chinesebert", 6, use_pinyin=False, use_glyphs=False)
    batch, twin = example(model), probed("bert_wwm_ext", 6)
    twin.params = model.params
    (loss, c), (due, d) = model.loss(batch), twin.loss(batch)
    assert loss == due
    ours, theirs = tree.flatten(model.loss_backward(c)), tree.flatten(twin.loss_backward(d))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[path], theirs[path]) for path in ours)


def test_a_model_that_reads_letters_asks_for_them():
    model = probed("chinesebert", 1, **OWN)
    with pytest.raises(InputError, match="pinyin_ids"):
        model.encode(input_ids=np.ones((1, 4), int))


# ---- Data ------------------------------------------------------------------------------------------------------------
V = Vocabulary(40, 1, 2, 3, 0, np.zeros(40, bool), (0, 1, 2, 3))


def made(count=400, **options):
    """(rows, masked rows, letters of each token) of sentences of 6 tokens in words of 2."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(4, 40, (6, 6)).tolist() for _ in range(count)]
    table = np.repeat(np.arange(40)[:, None], 8, 1)
    table[:4] = 0
    text = np.array(documents).reshape(-1)
    marked = {"starts": [[[1, 0] * 3] * 6] * count, "letters": table[text] + 100}
    data = chinesebert.Data(seq_length=40, duplicates=1, **options)
    rows = chinesebert.rows(documents, rng, V, data, marked)
    return rows, chinesebert.corrupt(rows, rng, V, data, table)


def test_nine_of_ten_rows_are_packed():
    rows, _ = made()
    assert np.mean(rows["input_mask"].sum(1) == 8) == pytest.approx(0.1, abs=0.005)
    assert (made(packed=1.0)[0]["input_mask"].sum(1) > 8).all()
    assert (made(packed=0.0)[0]["input_mask"].sum(1) == 8).all()


def test_letters_follow_what_stands_there():
    """Blank behind a mask, their own for a random token, as in the sentence for all others."""
    rows, batch = made()
    ids, letters, hidden = batch["input_ids"], batch["pinyin_ids"][..., 0], batch["input_ids"] == 3
    assert hidden.sum() > 1000
    assert not batch["pinyin_ids"][hidden].any()
    changed = (ids != rows["input_ids"]) & ~hidden
    assert np.array_equal(letters[changed], np.where(ids < 4, 0, ids)[changed])
    same = (ids == rows["input_ids"]) & (ids > 3)
    assert np.array_equal(letters[same], ids[same] + 100)


@pytest.mark.parametrize(("share", "due"), [(1.0, 1.0), (0.0, 0.075), (0.9, 0.81)])
def test_words_are_masked_whole_in_nine_of_ten_rows(share, due):
    _, batch = made(whole_words=share, packed=1.0)
    where = np.zeros((len(batch["input_ids"]), 40), bool)
    row, slot = np.nonzero(batch["masked_lm_weights"])
    where[row, batch["masked_lm_positions"][row, slot]] = True
    pairs = where[:, 1:37].reshape(len(where), 18, 2)
    together = pairs.all(2).sum() / pairs.any(2).sum()
    assert together == pytest.approx(due, abs=0.04)


# ---- Readings and fonts ----------------------------------------------------------------------------------------------
def test_letters_have_the_numbers_of_the_release():
    """As a port prints them, JunnYu/ChineseBert_pytorch, examples/tnews: of 明 and 星."""
    assert [pinyin.spelt(text)[:5] for text in ("ming2", "xing1")] == [[18, 14, 19, 12, 2], [29, 14, 19, 12, 1]]


def test_readings_of_a_file(tmp_path):
    file = tmp_path / "pinyin.txt"
    file.write_text("好 hao3\n女 nv3\n", encoding="utf-8")
    read = pinyin.reader(str(file))
    found = pinyin.of_tokens(["[CLS]", "好", "女", "学", "好x", "x"], read)
    assert ["".join(pinyin.LETTERS[i] for i in row) for row in found] == [
        "________", "hao3____", "nv3_____", "________", "________", "________"]  # fmt: skip
    file.write_text("好 hao3\n女 nü3\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2"):
        pinyin.reader(str(file))


def test_pypinyin_reads_a_character_by_those_around_it():
    pytest.importorskip("pypinyin", reason="reads Chinese aloud: install minibert[chinese]")
    found = pinyin.of_tokens([*"银行", "x", *"步行"], pinyin.reader("pypinyin"))
    read = ["".join(pinyin.LETTERS[i] for i in row).strip("_") for row in found]
    assert read == ["yin2", "hang2", "", "bu4", "xing2"]
    encoding = Encoding([1, 5, 2], ["[CLS]", "好", "[SEP]"], [0] * 3, [1] * 3, [(0, 0), (0, 1), (0, 0)])
    assert chinesebert.read([encoding], 0)["pinyin_ids"].sum(-1).tolist() == [[0, sum(pinyin.spelt("hao3")), 0]]


def test_glyphs_of_a_font(tmp_path):
    pytest.importorskip("PIL", reason="draws glyphs: install minibert[chinese]")
    with pytest.raises(InputError, match="cannot read the font nowhere"):
        glyphs.table(["好"], "nowhere.ttf", 24)
    if not all((glyphs.FOLDER / name).exists() for name in glyphs.DEBIAN):
        pytest.skip("Debian's fonts are not installed: fonts-arphic-ukai, fonts-arphic-uming, fonts-wqy-zenhei")
    rows = glyphs.table(["[PAD]", "一", "口", "囗", "x"], "debian", 24).reshape(5, 3, 24, 24)
    assert not rows[[0, 4]].any()
    assert rows.max() <= 1
    for one, mouth in zip(rows[1], rows[2], strict=True):
        assert (one.sum(1) > 5).sum() <= 4  # a stroke from left to right
        assert (one.sum(1) > 5).argmax() in range(8, 16)  # in the middle
        assert mouth[9:15, 9:15].mean() < 0.3 * mouth.mean()  # hollow


@pytest.mark.parametrize("kind", ["GlyceBertForMaskedLM", "ChineseBertForMaskedLM"])
def test_a_directory_of_the_release_tells_by_its_class(kind, tmp_path):
    """Which says model_type bert; with the sizes that a port adds."""
    model = probed("chinesebert", 1, **OWN)
    model.save(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del said["minibert_family"]
    said |= {"architectures": [kind], "pinyin_map_len": 6, "glyph_embedding_dim": 18}
    (tmp_path / "config.json").write_text(json.dumps(said), encoding="utf-8")
    assert said["model_type"] == "bert"
    assert minibert.load(tmp_path).family == "chinesebert"


def test_a_directory_keeps_its_letters(tmp_path):
    model = probed("chinesebert", 1, **OWN)
    chinesebert.begun(model, chinesebert.Data(pinyin="pypinyin"), None)
    model.save(tmp_path / "one")
    minibert.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "two" / pinyin.FILE).read_text(encoding="utf-8") == pinyin.mapped()
    plain = probed("chinesebert", 1, **OWN)
    plain.save(tmp_path / "two")
    assert not (tmp_path / "two" / pinyin.FILE).exists()
