"""`minibert corrupt`: what it shows, in colour and without, and what it refuses."""

import io
import re
import sys

import pytest

from minibert import cli, reading
from minibert.corruption import commands
from minibert.corruption.denoising import NOISES
from minibert.corruption.rules import RULES
from minibert.corruption.spans import OBJECTIVES
from minibert.tokenizers import layout
from minibert.tokenizers.added import Added
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.unigram_files import T5
from minibert.tokenizers.wordpiece import WordPiece

TEXT = "the model predicts the next word of a text, with some probability"
CHINESE = "使用语言模型来预测下一个词的probability。"
WORDS = "使用 语言 模型 来 预测 下 一个 词 的 probability 。"
MARK = re.compile(r"\[(\[?\w+\]?|\W)([→~=])(\S*?)\]")


def said(capsys, *args):
    assert cli.main(["corrupt", *args]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_shows_a_text(capsys, rule):
    legend, *lines = said(capsys, rule, TEXT, "--rate", "0.4", "--samples", "20")
    assert ("~" in legend, "___" in legend) == ((True, False) if rule == "macbert" else (False, True))
    assert len(lines) == 40
    counts = 0
    for shown, count in zip(lines[::2], lines[1::2], strict=True):
        marks = [mark for mark in shown.split() if MARK.search(mark)]
        predicted, of, tokens = count.split()[:3]
        assert (int(predicted), of, int(tokens)) == (len(marks), "of", 15)
        restored = re.sub(r"\[(\[?[^\s\[\]]+\]?)[→~=][^\s\]]*\]+", r"\1", shown)
        restored = restored.replace("[CLS] ", "").replace(" [SEP]", "").replace("[SEP]", "")
        assert restored.split() == TEXT.replace(",", " ,").split()  # the original can be read off
        counts += len(marks)
        if rule == "macbert":
            assert "___" not in shown
    assert counts > 20
    assert len(set(lines[::2])) > 3  # samples differ
    assert said(capsys, rule, TEXT, "--rate", "0.4", "--samples", "20") == [legend, *lines]
    assert said(capsys, rule, TEXT, "--rate", "0.4", "--samples", "20", "--seed", "1") != [legend, *lines]


SENTENCES = "The cat sat on the mat. It was a fine day for a cat! The dog was away."
NOISED = re.compile(r"\[([^→\[\]]*)→(\[?[^\[\]]*\]?)\]")


@pytest.mark.parametrize("noise", [*NOISES, "permutation+infilling", "deletion+rotation"])
def test_every_noise_shows_what_it_hides(capsys, noise):
    legend, *lines = said(capsys, noise, SENTENCES, "--samples", "30")
    assert legend == "[masked→___]  [random→other]  [→other]  [deleted→]"
    assert len(lines) == 60
    for shown, count in zip(lines[::2], lines[1::2], strict=True):
        marks = NOISED.findall(shown)
        hidden = sum(len(stood.split()) for stood, _ in marks)
        assert count.startswith(f"  {hidden} of 21 tokens hidden: ")
        restored = NOISED.sub(lambda mark: mark[1], shown).split()
        text = SENTENCES.replace(".", " .").replace("!", " !").split()
        assert sorted(restored) == sorted(text)
        if not set(noise.split("+")) & {"permutation", "rotation"}:
            assert restored == text  # the original can be read off
        assert ("deletion" in noise) == any(now == "" for _, now in marks)
        assert noise not in ("masking", "sentence-masking", "infilling") or all(now for _, now in marks)
    assert said(capsys, noise, SENTENCES, "--samples", "30") == [legend, *lines]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_shows_both_sides(capsys, objective):
    lines = said(capsys, objective, SENTENCES, "--samples", "5")
    text = SENTENCES.replace(".", " .").replace("!", " !").split()
    assert len(lines) == 10
    for reads, writes in zip(lines[::2], lines[1::2], strict=True):
        (what, *read, end), (then, *written, last) = reads.split(), writes.split()
        assert (what, then, end, last) == ("reads", "writes", "</s>", "</s>")
        if objective.endswith("spans"):
            assert sorted(piece for piece in read + written if not piece.startswith("<")) == sorted(text)
            assert [piece for piece in read if piece.startswith("<")][:1] == ["<extra_id_0>"]
        elif objective in ("drop-tokens", "prefix-lm"):
            assert sorted(read + written) == sorted(text)
        else:
            assert written == text
            assert read != text


def test_noises_with_a_tokenizer(capsys, tmp_path):
    made = Unigram.train([SENTENCES] * 3, 80, lowercase=False, specials=T5, extra_ids=10)
    made.save(tmp_path)
    reads, _ = said(capsys, "random-spans", SENTENCES, "--tokenizer", str(tmp_path))
    assert "<extra_id_0>" in reads
    assert cli.main(["corrupt", "masking", SENTENCES, "--tokenizer", str(tmp_path)]) == 2
    assert "no token for the role cls" in capsys.readouterr().err


def test_a_segmentation_decides_which_characters_fall_together(capsys):
    lines = said(capsys, "whole-word", CHINESE, "--words", WORDS, "--rate", "0.3", "--samples", "40")[1::2]
    torn = said(capsys, "bert", CHINESE, "--words", WORDS, "--rate", "0.3", "--samples", "40")[1::2]
    for word in ("使用", "语言", "模型", "预测", "一个"):
        chosen = [[f"[{character}" in line for character in word] for line in lines]
        assert all(a == b for a, b in chosen)
        assert any(a for a, _ in chosen)
    assert any(f"[{a}" in line and f"[{b}" not in line for a, b in ("使用", "语言") for line in torn)


def test_entities_and_similar_words(capsys):
    lines = said(capsys, "entity", TEXT, "--words", "next_word some_probability", "--rate", "0.3", "--samples", "30")[
        1::2
    ]
    assert all(("[next" in line) == ("[word" in line) for line in lines)
    assert any("[next" in line for line in lines)
    similar = "model=system,network probability=chance"
    lines = said(capsys, "macbert", TEXT, "--similar", similar, "--rate", "0.5", "--samples", "30")
    assert any("[model~system]" in line for line in lines)
    assert any("[model~network]" in line for line in lines)
    assert any("[probability~chance]" in line for line in lines)
    assert any("similar" in line for line in lines[2::2])
    shown = said(
        capsys, "macbert", CHINESE, "--words", WORDS, "--similar", "模型=系统", "--rate", "0.5", "--samples", "20"
    )
    assert any("[模~系] [型~统]" in line for line in shown)


def test_colours_are_for_terminals(capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in "".join(said(capsys, "bert", TEXT))
    coloured = "\n".join(commands.corrupted([TEXT], "bert", 0.5, coloured=True, samples=9))
    plain = "\n".join(commands.corrupted([TEXT], "bert", 0.5, samples=9))
    assert coloured.count("\x1b[97;41m") == plain.count("→___")
    assert coloured.count("\x1b[0m") == len(re.findall("\x1b\\[[0-9;]+m", coloured)) / 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\x1b[" in "".join(said(capsys, "bert", TEXT))
    assert "\x1b" not in "".join(said(capsys, "bert", TEXT, "--no-color"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(said(capsys, "bert", TEXT))


def test_files_standard_input_and_a_tokenizer(capsys, monkeypatch, tmp_path):
    (tmp_path / "text.txt").write_text(f"{TEXT}\n\n{TEXT}\n", encoding="utf-8")
    assert len(said(capsys, "bert", "--file", str(tmp_path / "text.txt"))) == 5
    assert len(said(capsys, "bert", TEXT, "--file", str(tmp_path / "text.txt"))) == 7
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode()), encoding="utf-8"))
    assert len(said(capsys, "bert")) == 3
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"thenxword", "##" + "x", *(f"##{c}" for c in "thenword")]
    WordPiece(list(dict.fromkeys(pieces))).save(tmp_path)
    lines = said(
        capsys, "whole-word", "the next word", "--tokenizer", str(tmp_path), "--rate", "0.35", "--samples", "30"
    )
    assert {line.split()[0] for line in lines[2::2]} == {"3", "4"}  # a word of three pieces, or one of four
    assert all(line.count("##") >= 8 for line in lines[1::2])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["berd", TEXT], "berd"),
        (["masking+berd", TEXT], "berd"),
        (["masking", TEXT, "--rate", "1"], "rate is 1"),
        (["random-spans", "word"], "has one token"),
        (["random-spans", "word " * 4097], "may have 4096"),
        (["random-spans", "word " * 3000], "takes 150 sentinels"),
        (["infilling", *["word"] * 2000, "--samples", "1000"], "1048576 tokens"),
        (["bert", ""], "no text"),
        (["bert", "\x07"], "no token"),
        (["bert", TEXT, "--rate", "1.5"], "--rate 1.5"),
        (["bert", TEXT, "--rate", "nan"], "--rate nan"),
        (["bert", TEXT, "--samples", "0"], "--samples 0"),
        (["bert", TEXT, "--seed", "-1"], "--seed -1"),
        (["bert", TEXT, "--seed", str(10**30)], "--seed 1"),
        (["bert", TEXT, "--samples", "1000000000"], "at most 1000"),
        (["bert", *["word"] * 1100, "--samples", "1000"], "1048576 tokens"),
        (["bert", "word " * 4097], "may have 4096"),
        (["bert", "word " * 4000, *["word"] * 300], "1048576 tokens"),
        (["bert", TEXT, "--rate", "1e400"], "--rate inf"),
        (["bert", "--file", "missing.txt"], "missing.txt"),
        (["bert", TEXT, "--tokenizer", "missing"], "--tokenizer missing"),
        (["macbert", TEXT, "--similar", "model"], "WORD=WORD"),
        (["bert", TEXT, "--similar", "a=b"], "macbert"),
    ],
)
def test_unusable_input_is_one_line(capsys, args, message):
    assert cli.main(["corrupt", *args]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unusable_files_are_one_line(capsys, monkeypatch, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert cli.main(["corrupt", "bert", "--file", str(tmp_path / "latin.txt")]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    assert cli.main(["corrupt", "bert"]) == 2
    assert "standard input is not UTF-8: byte 3" in capsys.readouterr().err
    assert cli.main(["corrupt", "bert", TEXT, "--tokenizer", str(tmp_path)]) == 2
    assert "holds none of" in capsys.readouterr().err


def test_foreign_pieces_do_nothing_to_the_terminal(capsys, tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "\x1b[2Jb", "\u202ec"]
    WordPiece(pieces, added=dict.fromkeys(["\x1b[2Jb", "\u202ec"], Added(special=False))).save(tmp_path)
    for colour in ([], ["--no-color"]):
        lines = said(capsys, "bert", "a\x1b[2Jb\u202ec", "--tokenizer", str(tmp_path), "--samples", "9", *colour)
        assert all(line.isprintable() for line in lines)
        assert any(r"\x1b[2Jb" in line and r"\u202ec" in line for line in lines)


def test_a_tokenizer_without_the_roles_is_one_line(capsys, tmp_path):
    ByteLevelBPE([*CHARACTERS], [], specials={}, around=layout.Layout()).save(tmp_path)
    assert cli.main(["corrupt", "bert", TEXT, "--tokenizer", str(tmp_path)]) == 2
    assert "names no token for the role cls" in capsys.readouterr().err


def test_standard_input_is_bounded(capsys, monkeypatch):
    monkeypatch.setattr(reading, "TEXT", 9)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"0123456789"), encoding="utf-8"))
    assert cli.main(["corrupt", "bert"]) == 2
    assert "more than 9 bytes" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.main(["corrupt", "bert"]) == 2
    assert "cannot read standard input" in capsys.readouterr().err
