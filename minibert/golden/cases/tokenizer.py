"""Tokenizers on hard strings."""

from minibert.golden.kinds.tokenizer import byte_level, unigram, vectors, wordpiece
from minibert.golden.recipe import CaseRecipe

WHOLE = {"kind": "tokenizer", "steps": ()}
CASES = {
    "uncased": CaseRecipe("WordPiece, lower-casing: hard strings", "bert",
                          text=lambda: vectors(wordpiece(lowercase=True)), **WHOLE),
    "cased": CaseRecipe("WordPiece, cased: hard strings", "bert", text=lambda: vectors(wordpiece(lowercase=False)),
                        **WHOLE),
    "byte-level": CaseRecipe("byte-level BPE as RoBERTa has it: hard strings", "roberta",
                             text=lambda: vectors(byte_level()), **WHOLE),
    "unigram": CaseRecipe("unigram as ALBERT's fast tokenizer has it: hard strings", "albert",
                          text=lambda: vectors(unigram()), **WHOLE),
}  # fmt: skip
