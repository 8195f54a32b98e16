"""Several processes as one run: the same bits however many, and whoever fails ends all in one line."""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import batches, families, ranks, training, tree
from minibert.errors import InputError
from tests.simulated import together

MPIEXEC = Path(sys.executable).with_name("mpiexec")
NO_MPI = importlib.util.find_spec("mpi4py") is None or not MPIEXEC.exists()
by_mpi = pytest.mark.skipif(NO_MPI, reason="mpi4py and mpich are not installed: pip install mpi4py mpich")


# ---- The tree --------------------------------------------------------------------------------------------------------
def added(one, other):
    return f"({one} {other})"


@pytest.mark.parametrize(("count", "due"), [
    (1, "0"), (3, "((0 1) 2)"), (6, "(((0 1) (2 3)) (4 5))"), (7, "(((0 1) (2 3)) ((4 5) 6))"),
])  # fmt: skip
def test_neighbours_are_added_first(count, due):
    assert ranks.ALONE.sum(map(str, range(count)), count, added) == due


@pytest.mark.parametrize("size", range(2, 8))
def test_the_tree_is_that_of_the_parts_whoever_has_them(size):
    for count in range(1, 14):
        due = ranks.ALONE.sum(map(str, range(count)), count, added)
        found = together(size, lambda count=count: ranks.group().sum(map(str, ranks.group().own(count)), count, added))
        assert found == [due] * size, count


def test_every_part_is_somebodys_and_no_rank_has_two_more_than_another():
    for size in range(1, 9):
        for count in range(20):
            own = together(size, lambda count=count: ranks.group().own(count))
            assert [i for part in own for i in part] == [*range(count)]
            assert max(map(len, own)) - min(map(len, own)) <= 1
            assert not count or own[0]  # the first has the root


def test_once_is_done_by_the_first_and_known_to_all():
    done = []
    assert together(3, lambda: ranks.group().once(lambda: done.append(ranks.group().rank) or 5)) == [5, 5, 5]
    assert done == [0]

    def refused():
        raise InputError("no")

    assert [f"{error}" for error in together(3, lambda: ranks.group().once(refused))] == ["no"] * 3


def test_items_are_mapped_in_turns_and_come_in_order():
    assert together(3, lambda: [*ranks.group().mapped(str, range(7))]) == [[*map(str, range(7))]] * 3


def test_what_differs_between_ranks_is_said():
    found = together(2, lambda: ranks.group().agree("the model", ranks.group().rank))
    assert all("the model is not the same in all processes" in f"{error}" for error in found)


# ---- Training --------------------------------------------------------------------------------------------------------
PLAN = training.Plan(steps=6, batch_size=12, accumulate=6, learning_rate=0.02, warmup=2, checkpoint_every=3, seed=5)
FAMILIES = {"bert": {}, "electra": {}, "word2vec": {"optimizer": "plain_sgd", "weight_decay": 0.0}}


def trained(family, run, plan=PLAN, until=None):
    """The parameters after a run on drawn rows, dropout and samples drawn, too."""
    module = families.family(family)
    model = minibert.create(family, **module.PROBE)
    rows = batches.example(module, model.config, np.random.default_rng(1), {"B": 30})
    rows = {name: np.asarray(array) for name, array in rows.items() if name != "dropout"}

    def given(step):
        if step == until:
            raise InputError("stopped here")
        chosen = training.order(step, plan.batch_size, 30, plan.seed)
        return training.micro_batches(model, {name: a[chosen] for name, a in rows.items()}, plan, step, True)

    training.fit(model, plan, run, given)
    return model.params


def logged(run):
    return [{name: value for name, value in entry.items() if "seconds" not in name and "second" not in name}
            for entry in training.read_log(run / "log.jsonl")]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_however_many_ranks_there_are_the_bits_are_the_same(family, tmp_path):
    plan = dataclasses.replace(PLAN, **FAMILIES[family])
    alone = tree.flatten(trained(family, tmp_path / "1", plan))
    for size in (2, 3, 6):
        for params in together(size, lambda size=size: trained(family, tmp_path / f"{size}", plan)):
            assert not isinstance(params, Exception), params
            assert all(np.array_equal(array, alone[path]) for path, array in tree.items(params)), size
        assert logged(tmp_path / f"{size}") == logged(tmp_path / "1")
    assert len(logged(tmp_path / "1")) == PLAN.steps


