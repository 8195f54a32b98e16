"""Writing with an encoder, word after word: what it puts in a mask behind all that is written is written, too.

    the logits of what follows x_1 … x_t are those of the masked head at t + 1 of   x_1 … x_t [MASK] [SEP]          (1)

(Wang & Cho 2019, arXiv 1902.04094, from left to right). Every token attends to those behind it, so that nothing that
was computed for shorter rows holds for longer ones: a state is the rows themselves, and each token costs a whole
forward. Published encoders never had a [SEP] to guess, so that they hardly ever end by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minibert import objective, signatures
from minibert.config import require
from minibert.generation import MASK, PROMPT

Array = np.ndarray
State = dict[str, Array]
HEAD = "masked_lm"


@dataclass(frozen=True)
class Filling:
    """An encoder as what goes on from token to token: inputs, lengths, start and step as `families` have them.

    mask, behind: ids of the mask and of what stands behind a text. settings: of `generation`, where nobody says others;
    FIELDS: how many places of the table a row may have.
    """

    network: ModuleType
    mask: int
    behind: tuple[int, ...]
    settings: Mapping[str, Any]

    @property
    def FIELDS(self) -> dict[str, str]:
        own = getattr(self.network, "FIELDS", {})
        name = own.get("max_position_embeddings", "max_position_embeddings")
        return {**own, "max_position_embeddings": f"{name} less {1 + len(self.behind)}"}

    def inputs(self, config: Any) -> dict[str, str]:
        """The rows and which of their tokens are there."""
        ids = self.network.inputs(config)[PROMPT]
        return {PROMPT: ids, MASK: f"?({','.join(signatures.parse(ids).dims)})?"}

    def lengths(self, config: Any) -> dict[str, tuple[str, int | None]]:
        """The network's, but for the places that (1) adds."""
        found, added = self.network.lengths(config), 1 + len(self.behind)
        return {letter: (name, most and most - added) for letter, (name, most) in found.items()}

    def start(self, p: Any, config: Any, inputs: Mapping[str, Array]) -> State:
        """The rows (N, T) themselves; {}: none yet."""
        if not inputs:
            return {}
        ids = inputs[PROMPT].astype(np.int64)
        return {PROMPT: ids, MASK: inputs.get(MASK, np.ones_like(ids)).astype(np.int64)}

    def step(self, p: Any, config: Any, ids: Array, state: State) -> tuple[Array, State]:
        """(logits (N, V) of what follows the last of the ids (N, n), the rows with them): (1)."""
        new = self.start(p, config, {PROMPT: ids})
        rows = {name: np.concatenate([state[name], new[name]], 1) for name in new} if state else new
        around = np.tile([self.mask, *self.behind], (len(ids), 1))
        given = {PROMPT: np.concatenate([rows[PROMPT], around], 1),
                 MASK: np.concatenate([rows[MASK], np.ones_like(around)], 1)}  # fmt: skip
        order = np.argsort(given[MASK] == 0, axis=1, kind="stable")  # padding to the end: a place is where it stands
        given = {name: np.take_along_axis(array, order, 1) for name, array in given.items()}
        at = np.arange(len(ids)), given[MASK].sum(1) - around.shape[1]
        if hasattr(self.network, "writing"):
            given = self.network.writing(given[PROMPT], given[MASK], self.settings["eos_token_id"])
        return objective.predict(self.network, p, config, given, HEAD, at), rows


def filling(network: ModuleType, config: Any, tokenizer: Any) -> Filling:
    """An encoder with a masked head, by the vocabulary that says its tokens. InputError where one is lacking."""
    name = network.__name__.rpartition(".")[2]
    fills = HEAD in network.terms(config) or hasattr(network, "predict")
    without = "it has no `start` and `step`, and no head that fills masks"
    require(fills, f"{name} does not go on from token to token: {without}")
    there = getattr(tokenizer, "mask_id", None) is not None
    require(there, f"{name} goes on by filling a mask behind the text, and there is no vocabulary with a mask token")
    known = {name: signatures.parse(spec) for name, spec in network.inputs(config).items()}
    besides = [name for name, spec in known.items() if not spec.optional and name not in (PROMPT, MASK)]
    others = f"it reads {', '.join(besides)} beside the ids, and of what it writes there are none"
    require(not besides, f"{name} does not go on from token to token: {others}")
    behind = () if tokenizer.sep_id is None or hasattr(network, "writing") else (tokenizer.sep_id,)
    size = getattr(config, signatures.parse(network.inputs(config)[PROMPT]).bound)
    return Filling(network, tokenizer.mask_id, behind, _settings(tokenizer, size))


def _settings(tokenizer: Any, size: int) -> dict[str, Any]:
    """Rows begin with [CLS] and end with [SEP]; no other token is written that is no text, and no row of the table, of
    which there are `size`, beyond the vocabulary.
    """
    roles = (getattr(tokenizer, f"{role}_id") for role in ("pad", "cls", "mask", "unk"))
    never = sorted({i for i in roles if i is not None} - {tokenizer.sep_id})
    return {
        "bos_token_id": tokenizer.cls_id,
        "eos_token_id": tokenizer.sep_id,
        "pad_token_id": tokenizer.pad_id,
        "suppress_tokens": [*never, *range(len(tokenizer), size)],
    }
