"""Mistakes in the embeddings."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from minibert import families, layers, ops, tree
from minibert.golden import places
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import (
    Fields,
    Mutant,
    apart,
    batch,
    config,
    entry,
    everywhere,
    field,
    lineage,
    only,
    present,
    swap,
    unlisted,
    weights,
    whole,
)
from minibert.mistakes.ops.attention import left_out, rotary, without_bias
from minibert.mistakes.ops.data import with_dropout
from minibert.mistakes.ops.norms import another_eps_at, no_norm, normed_sum
from minibert.mistakes.swap import Replacement, Site, edited, graded, local, relinear, swapped, zeros

SECTION = {"E": "Embeddings"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def overwritten(first: bool) -> Replacement:
    """The row of a repeated id keeps one of its gradients, the last or the first, instead of their sum."""

    def edit(_: Any, dy: Array, c: Cache) -> dict[str, Array]:
        ids, rows = c["ids"].reshape(-1), dy.reshape(-1, dy.shape[-1])
        order = slice(None, None, -1 if first else 1)
        dweight = np.zeros((c["length"], dy.shape[-1]), dy.dtype)
        for i, row in zip(ids[order], rows[order], strict=True):
            dweight[i] = row
        if c["padding_idx"] is not None:
            dweight[c["padding_idx"]] = 0
        return {"weight": dweight}

    return graded(ops.embedding, edit)


def frozen_row(subject: Subject, site: Site) -> Replacement | None:
    """The row of the padding id gets no gradient from this table either."""
    row = field(subject, "pad_token_id")
    inside = lambda given: {"padding_idx": row if row < len(given["weight"]) else None}  # noqa: E731
    return None if row is None else edited(ops.embedding, inside, faithful=False)


def zero_row(subject: Subject, site: Site) -> Replacement | None:
    """Rows looked up for the padding id set to 0, after they were looked up."""
    pad = field(subject, "pad_token_id")
    if pad is None:
        return None

    def embedding(weight: Array, *, ids: Any, padding_idx: Any = None) -> tuple[Array, Cache]:
        y, c = ops.embedding(weight, ids=ids, padding_idx=padding_idx)
        there = np.asarray(ids != pad)[..., None]
        return y * there, {**c, "there": there}

    def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
        return ops.embedding_backward(dy * c["there"], c)

    return Replacement(embedding, embedding_backward)


def thawed_row(subject: Subject, site: Site) -> Replacement | None:
    """The row of the padding id gets a gradient in this table, where two have a frozen one: that of positions, too, if
    these count from the padding id.
    """
    both = hasattr(families.family(subject.family), "positions")
    return edited(ops.embedding, lambda given: {"padding_idx": None}, faithful=False) if both else None


def unruled(maker: Any) -> Any:
    """No mutant where the padding row's rule is a config field."""
    return lambda subject, at: [] if hasattr(subject.config, "pad_row_gradient") else maker(subject, at)


def summed(
    weights: Mapping[str, float] = MappingProxyType({}), after: tuple[str, ...] = ("norm", "dropout")
) -> Replacement:
    """The sum with tables counted otherwise than once, and after it norm and dropout in another order or left out; a
    table named among these is added there.
    """

    def embeddings(
        p: Any, *, ids: Any, frozen: Any, eps: float, keep: Any, rate: float, scales: Any = None
    ) -> tuple[Array, Cache]:
        own = {name: weights.get(name, 1) * (scales or {}).get(name, 1) for name in ids}
        c: Cache = {"tables": {}, "plain": p.get("norm"), "weights": own}
        rows = {}
        for name, table_ids in ids.items():
            e, c["tables"][name] = ops.embedding(**p[name], ids=table_ids, padding_idx=frozen.get(name))
            rows[name] = e * own[name]
        shape = np.broadcast_shapes(*(e.shape for e in rows.values()))  # what is left may be one row for all texts
        h: Any = np.broadcast_to(sum(e for name, e in rows.items() if name not in after), shape)
        for step in after:
            if step == "norm" and "norm" in p:
                h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
            elif step == "dropout":
                h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
            elif step in rows:
                h = h + rows[step]
        return h, c

    def embeddings_backward(dy: Array, c: Cache) -> Any:
        g: Any = {"norm": zeros(c["plain"])} if c["plain"] else {}
        given = {}
        for step in reversed(after):
            if step == "norm" and c["plain"]:
                dy, g["norm"] = ops.layer_norm_backward(dy, c["norm"])
            elif step == "dropout":
                dy = ops.dropout_backward(dy, c["dropout"])
            else:
                given[step] = dy
        for name, cache in c["tables"].items():
            d = given.get(name, dy) * c["weights"][name]
            g[name] = ops.embedding_backward(d.sum(0) if cache["ids"].ndim == 1 else d, cache)
        return g

    return Replacement(embeddings, embeddings_backward)


