"""Large arrays whose memory is used again: `empty` lends memory, and it comes back when no array shows it any more.

Fresh memory is mapped page by page as it is first written. A training step of BERT-base writes 1.1 GB, and mapping it
took a tenth to a quarter of its time (measured); forward passes also find memory that comes back still in the cache.
Lent and idle memory together never exceed what was lent at one time lately, so the peak of the process is as without.
"""

import threading
from collections import deque

import numpy as np

LEAST = 1 << 16  # bytes; smaller arrays are the allocator's own business
LINE = 64  # bytes of a cache line: NumPy's loops take 1.5 times as long on arrays that begin within one (measured)
SLACK = 1.25  # times what is asked for, memory may be at most
WINDOW = 4096  # loans: "lately" is this window and the one before

_lock = threading.Lock()
_returned: deque[np.ndarray] = deque()
_idle: dict[int, list[np.ndarray]] = {}  # by size in bytes, the size used last at the end
_lent = _idle_bytes = _loans = 0
_most = [0, 0]  # bytes lent at one time, in the window before and in this one


class _Loan:
    """What an array and its views stand on. Python drops it with the last of them, in whatever thread that is."""

    __slots__ = ("__array_interface__", "_memory")

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory

    def __del__(self) -> None:
        _returned.append(self._memory)  # no lock: this may run in the middle of anything


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """As numpy.empty, on memory used before where some fits."""
    dtype = np.dtype(dtype)
    count = 1
    for size in shape:
        count *= size
    asked = count * dtype.itemsize
    if asked < LEAST:
        return np.empty(shape, dtype)
    with _lock:
        memory = _found(asked)
    return np.asarray(_Loan(memory))[:asked].view(dtype).reshape(shape)


def empty_like(array: np.ndarray) -> np.ndarray:
    """`empty` of its shape and dtype, in C order."""
    return empty(array.shape, array.dtype)


def release() -> None:
    """Gives all idle memory back to the system."""
    global _idle_bytes
    with _lock:
        _collect()
        _idle.clear()
        _idle_bytes, _most[:] = 0, [0, _lent]


def _collect() -> None:
    global _lent, _idle_bytes
    while _returned:
        memory = _returned.popleft()
        _lent -= memory.size
        _idle_bytes += memory.size
        _idle.setdefault(memory.size, []).append(memory)


def _found(asked: int) -> np.ndarray:
    global _lent, _loans
    _collect()
    size = min((s for s in _idle if asked <= s <= asked * SLACK), default=0)
    memory = _taken(size) if size else None
    _lent += size or asked
    _loans += 1
    if _loans % WINDOW == 0:
        _most[:] = [_most[1], 0]
    _most[1] = max(_most[1], _lent)
    while _idle and _lent + _idle_bytes > max(_most):
        _taken(next(iter(_idle)))  # given back to the system
    return fresh(asked) if memory is None else memory


def fresh(size: int) -> np.ndarray:
    """`size` bytes that begin with a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


def _taken(size: int) -> np.ndarray:
    global _idle_bytes
    stack = _idle.pop(size)
    memory = stack.pop()
    if stack:
        _idle[size] = stack
    _idle_bytes -= size
    return memory
