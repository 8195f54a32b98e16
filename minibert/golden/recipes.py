"""What the shipped cases are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert import families
from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER
from minibert.pairs import PAIRS

Array = np.ndarray

STEPS = (1, 2, 10)
LENGTH = 9
ALL_OTHER = {"hidden_act": "gelu_new", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
             "type_vocab_size": 3, "initializer_range": 0.4, "layer_norm_eps": 1e-3, "pad_token_id": 5,
             "tie_word_embeddings": False, "mask_constant": "-10000", "pad_row_gradient": True,
             "mlm_denominator_eps": 0.01}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What a case is made of. pair: an op's or block's name; None: the whole family. config: fields other than
    those of `published`, or an op's constants.

    dropout: masks are drawn; low: standard deviation of the embedding sum that is nearly constant, None for none;
    masked_row: the last row's mask is all 0; hole: the first row's has a 0 between its 1s; left: rows are padded on the
    left; rows, length: of the batches. arrays: an op's arguments that are given, the others are drawn.
    """

    title: str
    family: str | None = "bert"
    pair: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dtype: str = "float64"
    optimizer: Mapping[str, Any] = field(default_factory=lambda: OPTIMIZER)
    steps: tuple[int, ...] = STEPS
    dropout: bool = False
    low: float | None = 0.05
    masked_row: bool = False
    hole: bool = False
    left: bool = False
    rows: int = 3
    length: int = LENGTH
    variants: tuple[str, ...] = ()
    arrays: Mapping[str, Array] = field(default_factory=dict)


ADAM = {**OPTIMIZER, "name": "roberta_adam", "schedule": "linear"}  # everything decays


