"""ELMo's characters of a word of `most` places: its bytes + 1 between two marks, then padding.

Peters et al. 2018 (1802.05365), release (bilm/data.py); allennlp elmo_indexer.py, which adds 1; SPEC ELMO-CHAR.
"""


def character_ids(word, most):
    inside = [259, *(byte + 1 for byte in word.encode()[: most - 2]), 260]
    return inside + [261] * (most - len(inside))
