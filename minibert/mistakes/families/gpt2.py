"""Mistakes of GPT-2: who may see whom, what is predicted where, three projections in one, norms, switches, cache."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from minibert import ops, tree
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, batch, config, entry, everywhere, field, only, swap, weights, whole
from minibert.mistakes.going import Going, begun, unmoved
from minibert.mistakes.ops.attention import (
    NAMES,
    UNCERTAIN_SCORES,
    filling,
    loaded,
    masked_probs,
    of_attention,
    ordered,
    placed,
    seeing,
    without_bias,
)
from minibert.mistakes.ops.data import exchanged
from minibert.mistakes.ops.embeddings import summed, times
from minibert.mistakes.ops.losses import IGNORED, divided, moved, predicting
from minibert.mistakes.ops.norms import FINAL, SIDE_BY_SIDE, no_norm, rewired
from minibert.mistakes.swap import Replacement, edited, relinear

Array = np.ndarray
Tree = dict[str, Any]

ORDERS = [*permutations(range(3))][1:]
RATES = ("embd_pdrop", "resid_pdrop", "attn_pdrop")


DECODERS = ("gpt2", "transformer_xl")  # who sees whom, and what is asked where, goes wrong in these alike


def own(*makers: Callable, families: tuple[str, ...] = ("gpt2",)) -> list[Callable]:
    """The makers for GPT-2 and its kin, or for such families."""
    return [only(" ".join(families), maker) for maker in makers]


decoders = partial(own, families=DECODERS)


def _reshaped(a: dict[str, Any], _: Any) -> dict[str, Any]:
    """(in, 3·out) read as (3·out, in)."""
    fused = np.concatenate([a[name]["weight"] for name in NAMES])
    parts = np.split(fused.T.reshape(fused.shape), 3)
    return {**a, **{name: {**a[name], "weight": part} for name, part in zip(NAMES, parts, strict=True)}}


def _post_norm(*wired: Any) -> Callable:
    """Post-norm layers, with and without the norm behind the last of them."""

    def maker(subject: Any, at: Any) -> list[Mutant]:
        made = swap("the norm stands behind the residual", "pre_norm_layer", rewired(*wired))(subject, at)
        last = swap("", "layer_norm", no_norm(), FINAL)(subject, at)
        what = "the norm stands behind the residual, and none behind the last layer, as in GPT"
        both = [Mutant(what, lambda s: last[0].change(made[0].change(s)), sites=made[0].sites)] if made else []
        return [*made, *both]

    return maker


def _rooted(subject: Any, at: Any) -> list[Mutant]:
    root = float(field(subject, "hidden_size")) ** 0.5
    sums = (("word", {"word": root}), ("word and position", {"word": root, "position": root}))
    added = [m for of, by in sums for m in swap(f"{of} times √D", "embeddings", summed(by))(subject, at)]
    return added + swap("word times √D, as it is looked up", "embedding", times(root), r".*\.word")(subject, at)


def by_layer(what: str, number: Callable[[int], int]) -> Callable:
    """Scores divided by another number of the layer, where they are by its own."""

    def made(subject: Any, site: Any) -> Replacement | None:
        if not subject.config.scale_attn_by_inverse_layer_idx:
            return None
        factor = (site.layer + 1) / number(site.layer)
        return edited(ops.attention, lambda given: {"scale": given["scale"] * factor})

    return of_attention(what, replacement=made)


PARTS = {
    "c_attn": r"attention\.(query|key|value)", "attention's c_proj": r"attention\.output",
    "the attention": r"attention\.(query|key|value|output)", "c_fc": r"feed_forward\.in",
    "the feed-forward's c_proj": r"feed_forward\.out", "the feed-forward": r"feed_forward\.(in|out)",
    "both c_proj": r"(attention\.output|feed_forward\.out)",
}  # fmt: skip


def _unbiased(what: str, parts: str) -> list[Callable]:
    """No bias in these parts of every layer: 0 when loaded, or no such parameter."""
    path = rf"decoder\.\d+\.{parts}"
    return [
        weights(f"{what} loaded without bias", lambda _, a: np.zeros_like(a), rf"{path}\.bias"),
        everywhere(swap(f"{what} has no bias", "linear", without_bias(), rf"encode\.{path}")),
    ]


def _tied(what: str, kept: str) -> Callable:
    """One table where there are two: the one at this path."""

    def change(s: Subject) -> Subject:
        flat = tree.flatten(s.params)
        flat["embeddings.word.weight"], _ = flat[kept], flat.pop("lm.decoder.weight")
        return replace(s, config=replace(s.config, tie_word_embeddings=True), params=tree.unflatten(flat))

    return lambda subject, at: [] if subject.config.tie_word_embeddings else [Mutant(what, change)]


def _copied(what: str, source: str, target: str) -> Callable:
    """One table's values in the other, which learns by itself."""
    copied = lambda flat: tree.unflatten({**flat, target: flat[source]})  # noqa: E731
    change = lambda s: replace(s, params=copied(tree.flatten(s.params)))  # noqa: E731
    return lambda subject, at: [] if subject.config.tie_word_embeddings else [Mutant(what, change)]


