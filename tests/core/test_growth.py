"""Work grows with what is asked for, n log n at most: counted in lines run, calls or comparisons, never in time.

Each test fails with the quadratic version that it is about in place (all were tried): merging that goes over the whole
word, all lengths joined at each place, \\X in a row of flags, an archive opened for each member, near names looked for
before they are needed, `index` in a list of keys, all prefixes of a word, one pass over all tensors for each shard.
"""

import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minibert
from minibert.checkpoint import safetensors
from minibert.corruption import replacement, rules, segmentation, units
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.golden import candidate
from minibert.golden import case as cases
from minibert.mistakes import evidence
from minibert.tokenizers import merges, normalization, prefixes
from minibert.tokenizers.added import Added
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.sentencepiece_model import NORMAL, UNKNOWN, Model
from minibert.tokenizers.unigram import SPECIALS, Unigram
from minibert.tokenizers.wordpiece import WordPiece

SOURCE = str(Path(minibert.__file__).parent)
N = 300
LOG_LINEAR = 8  # times the work of 4 n over that of n: n log n gives 5 (8 where it takes a second pass), n^2 gives 16


def lines(run: Callable[[], object]) -> int:
    """How many lines of minibert run."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


class Counted(str):
    """A string that counts how often it is compared with another."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


class Hashed(int):
    """A number that counts how often it is hashed."""

    hashed = 0

    def __hash__(self):
        Hashed.hashed += 1
        return int.__hash__(self)


def letters(n: int, alphabet: str = "abcdefgh") -> str:
    return "".join(random.Random(n).choices(alphabet, k=n))


