"""A function over a stream of items by several processes: the same results, in the same order, however many."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from minibert.errors import InputError

MOST = 61  # processes that Windows can wait for


def mapped(function: Callable[[Any], Any], items: Iterable[Any], processes: int = 1) -> Iterator[Any]:
    """function(item) of each item, in order; one process is this one. Never more than one item a process waits.

    function, items and results must pickle; a process gets the function once. Processes are spawned, so a program that
    asks for several keeps what it does behind `if __name__ == "__main__":`. What the function raises is raised here,
    where the results are taken; whatever ends that, the processes end with it. InputError: one of them has died, or
    more than MOST are asked for.
    """
    require_number(processes)
    if processes == 1:
        yield from map(function, items)
        return
    strangers = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # the same on every system, and no locks of this process's threads
    pool = ProcessPoolExecutor(processes, context, _begun, (function,))
    waiting: deque[Future] = deque()
    try:
        for item in items:
            with _deaf():
                waiting.append(pool.submit(_result, item))
            if len(waiting) > processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        pool.shutdown()
    except BaseException as error:  # Ctrl-C and the end of the generator, too
        for child in {*multiprocessing.active_children()} - strangers:
            child.terminate()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise InputError("a process has died, perhaps for want of memory: ask for fewer processes") from None
        raise


def require_number(processes: int) -> None:
    """InputError for a number of processes that cannot be."""
    if not 1 <= processes <= MOST:
        raise InputError(f"processes is {processes}; it must be from 1 to {MOST}")


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C waits, and processes that begin here never hear it: it reaches every process, and the first ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # its start would let Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any]  # of a process of the pool


def _begun(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows knows no `_deaf`
    threading.Thread(target=_ended_with_the_first, daemon=True).start()


def _ended_with_the_first() -> None:
    """A process killed outright cannot end its own: they do."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _result(item: Any) -> Any:
    return _function(item)
