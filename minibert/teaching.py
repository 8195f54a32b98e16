"""A network that is taught: terms for what a teacher says of a batch, beside the network's own.

    teacher = Teacher(model)                 a model with the same tasks; what it says is data, and gets no gradient
    student = teaching.student(model, teacher)      the same arrays, with the terms of `Taught`
    student.loss(teaching.told(teacher, student, batch))

Any head whose logits are one linear map of what it reads can be taught by logits (`heads.distillation`), any network
that gives its hidden states by the last of them (`heads.taught_states`).
"""

import copy
import functools
import re
from typing import Any, NamedTuple

import numpy as np

from minibert import objective, signatures, tree
from minibert.config import require
from minibert.heads import distillation, taught_states

Array = np.ndarray
Tree = dict[str, Any]

PART = "taught"  # of the tree: what makes the student's states as wide as the teacher's
STATES = "hidden_states"


class Teacher(NamedTuple):
    """model: who teaches. by: how logits are compared, a way of `distillation`, "" as suits the head: soft for one of
    several classes, else squares. states: whether the last hidden states are compared, too. own: the weight of the
    network's own terms, taught: that of what the teacher says.
    """

    model: Any
    by: str = ""
    states: bool = True
    own: float = 0.5
    taught: float = 0.5


class Taught:
    """A network with terms for what a teacher says; what is not said here is the network's."""

    def __init__(self, network: Any, teacher: Teacher) -> None:
        self.network, self._teacher, self.__name__ = network, teacher, network.__name__

    def __getattr__(self, name: str) -> Any:
        if name in ("loss", "loss_backward") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.network, name)

    def heads_taught(self, config: Any) -> dict[str, objective.Term]:
        """The network's terms that can be taught, by name."""
        terms, known = self.network.terms(config), self.network.outputs(config)
        rows = {name: signatures.parse(known[term.reads]).dims[:-1] for name, term in terms.items()}
        return {name: term for name, term in terms.items() if term.part and rows[name] in (("B",), ("B", "T"))
                and {*term.head.shapes(**term.sizes)} <= {"weight", "bias"}}  # fmt: skip

    def states_taught(self, config: Any) -> tuple[int, int] | None:
        """(the student's width, the teacher's), where both give the states of the same tokens."""
        theirs = self._teacher.model
        known = [network.outputs(c).get(STATES) for network, c in
                 ((self.network, config), (theirs.network, theirs.config))]  # fmt: skip
        specs = [signatures.parse(spec) for spec in known if spec]
        alike = len(specs) == 2 and all(spec.dims[:-1] == ("B", "T") for spec in specs)
        alone = all("(B,C," not in spec and "(B,2," not in spec for spec in self.network.inputs(config).values())
        if not (self._teacher.states and alike and alone):
            return None
        return tuple(int(spec.dims[-1]) if spec.dims[-1].isdigit() else getattr(c, spec.dims[-1])
                     for spec, c in zip(specs, (config, theirs.config), strict=True))  # fmt: skip

    def terms(self, config: Any) -> dict[str, objective.Term]:
        """The network's own; for each that can be taught one that shares its part; and one of states."""
        teacher, own = self._teacher, self.network.terms(config)
        found = {name: term._replace(weight=term.weight * teacher.own) for name, term in own.items()}
        for name, term in self.heads_taught(config).items():
            shapes = term.head.shapes(**term.sizes)
            classes, width = shapes["weight"]
            several = term.sizes.get("problem_type", "single_label_classification") == "single_label_classification"
            several = several and term.sizes.get("classes", 0) > 1
            known = signatures.parse(self.network.outputs(config)[term.reads]).dims
            sizes = {"width": width, "classes": classes, "biased": "bias" in shapes, "tokens": len(known) == 3}
            found[f"{name}_taught"] = objective.Term(
                distillation, term.part, term.reads, sizes, {"by": teacher.by or ("soft" if several else "squares")},
                weight=teacher.taught, dropout=term.dropout, prefix=f"{name}_teacher_",
            )  # fmt: skip
        if widths := self.states_taught(config):
            sizes = {"width": widths[0], "wide": widths[1], "layers": (-1,)}
            found["states_taught"] = objective.Term(
                taught_states, PART if widths[0] != widths[1] else None, STATES, sizes, {"layers": (-1,)},
                weight=teacher.taught, prefix="teacher_",
            )  # fmt: skip
        return found

    def names(self, config: Any) -> list[tuple[str, str, str]]:
        """The network's, and what is learnt for the comparison alone, by its path."""
        own = self.states_taught(config) if self._teacher.states else None
        rows = [(f"{PART}.weight", f"{PART}.weight", "identity")] if own and own[0] != own[1] else []
        return [*self.network.names(config), *rows]


