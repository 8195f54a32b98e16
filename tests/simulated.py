"""Groups of ranks without MPI: each a thread of this process, whose messages wait until they are taken."""

import pickle
import queue
import threading
from collections.abc import Callable
from typing import Any

from minibert import ranks

PATIENCE = 10  # seconds


class Thread(ranks.Group):
    """A rank that talks through a board of queues, {(from, to): queue}."""

    def __init__(self, rank: int, size: int, board: dict[tuple[int, int], queue.Queue]) -> None:
        self.rank, self.size, self.board = rank, size, board

    def send(self, value: Any, rank: int) -> None:
        taken = threading.Event()
        self.board[self.rank, rank].put((pickle.dumps(value), taken))
        assert taken.wait(PATIENCE), f"{rank} takes nothing from {self.rank}"

    def receive(self, rank: int) -> Any:
        value, taken = self.board[rank, self.rank].get(timeout=PATIENCE)
        taken.set()
        return pickle.loads(value)

    def broadcast(self, value: Any) -> Any:
        if self.rank:
            return self.receive(0)
        for rank in range(1, self.size):
            self.send(value, rank)
        return value

    def gathered(self, value: Any) -> list:
        if self.rank:
            self.send(value, 0)
            return self.broadcast(None)
        return self.broadcast([value, *(self.receive(rank) for rank in range(1, self.size))])


def together(size: int, f: Callable[[], Any]) -> list[Any]:
    """What f() returns, or raises, on each rank of a group of this size."""
    board = {(one, other): queue.Queue() for one in range(size) for other in range(size)}
    found: list[Any] = [None] * size

    def run(rank: int) -> None:
        with ranks.within(Thread(rank, size, board)):
            try:
                found[rank] = f()
            except Exception as error:
                found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE)
    return found
