"""Golden cases of Tsinghua's ERNIE."""

from minibert.golden.cases.bert import SIZES as BERTS
from minibert.golden.cases.bert import probe, published

SIZES = {**BERTS, "num_hidden_layers": 3, "layer_types": ("sim", "mix", "norm"), "entity_size": 8, "num_entities": 11}
CASES = {
    "published": published("layers of all kinds, frozen vectors of entities", "ernie_thu", seed=61, steps=(1, 10)),
    "probe": probe("ernie_thu", 62),
}
