"""Where the time of a pass goes: python tests/benchmarks/where.py [JOB …] [--repeats N] [--threads N]

Of the forward and the step jobs of side_by_side.py, without their peers: the seconds in which the engine's kernels were
at work, by what they do, the rest (Python, views, what stands in no kernel), and the same products alone, in one table;
shares are of the products alone. Of each the fastest of some passes. With one thread, the default, they are of
processor time, which other programs disturb little.
"""

import argparse
import collections
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before NumPy is imported

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jobs  # noqa: E402
import measures  # noqa: E402
import peers  # noqa: E402

from minibert import kernels, ops, optim  # noqa: E402

PARTS = {
    "products": [(kernels, "product")],
    "biases": [(kernels, "add_row"), (kernels, "column_sums")],
    "attention": [(kernels, "attention"), (kernels, "attention_slope")],
    "activation": [(kernels, name) for name in ("gelu", "gelu_slope", "gelu_tanh", "gelu_tanh_slope")],
    "norms": [(kernels, "layer_norm"), (kernels, "layer_norm_slope")],
    "sums": [(kernels, "add")],
    "losses": [(kernels, "log_sum_exp"), (kernels, "softmax_minus_onehot")],
    "embedding": [(kernels, "scatter_add"), (ops, "embedding")],
    "optimizer": [(optim, "adamw"), (optim, "clipping")],
}
SIZES = {"tiny": (128, 2, 2), "mini": (256, 4, 4), "minilm": (384, 6, 12), "base": (768, 12, 12)}  # width, depth, heads
JOBS = [f"{what} {size} {batch}" for what in ("forward", "step") for size in SIZES for batch in ("8x128", "1x16")]
clock: Callable[[], float] = time.process_time


@contextlib.contextmanager
def watched(spent: dict[str, float]) -> Iterator[None]:
    """Adds to `spent` the seconds of each part, without those of the parts within it."""
    inner = [0.0]

    def timed(part: str, f: Callable) -> Callable:
        def call(*args: Any, **given: Any) -> Any:
            before, inner[0], began = inner[0], 0.0, clock()
            try:
                return f(*args, **given)
            finally:
                whole = clock() - began
                spent[part] += whole - inner[0]
                inner[0] = before + whole

        return call

    with contextlib.ExitStack() as stack:
        for part, places in PARTS.items():
            for module, name in places:
                stack.enter_context(mock.patch.object(module, name, timed(part, getattr(module, name))))
        yield


def fastest(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of one pass, of the fastest of some rows of them that take `measures.LEAST` each."""
    count, times = measures.calls(run), []
    for _ in range(repeats):
        began = clock()
        for _ in range(count):
            run()
        times.append((clock() - began) / count)
    return min(times)


def figures(run: Callable[[], Any], alone: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Seconds of the whole pass, of the products alone, and of each part, as parts of the fastest watched pass."""
    found = {"products alone": fastest(alone, repeats), "whole": fastest(run, repeats)}
    best: dict[str, float] = {}
    for _ in range(repeats * measures.calls(run)):
        spent: dict[str, float] = collections.defaultdict(float)
        with watched(spent):
            began = clock()
            run()
            spent["whole"] = clock() - began
        best = spent if not best or spent["whole"] < best["whole"] else best
    parts = {part: best[part] for part in PARTS if best.get(part)}
    return found | parts | {"rest": best["whole"] - sum(parts.values())}


def named(text: str) -> str:
    """A name such as those in JOBS, of any batch."""
    if not re.fullmatch(rf"(forward|step) ({'|'.join(SIZES)}) [1-9]\d{{0,3}}x[1-9]\d{{0,2}}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no job; one is {JOBS[0]!r}")
    return text


def job(name: str) -> jobs.Job:
    what, size, batch = name.split()
    width, layers, heads = SIZES[size]
    fields = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
              "intermediate_size": 4 * width}  # fmt: skip
    rows, length = map(int, batch.split("x"))
    return {"forward": jobs.forward, "step": jobs.step}[what](jobs.network(0, **fields), rows, length, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "jobs", nargs="*", type=named, metavar="JOB", help=f"in quotes; default: all of {', '.join(JOBS)}"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    args = parser.parse_args()
    kernels.THREADS = args.threads
    if args.threads > 1:
        globals()["clock"] = time.perf_counter
    peers.FORWARD.clear()
    peers.STEP.clear()
    for name in args.jobs or JOBS:
        made = job(name)
        found = figures(made.runs["minibert"], measures.alone(list(made.work)), args.repeats)
        alone = found["products alone"]
        print(f"{name}: {found['whole'] * 1e3:.2f} ms, {found['whole'] / alone - 1:.0%} beside its products alone")
        for part, seconds in found.items():
            print(f"  {part:<16}{seconds * 1e3:>9.3f} ms{seconds / alone:>8.1%}", flush=True)


if __name__ == "__main__":
    main()
