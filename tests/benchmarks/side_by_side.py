"""minibert and its peers side by side: python tests/benchmarks/side_by_side.py [JOB …] [--repeats N] [--json FILE]

Each job has a process of its own, in which all contestants compute the same thing from the same inputs on the same
number of threads. Their outputs are compared, then they are timed in turn, A B A B …, and between them the matrix
products that the job needs, alone, and a large square product: the ceiling. Figures of one machine say little about
another, ratios say more. Peers (all optional): torch and transformers, eager and, where a C++ compiler is, compiled;
ONNX Runtime (onnxruntime, onnxscript); JAX; sentence-transformers; tokenizers. Missing ones are named.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jobs
import measures
import peers

from minibert import kernels

NOT_CONTESTANTS = ("NumPy's BLAS", "torch")  # the square products
IMPORT_BAR = 0.25  # seconds that `import minibert` may cost more than NumPy


# ---- In the job's process --------------------------------------------------------------------------------------------
def figures(name: str, repeats: int, seed: int) -> dict[str, Any]:
    return jobs.figures(jobs.JOBS[name](seed), repeats)


def machine(repeats: int) -> dict[str, Any]:
    """Threads, versions, the kernels of NumPy's BLAS, and GFLOP/s of large float32 products."""
    versions = {}
    for package in ("numpy", "torch", "transformers", "onnxruntime", "jax", "sentence-transformers", "tokenizers"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    seconds = measures.seconds(measures.squares(), repeats)
    return {
        "threads": kernels.THREADS,
        "versions": versions,
        "core": measures.core(),
        "coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "ceilings": {name: measures.CEILING / statistics.median(times) / 1e9 for name, times in seconds.items()},
    }


# ---- In the first process --------------------------------------------------------------------------------------------
def limited(threads: int) -> None:
    """Every process started from here on has so many threads, whichever library they belong to.

    OpenMP serves torch, RAYON the Rust tokenizer, PJRT_NPROC JAX, which also looks at the processors it may use; those
    are cut (Linux) for whatever looks there.
    """
    names = "MINIBERT_NUM_THREADS OPENBLAS_NUM_THREADS OMP_NUM_THREADS MKL_NUM_THREADS RAYON_NUM_THREADS PJRT_NPROC"
    os.environ.update(dict.fromkeys(names.split(), str(threads)))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def apart(f: Callable, *arguments: Any) -> Any:
    """f(*arguments) in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(f, *arguments).result()


def heading(about: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    yield f"{about['threads']} threads, float32; {versions}"
    rates = ", ".join(f"{rate:,.0f} by {name}" for name, rate in about["ceilings"].items())
    kernel = f"; NumPy's OpenBLAS runs its kernels for {about['core']}" if about["core"] else ""
    yield f"GFLOP/s of products of {measures.SIDE} × {measures.SIDE}: {rates}{kernel}"
    if about["coretype"]:
        yield (
            f"OPENBLAS_CORETYPE={about['coretype']} is set: NumPy's BLAS was told which kernels to use; "
            "unset OPENBLAS_CORETYPE and it chooses"
        )


def table(name: str, measured: dict[str, Any]) -> Iterator[str]:
    """The lines of a job."""
    seconds, work = measured["seconds"], measured["operations"]
    yield f"{name:<26}{'median s':>10}{'ratio':>8}{'lowest':>8}{'highest':>9}{'MB':>8}{'tokens/s':>12}" + (
        f"{'ceiling':>9}{'products':>10}" if work else ""
    )
    for contestant, times in seconds.items():
        if contestant in NOT_CONTESTANTS:
            continue
        middle = statistics.median(times)
        ratios = quotients(seconds["minibert"], times)
        line = f"  {contestant:<24}{middle:>10.4f}{statistics.median(ratios):>8.2f}"
        grown = measured["grown"].get(contestant)
        line += f"{min(ratios):>8.2f}{max(ratios):>9.2f}{'' if grown is None else f'{grown:,.0f}':>8}"
        speed = measured["tokens"] / middle if contestant != "products alone" else 0
        line += f"{f'{speed:,.0f}' if speed else '':>12}"
        if work:
            line += "{:>9.0%}{:>10.0%}".format(*shares(measured, times))
        yield line.rstrip()
    for reason in measured["absent"]:
        yield f"  {reason}"
    if name == "import":
        costs = [a - b for a, b in zip(seconds["minibert"], seconds["numpy"], strict=True)]
        yield f"  import minibert costs {statistics.median(costs):.3f} s more than import numpy (bar {IMPORT_BAR} s)"


def quotients(a: list[float], b: list[float]) -> list[float]:
    """Round by round."""
    return [x / y for x, y in zip(a, b, strict=True)]


def shares(measured: dict[str, Any], times: list[float]) -> tuple[float, float]:
    """(share of these times that the job's products need at the ceiling of NumPy's BLAS, that they need when alone)."""
    at_ceiling = [measured["operations"] / measures.CEILING * s for s in measured["seconds"]["NumPy's BLAS"]]
    alone = measured["seconds"]["products alone"]
    return statistics.median(quotients(at_ceiling, times)), statistics.median(quotients(alone, times))


LEGEND = """
ratio: minibert's time over this one's, round by round: median, lowest, highest; below 1 minibert is faster
MB: how far the process grew in the contestant's first run, beyond its weights and optimizer state
ceiling: share of the time that the job's matrix products need at the rate of NumPy's BLAS for large ones
products: share of the time that the same products take, run alone in the same rounds"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = ", ".join(jobs.JOBS)
    parser.add_argument("jobs", nargs="*", choices=[[], *jobs.JOBS], default=[], metavar="JOB", help=known)
    parser.add_argument("--repeats", type=int, default=5, help="rounds; 5 or more for figures to be quoted")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and masks")
    parser.add_argument("--json", type=Path, help="everything measured, written after each job")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats: at least 1")
    limited(kernels.THREADS)
    results: dict[str, Any] = {"machine": apart(machine, args.repeats), "seed": args.seed, "jobs": {}}
    print(*heading(results["machine"]), sep="\n", flush=True)
    failed = False
    for job in args.jobs or jobs.JOBS:
        try:
            results["jobs"][job] = apart(figures, job, args.repeats, args.seed)
        except (jobs.Differ, peers.Absent) as why:
            failed = True
            print(f"\n{job}\n  {why}", flush=True)
            continue
        except Exception:  # the other jobs are worth having
            failed = True
            print(f"\n{job}\n  failed: {traceback.format_exc()}", flush=True)
            continue
        print("", *table(job, results["jobs"][job]), sep="\n", flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(LEGEND)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