def _flipped(what: str, name: str, value: bool) -> Callable:
    """A switch taken for the other value, where it has this one."""
    maker = config(what, **{name: not value})
    return lambda subject, at: maker(subject, at) if getattr(subject.config, name) is value else []


def _unasked(what: str, of: Callable[[dict[str, Any], int], Array]) -> Callable:
    """Labels taken for -100 where of(batch, the end token)."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        end = field(subject, "eos_token_id")
        edit = lambda b, _: {"labels": np.where(of(b, end), IGNORED, b["labels"])}  # noqa: E731
        return [] if end is None else batch(what, edit)(subject, at)

    return maker


def _without_last(labels: Array) -> Array:
    """The labels as they are, of the last position none."""
    return np.concatenate([labels[:, :-1], np.full_like(labels[:, -1:], IGNORED)], 1)


def _scaled_logits(what: str) -> list[Callable]:
    """Logits times 1/√D: lm_head's own output, or what the loss takes of it."""

    def of_loss(subject: Subject, site: Any) -> Replacement:
        factor = _root(subject)

        def forward(logits: Array, **given: Any) -> tuple[Array, Any]:
            return ops.cross_entropy(logits * logits.dtype.type(factor), **given)

        return Replacement(forward, lambda dy, c: ops.cross_entropy_backward(dy, c) * factor)

    of_head = lambda subject, _: _times(_root(subject))  # noqa: E731
    return [swap(what, "linear", of_head, r"next_token\.head"),
            swap(f"{what}, behind lm_head", "cross_entropy", of_loss, r"next_token\.loss")]  # fmt: skip


def _root(subject: Subject) -> float:
    return float(field(subject, "hidden_size")) ** -0.5


def _times(factor: float) -> Replacement:
    """A linear layer's output times a factor."""
    turn = lambda a: a * a.dtype.type(factor)  # noqa: E731
    return relinear(weight=(turn, turn), bias=(turn, turn))


def _at_start(subject: Subject) -> float:
    """1/√(2L), by which c_proj's first values are smaller."""
    return (2.0 * field(subject, "num_hidden_layers")) ** -0.5


def _smaller(subject: Subject, at: Any) -> list[Mutant]:
    """c_proj's output, or its weight, times 1/√(2L)."""
    ends, factor = r"decoder\.\d+\.(attention\.output|feed_forward\.out)", _at_start(subject)
    own = r"(forward|gradients)/.*(attention\.output|feed_forward\.out|\.add\.dropout)"  # before it or behind
    run = swap("when it runs", "linear", _times(factor), rf"encode\.{ends}", silent=own)
    load = weights("when it is loaded", lambda _, a: a * a.dtype.type(factor), rf"{ends}\.weight")
    return [*whole(run)(subject, at), *load(subject, at)]


