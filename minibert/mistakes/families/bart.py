"""Mistakes of BART: where positions begin, what each stack has of its own, the norms, the factor of the embeddings."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from minibert import encoder_decoder, layers, tree
from minibert.golden.subject import Subject, Tensors
from minibert.heads import target_token
from minibert.mistakes.catalogue import Mutant, config, entry, field, only, swap
from minibert.mistakes.going import Going
from minibert.mistakes.ops.data import exchanged
from minibert.mistakes.ops.embeddings import summed
from minibert.mistakes.swap import Replacement, Site, edited

Array = np.ndarray
Tree = dict[str, Any]
STACKS = ("encoder", "decoder")
GROUPS = [(f"the {stack}", rf"encode\.{stack}_embeddings") for stack in STACKS]
RATES = ("dropout", "attention_dropout", "activation_dropout")


def own(*makers: Callable) -> list[Callable]:
    """The makers for BART and its kin."""
    return [only("bart", maker) for maker in makers]


def positioned(what: str, rule: Callable[[Tree, int], Array]) -> Callable:
    """Other rows of the position tables: rule(the ids of all tables, how many rows there are)."""

    def made(subject: Subject, site: Site) -> Replacement:
        most = subject.config.max_position_embeddings + subject.config.OFFSET - 1
        edit = lambda given: {"ids": {**given["ids"], "position": np.minimum(rule(given["ids"], subject), most)}}  # noqa: E731
        return edited(layers.embeddings, edit)

    return swap(what, "embeddings", made, groups=GROUPS)


def _among_tokens(ids: Tree, subject: Subject) -> Array:
    """fairseq's: the padding id, and from there on among tokens that are no padding."""
    counted = ids["word"] != (pad := field(subject, "pad_token_id"))
    return counted.cumsum(1) * counted + pad


def _of_other(what: str, part: str, to: str, of: str) -> Callable:
    """A part of a stack's embeddings taken for the other's, too."""

    def change(s: Subject) -> Subject:
        names = f"{to}_embeddings", f"{of}_embeddings"
        taken = {**s.params[names[0]], part: s.params[names[1]][part]}
        return replace(s, params={**s.params, names[0]: taken})

    silent = rf"gradients/(en|de)coder_embeddings\.{part}\..*"
    return lambda subject, at: [Mutant(what, change, f"the {to}", silent=silent)]


TABLES = tuple(f"model.{stack}.embed_tokens" for stack in ("encoder", "decoder"))


def _rooted(what: str, of: Callable[[float], dict[str, float]], where: bool) -> Callable:
    """Look-ups times these factors: of(√D); where: only if the configuration has the factor, else if it hasn't."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        root = float(field(subject, "hidden_size")) ** 0.5
        made = swap(what, "embeddings", edited(layers.embeddings, lambda given: {"scales": of(root)}), groups=GROUPS)
        if subject.config.scale_embedding is not where:
            return []
        factor = of(root).get("word", 1.0)

        def within(tensors: Tensors) -> Tensors:
            """A table's module gives its rows with the factor, as in ports."""
            times = {"forward": factor, "gradients": 1 / factor}
            found = {f"{part}/{name}": by for part, by in times.items() for name in TABLES}
            return {key: array * found[key] if key in found else array for key, array in tensors.items()}

        found = made(subject, at)
        return [*found, *(replace(mutant, after=within, renames=True) for mutant in found[:1] if factor != 1)]

    return maker


def _before(name: str, other: str) -> Callable:
    """The norms at the inputs of sub-layers."""
    halves = (getattr(layers, half).__wrapped__ for half in (other, f"{other}_backward"))
    return swap("", name, Replacement(*halves))


