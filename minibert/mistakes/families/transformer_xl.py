"""Mistakes of Transformer-XL: distances, four terms, memory, clusters."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops, relative, tree
from minibert.families import transformer_xl
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, config, entry, only, swap
from minibert.mistakes.going import Going, begun
from minibert.mistakes.swap import Replacement, Site, edited, zeros

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("transformer_xl",)
NORMS = r"encode\.decoder\.\d+\.attention\.norm"


def attending(what: str, edit: Callable[[Tree], Tree]) -> Callable:
    """Relative attention on other arguments."""
    return swap(what, "relative_attention", edited(relative.relative_attention, edit))


def of_parameters(what: str, turn: Callable[[Tree], Tree], back: Callable[[Tree], Tree]) -> Callable:
    """Relative attention of parameters turn(p), whose gradients back(g) takes to those of p."""
    forward, backward = relative.relative_attention.__wrapped__, relative.relative_attention_backward.__wrapped__

    def turned(x: Array, source: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
        return forward(x, source, turn(p), **given)

    def turned_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        dx, dsource, g = backward(dy, c)
        return dx, dsource, back(g)

    return swap(what, "relative_attention", Replacement(turned, turned_backward))


def _exchanged(p: Tree) -> Tree:
    """u in the place of v, and v in that of u."""
    u, v = p["content"]["bias"], p["position"]["bias"]
    return {**p, "content": {"bias": v}, "position": {**p["position"], "bias": u}}


def _without(name: str) -> Callable[[Tree], Tree]:
    return lambda p: {**p, name: {**p[name], "bias": np.zeros_like(p[name]["bias"])}}


def _by_keys(p: Tree) -> Tree:
    return {**p, "position": {**p["position"], "weight": p["key"]["weight"]}}


def _of_keys(g: Tree) -> Tree:
    both = g["key"]["weight"] + g["position"]["weight"]
    return {**g, "key": {"weight": both}, "position": {**g["position"], "weight": 0 * both}}


def _waves(exponents: Callable[[int], Array], parted: bool = True) -> Callable[[Tree], Tree]:
    """Other sinusoids of distances, where none is clamped or dropped: exponents(D) of the base, for D/2 waves."""

    def edit(given: Tree) -> Tree:
        count, width = given["places"].shape
        angles = np.arange(count - 1, -1, -1.0)[:, None] * 10000.0 ** -exponents(width)
        both = [np.sin(angles), np.cos(angles)]
        rows = np.concatenate(both, -1) if parted else np.stack(both, -1).reshape(count, width)
        return {"places": rows.astype(given["places"].dtype)}

    return edit


def where_unclamped(maker: Callable) -> Callable:
    """No mutant where distances are clamped."""
    return lambda subject, at: [] if subject.config.clamp_len > 0 else maker(subject, at)


def _unclamped(subject: Subject, at: Any) -> list[Mutant]:
    maker = config("the farthest distances as they are", clamp_len=0)
    return maker(subject, at) if subject.config.clamp_len > 0 else []


def _memory(subject: Subject) -> int:
    """How many states a case's memory has."""
    mems = subject.batches[0].get("mems")
    return mems[0].shape[1] if mems else 0


def remembering(maker: Callable[[int], Callable]) -> Callable:
    """A maker of the memory's length, where there is one."""
    return lambda subject, at: maker(_memory(subject))(subject, at) if _memory(subject) else []


def _turned(source: Array, by: int) -> Array:
    return np.concatenate([source[:, by:], source[:, :by]], 1)