def sinusoids(halves: bool) -> Replacement:
    """Rows of sines and cosines (arXiv 1706.03762, 3.5) for those of a table, which gets no gradient: of one frequency
    side by side, or in two halves.
    """

    def embedding(weight: Array, *, ids: Any, padding_idx: Any = None) -> tuple[Array, Cache]:
        width = weight.shape[1]
        angles = np.asarray(ids)[..., None] * 10000.0 ** (-2 * (np.arange(-(-width // 2))) / width)
        waves = (np.sin(angles), np.cos(angles))
        y = np.concatenate(waves, -1) if halves else np.stack(waves, -1).reshape(*angles.shape[:-1], -1)
        return y[..., :width].astype(weight.dtype), {"ids": ids, "plain": weight}

    return Replacement(embedding, lambda dy, c: {"weight": np.zeros_like(c["plain"])})


def _halved(subject: Subject, at: list[Site]) -> list[Mutant]:
    """All sines first, then all cosines, where the table is as it was made."""
    if not getattr(subject.config, "sinusoidal_embeddings", False):
        return []
    return swap("all sines first, then all cosines", "embedding", sinusoids(halves=True), r".*\.position")(subject, at)


# ---- The map from the tables' width ----------------------------------------------------------------------------------
MAP = r"encode\.(map|project)"


def _rooted(subject: Subject, site: Site) -> Replacement:
    """W √E x + b."""
    width = next(tree.get(subject.params, path).shape[1] for path in site.params if path.endswith("weight"))
    turn = lambda a: a * a.dtype.type(width**0.5)  # noqa: E731
    return relinear(weight=(turn, turn))


def activated(name: str) -> Replacement:
    """An op of that name behind x Wᵀ + b."""
    f, f_backward = getattr(ops, name), getattr(ops, f"{name}_backward")

    def linear(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        y, inner = ops.linear(x, weight, bias)
        y, act = f(y)
        return y, {"own": (inner, act)}

    def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        inner, act = c["own"]
        return ops.linear_backward(f_backward(dy, act), inner)

    return Replacement(linear, linear_backward)


def _one_projection(subject: Subject, _: Any) -> list[Mutant]:
    """Both networks project by the discriminator's matrix, where their widths agree."""
    params = subject.params
    both = [params[role]["project"]["weight"].shape for role in ("generator", "discriminator")
            if isinstance(params.get(role), dict) and "project" in params[role]]  # fmt: skip
    if len(both) < 2 or both[0] != both[1]:
        return []

    def change(s: Subject) -> Subject:
        generator = {**s.params["generator"], "project": s.params["discriminator"]["project"]}
        return replace(s, params={**s.params, "generator": generator})

    return [Mutant("both networks project by the discriminator's matrix", change)]


# ---- Batches ---------------------------------------------------------------------------------------------------------
def _types(b: dict, _: Any) -> dict[str, Array]:
    return {"token_type_ids": np.zeros_like(b["input_ids"])}


def with_types(maker: Any) -> Any:
    """No mutant where every token has type 0."""
    used = lambda s: any(b.get("token_type_ids", np.zeros(1)).any() for b in s.batches)  # noqa: E731
    return lambda subject, at: maker(subject, at) if used(subject) else []


def normed(maker: Any) -> Any:
    """No mutant where the embeddings have no norm."""
    there = lambda site: site.name == "layer_norm" and site.local.startswith("encode.embeddings.")  # noqa: E731
    return lambda subject, at: maker(subject, at) if any(map(there, at)) else []


def unnormed(maker: Any) -> Any:
    """No mutant where the embeddings have a norm."""
    return lambda subject, at: [] if normed(lambda *_: [True])(subject, at) else maker(subject, at)


def looked_up(table: str, maker: Any) -> Any:
    """No mutant where this table is not looked up."""
    return lambda subject, at: maker(subject, at) if any(s.local.endswith(f".tables.{table}") for s in at) else []


def with_second_type(maker: Any) -> Any:
    """No mutant where the type table has one row."""
    return lambda subject, at: maker(subject, at) if field(subject, "type_vocab_size") > 1 else []


def halves(b: dict) -> dict[str, Array]:
    """BERT's types: 1 in the second half."""
    length = b["input_ids"].shape[-1]
    return {"token_type_ids": (np.arange(length) >= length // 2) * present(b)}


def _plain(b: dict, config: Any) -> Array:
    return b["input_ids"] != config.pad_token_id


def positions(what: str, rule: Any) -> Any:
    """Position ids by another rule; no mutant where one would leave the table, or where these are due."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        rows = [apart(b) for b in subject.batches]
        tables = [rule(b, Fields(subject)) for b in rows]
        largest = max(int(table.max()) for table in tables)
        if largest >= field(subject, "max_position_embeddings"):
            return []
        own = getattr(families.family(subject.family), "positions", lambda ids, pad: 0 * ids + np.arange(ids.shape[-1]))
        due = [b.get("position_ids", own(b["input_ids"], field(subject, "pad_token_id"))) for b in rows]
        if all(np.array_equal(a, b) for a, b in zip(tables, due, strict=True)):
            return []
        return batch(what, lambda b, c: {"position_ids": rule(b, c)})(subject, at)

    return maker


def plainly_placed(maker: Any) -> Any:
    """No mutant where the family has a rule of its own for positions."""
    own = lambda s: hasattr(families.family(s.family), "positions")  # noqa: E731
    return lambda subject, at: [] if own(subject) else maker(subject, at)


def _where_given(maker: Any) -> Any:
    """No mutant where the family counts positions by itself."""
    return lambda subject, at: maker(subject, at) if "position_ids" in subject.batches[0] else []


def without_row(what: str, paths: str) -> Any:
    """The padding id's row of a table is zero."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        pad = field(subject, "pad_token_id")
        edit = lambda _, a: np.where(np.arange(len(a))[:, None] == pad, 0, a).astype(a.dtype)  # noqa: E731
        return [] if pad is None else weights(what, edit, paths)(subject, at)

    return maker


TYPES = r"embeddings\.token_type\.weight"
typeless = looked_up("token_type", weights("the type table is 0", lambda _, a: 0 * a, rf"(.*\.)?{TYPES}"))


def _counted(there: Array, start: int, rest: int) -> Array:
    return np.where(there, np.cumsum(there, -1) - 1 + start, rest)


def _by_segment(b: dict, _: Any) -> Array:
    """Positions counted from 0 where the type changes."""
    types, place = b["token_type_ids"], _from(b, 0)
    starts = np.concatenate([types[..., :1] == types[..., :1], types[..., 1:] != types[..., :-1]], -1)
    return place - np.maximum.accumulate(np.where(starts, place, 0), -1)


def _in_second(b: dict, _: Any) -> Array:
    """Positions of type 1 counted from the first of them, the others, padding's too, from the row's start."""
    types, place = b["token_type_ids"], _from(b, 0)
    return place - np.where(types == 1, (types == 1).argmax(-1)[..., None], 0)


def _from(b: dict, first: int) -> Array:
    return first + np.arange(b["input_ids"].shape[-1]) + 0 * b["input_ids"]


def _left_padded(b: dict, _: Any) -> dict[str, Array]:
    """The same tokens with the padding moved to the left end, positions still counted from 0."""
    moved, mask = {}, present(b)
    length = mask.shape[-1]
    last = np.where(mask.any(-1), np.cumsum(mask, -1).argmax(-1), length - 1)  # a row without ones stays
    shift = (length - 1 - last)[..., None]
    take = (np.arange(length) - shift) % length
    for name in ("input_ids", "attention_mask", "token_type_ids", "replaced_labels", "labels"):
        if name in b and b[name].shape == mask.shape:  # labels of a decoder are another text's
            moved[name] = np.take_along_axis(b[name], take, -1)
    if np.ndim(b.get("attention_mask")) > mask.ndim:  # queries and keys alike
        rows = np.arange(len(take))[:, None, None]
        moved["attention_mask"] = b["attention_mask"][rows, take[..., None], take[:, None]]
    if "masked_lm_positions" in b:
        moved["masked_lm_positions"] = (b["masked_lm_positions"] + shift) % length
    if "span_boundaries" in b:
        moved["span_boundaries"] = b["span_boundaries"] + shift[:, :, None]
    return moved


def _starts(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Positions that start anywhere else in the table."""
    longest = max(b["input_ids"].shape[-1] for b in subject.batches)
    room = field(subject, "max_position_embeddings") - longest
    if room < 3:
        return []
    of = lambda n: positions(f"positions start at {n:.0f}", lambda b, _: _from(b, int(n)))  # noqa: E731
    every = tuple(map(float, range(3, min(room, MOST_STARTS) + 1)))
    return solving.solvable(of, 3.0, every, whole=True)(subject, at)


def _clipped(subject: Subject, at: list[Site]) -> list[Mutant]:
    """No position beyond some row of the table."""
    longest = max(b["input_ids"].shape[-1] for b in subject.batches)
    if longest < 3:
        return []
    of = lambda n: positions(f"positions no larger than {n - 1:.0f}",  # noqa: E731
                             lambda b, _: np.minimum(_from(b, 0), int(n) - 1))  # fmt: skip
    every = tuple(map(float, range(1, min(longest, MOST_STARTS))))
    return solving.solvable(of, every[0], every, whole=True)(subject, at)


def _averaged(subject: Subject, site: Site) -> Replacement:
    """A table's gradient divided by the rows of the batch."""
    rows = len(subject.batches[0]["input_ids"])
    return graded(ops.embedding, lambda g, dy, c: {"weight": g["weight"] / g["weight"].dtype.type(rows)})


def averaged_before() -> Replacement:
    """The gradient of the one row of positions for all texts averaged over these, before it reaches the table."""
    made = summed()

    def embeddings_backward(dy: Array, c: Cache) -> Any:
        own = c["weights"]
        return made.backward(dy, {**c, "weights": {**own, "position": own["position"] / dy.dtype.type(len(dy))}})

    return replace(made, backward=embeddings_backward, faithful=False)


def _by_count(subject: Subject, site: Site) -> Replacement:
    """A table's gradient divided, row by row, by how often that row is looked up."""

    def edit(g: dict[str, Array], dy: Array, c: Cache) -> dict[str, Array]:
        counts = np.maximum(1, np.bincount(c["ids"].reshape(-1), minlength=c["length"]))
        return {"weight": g["weight"] / counts[:, None].astype(g["weight"].dtype)}

    return graded(ops.embedding, edit)


def _counted_otherwise(name: str) -> list[Callable]:
    """A table that counts otherwise than once: in the sum, or as it is looked up."""
    what = f"{name.replace('_', ' ')} rows times "
    widths = lambda subject: (2.0, field(subject, "hidden_size") ** 0.5, -1.0)  # noqa: E731
    ways = (
        lambda value: swap(what + solving.shown(value), "embeddings", summed({name: value})),
        lambda value: swap(what + solving.shown(value), "embedding", times(value), rf".*\.{name}"),
    )
    return [looked_up(name, solving.solvable(of, 0.5, widths, 1.0, least=-1e4)) for of in ways]


def unlike_bert(maker: Callable) -> Callable:
    """No mutant in BERT and its kin."""
    return lambda subject, at: [] if "bert" in lineage(subject.family) else maker(subject, at)


def times(factor: float) -> Replacement:
    """A table's rows times a factor."""

    def embedding(weight: Array, **given: Any) -> tuple[Array, Cache]:
        y, c = ops.embedding(weight, **given)
        return y * y.dtype.type(factor), c

    def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
        return ops.embedding_backward(dy * dy.dtype.type(factor), c)

    return Replacement(embedding, embedding_backward)


COUNTED = ("word", "position", "token_type")
MOST_STARTS = 64  # that are tried
PARTS = (("encoder", r"encode\.(en|de)coder\..*"), ("encoder and MLM head", r"(?!encode\.embeddings).*"))


def _other_eps(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The right eps in the embeddings and another in the encoder, or the reverse."""
    found = []
    for where, pattern in (*PARTS, ("embeddings", r"encode\.embeddings\..*")):
        found += [in_place(mutant, where) for mutant in whole(another_eps_at(pattern))(subject, at)]
    return found


def in_place(mutant: Mutant, where: str) -> Mutant:
    """The mutant, whatever its value, called that of a place."""
    of = mutant.free.of
    return replace(mutant, where=where, free=replace(mutant.free, of=lambda value: replace(of(value), where=where)))


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "E01", "token_type_ids missing or all 0 for pairs", "0 for [CLS] a [SEP], 1 for b [SEP]",
    "antonellof/ferrox#44; huggingface/optimum#1758, #2081; visheratin/web-ai#12",
    "output", "BERT-EMB-3", families=("bert", "albert", "electra", "deberta", "xlnet"),
    mutants=[
        with_types(batch("all token types 0", _types)),
        only("electra", with_types(swap("all token types 0", "embedding", edited(
            ops.embedding, lambda given: {"ids": np.zeros_like(given["ids"])}), r".*\.token_type"))),
        looked_up("token_type", swap("no token types added", "embeddings", summed({"token_type": 0}))),
        typeless,
    ],
)  # fmt: skip
entry(
    "E03", "positions start at another number, or padding's are others",
    "RoBERTa's start at padding_idx+1, pads keep padding_idx and do not advance; BERT's and GPT-2's start at 0",
    "src fairseq utils.make_positions; HF#1363, #10736, #11242; Blaizzy/mlx-embeddings#10; foundation-model-stack#432",
    "output", "ROB-POS-1", when="where positions are a table; all but RoBERTa's kin the other way round",
    mutants=[
        only("roberta", positions("positions start at 0", lambda b, _: _from(b, 0))),
        *(
            only("roberta", positions(f"positions start at {first}, those of padding at 0",
                                      lambda b, c, first=first: _counted(_plain(b, c), first, 0)))
            for first in (0, 1)
        ),
        only("roberta", positions("those of padding at 0",
                                  lambda b, c: _counted(_plain(b, c), c.pad_token_id + 1, 0))),
        only("roberta", positions("positions start at the padding id, padding's too",
                                  lambda b, c: _counted(_plain(b, c), c.pad_token_id, c.pad_token_id))),
        *(
            only("roberta", positions(f"positions one further, {where}", lambda b, c, by=by: _counted(
                _plain(b, c), c.pad_token_id + 2, c.pad_token_id + by)))
            for where, by in (("those of padding, too", 1), ("but for padding's", 0))
        ),
        positions("positions start at 1", lambda b, _: _from(b, 1)),
        positions(
            "positions start at the padding id + 1",
            lambda b, c: _from(b, 1 + (c.pad_token_id or 0)),
        ),
        positions("positions start at 2", lambda b, _: _from(b, 2)),
        _starts,
    ],
)  # fmt: skip
entry(
    "E04", "BERT given pad-skipping positions", "plain arange, pads included",
    "HF#238; src GB modeling.py", "output", "BERT-EMB-2", when="where positions are plain, as in BERT and GPT-2",
    mutants=[
        plainly_placed(maker) for maker in (
            positions(
                "RoBERTa's positions: from the padding id + 1, pads at the padding id",
                lambda b, c: _counted(
                    b["input_ids"] != (c.pad_token_id or 0), (c.pad_token_id or 0) + 1, c.pad_token_id or 0
                ),
            ),
            positions(
                "positions count tokens that are not the padding id, pads at 0",
                lambda b, c: _counted(b["input_ids"] != (c.pad_token_id or 0), 0, 0),
            ),
            positions(
                "positions count tokens that are not the padding id",
                lambda b, c: np.maximum(np.cumsum(b["input_ids"] != (c.pad_token_id or 0), 1) - 1, 0),
            ),
            positions("positions count the mask's ones, padding at 0", lambda b, _: _counted(present(b) != 0, 0, 0)),
            positions("positions count the mask's ones, padding at 1", lambda b, _: _counted(present(b) != 0, 0, 1)),
            positions("positions count the mask's ones", lambda b, _: np.maximum(np.cumsum(present(b), 1) - 1, 0)),
            positions("positions count the mask's ones from 1, padding at 0",
                      lambda b, _: np.cumsum(present(b), 1) * present(b)),
        )
    ],
)  # fmt: skip
entry(
    "E07", "left padding with arange positions", "shift positions by the number of pads (or forbid)",
    "ndif-team/nnsight#673; HF#19581", "output", "BERT-EMB-2",
    mutants=[
        batch("rows padded on the left", _left_padded),
        _where_given(positions("positions that are given not read: 0, 1, 2 and so on", lambda b, _: _from(b, 0))),
    ],
)  # fmt: skip
entry(
    "E08", "embedding LN has the right eps, encoder LNs the default", "same eps everywhere",
    "KH#642, #665", "output", "BERT-ENC-3", when="where embeddings have a norm", cause_of=("L01",),
    mutants=[normed(_other_eps)],
)  # fmt: skip
entry(
    "E09", "sine/cosine interleaved instead of halves (or reverse)", "as in the family's source",
    "tensorflow/tensor2tensor#391, #1925; fairseq#4648; allenai/allennlp#2993; kimiyoung/transformer-xl#119",
    "output", "XLM-EMB-4", families=("xlm", "distilbert", "xlnet"), when="where positions are sinusoids",
    mutants=[_halved],
)  # fmt: skip
entry(
    "E10", "pad row forced to zero / excluded from gradient, also in the position table",
    "GB: ordinary trainable row; PyTorch padding_idx: row gets no gradient - choose and declare",
    "HF#358, #19265", "gradient", "BERT-EMB-4", variant=True,
    mutants=[
        config("the padding row's rule", "gradients", pad_row_gradient=lambda c: not c.pad_row_gradient),
        without_row("the padding row is zero", r"embeddings\.word\.weight"),
        without_row("the padding id's row of the position table is zero", r"embeddings\.position\.weight"),
        swap("the padding id's rows set to 0 behind the look-up", "embedding", zero_row, r".*\.word",
             silent=r"(forward|gradients)/.*\.tables\.word", variant=False),
        swap("a row of the position or type table is frozen too", "embedding", frozen_row,
             r".*\.(position|token_type)", section="gradients", variant=False),
        unruled(swap("the padding id's row gets no gradient", "embedding", frozen_row, r".*\.word", section="gradients",
                     variant=False)),
        *(swap("the padding id's row learns in one table", "embedding", thawed_row, rf".*\.{name}", section="gradients")
          for name in ("word", "position")),
    ],
)  # fmt: skip
entry(
    "E11", "gradient of repeated ids overwritten", "scatter-add (`np.add.at`)",
    "HIPS/autograd#39, #136; PT#1631, #1528; karpathy/nn-zero-to-hero#57; pymc-devs/pytensor#2242; "
    "tenstorrent/tt-metal#6232",
    "gradient", "OP-EMB-2",
    mutants=[
        swap("the last of repeated ids wins", "embedding", overwritten(first=False), section="gradients"),
        swap("the first of repeated ids wins", "embedding", overwritten(first=True), section="gradients"),
    ],
)  # fmt: skip
entry(
    "E25", "a table's gradient averaged", "summed over all places where a row is looked up",
    "own knowledge", "gradient", "OP-EMB-2",
    mutants=[
        swap(f"the mean over {what}", "embedding", made, section="gradients")
        for what, made in (("the rows of the batch", _averaged), ("the places of each row", _by_count))
    ] + [
        looked_up("position", swap("the mean over the rows of the batch, before the position table", "embeddings",
                                   averaged_before(), section="gradients")),
    ],
)  # fmt: skip
def _scattered(choose: Callable) -> Callable[[Subject, Site], Replacement]:
    """Another scatter: choose(ids, dy, length) -> the table's gradient."""

    def edit(g: dict[str, Array], dy: Array, c: Cache) -> dict[str, Array]:
        made = choose(c["ids"], dy, c["length"])
        if made.shape != g["weight"].shape:
            raise ValueError("a table of another size")
        if c["padding_idx"] is not None:
            made[c["padding_idx"]] = 0
        return {"weight": made.astype(dy.dtype)}

    return graded(ops.embedding, edit)


def _added(ids: Array, dy: Array, length: int) -> Array:
    found = np.zeros((length, dy.shape[-1]), dy.dtype)
    np.add.at(found, ids.reshape(-1), dy.reshape(-1, dy.shape[-1]))
    return found


def _once_a_text(ids: Array, dy: Array, length: int) -> Array:
    """Repeated ids overwrite each other within a text, texts are added."""
    found = np.zeros((length, dy.shape[-1]), dy.dtype)
    for row, slopes in zip(ids, dy, strict=True):
        own = np.zeros_like(found)
        own[row] = slopes
        found += own
    return found


def _of_one_text(which: int) -> Callable[[Subject, Site], Replacement | None]:
    """The position table's gradient that of one text alone, though one row of positions serves all."""
    made = summed()

    def backward(dy: Array, c: Cache) -> Any:
        alone = np.zeros_like(dy)
        alone[which] = dy[which]
        return {**made.backward(dy, c), "position": made.backward(alone, c)["position"]}

    return lambda subject, site: replace(made, backward=backward, faithful=False)


entry(
    "E32", "a table's gradient of some texts alone, or at other rows", "each row's, added where it was looked up",
    "own knowledge", "gradient", "OP-EMB-2", when="where repeated ids overwrite each other it is E11",
    mutants=[
        swap(what, "embedding", _scattered(choose), section="gradients")
        for what, choose in (
            ("the last text's alone", lambda ids, dy, n: _added(ids[-1:], dy[-1:], n)),
            ("the first text's alone", lambda ids, dy, n: _added(ids[:1], dy[:1], n)),
            ("overwritten within a text, texts added", _once_a_text),
            ("all at row 0", lambda ids, dy, n: _added(0 * ids, dy, n)),
            ("all at row 1", lambda ids, dy, n: _added(0 * ids + 1, dy, n)),
            ("at the row behind", lambda ids, dy, n: _added((ids + 1) % n, dy, n)),
            ("at the row before", lambda ids, dy, n: _added((ids - 1) % n, dy, n)),
            ("rows in the other order", lambda ids, dy, n: _added(n - 1 - ids, dy, n)),
            ("the total at each row", lambda ids, dy, n: (_added(ids, np.broadcast_to(
                dy.sum(tuple(range(dy.ndim - 1))), dy.shape), n) != 0) * dy.sum(tuple(range(dy.ndim - 1)))),
            ("averaged over all tokens", lambda ids, dy, n: _added(ids, dy, n) / max(1, dy.size // dy.shape[-1])),
        )
    ] + [looked_up("position", swap(f"of the {name} text alone, of the positions", "embeddings", _of_one_text(which),
                                    section="gradients", silent=silent))
         for name, which in (("first", 0), ("last", -1)) for silent in ("", r"gradients/.*\.tables\.position")],
)  # fmt: skip
entry(
    "E24", "positions clipped, from the row's end on, or from 0 again", "0 to T - 1, from left to right",
    "own knowledge (a gather that clips)", "output", "BERT-EMB-2", when="where positions are plain",
    mutants=[
        plainly_placed(positions("from the row's end on", lambda b, _: _from(b, 0)[:, ::-1])),
        plainly_placed(with_types(positions("from 0 again in each segment", _by_segment))),
        plainly_placed(with_types(positions("from 0 again in the second segment", _in_second))),
        plainly_placed(_clipped),
    ],
)  # fmt: skip
entry(
    "E12", "factorised projection missing or untied wrong way", "E -> H after embedding LN; head projects back to E",
    "KH#1767; src ELECTRA get_token_logits", "output", "ALB-EMB-2",
    families=("albert", "electra"), when="of ELECTRA the small one", cause_of=("C15",),
    mutants=[
        swap("no map from the tables' width", "linear", left_out, MAP),
        swap("the map has no bias", "linear", without_bias(), MAP),
        *(swap(f"the map has an activation{text}", "linear", activated(name), MAP)
          for text, name in (("", "gelu"), (", GELU's tanh form", "gelu_tanh"), (", tanh", "tanh"),
                             (", ReLU", "relu"))),
        swap("what is mapped times √E", "linear", _rooted, MAP),
        _one_projection,
    ],
)  # fmt: skip
entry(
    "E13", "ERNIE loaded as BERT (gelu, 512 positions)", "relu, 513 positions in 1.0",
    "ArthurRizar/tensorflow_ernie#1", "output", "ERN-CFG-1", families=("ernie",),
    reason="the activation is G05; 513 rows in a table of 512 are refused in one line by whoever reads the file",
)  # fmt: skip
entry(
    "E14", "language embeddings or embedding LN omitted; pads not zeroed", "add, LN, dropout, multiply by mask",
    "src XLM transformer.py:282, 386; babybert 0.1.1; codertimo/BERT-pytorch", "output", "BERT-EMB-1",
    families=("bert", "grover", "xlm", "audio_bert", "swin"), when="where embeddings have a norm",
    mutants=[
        normed(swap("the sum without its norm", "embeddings", summed(after=("dropout",)))),
        swap("the norm gives what it is given", "layer_norm", no_norm(), r"encode\.embeddings\.norm"),
    ],
)  # fmt: skip
entry(
    "E15", "rotary left on in a BERT layer -> NaN", "absolute positions only",
    "nntrainer/nntrainer#3982", "output", "BERT-ATT-1", when="where positions are a table",
    mutants=[
        swap(f"rotary positions, {what}", "attention", rotary(halves))
        for what, halves in (("halves", True), ("interleaved", False))
    ] + [
        whole(solving.solvable(lambda base, halves=halves, what=what: swap(
            f"rotary positions of base {solving.shown(base)}, {what}", "attention", rotary(halves, base)),
            100.0, (1000.0, 500000.0, 1e6), 10000.0, least=1.001))
        for what, halves in (("halves", True), ("interleaved", False))
    ],
)  # fmt: skip
entry(
    "E16", "dropout before embedding LN, or on the words alone", "sum -> LN -> dropout",
    "own knowledge", "output", "BERT-EMB-1", when="the former where embeddings have a norm",
    mutants=[with_dropout(normed(swap("dropout before the norm", "embeddings", summed(after=("dropout", "norm")),
                                      silent=silent))) for silent in ("", r".*encode\.embeddings(\.norm)?")]
    + [with_dropout(looked_up("word", looked_up("position", swap(
        "dropout on the words alone, before the sum", "embeddings",
        summed(after=("dropout", "position", "token_type", "norm"))))))],
)  # fmt: skip
def _of_another(table: str, other: str) -> Replacement:
    """A table's ids looked up in another table."""

    def forward(p: Any, **given: Any) -> tuple[Array, Cache]:
        y, c = layers.embeddings.__wrapped__({**p, table: p[other]}, **given)
        return y, {**c, "own": p[table]["weight"]}

    def backward(dy: Array, c: Cache) -> Any:
        g = layers.embeddings_backward.__wrapped__(dy, c)
        both = g[other]["weight"] + g[table]["weight"]
        return {**g, other: {"weight": both}, table: {"weight": np.zeros_like(c["own"])}}

    return Replacement(forward, backward)


def _folded(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The row of type 0 loaded into the positions, or the words, and still added."""
    towers = places.places(subject.family, subject.config).towers
    flat, found = tree.flatten(subject.params), []
    types = [path for path in flat if local(path, towers) == "embeddings.token_type.weight"]
    for table in ("position", "word"):
        held = {path.replace("token_type", table): path for path in types}
        held = {path: of for path, of in held.items() if path in flat and flat[path].shape[1] == flat[of].shape[1]}
        users = tuple(site.path for site in at if not held.keys().isdisjoint(site.params))
        found += [Mutant(f"the row of type 0 added to the {table} table, and once more", _added_row(held),
                         sites=users)] if held else []  # fmt: skip
    return found


def _added_row(held: dict[str, str]) -> Callable:
    def change(s: Subject) -> Subject:
        flat = tree.flatten(s.params)
        return replace(s, params=tree.unflatten(
            {path: a + flat[held[path]][0] if path in held else a for path, a in flat.items()}))  # fmt: skip

    return change


entry(
    "E23", "a table's rows multiplied by a number, or added to another's", "added as they are",
    "own knowledge (the Transformer has √D, for words)", "output", "BERT-EMB-1", families=("bert",),
    when="in GPT-2 √D is gpt2-16",
    mutants=[only("bert", maker) for name in COUNTED for maker in _counted_otherwise(name)] + [_folded],
)  # fmt: skip
unlisted("a table counts otherwise",
         *(unlike_bert(maker) for name in COUNTED for maker in _counted_otherwise(name)))
entry(
    "E19", "segments all 1, or inverted", "0 for [CLS] a [SEP], 1 for b [SEP]",
    "john-hewitt/structural-probes#13", "output", "BERT-EMB-3",
    mutants=[
        with_second_type(batch("all segments 1", lambda b, _: {"token_type_ids": np.ones_like(b["input_ids"])})),
        with_types(batch("0 and 1 exchanged", lambda b, _: {"token_type_ids": 1 - np.minimum(b["token_type_ids"], 1)})),
        looked_up("token_type", weights("the first two rows change places when loaded",
                                        lambda _, a: np.concatenate([a[1::-1], a[2:]]), rf"(.*\.)?{TYPES}")),
        with_second_type(batch("padding has segment 1", lambda b, _: {
            "token_type_ids": np.where(present(b) == 0, 1, b["token_type_ids"])})),
        with_second_type(batch("the padding id has segment 1", lambda b, c: {
            "token_type_ids": np.where(_plain(b, c), b["token_type_ids"], 1)})),
        *(with_types(batch(f"the {what} row's for all", lambda b, _, i=i: {
            "token_type_ids": 0 * b["token_type_ids"] + b["token_type_ids"][i]}))
          for what, i in (("first", 0), ("last", -1))),
    ],
)  # fmt: skip
entry(
    "E18", "no positions added", "word + position + token type",
    "own knowledge", "output", "BERT-EMB-1",
    mutants=[swap("no positions added", "embeddings", summed({"position": 0}))],
)  # fmt: skip
entry(
    "E22", "a table added behind the norm", "the three summed, then the norm",
    "own knowledge", "output", "BERT-EMB-1", when="where embeddings have a norm",
    mutants=[
        looked_up(name, normed(swap(f"{name.replace('_', ' ')} rows added behind the norm", "embeddings",
                                    summed(after=("norm", name, "dropout")))))
        for name in ("position", "token_type", "word")
    ] + [
        looked_up("token_type", normed(swap(f"{one} and {other} rows added behind the norm".replace("_", " "),
                                            "embeddings", summed(after=("norm", one, other, "dropout")))))
        for one, other in (("position", "token_type"), ("word", "position"), ("word", "token_type"))
    ],
)  # fmt: skip
entry(
    "E26", "the row beside a token's own, or another table's", "row i for id i",
    "own knowledge", "output", "BERT-EMB-1", cause_of=("E19",),
    mutants=[
        swap(f"the row {what} it", "embedding", edited(ops.embedding, lambda given, by=by: {
            "ids": (given["ids"] + by) % len(given["weight"])}), rf".*\.{name}")
        for name in ("word", "token_type") for what, by in (("behind", 1), ("before", -1))
    ] + [
        weights(f"the {name} table loaded from the row {what} its own", lambda _, a, by=by: np.roll(a, by, 0),
                rf"(.*\.)?embeddings\.{name}\.weight")
        for name in ("word", "position") for what, by in (("behind", -1), ("before", 1))
    ] + [
        looked_up(table, looked_up(other, swap(
            f"{table.replace('_', ' ')} ids looked up in the {other} table", "embeddings", _of_another(table, other))))
        for table, other in (("token_type", "position"), ("token_type", "word"), ("position", "word"))
    ],
)  # fmt: skip
def emptied() -> Replacement:
    """What the embeddings give at the padding id set to 0."""

    def forward(p: Any, *, ids: Any, frozen: Any, **given: Any) -> tuple[Array, Cache]:
        there = np.asarray(ids["word"] != frozen.get("word", 0))[..., None]
        y, c = layers.embeddings.__wrapped__(p, ids=ids, frozen=frozen, **given)
        return y * there, {**c, "there": there}

    def backward(dy: Array, c: Cache) -> Any:
        return layers.embeddings_backward.__wrapped__(dy * c["there"], c)

    return Replacement(forward, backward)


def of_length_one(least: float = 1e-12) -> Replacement:
    """Rows of a table divided by their length, where that is more than `least`, and else by `least`."""

    def embedding(weight: Array, **given: Any) -> tuple[Array, Cache]:
        length = np.sqrt(np.square(weight).sum(-1, keepdims=True))
        size = np.maximum(length, weight.dtype.type(least))
        y, c = ops.embedding(weight / size, **given)
        return y, {**c, "unit": (weight / size * (length > least), size)}

    def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
        (unit, size), g = c["unit"], ops.embedding_backward(dy, c)["weight"]
        return {"weight": (g - unit * (g * unit).sum(-1, keepdims=True)) / size}

    return Replacement(embedding, embedding_backward)


def _placed_again(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The rows of the position table added to the input of each layer but the first, too."""
    tables = [site for site in at if site.name == "embedding" and site.local.endswith(".position")]
    stack = [site for site in at if site.name in ("encoder_layer", "pre_norm_layer") and site.layer]
    if len(tables) != 1 or not stack or len({site.tower for site in stack}) > 1:
        return []
    held = threading.local()

    def looked_up(weight: Array, **given: Any) -> tuple[Array, Cache]:
        held.rows, c = ops.embedding(weight, **given)
        held.gradient = 0
        return held.rows, c

    def looked_up_backward(dy: Array, c: Cache) -> dict[str, Array]:
        more = held.gradient
        if np.ndim(more) > dy.ndim:  # one row of positions for all texts
            more = more.sum(0)
        return ops.embedding_backward(dy + more, c)

    def added(name: str) -> Replacement:
        layer, layer_backward = (getattr(layers, f"{name}{end}").__wrapped__ for end in ("", "_backward"))

        def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
            dx, g = layer_backward(dy, c)
            held.gradient = held.gradient + dx
            return dx, g

        return Replacement(lambda x, p, **given: layer(x + held.rows, p, **given), backward)

    pairs = {tables[0].key: Replacement(looked_up, looked_up_backward)}
    pairs |= {site.key: added(site.name) for site in stack}
    change = partial(swapped, at=pairs)
    return [Mutant("position rows added in front of each layer", change, sites=tuple(site.path for site in stack))]


def _unlearnt_table(shown: bool) -> Callable:
    """No gradient for a table; what the optimizer does with it is open. shown: nor for the rows looked up, as where
    they are detached; else these have theirs, or none is handed out.
    """
    silent = r"steps/\d+/.*\.(position|token_type)\.weight" + ("" if shown else r"|gradients/.*\.tables\.\w+")
    maker = swap("no gradient", "embedding", graded(ops.embedding, lambda g, dy, c: zeros(g)),
                 r".*\.(position|token_type)", section="gradients", silent=silent)  # fmt: skip

    def made(subject: Subject, at: list[Site]) -> list[Mutant]:
        if not shown:
            return maker(subject, at)
        rows = families.family(subject.family).activations(subject.config)
        named = {path: f"gradients/{name}" for name, path, *_ in rows}

        def detached(mutant: Mutant) -> Mutant:
            keys = {named[path] for path in mutant.sites if path in named}
            after = lambda tensors: {k: 0 * a if k in keys else a for k, a in tensors.items()}  # noqa: E731
            return replace(mutant, what="no gradient, nor for its rows", after=after)

        return [detached(mutant) for mutant in maker(subject, at)]

    return made


unlisted("a norm behind the embeddings, which have none",
         unnormed(swap("normed without weights", "embeddings", normed_sum())))
entry(
    "E27", "padding's embeddings set to 0", "padding is looked up like any token, and masked in the attention",
    "own knowledge (XLM multiplies by the mask)", "output", "BERT-EMB-1", families=("bert",),
    mutants=[only("bert", swap("0 behind the norm", "embeddings", emptied()))],
)  # fmt: skip
entry(
    "E28", "rows of a table brought to length 1", "as they are stored",
    "own knowledge", "output", "BERT-EMB-1",
    mutants=[swap("divided by their length", "embedding", of_length_one(), r".*\.(word|position|token_type)",
                  silent=silent) for silent in ("", r"(forward|gradients)/.*\.tables\.\w+")]
    + [everywhere(swap("longer ones divided by their length (max_norm)", "embedding", of_length_one(least=1.0),
                       r".*\.(word|position|token_type)", silent=silent))
       for silent in ("", r"(forward|gradients)/.*\.tables\.\w+")],
)  # fmt: skip
entry(
    "E29", "positions added in front of each layer", "once, to the embeddings",
    "own knowledge", "output", "BERT-EMB-1", when="where positions are a table",
    mutants=[_placed_again],
)  # fmt: skip
entry(
    "E30", "a table gets no gradient", "every row that is looked up learns",
    "own knowledge", "gradient", "OP-EMB-2", when="of what is looked up; the decoder's part of a tied table is O08",
    mutants=[_unlearnt_table(shown) for shown in (False, True)],
)  # fmt: skip
entry(
    "E31", "the tables' sum multiplied by a number", "word + position + token type",
    "own knowledge (a mean of the tables)", "output", "BERT-EMB-1", when="where no norm is behind it",
    mutants=[unnormed(solving.solvable(
        lambda v: swap(f"the sum times {solving.shown(v)}", "embeddings", summed(dict.fromkeys(COUNTED, v))),
        0.5, lambda subject: (1 / 3, 2.0, field(subject, "hidden_size") ** 0.5), 1.0, least=-1e4))],
)  # fmt: skip
entry(
    "E20", "sinusoids for the position table", "a table that is learned",
    "codertimo/BERT-pytorch", "output", "BERT-EMB-2", when="where positions are a table",
    mutants=[
        swap(f"sines and cosines {text}", "embedding", sinusoids(halves), r".*\.position", silent=silent)
        for text, halves in (("by turns", False), ("in two halves", True))
        for silent in ("", r"(forward|gradients)/.*\.tables\.position")
    ],
)  # fmt: skip