def test_what_a_stream_carries_is_gathered_for_the_checkpoint(tmp_path):
    """Transformer-XL: each part's memory goes on from step to step, on whichever rank it is computed."""
    module = families.family("transformer_xl")
    plan = dataclasses.replace(PLAN, batch_size=4, accumulate=4, steps=4, checkpoint_every=2)

    def run(folder, stop=None):
        model = minibert.create("transformer_xl", **module.PROBE)
        rows = batches.example(module, model.config, np.random.default_rng(1), {"B": 16})
        rows = {name: np.asarray(rows[name]) for name in ("input_ids", "labels")}

        def given(step, carried):
            if step == stop:
                raise InputError("stopped here")
            places, on = training.streamed(step, 4, 16)
            chosen = {name: array[places] for name, array in rows.items()}
            return training.micro_batches(model, chosen, plan, step, True, carried=carried if on else None)

        training.fit(model, plan, folder, given, carrying=True)
        return model.params

    due = tree.flatten(run(tmp_path / "1"))
    stopped = together(4, lambda: run(tmp_path / "some", 3))
    assert [f"{error}" for error in stopped] == ["stopped here"] * 4
    for params in together(2, lambda: run(tmp_path / "some")):  # goes on from step 2
        assert all(np.array_equal(array, due[path]) for path, array in tree.items(params))


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    due = tree.flatten(trained("bert", tmp_path / "1"))
    assert all(isinstance(error, InputError) for error in together(3, lambda: trained("bert", tmp_path / "2", until=4)))
    for params in together(2, lambda: trained("bert", tmp_path / "2")):
        assert all(np.array_equal(array, due[path]) for path, array in tree.items(params))
    assert logged(tmp_path / "2") == logged(tmp_path / "1")


def test_held_out_figures_are_the_same(tmp_path):
    module = families.family("bert")
    model = minibert.create("bert", **module.PROBE)
    rows = batches.example(module, model.config, np.random.default_rng(1), {"B": 9})
    rows = {name: np.asarray(array) for name, array in rows.items() if name != "dropout"}
    due = training.evaluation(model, rows, 2)
    assert together(3, lambda: training.evaluation(model, rows, 2)) == [due] * 3
    assert together(7, lambda: training.evaluation(model, rows, 2)) == [due] * 7  # two have no part


# ---- By mpiexec ------------------------------------------------------------------------------------------------------
TEXT = "\n\n".join("\n".join(f"the {a} of the {b} is not a {c} ." for a in "abcd" for c in "efg") for b in "hijklmnop")
OPTIONS = ("--steps", "8", "--batch-size", "8", "--accumulate", "4", "--seq-length", "16", "--vocab-size", "60",
           "--checkpoint-every", "2", "--threads", "1", "--set", "hidden_size=16", "num_attention_heads=2",
           "intermediate_size=16")  # fmt: skip


def started(processes, *words, **environment):
    """`minibert` by mpiexec, from this environment."""
    command = [*([MPIEXEC, "-n", str(processes)] if processes > 1 else []), sys.executable, "-m", "minibert", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **streams, env={**os.environ, **environment}, start_new_session=True)


def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@by_mpi
def test_processes_are_one_run(text, tmp_path):
    for processes in (1, 2, 4):
        words = "pretrain", "bert", "--corpus", text, "--out", tmp_path / f"{processes}", *OPTIONS
        code, out, err = ended(started(processes, *map(str, words)))
        assert code == 0, err
        assert out.count("saved") == 1
        assert err.count("step 8/8") == 1
    files = [(tmp_path / str(n) / "model.safetensors").read_bytes() for n in (1, 2, 4)]
    assert files[0] == files[1] == files[2]
    assert logged(tmp_path / "4") == logged(tmp_path / "1")
    (tmp_path / "texts").write_text("".join(f"{line}\n" for line in TEXT.split("\n") if line) * 11, encoding="utf-8")
    for processes in (1, 2):
        words = "embed", tmp_path / "1", tmp_path / "texts", "-o", tmp_path / f"{processes}.npy"
        assert ended(started(processes, *map(str, words)))[0] == 0
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()


@by_mpi
def test_finetuning_by_processes(text, tmp_path):
    model = minibert.create("bert", **{**families.family("bert").PROBE, "vocab_size": 60})
    words = "pretrain", "bert", "--corpus", text, "--out", tmp_path / "model", *OPTIONS
    assert ended(started(1, *map(str, words)))[0] == 0
    rows = "".join(f"the {a} of the {b}\t{b}\n" for a in "abcdefg" for b in "hijk")
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    for processes in (1, 2):
        words = ("finetune", "classify", tmp_path / "model", "--train", tmp_path / "rows.tsv", "--steps", "6", "--out",
                 tmp_path / f"{processes}", "--accumulate", "2", "--batch-size", "4", "--threads", "1")  # fmt: skip
        code, out, err = ended(started(processes, *map(str, words)))
        assert (code, out.count("saved")) == (0, 1), err
    assert len({(tmp_path / str(n) / "model.safetensors").read_bytes() for n in (1, 2)}) == 1
    assert model.family == "bert"


