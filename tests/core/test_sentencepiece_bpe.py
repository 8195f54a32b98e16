"""SentencePiece's byte-pair encoding: merging by score against a scalar double, its file, equality with the program."""

import io
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_unigram import NO_SENTENCEPIECE, lines, strings_for

from minibert.errors import InputError
from minibert.tokenizers import load, merges, sentencepiece_model
from minibert.tokenizers.normalization import Charsmap, Released
from minibert.tokenizers.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Model
from minibert.tokenizers.unigram import Unigram

SPECIALS = {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
MERGED = ["es", "est", "lo", "low", "▁low", "ne", "▁n", "er", "newest", "xx"]
PIECES = [*SPECIALS.values(), *MERGED, *"▁lowenstwridx"]
MODEL = Model(
    list(dict.fromkeys(PIECES)), [0.0] * 3 + [-float(i) for i in range(len(dict.fromkeys(PIECES)) - 3)],
    [UNKNOWN, CONTROL, CONTROL] + [NORMAL] * (len(dict.fromkeys(PIECES)) - 3), bpe=True,
)  # fmt: skip
OURS = Unigram(MODEL, Released(Charsmap(b""), True, True, prepared=False), SPECIALS)


def double(symbols, scores):
    """One merge at a time: of all neighbours that make a piece the highest score, of equals the leftmost."""
    symbols = list(symbols)
    while True:
        pairs = enumerate(itertools.pairwise(symbols))
        found = [(-scores[a + b], i) for i, (a, b) in pairs if a + b in scores]
        if not found:
            return symbols
        _, i = min(found)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


@given(st.text("lowenstxr", max_size=14), st.dictionaries(st.text("lowenstxr", min_size=2, max_size=4),
                                                          st.integers(-9, 0), max_size=12))  # fmt: skip
def test_merging_is_the_doubles(word, scores):
    assert merges.joined(list(word), set(), scores) == double(word, scores)
    fixed = set(range(0, len(word), 3))
    made = merges.joined(list(word), fixed, scores)
    assert "".join(made) == word
    assert all(len(piece) == 1 or not fixed.intersection(range(at, at + len(piece))) for at, piece in zip(
        [sum(map(len, made[:n])) for n in range(len(made))], made, strict=True))  # fmt: skip


def test_pieces_of_a_text():
    assert OURS.tokenize("lowest newest xxx") == ["▁low", "est", "▁", "ne", "w", "est", "▁", "xx", "x"]
    assert OURS.tokenize("low 中中 low") == ["▁low", "▁", "<unk>", "▁low"]
    assert OURS.encode("low").ids == [*OURS.ids("low"), 2]
    assert OURS.decode(OURS.ids("lowest newest")) == "lowest newest"
    for call in (lambda: OURS.nbest("low", 2), lambda: OURS.log_probability("low")):
        with pytest.raises(InputError, match="no probability"):
            call()


def test_what_is_saved_loads_again(tmp_path):
    OURS.save(tmp_path)
    again = load(tmp_path, "wordpiece")
    assert (again.model.bpe, again.tokens, again.specials) == (True, OURS.tokens, OURS.specials)
    assert again.ids("lowest newest xxx") == OURS.ids("lowest newest xxx")
    assert sentencepiece_model.decoded(sentencepiece_model.encoded(MODEL)) == MODEL
    types = [UNUSED if piece == "est" else kind for piece, kind in zip(MODEL.pieces, MODEL.types, strict=True)]
    with pytest.raises(InputError, match="to be split again"):
        Unigram(replace(MODEL, types=types), OURS.normal, SPECIALS)
    types = [USER_DEFINED if piece == "lo" else kind for piece, kind in zip(MODEL.pieces, MODEL.types, strict=True)]
    kept = Unigram(replace(MODEL, types=types), Released(Charsmap(b""), True, True, ["lo"], prepared=False), SPECIALS)
    assert kept.tokenize("lowest") == ["▁", "lo", "w", "est"]


@pytest.mark.parametrize("options", [
    {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    {"byte_fallback": True},
    {"user_defined_symbols": ["def", "[E]", "x y", "defa"]},
    {"normalization_rule_name": "identity", "add_dummy_prefix": False},
    {"split_by_whitespace": False},
])  # fmt: skip
def test_equal_to_sentencepiece_on_hard_strings(tmp_path, options):
    spm = pytest.importorskip("sentencepiece", reason=NO_SENTENCEPIECE)
    import pydoc_data.topics

    out = io.BytesIO()
    text = lines([*pydoc_data.topics.topics.values()][:20])
    spm.SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=out, vocab_size=700, model_type="bpe",
                                   num_threads=1, minloglevel=2, **options)  # fmt: skip
    (tmp_path / "spiece.model").write_bytes(out.getvalue())
    theirs = spm.SentencePieceProcessor(model_proto=out.getvalue())
    ours = Unigram.load(tmp_path, specials_in_text=False)
    strings = strings_for([*ours.tokens, "x y", "defa"], 2000, seed=4)
    rows = {text: ours.ids(text) for text in strings}
    assert [ascii(text) for text in strings if theirs.encode(text) != rows[text]] == []
    assert [ascii(text) for text in strings[:300]
            if theirs.decode(rows[text]) != ours.decode(rows[text], skip_special_tokens=False)] == []  # fmt: skip