class Example(Taught):
    """A network that is taught by one of a stated width, of which there is nothing else: as golden cases have it."""

    def __init__(self, network: Any, wide: int) -> None:
        super().__init__(network, Teacher(None))
        self._wide, self.__name__ = wide, f"{network.__name__}@{PART}:{wide}"

    def states_taught(self, config: Any) -> tuple[int, int]:
        """(the network's width, the stated one)."""
        width = signatures.parse(self.network.outputs(config)[STATES]).dims[-1]
        return int(width) if width.isdigit() else getattr(config, width), self._wide


@functools.lru_cache(maxsize=16)
def example(network: Any, said: str) -> Example:
    """The network as it is taught, of "taught:9"; InputError for another text, and for one without hidden states."""
    found = re.fullmatch(rf"{PART}:([1-9][0-9]{{0,4}})", said)
    require(found is not None, f"{said!r} is nothing that a network could be taught by")
    return Example(network, int(found[1]))


def student(model: Any, teacher: Teacher, rng: np.random.Generator) -> Any:
    """The model as it is taught: the same arrays, and what is learnt for the comparison alone. InputError where there
    is nothing to compare.
    """
    found = copy.copy(model)
    found.aims = functools.lru_cache(maxsize=4)(functools.partial(_taught, teacher=teacher))
    taught = {name: term for name, term in found.network.terms(model.config).items() if name not in
              model.network.terms(model.config)}  # fmt: skip
    asked = f"{model.family} for {' and '.join(model.tasks)}"
    require(bool(taught), f"{asked} has neither logits nor states that a teacher could be asked for")
    if "states_taught" in taught and taught["states_taught"].part:
        term, kind = taught["states_taught"], tree.leaves(model.params)[0].dtype
        wide, width = term.head.shapes(**term.sizes)["weight"]
        values = rng.standard_normal((wide, width)) / width**0.5
        found.params = {**model.params, PART: {"weight": values.astype(kind)}}
    return found


def _taught(network: Any, teacher: Teacher) -> Taught:
    return Taught(network, teacher)


def told(teacher: Teacher, learner: Any, batch: Tree) -> Tree:
    """The batch with what the teacher says of it, in evaluation: data like any label."""
    network, config = teacher.model.network, teacher.model.config
    asked = learner.network
    known = network.inputs(config)
    inputs = {name: array for name, array in objective.spelled(network, batch).items() if name in known}
    out, _ = network.encode(teacher.model.params, config, inputs, keep="outputs")
    mask, found = _mask(network, config, inputs), dict(batch)
    for name in asked.heads_taught(learner.config):
        term = network.terms(config)[name]
        z = term.head.predict(out[term.reads], teacher.model.params[term.part], **term.constants)
        there = mask if z.ndim == 3 else np.ones(len(z))
        found |= {f"{name}_teacher_logits": z, f"{name}_teacher_counted": there}
    if asked.states_taught(learner.config):
        found |= {"teacher_states": out[STATES][-1][:, None], "teacher_tokens": mask}
    return found


def _mask(network: Any, config: Any, inputs: Tree) -> Array:
    """Which tokens are there, (B, T)."""
    name, _ = next(iter(network.lengths(config).values()))
    if name in inputs:
        return inputs[name].astype(float)
    return np.ones(next(array for array in inputs.values() if array.ndim == 2).shape)
