"""Mistakes of MASS: where the decoder's tokens stand, what it attends to and reads."""

from typing import Any

import numpy as np

from minibert.mistakes.catalogue import batch, entry, only

Array = np.ndarray


def own(*makers: Any) -> list[Any]:
    """The makers for MASS and its kin."""
    return [only("mass", maker) for maker in makers]


def _placed(what: str, edit: Any) -> Any:
    """Other places of the decoder's tokens: edit(as they are) -> places."""

    def made(b: dict, config: Any) -> dict[str, Array]:
        most = config.max_position_embeddings - 1
        return {"decoder_position_ids": np.clip(edit(b["decoder_position_ids"]), 0, most)}

    return batch(what, made)


entry(
    "mass-01", "the decoder's places from 0 on", "those of its tokens in the text, u - 1 … v - 1",
    "src MASS-unsupNMT trainer.py (positions)", "output", "MASS-EMB-2", families=("mass",),
    mutants=own(
        _placed("0, 1, …", lambda places: np.arange(places.shape[1]) + 0 * places),
        _placed("those of what is asked, u … v", lambda places: places + 1),
        _placed("one too early", lambda places: places - 1),
    ),
)  # fmt: skip
entry(
    "mass-02", "hidden slots are attended to", "the decoder attends to what the encoder was shown alone",
    "src MASS-unsupNMT trainer.py (enc_mask)", "output", "MASS-DEC-2", families=("mass",),
    mutants=own(batch("all that is no padding", lambda b, _: {"encoder_attention_mask": b["attention_mask"]})),
)  # fmt: skip
entry(
    "mass-03", "masks hidden from the encoder itself", "they stay among its keys", "own knowledge", "output",
    "MASS-DEC-2", families=("mass",),
    mutants=own(batch("one mask for both attentions", lambda b, _: {"attention_mask": b["encoder_attention_mask"]})),
)  # fmt: skip
entry(
    "mass-04", "the decoder reads what it is asked for", "the token before it", "own knowledge", "output",
    "MASS-DEC-1", families=("mass",),
    mutants=own(batch("labels not shifted", lambda b, c: {"decoder_input_ids": np.where(
        b["labels"] < 0, c.pad_token_id, b["labels"])})),
)  # fmt: skip
entry(
    "mass-05", "places outside of the fragment fed and asked", "the fragment alone", "paper section 3.1", "data",
    "MASS-DEC-1", families=("mass",),
    reason="a longer decoder's row is another batch: tests/families/test_mass.py asks the rows",
)  # fmt: skip
entry(
    "mass-06", "int for round, or the encoder's fragment shifted by one", "round to the even; one fragment for both",
    "src MASS-supNMT masked_language_pair_dataset.py", "data", "MASS-DATA-1", families=("mass",),
    reason="rows differ, no tensor of a given batch does: tests/families/test_mass.py asks the rows",
)  # fmt: skip
