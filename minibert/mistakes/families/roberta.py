"""Mistakes of RoBERTa: positions after the padding id, one type, its separators and its mask."""

import itertools
from typing import Any

import numpy as np

from minibert.corruption import rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.rules import Corruption
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.ops.embeddings import halves, positions, summed, typeless, with_second_type
from minibert.mistakes.ops.norms import another_eps_at
from minibert.mistakes.ops.tokens import Tokens, encoded, rows


def _joined_once(tokenizer: Any, ids: list[int], types: list[int]) -> Tokens:
    """One separator where two stand behind each other."""
    twice = [i for i, (a, b) in enumerate(itertools.pairwise(ids)) if a == b == tokenizer.sep_id]
    return [v for i, v in enumerate(ids) if i not in twice], [v for i, v in enumerate(types) if i not in twice]


def _other_symbol(made: Corruption, vocabulary: Vocabulary) -> Corruption:
    """The id below the mask's where the mask is due."""
    return made._replace(ids=np.where(made.chosen & (made.ids == vocabulary.mask), vocabulary.mask - 1, made.ids))

entry(
    "E02", "token types sent to models without them", "absent input (or size-1 table)",
    "guillaume-be/rust-bert#422; MPNet port sbryngelson/ANEForge#255",
    "output", "ROB-EMB-1", families=("roberta", "distilbert", "mpnet"),
    mutants=[
        only("roberta", swap("the type table's row 0 is left out", "embeddings", summed({"token_type": 0}))),
        only("roberta", typeless),
        only("roberta", with_second_type(batch("BERT's types: 1 for the second half", lambda b, _: halves(b)))),
    ],
)  # fmt: skip
entry(
    "E05", "large padding_idx -> index out of range; positions from inputs_embeds",
    "table size >= max_len + padding_idx + 1; embeddings input cannot detect pads: sequential from padding_idx+1",
    "HF#9116, #19265; rinnakk/japanese-pretrained-models#3", "loading", "ROB-POS-1", families=("roberta",),
    reason="a row too long for the table is refused in one line; no case can hold an index that does not exist",
)  # fmt: skip
entry(
    "E06", "max length 514 used as usable length", "usable 512",
    "HF#15292, #1363; KH#2124", "loading", "ROB-POS-1", families=("roberta",),
    reason="rows 0 and 1 of 514 are no token's, and a row of 513 tokens is refused in one line (`longest`)",
)  # fmt: skip
entry(
    "E21", "padding has positions of its own", "padding keeps the padding id for its position",
    "own knowledge", "output", "ROB-POS-1", families=("roberta",),
    mutants=[
        only("roberta", positions("padding goes on at the last token's position",
                                  lambda b, c: (b["input_ids"] != c.pad_token_id).cumsum(1) + c.pad_token_id)),
        only("roberta", positions("positions go on through the padding", lambda b, c: np.broadcast_to(
            np.arange(b["input_ids"].shape[1]) + 1 + c.pad_token_id, b["input_ids"].shape))),
        only("roberta", positions("positions count the mask's ones",
                                  lambda b, c: b["attention_mask"].cumsum(1) * b["attention_mask"] + c.pad_token_id)),
    ],
)  # fmt: skip
entry(
    "L02", "eps assumed the same in all families",
    "RoBERTa (fairseq) and ERNIE 1e-5, DeBERTa 1e-7, XLM and Google BERT 1e-12",
    "src fairseq modules/layer_norm.py:28, XLM transformer.py:282; PaddlePaddle/ERNIE#75; HF#532; DB and GB (contrib "
    "default) values own knowledge",
    "output", "OP-LN-5", families=("roberta", "ernie", "deberta", "xlm"), cause_of=("L01",),
    mutants=[only("roberta ernie", another_eps_at())],
)  # fmt: skip
entry(
    "T08", "pair joined by one separator", "RoBERTa: `<s> a </s></s> b </s>`",
    "HF#11519, #1681; sentence-transformers#19; ThilinaRajapakse/simpletransformers#163",
    "tokens", "TOK-BPE-7", families=("roberta", "mpnet"), tokenizers=("byte_level",),
    tokenize=rows(lambda tokenizer, ids, types: _joined_once(tokenizer, ids, types)),
)  # fmt: skip
entry(
    "T15", "a blank put before every text, or the one in it lost",
    "the first word has no blank before it unless the text has one",
    "own knowledge; GPT-2 and RoBERTa differ from fairseq's add_prefix_space",
    "tokens", "TOK-BPE-3", families=("roberta",), variant=True, tokenizers=("byte_level",),
    tokenize=lambda tokenizer, text, pair=None, max_length=None: encoded(
        tokenizer, f" {text}", None if pair is None else f" {pair}", max_length
    ),
)  # fmt: skip
entry(
    "H09", "RoBERTa classifier given BERT's pooler", "dropout, dense, tanh, dropout, out on `<s>`",
    "HF#11743, #8776; fairseq#2390; KH#304", "output", families=("roberta", "electra"),
    reason="heads for classification are made in fine-tuning; no pre-training case has one",
)  # fmt: skip
entry(
    "D07", "wrong mask symbol", "[MASK] vs `<mask>`",
    "HF#16798", "data", "ROB-DATA-1", families=("roberta",),
    rule={"roberta": lambda *given: _other_symbol(rules.roberta(*given), given[3])},
)  # fmt: skip
entry(
    "D22", "<s> and </s> never chosen", "fairseq draws from all tokens, special ones too; declare",
    "src fairseq mask_tokens_dataset.py; HF data collator", "data", "ROB-DATA-1", families=("roberta",), variant=True,
    rule={"roberta": lambda *given: rules.bert(*given, exclude=(0, 2, 3))},
)  # fmt: skip
