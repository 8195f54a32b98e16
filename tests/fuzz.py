"""Hostile inputs against every reader: python tests/fuzz.py [READER …] [--inputs N] [--seed S] [--falls DIR]

Each input is a valid one with faults (tests/hostile/mutation.py); tests/hostile/workers.py says when it falls. One that
fell is saved, and read once more by: python tests/fuzz.py --again FILE. The exit code is 1 if any fell.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hostile import mutation
from hostile.readers import READERS, Reader
from hostile.workers import Input, Verdict, drawn, found, verdicts

SOURCE = "hostile.readers:READERS"
SAVED = 3  # inputs that are kept of each fault


class Table:
    """What came of the inputs, reader by reader."""

    HEAD = f"{'reader':<12}{'inputs':>8}{'refused':>9}{'accepted':>9}{'slowest s':>11}{'largest MB':>12}{'fell':>6}"

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter] = {}
        self.slowest: dict[str, float] = {}
        self.largest: dict[str, float] = {}

    def enter(self, reader: str, verdict: Verdict) -> None:
        """Counts one input."""
        self.outcomes.setdefault(reader, Counter())[verdict.outcome] += 1
        self.slowest[reader] = max(self.slowest.get(reader, 0.0), verdict.seconds)
        self.largest[reader] = max(self.largest.get(reader, 0.0), verdict.megabytes)

    @property
    def fell(self) -> int:
        """How many inputs fell."""
        return sum(counts["fell"] for counts in self.outcomes.values())

    def lines(self) -> list[str]:
        """The table as text."""
        total: Counter = Counter()
        for counts in self.outcomes.values():
            total.update(counts)
        rows = [(name, self.outcomes[name], self.slowest[name], self.largest[name]) for name in sorted(self.outcomes)]
        rows.append(("all", total, max(self.slowest.values(), default=0), max(self.largest.values(), default=0)))
        return [self.HEAD] + [
            f"{name:<12}{counts.total():>8,}{counts['refused']:>9,}{counts['accepted']:>9,}"
            f"{slowest:>11.2f}{largest:>12.0f}{counts['fell']:>6,}"
            for name, counts, slowest, largest in rows
        ]


def turns(readers: Mapping[str, Reader], inputs: int) -> Iterator[tuple[str, int]]:
    """(reader, number) of so many inputs: every reader has its share of them from the beginning on."""
    whole, given = sum(reader.share for reader in readers.values()), dict.fromkeys(readers, 0)
    for done in range(inputs):
        name = max(readers, key=lambda name: readers[name].share * (done + 1) / whole - given[name])
        yield name, given[name]
        given[name] += 1


class Falls:
    """The inputs that fell, as files; of each fault the first few."""

    def __init__(self, folder: Path, readers: Mapping[str, Reader], seed: int) -> None:
        self.folder, self.readers, self.seed, self.count = folder, readers, seed, Counter()

    def enter(self, asked: tuple[str, int] | Input, verdict: Verdict) -> str | None:
        """Saves the input; the line that says so, the first time that this fault comes."""
        given = asked if isinstance(asked, Input) else drawn(asked[0], self.readers[asked[0]], asked[1], self.seed)
        key = (given.reader, *(fault.rpartition(" at ")[2] for fault in verdict.faults))
        self.count[key] += 1
        if self.count[key] > SAVED or not isinstance(asked, tuple):
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{given.reader}-{self.seed}-{asked[1]}.json"
        content = {"reader": given.reader, "faults": verdict.faults, "detail": verdict.detail,
                   "arguments": given.arguments, "tree": mutation.as_json(given.tree)}  # fmt: skip
        file.write_text(json.dumps(content), encoding="utf-8")
        return f"{given.reader}: {'; '.join(verdict.faults)}; {file}" if self.count[key] == 1 else None


def run(
    source: str, names: list[str], inputs: int, seed: int, folder: Path, processes: int, progress: bool = True
) -> Table:
    """Reads so many inputs, says what falls, and gives the table, also of those before a Ctrl-C."""
    readers = {name: reader for name, reader in found(source).items() if name in names}
    table, falls, began, shown = Table(), Falls(folder, readers, seed), time.monotonic(), 0.0
    try:
        for asked, verdict in verdicts(source, turns(readers, inputs), seed, processes):
            table.enter(asked[0], verdict)
            if verdict.outcome == "fell" and (line := falls.enter(asked, verdict)):
                print(f"\r{ascii(line)[1:-1]}", flush=True)
            if progress and time.monotonic() - shown > (1 if sys.stderr.isatty() else 30):
                shown, done = time.monotonic(), sum(counts.total() for counts in table.outcomes.values())
                spent = shown - began
                line = f"{done:,} of {inputs:,} inputs, {table.fell:,} fell, {spent:.0f} s, {done / spent:.0f} a second"
                end = "" if sys.stderr.isatty() else "\n"
                print(f"\r{line:<79}", end=end, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    return table


def again(path: Path, source: str = SOURCE) -> Verdict:
    """Reads a saved input once more."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    given = Input(content["reader"], mutation.from_json(content["tree"]), content["arguments"])
    return next(verdict for _, verdict in verdicts(source, iter([given]), 0, 1))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of: {', '.join(READERS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    falls = Path(tempfile.gettempdir()) / "minibert-falls"
    parser.add_argument("--falls", type=Path, default=falls, metavar="DIR", help=f"for what fell; default {falls}")
    parser.add_argument("--again", type=Path, metavar="FILE", help="read one that fell")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # the table so far, then; also in the background
        signal.signal(number, signal.default_int_handler)
    if args.again:
        verdict = again(args.again)
        print(f"{verdict.outcome}, {verdict.seconds:.2f} s, {verdict.megabytes:.0f} MB", *verdict.faults, sep="\n")
        print(verdict.detail)
        return int(verdict.outcome == "fell")
    if unknown := set(args.readers) - READERS.keys():
        parser.error(f"no reader {', '.join(sorted(unknown))}")
    table = run(SOURCE, args.readers or list(READERS), args.inputs, args.seed, args.falls, args.processes)
    print("\n".join(table.lines()))
    return int(table.fell > 0)


if __name__ == "__main__":
    sys.exit(main())
