"""What a long task says, as it stands on a terminal in the end, and off one."""

import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minibert import cli, progress, runs, streams

ROOT = Path(__file__).resolve().parents[2]
if os.name == "posix":
    import fcntl
    import pty
    import struct
    import termios
terminal = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")


class Terminal:
    """A pseudo-terminal of so many columns; `file` is its inside."""

    def __init__(self, columns: int):
        self.columns = columns
        self.outside, self.inside = pty.openpty()
        fcntl.ioctl(self.inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.file = open(self.inside, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        self.written = b""
        self.reader = threading.Thread(target=self._read, daemon=True)  # a terminal that nobody reads stops its writer
        self.reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self.outside, 1 << 16):
                self.written += part
        except OSError:  # how Linux says that it ends
            pass

    def read(self) -> str:
        """All that was written, when nobody writes any more."""
        self.file.flush()
        os.close(self.inside)
        self.reader.join(60)
        os.close(self.outside)
        return self.written.decode().replace("\r\n", "\n")

    def screen(self, written: str) -> list[str]:
        """The lines that stand there then, as many as the columns make of them."""
        rows, column = [""], 0
        for letter in written:
            if letter == "\n" or (letter != "\r" and column == self.columns):
                rows.append("")
                column = 0
            if letter == "\r":
                column = 0
            elif letter != "\n":
                rows[-1] = rows[-1][:column].ljust(column) + letter + rows[-1][column + 1 :]
                column += 1
        return [row.rstrip() for row in rows]


@pytest.fixture
def clock(monkeypatch):
    """A clock that its user moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def trained(columns: int, monkeypatch, clock, steps: int = 3200) -> tuple[str, list[str]]:
    """(what the progress line of a run wrote, what then stands on the terminal); eight steps a second."""
    made = Terminal(columns)
    monkeypatch.setattr(sys, "stderr", made.file)
    line = progress.Progress("step", steps, kept=True)
    for step in range(1, steps + 1):
        clock[0] += 0.125
        line.show(step, "loss 5.123", "mlm 4.567 (20.1%)", "nsp 0.693 (51.2%)", "12,345 tokens/s")
    line.close()
    written = made.read()
    return written, made.screen(written)


@terminal
@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_one_line_as_wide_as_the_terminal(columns, monkeypatch, clock):
    written, screen = trained(columns, monkeypatch, clock)
    assert len(screen) == 2  # the line, and the empty one behind it
    drawn = written.split("\r")[1:]
    assert all(len(line.rstrip("\n")) < columns for line in drawn)
    assert len(drawn) <= 2 * 400 + 2  # of 400 seconds, and the first and the last
    assert len(drawn) > 700
    half = next(line for line in drawn if line.startswith("step 1600/3200"))
    parts = {20: [], 40: ["3:20 left", "loss 5.123"],
             80: ["3:20 left", "loss 5.123", "mlm 4.567 (20.1%)"],
             120: ["3:20 left", "loss 5.123", "mlm 4.567 (20.1%)", "nsp 0.693 (51.2%)", "12,345 tokens/s"]}  # fmt: skip
    held = [part for part in re.split("  +", half.rstrip()) if not part.startswith("[")]
    assert held == ["step 1600/3200", *parts[columns]]
    bar = re.search(r"\[(#*)(-*)\]", half)
    assert (bar is not None) == (columns >= 80)
    if bar is not None:
        assert len(bar[1]) == len(bar[1] + bar[2]) // 2 >= 5
        assert len(half) <= columns - 1


@terminal
def test_the_last_step_is_shown(monkeypatch, clock):
    _, screen = trained(80, monkeypatch, clock)
    assert screen[0].startswith("step 3200/3200")
    assert "0:00 left" in screen[0]


@terminal
def test_no_tqdm_is_asked_for(monkeypatch, clock):
    """The same with it and without."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    without = trained(80, monkeypatch, clock)
    monkeypatch.delitem(sys.modules, "tqdm")
    clock[0] = 0
    assert trained(80, monkeypatch, clock) == without


@terminal
def test_what_is_printed_stands_above(monkeypatch, clock):
    """Results that are printed between take the line away; in the end nothing but them stands there."""
    made = Terminal(40)
    monkeypatch.setattr(sys, "stderr", made.file)
    monkeypatch.setattr(sys, "stdout", made.file)
    with streams.prepared():
        for case in progress.over(("a", "b", "c"), "cases verified"):
            clock[0] += 1
            print(case, "fine", flush=True)
        with progress.doing("learning the vocabulary"):
            pass
        print("done", flush=True)
    written = made.read()
    assert "\rcases verified 0/3" in written
    assert "\rcases verified 2/3  0:01 left" in written
    assert "\rlearning the vocabulary ..." in written
    assert made.screen(written) == ["a fine", "b fine", "c fine", "done", ""]


@pytest.mark.parametrize(("kept", "printed"), [
    (True, ["step 60/120  loss 1  0:06 left", "step 120/120  loss 1  0:00 left"]), (False, [])])  # fmt: skip
def test_off_a_terminal_a_line_now_and_then(kept, printed, monkeypatch, clock):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    line = progress.Progress("step", 120, kept=kept)
    for step in range(1, 121):
        clock[0] += 0.1
        line.show(step, "loss 1")
    line.close()
    with progress.doing("nothing"):
        pass
    lines = stream.getvalue().splitlines()
    assert len(lines) == (3 if kept else 0)  # after 5 and 10 seconds, and at the end
    assert lines[-1:] == printed[-1:]


def test_where_it_cannot_be_said_the_work_goes_on(monkeypatch, clock):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "no space left on device")

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Full())
    for _ in progress.over(range(3), "done", kept=True):
        clock[0] += 1
    with progress.doing("more"):
        pass
    progress.clear()


