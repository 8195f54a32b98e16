"""Skip-thought."""

import numpy as np
import pytest

import minibert
from minibert import tree
from minibert.families import skip_thought

VARIANTS = ({}, {"encoder": "uni", "conditioning": "state", "floor": 0.0})
SMALL = {"dim_word": 3, "dim": 2}
DIRECTORIES: dict = {}
PARAMETERS: list = []
FIGURES: list = []
