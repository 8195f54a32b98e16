"""Shards: the bits of one, what several share, files that are damaged, memory, and several processes."""

import dataclasses
import functools
import gc
import itertools
import json
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from draws import some

from minibert import config, corpus, data, families, progress, tokenizers, training
from minibert.errors import InputError
from minibert.options import Pairs
from minibert.processes import mapped
from minibert.tokenizers import encoding
from minibert.tokenizers.wordpiece import WordPiece

ROOT = Path(__file__).resolve().parents[2]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
OPTIONS = Pairs(seq_length=24, duplicates=3)
SEED = 5


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece([*SPECIALS, *WORDS])


def documents(count=40, sentences=8):
    """Each says a word of its own in every sentence."""
    rng = np.random.default_rng(1)
    return [
        [f"{WORDS[d % 40]} {' '.join(rng.choice(WORDS[40:], rng.integers(3, 8)))} {d} {s}" for s in range(sentences)]
        for d in range(count)
    ]


def part(texts):
    """All of the texts as a training part."""
    sizes = corpus.survey(texts).sizes
    return corpus.Part(texts, sizes, np.ones(len(sizes), bool), None, sizes)


def recipe(tokenizer, family="bert", options=OPTIONS, texts=None):
    studied = data.studied(families.family(family), tokenizer, options, texts)
    return data.Recipe(family, tokenizer, options, SEED, studied)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- Shards ----------------------------------------------------------------------------------------------------------
OF_TEXT = [name for name in families.names() if hasattr(families.family(name), "Data")
           and families.family(name).TOKENIZER is not None]  # fmt: skip


@pytest.mark.parametrize(("family", "masking"), some([*itertools.product(OF_TEXT, ["static", "dynamic"])], 30))
def test_one_shard_is_the_family_s_instances_of_all_text(family, masking, tokenizer, tmp_path):
    """On the generator that knows nothing of shards; served in any order, as plain arrays."""
    texts, module = documents(), families.family(family)
    known = {"seq_length": 24, "duplicates": 3, "masking": masking}
    options = module.Data(**{name: value for name, value in known.items() if name in module.Data.__dataclass_fields__})
    if hasattr(module, "SPECIALS") or hasattr(module, "START") or module.TOKENIZER == "fast_bpe":
        special = {"specials": module.SPECIALS} if hasattr(module, "SPECIALS") else {}
        special |= {"extra_ids": options.extra_ids} if hasattr(options, "extra_ids") else {}
        special |= {"added": module.ADDED} if hasattr(module, "ADDED") else {}
        learn = tokenizers.tokenizer(module.TOKENIZER).train
        tokenizer = learn([text for document in texts for text in document], 400, **special)
    made = recipe(tokenizer, family, options, part(texts))
    rows = data.made(made, part(texts), "train", tmp_path)
    spoken = [[f"{module.GLUE if s and hasattr(module, 'GLUE') else ''}{text}" for s, text in enumerate(document)]
              for document in texts]  # fmt: skip
    ids = [[tokenizer.ids(sentence) for sentence in document] for document in spoken]
    rng = training.draws(SEED, "train")
    given = module.mark(tokenizer, options, texts, ids) if hasattr(module, "mark") else None
    expected = module.rows(ids, rng, made.vocabulary, options, given)
    if made.masking == "static" and hasattr(module, "corrupt"):
        expected = module.corrupt(expected, rng, made.vocabulary, options, made.studied)
    order = np.random.default_rng(0).permutation(len(rows))
    served = rows[order]
    assert served.keys() == expected.keys()
    for name, array in expected.items():
        assert type(served[name]) is np.ndarray
        assert served[name].flags.c_contiguous
        assert served[name].dtype == array.dtype
        assert np.array_equal(served[name], array[order]), name
    tokens = np.array([i for document in ids for sentence in document for i in sentence])
    assert np.array_equal(rows.counts(), np.bincount(tokens, minlength=len(tokenizer)))


