"""Hostile inputs: a short run over every reader, and faults planted in readers, which it has to see."""

import json
import multiprocessing
import os
import re
import sys
import time
import warnings

import numpy as np
import pytest

if os.name == "nt":
    pytest.skip("needs FIFOs, limits and signals as POSIX has them", allow_module_level=True)

import fuzz
from hostile import mutation, workers
from hostile.readers import READERS, Reader

from minibert import InputError

SEED, INPUTS = 1, int(os.environ.get("MINIBERT_FUZZ", "200"))
SHORT = {"SECONDS": 0.5, "KILLED": 2, "BYTES": mutation.GIB // 4}  # limits that planted readers reach sooner
if multiprocessing.parent_process():  # a worker, which reads nothing but them
    vars(workers).update(SHORT)


def planted(read, valid=lambda: [{"x.txt": b"a\n"}]):
    return Reader(valid, lambda root, arguments: read(root))


class Unreadable(InputError):
    def __str__(self):
        return "a\x1bb"


def raises(error):
    def read(root):
        raise error

    return read


def computes(seconds):
    def read(root):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return read


def holds(root):
    pages = np.zeros(300_000_000, np.uint8)
    pages[::4096] = 1


def prints(text, code, stream="stdout"):
    def read(root):
        getattr(sys, stream).write(text)
        return code

    return read


def renews(root):
    before = os.stat(root)
    (root / "temporary").write_bytes(b"")
    (root / "temporary").unlink()
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


LINK = mutation.Special("link", mutation.ELSEWHERE)
PLANTED = {
    "TypeError": planted(raises(TypeError("no number"))),
    "KeyboardInterrupt": planted(raises(KeyboardInterrupt())),
    "1 s": planted(computes(1)),
    "for ever": planted(computes(1000)),
    "300 MB": planted(holds),
    "address space": planted(lambda root: np.empty(1 << 40, np.uint8)),
    "new file": planted(lambda root: (root / "left.txt").write_bytes(b"") and None),
    "changed file": planted(lambda root: [path.write_bytes(b"else") for path in root.iterdir()] and None),
    "file and gone again": planted(renews),
    "behind a link": planted(lambda root: (root / "l" / "00000001").rmdir(), lambda: [{"l": LINK}]),
    "working directory": planted(lambda root: open("left.txt", "w").close()),
    "escape": planted(prints("\x1b[31mred\n", 0)),
    "right to left": planted(prints("\u202eabc\n", 0)),
    "two lines": planted(prints("minibert: error: one\ntwo\n", 2, "stderr")),
    "no line": planted(prints("", 2, "stderr")),
    "long line": planted(prints("x" * 501, 2, "stderr")),
    "memory": planted(prints("minibert: error: not enough memory: x\n", 2, "stderr")),
    "exit code": planted(prints("", 3)),
    "a call that prints": planted(prints("done\n", None)),
    "error line": planted(raises(Unreadable())),
    "warning": planted(lambda root: warnings.warn("overflow", RuntimeWarning, stacklevel=1)),
    "past the streams": planted(lambda root: os.write(2, b"x") and None),
    "dies": planted(lambda root: os.abort()),
    "sleeps": planted(lambda root: open(root / "fifo").close(), lambda: [{"fifo": mutation.Special("fifo")}]),
    "right": planted(lambda root: None),
    "right command": planted(prints("a table\n", 1)),
    "refuses": planted(raises(InputError("x.txt: what is wrong"))),
    "refuses as a command": planted(prints("minibert: error: what is wrong\n", 2, "stderr")),
}  # fmt: skip
SEEN = {
    "TypeError": "TypeError: no number at ", "KeyboardInterrupt": "KeyboardInterrupt",
    "1 s": "over 0.5 s of processor time",
    "for ever": "over 2 s of processor time", "300 MB": "over 0.25 GB of memory", "address space": "MemoryError",
    "new file": "left.txt", "changed file": "x.txt", "file and gone again": "changed the folder that it read",
    "behind a link": "changed another folder", "working directory": "left.txt", "escape": "U+001B",
    "right to left": "U+202E",
    "two lines": "several lines", "no line": "no lines", "long line": "more than 500 characters",
    "memory": "not enough memory",
    "exit code": "exit code 3", "a call that prints": "a call printed", "error line": "U+001B",
    "warning": "RuntimeWarning: overflow",
    "past the streams": "wrote past", "dies": "SIGABRT", "sleeps": "waits for ever",
}  # fmt: skip


@pytest.fixture(scope="module")
def judged():
    """What becomes of an input of each planted reader."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SHORT, "ASLEEP": 2}.items():
            patch.setattr(workers, name, value)
        patch.setattr(mutation, "hostile", lambda tree, donors, rng: tree)
        inputs = [workers.Input(name, reader.valid()[0], []) for name, reader in PLANTED.items()]
        return {given.reader: found for given, found in workers.verdicts("test_fuzz:PLANTED", iter(inputs), 0, 1)}


@pytest.mark.parametrize("name", SEEN)
def test_a_planted_fault_is_seen(judged, name):
    assert judged[name].outcome == "fell"
    assert any(SEEN[name] in fault for fault in judged[name].faults), judged[name]


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("right", "accepted"), ("right command", "accepted"), ("refuses", "refused"), ("refuses as a command", "refused")],
)
def test_what_is_right_does_not_fall(judged, name, outcome):
    assert judged[name].outcome == outcome, judged[name]
    assert judged[name].faults == ()


def test_a_fallen_input_is_saved_and_falls_again(tmp_path, capsys):
    table = fuzz.run("test_fuzz:PLANTED", ["TypeError", "right"], 20, SEED, tmp_path / "falls", 1)
    assert (table.fell, table.outcomes["right"]["accepted"]) == (10, 10)
    saved = sorted((tmp_path / "falls").iterdir())
    assert len(saved) == fuzz.SAVED
    shown = re.search(r"TypeError: no number at (\S+):\d+", capsys.readouterr().out)[1]
    assert __file__.endswith(shown)  # the whole path, or what begins with the package, wherever the clone lies
    assert shown.endswith("test_fuzz.py")
    assert fuzz.again(saved[0], "test_fuzz:PLANTED").faults == tuple(json.loads(saved[0].read_text())["faults"])


def test_an_input_is_a_function_of_its_number():
    for name in ("model", "candidate", "unigram", "stdin", "api"):
        inputs = [workers.drawn(name, READERS[name], number, SEED) for number in range(20)]
        assert inputs == [workers.drawn(name, READERS[name], number, SEED) for number in range(20)]
        assert len({repr(given) for given in inputs}) > 10


def test_a_tree_travels_as_json():
    tree = {"a\udcff": b"\0\xff", "b": mutation.Special("link", "c"), "d": mutation.Special("sparse", size=2**33)}
    assert mutation.from_json(json.loads(json.dumps(mutation.as_json(tree)))) == tree


def test_valid_inputs_are_accepted():
    """What the faults are put into has none of its own: else nothing would be read to its end."""
    inputs = [workers.Input(name, tree, arguments) for name, held in VALID.items()
              for tree in READERS[name].valid() for arguments in held]  # fmt: skip
    for given, verdict in workers.verdicts(fuzz.SOURCE, iter(inputs), SEED, 1):
        assert verdict.outcome == "accepted", (given.reader, given.arguments, sorted(given.tree), verdict)


_TEXT = "the cat sat on the mat."
VALID = {  # of the others the arguments are hostile, or the inputs end early
    **{name: [["load", _TEXT], ["info", ""], ["memory", ""]]
       for name in ("model", "electra", "shards", "pending", "cache")},
    "vectors": [["command", _TEXT], ["call", _TEXT]],
    **{name: [["encode", _TEXT], ["corrupt", _TEXT]] for name in ("wordpiece", "byte_level", "unigram")},
    "running": [["encode", _TEXT], ["pretrain", _TEXT]],
    **{name: [[]] for name in ("safetensors", "tokens", "run", "growing")},
    "added": [["predict", _TEXT], ["info", ""], ["embed", _TEXT], ["quantize", ""]],
    "quantized": [["read", ""], ["embed", _TEXT], ["info", ""]],
    "low_rank": [[]],
    "golden": [["read"]],
    "candidate": [["read", True], ["check", True]],
    "names": [["check"], ["read"]],
    "corpus": [["survey"], ["pretrain"], ["embed"], ["corrupt"]],
    "rows": [[True], [False]],
    "words": [["similar"], ["segmenter"], ["--segmenter"], ["--similar"]],
}


def test_no_reader_falls(tmp_path, capsys):
    table = fuzz.run(fuzz.SOURCE, list(READERS), INPUTS, SEED, tmp_path / "falls", 1, progress=False)
    assert table.fell == 0, capsys.readouterr().out + "\n".join(table.lines())
    assert table.outcomes.keys() == READERS.keys()
    assert sum(counts.total() for counts in table.outcomes.values()) == INPUTS