def _read_apart(what: str, rule: Callable[[Array, int], Array], prompt: Callable[[int], int]) -> Callable:
    """Other positions of the tokens behind a prompt that was read before them: rule(positions, its length)."""

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        at, begun = given["ids"], prompt(given["ids"].shape[-1])
        places = np.arange(at.shape[-1])
        return {"ids": np.where(places < begun, at, np.minimum(rule(at, begun), len(given["weight"]) - 1))}

    return swap(what, "embedding", edited(ops.embedding, edit), r".*\.position")


# ---- From token to token ---------------------------------------------------------------------------------------------
def standing(rule: Callable[[Tree], Array], last: bool = False) -> Callable:
    """Another position of what is read behind the prompt, with last of the prompt's last token, too, where a step reads
    that: rule(state) -> (B,).
    """

    def of(network: Any, length: int) -> Going:
        def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
            behind = last or state["mask"].shape[1] >= length
            position = rule(state) if behind else state["position"]
            logits, after = network.step(p, config, ids, {**state, "position": position})
            return logits, {**after, "position": state["position"] + ids.shape[1]}

        return network.start, step

    return of


def columns(ids: Array) -> Array:
    """0, 1, 2, … in each row."""
    return np.arange(ids.shape[1]) + 0 * ids


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "gpt2-01", "a query sees the token after its own", "keys up to the query's own",
    "kzl/decision-transformer#30; own knowledge", "output", "GPT2-ATT-1", families=DECODERS,
    mutants=decoders(
        seeing("the diagonal above is open", lambda before, seen: (before >= -1) & seen),
        seeing("the diagonal above is open, padding's too",
               lambda before, seen: ((before >= 0) & seen) | (before == -1)),
    ),
)  # fmt: skip
entry(
    "gpt2-02", "a query does not see its own token", "keys up to the query's own",
    "TransformerLensOrg/TransformerLens#284; pbloem/former#10 (the first row is NaN)",
    "output", "GPT2-ATT-1", families=DECODERS,
    mutants=decoders(
        seeing("the diagonal is masked", lambda before, seen: (before > 0) & seen),
        seeing("the diagonal is masked, but for the first token's", lambda before, seen: seen & (
            (before > 0) | ((before == 0) & (np.arange(len(before))[:, None] == 0)))),
        seeing("the diagonal is masked by -10000", lambda before, seen: (before > 0) & seen, "-10000"),
        *filling("the diagonal is masked", placed(lambda before, seen: (before > 0) & seen)),
    ),
)  # fmt: skip
entry(
    "gpt2-03", "no causal mask", "keys up to the query's own; padding beside it",
    "paiml/entrenar#310", "output", "GPT2-ATT-1", families=DECODERS,
    mutants=decoders(seeing("only padding is masked", lambda before, seen: seen & (before == before)),
                     seeing("no padding, or what stands before", lambda before, seen: seen | (before >= 0)),
                     seeing("nothing is masked", lambda before, seen: (before == before) & (seen == seen))),
)  # fmt: skip
entry(
    "gpt2-04", "causal mask applied after the softmax, not renormalised", "before the softmax",
    "abisee/pointer-generator#88; huggingface/pytorch-image-models#2236", "output", "GPT2-ATT-1", families=DECODERS,
    mutants=decoders(*(
        of_attention("probabilities of later tokens set to 0", silent=UNCERTAIN_SCORES if shown else "",
                     replacement=masked_probs(shown, lambda bias: bias[:, :, -1:]))
        for shown in (False, True)
    )),
)  # fmt: skip
entry(
    "gpt2-05", "labels not shifted", "position t predicts the token at t + 1; labels are the tokens, shifted inside",
    "HF#404, #14323", "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(
        predicting("each position predicts its own token", lambda labels: labels),
        predicting("each position but the last of a row predicts its own token", _without_last),
    ),
)  # fmt: skip
entry(
    "gpt2-06", "labels shifted twice, outside and inside", "shifted once, inside",
    "HF#562, #44642, #32944", "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(predicting("the token after the next", partial(moved, by=2))),
)  # fmt: skip
entry(
    "gpt2-07", "labels shifted the wrong way", "position t predicts the token at t + 1",
    "own knowledge", "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(predicting("the token before", partial(moved, by=-1))),
)  # fmt: skip
entry(
    "gpt2-08", "labels rolled, so that the last position predicts a first token", "the last position predicts nothing",
    "own knowledge", "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(
        predicting("the first token of the row", lambda labels: np.roll(labels, -1, -1)),
        predicting("the first token of the next row", lambda labels: np.append(labels.reshape(-1)[1:], IGNORED)),
        predicting("the first token of the next row, and of the first", lambda labels: np.roll(labels, -1)),
    ),
)  # fmt: skip
entry(
    "gpt2-09", "divided by T, not by the T - 1 that have a next token", "the mean over labels that are asked, shifted",
    "own knowledge; NVIDIA-NeMo/Speech#6409 (which is counted is off by one)",
    "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(
        divided("divided by the labels before they are shifted", lambda labels: (labels != IGNORED).sum()),
        divided("divided by all positions, the last of each row too", np.size),
    ),
)  # fmt: skip
entry(
    "gpt2-10", "summed, not averaged", "the mean over the batch's labels that are asked",
    "HF#818; EleutherAI/bergson#36", "loss", "GPT2-LOSS-1", families=DECODERS,
    mutants=decoders(divided("summed", lambda labels: 1), divided("summed over tokens, averaged over rows", len)),
)  # fmt: skip
entry(
    "gpt2-11", "the thirds of c_attn in another order", "query, key, value",
    "BlackSamorez/tensor_parallel#103; own knowledge", "output", "GPT2-ATT-1", families=("gpt2",),
    mutants=own(*(maker for order in ORDERS for maker in ordered(order))),
)  # fmt: skip
entry(
    "gpt2-12", "a Conv1D's (in, out) reshaped to (out, in)", "transposed",
    "nntile/nntile#402; lablup/mlxcel#833", "output", "GPT2-NAME-1", families=("gpt2",),
    when="of c_attn as a whole; a square c_proj not transposed is C01, another matrix C06",
    mutants=own(loaded("c_attn reshaped", _reshaped)),
)  # fmt: skip
entry(
    "gpt2-13", "post-norm for pre-norm", "a + f(LN(a)), and a norm behind the last layer",
    "karpathy/minGPT#33, #52; Modalities/modalities#136; gao-hongnan/omniverse#72",
    "output", "GPT2-LAYER-1", families=("gpt2",),
    mutants=own(_post_norm({"post": True}, {"post": True})),
)  # fmt: skip
entry(
    "gpt2-14", "attention and feed-forward side by side", "the feed-forward reads what the attention was added to",
    "karpathy/nanoGPT#278 (as GPT-J has it)", "output", "GPT2-LAYER-1", families=("gpt2",),
    mutants=own(*SIDE_BY_SIDE),
)  # fmt: skip
entry(
    "gpt2-15", "the scale's switches ignored", "1/√(D/H) and the layer's number, from 1 on, as the configuration says",
    "HF#44380, #44397; deepspeedai/DeepSpeed#2487; mlc-ai/mlc-llm#1389; HF#13573",
    "output", "GPT2-CFG-3", families=("gpt2",),
    mutants=own(
        _flipped("scaled by 1/√K where it should not be", "scale_attn_weights", False),
        _flipped("not divided by the layer's number", "scale_attn_by_inverse_layer_idx", True),
        _flipped("divided by the layer's number", "scale_attn_by_inverse_layer_idx", False),
        by_layer("divided by the layer's number plus 1", lambda i: i + 2),
        by_layer("divided by the layer's number from 0 on, the first by 1", lambda i: max(1, i)),
    ),
)  # fmt: skip
entry(
    "gpt2-16", "embeddings multiplied by √D", "added as they are",
    "own knowledge (the Transformer has it)", "output", "GPT2-EMB-1", families=("gpt2",),
    mutants=own(_rooted),
)  # fmt: skip
entry(
    "gpt2-17", "a dropout's rate taken for another's", "embd_pdrop, resid_pdrop and attn_pdrop, each in its place",
    "own knowledge; bojone/r-drop#7 of BERT", "output", "GPT2-CFG-1", families=("gpt2",),
    when="resid_pdrop and attn_pdrop alone are D13",
    mutants=own(*(exchanged(*names) for names in (RATES[:2], RATES[::2], RATES, RATES[::-1]))),
)  # fmt: skip
entry(
    "gpt2-18", "biases left out", "every Conv1D and norm has one",
    "karpathy/nanoGPT's option bias=False; sbryngelson/ANEForge#253 (c_attn's, of Qwen2); own knowledge",
    "output", "GPT2-LAYER-1", families=("gpt2",),
    mutants=own(
        weights("no biases", lambda path, a: np.zeros_like(a), r".*\.bias"),
        weights("no biases but the norms'", lambda path, a: np.zeros_like(a), r"(?!.*norm).*\.bias"),
        whole(swap("no linear layer has a bias", "linear", without_bias(), r"encode\..*")),
        *(maker for named in PARTS.items() for maker in _unbiased(*named)),
        *(weights(f"no bias of the {name} in c_attn", lambda path, a: np.zeros_like(a), rf".*attention\.{name}\.bias")
          for name in ("query", "value")),
    ),
)  # fmt: skip
entry(
    "gpt2-19", "token types in a table of their own, or left out", "words: looked up in the word table and added",
    "HF#1339, #4922, #6794, #31105, #26962", "output", "GPT2-EMB-2", families=("gpt2",),
    reason="no case has token types; with any, the values of a second table could not be predicted, and its first "
    "divergence is the embeddings' sum",
)  # fmt: skip
entry(
    "gpt2-20", "lm_head with a bias", "no bias; an untied lm_head is H01",
    "own knowledge", "output", "GPT2-LM-1", families=("gpt2",),
    reason="a bias of 0 changes nothing, another can't be predicted: the first divergence is lm_head",
)  # fmt: skip
entry(
    "gpt2-21", "hidden_states[-1] before the final norm", "the last of hidden_states is behind it, the others are raw",
    "HF#13102; HF#26142", "output", "GPT2-NORM-1", families=("gpt2",),
    reason="both tensors are in a case under their modules' names (the last layer's, ln_f's), hidden_states is none",
)  # fmt: skip
entry(
    "gpt2-22", "n_inner ignored, always 4·n_embd", "n_inner where it is given",
    "HF#6296, #12101; teddykoker/image-gpt#1", "loading", "GPT2-CFG-1", families=("gpt2",),
    reason="weights of another width do not fit: no tensor is computed",
)  # fmt: skip
entry(
    "gpt2-23", "c_proj not scaled by 1/√(2L) at the start, or another matrix too", "the paper's first values",
    "HF#47458, #47459, #2158; stanford-crfm/mistral#30; gao-hongnan/omniverse#72",
    "loading", "GPT2-INIT-1", families=("gpt2",), variant=True,
    reason="a case gives every weight, so no initializer runs; `minibert.create` is tested to draw them",
)  # fmt: skip
entry(
    "gpt2-24", "reorder_and_upcast_attn, the mask's constant, or scaling before masking taken for another function",
    "the same function, rounded otherwise", "HF#13573; HF#17121, karpathy/minGPT#75 (-10000 under large scores)",
    "nowhere", "GPT2-ATT-3", families=("gpt2",),
    reason="a token sees itself, so that every constant far below the scores gives the others probability 0",
)  # fmt: skip
entry(
    "gpt2-25", "position off by one after the cache, or from 0 again", "from the number of tokens in the cache on",
    "ml-explore/mlx-lm#93; rasbt/LLMs-from-scratch#1048; HF#27040", "output", "STATE-4", families=("gpt2",),
    mutants=own(*(
        everywhere(_read_apart(f"{what}, of {of} fed behind the others", rule, prompt))
        for of, prompt in (("the last token", lambda n: n - 1), ("the second half", lambda n: n // 2),
                           ("all but the first token", lambda n: 1))
        for what, rule in (("one too large", lambda at, begun: at + 1),
                           ("one too small", lambda at, begun: np.maximum(at - 1, 0)),
                           ("from 0 again", lambda at, begun: at - begun), ("0", lambda at, begun: 0 * at))
    )),
    going={
        what + where: standing(rule, last)
        for where, last in ((" behind the prompt", False), (" from the prompt's last token on", True))
        for what, rule in (
            ("one too large", lambda state: state["position"] + 1),
            ("one too small", lambda state: np.maximum(state["position"] - 1, 0)),
            ("0", lambda state: 0 * state["position"]),
        )
    },
)  # fmt: skip
entry(
    "gpt2-26", "the cache not reordered with the beams", "keys and values go with their beam",
    "HF#46612 (of other systems); allenai/OLMo#526; HF#9596", "output", "STATE-3", families=DECODERS,
    going={"what was read stays in its row": unmoved},
)  # fmt: skip
entry(
    "gpt2-27", "prompts padded on the left, positions from the padding on", "positions from a row's first token on",
    "HF#21080, #3021, #7552; facebookresearch/ParlAI#3193", "output", "STATE-5", families=("gpt2",),
    when="of a forward pass it is E07",
    going={
        "padding counts": begun(lambda given: {**given, "position_ids": columns(given["input_ids"])}),
        "padding counts behind the prompt": standing(lambda state: 0 * state["position"] + state["mask"].shape[1]),
    },
)  # fmt: skip
entry(
    "gpt2-28", "prompts padded on the left, the padding attended to", "no token attends to padding",
    "HF#3095, #18478", "output", "STATE-5", families=("gpt2",),
    going={
        "no mask, and padding counts": begun(lambda given: {"input_ids": given["input_ids"]}),
        "no mask behind the prompt": begun(lambda given: given, lambda s: {**s, "mask": np.ones_like(s["mask"])}),
    },
)  # fmt: skip
entry(
    "gpt2-29", "the causal mask turned round", "keys up to the query's own",
    "karpathy/nanoGPT#170 (asked, triu for tril); own knowledge", "output", "GPT2-ATT-1", families=DECODERS,
    mutants=decoders(*(
        maker
        for what, rule in (
            ("itself and later tokens", lambda before, seen: (before <= 0) & seen),
            ("later tokens", lambda before, seen: (before < 0) & seen),
        )
        for maker in (seeing(f"a query sees {what}", rule), *filling(f"a query sees {what}", placed(rule)))
    )),
)  # fmt: skip
entry(
    "gpt2-30", "the end token never counted, as padding is it, too", "-100 for padding, the end token's labels kept",
    "HF#23530, #22794; huggingface/trl#976; mlabonne/llm-course#33", "loss", "GPT2-LOSS-1", families=("gpt2",),
    mutants=own(
        _unasked("labels that are the end token are ignored", lambda b, end: b["labels"] == end),
        _unasked("labels where the input is the end token are ignored", lambda b, end: b["input_ids"] == end),
    ),
)  # fmt: skip
entry(
    "gpt2-31", "tie_word_embeddings: false ignored", "logits by lm_head's own table",
    "nntrainer/nntrainer#4183; Lightning-AI/litgpt#1727; lablup/mlxcel#482", "output", "GPT2-LM-1", families=("gpt2",),
    when="of a tied model taken for an untied one it is H01",
    mutants=own(
        _tied("logits by the word table", "embeddings.word.weight"),
        _tied("lm_head's table for the words, too", "lm.decoder.weight"),
        _copied("the word table copied into lm_head's", "embeddings.word.weight", "lm.decoder.weight"),
        _copied("lm_head's table copied into the words'", "lm.decoder.weight", "embeddings.word.weight"),
    ),
)  # fmt: skip
entry(
    "gpt2-32", "logits times 1/√D", "h Eᵀ as it is",
    "own knowledge (T5 has it where tied)", "output", "GPT2-LM-1", families=("gpt2",),
    mutants=own(*_scaled_logits("logits times 1/√D")),
)  # fmt: skip
entry(
    "gpt2-33", "1/√(2L) of the first values applied later", "a factor of c_proj's first values alone",
    "own knowledge", "output", "GPT2-LAYER-1", families=("gpt2",), when="left out at the start it is gpt2-23",
    mutants=own(_smaller),
)  # fmt: skip
