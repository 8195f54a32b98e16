"""Several processes, on one machine or on many, that are one run: `mpiexec -n 8 minibert pretrain bert --accumulate 8`.

A process is a rank of a group. Work is cut into parts, as micro-batches, of which each rank computes some; what their
results come to is the sum by a tree that the number of parts decides, and nothing else:

    ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)        neighbours, their sums, …; whoever has no neighbour goes up alone

so that the same parts give the same bits however many ranks there are, on whatever MPI. In a group of one every
function here gives back what it is given; code that calls them needs no `if`. The group is the context's (`group()`):
ALONE, until `joined()` asks the launcher that has started this process.

Sources: Megatron-LM and PyTorch's DistributedDataParallel for what is summed and when; Thakur, Rabenseifner & Gropp
2005, "Optimization of Collective Communication Operations in MPICH", for what it costs.
"""

import contextlib
import itertools
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from minibert import buffers, processes
from minibert.config import require
from minibert.errors import InputError, printable
from minibert.progress import note

T = TypeVar("T")

# What launchers tell the processes that they start: how many there are, and which of them this is.
LAUNCHERS = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
             ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"))  # fmt: skip
PIECE = 1 << 30  # bytes of a message
PATIENCE = 3.0  # seconds that a rank which cannot go on waits for the others to say the same
INSTALL = "python -m pip install mpi4py mpich"


