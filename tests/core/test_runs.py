"""Runs that are killed, asked for twice, short of room, or hostile: the same bits, or one line and exit code 2.

The kills are few in the ordinary run; the long form is

    MINIBERT_KILLS=50 python -m pytest tests/core/test_runs.py -k killed
"""

import errno
import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from draws import EVERY, some

from minibert import cli, corpus, data, kernels, pretraining, processes, training
from minibert.checkpoint import lock, safetensors
from minibert.errors import LONGEST, InputError, WriteError
from minibert.families import bert
from minibert.pretraining import pretrain

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("MINIBERT_KILLS", "3" if EVERY else "1"))
OPTIONS = {"steps": 20, "batch_size": 4, "seq_length": 16, "vocab_size": 120, "duplicates": 2, "held_out": 0.2,
           "learning_rate": 0.01, "checkpoint_every": 4}  # fmt: skip
FIELDS = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
          "hidden_dropout_prob": 0.1}  # fmt: skip
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals, links and limits of this kind are POSIX's")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Twenty documents of eight sentences, each document about a few words of its own."""
    draw = random.Random(4)
    words = ["".join(draw.choices("abdegiklmnorstu", k=draw.randint(2, 6))) for _ in range(90)]
    documents = []
    for _ in range(20):
        own = draw.sample(words, 12)
        lines = (" ".join(draw.choices(own, k=draw.randint(3, 9))).capitalize() + "." for _ in range(8))
        documents.append("\n".join(lines))
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The run that nobody disturbed."""
    return pretrain("bert", [text], tmp_path_factory.mktemp("runs") / "whole", fields=FIELDS, **OPTIONS)


@pytest.fixture(scope="module")
def halves(text, tmp_path_factory):
    """A run stopped after step 10, with its data and checkpoints 8 and 10: by Ctrl-C, as a signal would."""
    out = tmp_path_factory.mktemp("runs") / "half"
    stop(text, out)
    return out


@pytest.fixture
def half(halves, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(halves, tmp_path / "half"))


def stop(text, out):
    """Starts a run that Ctrl-C ends after step 10."""
    batches, patch = pretraining._batches, pytest.MonkeyPatch()

    def stopping(model, rows, plan, step, dropout, **since):
        if step == 9:
            signal.raise_signal(signal.SIGINT)
        return batches(model, rows, plan, step, dropout, **since)

    patch.setattr(pretraining, "_batches", stopping)
    with patch.context(), pytest.raises(KeyboardInterrupt, match="after step 10 of 20"):
        pretrain("bert", [text], out, fields=FIELDS, **OPTIONS)
    patch.undo()


def outcome(directory):
    """What must not depend on what happened on the way: weights, vocabulary, figures, and the log but for its clock."""
    log = [{k: v for k, v in entry.items() if k not in ("seconds", "tokens_per_second")}
           for entry in training.read_log(directory / "log.jsonl")]  # fmt: skip
    return [(directory / name).read_bytes() for name in ("model.safetensors", "vocab.txt", "report.json")], log


def refused(capsys, *args):
    """The one line that `pretrain` says with exit code 2."""
    capsys.readouterr()
    assert cli.main(["pretrain", *map(str, args)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1, error
    assert error[0].isprintable()
    assert len(error[0]) < LONGEST + 50
    return error[0]


def resumed(capsys, out):
    """The line that resuming a run says with exit code 2."""
    return refused(capsys, "bert", "--out", out, "--resume")


def test_a_record_of_an_older_version_is_resumed(half, capsys):
    """It had every family's options, "" where they were none of its own."""
    path = half / "run.json"
    run = json.loads(path.read_bytes())
    run["options"] |= dict.fromkeys(("format", "units", "segmenter", "similar", "entities"), "")
    path.write_text(json.dumps(run), encoding="utf-8")
    pretrain("bert", out=half, resume=True)
    assert (half / "report.json").exists()


# ---- As processes ----------------------------------------------------------------------------------------------------
PROGRAM = """
import os, signal, sys, time
from minibert import cli, pretraining
die, wait, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def dying(event, args):
    global die
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fsync") and out in str(args[0]):
        die -= 1
        if die == 0:
            os.kill(os.getpid(), signal.SIGKILL)
fsync = os.fsync
def synced(descriptor):
    sys.audit("fsync", out)
    fsync(descriptor)
if die:
    os.fsync = synced
    sys.addaudithook(dying)
begin = pretraining._trained
def waiting(*args):
    open(wait + ".begun", "x").close()
    while not os.path.exists(wait):
        time.sleep(0.01)
    begin(*args)
if wait:
    pretraining._trained = waiting
sys.exit(cli.main(sys.argv[4:]))
"""


