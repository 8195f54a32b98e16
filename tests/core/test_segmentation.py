"""Where words start in text without blanks: lists of words, jieba, entities, and what of them reaches the pieces."""

import gettext
import sys
from pathlib import Path

import numpy as np
import pytest
import regex

from minibert.corruption import segmentation, units
from minibert.errors import InputError
from minibert.tokenizers.wordpiece import WordPiece
from reference.word_starts import word_starts

TEXT = "使用语言模型来预测下一个词的probability。"
WORDS = ["使用", "语言", "模型", "来", "预测", "下", "一个", "词", "的", "probability", "。"]
PIECES = [*"使用语言模型来预测下一个词的", "pro", "##ba", "##bility", "。"]
STARTS = [1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(PIECES), *"型号天地元黄宇宙洪荒"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(TOKENS)) + "\n", encoding="utf-8")
    return WordPiece.load(path)


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(WORDS) + "\n", encoding="utf-8")
    return str(path)


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


def test_entities_end_with_the_row():
    known = {(7,), (7, 8), (8, 9, 9)}
    ids = np.array([[7, 8, 9, 9], [9, 9, 7, 8], [8, 9, 9, 7], [9, 7, 7, 8]])
    assert segmentation.entities(ids, known).tolist() == [
        [0, 0, -1, -1],
        [-1, -1, 2, 2],
        [0, 0, 0, 3],
        [-1, 1, 2, 2],
    ]


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


# ---- Real text -------------------------------------------------------------------------------------------------------
FREQUENT = "文件 目录 选项 命令 使用 无法 错误 密码 用户 系统 信息 显示 设置 服务 程序 软件包 名称 数据 指定 打开"


def chinese():
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


def test_chinese_text_groups_into_words(tmp_path):
    """On real text: about as many groups as frequent words occur; characters else."""
    lines = chinese()[:1200]
    if len(lines) < 300:
        pytest.skip("real Chinese text: needs gettext catalogues of zh_CN on this machine")
    (tmp_path / "words.txt").write_text(FREQUENT, encoding="utf-8")
    tokenizer = WordPiece.train(lines, 1200)
    documents = [[tokenizer.ids(line) for line in lines]]
    segmenter = segmentation.segmenter(str(tmp_path / "words.txt"))
    found = segmentation.starts(documents, [lines], tokenizer.tokens, segmenter)[0]
    joined = 0
    for ids, marks in zip(documents[0], found, strict=True):
        assert len(ids) == len(marks)
        pieces = [tokenizer.tokens[i] for i in ids]
        joined += sum(not mark and not piece.startswith("##") for mark, piece in zip(marks, pieces, strict=True))
    expected = sum(line.count(word) * (len(word) - 1) for word in FREQUENT.split() for line in lines)
    assert expected > 300
    assert 0.95 * expected <= joined <= expected
