"""CoVe."""

import numpy as np
import pytest

import minibert
from minibert import tree
from minibert.families import cove

VARIANTS = ({}, {"residual_embeddings": True, "decoder_layers": 2, "n_layers": 1})
SMALL = {"embedding_dim": 2, "hidden": 2, "n_layers": 1, "target_dim": 2, "decoder_dim": 2, "vocab_size": 9}
DIRECTORIES: dict = {}
PARAMETERS: list = []
FIGURES: list = []
