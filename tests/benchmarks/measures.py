"""What the benchmarks measure with: rounds of contestants in turn, memory, the rate of matrix products."""

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import kernels

Runs = dict[str, Callable[[], Any]]


# ---- Time ------------------------------------------------------------------------------------------------------------
LEAST = 0.05  # seconds of a measurement: a shorter job runs several times in a row
PAUSE = 0.02  # seconds before each, in which the threads of the one before stop waiting for work


def calls(run: Callable) -> int:
    """How many runs in a row take LEAST seconds."""
    began = time.perf_counter()
    run()
    return max(1, round(LEAST / (time.perf_counter() - began)))


def seconds(runs: Runs, repeats: int) -> dict[str, list[float]]:
    """Seconds of one run of each contestant, in `repeats` rounds of all in turn after one that does not count."""
    times = {name: calls(run) for name, run in runs.items()}
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            for _ in range(times[name]):
                run()
            measured[name].append((time.perf_counter() - began) / times[name])
    return measured


# ---- Memory ----------------------------------------------------------------------------------------------------------
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(line: str) -> float:
    """A line of Linux's status of this process (VmRSS now, VmHWM at its peak), in MB of 10^6 bytes."""
    return int(STATUS.read_text(encoding="ascii").partition(f"{line}:")[2].split()[0]) * 1024 / 1e6


def growth(run: Callable[[], Any]) -> tuple[float | None, Any]:
    """(MB by which the process grew at its peak while this ran, what it returned); None where Linux's /proc is not.

    What earlier runs freed is handed back to the system first: memory that malloc kept would be used again unseen.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR.write_text("5", encoding="ascii")  # the peak so far is forgotten
    except OSError:
        return None, run()
    before = resident("VmRSS")
    result = run()
    return resident("VmHWM") - before, result


# ---- The BLAS under NumPy, and the ceiling ---------------------------------------------------------------------------
def core() -> str | None:
    """The processor for which NumPy's OpenBLAS chose its kernels, as "SkylakeX"."""
    if (corename := kernels.openblas("get_corename")) is None:
        return None
    corename.restype = ctypes.c_char_p
    return corename().decode()


SIDE = 2048
CEILING = 2 * SIDE**3  # floating-point operations of a square product


def squares() -> Runs:
    """One large float32 product, by NumPy's BLAS and, where it is installed, by torch."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    runs: Runs = {"NumPy's BLAS": lambda: kernels.product(a, b)}  # BLAS's own threads would spin on into torch's time
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        left, right, into = map(torch.from_numpy, (a, b, np.empty_like(a)))
        runs["torch"] = lambda: torch.mm(left, right, out=into)
    for run in runs.values():
        run()
    return runs


# ---- The matrix products of a job ------------------------------------------------------------------------------------
class Product(NamedTuple):
    """`count` products (m, k) @ (k, n) -> (m, n); left, right: whether that operand lies transposed in memory.

    heads: 0 for one product on all threads, else so many small ones, each row of the batch on a thread of its own.
    """

    m: int
    k: int
    n: int
    count: int
    left: bool = False
    right: bool = False
    heads: int = 0


def products(config: Any, rows: int, length: int, targets: int | None = None) -> Iterator[Product]:
    """Those of BERT's forward pass with its pooler; with `targets` predicted positions in all, those of a whole step.

    A step has three for each one forward: x Wᵀ, then dy W and dyᵀ x. Adding up biases and table rows is no product.
    """
    d, f, heads, depth = (
        getattr(config, name)
        for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    )
    n, width = rows * length, d // heads
    linears = [(n, d, d, 4 * depth), (n, d, f, depth), (n, f, d, depth), (rows, d, d, 1)]
    if targets is not None:
        linears += [(targets, d, d, 1), (targets, d, config.vocab_size, 1), (rows, d, 2, 1)]
    for tokens, inner, outer, count in linears:
        yield Product(tokens, inner, outer, count, right=True)
        if targets is not None:
            yield Product(tokens, outer, inner, count)
            yield Product(outer, tokens, inner, count, left=True)
    stacks = depth * rows
    yield Product(length, width, length, stacks, right=True, heads=heads)  # q kᵀ
    yield Product(length, length, width, stacks, heads=heads)  # p v
    if targets is not None:
        yield Product(length, width, length, stacks, right=True, heads=heads)  # dy vᵀ
        yield Product(length, length, width, stacks, left=True, heads=heads)  # pᵀ dy
        yield Product(length, length, width, stacks, heads=heads)  # ds k
        yield Product(length, length, width, stacks, left=True, heads=heads)  # dsᵀ q


def operations(work: list[Product]) -> int:
    """Floating-point operations: a multiplication and an addition for each term."""
    return sum(2 * p.m * p.k * p.n * p.count * max(1, p.heads) for p in work)


def alone(work: list[Product]) -> Callable[[], None]:
    """These products and nothing else, as the engine has them made: large ones cut, small ones one to a thread. Each
    has a right operand of its own, as each layer has weights of its own, which no cache holds from pass to pass.
    """
    rng = np.random.default_rng(0)

    def operand(heads: int, rows: int, columns: int, transposed: bool) -> np.ndarray:
        shape = (columns, rows) if transposed else (rows, columns)
        array = rng.standard_normal((*([heads] if heads else []), *shape), np.float32)
        return array.swapaxes(-1, -2) if transposed else array

    jobs = [
        (
            operand(p.heads, p.m, p.k, p.left),
            [operand(p.heads, p.k, p.n, p.right) for _ in range(1 if p.heads else p.count)],
            p,
        )
        for p in work
    ]

    def run() -> None:
        for a, others, p in jobs:
            if p.heads:
                with kernels.one_blas_thread():
                    kernels.over_blocks(lambda _, a=a, b=others[0]: np.matmul(a, b), p.count, 1)
            else:
                for b in others:
                    kernels.product(a, b)

    return run
