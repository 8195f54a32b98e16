"""Mistakes of Megatron-LM: what a split over ranks may lose, where its norms stand, how its files lie."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert import ops, tensor_parallel
from minibert.mistakes.catalogue import config, entry, only, swap, whole
from minibert.mistakes.ops.attention import NAMES, loaded
from minibert.mistakes.ops.heads import bias_times
from minibert.mistakes.ops.norms import normed_sum, rewired
from minibert.mistakes.swap import Replacement

Array = np.ndarray
Cache = dict[str, Any]

ENDS = r"encode\.encoder\.\d+\.(attention\.output|feed_forward\.out)"


def own(*makers: Callable) -> list[Callable]:
    """The makers for Megatron-BERT and its kin."""
    return [only("megatron_bert", maker) for maker in makers]


def smoothed_on_rank(ranks: int, rank: int) -> Replacement:
    """The release's smoothed loss on one of the ranks: s = ε·n/(n - 1) of its n classes, and the mean of their log
    probabilities alone; the gradient takes s/n from every class, whatever the ranks are.
    """

    def forward(logits: Array, *, smoothing: float, **given: Any) -> tuple[Array, Cache]:
        plain, c = ops.cross_entropy(logits, **given)
        z = logits.reshape(-1, logits.shape[-1])
        share = np.array_split(np.arange(z.shape[1]), ranks)[rank]
        s = z.dtype.type(smoothing * len(share) / max(1, len(share) - 1))
        logp = z - z.max(-1, keepdims=True)
        logp = logp - np.log(np.exp(logp).sum(-1, keepdims=True))
        w = c["weights"].reshape(-1)
        value = (1 - s) * plain - s * (w * logp[:, share].mean(-1)).sum()
        return np.asarray(value), {"plain": c, "w": w, "s": s, "count": len(share), "smoothing": smoothing}

    def backward(dy: Array, c: Cache) -> Array:
        dz = ops.cross_entropy_backward(dy, c["plain"])  # softmax - onehot
        flat = dz.reshape(-1, dz.shape[-1]).copy()
        w = dy * c["w"]
        labels = c["plain"]["labels"].reshape(-1)
        flat[np.arange(len(flat)), labels] += c["s"] * w
        return (flat - (w * c["s"] / c["count"])[:, None]).astype(dz.dtype).reshape(dz.shape)

    return Replacement(forward, backward, faithful=False)


def _ranks() -> Iterator[Callable]:
    for ranks in (2, 4):
        for rank in range(ranks):
            what = f"on rank {rank} of {ranks}"
            yield whole(swap(what, "smoothed_cross_entropy", smoothed_on_rank(ranks, rank)))


def _layout(stored: str, read: str) -> Callable:
    """query_key_value stored in one layout and read in another."""

    def edit(a: dict[str, Any], heads: Callable[[], int]) -> dict[str, Any]:
        a = {name: dict(part) if name in NAMES else part for name, part in a.items()}
        for leaf in a["query"]:
            one = tensor_parallel.fused([a[name][leaf] for name in NAMES], stored, heads=heads())
            for name, part in zip(NAMES, tensor_parallel.parted(one, read, heads=heads()), strict=True):
                a[name][leaf] = part
        return a

    return loaded(f"stored as version {stored}, read as {read}", edit)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "megatron_bert-01", "labels smoothed on each rank by its own share of the classes", "ε/V of all ranks' classes",
    "NVIDIA/Megatron-LM megatron/core/tensor_parallel/cross_entropy.py (its own form)", "loss", "MEGB-TP-6",
    families=("transformer",), when="with a vocabulary that is split over ranks", mutants=[*_ranks()],
)  # fmt: skip
entry(
    "megatron_bert-02", "the bias behind a row-parallel layer added on every rank", "once, behind the sum",
    "own knowledge", "output", "MEGB-TP-3", families=("megatron_bert",),
    mutants=own(*(whole(swap(f"{ranks} times", "linear", bias_times(float(ranks)), ENDS)) for ranks in (2, 4, 8))),
)  # fmt: skip
entry(
    "megatron_bert-03", "query_key_value of a checkpoint of version 1.0 read as another's, or another's so",
    "(3, H, K) in version 0, (H, K, 3) in 1.0, (H, 3, K) from 2.0 on", "HF#12004, #12007; NVIDIA/Megatron-LM#37",
    "output", "MEGB-NAME-2", families=("megatron_bert",), when="the other two taken for each other are A19",
    mutants=own(*(_layout(*pair) for pair in (("1.0", "0"), ("0", "1.0"), ("1.0", "2.0"), ("2.0", "1.0")))),
)  # fmt: skip
entry(
    "megatron_bert-04", "a norm behind the embeddings, as BERT has it", "none: the sum of the tables enters layer 1",
    "own knowledge", "output", "MEGB-EMB-1", families=("megatron_bert",),
    mutants=own(swap("normed without weights", "embeddings", normed_sum())),
)  # fmt: skip
entry(
    "megatron_bert-05", "post-norm for pre-norm", "a + f(LN(a)), and a norm behind the last layer",
    "own knowledge (the paper's figure 7 has both)", "output", "MEGB-LAYER-1", families=("megatron_bert",),
    mutants=own(swap("the norm stands behind the residual", "pre_norm_layer", rewired({"post": True}, {"post": True}))),
)  # fmt: skip
entry(
    "megatron_bert-06", "one activation for the layers and the masked-LM head", "as mlm_act says: the release has two",
    "NVIDIA/Megatron-LM megatron/core (bias_gelu, and erf in the head)", "output", "MEGB-ACT-1",
    families=("megatron_bert",), variant=True,
    mutants=own(config("the head takes the layers'", mlm_act="hidden_act")),
)  # fmt: skip