def started(text, out, die=0, wait="", **popen):
    """The run, or what continues it, as a process. die: by kill -9 before its n-th operation on a file; wait: for this
    file, once it has the directory for itself."""
    args = ["pretrain", "bert", "--out", out, "--checkpoint-every", "4"]
    if (out / "run.json").exists():
        args.append("--resume")
    else:
        flags = ((f"--{name.replace('_', '-')}", value) for name, value in OPTIONS.items())
        args += ["--corpus", text, *itertools.chain.from_iterable(flags)]
        args += ["--set", *(f"{name}={value}" for name, value in FIELDS.items())]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    popen = {"stdout": subprocess.DEVNULL, **popen}
    command = [sys.executable, "-c", PROGRAM, *map(str, [die, wait, out, *args])]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, **popen)


def ended(process):
    """(exit code, the lines of standard error but for the progress) of a process that ends by itself."""
    _, error = process.communicate(timeout=120)
    return process.returncode, [line for line in error.splitlines() if not line.startswith("step ")]


@POSIX
def test_killed_at_any_moment_and_asked_for_twice(whole, text, tmp_path):
    """Kill -9, half of them at a random time, half before one of the run's 470 operations on files; then two at once:
    one goes on, one is told.

    In the end the bits, the log and the figures are those of the run that nobody disturbed.
    """
    draw, out, kills, told = random.Random(KILLS), tmp_path / "0", 0, 0
    begin = time.perf_counter()
    assert ended(started(text, tmp_path / "timed"))[0] == 0
    long = time.perf_counter() - begin
    for attempt in itertools.count(1):
        if (out / "run.json").exists() and draw.random() < 0.5:
            told += 1
            two_at_once(text, out, tmp_path / f"go{attempt}", die=draw.randint(1, 300))
        more = kills < KILLS or not told
        process = started(text, out, die=draw.randint(1, 300) if more and draw.random() < 0.5 else 0)
        try:
            process.communicate(timeout=draw.uniform(0.2, 1) * long if more else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.returncode == 0
        assert outcome(out) == outcome(whole)
        if not more:
            break
        out = tmp_path / str(attempt)
    print(f"{kills} kills, {told} times two at once, {attempt} starts")


def two_at_once(text, out, go, die):
    """Two resume at once: the second is told in one line, the first goes on, and is killed."""
    first = started(text, out, die=die, wait=go)
    while not Path(f"{go}.begun").exists():
        assert first.poll() is None, first.communicate()
    code, lines = ended(started(text, out))
    assert code == 2
    assert len(lines) == 1
    assert "another process is at work" in lines[0]
    go.touch()
    code, lines = ended(first)
    assert code in (0, -signal.SIGKILL), lines


@POSIX
@pytest.mark.parametrize("size", some([500, 4_000, 10_000], 2))  # of the record, the data, the model
def test_a_full_disk(size, whole, text, tmp_path):
    """The system takes no more bytes of a file: one line that says how to go on, and it does, to the same bits."""
    import resource

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    out, stages = tmp_path / "run", set()
    code, lines = ended(started(text, out, preexec_fn=limited))
    assert code == 2
    assert len(lines) == 1
    assert "File too large" in lines[0]
    begun = (out / "run.json").exists()
    assert begun == ("--resume" in lines[0])
    stages.add(begun)
    code, lines = ended(started(text, out))
    assert code == 0, lines
    assert outcome(out) == outcome(whole)


def test_a_full_disk_in_the_middle_of_a_line_of_the_log(whole, half, monkeypatch, capsys):
    """What has been written of it is cut off; the run is not withdrawn, and goes on."""
    count = itertools.count()

    class Short:
        def __init__(self, file):
            self.file, self.name = file, file.name

        def write(self, data):
            writes = next(count)
            if writes == 3:
                return self.file.write(data[:7])
            if writes > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

    log = training._log
    monkeypatch.setattr(training, "_log", lambda file, entry: log(Short(file), entry))
    line = resumed(capsys, half)
    assert "log.jsonl: No space left" in line
    assert f"--out {half} --resume" in line
    assert not (half / "log.jsonl").read_bytes().endswith(b"\n")
    monkeypatch.undo()
    pretrain("bert", out=half, resume=True)
    assert outcome(half) == outcome(whole)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without a full device")
def test_standard_output_on_a_full_disk(whole, text, tmp_path):
    """It is named, the run is neither blamed nor withdrawn, and nothing more is said at exit."""
    out = tmp_path / "run"
    with open("/dev/full", "w") as full:
        code, lines = ended(started(text, out, stdout=full))
    assert code == 2
    assert len(lines) == 1
    assert "standard output: No space left on device" in lines[0]
    assert lines[0].endswith(f"continue with: minibert pretrain bert --out {out} --resume")
    assert ended(started(text, out)) == (0, [])
    assert outcome(out) == outcome(whole)


@POSIX
def test_nobody_reads_what_it_says(whole, text, tmp_path):
    """A closed pipe, full standard error: the run goes on."""
    out, (reader, writer) = tmp_path / "run", os.pipe()
    os.close(reader)
    process = started(text, out, stdout=writer)
    os.close(writer)
    assert ended(process) == (0, [])
    assert outcome(out) == outcome(whole)


# ---- The lock --------------------------------------------------------------------------------------------------------
def test_a_started_run_holds_its_directory(text, tmp_path, monkeypatch, capsys):
    """Resumed or started a second time while it trains: refused at once, by name; nothing of it changes."""
    out, said = tmp_path / "run", []

    def fit(model, plan, run, batches, **_):
        said.append(resumed(capsys, out))
        said.append(refused(capsys, "bert", "--corpus", text, "--out", out))
        raise InputError("enough")

    monkeypatch.setattr(training, "fit", fit)
    with pytest.raises(InputError, match="enough"):
        pretrain("bert", [text], out, fields=FIELDS, **OPTIONS)
    assert f"another process is at work in {out}" in said[0]
    assert "holds a run" in said[1]


def test_two_starts_at_once(text, tmp_path, monkeypatch):
    """Whoever comes second, when both have found the directory free, is refused and leaves the first one's files."""
    out, plan = tmp_path / "run", pretraining._planned

    def overtaken(request):
        found = plan(request)
        monkeypatch.undo()
        pretrain("bert", [text], out, fields=FIELDS, **{**OPTIONS, "steps": 1})
        return found

    monkeypatch.setattr(pretraining, "_planned", overtaken)
    with pytest.raises(InputError, match="holds a run"):
        pretrain("bert", [text], out, fields=FIELDS, **OPTIONS)
    assert (out / "model.safetensors").exists()
    assert json.loads((out / "run.json").read_text())["options"]["steps"] == 1


def test_the_lock_falls_with_its_holder(tmp_path):
    """It is gone at the end, whatever that was; a file that was left locks nothing."""
    with lock.held(tmp_path), pytest.raises(InputError, match="another process"), lock.held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / lock.NAME).write_text("")
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path):
        raise ZeroDivisionError
    with lock.held(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_a_lock_that_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    """Opened, then removed by its holder's end: the lock is taken on the file that stands there now."""
    import fcntl

    flock, count = fcntl.flock, itertools.count()

    def removing(descriptor, how):
        if next(count) == 0:
            os.unlink(tmp_path / lock.NAME)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", removing)
    with lock.held(tmp_path):
        with pytest.raises(InputError, match="another process"), lock.held(tmp_path):
            pass
        assert next(count) == 3


@POSIX
def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    """It is said, and the work is done."""
    import fcntl

    def none(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    done = []
    with lock.held(tmp_path):
        done.append(1)
    assert done
    assert "without locks" in capsys.readouterr().err


@POSIX
def test_a_lock_that_is_a_link_writes_nowhere(half, tmp_path, capsys):
    (half / lock.NAME).symlink_to(tmp_path / "elsewhere")
    assert "cannot write" in resumed(capsys, half)
    assert not (tmp_path / "elsewhere").exists()
    (half / lock.NAME).unlink()
    os.mkfifo(half / lock.NAME)
    assert "no plain file" in resumed(capsys, half)


# ---- A directory that may come from anywhere -------------------------------------------------------------------------
def record(run, path, value):
    """The record with another value at a path such as "request.family"; None: without it."""
    *parents, last = path.split(".")
    node = run
    for name in parents:
        node = node[name]
    node[last] = value
    if value is None:
        del node[last]
    return run


@pytest.mark.parametrize(("path", "value", "said"), [
    ("request", [], "'request' is []"), ("request", None, "'request' is None"), ("options", 3, "'options' is 3"),
    ("fields", "x", "'fields' is 'x'"), ("corpus", None, "'corpus' is None"), ("corpus", {}, "'sha256' is None"),
    ("made_by", [], "'made_by' is []"), ("request.family", None, "unknown family"),
    ("request.family", ["bert"], "'family' is"), ("request.family", "../../bert", "unknown family"),
    ("request.family", "a\nclaim: L7\x1b[2J", "unknown family"), ("request.corpus_files", "x", "'corpus_files' is 'x'"),
    ("request.corpus_files", [], "'corpus_files' is []"), ("request.corpus_files", [3], "'corpus_files' is 3"),
    ("request.corpus_files", ["/dev/zero"], "cannot read"), ("request.corpus_files", ["a\0b"], "cannot read"),
    ("request.corpus_files", ["\ud800"], "cannot read"), ("request.corpus_files", ["."], "is a directory"),
    ("request.corpus_files", ["x" * 5000], "cannot read"), ("request.vocabulary", {}, "'vocabulary' is {}"),
    ("request.preset", 4, "'preset' is 4"), ("instances_sha256", 5, "'instances_sha256' is 5"),
    ("instances_sha256", "0", "data now made"), ("corpus.sha256", "0", "has changed"), ("corpus.sha256", 1, "'sha256'"),
    ("options.steps", "many", "'steps' is 'many'"), ("options.steps", 10**18, "steps is"),
    ("options.steps", 1e99, "'steps' is 1e+99"), ("options.batch_size", 10**9, "batch_size is"),
    ("options.seq_length", 10**6, "seq_length is"), ("options.duplicates", 10**6, "duplicates is"),
    ("options.max_predictions", 10**9, "max_predictions is"), ("options.vocab_size", 10**9, "vocab_size is"),
    ("options.format", "x", "unknown option 'format'"), ("options.masking", "../x", "masking is '../x'"),
    ("options.segmenter", "/dev/zero", "unknown option 'segmenter'"), ("options.seed", -1, "seed is -1"),
    ("options.unheard", 1, "unknown option 'unheard'"), ("options.dtype", [], "'dtype' is []"),
    ("fields.hidden_size", 2**20, "parameters"), ("fields.hidden_size", -8, "'hidden_size' is -8"),
    ("fields.num_hidden_layers", 10**9, "num_hidden_layers"), ("fields.seed", 3, "unknown config field 'seed'"),
    ("fields.hidden_act", "\x1b[2J", "hidden_act"), ("format", "minibert-run/2", "not the record"),
])  # fmt: skip
def test_a_record_that_is_not_as_it_was_written(path, value, said, half, capsys):
    run = record(json.loads((half / "run.json").read_bytes()), path, value)
    (half / "run.json").write_text(json.dumps(run))
    assert said in resumed(capsys, half)


@pytest.mark.parametrize("content", [b"", b"[" * 10**6, b'{"format": "minibert-run/1"}', b"\xff\xfe", b"null", b"1e999",
                                     b'{"format": ' + b"9" * 5000 + b"}"])  # fmt: skip
def test_a_record_that_is_none(content, half, capsys):
    (half / "run.json").write_bytes(content)
    assert "run.json" in resumed(capsys, half)


@pytest.mark.parametrize("name", ["run.json", "report.json", "log.jsonl", "data", "checkpoints"])
@POSIX
def test_a_run_writes_through_no_link(name, half, tmp_path, capsys):
    """Where a run's own file or folder is a link, what it leads to stays as it is."""
    other = tmp_path / "other"
    if (half / name).exists():
        (half / name).rename(other)
    else:
        other.write_text("precious")
    (half / name).symlink_to(other)
    before = tree(other)
    assert f"{half / name} is a link" in resumed(capsys, half)
    assert tree(other) == before


def tree(path):
    """Everything at a place, by name."""
    if path.is_file():
        return path.read_bytes()
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


LINES = [b"[]", b"3", b"null", b"{}", b'{"step": "3"}', b'{"step": 1e99}', b'{"step": true}',
         b'{"step": -1}', b'{"step": 0}', b'{"step": ' + b"9" * 5000 + b"}", b"\xff", b"{", b"[" * 9999,
         b'"step"', b'{"step": 11}', b"\0" * 99, b'{"step": NaN}', b" " * 200_000]  # fmt: skip


def test_a_log_of_whatever(half):
    """Lines that are no entries of the run are left out; the others stay, to the bit."""
    log = (half / "log.jsonl").read_bytes().splitlines()
    mixed = [line for pair in itertools.zip_longest(log, LINES) for line in pair if line is not None]
    (half / "log.jsonl").write_bytes(b"\n".join(mixed))
    pretrain("bert", out=half, resume=True)
    assert (half / "log.jsonl").read_bytes().splitlines()[: len(log)] == log
    assert [entry["step"] for entry in training.read_log(half / "log.jsonl")] == list(range(1, 21))


@pytest.mark.parametrize("state", some([
    {"step": -1, "seconds": 1.0}, {"step": 0, "seconds": 1.0}, {"step": 8, "seconds": 1.0}, {"step": 10},
    {"step": 1e99, "seconds": 1}, {"step": "10", "seconds": 1}, {"step": 10.0, "seconds": 1}, {"seconds": 1}, [], 3,
    {"step": 10, "seconds": "long"}, {"step": 10, "seconds": -1}, {"step": 10, "seconds": True}, {"step": [10]}, None,
], 6))  # fmt: skip
def test_a_state_that_is_not_its_checkpoint_s(state, whole, half, capsys):
    """The checkpoint before is used, which is said, and the bits are those of the whole run."""
    (half / "checkpoints" / "00000010" / "state.json").write_text(json.dumps(state))
    pretrain("bert", out=half, resume=True)
    error = capsys.readouterr().err
    assert "00000010 is damaged" in error
    assert "using the one before" in error
    assert outcome(half) == outcome(whole)


def test_a_checkpoint_of_a_step_that_the_run_has_not(whole, half, capsys):
    """As one of another run, or one that claims to be further than the end."""
    for step in (21, 99_999_999):
        shutil.copytree(half / "checkpoints" / "00000010", half / "checkpoints" / f"{step:08d}")
        state = json.dumps({"step": step, "seconds": 1})
        (half / "checkpoints" / f"{step:08d}" / "state.json").write_text(state)
    (half / "checkpoints" / "٠٠٠٠٠٠١٢").mkdir()  # digits, but no name of ours
    (half / "checkpoints" / "00000015").write_text("no folder")
    pretrain("bert", out=half, resume=True)
    assert capsys.readouterr().err.count("is damaged") == 3
    assert outcome(half) == outcome(whole)


WRONG = ["nan", "infinite", "shape", "dtype", "more", "absent", "huge", "link"]


@pytest.mark.parametrize(("file", "wrong"), some([*itertools.product(["model", "optimizer"], WRONG)], 6))
def test_tensors_that_are_not_the_checkpoint_s(file, wrong, whole, half, tmp_path, capsys):
    path = half / "checkpoints" / "00000010" / f"{file}.safetensors"
    tensors = safetensors.read(path)
    name = next(iter(tensors))
    if wrong in ("nan", "infinite"):
        tensors[name].flat[0] = np.nan if wrong == "nan" else np.inf
    elif wrong == "shape":
        tensors[name] = tensors[name].reshape(-1, 1)
    elif wrong == "dtype":
        tensors[name] = tensors[name].view(np.int32)
    elif wrong == "more":
        tensors["more"] = np.ones(3, np.float32)
    safetensors.write(path, tensors)
    if wrong == "absent":
        path.unlink()
    elif wrong == "huge":  # of a file of zeros that takes no room on the disk
        entry = {"x": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}}
        head = json.dumps(entry).encode()
        with open(path, "wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            try:
                out.truncate(8 + len(head) + 2**40)
            except OSError:
                pytest.skip("a file system without sparse files of this size")
    elif wrong == "link":
        if os.name == "nt":
            pytest.skip("links need a right there")
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    kept = tree(tmp_path / "elsewhere") if wrong == "link" else None
    pretrain("bert", out=half, resume=True)
    assert "00000010 is damaged" in capsys.readouterr().err
    assert outcome(half) == outcome(whole)
    assert kept is None or tree(tmp_path / "elsewhere") == kept


def test_only_a_run_s_own_leftovers_go(whole, half):
    """Half-written checkpoints and shards; nothing that somebody put beside them, links neither followed nor lost."""
    ours = ["checkpoints/.00000012.99999999-0.new", "checkpoints/.old-00000004", "data/.train-00000.99999999-3.new"]
    theirs = ["checkpoints/notes", "checkpoints/.hidden", "checkpoints/000000012", "data/notes", "data/train"]
    for name in (*ours, *theirs):
        (half / name).mkdir()
        (half / name / "file").write_text("precious")
    pretrain("bert", out=half, resume=True)
    assert outcome(half) == outcome(whole)
    assert not any((half / name).exists() for name in ours)
    assert all((half / name / "file").read_text() == "precious" for name in theirs)
    assert sorted(path.name for path in (half / "data").iterdir()) == ["notes", "train"]


def test_taking_back_leaves_what_others_put_there(text, tmp_path, monkeypatch):
    """A request that proves unusable while its data are made takes back the run's own files alone."""
    out, make = tmp_path / "run", data.made

    def made(*args):
        make(*args)
        for name in ("notes.txt", "data/notes.txt", "model.safetensors"):
            (out / name).write_text("precious")
        raise InputError("planted")

    monkeypatch.setattr(data, "made", made)
    with pytest.raises(InputError, match="planted"):
        pretrain("bert", [text], out, fields=FIELDS, **OPTIONS)
    left = ("data/notes.txt", "model.safetensors", "notes.txt")
    assert tree(out) == dict.fromkeys((str(Path(name)) for name in left), b"precious")


# ---- Rows ------------------------------------------------------------------------------------------------------------
class Code:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def npy(descr, shape, content, order="False"):
    """An .npy file whose header says so."""
    head = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


ROWS = {
    "pickle": npy("'|O'", (1,), pickle.dumps(Code())),
    "record of objects": npy("[('input_ids', '|O', (16,)), ('input_mask', '<i4', (16,))]", (1,), pickle.dumps(Code())),
    "too long": npy("'<i4'", (10**18,), b"\0" * 4),
    "beyond numbers": npy("'<i4'", (2**70,), b"\0" * 4),
    "negative": npy("'<i4'", (-1,), b"\0" * 4),
    "no axis": npy("'<i4'", (), b"\0" * 4),
    "plain": npy("'<i4'", (4,), b"\0" * 16),
    "text": npy("[('input_ids', '<U4', (16,)), ('input_mask', '<i4', (16,))]", (0,), b""),
    "narrow": npy("[('input_ids', '<i4', (3,)), ('input_mask', '<i4', (3,))]", (1,), b"\0" * 24),
    "deep": npy("[" * 4000 + "]" * 4000, (1,), b"\0"),
    "keys": npy("{[]: 1}", (1,), b"\0"),
    "no array": b"\x93NUMPY\x03\x00",
    "empty": b"",
}


@pytest.mark.parametrize(("file", "kind"), some([*itertools.product([data.ROWS, data.COUNTS], ROWS)], 8))
def test_rows_that_were_not_written_here(kind, file, whole, half, tmp_path, monkeypatch):
    """With their digests beside them: nothing is unpickled, the shard is made again, the bits are the run's."""
    monkeypatch.chdir(tmp_path)
    place = half / "data" / "train-00000"
    (place / file).write_bytes(ROWS[kind])
    digests = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in (data.ROWS, data.COUNTS)}
    (place / data.DIGESTS).write_text(json.dumps(digests))
    pretrain("bert", out=half, resume=True)
    assert not (tmp_path / "unpickled").exists()
    assert outcome(half) == outcome(whole)


@pytest.mark.parametrize("digests", ["[" * 10**5, "[]", "{}", '{"rows.npy": 3}', "\x00"])
def test_digests_of_whatever(digests, whole, half):
    (half / "data" / "train-00000" / data.DIGESTS).write_text(digests)
    pretrain("bert", out=half, resume=True)
    assert outcome(half) == outcome(whole)


@POSIX
def test_a_shard_that_is_a_link_is_made_again_here(whole, half, tmp_path):
    place = half / "data" / "train-00000"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    kept = tree(tmp_path / "elsewhere")
    pretrain("bert", out=half, resume=True)
    assert outcome(half) == outcome(whole)
    assert tree(tmp_path / "elsewhere") == kept


@pytest.mark.parametrize("value", [10**6, -1])
def test_rows_with_tokens_that_there_are_not(value, half, capsys):
    """A directory whose record agrees with them all the same: one line, before anything is looked up."""
    rows = half / "data" / "train-00000" / data.ROWS
    changed = np.load(rows)
    changed["input_ids"][:, 1] = value
    np.save(rows, changed)
    digests = {name: hashlib.sha256((rows.parent / name).read_bytes()).hexdigest() for name in (data.ROWS, data.COUNTS)}
    (rows.parent / data.DIGESTS).write_text(json.dumps(digests))
    run = json.loads((half / "run.json").read_bytes())
    held_out = np.load(half / "data" / "held_out-00000" / data.ROWS)
    digest = hashlib.sha256()
    for records in (changed, held_out):
        for name in sorted(records.dtype.names):
            digest.update(np.ascontiguousarray(records[name]).reshape(-1))
    (half / "run.json").write_text(json.dumps({**run, "instances_sha256": digest.hexdigest()}))
    assert "input_ids" in resumed(capsys, half)


# ---- Numbers without bound -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("option", "values", "said"), [
    ("--steps", [10**18, 10**8, -1, 10**4000], "steps"), ("--batch-size", [10**9, 65_537, 0], "batch_size is"),
    ("--accumulate", [0, 10**9, 5], "accumulate"), ("--seq-length", [10**6, 8193, 7, -1], "seq_length is"),
    ("--duplicates", [10**6, 1001, 0], "duplicates is"), ("--vocab-size", [10**9, 2**20 + 1, 0], "vocab_size is"),
    ("--max-predictions", [10**9, 65, -1], "max_predictions is"), ("--rate", ["nan", 0, 1, "inf", -1], "rate"),
    ("--dropout-steps", [10**9, -1], "dropout_steps is"), ("--short-rate", ["nan", 2, -1, "inf"], "short_rate"),
    ("--held-out", ["nan", 0, -1, "inf"], "held_out"), ("--held-out", [1e300, 10**9], "cannot hold out"),
    ("--learning-rate", ["nan", "inf", "-inf", -1], "learning_rate"), ("--warmup", ["nan", 1e300, -0.1], "warmup"),
    ("--weight-decay", ["nan", "inf", -1], "weight_decay"), ("--clip-norm", ["nan", "inf", 0, -1], "clip_norm"),
    ("--seed", [-1, 2**64, 10**4000], "seed"), ("--threads", [10**6, 0, -3], "threads is"),
    ("--processes", [10**6, 62, -1], "processes is"), ("--checkpoint-every", [0, 10**9], "checkpoint_every is"),
    ("--set", ["hidden_size=1000000000000", "max_position_embeddings=2000000000", "num_hidden_layers=1000000000",
               "intermediate_size=1e400", "hidden_size=" + "[" * 10**5, f"hidden_size={'9' * 5000}"], ""),
])  # fmt: skip
def test_numbers_are_bounded(option, values, said, text, tmp_path, capsys):
    """One line that names the option, before anything is made."""
    for value in values:
        assert said in refused(capsys, "bert", "--corpus", text, "--out", tmp_path / "run", f"{option}={value}")
        assert not (tmp_path / "run").exists()


