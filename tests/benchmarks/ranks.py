"""What the fixed tree costs beside MPI's Allreduce: mpiexec -n N python tests/benchmarks/ranks.py [--megabytes M …]

A tree of 200 arrays, about as many as BERT-base has, is summed by `ranks.Group.sum`, and by Allreduce over one buffer,
whose order nobody promises. Printed, by the first process: seconds, medians of five; how long the tree takes as a
multiple of it; and whether the bits are those that one process gives.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from mpi4py import MPI

from minibert import ranks, training

TENSORS, TIMES = 200, 5


def part(number: int, size: int) -> dict[str, np.ndarray]:
    """A gradient of so many floats."""
    flat = np.random.default_rng(number).standard_normal(size, np.float32)
    return {f"{i}": array for i, array in enumerate(np.array_split(flat, TENSORS))}


def timed(f: Any) -> tuple[float, Any]:
    """(the median of the seconds that f takes, what it gives)."""
    took, found = [], None
    for _ in range(TIMES):
        MPI.COMM_WORLD.Barrier()
        began = time.perf_counter()
        found = f()
        MPI.COMM_WORLD.Barrier()
        took.append(time.perf_counter() - began)
    return statistics.median(took), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=(0.6, 16, 100), metavar="M")
    args = parser.parse_args()
    with ranks.joined() as group:
        print(f"{group.size} processes, {MPI.Get_library_version().splitlines()[0][:50]}")
        print(f"{'MB':>7}{'tree, s':>10}{'Allreduce':>11}{'ratio':>7}  bits of one process")
        for megabytes in args.megabytes:
            size = int(megabytes * 1e6 / 4)
            own = part(group.rank, size)
            mine, total = np.concatenate([*own.values()]), np.empty(size, np.float32)
            by_tree, found = timed(lambda own=own: group.sum([own], group.size, training._plus))
            by_all, _ = timed(lambda mine=mine, total=total: MPI.COMM_WORLD.Allreduce(mine, total))
            due = ranks.ALONE.sum((part(i, size) for i in range(group.size)), group.size, training._plus)
            same = [all(np.array_equal(found[name], due[name]) for name in due),
                    np.array_equal(total, np.concatenate([*due.values()]))]  # fmt: skip
            print(f"{megabytes:>7}{by_tree:>10.4f}{by_all:>11.4f}{by_tree / by_all:>7.2f}  tree {same[0]}, Allreduce "
                  f"{same[1]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