def test_hours_are_said():
    assert [progress.clock(seconds) for seconds in (0, 59.6, 3599, 3600, 36610)] == [
        "0:00", "1:00", "59:59", "1:00:00", "10:10:10"]  # fmt: skip


@terminal
@pytest.mark.parametrize(("command", "told"), [
    ("check bert/published wrong-torch-port", ["comparing the tensors ...", "known mistakes tried 0/"]),
    ("golden verify ops/gelu ops/tanh", ["cases 0/2"]),
    ("golden make gelu --kind op -o case", ["making gelu: its tensors, its truth, its noise floors ..."]),
    ("gradcheck gelu tanh", ["checked 0/2"]),
])  # fmt: skip
def test_a_long_command_says_what_it_is_doing(command, told, monkeypatch, tmp_path, capsys):
    """And leaves nothing of it on the terminal."""
    made = Terminal(80)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", made.file)
    assert cli.main(command.split()) in (0, 1)
    written = made.read()
    for each in told:
        assert f"\r{each}" in written
    assert made.screen(written) == [""]
    printed = capsys.readouterr().out
    assert max(map(len, printed.partition("\nx floor:")[0].splitlines())) < 80
    assert ("\nthe mistake is A04:" in printed) == command.startswith("check")


@terminal
def test_a_run_leaves_its_stages_and_one_line(tmp_path):
    """`minibert pretrain` on a terminal of 40 columns, in a process: nothing is cut in two."""
    corpus = tmp_path / "text.txt"
    words = np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat", "dog", "ran"], (40, 9))
    corpus.write_text("\n\n".join(" ".join(row) + ".\n" + " ".join(row[::-1]) + "." for row in words), encoding="utf-8")
    made = Terminal(40)
    small = ["--set", "hidden_size=8", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=8"]
    command = [sys.executable, "-m", "minibert", "pretrain", "bert", "--corpus", corpus, "--out", tmp_path / "run",
               "--steps", "40", "--vocab-size", "60", "--seq-length", "16", "--duplicates", "1", *small]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=made.inside, env=environment, timeout=600)
    written = made.read()
    assert ran.returncode == 0, written
    assert b"saved" in ran.stdout
    screen = [row for row in made.screen(written) if row]
    assert len(screen) == 1, screen
    assert re.fullmatch(r"step 40/40  0:00 left  loss \d\.\d{3}", screen[0])


@terminal
@pytest.mark.parametrize("columns", [20, 40, 80])
def test_what_a_run_says_is_as_wide_as_the_terminal_and_whole_elsewhere(columns, monkeypatch, capsys):
    text = "next token loss 4.426 nats, 1.888 below the unigram entropy of that text"
    runs.say("held out", text)
    assert capsys.readouterr().out == f"held out  {text}\n"
    made = Terminal(columns)
    monkeypatch.setattr(sys, "stdout", made.file)
    runs.say("held out", text)
    lines = made.read().splitlines()
    assert " ".join(" ".join(lines).split()) == f"held out {text}"
    assert max(map(len, lines)) <= max(columns - 1, 30)
    assert all(line.startswith(" " * 10) for line in lines[1:])


@terminal
@pytest.mark.parametrize(("command", "words"), [
    ("pretrain bert --steps some", "--steps"), ("info {}/absent-absent-absent", "{}/absent-absent-absent"),
])  # fmt: skip
def test_an_error_is_one_line_in_a_pipe_and_broken_between_words_on_a_terminal(
    command, words, monkeypatch, capsys, tmp_path
):
    """And a path is never broken: it may be copied."""
    command, words = (text.replace("{}", str(tmp_path)) for text in (command, words))
    assert cli.main(command.split()) == 2
    whole = capsys.readouterr().err
    assert whole.count("\n") == 1
    made = Terminal(60)
    monkeypatch.setattr(sys, "stderr", made.file)
    assert cli.main(command.split()) == 2
    lines = made.read().splitlines()
    assert " ".join(map(str.strip, lines)) == whole.strip()
    assert words in whole
    assert any(words in line for line in lines)
    assert all(len(line) < 60 or " " not in line.strip() for line in lines)


@terminal
def test_below_its_table_a_check_is_as_wide_as_the_terminal(monkeypatch, capsys):
    command = "check bert/published wrong-torch-port"
    assert cli.main(command.split()) == 1
    whole = capsys.readouterr().out
    made = Terminal(80)
    monkeypatch.setattr(sys, "stdout", made.file)
    assert cli.main(command.split()) == 1
    seen = re.sub("\x1b[^m]*m", "", made.read())
    assert max(map(len, seen.splitlines())) < 80 <= max(map(len, whole.splitlines()))
    assert seen.split() == whole.split()