def test_a_micro_batch_is_bounded(text, tmp_path, capsys):
    args = ["bert", "--corpus", text, "--out", tmp_path / "run", "--seq-length", 8192, "--accumulate", 2]
    assert "micro-batches of 4,202,496 tokens" in refused(capsys, *args, "--batch-size", 1026)
    pretraining._settled("bert", {"seq_length": 8192, "batch_size": 1024, "accumulate": 2}, dict(bert.QUICK))


def test_the_rows_of_a_shard_are_bounded(text, tmp_path, capsys):
    """Before they are made; the request is taken back."""
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join([text.read_text(), text.read_text().replace(".", " too.")]))
    args = ["bert", "--corpus", path, "--out", tmp_path / "run", "--vocab-size", 120, "--held-out", 2]
    said = refused(capsys, *args, "--seq-length", 8192, "--duplicates", 1000, "--batch-size", 2)
    assert "the rows of 38 documents would hold 311,296,000 tokens" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif("SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()), reason="the system does not tell")
def test_a_step_that_the_machine_cannot_hold(text, tmp_path, monkeypatch, capsys):
    """Counted before it is computed: rows times what a row holds, as `info --memory` counts; then taken back."""
    system, steps = os.sysconf, []
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 1000}.get(name) or system(name))
    monkeypatch.setattr(training, "fit", lambda *_, **__: steps.append(1))
    args = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items() if name != "batch_size"]
    args += ["--threads=1", "--set", *(f"{name}={value}" for name, value in FIELDS.items())]
    said = refused(capsys, "bert", "--corpus", text, "--out", tmp_path / "run", *args, "--batch-size=16384")
    assert "a step would hold some" in said
    assert "lower batch_size, 16384" in said
    assert not steps
    assert not (tmp_path / "run").exists()
    pretrain("bert", [text], tmp_path / "run", fields=FIELDS, **OPTIONS)
    assert steps