def _behind(count: int) -> Callable:
    """The memory behind the segment."""
    forward, backward = relative.relative_attention.__wrapped__, relative.relative_attention_backward.__wrapped__

    def attention(x: Array, source: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
        return forward(x, _turned(source, count), p, **given)

    def attention_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        dx, dsource, g = backward(dy, c)
        return dx, _turned(dsource, dsource.shape[1] - count), g

    return swap("[h ; m]", "relative_attention", Replacement(attention, attention_backward))


def _unseen(count: int) -> Callable:
    """The memory masked."""
    bits = lambda mask: mask & (np.arange(mask.shape[-1]) >= count)  # noqa: E731
    return attending("no query sees it", lambda given: {"mask": bits(given["mask"])})


def _unnormed(count: int) -> Callable:
    """A norm at the input that reads the segment alone."""

    def norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Tree]:
        y, c = ops.layer_norm(x, weight, bias, eps=eps)
        return np.concatenate([x[:, :count], y[:, count:]], 1), c

    def norm_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        own = np.concatenate([np.zeros_like(dy[:, :count]), dy[:, count:]], 1)
        return ops.layer_norm_backward(own, c)

    def made(subject: Subject, site: Site) -> Replacement | None:
        return Replacement(norm, norm_backward) if subject.config.pre_lnorm else None

    return swap("the memory is read as it is", "layer_norm", made, NORMS)


def _scaled(what: str, factor: Callable[[Any], float]) -> Callable:
    """Tables' rows times another factor than √D."""

    def made(subject: Subject, site: Site) -> Replacement:
        by = factor(subject.config) / subject.config.d_model**0.5
        block, back = (transformer_xl.adaptive_embedding, transformer_xl.adaptive_embedding_backward)

        def embedding(p: list, **given: Any) -> tuple[Array, Tree]:
            y, c = block.__wrapped__(p, **given)
            return y * y.dtype.type(by), c

        return Replacement(embedding, lambda dy, c: back.__wrapped__(dy * dy.dtype.type(by), c))

    return swap(what, "adaptive_embedding", made)


def _one_pair(subject: Subject, at: Any) -> list[Mutant]:
    """The biases of the first layer in all."""
    if not subject.config.untie_r:
        return []

    def change(s: Subject) -> Subject:
        first = s.params["decoder"][0]["attention"]
        own = {"content": first["content"], "position": {"bias": first["position"]["bias"]}}
        layers = [tree.merged(layer, {"attention": own}) for layer in s.params["decoder"]]
        return replace(s, params={**s.params, "decoder": layers})

    return [Mutant("those of the first layer in every one", change)]


def _other_order(subject: Subject, at: Any) -> list[Mutant]:
    other = {"ascending": "reversed", "reversed": "ascending"}[subject.config.cluster_order]
    maker = config(f"clusters {other}", cluster_order=other, variant=True)
    return maker(subject, at) if len(subject.config.cutoffs) > 1 else []


def _coarse(subject: Subject, site: Site) -> Replacement | None:
    """The first softmax asked for tokens of the shortlist alone."""
    if not subject.config.cutoffs:
        return None
    first = subject.config.cutoffs[0]
    asked = lambda labels, ignore: np.where(labels >= first, ignore, labels)  # noqa: E731
    return edited(ops.cross_entropy, lambda given: {"labels": asked(given["labels"], given["ignore"])})


def _nothing(logits: Array, **given: Any) -> tuple[Array, Tree]:
    y, c = ops.cross_entropy(logits, **given)
    return 0 * y, c


def remembered(edit: Callable[[list[Array], list[Array], int], tuple[list[Array], slice]]) -> Callable:
    """Another memory from step to step: edit(what it held, what it is, mem_len) -> (what stands in its place, those of
    the states that it held and has read that these are).
    """

    def of(network: Any, length: int) -> Going:
        def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
            logits, after = network.step(p, config, ids, state)
            if not state:
                return logits, after
            mems, rows = edit(state["mems"], after["mems"], config.mem_len)
            seen = np.concatenate([state["seen"], np.ones_like(ids)], 1)
            return logits, {"mems": mems, "seen": seen[:, rows]}

        return network.start, step

    return of


