"""Mistakes of MPNet: who sees what in its two streams, and relative positions that travel along."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops, relative
from minibert.families import mpnet
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

Array = np.ndarray
Tree = dict[str, Any]
LAYER = r"encode\.encoder\.\d+"
QUERIES = rf"{LAYER}\.attention\.queries"
ATTENTION = rf"{LAYER}\.attention\.(attention|queries)"


def own(*makers: Callable) -> list[Callable]:
    """The makers for MPNet and its kin."""
    return [only("mpnet", maker) for maker in makers]


def _streams(subject: Subject, *modes: str) -> bool:
    """Whether the case has two streams, of these modes."""
    return subject.config.input_mode in (modes or ("mpnet", "plm"))


# ---- Who sees what ---------------------------------------------------------------------------------------------------
def seeing(what: str, edit: Callable[[Array, int, int], None], *modes: str) -> Callable:
    """Another mask in these modes: edit(mask (B, N, S), T, M) writes to a copy."""

    def masked(given: dict[str, Any]) -> dict[str, Any]:
        sees = given["mask"].copy()
        slots = sees.shape[2] - sees.shape[3]
        edit(sees[:, 0], sees.shape[3] - slots, slots)
        return {"mask": sees}

    made = edited(mpnet.mpnet_layer, masked)
    return swap(what, "mpnet_layer", lambda subject, _: made if _streams(subject, *modes) else None, LAYER)


def _unpredicted(sees: Array, length: int, slots: int) -> Array:
    """The columns (B, 1, T) that the last predicted token sees, which knows all: what is not predicted."""
    return sees[:, length + slots - 1, None, :length]


def _queries_blind(sees: Array, length: int, slots: int) -> None:
    sees[:, length + slots :, :length] &= _unpredicted(sees, length, slots)


def _row_blind(sees: Array, length: int, slots: int) -> None:
    sees[:, :length, :length] &= _unpredicted(sees, length, slots)


def _diagonal(sees: Array, length: int, slots: int) -> None:
    sees[:, length + slots :, :length] &= sees[:, length : length + slots, :length]


def _placeholder_kept(sees: Array, length: int, slots: int) -> None:
    sees[:, length : length + slots, :length] |= sees[:, length + slots :, :length]


def _own_token(value: bool, stream: int) -> Callable[[Array, int, int], None]:
    """Each token (stream 0) or query (1) sees its token, or doesn't."""

    def edit(sees: Array, length: int, slots: int) -> None:
        at = np.arange(slots)
        there = sees[:, length + slots - 1, length:] if value else True
        sees[:, length + stream * slots + at, length + at] = value & there

    return edit


def _told(sees: Array, length: int, slots: int) -> None:
    sees[:, :length, length:] = sees[:, length + slots - 1, None, length:]


# ---- Positions -------------------------------------------------------------------------------------------------------
def bucketed(what: str, rule: Callable[[Array, Any], Array], *modes: str) -> Callable:
    """Other buckets: rule(buckets, config)."""

    def made(subject: Subject, _: Site) -> Replacement | None:
        if modes and not _streams(subject, *modes):
            return None
        return edited(relative.relative_bias, lambda given: {"buckets": rule(given["buckets"], subject.config)})

    return swap(what, "relative_bias", made)


def _halved(buckets: Array, config: Any) -> tuple[Array, Array, int]:
    """(bucket without its direction, whether the key stands behind the query, half of the buckets)."""
    half = config.relative_attention_num_buckets // 2
    return buckets % half, buckets >= half, half


def _turned(buckets: Array, config: Any) -> Array:
    distance, behind, half = _halved(buckets, config)
    return distance + half * (~behind & (distance > 0))


def _undirected(buckets: Array, config: Any) -> Array:
    return _halved(buckets, config)[0]


