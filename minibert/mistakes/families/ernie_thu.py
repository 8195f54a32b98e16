"""Mistakes of Tsinghua's ERNIE: which slots have an entity, fusion, candidates and labels, what is frozen."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import GRADIENTS, batch, config, entry, only, swap
from minibert.mistakes.ops.losses import having
from minibert.mistakes.swap import Replacement, Site, edited, relinear, zeros

Array = np.ndarray
OWN = r"(encode\.)?encoder\.\d+\.entity_attention\.attention"
THERE = r"(encode\.)?encoder\.\d+\.there"
INNER = r"(encode\.)?encoder\.\d+\.entity_feed_forward\.in"


def own(maker: Callable) -> Callable:
    return only("ernie_thu", having("entity_ids", maker))


def given(what: str, edit: Callable[[Array, Any], Array]) -> Callable:
    """Other entities than those that are given."""
    return own(batch(what, lambda b, c: {"entity_ids": edit(b["entity_ids"], c)}))


def asked(what: str, edit: Callable[[dict], dict]) -> Callable:
    """Other labels or candidates."""
    return own(having("entity_labels", batch(what, lambda b, _: edit(b))))


def _mask(edit: Callable[[Array, dict], Array]) -> Callable[[Subject, Site], Replacement]:
    """The entities' attention with other keys: edit(mask (B, 1, 1, T), batch)."""
    return lambda subject, site: edited(ops.attention, lambda a: {"mask": edit(a["mask"], subject.batches[0])})


def _without_cls(mask: Array) -> Array:
    """m 0 at the first token."""
    out = np.array(mask)
    out[:, 0] = 0
    return out


def _there(edit: Callable[[Array], Array]) -> Replacement:
    return edited(ops.dropout, lambda a: {"keep": edit(a["keep"])})


def _rows(b: dict) -> dict:
    """Each row's own entities."""
    labels = np.sort(b["entity_labels"], 1)
    return {"entity_candidates": np.concatenate([np.full_like(labels[:, :1], -100), labels], 1)}


def _no_none(b: dict) -> dict:
    found = b["entity_candidates"]
    return {"entity_candidates": np.where(found < 0, found.max(1, keepdims=True), found)}


def _as_given(b: dict) -> dict:
    now = np.where((b["entity_labels"] >= 0) & (b["entity_ids"] >= 0), b["entity_ids"], -100)
    return {"entity_labels": now, "entity_candidates": np.concatenate([b["entity_candidates"], np.sort(now, 1)], 1)}


entry(
    "ernie_thu-01", "entities one row off", "the vector of the entity's own number; where row 0 is the none's, id + 1",
    "src run_pretrain.py", "output", "THU-ENT-1", families=("ernie_thu",),
    mutants=[given("each the next one's vector", lambda ids, c: np.where(ids < 0, ids, (ids + 1) % c.num_entities))],
)  # fmt: skip
entry(
    "ernie_thu-02", "tokens that stand for none get an entity's vector", "0, and m = 0", "own knowledge", "output",
    "THU-ENT-1", families=("ernie_thu",),
    mutants=[given("-1 is the first entity's number", lambda ids, c: np.maximum(ids, 0))],
)  # fmt: skip
entry(
    "ernie_thu-03", "[CLS] is no entity, or a mask of tokens for both streams", "keys: aligned tokens and [CLS]",
    "src modeling.py", "output", "THU-ENC-3", families=("ernie_thu",),
    mutants=[
        own(swap("the tokens' mask", "attention", _mask(lambda m, b: b["attention_mask"][:, None, None]), OWN)),
        own(swap("all slots are keys", "attention", _mask(lambda m, b: np.ones_like(m)), OWN)),
        own(swap("b is 0 at [CLS]", "dropout", _there(_without_cls), THERE)),
    ],
)  # fmt: skip
entry(
    "ernie_thu-04", "entities' stream not masked before the fusion", "b = m∘…", "src modeling.py", "output",
    "THU-ENC-4", families=("ernie_thu",),
    mutants=[own(swap("m is 1", "dropout", _there(np.ones_like), THERE))],
)  # fmt: skip
entry(
    "ernie_thu-05", "the entities' bias left out of the fusion", "c₁ is added at every token, as in the release",
    "paper, equation 4", "output", "THU-FUS-2", families=("ernie_thu",), variant=True,
    mutants=[own(swap("no c₁", "linear", relinear(bias=(zeros, zeros)), INNER))],
)  # fmt: skip
entry(
    "ernie_thu-06", "candidates of the row alone", "all entities of the batch, or declared", "paper, section 3.4",
    "loss", "THU-DEA-2", families=("ernie_thu",), variant=True,
    mutants=[asked("each row's own entities and the none", _rows)],
)  # fmt: skip
entry(
    "ernie_thu-07", "the none is no candidate", "its logit is 0, always there", "src run_pretrain.py", "loss",
    "THU-DEA-2", families=("ernie_thu",),
    mutants=[asked("candidates without the none", _no_none)],
)  # fmt: skip
entry(
    "ernie_thu-08", "asked for what is given", "for the entity that stood there before", "own knowledge", "loss",
    "THU-DEA-1", families=("ernie_thu",),
    mutants=[asked("labels are the entities behind the noise", _as_given)],
)  # fmt: skip
entry(
    "ernie_thu-09", "entities' vectors learn", "they are data: gradient 0", "src run_pretrain.py", "gradient",
    "THU-ENT-2", families=("ernie_thu",),
    mutants=[own(config("the vectors get a gradient", GRADIENTS, entity_gradient=True))],
)  # fmt: skip
entry(
    "ernie_thu-10", "an entity at every token of its mention, or 5 and 15 % exchanged", "at the first; 5 % replaced",
    "src create_insts.py; notes", "data", "THU-DATA-2", families=("ernie_thu",),
    reason="no case has rows before the noise; the tests of the rule see both",
)  # fmt: skip