# ---- Tokenizers ------------------------------------------------------------------------------------------------------
TEXTS = {
    "prose": lambda n: " ".join(letters(5) for _ in range(n // 6)),
    "one word": letters,
    "one letter": lambda n: "a" * n,
    "CJK": lambda n: "".join(chr(0x4E00 + i % 97) for i in range(n)),
    "emoji": lambda n: "\U0001f468\u200d" * (n // 2),
    "flags": lambda n: "\U0001f1e9" * n,
    "marks": lambda n: "a" + "\u0301\u302e\u0316" * (n // 3),
    "digits": lambda n: "9," * (n // 2),
    "signs": lambda n: "!?`'" * (n // 4),
    "blanks": lambda n: " \t" * (n // 2) + "x",
    "specials": lambda n: "[SEP]</s> a  <mask>[MASK]" * (n // 25),
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    texts = [f"{letters(9)} {letters(4)} {letters(n)}, 9, 19,! {chr(0x4E00 + n)}" for n in range(2, 60)]
    unigram = Unigram.train(texts, 160)
    place = tmp_path_factory.mktemp("released")
    unigram.save(place)
    released = Unigram.load(place / "spiece.model")
    return {
        "wordpiece": WordPiece.train(texts, 160),
        "byte_level": ByteLevelBPE.train(texts, 300),
        "fast unigram": unigram,
        "released unigram": released,
    }


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["wordpiece", "byte_level", "fast unigram", "released unigram"])
def test_encoding_grows_with_the_text(tokenizers, name, text):
    tokenizer = tokenizers[name]
    for what in (tokenizer.ids, tokenizer.spans, lambda given: tokenizer.decode(tokenizer.ids(given))):
        small, large = (lines(lambda n=n, what=what: what(TEXTS[text](n))) for n in (N, 4 * N))
        assert large < LOG_LINEAR * max(small, 50)


def test_flags_in_a_row_do_not_look_back():
    row = "\U0001f1e9" * 5
    assert [len(flag) for flag in normalization._CLUSTER.findall(row)] == [2, 2, 1]
    assert normalization._CLUSTER.match(row, 1).end() == 3  # \X would count from the first


def test_a_word_is_covered_once(tokenizers, monkeypatch):
    tokenizer, found = tokenizers["fast unigram"], []
    best = tokenizer._best
    monkeypatch.setattr(tokenizer, "_best", lambda word, *kind: (found.append(word), best(word, *kind))[1])
    tokenizer.encode("unseen words " * N)
    assert sorted(found) == ["\u2581unseen", "\u2581words"]


def test_learning_merges_grows_with_the_text_not_with_text_times_pieces():
    def learning(n: int) -> int:
        word = [ord(char) - ord("a") for char in letters(n)]
        return lines(lambda: merges.learned([word], [1], list("abcdefgh"), n, str.__add__, 1))

    assert learning(4 * N) < LOG_LINEAR * learning(N)


@pytest.mark.parametrize("train", [WordPiece.train, ByteLevelBPE.train, Unigram.train])
def test_training_grows_with_the_number_of_words(train):
    small, large = (lines(lambda n=n: train([letters(8 * n, "abc d")], 300)) for n in (N, 4 * N))
    assert large < LOG_LINEAR * small


def test_a_rule_of_normalisation_is_short():
    assert normalization.Charsmap(normalization.compiled({"a": "x" * 63})).rules == {"a": "x" * 63}
    with pytest.raises(InputError, match="64 bytes or more"):  # thousands of rules may share one text
        normalization.Charsmap(normalization.compiled({"a": "x" * 64}))


class Piece(str):
    """A text that counts the characters that are compared with its beginning."""

    read = 0

    def startswith(self, prefix, at=0):
        Piece.read += 1
        return str.startswith(self, prefix, at)


LONGEST = 250


@pytest.mark.parametrize("strings", [
    [*("a" * n for n in range(1, LONGEST))],  # all stand there
    ["a", *("a" * n + "b" for n in range(1, LONGEST))],  # one does, many are like it
    ["a", *("a" * n + "b" for n in range(1, LONGEST)), *("ab" + "a" * n for n in range(LONGEST))],
], ids=["nested", "beginnings", "both"])  # fmt: skip
@pytest.mark.parametrize("text", ["a" * 600, "ab" * 300, ("a" * 40 + "c") * 15], ids=["a", "ab", "a40c"])
def test_the_longest_string_is_found_in_a_few_steps(strings, text):
    known, text = prefixes.Prefixes(strings), Piece(text)
    Piece.read = 0
    for at in range(len(text)):
        known.longest(text, at)
    assert Piece.read <= 4 * len(text) * np.log2(len(strings))  # the pieces one by one: 100 for each character


@pytest.mark.parametrize("mark", ["", "##"])
def test_a_long_word_is_covered_in_linear_time(mark):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a"]
    pieces += [f"{mark}{'a' * n}b" for n in range(1, LONGEST)]

    def covering(n: int) -> int:
        made = WordPiece(pieces, max_word_chars=10**9)
        return lines(lambda: made.ids("a" * n))

    assert covering(4 * N) < LOG_LINEAR * covering(N)
    assert covering(4 * N) < 30 * 4 * N  # lines for each character; piece by piece there were 250


def test_many_added_tokens_cost_no_more_than_a_few():
    def reading(count: int) -> int:
        added = {f"<{'a' * (n % 200)}{n}>": Added() for n in range(count)}
        made = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], added=added)
        return lines(lambda: made.ids(f"<{'a' * 150}" * N))

    assert reading(8000) < 2 * reading(80)


def test_a_list_of_words_is_read_once_for_each_place():
    def finding(count: int) -> int:
        found = segmentation.listed("\u4e00" * n for n in range(2, count))
        return lines(lambda: found("\u4e00" * 4 * N))

    assert finding(4 * N) < LOG_LINEAR * finding(N)


@pytest.mark.parametrize("make", [
    lambda pieces: WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]),
    lambda pieces: Unigram(
        Model(["<unk>", *pieces], [0.0] * (1 + len(pieces)), [UNKNOWN, *[NORMAL] * len(pieces)]),
        normalization.Fast(normalization.Charsmap(b"")),
        added=dict.fromkeys(SPECIALS.values(), Added()),
    ),
    lambda pieces: prefixes.Finder(pieces),
], ids=["wordpiece", "unigram", "finder"])  # fmt: skip
def test_making_a_tokenizer_grows_with_the_pieces_not_with_their_characters(make):
    def making(count: int, size: int) -> int:
        pieces = [f"{n:05}".ljust(size, "x") for n in range(count)]
        return lines(lambda: make(pieces))

    assert making(4 * N, 20) < LOG_LINEAR * making(N, 20)
    assert making(N, 200) < 2 * making(N, 20)  # a node for each character: ten times as many


# ---- Corruption ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", rules.RULES)
def test_rules_grow_with_the_length_and_not_line_by_row(name):
    def drawing(rows: int, length: int, size: int = 50) -> int:
        rng = np.random.default_rng(0)
        vocabulary = Vocabulary(size, 1, 2, 3, continues=rng.random(size) < 0.4)
        ids = rng.integers(4, size, (rows, length))
        rule = rules.RULES[name]
        return lines(lambda: rule(ids, np.ones(ids.shape, int), rng, vocabulary, rate=0.6, cap=None))

    base = drawing(3, N)
    assert drawing(3, 4 * N) < LOG_LINEAR * base
    assert drawing(12, N) < 2 * base
    assert drawing(3, N, 200) < 2 * base


def test_segmentation_grows_with_the_text():
    def aligning(n: int) -> int:
        pieces = [chr(0x4E00 + i) for i in range(n)]
        words = ["".join(pieces[n // 2 :]), "".join(pieces[1:9])]
        return lines(lambda: units.segmentation(pieces, words))

    assert aligning(4 * N) < LOG_LINEAR * aligning(N)


def test_a_thesaurus_grows_with_the_length_of_a_word():
    def hashes(n: int) -> int:
        word = tuple(map(Hashed, range(n)))
        Hashed.hashed = 0
        replacement.thesaurus({word: [word[::-1]]}, Vocabulary(n, 1, 2, 3))
        return Hashed.hashed

    assert hashes(4 * N) < LOG_LINEAR * hashes(N)


# ---- Candidates and checkpoints --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def case():
    return cases.read("bert/published")


def test_an_archive_is_opened_once(tmp_path, monkeypatch):
    np.savez(tmp_path / "many.npz", **{f"x{i}": np.arange(3.0) + i for i in range(40)})
    opened = []

    class Archive(zipfile.ZipFile):
        def __init__(self, *args, **options):
            opened.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(zipfile, "ZipFile", Archive)
    stored = candidate.read(tmp_path / "many.npz")
    for i in range(40):
        np.testing.assert_array_equal(stored[f"x{i}"].load(), np.arange(3.0) + i)
    assert len(opened) == 1


def test_a_right_name_map_looks_for_no_near_names(case, tmp_path, monkeypatch):
    monkeypatch.setattr(candidate, "nearest", lambda *names: pytest.fail("nothing was unknown"))
    path = tmp_path / "names.json"
    path.write_text(json.dumps({f"mine{i}": key for i, key in enumerate(case.entries)}), encoding="utf-8")
    assert len(candidate.read_names(path, case)) == len(case.entries)


def test_suggestions_ask_shapes_not_tensors(case, tmp_path, monkeypatch):
    """Once for all tensors that may lie alike, and no numbers are compared where no shape fits."""
    calls, own, alike = [], candidate._own, candidate.Axes(case).alike
    monkeypatch.setattr(candidate, "_own", lambda *args: (calls.append(1), own(*args))[1])
    monkeypatch.setattr(candidate, "_apart", lambda *args: pytest.fail("no shape fitted"))
    safetensors.write(tmp_path / "extra.safetensors", {f"x{i}": np.ones((2, 5, 7)) for i in range(N)})
    assert candidate.suggest(candidate.read(tmp_path / "extra.safetensors"), case) == []
    assert len(calls) <= N * len({alike(key) for key in case.entries}) < N * len(case.entries) / 8


def test_suggestions_compare_names_of_near_tensors_only(case, tmp_path, monkeypatch):
    key = next(key for key, entry in case.entries.items() if len(entry.shape) == 2 and key.startswith("gradients/"))
    far = {f"x{i}": np.full(case.entries[key].shape, 1e6) for i in range(5)}
    safetensors.write(tmp_path / "far.safetensors", far)
    monkeypatch.setattr(candidate.difflib, "SequenceMatcher", lambda *args: pytest.fail("nothing was near"))
    assert candidate.suggest(candidate.read(tmp_path / "far.safetensors"), case) == []


def test_evidence_compares_no_key_with_all_others(monkeypatch):
    keys = [Counted(f"steps/{1 + i % 3}/weight{i}") for i in range(N)]
    monkeypatch.setattr(evidence.cases, "scaled_with", lambda key: Counted(key))
    entry = SimpleNamespace(dtype="float32", noise={"float32": 1e-7}, shape=(2,), scale=1.0)
    case = SimpleNamespace(tensor=None, entries=dict.fromkeys(keys, entry), unmoved={})
    Counted.compared = 0
    steps = evidence.Evidence(case, dict.fromkeys(keys, np.ones(2)), "float32", keys)
    part = steps.only([i for i, key in enumerate(keys) if key[6] != "2"])
    assert Counted.compared < 4 * N
    assert part.keys == [key for key in keys if key[6] != "2"]
    assert len(part.values) == 2 * len(part.keys) == 2 * len(part.floors)


def test_shards_are_listed_in_one_pass(monkeypatch):
    places = {f"t{i}": Counted(f"{i}.safetensors") for i in range(N)}
    held = safetensors.Stored("F64", (1,), lambda: np.zeros(1))
    monkeypatch.setattr(safetensors, "placed", lambda index: places)
    monkeypatch.setattr(safetensors, "stored", lambda path: {f"t{path.stem}": held})
    Counted.compared = 0
    assert safetensors.read_shards("index.json").keys() == places.keys()
    assert Counted.compared < 4 * N