class Group:
    """A group of ranks, here of one. What another one is made of: rank, size, and the three functions that talk."""

    rank, size = 0, 1

    # ---- What talks ------------------------------------------------------------------------------------------------
    def send(self, value: Any, rank: int) -> None:
        """Hands a value to a rank, which asks for it by `receive`."""
        raise NotImplementedError("a group of one has nobody to talk to")

    def receive(self, rank: int) -> Any:
        """What a rank sends to this one."""
        raise NotImplementedError("a group of one has nobody to talk to")

    def gathered(self, value: T) -> list[T]:
        """The values of all ranks, in their order, for all."""
        return [value]

    def broadcast(self, value: T) -> T:
        """The first rank's value, for all."""
        return value

    # ---- What follows ----------------------------------------------------------------------------------------------
    def own(self, count: int) -> range:
        """Which of `count` parts this rank computes: neighbours, as many as any other rank or one less."""
        return range(-(-self.rank * count // self.size), -(-(self.rank + 1) * count // self.size))

    def sum(self, parts: Iterable[T], count: int, plus: Callable[[T, T], T]) -> T:
        """The sum of all ranks' parts, `count` of them, for all; parts: this rank's own, in order.

        A rank holds one sum for each level of the tree at most, besides the part that is new.
        """
        held: dict[tuple[int, int], T] = {}  # by level and number on it: what waits for its neighbour

        def put(level: int, number: int, value: T) -> None:
            """Joined with its neighbour on the left, if that is here; lifted where it has none on the right."""
            while number:
                if number % 2:
                    if (level, number - 1) not in held:
                        break
                    value = plus(held.pop((level, number - 1)), value)
                elif (number + 1) << level < count:
                    break
                level, number = level + 1, number // 2
            held[level, number] = value

        for number, part in zip(self.own(count), parts, strict=True):
            put(0, number, part)
        for level in range((count - 1).bit_length()):  # neighbours that are elsewhere
            here = [number for at, number in held if at == level]
            for number in here:
                if number % 2:
                    self.send(held.pop((level, number)), self._holder(level, number - 1, count))
            for number in here:
                if number % 2 == 0:
                    other = self.receive(self._holder(level, number + 1, count))
                    put(level + 1, number // 2, plus(held.pop((level, number)), other))
        return self.broadcast(next(iter(held.values()), None))

    def _holder(self, level: int, number: int, count: int) -> int:
        """The rank that holds a sum: that of its first part."""
        return (number << level) * self.size // count

    def once(self, f: Callable[[], T]) -> T:
        """f() as the first rank alone computes it, for all: what it returns, or raises."""
        outcome: tuple[Any, BaseException | None] = None, None
        if self.rank == 0:
            try:
                outcome = f(), None
            except BaseException as error:
                outcome = None, error
        value, error = self.broadcast(outcome)
        if error is not None:
            raise error
        return value

    def agree(self, what: str, value: Any) -> None:
        """InputError unless all ranks have the same; also the place where they wait for each other."""
        different = [rank for rank, other in enumerate(self.gathered(value)) if other != value]
        require(not different, f"{what} is not the same in all processes: {different[:1]} has another than {self.rank}")

    def mapped(self, f: Callable[[Any], T], items: Iterable[Any], several: int = 1) -> Iterator[T]:
        """f(item) of each item, in order, for all; the ranks take turns, each with so many processes of its own."""
        own = processes.mapped(f, itertools.islice(items, self.rank, None, self.size), several)
        while found := [result for one in self.gathered([*itertools.islice(own, 1)]) for result in one]:
            yield from found

    @contextlib.contextmanager
    def first(self, block: Callable[[], contextlib.AbstractContextManager]) -> Iterator[None]:
        """Inside, a context that the first rank alone enters; what that raises, all do."""
        with contextlib.ExitStack() as stack:
            self.once(lambda: stack.enter_context(block()) and None)
            yield

    def cores(self, there: int) -> int:
        """How many of a machine's cores are this rank's, where the launcher lets several of them run on the same."""
        mine = socket.gethostname(), *sorted(getattr(os, "sched_getaffinity", lambda _: ())(0))
        return max(1, there // self.gathered(mine).count(mine))


ALONE = Group()
_current: ContextVar[Group] = ContextVar("group", default=ALONE)


def group() -> Group:
    """The group of this context."""
    return _current.get()


@contextlib.contextmanager
def within(other: Group) -> Iterator[Group]:
    """Inside, this is the group."""
    before = _current.set(other)
    try:
        yield other
    finally:
        _current.reset(before)


def _packed(value: Any) -> tuple[tuple[bytes, list[int]], np.ndarray]:
    """((the pickle of what is around arrays, their bytes), their memory side by side, each from a cache line on)."""
    found: list[np.ndarray] = []
    head = pickle.dumps(value, 5, buffer_callback=lambda held: found.append(np.frombuffer(held.raw(), np.uint8)))
    memory = buffers.empty((sum(map(_padded, map(len, found))),), np.uint8)
    for place, array in zip(_places([*map(len, found)]), found, strict=True):
        memory[place] = array
    return (head, [*map(len, found)]), memory


def _unpacked(head: tuple[bytes, list[int]], memory: np.ndarray) -> Any:
    return pickle.loads(head[0], buffers=[memory[place] for place in _places(head[1])])


def _padded(size: int) -> int:
    return -(-size // buffers.LINE) * buffers.LINE


def _places(sizes: list[int]) -> Iterator[slice]:
    ends = itertools.accumulate(map(_padded, sizes), initial=0)
    return (slice(start, start + size) for start, size in zip(ends, sizes, strict=False))


def _pieces(memory: np.ndarray) -> Iterator[np.ndarray]:
    """As many bytes at once as any MPI can count."""
    return (memory[start : start + PIECE] for start in range(0, memory.size, PIECE))


# ---- By MPI ----------------------------------------------------------------------------------------------------------
class Processes(Group):
    """The processes of an MPI communicator. What is around arrays travels pickled; they themselves as one piece of
    memory, side by side: a message for each of 200 took two to three times as long (measured).
    """

    def __init__(self, communicator: Any) -> None:
        self.rank, self.size = communicator.rank, communicator.size
        self._all, self._leaving = communicator.Dup(), communicator.Dup()

    def send(self, value: Any, rank: int) -> None:
        head, memory = _packed(value)
        self._all.send((head, memory.size), rank)
        for piece in _pieces(memory):
            self._all.Send(piece, rank)

    def receive(self, rank: int) -> Any:
        head, size = self._all.recv(source=rank)
        memory = buffers.empty((size,), np.uint8)
        for piece in _pieces(memory):
            self._all.Recv(piece, rank)
        return _unpacked(head, memory)

    def gathered(self, value: T) -> list[T]:
        return self._all.allgather(value)

    def broadcast(self, value: T) -> T:
        head, memory = _packed(value) if self.rank == 0 else ((b"", []), np.empty(0, np.uint8))
        head, size = self._all.bcast((head, memory.size))
        memory = buffers.empty((size,), np.uint8) if self.rank else memory
        for piece in _pieces(memory):
            self._all.Bcast(piece)
        return value if self.rank == 0 else _unpacked(head, memory)

    def all_leave(self) -> bool:
        """Whether all ranks come here within PATIENCE: what one of them cannot go on from, none can."""
        request, until = self._leaving.Ibarrier(), time.monotonic() + PATIENCE
        while not request.Test():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def abort(self, code: int) -> None:
        """Ends all ranks."""
        self._leaving.Abort(code)


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Inside, the group of all processes that were started with this one; the first alone says anything.

    What all ranks raise together is raised by the first, and ends the others. A rank that alone cannot go on says so,
    in one line, and ends all. InputError where the processes cannot find each other.
    """
    if group() is not ALONE or _started() == 1:
        with within(group()):
            yield group()
        return
    found, said = _found(), sys.stderr
    with within(found), _silent(found.rank > 0):
        try:
            yield found
        except BaseException as error:
            together = found.all_leave()
            if together and found.rank == 0:
                raise
            if together:
                raise SystemExit(0) from None  # the first says why, by its code, too
            _say_alone(found, error, said)
            found.abort(130 if isinstance(error, KeyboardInterrupt) else 2)


def _started() -> int:
    """How many processes the launcher has started."""
    sizes = [os.environ[size] for size, _ in LAUNCHERS if size in os.environ]
    return max([int(size) for size in sizes if size.isdecimal()], default=1)


def _found() -> Processes:
    first = all(os.environ.get(rank, "0") == "0" for _, rank in LAUNCHERS)
    try:
        return _linked()
    except InputError:
        if first:
            raise
        raise SystemExit(0) from None  # the first says it


def _linked() -> Processes:
    started = f"mpiexec has started {_started()} processes"
    try:
        import mpi4py

        mpi4py.rc(initialize=False, finalize=True)  # another MPI's would end the process with words of its own
        from mpi4py import MPI
    except ModuleNotFoundError:
        raise InputError(f"{started}, and mpi4py, by which they talk, is missing: {INSTALL}, and start them by the "
                         "mpiexec of that environment") from None  # fmt: skip
    except (ImportError, RuntimeError) as error:
        said = f"{error}".splitlines()[0] if f"{error}" else "it says no more"
        raise InputError(f"{started}, and mpi4py finds no MPI ({said}): {INSTALL}, or install Open MPI, and start them "
                         "by its mpiexec") from None  # fmt: skip
    name, version = MPI.get_vendor()
    strangers = (f"{started} that do not find each other: mpi4py talks by {name} {'.'.join(map(str, version))}, and "
                 f"this mpiexec is another's: use that one's, or install both together: {INSTALL}")  # fmt: skip
    opened = "OMPI_COMM_WORLD_SIZE" in os.environ, "PMI_SIZE" in os.environ
    require(opened[name != "Open MPI"] or not any(opened), strangers)
    if not MPI.Is_initialized():
        MPI.Init()
    require(MPI.COMM_WORLD.size > 1, strangers)
    return Processes(MPI.COMM_WORLD)


@contextlib.contextmanager
def _silent(silent: bool) -> Iterator[None]:
    """Inside, what is printed goes nowhere."""
    if not silent:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), \
            contextlib.redirect_stderr(nowhere):
        yield


def _say_alone(found: Group, error: BaseException, stream: Any) -> None:
    """The line of a rank that alone cannot go on; of a defect all that Python says."""
    with contextlib.redirect_stderr(stream):
        if not isinstance(error, InputError | OSError | MemoryError | KeyboardInterrupt):
            traceback.print_exception(error)
        what = printable(f"{error}" or type(error).__name__)
        note(f"error: process {found.rank} of {found.size}, on {socket.gethostname()}: {what}; all processes end")