def _near(buckets: Array, config: Any) -> Array:
    distance, behind, half = _halved(buckets, config)
    return np.minimum(distance, half // 2) + half * behind


def _in_sequence(buckets: Array, config: Any) -> Array:
    sizes = {"count": config.relative_attention_num_buckets, "most": config.relative_attention_max_distance}
    return np.broadcast_to(relative.buckets(*buckets.shape[-2:], both=True, **sizes), buckets.shape)


def _unbiased(q: Array, k: Array, v: Array, bias: Array, **given: Any) -> tuple[Array, Tree]:
    y, c = ops.attention(q, k, v, **given)
    return y, {**c, "of_caller": bias}


def _unbiased_backward(dy: Array, c: Tree) -> tuple[Array, ...]:
    return *ops.attention_backward(dy, c), np.zeros_like(c["of_caller"])


WITHOUT = Replacement(_unbiased, _unbiased_backward)


def _divided(given: dict[str, Any]) -> dict[str, Any]:
    return {"bias": given["bias"] * given["bias"].dtype.type(given["q"].shape[-1] ** -0.5)}


DIVIDED = edited(ops.attention, _divided, faithful=False)
NO_TABLE = graded(ops.attention, lambda d, dy, c: (*d[:3], zeros(d[3])))



def _content_weights(d: Any, dy: Array, c: Any, keys: int) -> Any:
    dx, _ = d
    return dx, ops.linear_backward(np.where(np.arange(dy.shape[1])[:, None] < keys, dy, 0), c)[1]


def _one_stream(subject: Subject, site: Site) -> Replacement | None:
    if not _streams(subject):
        return None
    batch = subject.batches[0]
    keys = batch["input_ids"].shape[1] + batch["masked_lm_positions"].shape[1]
    return graded(ops.linear, lambda d, dy, c: _content_weights(d, dy, c, keys))


def _of_row(given: dict[str, Any]) -> dict[str, Any]:
    return {"positions": np.broadcast_to(np.arange(given["positions"].shape[1]), given["positions"].shape)}


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "mpnet-01", "relative positions divided by √K with the scores", "scores are scaled, then the bias is added",
    "src MPNet; own knowledge", "output", "MPN-POS-1", families=("mpnet",),
    mutants=own(swap("the bias divided, too", "attention", DIVIDED, ATTENTION)),
)  # fmt: skip
entry(
    "mpnet-02", "relative positions in the first layer alone, or nowhere", "one table, added in every layer",
    "OpenNMT/CTranslate2#1335; fairseq arch mpnet_base has none", "output", "MPN-POS-1", families=("mpnet",),
    mutants=own(
        swap("no bias behind the first layer", "attention", lambda _, site: WITHOUT if site.layer else None, ATTENTION),
        swap("no bias", "attention", WITHOUT, ATTENTION),
    ),
)  # fmt: skip
entry(
    "mpnet-03", "buckets of another rule", "half of them for keys behind the query, then logarithms up to 128",
    "lucidrains/x-transformers#10; ANEForge#255; src MPNet", "output", "MPN-POS-1", families=("mpnet",),
    mutants=own(
        bucketed("the sign of the distance turned round", _turned),
        bucketed("no directions", _undirected),
        bucketed("one bucket for all that is not near", _near),
    ),
)  # fmt: skip
entry(
    "mpnet-04", "relative positions count places in the permuted sequence", "those of the tokens in the text",
    "HF modeling_mpnet (arange, whatever position_ids are)", "output", "MPN-SEE-3", families=("mpnet",),
    mutants=own(bucketed("by index in the sequence", _in_sequence, "mpnet", "plm")),
)  # fmt: skip
entry(
    "mpnet-05", "the table of positions gets part of its gradient", "the sum over layers and both streams",
    "own knowledge", "gradient", "MPN-POS-1", families=("mpnet",),
    mutants=own(
        swap("the first layer's gradient alone", "attention", lambda _, site: NO_TABLE if site.layer else None,
             ATTENTION, section="gradients"),
        swap("the content's gradient alone", "attention", NO_TABLE, QUERIES, section="gradients"),
    ),
)  # fmt: skip
entry(
    "mpnet-06", "queries see no placeholders", "position compensation: each sees as many columns as there are tokens",
    "src MPNet (input_mode plm)", "output", "MPN-SEE-2", families=("mpnet",),
    mutants=own(seeing("no placeholders for queries", _queries_blind, "mpnet")),
)  # fmt: skip
entry(
    "mpnet-07", "the row's content sees no placeholders", "only predicted tokens do without those up to their own",
    "src MPNet make_content_mask", "output", "MPN-SEE-2", families=("mpnet",),
    mutants=own(seeing("no placeholders for the row", _row_blind, "mpnet")),
)  # fmt: skip
entry(
    "mpnet-08", "XLNet's diagonal for placeholders", "a query sees its own placeholder, a token does not see its",
    "src MPNet make_query_mask", "output", "MPN-SEE-2", families=("mpnet",),
    mutants=own(
        seeing("queries without their own placeholders", _diagonal, "mpnet"),
        seeing("tokens beside their own placeholders", _placeholder_kept, "mpnet"),
    ),
)  # fmt: skip
entry(
    "mpnet-09", "a query sees the token that it predicts", "those before it alone",
    "own knowledge; XLNet's leak without target_mapping", "output", "MPN-SEE-2", families=("mpnet",),
    mutants=own(
        seeing("queries see their tokens", _own_token(True, 1)),
        seeing("the row's content sees predicted tokens", _told),
    ),
)  # fmt: skip
entry(
    "mpnet-10", "a token's content does not see itself", "the content sees its own token, the query does not",
    "HF#711", "output", "MPN-SEE-2", families=("mpnet",),
    mutants=own(seeing("tokens see those before them alone", _own_token(False, 0))),
)  # fmt: skip
entry(
    "mpnet-11", "logits of the content's placeholders", "of the queries' states", "src MPNet (return_mlm)", "output",
    "MPN-LOSS-1", families=("mpnet",),
    mutants=own(swap("the row's states are read", "gather",
                     lambda s, _: edited(ops.gather, _of_row) if _streams(s) else None, r"encode\.states")),
)  # fmt: skip
entry(
    "mpnet-12", "weights learn from the content stream alone", "both streams share them: the sum", "own knowledge",
    "gradient", "MPN-SEE-1", families=("mpnet",),
    mutants=own(swap("the query projection's gradient from the content", "linear", _one_stream,
                     r"encode\.encoder\.\d+\.(attention\.(query|output)|feed_forward\.(in|out))", section="gradients")),
)  # fmt: skip
