"""Whether what goes into a block was supplied, so that the block is judged alone and not with all before it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.golden import blocks, places
from minibert.golden.subject import Subject

MOVED = 1.5  # factor of the parameters outside the block


def supplied(subject: Subject, tensors: Mapping[str, np.ndarray], key: str) -> bool:
    """Whether the tensors that were given cut the block of `key` off: what it should be does not depend on parameters
    of other parts of the model. The table of tokens may be the heads', so it stays.
    """
    section, _, name = key.partition("/")
    if section not in ("forward", "gradients"):
        return True  # a step is judged alone where it has all gradients
    where = places.places(subject.family, subject.config)
    own, rows = where.group(name), families.family(subject.family).names(subject.config)
    other = {path for path, theirs, *_ in rows if where.group(theirs) != own and "embeddings.word" not in path}
    leaves = {path: array * MOVED if path in other else array for path, array in tree.items(subject.params)}
    moved = replace(subject, params=tree.unflatten(leaves))
    due, then = (blocks.expected(one, tensors)[key] for one in (subject, moved))
    return bool(np.array_equal(due, then))


def of(subject: Subject | None, tensors: Mapping[str, np.ndarray], first: Any) -> bool:
    """The same of a first divergence, true where there is nothing to ask."""
    judged = subject is not None and first is not None and first.alone is not None
    return supplied(subject, tensors, first.key) if judged else True