def _before_all(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Of both stacks."""
    made = [_before(name, f"pre_norm_{other}")(subject, at)[0]
            for name, other in (("encoder_layer", "layer"), ("decoder_layer", "decoder_layer"))]  # fmt: skip
    change = lambda s: made[1].change(made[0].change(s))  # noqa: E731
    return [Mutant("the norms of both stacks stand before the sub-layers", change, sites=made[0].sites)]


def undropped(what: str, **fields: Any) -> Callable:
    """Other fields, where no keep-masks are given, whose shapes they would change."""
    maker = config(what, **fields)
    return lambda subject, at: [] if subject.batches[0].get("dropout") else maker(subject, at)


def _later(by: Callable[[int], int]) -> Callable:
    """The decoder's first position by its cache: by(how many tokens it holds)."""

    def of(network: ModuleType, length: int) -> Going:
        def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
            def write(*args: Any, first: int, **given: Any) -> Any:
                return network._written(*args, first=by(first), **given)

            h, state = encoder_decoder.step(write, p, config, ids, state)
            table = tree.get(p, network.terms(config)["next_token"].table)
            return target_token.predict(h, None, table=table), state

        return network.start, step

    return of


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "bart-01", "positions begin with another row", "with the third: two rows of the table are no position's",
    "HF#22359, #19240, #15292, #10736", "output", "BART-EMB-2", families=("bart",),
    mutants=own(
        positioned("from the first row on", lambda ids, s: ids["position"] - s.config.OFFSET),
        positioned("from the second row on", lambda ids, s: ids["position"] - s.config.OFFSET + 1),
        positioned("these rows are cut off, and as many passed over", lambda ids, s: ids["position"] + s.config.OFFSET),
    ),
)  # fmt: skip
entry(
    "bart-02", "positions among tokens that are no padding", "0, 1, 2, … whatever there is, as in ports",
    "src fairseq; HF#10736", "output", "BART-EMB-2", families=("bart",), variant=True,
    mutants=own(positioned("padding does not count", _among_tokens)),
)  # fmt: skip
entry(
    "bart-03", "one table of positions, or one norm of embeddings, for both stacks", "each stack has its own",
    "own knowledge", "output", "BART-EMB-1", families=("bart",),
    mutants=own(*(
        _of_other(f"the {of}'s {part} for both", part, to, of)
        for part in ("position", "norm") for to, of in (STACKS, STACKS[::-1])
    )),
)  # fmt: skip
entry(
    "bart-04", "no norm in the embeddings", "LN(s·E + P) in each stack",
    "own knowledge", "output", "BART-EMB-1", families=("bart",),
    mutants=own(swap("the sum without its norm", "embeddings", summed(after=("dropout",)), groups=GROUPS)),
)  # fmt: skip
entry(
    "bart-05", "scale_embedding not followed", "look-ups times √D where it is true, positions never",
    "own knowledge", "output", "BART-EMB-1", families=("bart",),
    mutants=own(
        _rooted("words times √D", lambda root: {"word": root}, False),
        _rooted("words and positions times √D", lambda root: {"word": root, "position": root}, True),
        _rooted("nothing times √D", lambda root: {}, True),
    ),
)  # fmt: skip
entry(
    "bart-06", "norms before the sub-layers", "behind them, as normalize_before says (mBART has it true)",
    "own knowledge", "output", "BART-ENC-1", families=("bart",),
    when="of one stack alone it is L08",
    mutants=own(_before_all),
)  # fmt: skip
entry(
    "bart-07", "a norm behind the stacks", "none (mBART has one)", "own knowledge", "output", "BART-ENC-1",
    families=("bart",), reason="its weights are in no file: what an implementation puts there can't be foretold",
)  # fmt: skip
entry(
    "bart-08", "the encoder's heads in the decoder", "each stack has as many as its own field says",
    "HF#10461; own knowledge", "output", "BART-CFG-1", families=("bart",),
    mutants=own(
        undropped("the encoder's for both", decoder_attention_heads=lambda c: c.encoder_attention_heads),
        undropped("the decoder's for both", encoder_attention_heads=lambda c: c.decoder_attention_heads),
    ),
)  # fmt: skip
entry(
    "bart-09", "a dropout's rate taken for another's", "dropout, attention_dropout, activation_dropout, each its own",
    "bojone/r-drop#7 of BERT; own knowledge", "output", "BART-CFG-1", families=("bart",),
    when="dropout and attention_dropout alone are D13",
    mutants=own(*(exchanged(*names) for names in (RATES[1:], RATES[::2], RATES, RATES[::-1]))),
)  # fmt: skip
entry(
    "bart-10", "final_logits_bias drawn or trained", "zeros, no parameter", "own knowledge", "loading", "BART-LM-1",
    families=("bart",), reason="zeros change nothing, others can't be foretold; those of a file stay as they are",
)  # fmt: skip
entry(
    "bart-11", "only what was hidden is asked for", "the whole text is written, with <s> and </s>",
    "own knowledge", "data", "BART-DATA-1", families=("bart",),
    reason="a case has no noised text; `corruption.denoising` is tested to ask for all of it",
)  # fmt: skip
entry(
    "bart-12", "position off by one after the cache, or from 0 again", "from the number of tokens in the cache on",
    "own knowledge; HF#27040 of others", "output", "STATE-4", families=("bart",),
    going={
        "one too large": _later(lambda first: first + 1 if first else first),
        "one too small": _later(lambda first: max(first - 1, 0)),
        "0": _later(lambda first: 0),
    },
)  # fmt: skip