def _relatives() -> dict[str, Recipe]:
    """The families beside BERT: each as published, each with everything off its default, and what is its own."""
    titles = {
        "roberta": "positions from the padding id on, one token type, eps 1e-5",
        "albert": "one shared layer, a map from narrow embeddings, sentence order",
        "electra": "generator and discriminator over shared tables, loss 1 and 50",
        "spanbert": "masked tokens and the span boundary objective",
        "macbert": "BERT's network, pairs told apart by their order",
        "bert_wwm": "BERT's network and terms",
        "bert_wwm_ext": "BERT's network, the masked targets alone",
    }
    steps = {**dict.fromkeys(("electra", "spanbert", "macbert"), (1, 10)), "bert_wwm": (), "bert_wwm_ext": ()}
    made, shallow = {}, {"num_hidden_layers": 1}
    for seed, (name, title) in enumerate(titles.items(), start=20):
        made[f"{name}/published"] = Recipe(f"as published: {title}", name, seed=seed, steps=steps.get(name, STEPS),
                                           config=shallow if "wwm" in name else {})
        probe = {**families.family(name).PROBE, "initializer_range": 0.4, "tie_word_embeddings": False}
        made[f"{name}/probe"] = Recipe("every config field away from its default, dropout masks drawn", name,
                                       config=probe, seed=seed + 10, dropout=True, steps=())
    groups = {"num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}
    return {
        **made,
        "roberta/adam": Recipe("RoBERTa's Adam: both moments corrected, everything decays", "roberta", seed=40,
                               steps=(1, 10), low=None, optimizer=ADAM, config=shallow),
        "roberta/next-sentence": Recipe("the ablations' next-sentence term, two token types", "roberta", seed=41,
                                        steps=(), low=None, config={"next_sentence": True, "type_vocab_size": 2}),
        "roberta/padding": Recipe("rows padded on the left: positions begin with the tokens", "roberta", seed=52,
                                  steps=(), low=None, left=True, config=shallow),
        "albert/groups": Recipe("two groups of two inner layers each, the first group used twice", "albert", seed=42,
                                steps=(), rows=2, config=groups),
        "albert/unshared": Recipe("nothing shared between two layers", "albert", seed=43, steps=(), low=None,
                                  config={"sharing": "none"}),
        "albert/square": Recipe("tables as wide as the network, mapped all the same", "albert", seed=51, steps=(),
                                low=None, config={"embedding_size": 12}),
        "albert/version-1": Recipe("the first version: erf, dropout masks drawn, the release's denominator", "albert",
                                   seed=44, steps=(), low=None, dropout=True,
                                   config={"hidden_act": "gelu", "hidden_dropout_prob": 0.1,
                                           "attention_probs_dropout_prob": 0.1, "mlm_denominator_eps": 1e-5}),
        "albert/lamb": Recipe("LAMB", "albert", seed=45, steps=(1, 10), low=None,
                              optimizer={**OPTIMIZER, "name": "lamb"}),
        "electra/discriminator": Recipe("the discriminator alone, as published", "electra", seed=46, steps=(1, 10),
                                        config={"role": "discriminator"}),
        "electra/generator": Recipe("the generator alone, as published", "electra", seed=47, steps=(1, 10), low=None,
                                    config={"role": "generator"}),
        "electra/joint": Recipe("networks of one size, all shared", "electra", seed=48, steps=(), low=None, rows=2,
                                config={"generator_size": 1.0, "sharing": "all"}),
        "electra/release": Recipe("nothing shared, the release's denominators, a padding row that learns", "electra",
                                  seed=49, steps=(), low=None,
                                  config={"sharing": "none", "mlm_denominator_eps": 1e-6, "rtd_denominator_eps": 1e-6,
                                          "pad_row_gradient": True, "generator_size": 1.0}),
        "electra/policy": Recipe("the adversarial generator: REINFORCE with its baseline", "electra", seed=50,
                                 steps=(), low=None, config={"objective": "adversarial"}),
    }  # fmt: skip


def _masked_bias() -> Array:
    """(B, 1, 1, S): padding at the end of the first row, the second masked everywhere."""
    bias = np.zeros((2, 1, 1, 5), np.float32)
    bias[0, ..., 3:] = bias[1] = np.finfo(np.float32).min
    return bias


def recipes() -> dict[str, Recipe]:
    """The shipped cases by name."""
    whole = {
        "bert/published": Recipe("BERT as published: erf, eps 1e-12, smallest mask constant, plain mean; no dropout"),
        "bert/probe": Recipe(
            "every config field away from its default, untied decoder, dropout masks drawn", config=ALL_OTHER, seed=1,
            dropout=True,
        ),
        "bert/dropout": Recipe("BERT as published, in training: dropout masks drawn", seed=2, dropout=True, low=None),
        "bert/tanh": Recipe("the tanh form of GELU, tied decoder", seed=3,
                            config={"hidden_act": "gelu_new"}),
        "bert/untied": Recipe("a decoder matrix and bias of its own", seed=4,
                              config={"tie_word_embeddings": False}),
        "bert/masked-row": Recipe("float32, one row masked everywhere: it is uniform over all keys", seed=5,
                                  dtype="float32", masked_row=True),
        "bert/release": Recipe(
            "the release's own rules: tanh, -10000, a padding row that learns, 1e-5 in the denominator", seed=6,
            dtype="float32", masked_row=True, low=None,
            config={"hidden_act": "gelu_new", "mask_constant": "-10000", "pad_row_gradient": True,
                    "mlm_denominator_eps": 1e-5},
        ),
        "bert/eps": Recipe("an embedding sum of deviation 2e-4 under eps 1e-12: any other eps shows", seed=7, low=2e-4),
        "bert/long": Recipe("48 positions, one layer: position rows, long softmax rows", seed=8, rows=2, length=48,
                            steps=(), config={"num_hidden_layers": 1, "max_position_embeddings": 50}),
        "bert/adamw": Recipe(
            "AdamW under linear decay, clipped", seed=9, dropout=True, low=None,
            optimizer={**OPTIMIZER, "name": "adamw", "schedule": "linear", "weight_decay": 0.1, "clip_norm": 0.5},
        ),
        "bert/deep": Recipe("six layers of width 8, weights of std 0.2: what builds up", seed=10, steps=(1,),
                            config={"num_hidden_layers": 6, "hidden_size": 8, "num_attention_heads": 2}),
        "bert/corners": Recipe(
            "ReLU, a mask with a hole, a schedule that ends within the steps", seed=13, low=None, hole=True,
            config={"hidden_act": "relu"}, optimizer={**OPTIMIZER, "total": 8},
        ),
        "bert/encoder-layer": Recipe("one encoder layer alone", pair="encoder_layer", seed=11, steps=(), low=None),
        "bert/encoder-layer-dropout": Recipe("one encoder layer alone, its dropout masks drawn; tanh", seed=12,
                                             steps=(), pair="encoder_layer", low=None, dropout=True, config=ALL_OTHER),
    }  # fmt: skip
    alone = {f"ops/{name}": Recipe(f"{name} alone", None, name) for name in PAIRS}
    near = 0.7 + 2e-4 * Draws(0, "nearly constant").standard_normal((2, 3, 5))
    special = {
        "ops/attention-masked": Recipe("float32: padding, and a row masked everywhere", None, "attention",
                                       dtype="float32", masked_row=True, arrays={"bias": _masked_bias()}),
        "ops/layer_norm-eps": Recipe("rows of deviation 2e-4 under eps 1e-12", None, "layer_norm", {"eps": 1e-12},
                                     arrays={"x": near}),
        "ops/embedding-padding": Recipe("row 2 gets no look-up gradient", None, "embedding", {"padding_idx": 2}),
        "ops/cross_entropy-none": Recipe("nothing counts: loss and gradient 0", None, "cross_entropy", {"ignore": -100},
                                         arrays={"labels": np.full((3, 2, 3), -100)}),
    }  # fmt: skip
    return {**whole, **_relatives(), **alone, **special}
