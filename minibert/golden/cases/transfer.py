"""Golden cases of what stands in a tree beside what its family knows (`adapters`), each under a head."""

from typing import Any

from minibert.golden.cases.tasks import SIZES
from minibert.golden.recipe import CaseRecipe


def _case(title: str, family: str, seed: int, **config: Any) -> CaseRecipe:
    """Over two layers, whole."""
    sizes = {**SIZES, "num_hidden_layers": 2, "layer_norm_eps": 1e-3, **config}
    return CaseRecipe(title, family, seed=seed, dims={"B": 2, "T": 5}, steps=(), config=sizes, dropout=True)


CASES = {
    "adapter": _case("an adapter in each sub-layer, behind its dropout", "bert@adapter:3+tag", 330),
    "pals": _case("projected attention beside each layer", "bert@pals:4+classify", 331),
    "mix": _case("a mix of the states behind all layers, under the pooler", "bert@mix:3+classify", 332),
    "distil": _case("a teacher's logits, softened, and its last, wider states", "bert+classify@taught:9", 333),
    "distil-tokens": _case("a teacher's logits of the tokens that are there", "bert+tag@taught:8", 334),
}  # fmt: skip
