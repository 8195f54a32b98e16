"""Golden cases of heads of tasks, each over one family."""

from typing import Any

import numpy as np

from minibert.golden.draws import Draws
from minibert.golden.recipe import Batch, CaseRecipe

SIZES = {"vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 9,
         "max_position_embeddings": 9, "type_vocab_size": 1, "hidden_act": "gelu"}  # fmt: skip
PICTURES = {"image_size": 4, "patch_size": 2, "num_channels": 1, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 5, "encoder_stride": 2}  # fmt: skip
MASK = 12  # of SIZES, the last token of a vocabulary of items (`uses.recommendation`)


def _case(title: str, family: str, seed: int, **given: Any) -> CaseRecipe:
    """Of a head over one layer, without what is inside the layer."""
    dims = {"B": 3, "T": 6, **given.pop("dims", {})}
    return CaseRecipe(title, family, seed=seed, dims=dims, steps=(), config=SIZES, insides=False, **given)


def masked(batch: Batch, draws: Draws) -> None:
    """What is asked for is the mask; each of them counts."""
    slots, rows = batch["masked_lm_positions"].shape[1], batch["attention_mask"].sum(1)
    batch["masked_lm_positions"] = np.array([np.sort(draws.permutation(int(n))[:slots]) for n in rows])
    batch["masked_lm_weights"] = np.ones_like(batch["masked_lm_weights"])
    np.put_along_axis(batch["input_ids"], batch["masked_lm_positions"], MASK, axis=1)


def hidden(batch: Batch, draws: Draws) -> None:
    """And leaves the attention mask."""
    masked(batch, draws)
    np.put_along_axis(batch["attention_mask"], batch["masked_lm_positions"], 0, axis=1)


CASES = {
    "classify": CaseRecipe("a layer with tanh over the first token, dropout twice, two classes", "roberta+classify",
                           seed=310, dims={"B": 3, "T": 6}, dropout=True, steps=(), config=SIZES),
    "regress": _case("one value, the mean of squares", "bert+regress", 311),
    "tag": _case("two tags, of tokens that are asked", "bert+tag", 312, dropout=True),
    "tag-crf": _case("two tags as a chain over the tokens that are asked", "bert+tag_crf", 313),
    "answer": _case("where an answer begins and ends", "bert+answer", 314),
    "choose": _case("three texts a row, one of which is right", "roberta+choose", 315,
                    dims={"B": 2}),
    "cnn": _case("windows of two, three and four states, the maximum of each filter", "bert+classify_cnn:size=2", 316),
    "lstm": _case("two layers of LSTMs in both directions, their last outputs", "bert+classify_lstm:size=2", 317),
    "rcnn": _case("states beside LSTMs over them, the maximum", "bert+classify_rcnn:size=2", 318),
    "tag-lstm": _case("tags behind an LSTM in both directions", "bert+tag_lstm:units=2", 319),
    "relate": _case("the states of two marks, three relations", "bert+relate:classes=3", 320),
    "similar": _case("the cosine of two means", "bert+similar", 321),
    "similar-contrastive": _case("the contrastive loss of cosines", "bert+similar:by=contrastive", 322),
    "similar-tensor": _case("a neural tensor layer over two means", "bert+similar:by=tensor,slices=2", 323),
    "layers": _case("the mean over a mix of layers", "bert+classify:pooling=layers", 324),
    "several": _case("three classes of which any may hold",
                     "bert+classify:classes=3,problem_type=multi_label_classification", 325),
    "recommend": _case("masked items of histories, answered with items", "bert+recommend", 326, dims={"M": 2},
                       edits=(masked,)),
    "recommend-hidden": _case("masked items that nobody attends to", "bert+recommend:by=hidden", 327, dims={"M": 2},
                              edits=(hidden,)),
    "ulmfit": _case("the last, the largest and the mean state, two linear maps with norms of the batch",
                    "bert+classify_ulmfit:size=3", 329, dropout=True),
    "caption": CaseRecipe("a picture told in words by a decoder that sees its patches",
                          "vit+caption:classes=4,depth=1", seed=331, dims={"B": 3}, steps=(), insides=False,
                          config=PICTURES),
    "ulmfit-behind": _case("the same behind training, with the norms that it kept", "bert+classify_ulmfit:size=3", 330),
}  # fmt: skip
