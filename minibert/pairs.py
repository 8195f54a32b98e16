"""Pairs: a forward `f(...) -> (y, cache)` and its `f_backward(dy, cache)`, declared with a signature.

Every declared pair can be observed from outside: `observing(around)` makes each call in this context (thread, task) go
through `around(f, args, constants)`, which calls f, or something else, and returns the result. Tracing, mistakes and
checks use this one door; with nobody observing a call costs one look at a context variable.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from minibert import signatures

PAIRS: dict[str, "Pair"] = {}
BLOCKS: dict[str, tuple[Callable, Callable]] = {}  # wiring over nested parameters: observed, but without a signature
SUMMED: dict[str, str] = {}  # block -> the constant whose entries, but for the first, it sums in any order
_observers: ContextVar[tuple[Callable, ...]] = ContextVar("observers", default=())


class Parts(NamedTuple):
    """What is inside an op, for whoever looks at it, judges it alone or computes it otherwise.

    specs: part -> its dimensions. seen(part, cache, dy) -> (value, cotangent; None without dy) of the call with that
    cache. forward(cache, swap) -> (y, cache) and backward(dy, cache, swap) -> gradients compute the op once more, part
    by part, and go on with what swap(part, value or cotangent) returns.
    """

    specs: dict[str, str]
    seen: Callable
    forward: Callable
    backward: Callable


class Pair:
    """What was declared of one op: forward, backward, the signature's Specs, data Specs and constants for checks; its
    Parts, or None; spelled(**arguments) -> arguments of the same call that have a Spec, for which others stood.
    """

    def __init__(self, forward: Callable, signature: str, parts: Parts | None, spelled: Callable | None,
                 declared: dict[str, Any]):  # fmt: skip
        self.name, self.forward, self.signature, self.declared = forward.__name__, forward, signature, declared
        self.arguments, self.result = signatures.parse_signature(signature)
        self.data = {k: signatures.parse(v) for k, v in declared.items() if isinstance(v, str)}
        self.constants = {k: v for k, v in declared.items() if not isinstance(v, str)}
        self.parts, self.spelled = parts, spelled
        self.backward: Callable | None = None


def pair(
    signature: str, *, parts: Parts | None = None, spelled: Callable | None = None, **declared: Any
) -> Callable[[Callable], Callable]:
    """Declares a forward. Keywords beside those of `Pair`: text is the signature of a data argument, anything else a
    constant for checks.
    """

    def declare(f: Callable) -> Callable:
        call = _observable(f)
        _require_new(PAIRS.get(f.__name__) and PAIRS[f.__name__].forward, f)
        PAIRS[f.__name__] = Pair(call, signature, parts, spelled, declared)
        return call

    return declare


def backward(f: Callable) -> Callable:
    """Declares `name_backward`, the second half of the pair `name`."""
    call = _observable(f)
    PAIRS[f.__name__.removesuffix("_backward")].backward = call
    return call


def _require_new(there: Callable | None, f: Callable) -> None:
    """Traces and mistakes know pairs and blocks by their names alone."""
    if there is not None and there.__module__ != f.__module__:
        raise ValueError(f"{there.__module__} has a pair or block {f.__name__!r}: give {f.__module__}'s another name")


def _observable(f: Callable) -> Callable:
    @functools.wraps(f)
    def call(*args: Any, **constants: Any) -> Any:
        around = _observers.get()
        return _through(around, f, args, constants) if around else f(*args, **constants)

    return call


def _through(around: tuple[Callable, ...], f: Callable, args: tuple, constants: dict) -> Any:
    if len(around) == 1:
        return around[0](f, args, constants)
    others = around[:-1]

    def inner(*args: Any, **constants: Any) -> Any:
        return _through(others, f, args, constants)

    inner.__name__, inner.__wrapped__ = f.__name__, f  # `functools.wraps` took a tenth of a small model's pass
    return around[-1](inner, args, constants)


def standing_in(name: str, f: Callable) -> Callable:
    """f, observed as a call of the pair or block `name`."""
    f.__name__ = name
    return _observable(f)


def block(f: Callable | None = None, *, summed: str = "") -> Callable:
    """Declares a block's forward; `block_backward` its second half. summed: see SUMMED."""
    if f is None:
        return functools.partial(block, summed=summed)
    _require_new(BLOCKS.get(f.__name__, (None,))[0], f)
    BLOCKS[f.__name__] = (call := _observable(f), call)
    if summed:
        SUMMED[f.__name__] = summed
    return call


def block_backward(f: Callable) -> Callable:
    """Declares `name_backward`, the second half of the block `name`."""
    name = f.__name__.removesuffix("_backward")
    BLOCKS[name] = (BLOCKS[name][0], call := _observable(f))
    return call


@contextlib.contextmanager
def unobserved() -> Iterator[None]:
    """Calls in this context go straight to their functions."""
    token = _observers.set(())
    try:
        yield
    finally:
        _observers.reset(token)


@contextlib.contextmanager
def observing(around: Callable[[Callable, tuple, dict], Any]) -> Iterator[None]:
    """Sends every pair's calls in this context through `around`; the innermost observer sees a call first."""
    token = _observers.set((*_observers.get(), around))
    try:
        yield
    finally:
        _observers.reset(token)
