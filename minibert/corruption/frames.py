"""Masked frames: runs of an utterance's frames are chosen; one throw of dice says what becomes of all of them.

s3prl/s3prl, `pretrain/mockingjay/task.py`, `generate_masked_acoustic_model_data`. Of an utterance of n frames round(0.15
n/c) starts of runs of c frames are drawn from 0 … n - c - 1, none twice; runs may overlap, or stand on a grid that begins
anywhere, so that they do not. Then 0.8 silence, 0.1 other frames of the utterance, 0.1 as it was.
"""

from typing import Any

import numpy as np

Array = np.ndarray

SILENT, REPLACED = 0.8, 0.9  # the dice: below the first silence, below the second others, else as it was


def runs(rng: np.random.Generator, length: int, rate: float, consecutive: int, overlap: bool) -> tuple[Array, Array]:
    """(frames of the chosen runs; those of as many other runs): run by run, a frame twice where runs overlap."""
    count, last = round(rate * length / consecutive), max(length - consecutive - 1, 0)
    starts = np.arange(last + 1)
    if not overlap:
        starts = starts[rng.integers(0, min(consecutive, last) + 1) :: consecutive]
    chosen = rng.permutation(starts)[:count]
    others = rng.permutation(last + 1)[: len(chosen)]
    others = np.resize(others, len(chosen)) if len(others) else others
    frames = np.arange(consecutive)
    return tuple(np.minimum(one[:, None] + frames, length - 1).reshape(-1) for one in (chosen, others))


def masked(
    x: Array, lengths: Array, rng: np.random.Generator, *, rate: float, consecutive: int, overlap: bool = True
) -> dict[str, Any]:
    """Rows (B, T, F) of so many frames each, masked, beside what they were (`heads.masked_frame`)."""
    heard, labels = x.copy(), np.zeros(x.shape[:2], np.int32)
    for row, length in enumerate(lengths.tolist()):
        chosen, others = runs(rng, length, rate, consecutive, overlap)
        dice = rng.random()
        if dice < SILENT:
            heard[row, chosen] = 0
        elif dice < REPLACED:
            heard[row, chosen] = x[row, others]
        labels[row, chosen] = 1
    return {"input_frames": heard, "target_frames": x, "frame_labels": labels}
