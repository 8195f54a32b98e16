"""The few blocked, threaded loops under `ops`: products, erf and GELU, row statistics, exp-normalise, scatter-add.

Blocks keep each pass in the cache, and ufuncs release the interpreter lock, so blocks run on several threads. Between
passes a thread needs the lock: blocks of 32k elements, the best for one thread, leave a second nothing to win; of 128k
two threads take 0.55 of the time of one (measured). Blocks over which something is summed are fixed, and their sums are
taken in block order: the bits do not depend on the threads.
"""

import contextvars
import ctypes
import math
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from minibert import buffers

SIMPLE = 524288  # elements of a single pass, which is too short to be worth a thread below
MOST = 1024  # threads
BLOCK = 131072  # elements; 512 KiB of float32: a pass takes 10 to 20 µs, in which threads seldom meet at the lock


def _default_threads() -> int:
    for name in ("MINIBERT_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if re.fullmatch(r"\s*[0-9]{1,9}\s*", given := os.environ.get(name, "")):
            return min(max(1, int(given)), MOST)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = _default_threads()
_scratch = threading.local()
_alone = threading.local()  # its `alone`: this thread shares none of its work with others


def _threads() -> int:
    """How many threads a loop of this thread may take; asked once, for `training.sharing` may set it."""
    return 1 if getattr(_alone, "alone", False) else THREADS


def beside(f: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """f(item) of each item, as they are done: THREADS at a time, each by one thread, in this context.

    Threads that share a loop meet at the interpreter's lock between any two passes, those with work of their own
    seldom: two batches of sentences beside each other take 0.8 to 0.9 of the time of one after the other, each on both
    threads (MiniLM, measured).
    """
    items = list(items)
    threads = min(_threads(), len(items))
    if threads < 2:
        yield from map(f, items)
        return
    pool = ThreadPoolExecutor(threads, "minibert_beside", setattr, (_alone, "alone", True))
    try:
        with one_blas_thread():
            given = [pool.submit(contextvars.copy_context().run, f, item) for item in items]
            for done in as_completed(given):
                yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _thread(number: int, process: int) -> SimpleQueue:
    """Where a thread that waits for work takes it from: (f, what it is called with, where its error goes, or None).

    Two empty blocks on two threads take 80 µs; by a ThreadPoolExecutor 100 (measured).
    """
    work: SimpleQueue = SimpleQueue()

    def run() -> None:
        while True:
            f, given, done = work.get()
            try:
                done.put(f(given))
            except BaseException as error:
                done.put(error)
            del f, given, done  # what they hold is not held until there is work again

    threading.Thread(target=run, name=f"minibert_{number}", daemon=True).start()
    return work


def over_blocks(f: Callable[[slice], object], length: int, size: int) -> list:
    """[f(block) for the blocks of `size` that cover range(length)], in block order, run on THREADS threads.

    f must not call this itself: it would wait for a thread that waits for it.
    """
    threads = _threads()
    blocks = [slice(i, min(i + size, length)) for i in range(0, length, size)]
    if threads == 1 or len(blocks) < 2:
        return [f(block) for block in blocks]
    results: list = [None] * len(blocks)

    def share(first: int) -> None:
        for i in range(first, len(blocks), threads):
            results[i] = f(blocks[i])

    done: SimpleQueue = SimpleQueue()
    begun = 0
    try:
        for i in range(1, min(threads, len(blocks))):
            _thread(i, os.getpid()).put((share, i, done))
            begun = i
        share(0)
    finally:
        failed = [done.get() for _ in range(begun)]  # whatever happens, nobody goes on writing
    for error in filter(None, failed):
        raise error
    return results


def even(length: int, most: int) -> int:
    """The size of blocks of at most `most` that are as long for each thread: for loops that sum nothing over blocks.

    A thread alone meets nobody at the lock: half as long, what a pass writes is in the cache still for the next (GELU
    in 0.87 of the time on a cache of 2 MB a core, measured).
    """
    threads = _threads()
    if threads == 1:
        most = max(1, most // 2)
    count = -(-length // most)
    return -(-length // (-(-count // threads) * threads)) if count > 1 else max(1, length)


def scratch(count: int, like: np.ndarray, dtype: np.dtype | None = None) -> list[np.ndarray]:
    """`count` private arrays of this thread, shaped as `like` (at most BLOCK entries), of its dtype unless given."""
    store = _scratch.__dict__
    dtype = dtype or like.dtype
    arrays = []
    for i in range(count):
        key = f"{dtype.char}{i}"
        if key not in store or store[key].size < like.size:
            store[key] = buffers.fresh(max(BLOCK, like.size) * dtype.itemsize).view(dtype)
        arrays.append(store[key][: like.size].reshape(like.shape))
    return arrays


def rows(*arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as contiguous rows (N, last dimension)."""
    return [np.ascontiguousarray(a).reshape(-1, a.shape[-1]) for a in arrays]


def elementwise(f: Callable, x: np.ndarray, *others: np.ndarray, most: int = BLOCK) -> np.ndarray:
    """A new array like x filled by f(out, x, *others) block by block, of at most `most` entries."""
    out = buffers.empty_like(x)
    others = tuple(a if a.shape == x.shape else np.broadcast_to(a, x.shape) for a in others)
    flat = [a.reshape(-1) for a in (out, *map(np.ascontiguousarray, (x, *others)))]
    over_blocks(lambda block: f(*(a[block] for a in flat)), out.size, even(out.size, most))
    return out


# ---- Matrix products -------------------------------------------------------------------------------------------------
# Threads of BLAS's own go on spinning for some 20 ms after each product, on the cores that the loops between products
# need: those took 1.6 times as long (measured). So each call of BLAS stays on its thread, and a large product is cut
# into pieces. The cut depends on the shape alone up to PIECES threads, so up to then no bit depends on their number.
PIECES = 4
LEAST_PRODUCT = 1 << 26  # multiply-adds, about half a millisecond: waking a thread takes a tenth of one
_WEIGHT = 64  # multiply-adds that BLAS could do in the time in which it fetches and packs an entry of b
_ALONE = 64**3  # multiply-adds up to which OpenBLAS stays alone by itself (interface/gemm.c: SMP_THRESHOLD_MIN × 4)
_EDGE = 32  # rows or columns: what the tiles of BLAS divide
# OpenBLAS packs both operands before it multiplies, which takes longer than the product itself where a has few rows.
# Its kernels for AVX-512 read the operands of small products where they lie, so a stack of small products takes 0.3 to
# 0.8 of the time (measured; `_product_of_few`).
_IN_PLACE = 100**3  # multiply-adds
_FEW = 32  # rows
_CORES = ("SkylakeX", "Cooperlake", "SapphireRapids")


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b, matrices."""
    out = buffers.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    work = out.size * a.shape[1]
    if work <= _ALONE:
        return np.matmul(a, b, out=out)
    with one_blas_thread() as controlled:
        if not controlled:
            return np.matmul(a, b, out=out)
        multiply = _product_of_few if 1 < len(a) <= _FEW and b.flags.f_contiguous and _reads_in_place() else np.matmul
        if work + _WEIGHT * b.size < LEAST_PRODUCT:
            return multiply(a, b, out=out)
        pieces = _cut(*out.shape, max(PIECES, THREADS))

        def piece(i: slice) -> None:
            for these, columns in pieces[i]:
                multiply(a[these], b[:, columns], out=out[these, columns])

        over_blocks(piece, len(pieces), 1)
    return out


def _cut(m: int, n: int, count: int) -> list[tuple[slice, slice]]:
    """A result (m, n) in at most `count` pieces, in the grid for which BLAS packs least: each piece packs its rows of
    the left operand and its columns of the right one.
    """
    _, down = min((count // i * m + i * n, i) for i in range(1, count + 1) if count % i == 0)
    tall, wide = (-(-length // (_EDGE * parts)) * _EDGE for length, parts in ((m, down), (n, count // down)))
    return [(slice(i, i + tall), slice(j, j + wide)) for i in range(0, m, tall) for j in range(0, n, wide)]


def _product_of_few(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """a b, as a stack of products with some columns of b each; b lies transposed in memory."""
    (m, k), n = a.shape, b.shape[1]
    width = min(_IN_PLACE // (m * k), 2 * _EDGE)
    width -= width % 8
    if not width:
        return np.matmul(a, b, out=out)
    count = n // width
    whole = count * width
    stack = b[:, :whole].reshape(k, count, width).swapaxes(0, 1)
    np.matmul(a, stack, out=out[:, :whole].reshape(m, count, width).swapaxes(0, 1))
    if whole < n:
        np.matmul(a, b[:, whole:], out=out[:, whole:])
    return out


@cache
def _reads_in_place() -> bool:
    """NumPy's OpenBLAS has chosen kernels that read small products' operands where they lie."""
    if (name := openblas("get_corename")) is None:
        return False
    name.restype = ctypes.c_char_p
    return name().decode() in _CORES


class one_blas_thread:
    """NumPy's OpenBLAS computes on the calling thread. Entered, False where another BLAS is used, which is left alone.

    Who is inside is held weakly, so that one whom Ctrl-C cut off on the way out does not stay there.
    """

    __slots__ = ("__weakref__", "me")

    def __enter__(self) -> bool:
        get, put = openblas("get_num_threads"), openblas("set_num_threads")
        if get is None or put is None:
            return False
        self.me = weakref.ref(self, _inside.discard)
        with _blas_lock:
            if not _inside:
                if not _threads_before:
                    _threads_before.append(get())
                put(1)
            _inside.add(self.me)
        return True

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "me"):
            with _blas_lock:
                _inside.discard(self.me)
                if not _inside and _threads_before:  # the last one out puts back what the first one found
                    openblas("set_num_threads")(_threads_before.pop())


def _forked() -> None:
    """In the child of a fork nobody is inside, whatever the parent's threads were doing."""
    global _blas_lock
    _blas_lock = threading.Lock()
    _inside.clear()
    if _threads_before:
        openblas("set_num_threads")(_threads_before.pop())


_blas_lock = threading.Lock()
_inside: set[weakref.ref] = set()
_threads_before: list[int] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@cache
def openblas(function: str) -> Callable | None:
    """A function of the OpenBLAS that NumPy's wheel carries ("get_num_threads", "get_corename"), where there is one."""
    package = Path(np.__file__).parent
    for path in [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")]:
        library = ctypes.CDLL(str(path))  # already loaded: the same one
        for name in (f"scipy_openblas_{function}64_", f"openblas_{function}64_", f"openblas_{function}"):
            if hasattr(library, name):
                return getattr(library, name)
    return None


# ---- Sums ------------------------------------------------------------------------------------------------------------
def add(*terms: np.ndarray) -> np.ndarray:
    """The sum of two or more arrays of one shape, in their order."""

    def block(out: np.ndarray, first: np.ndarray, second: np.ndarray, *others: np.ndarray) -> None:
        np.add(first, second, out=out)
        for other in others:
            out += other

    first, *others = terms
    return elementwise(block, first.astype(np.result_type(*terms), copy=False), *others, most=SIMPLE)


def scaled(x: np.ndarray, factor: float) -> np.ndarray:
    """x · factor."""
    return elementwise(lambda out, x: np.multiply(x, factor, out=out), x, most=SIMPLE)


def dropped(x: np.ndarray, keep: np.ndarray, factor: float) -> np.ndarray:
    """x · factor · keep, keep 0 or 1 in any dtype."""

    def block(out: np.ndarray, x: np.ndarray, keep: np.ndarray) -> None:
        np.multiply(x, keep, out=out)
        out *= factor

    return elementwise(block, x, keep, most=SIMPLE)


def add_row(x: np.ndarray, row: np.ndarray) -> None:
    """x += row, IN PLACE: x (N, D), row (D,)."""

    def block(i: slice) -> None:
        x[i] += row

    if x.size <= SIMPLE:  # a sentence's, where the loop costs as much as the pass
        block(slice(None))
    else:
        over_blocks(block, len(x), even(len(x), _row_blocks(len(row), SIMPLE)))


def column_sums(x: np.ndarray) -> np.ndarray:
    """Σ over the rows of x (N, D)."""
    return np.sum(over_blocks(lambda i: x[i].sum(0), len(x), _row_blocks(x.shape[1], SIMPLE)) or [x.sum(0)], 0)


# ---- The tail of the normal distribution: erf, GELU ------------------------------------------------------------------
# With a = |x| and E = exp(-a²/2): Q(a) = ½ erfc(a/√2) = E·S(a), and S is smooth and bounded, so it is a polynomial in
# t = (a-5)/(a+5) on all of [0, ∞). One exponential then serves erf, Φ, GELU and its derivative, with no branch and no
# cancellation in the tail. Own coefficients: Chebyshev interpolation of S(a(t)) at 96 nodes in 60 digits, as monomials
# (the sum of |coefficients| is 0.5, so Horner is safe); float32: weighted minimax. tests/core/test_kernels.py checks.
_TAIL = {
    "f": """7.693166265e-02 -1.432606291e-01 1.173592433e-01 -7.632586706e-02 5.733268775e-02 -1.167144809e-02
        1.711845534e-02""",
    "d": """0.0769193049750062958 -0.143457555264011968 0.116068811886003343 -0.0808838772641276936
        0.0478553522841666234 -0.023413900487687568 0.00899137055067652711 -0.0023788443566905936
        0.000219550736537038459 0.000134276842741055976 -0.0000604274750922799236 9.61313297573171045e-7
        6.64438809972194932e-6 -1.27011579185685575e-6 -6.7499026731754802e-7 2.43476471950163332e-7
        7.69651451791922218e-8 -3.94266626584135686e-8 -1.08740856541641264e-8 6.00279254599930075e-9
        1.80412832970274904e-9 -7.82445924183025503e-10 -2.75219461537936286e-10 6.21151379905562694e-11
        2.49016546138865847e-11""",
    "g": """0.07691930497500629596455 -0.1434575552640119811717 0.1160688118860032877631 -0.08088387726412633344468
        0.04785535228416975176743 -0.02341390048772969733731 0.008991370550606874409304 -0.002378844356084702348277
        0.0002195507373446777315618 0.0001342768378545025261497 -0.00006042748068309319323406
        9.613377063717328513561e-7 0.000006644413051344539843255 -0.000001270195650930938787864
        -6.750653662962440902209e-7 2.436527382116054501207e-7 7.7121377089112852104e-8 -3.969163327053116826483e-8
        -1.110080210283791289512e-8 6.271262216306320483388e-9 2.032549736611663544507e-9
        -9.590770434840968017481e-10 -4.320297495624857540163e-10 1.310916789421983297402e-10
        9.591737218322119132725e-11 -1.219597365330128726807e-11 -2.054763070641511595194e-11
        -6.302373423063555253923e-13 3.969634494306887361716e-12 6.109553886320498966315e-13
        -6.365272815962954027266e-13 -1.366679461025912959777e-13 7.389446963001532682454e-14
        1.290169615947312933032e-14 -4.559221703962896628258e-15""",
}
# Beyond these |x| the tail is below the smallest normal number, and arithmetic on smaller ones is twenty times slower.
_TAIL_END = {"f": 12.8, "d": 37.5, "g": 37.5}


@cache
def _tail_coefficients(char: str) -> list:
    kind = np.dtype(char).type
    return [kind(c) if char == "g" else float(c) for c in _TAIL[char].split()][::-1]


def _pi(like: np.ndarray) -> np.floating:
    """π in the precision of `like`."""
    return 4 * np.arctan(like.dtype.type(1))


def _tail(x: np.ndarray, a: np.ndarray, q: np.ndarray, e: np.ndarray, t: np.ndarray) -> None:
    """a = min(|x|, end), e = exp(-a²/2), q = ½ erfc(a/√2); t is scratch."""
    np.abs(x, out=a)
    np.minimum(a, x.dtype.type(_TAIL_END[x.dtype.char]), out=a)
    np.add(a, 5, out=q)
    np.subtract(a, 5, out=t)
    t /= q
    first, second, *rest = _tail_coefficients(x.dtype.char)
    np.multiply(t, first, out=q)
    q += second
    for coefficient in rest:
        q *= t
        q += coefficient
    np.square(a, out=e)
    e *= -0.5
    np.exp(e, out=e)
    q *= e


def gelu(x: np.ndarray) -> np.ndarray:
    """x·Φ(x) = max(x, 0) - a·Q(a)."""

    def block(out: np.ndarray, x: np.ndarray) -> None:
        a, e, t = scratch(3, x)
        _tail(x, a, out, e, t)
        out *= a
        np.maximum(x, 0, out=a)
        np.subtract(a, out, out=out)

    return elementwise(block, x)


def gelu_slope(x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy·(Φ(x) + x·φ(x)) from y = x·Φ(x): ½ + x·((y - x/2)/x² + E/√2π), E = exp(-x²/2), as Φ - ½ = (y - x/2)/x.

    Beyond the end of the tail, x and y are as at it. What is added to x² is lost but at 0, where y - x/2 is 0, too.
    """

    def block(out: np.ndarray, x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> None:
        c, e = scratch(2, x)
        end = x.dtype.type(_TAIL_END[x.dtype.char])
        np.clip(x, -end, end, out=c)
        np.minimum(y, end, out=out)
        out += np.multiply(c, -0.5, out=e)
        np.square(c, out=e)
        e += np.finfo(x.dtype).tiny
        out /= e
        e *= -0.5
        np.exp(e, out=e)
        e *= 1 / (2 * _pi(x)) ** 0.5
        out += e
        out *= c
        out += 0.5
        out *= dy

    return elementwise(block, x, y, dy)


def erf(x: np.ndarray) -> np.ndarray:
    """erf(x) = sign(x)·(1 - 2Q(|x|√2)); below ½ the series x·P(x²), which keeps the relative accuracy."""

    def block(out: np.ndarray, x: np.ndarray) -> None:
        a, e, t, z = scratch(4, x)
        np.multiply(x, np.sqrt(x.dtype.type(2)), out=z)
        _tail(z, a, out, e, t)
        np.multiply(out, -2, out=out)
        out += 1
        np.copysign(out, x, out=out)
        small = np.abs(x) < 0.5
        if small.any():
            out[small] = _erf_series(x[small])

    return elementwise(block, x)


def _erf_series(x: np.ndarray) -> np.ndarray:
    """erf(x) = 2/√π Σ (-1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)); 14 terms are exact to 1e-20 below ½ (Abramowitz & Stegun 7.1.5)."""
    square, total = x * x, np.zeros_like(x)
    for n in reversed(range(14)):
        total = total * square
        total += x.dtype.type((-1) ** n) / (math.factorial(n) * (2 * n + 1))
    return total * x * (2 / _pi(x) ** 0.5)


_CUBIC = 0.044715  # Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""

    def block(out: np.ndarray, x: np.ndarray) -> None:
        (h,) = scratch(1, x)
        np.square(x, out=out)
        _tanh_inner(x, out)
        out += 1
        out *= np.multiply(x, 0.5, out=h)

    return elementwise(block, x)


def _tanh_inner(x: np.ndarray, u: np.ndarray) -> None:
    """u = tanh(√(2/π)(x + 0.044715x³)), of x² in u."""
    root = (2 / _pi(x)) ** 0.5
    u *= x.dtype.type(_CUBIC) * root
    u += root
    u *= x
    np.tanh(u, out=u)


def gelu_tanh_slope(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy·½(1 + u + x(1 - u²)·√(2/π)(1 + 3·0.044715x²)), u the tanh."""

    def block(out: np.ndarray, x: np.ndarray, dy: np.ndarray) -> None:
        u, h = scratch(2, x)
        root = (2 / _pi(x)) ** 0.5
        np.square(x, out=h)
        np.copyto(u, h)
        _tanh_inner(x, u)
        h *= 3 * x.dtype.type(_CUBIC) * root
        h += root
        h *= x
        np.square(u, out=out)
        np.subtract(1, out, out=out)
        out *= h
        out += u
        out += 1
        out *= 0.5
        out *= dy

    return elementwise(block, x, dy)


# ---- Rows: layer norm, softmax, cross-entropy ------------------------------------------------------------------------
def _row_blocks(width: int, most: int = BLOCK) -> int:
    return max(1, most // max(1, width))


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ a·b over the last axis, which stays with length 1: BLAS's, half the time of NumPy's sums, and of a row the
    same bits wherever it stands. b may be one row for all. An overflow is infinite, without a warning.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.matmul(a[..., None, :], b[..., :, None])[..., 0]


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, xhat, 1/√(var + eps)) of rows x (N, D)."""
    n, d = x.shape
    y, xhat, rstd = buffers.empty_like(x), buffers.empty_like(x), np.empty((n, 1), x.dtype)
    ones = np.ones(d, x.dtype)

    def block(i: slice) -> None:
        centred = np.subtract(x[i], _dots(x[i], ones) / d, out=xhat[i])
        variance = _dots(centred, centred) / d
        np.divide(1, np.sqrt(variance + x.dtype.type(eps)), out=rstd[i])
        centred *= rstd[i]
        np.multiply(centred, weight, out=y[i])
        y[i] += bias

    over_blocks(block, n, even(n, _row_blocks(d)))
    return y, xhat, rstd


def layer_norm_slope(
    dy: np.ndarray, xhat: np.ndarray, rstd: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dweight, dbias) of rows dy (N, D)."""
    n, d = dy.shape
    dx, ones = buffers.empty_like(dy), np.ones(d, dy.dtype)

    def block(i: slice) -> tuple[np.ndarray, np.ndarray]:
        (scaled,) = scratch(1, dy[i])
        dxhat = np.multiply(dy[i], weight, out=dx[i])
        along = _dots(dxhat, xhat[i]) / d
        dxhat -= _dots(dxhat, ones) / d
        dxhat -= np.multiply(xhat[i], along, out=scaled)
        dxhat *= rstd[i]
        return np.multiply(dy[i], xhat[i], out=scaled).sum(0), dy[i].sum(0)

    sums = over_blocks(block, n, _row_blocks(d)) or [np.zeros((2, d), dy.dtype)]
    dweight, dbias = zip(*sums, strict=True)
    return dx, np.sum(dweight, 0), np.sum(dbias, 0)


def softmax(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """exp(x - max) / Σ of rows x (N, D), into out (which may be x); a row of -inf alone is uniform."""
    over_blocks(lambda i: _softmax(x[i], out[i]), len(x), even(len(x), _row_blocks(x.shape[-1])))
    return out


def _softmax(x: np.ndarray, out: np.ndarray) -> None:
    top = x.max(-1, keepdims=True)
    dead = np.isneginf(top)
    if dead.any():  # every key masked by -inf: no key is preferred, so the row is uniform, not NaN
        np.subtract(x, np.where(dead, x.dtype.type(0), top), out=out)
        out[dead[..., 0]] = 0
    else:
        np.subtract(x, top, out=out)
    np.exp(out, out=out)
    out /= _dots(out, np.ones(out.shape[-1], out.dtype))


def softmax_slope(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y·(dy - Σ dy·y) of rows (N, D)."""
    dx = buffers.empty_like(dy)
    over_blocks(lambda i: _softmax_slope(dy[i], y[i], dx[i]), len(dy), even(len(dy), _row_blocks(dy.shape[-1])))
    return dx


def _softmax_slope(dy: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    np.subtract(dy, _dots(dy, y), out=out)
    out *= y


def log_sum_exp(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(top, rest) of rows x (N, D), each (N, 1): the largest entry, and log Σ exp(x - top); their sum is log Σ exp(x).

    They stay apart because the sum rounds like the largest entry: with logits of 1e4 it loses 5e-4 in float32.
    """
    top, rest = np.empty((2, len(x), 1), x.dtype)

    def block(i: slice) -> None:
        (shifted,) = scratch(1, x[i])
        x[i].max(-1, keepdims=True, out=top[i])
        np.exp(np.subtract(x[i], top[i], out=shifted), out=shifted)
        np.log(shifted.sum(-1, keepdims=True), out=rest[i])

    over_blocks(block, len(x), even(len(x), _row_blocks(x.shape[-1])))
    return top, rest


def softmax_minus_onehot(
    x: np.ndarray, top: np.ndarray, rest: np.ndarray, labels: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """scale·(softmax(x) - onehot(labels)) of rows x (N, D), with `log_sum_exp` known; labels and scale are (N,)."""
    dx = buffers.empty_like(x)

    def block(i: slice) -> None:
        np.subtract(x[i], top[i], out=dx[i])
        np.exp(np.subtract(dx[i], rest[i], out=dx[i]), out=dx[i])
        dx[i][np.arange(len(dx[i])), labels[i]] -= 1
        dx[i] *= scale[i, None]

    over_blocks(block, len(x), even(len(x), _row_blocks(x.shape[-1])))
    return dx


# ---- Attention -------------------------------------------------------------------------------------------------------
# A task is a batch row, or as many as have _LEAST_SCORES together: its scores stay in the cache from the first product
# to the last, and tasks run on all threads.
_LEAST_SCORES = 1 << 16
def _heads(like: np.ndarray) -> np.ndarray:
    """An empty (B, H, T, K) that lies in memory as (B, T, H, K), so that merging its heads is free."""
    b, h, t, k = like.shape
    return buffers.empty((b, t, h, k), like.dtype).swapaxes(1, 2)


def _over_rows(task: Callable[[slice], None], probs: np.ndarray) -> None:
    with one_blas_thread():
        over_blocks(task, len(probs), even(len(probs), max(1, _LEAST_SCORES * len(probs) // max(1, probs.size))))


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None, dropout: np.ndarray | None, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """(y, softmax probabilities): q (B, H, T, K), k and v (B, H, S, K), bias and dropout broadcast to (B, H, T, S)."""
    y, probs = _heads(q), buffers.empty((*q.shape[:3], k.shape[2]), q.dtype)
    bias = None if bias is None else np.broadcast_to(bias, probs.shape)
    dropout = None if dropout is None else np.broadcast_to(dropout, probs.shape)

    def task(i: slice) -> None:
        np.matmul(q[i] * q.dtype.type(scale), k[i].swapaxes(-1, -2), out=probs[i])
        if bias is not None:
            probs[i] += bias[i]
        _softmax(probs[i], probs[i])
        np.matmul(probs[i] if dropout is None else probs[i] * dropout[i], v[i], out=y[i])

    _over_rows(task, probs)
    return y, probs


def attention_slope(
    dy: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    probs: np.ndarray,
    dropout: np.ndarray | None,
    scale: float,
    dbias: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dq, dk, dv); dbias, if given, like probs, is filled with the slope of what is added to the scores."""
    dq, dk, dv = _heads(q), _heads(k), _heads(v)
    dropout = None if dropout is None else np.broadcast_to(dropout, probs.shape)

    def task(i: slice) -> None:
        kept = probs[i] if dropout is None else probs[i] * dropout[i]
        np.matmul(kept.swapaxes(-1, -2), dy[i], out=dv[i])
        dscores = buffers.empty_like(probs[i])
        np.matmul(dy[i], v[i].swapaxes(-1, -2), out=dscores)
        if dropout is not None:
            dscores *= dropout[i]
        _softmax_slope(dscores, probs[i], dscores)
        if dbias is not None:
            dbias[i] = dscores
        dscores *= dscores.dtype.type(scale)
        np.matmul(dscores, k[i], out=dq[i])
        np.matmul(dscores.swapaxes(-1, -2), q[i], out=dk[i])

    _over_rows(task, probs)
    return dq, dk, dv


# ---- Windows ---------------------------------------------------------------------------------------------------------
def blocked(x: np.ndarray, size: int, beside: int, rate: int) -> np.ndarray:
    """x (B, H, T, K) cut into blocks of `size` tokens that stand `rate` apart, with `beside` more on either side, 0
    where there are none: (B·rate·N, H, size + 2·beside, K), N = ⌈⌈T/rate⌉/size⌉.
    """
    rows, heads, length, width = x.shape
    count = -(-length // (rate * size))
    y = np.zeros((rows, rate, heads, count * size + 2 * beside, width), x.dtype)
    whole, rest = divmod(length, rate)
    inner = y[:, :, :, beside : beside + whole]  # token d·n + r is the n-th of class r
    inner[...] = x[:, :, : whole * rate].reshape(rows, heads, whole, rate, width).transpose(0, 3, 1, 2, 4)
    if rest:
        y[:, :rest, :, beside + whole] = x[:, :, whole * rate :].swapaxes(1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(y, size + 2 * beside, 3)[:, :, :, ::size]
    return windows.transpose(0, 1, 3, 2, 5, 4).reshape(-1, heads, size + 2 * beside, width)


def unblocked(y: np.ndarray, rows: int, length: int, size: int, beside: int, rate: int) -> np.ndarray:
    """The adjoint of `blocked`: (B, H, T, K), each token the sum of the places where it stands."""
    _, heads, wide, width = y.shape
    y = y.reshape(rows, rate, -1, heads, wide, width)
    count, pieces = y.shape[2], -(-wide // size)
    x = np.zeros((rows, rate, heads, count + pieces - 1, size, width), y.dtype)
    for j in range(pieces):  # of all windows the j-th `size` tokens: they do not overlap
        piece = y[..., j * size : (j + 1) * size, :].swapaxes(2, 3)
        x[:, :, :, j : j + count, : piece.shape[4]] += piece
    x = x.reshape(rows, rate, heads, -1, width)[:, :, :, beside : beside - (-length // rate)]
    return x.transpose(0, 2, 3, 1, 4).reshape(rows, heads, -1, width)[:, :, :length]


# ---- Scatter-add -----------------------------------------------------------------------------------------------------
def scatter_add(ids: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    """out (length, D) with out[ids[n]] += values[n]; repeated ids accumulate. ids (N,), values (N, D).

    Sorting brings equal ids together, one reduction per run adds them: `out[ids] += values` would keep only the last.
    """
    out = buffers.empty((length, values.shape[1]), values.dtype)
    over_blocks(lambda i: out[i].fill(0), length, _row_blocks(values.shape[1], SIMPLE))
    if len(ids):
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        out[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out
