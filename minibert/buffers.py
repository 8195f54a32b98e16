"""Large arrays whose memory is used again: `empty` lends memory, and it comes back when no array shows it any more.

Fresh memory is mapped page by page as it is first written. A training step of BERT-base writes 1.1 GB, and mapping it
took a tenth to a quarter of its time (measured); forward passes also find memory that comes back still in the cache.
Lent and idle memory together never exceed what was lent at one time lately, so the peak of the process is as without.
"""

import os
import threading
import weakref
from collections import deque

import numpy as np

LEAST = 1 << 16  # bytes; smaller arrays are the allocator's own business
LINE = 64  # bytes of a cache line: NumPy's loops take 1.5 times as long on arrays that begin within one (measured)
SLACK = 1.25  # times what is asked for, memory may be at most
ROOM = 64  # rows that are kept free, at least, behind what grows
WINDOW = 4096  # loans: "lately" is this window and the one before

_lock = threading.Lock()
_out: dict[weakref.ref, np.ndarray] = {}  # the memory of every loan
_returned: deque[weakref.ref] = deque()  # loans that have ended; appended to in whatever thread that happens
_idle: dict[int, list[np.ndarray]] = {}  # by size in bytes, the size used last at the end
_used: dict[int, int] = {}  # of the memory of each sequence that grows, by id: how long the longest is
_lent = _loans = 0
_most = [0, 0]  # bytes lent at one time, in the window before and in this one


class _Loan:
    """What an array and its views stand on: Python drops it with the last of them."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """As numpy.empty, on memory used before where some fits."""
    dtype = np.dtype(dtype)
    count = 1
    for size in shape:
        count *= size
    asked = count * dtype.itemsize
    if asked < LEAST or dtype.hasobject:
        return np.empty(shape, dtype)
    with _lock:
        memory = _found(asked)
        loan = _Loan(memory)
        _out[weakref.ref(loan, _returned.append)] = memory
    return np.asarray(loan)[:asked].view(dtype).reshape(shape)


def empty_like(array: np.ndarray) -> np.ndarray:
    """`empty` of its shape and dtype, in C order."""
    return empty(array.shape, array.dtype)


def fresh(size: int) -> np.ndarray:
    """`size` bytes that begin with a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


def extended(before: np.ndarray, new: np.ndarray) -> np.ndarray:
    """before (…, S, K) and behind it new (…, T, K), as numpy.concatenate along S; neither is written to.

    There is room behind what it returns, into which the first to extend that writes. So a sequence that grows by a
    token at a time copies itself seldom, and two that go on from one beginning do not meet.
    """
    length, memory = before.shape[-2], before.base
    total = length + new.shape[-2]
    with _lock:
        fits = _fits(before, memory) and total <= memory.shape[-2] and new.dtype == memory.dtype
        if fits:
            _used[id(memory)] = total
    if not fits:
        shape = *before.shape[:-2], total + max(length // 2, ROOM), before.shape[-1]
        memory = np.empty(shape, np.result_type(before, new))
        memory[..., :length, :] = before
        with _lock:
            _used[id(memory)] = total
        weakref.finalize(memory, _used.pop, id(memory), None).atexit = False
    memory[..., length:total, :] = new
    return memory[..., :total, :]


def _fits(before: np.ndarray, memory: np.ndarray | None) -> bool:
    """Nothing has been written behind `before`, which is the beginning of memory made by `extended`."""
    if memory is None or _used.get(id(memory)) != before.shape[-2]:
        return False
    here = memory[..., : before.shape[-2], :]
    return before.__array_interface__ == here.__array_interface__


def release() -> None:
    """Gives all idle memory back to the system."""
    with _lock:
        _collect()
        _idle.clear()
        _most[:] = [0, _lent]


def _found(asked: int) -> np.ndarray:
    """Idle memory for so many bytes, or new; and what is too much goes back to the system."""
    global _lent, _loans
    _collect()
    size = min((s for s in _idle if asked <= s <= asked * SLACK), default=0)
    _loans += 1
    if _loans % WINDOW == 0:
        _most[:] = [_most[1], 0]
    _most[1] = max(_most[1], _lent + (size or asked))
    memory = _taken(size) if size else None
    room = max(_most) - _lent - (size or asked)
    while _idle and sum(s * len(stack) for s, stack in _idle.items()) > room:
        _taken(next(iter(_idle)))
    if memory is None:
        memory = fresh(asked)
    _lent += memory.size
    return memory


def _collect() -> None:
    global _lent
    while _returned:
        memory = _out.pop(_returned.popleft())
        _lent -= memory.size
        _idle[memory.size] = [*_idle.pop(memory.size, ()), memory]


def _taken(size: int) -> np.ndarray:
    *others, memory = _idle.pop(size)
    if others:
        _idle[size] = others
    return memory


def _forked() -> None:
    """The child of a fork has no other thread that could open the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
