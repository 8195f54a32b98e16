"""Mistakes where several processes compute one step, each some rows of the batch: in cases that say so ("shards")."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from minibert import families, objective, tree
from minibert.golden.subject import Subject, observed_step
from minibert.mistakes.catalogue import STEPS, Mutant, batch, entry

SECTION = {"V": "Several processes"}

Array = np.ndarray


def sharded(maker: Callable[[int], Callable]) -> Callable:
    """maker(n)'s mutants for each number n of processes that the case is to be the same by."""

    def made(subject: Subject, at: list) -> list[Mutant]:
        return [mutant for n in subject.optimizer.get("shards", ()) for mutant in maker(n)(subject, at)]

    return made


def _shards(b: dict, n: int) -> list[dict]:
    """The batch as n processes have it: as many rows each, in order."""
    rows = np.split(np.arange(len(b["input_ids"])), n)
    return [{name: tree.map(lambda a, own=own: a[own], held) for name, held in b.items()} for own in rows]


# ---- Clipping --------------------------------------------------------------------------------------------------------
def _norm(grads: Any) -> float:
    return float(np.sqrt(sum(float(np.vdot(g, g)) for g in tree.leaves(grads))))


def clipped_before(n: int) -> Callable:
    """Each process clips its own gradient, n times its share of the whole; then the mean is taken."""

    def learnt(subject: Subject, step: int, params: Any, b: dict) -> tuple[Array, Any]:
        network = families.family(subject.family)
        given = {"denominators": objective.counts(network, subject.config, b), "dense": True}
        found = []
        for shard in _shards(b, n):
            grads = objective.loss_backward(objective.loss(network, params, subject.config, shard, **given)[1])
            share = min(1.0, subject.optimizer["clip_norm"] / (n * _norm(grads)))
            found.append(tree.map(lambda g, share=share: g * share, grads))
        return observed_step(subject, step, params, b)[0], reduce(tree.add, found)

    def unclipped(grads: Any, most: float) -> tuple[Any, float]:
        return grads, _norm(grads)

    what = f"by each of {n} processes"
    change = lambda s: replace(s, parts={**s.parts, "learnt": learnt, "clip": unclipped})  # noqa: E731
    return lambda subject, at: [Mutant(what, change, section=STEPS, silent=r"steps/\d+/gradient_norm")]


# ---- Data ------------------------------------------------------------------------------------------------------------
def alike(n: int) -> Callable:
    """The dropout masks of the first process on all."""

    def edit(b: dict, config: Any) -> dict[str, Any]:
        first = _shards(b, n)[0]["dropout"]
        return {"dropout": tree.map(lambda a: np.concatenate([a] * n), first)}

    make = batch(f"the first of {n} processes' on all", edit)
    return lambda subject, at: make(subject, at) if subject.batches[0].get("dropout") else []


def twice(n: int) -> Callable:
    """Process r computes the r-th part of its part, whose rows stand here as often as its part has rows."""

    def edit(b: dict, config: Any) -> dict[str, Any]:
        shards = [_shards(shard, n)[r] for r, shard in enumerate(_shards(b, n))]
        return {name: tree.map(lambda *parts: np.repeat(np.concatenate(parts), n, 0), *(s[name] for s in shards))
                for name in b}  # fmt: skip

    make = batch(f"by each of {n} processes", edit)
    return lambda subject, at: make(subject, at) if len(subject.batches[0]["input_ids"]) % (n * n) == 0 else []


entry(
    "V01", "gradients clipped before they are summed over the processes", "summed, then clipped",
    "google-research/bert optimization.py, over TPU cores; pytorch/pytorch FSDP clip_grad_norm_", "step",
    "OPT-RANKS-1", when="in several processes", mutants=[sharded(clipped_before)],
)  # fmt: skip
entry(
    "V02", "dropout drawn alike in every process", "masks of its own for each row",
    "own knowledge: one seed on all ranks", "output", "OPT-RANKS-1", when="in several processes, with dropout",
    mutants=[sharded(alike)],
)  # fmt: skip
entry(
    "V03", "a batch sharded twice", "each row is computed by one process",
    "own knowledge: a sampler's share of a batch that the loader has shared out already", "loss", "OPT-RANKS-1",
    when="in several processes", mutants=[sharded(twice)],
)  # fmt: skip
