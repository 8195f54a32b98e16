"""Mistakes of Mockingjay: sinusoids added to frames, masks of utterances, a distance in the place of a softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import audio_bert
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("audio_bert",)
RELEASE = "src s3prl pretrain/mockingjay/task.py"
OF_DATA = "cases begin with masked frames; the tests of the rule see it"
LOSS = r"masked_frame\.loss"


def placed(what: str, positions: Callable[[int, int], Array], before: bool = True) -> Callable:
    """Other positions (T, D) added to what is heard, before its norm or behind it."""

    def frame_embeddings(x: Array, p: Tree, *, eps: float, keep: Array | None, rate: float) -> tuple[Array, Tree]:
        c: Tree = {}
        h, c["frame"] = ops.linear(x, **p["frame"])
        places = positions(*h.shape[1:]).astype(h.dtype)
        h, c["norm"] = ops.layer_norm(h + places if before else h, **p["norm"], eps=eps)
        h, c["dropout"] = ops.dropout(h if before else h + places, keep=keep, rate=rate)
        return h, c

    return only("audio_bert", swap(what, "frame_embeddings", Replacement(frame_embeddings, audio_bert.frame_embeddings_backward.__wrapped__)))


def distance(what: str, edit: Callable[[Subject, Tree], Tree]) -> Callable:
    """The mean distance on other arguments."""

    def replacement(subject: Subject, site: Site) -> Replacement:
        return edited(ops.mean_absolute_error, lambda given: edit(subject, given))

    return lambda subject, at: swap(what, "mean_absolute_error", replacement, LOSS)(subject, at)[:1]


def _squared() -> Replacement:
    return Replacement(ops.mean_squared_error.__wrapped__, ops.mean_squared_error_backward.__wrapped__)


def _halves(length: int, width: int) -> Array:
    due = audio_bert.positions(length, width)
    return np.concatenate([due[:, ::2], due[:, 1::2]], 1)


def _later(length: int, width: int) -> Array:
    return audio_bert.positions(length + 1, width)[1:]


def _every_exponent(length: int, width: int) -> Array:
    angles = np.arange(length)[:, None] / 10000.0 ** (2 * np.arange(width) / width)
    return np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles))


def _summing_to_something(b: Tree, config: Any) -> Tree:
    there = (b["input_frames"].sum(-1) != 0).sum(1, keepdims=True)
    return {"attention_mask": (np.arange(b["input_frames"].shape[1]) < there) * 1}


def _without_hidden(b: Tree, config: Any) -> Tree:
    return {"attention_mask": b["attention_mask"] * (1 - b["frame_labels"])}


def _all_frames(subject: Subject, given: Tree) -> Tree:
    return {"weights": np.ones_like(given["weights"]), "denominator": float(given["x"].size)}


entry(
    "audio_bert-01", "positions in two halves", "sine and cosine in turn, column 0 sin t, column 1 cos t",
    f"{RELEASE}, get_sinusoid_table", "output", "AUDIO-POS-1", families=FAMILY,
    mutants=[placed("sines, then cosines", _halves)],
)  # fmt: skip
entry(
    "audio_bert-02", "an exponent of its own for each column", "sine and cosine of one pair have the same, 2⌊i/2⌋/D",
    "own knowledge: 2i/D", "output", "AUDIO-POS-1", families=FAMILY,
    mutants=[placed("2i/D for column i", _every_exponent)],
)  # fmt: skip
entry(
    "audio_bert-03", "positions from 1 on", "the first frame stands at 0", "own knowledge", "output", "AUDIO-POS-1",
    families=FAMILY, mutants=[placed("t + 1", _later)],
)  # fmt: skip
entry(
    "audio_bert-04", "no positions", "sinusoids are added to what is heard", "own knowledge", "output", "AUDIO-POS-1",
    families=FAMILY, mutants=[placed("none", lambda length, width: np.zeros((length, width)))],
)  # fmt: skip
entry(
    "audio_bert-05", "positions added behind the norm", "LN(W x + b + S)", "own knowledge", "output", "AUDIO-IN-1",
    families=FAMILY, mutants=[placed("LN(W x + b) + S", audio_bert.positions, before=False)],
)  # fmt: skip
entry(
    "audio_bert-06", "what is asked is what was masked", "the target is copied before frames are masked in place",
    f"{RELEASE}, copy.deepcopy", "loss", "AUDIO-DATA-4", families=FAMILY,
    mutants=[only("audio_bert", batch("the target is the input", lambda b, _: {"target_frames": b["input_frames"]}))],
)  # fmt: skip
entry(
    "audio_bert-07", "an utterance ends where its frames sum to 0", "a hidden frame is none of the padding",
    f"{RELEASE}: lengths counted behind the masking, not before it", "output", "AUDIO-IN-3", families=FAMILY,
    mutants=[only("audio_bert", batch("the frames that sum to something are counted", _summing_to_something))],
)  # fmt: skip
entry(
    "audio_bert-08", "hidden frames are not attended to", "padding alone is left out", "own knowledge", "output",
    "AUDIO-IN-3", families=FAMILY,
    mutants=[only("audio_bert", batch("the mask without hidden frames", _without_hidden))],
)  # fmt: skip
entry(
    "audio_bert-09", "a squared distance", "|z - x|: L1", "own knowledge: nn.MSELoss, which the release has, too",
    "loss", "AUDIO-LOSS-2", families=FAMILY, variant=True,
    mutants=[lambda subject, at: swap("(z - x)²", "mean_absolute_error", _squared(), LOSS)(subject, at)[:1]],
)  # fmt: skip
entry(
    "audio_bert-10", "all frames are asked", "the chosen ones", "own knowledge: L1Loss without masked_select", "loss",
    "AUDIO-LOSS-2", families=FAMILY, mutants=[distance("the mean over all frames, padding too", _all_frames)],
)  # fmt: skip
entry(
    "audio_bert-11", "features are summed", "the mean over frames and features", "own knowledge", "loss",
    "AUDIO-LOSS-2", families=FAMILY,
    mutants=[distance("divided by the frames", lambda _, g: {"denominator": g["denominator"] / g["x"].shape[-1]})],
)  # fmt: skip
entry(
    "audio_bert-12", "the mean of each utterance's mean", "over all chosen frames of the batch: counts are carried",
    "own knowledge: micro-batches averaged", "loss", "AUDIO-LOSS-2", families=FAMILY, reason=(
        "the cases' micro-batches are one; `test_micro_batches_add_up_to_the_large_batch` sees it"),
)  # fmt: skip
entry(
    "audio_bert-13", "dice for each run, or each frame", "one throw for an utterance", RELEASE, "data", "AUDIO-DATA-3",
    families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "audio_bert-14", "what is left as it was is not asked", "chosen frames are asked whatever the dice said", RELEASE, "data", "AUDIO-DATA-4",
    families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "audio_bert-15", "runs drawn with replacement", "no start twice", RELEASE, "data", "AUDIO-DATA-2",
    families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "audio_bert-16", "15 % of the frames are starts of runs", "round(0.15 n / c) starts of runs of c", RELEASE, "data", "AUDIO-DATA-2",
    families=FAMILY, reason=OF_DATA,
)  # fmt: skip