def _oldest(before: list[Array], after: list[Array], most: int) -> tuple[list[Array], slice]:
    """The first of what was read."""
    return [np.concatenate([a, b[:, -1:]], 1)[:, :most] for a, b in zip(before, after, strict=True)], slice(most)


def _shorter(before: list[Array], after: list[Array], most: int) -> tuple[list[Array], slice]:
    """One state less than there may be."""
    return [b[:, -(most - 1) :] for b in after], slice(-(most - 1), None)


def _still(before: list[Array], after: list[Array], most: int) -> tuple[list[Array], slice]:
    """What the prompt left."""
    return before, slice(before[0].shape[1])


def _left(before: list[Array], after: list[Array], most: int) -> tuple[list[Array], slice]:
    """Of each layer what entered the next."""
    return [*after[1:], after[-1]], slice(-after[0].shape[1], None)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "transformer_xl-01", "distances the other way round", "rows of R from the farthest to 0, as the shift takes them",
    "own knowledge: arange(klen) for arange(klen - 1, -1, -1)", "output", "TXL-ATT-2", families=FAMILY,
    mutants=[attending("rows of R from 0 on", lambda given: {"places": given["places"][::-1]})],
)  # fmt: skip
entry(
    "transformer_xl-02", "distances not clamped, or their sinusoids", "clamp_len before the sine", "own knowledge",
    "output", "TXL-ATT-2", families=FAMILY, when="where clamp_len is above 0",
    mutants=[only("transformer_xl", _unclamped)],
)  # fmt: skip
entry(
    "transformer_xl-03", "sines and cosines in another order, or of other frequencies",
    "all sines, then all cosines, 10000^(-2i/D)",
    "own knowledge: the paper's alternate, tensor2tensor's last is 1/10000", "output", "TXL-ATT-2", families=FAMILY,
    when="where no distance is clamped",
    mutants=[
        where_unclamped(attending("alternating", _waves(lambda d: np.arange(0, d, 2) / d, parted=False))),
        where_unclamped(attending("the last frequency 1/10000", _waves(lambda d: np.arange(d // 2) / (d // 2 - 1)))),
    ],
)  # fmt: skip
entry(
    "transformer_xl-04", "u and v in each other's place", "u (r_w_bias) for keys, v (r_r_bias) for distances",
    "own knowledge", "output", "TXL-ATT-1", families=FAMILY,
    mutants=[of_parameters("(q + v) k + (q + u) r", _exchanged, _exchanged)],
)  # fmt: skip
entry(
    "transformer_xl-05", "a term of the four left out", "q·k, q·r, u·k and v·r", "own knowledge", "output", "TXL-ATT-1",
    families=FAMILY,
    mutants=[of_parameters(f"no {letter}", _without(name), _without(name))
             for letter, name in (("u", "content"), ("v", "position"))],
)  # fmt: skip
entry(
    "transformer_xl-06", "1/√K of the content's scores alone", "of the sum of all terms", "own knowledge", "output",
    "TXL-ATT-1", families=FAMILY,
    mutants=[
        only("transformer_xl",
             swap("scores of distances as they are", "scores", edited(ops.scores, lambda given: {"scale": 1.0}))),
    ],
)  # fmt: skip
entry(
    "transformer_xl-07", "distances projected by the keys' matrix", "by one of their own (r_net)", "own knowledge",
    "output", "TXL-ATT-1", families=FAMILY, mutants=[of_parameters("k and r by one matrix", _by_keys, _of_keys)],
)  # fmt: skip
entry(
    "transformer_xl-08", "one pair of biases for all layers where each has its own", "as untie_r says",
    "own knowledge: the release's pytorch and tf halves differ", "output", "TXL-ATT-3", families=FAMILY,
    when="with untie_r", mutants=[_one_pair],
)  # fmt: skip
entry(
    "transformer_xl-09", "same_length ignored", "the last mem_len keys alone", "own knowledge", "output", "TXL-MASK-2",
    families=FAMILY, when="with same_length",
    mutants=[config("every earlier token seen", same_length=False)],
)  # fmt: skip
entry(
    "transformer_xl-10", "the memory not seen", "every query sees it", "own knowledge", "output", "TXL-MASK-1",
    families=FAMILY, when="where there is a memory", mutants=[remembering(_unseen)],
)  # fmt: skip
entry(
    "transformer_xl-11", "the memory behind the segment", "[m ; h]", "own knowledge", "output", "TXL-MEM-1",
    families=FAMILY, when="where there is a memory", mutants=[remembering(_behind)],
)  # fmt: skip
entry(
    "transformer_xl-12", "pre-norm, and the memory not normed", "the norm reads memory and segment", "own knowledge",
    "output", "TXL-LAYER-2", families=FAMILY, when="with pre_lnorm and a memory", mutants=[remembering(_unnormed)],
)  # fmt: skip
entry(
    "transformer_xl-13", "a gradient into the memory", "none: it is data", "own knowledge", "gradient", "TXL-MEM-2",
    families=FAMILY, reason="a case holds one segment: what would flow on into the one before is no tensor of it",
)  # fmt: skip
entry(
    "transformer_xl-14", "embeddings not times √D, or times another root", "√d_model, behind the projection",
    "own knowledge", "output", "TXL-EMB-1", families=FAMILY,
    mutants=[_scaled("as they are", lambda c: 1.0), _scaled("times √d_embed", lambda c: c.d_embed**0.5)],
)  # fmt: skip
entry(
    "transformer_xl-15", "logits of clusters in the other order", "as cluster_order says: both are distributions",
    "src kimiyoung/transformer-xl proj_adaptive_softmax.py (from the end), tf/model.py and HF's loss (ascending)",
    "output", "TXL-SOFT-2", families=FAMILY, variant=True, mutants=[_other_order],
)  # fmt: skip
entry(
    "transformer_xl-16", "a token of a cluster without its cluster's probability, or without its own",
    "the product of the two", "own knowledge", "loss", "TXL-SOFT-1", families=FAMILY, when="with clusters",
    mutants=[
        swap("the cluster is not asked", "cross_entropy", _coarse, r"next_token\.loss"),
        swap("the cluster alone is asked", "cross_entropy",
             Replacement(_nothing, lambda dy, c: zeros(ops.cross_entropy_backward(dy, c))),
             r"next_token\.tails\.\d+\.loss"),
    ],
)  # fmt: skip
entry(
    "transformer_xl-17", "a dropout's rate taken for another's", "dropatt on probabilities, dropout elsewhere",
    "own knowledge", "output", "TXL-CFG-1", families=FAMILY, when="where something is dropped",
    mutants=[
        only("transformer_xl", config("dropatt is dropout", dropatt=lambda f: f.hidden_dropout_prob)),
        only("transformer_xl", config("dropout is dropatt", dropout=lambda f: f.attention_probs_dropout_prob)),
    ],
)  # fmt: skip
entry(
    "transformer_xl-18", "another memory from token to token", "the last mem_len states that entered each layer",
    "HF#14832, #15665 (XLNet's); own knowledge", "output", "TXL-MEM-1", families=FAMILY,
    going={
        "the oldest states kept": remembered(_oldest), "one state fewer": remembered(_shorter),
        "what the prompt left alone": remembered(_still), "of each layer what left it": remembered(_left),
    },
)  # fmt: skip
entry(
    "transformer_xl-19", "prompts padded on the left, the padding in the memory attended to", "nobody sees padding",
    "HF#3095 (GPT-2's)", "output", "TXL-MASK-3", families=FAMILY,
    going={
        "no mask": begun(lambda given: {"input_ids": given["input_ids"]}),
        "no mask behind the prompt": begun(lambda given: given, lambda s: {**s, "seen": np.ones_like(s["seen"])}),
    },
)  # fmt: skip