@by_mpi
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
def test_a_killed_rank_ends_all_and_the_run_goes_on_with_fewer(text, tmp_path):
    options = [*OPTIONS[2:], "--steps", "80"]
    run = tmp_path / "run"
    words = [str(word) for word in ("pretrain", "bert", "--corpus", text, "--out", run, *options)]
    process = started(4, *words)
    while not training.checkpoints(run):
        assert process.poll() is None
        time.sleep(0.05)
    mine = [path for path in Path("/proc").glob("[0-9]*") if _started_as(path, str(run))]
    os.kill(int(mine[2].name), signal.SIGKILL)
    began = time.monotonic()
    assert ended(process)[0] != 0
    assert time.monotonic() - began < 10
    assert not [path for path in Path("/proc").glob("[0-9]*") if _started_as(path, str(run))]
    shutil.copytree(run, tmp_path / "alone")
    for processes, place in ((1, tmp_path / "alone"), (2, run)):
        code, _, err = ended(started(processes, "pretrain", "bert", "--out", str(place), "--resume"))
        assert code == 0, err
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "alone" / "model.safetensors").read_bytes()


def _started_as(path, word):
    try:
        words = (path / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-m" in words and word.encode() in words and b"mpiexec" not in words[0]


@by_mpi
def test_what_is_wrong_is_said_once(text, tmp_path):
    few = ["--accumulate" if word == "--accumulate" else word for word in OPTIONS]
    few[few.index("--accumulate") + 1] = "2"
    for words, said in (
        (("pretrain", "bert", "--corpus", f"{text}.none"), "cannot read"),
        (("pretrain", "bert", "--corpus", f"{text}", *few, "--out", f"{tmp_path / 'a'}"),
         "4 processes, and an update is computed in 2 parts"),
        (("pretrain", "bert", "--nonsense"), "unrecognized arguments"),
        (("embed", str(tmp_path)), "standard input comes to one process of several"),
    ):  # fmt: skip
        code, out, err = ended(started(4, *words))
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "a").exists()


@by_mpi
def test_one_rank_that_cannot_go_on_says_so_and_ends_all(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys\nfrom minibert import ranks\nfrom minibert.errors import InputError\n"
                       "with ranks.joined() as group:\n    if group.rank == 1:\n        raise InputError('no room')\n"
                       "    group.broadcast(group.gathered(1))\n", encoding="utf-8")  # fmt: skip
    process = subprocess.run([MPIEXEC, "-n", "3", sys.executable, program], capture_output=True, text=True, timeout=60)
    assert process.returncode != 0
    said = [line for line in process.stderr.splitlines() if line.startswith("minibert")]
    assert len(said) == 1
    assert "process 1 of 3, on " in said[0]
    assert said[0].endswith("no room; all processes end")


def test_processes_without_an_mpi_say_what_to_install(tmp_path):
    """As mpiexec starts them, in an environment without mpi4py: the first speaks."""
    block = "import sys\nsys.modules['mpi4py'] = None\nfrom minibert import cli\nsys.exit(cli.main(['info', 'x']))\n"
    for rank, code in (("0", 2), ("1", 0)):
        environment = {**os.environ, "PMI_SIZE": "4", "PMI_RANK": rank}
        found = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, env=environment)
        assert (found.returncode, found.stdout) == (code, "")
        said = "mpiexec has started 4 processes, and mpi4py, by which they talk, is missing"
        assert (said in found.stderr) == bool(code)
        assert len(found.stderr.splitlines()) == bool(code)


@by_mpi
def test_processes_of_a_strange_mpiexec_say_so(tmp_path):
    words = [sys.executable, "-m", "minibert", "info", "x"]
    environment = {**os.environ, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    found = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert found.returncode == 2
    assert "2 processes that do not find each other: mpi4py talks by MPICH" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_records_say_in_how_many_parts(text, tmp_path):
    """What `_require_parts` reads is in the record of every run."""
    words = "pretrain", "bert", "--corpus", text, "--out", tmp_path / "run", *OPTIONS
    assert ended(started(1, *map(str, words)))[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["options"]["accumulate"] == 4