def test_memory_that_there_is_not(text, tmp_path, monkeypatch, capsys):
    """What NumPy says of it, in one line."""

    def fit(*_, **__):
        raise MemoryError("Unable to allocate 9.00 TiB")

    monkeypatch.setattr(training, "fit", fit)
    args = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    said = refused(capsys, "bert", "--corpus", text, "--out", tmp_path / "run", *args)
    assert "not enough memory (Unable to allocate 9.00 TiB)" in said
    assert "batch_size" in said


@pytest.mark.parametrize(("value", "threads"), [
    ("²", None), ("٣", None), ("3", 3), (" 2 ", 2), ("0", 1), ("-1", None), ("9" * 5000, None), ("1000000", 1024),
    ("4,2", None), ("", None),
])  # fmt: skip
def test_threads_from_the_environment(value, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("MINIBERT_NUM_THREADS", raising=False)
    default = kernels._default_threads()
    monkeypatch.setenv("MINIBERT_NUM_THREADS", value)
    assert kernels._default_threads() == (default if threads is None else threads)


# ---- Names -----------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no names that are not UTF-8")
def test_names_that_are_not_utf_8(whole, text, tmp_path):
    """Files and directories of such names are used and resumed; what is shown of them does nothing to a terminal."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J"))
    odd.mkdir()
    shutil.copy(text, odd / "text.txt")
    process = started(odd / "text.txt", odd / "run", stdout=subprocess.PIPE)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "\x1b" not in out + error
    assert r"\x1b[2J" in out
    assert outcome(odd / "run") == outcome(whole)
    assert ended(started(text, odd / "run")) == (0, [])


@POSIX
def test_names_that_no_file_can_have(text, tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    for option in ("--corpus", "--config", "--vocabulary"):
        for name in (tmp_path / "loop", tmp_path / ("x" * 5000), text / "x"):
            args = ["--out", tmp_path / "run", option, name]
            assert refused(capsys, "bert", *args, *(["--corpus", text] if option != "--corpus" else []))
    for name in (tmp_path / "loop", tmp_path / ("x" * 5000), text):
        assert refused(capsys, "bert", "--corpus", text, "--out", name)
        assert refused(capsys, "bert", "--resume", "--out", name)
    for name in ("a\0b", "\ud800"):
        with pytest.raises(InputError):
            pretrain("bert", [name], tmp_path / "run")
        with pytest.raises(InputError):
            pretrain("bert", [text], name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop"]


def test_surrogates_in_text(tmp_path):
    """Text that Python can hold and UTF-8 cannot: counted, hashed, cut and made into rows like any other."""
    texts = [[f"Word {n} \ud800 and {m}." for m in range(3)] for n in range(4)]
    found = corpus.survey(texts)
    assert found.sizes.tolist() == [sum(map(len, document)) for document in texts]
    training_part, apart = corpus.split(texts, 1.0, sizes=found.sizes)
    assert len(training_part) == 3
    assert len(apart) == 1
    assert corpus.documents_from_text("One \ud800 here.\n\nTwo.", "sentences") == [["One \ud800 here."], ["Two."]]


@POSIX
def test_processes_are_deaf_to_ctrl_c_while_they_start():
    """It is kept back where they are begun, and none of them inherits hearing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    masks = list(processes.mapped(mask, range(4), 2))
    assert all(signal.SIGINT in found for found in masks)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def mask(_):
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def test_what_cannot_be_written_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"), training.written(tmp_path / "file" / "x"):
        (tmp_path / "file" / "x").mkdir()
