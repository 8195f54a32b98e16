"""Quick-thought: a twin in torch, the diagonal, targets, missing sentences, rows of a text."""

import numpy as np
import pytest

import minibert
from minibert import tree
from minibert.corruption import consecutive
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import quick_thought
from minibert.heads import adjacent_sentence

VARIANTS = ({}, {"encoder": "GRU", "shared_table": False, "context_size": 1, "bidir": True}, {"encoder": "BOW"})
SMALL = {"word_embedding_dim": 3, "encoder_dim": 2}
DIRECTORIES: dict = {}
PARAMETERS: list = []
FIGURES: list = []


def model(seed: int = 0, **fields):
    made = minibert.create("quick_thought", dtype="float64", **{**quick_thought.PROBE, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng
