"""MacBERT's own example, words and what they give way to, and batches in which they do."""

import numpy as np

from minibert.corruption.masking import Vocabulary
from minibert.families import macbert

# the README's own example: every word gives way to one of as many pieces
TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] we use a language text model system to pre ca ##di ##lc ##ct ##ulate the pro"
TOKENS = f"{TOKENS} po ##ba ##ssi ##bility of next word . 使 用 运 模 型 系 统 预 测 估 计 算".split()
TEXT = "we use a language model to predict the probability of the next word ."
SIMILAR = {
    "language": ["text"],
    "model": ["system"],
    "predict": ["calculate"],
    "probability": ["possibility"],
    "模型": ["系统"],
    "使用": ["运用"],
    "预测": ["估计", "计算"],
}


def studied(tokenizer, options, texts):
    """The similar words of a training text of one shard."""
    return macbert.study(tokenizer, options, lambda count: count(tokenizer, options, texts))


def vocabulary(tokenizer):
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    return Vocabulary(len(tokenizer), *roles, tokenizer.continues, tuple(sorted(tokenizer.special_ids)))


def batches(tokenizer, options, text=TEXT, seeds=60):
    """(unmasked rows, a batch of them) for many draws of documents of four equal sentences."""
    texts = [[text] * 4, [text] * 4]
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    given = macbert.mark(tokenizer, options, texts, documents)
    similar = studied(tokenizer, options, texts)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows = macbert.rows(documents, rng, vocabulary(tokenizer), options, given)
        yield rows, macbert.corrupt(rows, rng, vocabulary(tokenizer), options, similar)