def test_several_shards_are_of_all_documents_and_partners_of_the_same(tokenizer, tmp_path, monkeypatch):
    """About equally long; each draws on its own, so that equal text in two of them is masked differently."""
    texts = documents(30)
    sizes = part(texts).lengths
    monkeypatch.setattr(data, "SHARD", int(sizes.sum()) // 5)
    rows = data.made(recipe(tokenizer), part(texts), "train", tmp_path)
    numbers = np.array(data._numbers(sizes))
    assert numbers.max() == len(rows.places) - 1 >= 5
    lengths = np.bincount(numbers, sizes)
    assert (np.diff(numbers) >= 0).all()
    assert abs(lengths - lengths.mean()).max() <= sizes.max()
    own = {tokenizer.id(WORDS[d]): int(number) for d, number in enumerate(numbers)}
    plain = recipe(tokenizer, options=dataclasses.replace(OPTIONS, masking="dynamic"))
    rows = data.made(plain, part(texts), "train", tmp_path / "unmasked")
    all_rows, seen, ends = rows[np.arange(len(rows))], set(), [0, *rows._ends.tolist()]
    for shard, (begin, end) in enumerate(itertools.pairwise(ends)):
        found = set(all_rows["input_ids"][begin:end].flat) & own.keys()
        assert {own[i] for i in found} == {shard}
        seen |= found
    assert seen == own.keys()
    twice = [*texts[:4], *texts[:4]]
    monkeypatch.setattr(data, "SHARD", int(sizes[:4].sum()))
    rows = data.made(recipe(tokenizer), part(twice), "train", tmp_path / "twice")
    first, second = (np.load(place / data.ROWS) for place in rows.places)
    assert len(first) != len(second) or not np.array_equal(first, second)


def test_one_document_larger_than_a_shard(tokenizer, tmp_path, monkeypatch):
    """It is one shard; none is empty."""
    monkeypatch.setattr(data, "SHARD", 300)
    texts = [documents(1, 3)[0], documents(1, 400)[0], *documents(3, 3)]
    rows = data.made(recipe(tokenizer), part(texts), "train", tmp_path)
    assert len(rows.places) == len(set(data._numbers(part(texts).lengths))) < 6
    assert all(len(np.load(place / data.ROWS)) for place in rows.places)


# ---- Files -----------------------------------------------------------------------------------------------------------
def test_what_is_missing_or_damaged_is_made_again(tokenizer, tmp_path, monkeypatch):
    """A shard deleted, cut, with a byte flipped, without digests, half written: that alone, and the same."""
    texts = part(documents())
    monkeypatch.setattr(data, "SHARD", int(texts.lengths.sum()) // 7)
    given = recipe(tokenizer)
    data.made(given, texts, "train", tmp_path)
    whole = files(tmp_path)
    asked, instances = [], data.Recipe.instances
    monkeypatch.setattr(data.Recipe, "instances", lambda *a: asked.append(a[3]) or instances(*a))
    data.made(given, texts, "train", tmp_path)
    assert asked == []
    place = [tmp_path / f"train-{number:05d}" for number in range(7)]
    (place[1] / data.ROWS).unlink()
    (place[2] / data.ROWS).write_bytes((place[2] / data.ROWS).read_bytes()[:-5])
    flipped = bytearray((place[4] / data.COUNTS).read_bytes())
    flipped[-8] ^= 1
    (place[4] / data.COUNTS).write_bytes(flipped)
    (place[5] / data.DIGESTS).write_text("{", encoding="utf-8")
    for path in place[6].iterdir():
        path.unlink()
    place[6].rename(tmp_path / f".train-00006.{2**22 + 7}-0.new")  # what a killed process leaves
    data.made(given, texts, "train", tmp_path)
    assert asked == [1, 2, 4, 5, 6]
    assert files(tmp_path) == whole


def test_memory_does_not_grow_with_the_text(tokenizer, tmp_path, monkeypatch):
    """Splitting, learning and making rows of four times as much text: the same peak."""
    peaks = []
    for count in (150, 600):
        path = tmp_path / f"{count}.txt"
        path.write_text("\n\n".join("\n".join(d) for d in documents(count)) + "\n", encoding="utf-8", newline="\n")
        monkeypatch.setattr(corpus, "LINES", 50)
        monkeypatch.setattr(data, "SHARD", 5_000)
        tracemalloc.start()
        texts, apart = corpus.split(corpus.Files([path], "sentences"), 0.1)
        given = recipe(tokenizer, "spanbert", texts=texts)
        made = [data.made(given, text, name, tmp_path / str(count))
                for name, text in (("train", texts), ("held_out", apart))]  # fmt: skip
        made[0][np.arange(16)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(made[0].places) > 15
    assert peaks[1] < 1.2 * peaks[0]


def test_long_making_says_where_it_stands(tokenizer, tmp_path, monkeypatch, capsys):
    """Off a terminal now and then how many of several shards are done; of one nothing."""
    texts = part(documents())
    for size, every, said in ((10**6, 0.0, []), (6_000, 1e9, ["2/2"]), (6_000, 0.0, ["0/2", "1/2", "2/2"])):
        monkeypatch.setattr(data, "SHARD", size)
        monkeypatch.setattr(progress, "PRINTED", every)
        data.made(recipe(tokenizer), texts, "held_out", tmp_path / f"{size} {every}")
        lines = capsys.readouterr().err.splitlines()
        assert [line.partition("  ")[0] for line in lines] == [f"held-out text: shard {count}" for count in said]


# ---- Processes -------------------------------------------------------------------------------------------------------
def test_processes_change_no_bit(tokenizer, tmp_path, monkeypatch):
    """The shards of a family that learns from all of them, by one process and by two."""
    texts = part(documents())
    monkeypatch.setattr(data, "SHARD", int(texts.lengths.sum()) // 5)
    options, module = families.family("spanbert").Data(seq_length=24, duplicates=3), families.family("spanbert")
    for n in (1, 2):
        given = data.Recipe("spanbert", tokenizer, options, SEED, data.studied(module, tokenizer, options, texts, n))
        data.made(given, texts, "train", tmp_path / str(n), n)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert len(files(tmp_path / "1")) == 3 * 6


def test_results_come_in_order_and_items_are_not_taken_early():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield -i

    for n in (1, 2, 3):
        taken.clear()
        for i, found in enumerate(mapped(abs, items(), n)):
            assert found == i
            assert len(taken) <= i + 1 + (n > 1) * n
        assert i == 19


def test_errors_of_processes_are_raised_here_and_end_them():
    before = multiprocessing.active_children()
    with pytest.raises(InputError, match=r"^a line$"):
        list(mapped(functools.partial(config.require, False), ["a line"] * 9, 2))
    with pytest.raises(ZeroDivisionError):
        list(mapped(functools.partial(operator.floordiv, 12), [1, 2, 3, 0, 4, 5], 2))
    with pytest.raises(InputError, match="a process has died"):
        list(mapped(os._exit, [3] * 9, 2))
    stream = mapped(abs, itertools.count(), 2)
    assert [next(stream) for _ in range(5)] == list(range(5))
    stream.close()
    assert multiprocessing.active_children() == before


@pytest.mark.skipif(os.name == "nt", reason="signals are sent to one process")
@pytest.mark.parametrize("number", ["SIGINT", "SIGKILL"])
def test_stopped_while_several_processes_make_data(number, tmp_path):
    """Ctrl-C: exit code 130 and one line; either way nobody is left, or their end of the pipe would stay open."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(d) for d in documents(900)) + "\n", encoding="utf-8", newline="\n")
    program = "import sys; from minibert import cli, data; data.SHARD = 500; sys.exit(cli.main(sys.argv[1:]))"
    args = ["pretrain", "bert", "--corpus", text, "--out", tmp_path / "run", "--processes", 2, "--vocab-size", 300]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells make background jobs deaf to it
    process = subprocess.Popen([sys.executable, "-c", program, *map(str, args)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard)  # fmt: skip
    place = tmp_path / "run" / "data"
    while process.poll() is None and len(list(place.glob("train-*"))) < 4:  # which of them come first is up to chance
        time.sleep(0.01)
    process.send_signal(getattr(signal, number))
    _, error = process.communicate(timeout=600)
    if number == "SIGINT":
        assert process.returncode == 130
        assert "Traceback" not in error
        assert "--resume" in error.splitlines()[-1]
    made = list(place.glob("train-*"))
    assert 4 <= len(made) < 300
    assert all(data._intact(shard) for shard in made)
    assert "instances_sha256" not in json.loads((tmp_path / "run" / "run.json").read_bytes())


@pytest.mark.parametrize(("kind", "length"), [("wordpiece", None), ("byte_level", 9), ("unigram", 9)])
def test_batches_encoded_by_several_processes(kind, length, monkeypatch):
    """Texts and pairs, cut and padded, as by one process."""
    monkeypatch.setattr(encoding, "PART", 7)
    sentences = [sentence for document in documents(5) for sentence in document]
    known = tokenizers.tokenizer(kind).train(sentences, 300)
    texts = [*sentences, *zip(sentences, sentences[3:], strict=False), "", "Größe 𝄞 "]
    assert known.encode_batch(texts, max_length=length, processes=2) == known.encode_batch(texts, max_length=length)
    assert gc.isenabled()
    with pytest.raises(InputError, match="max_length 1 has no room"):
        known.encode_batch(texts, max_length=1, processes=2)
    assert gc.isenabled()
