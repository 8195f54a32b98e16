"""Published names of `families.skip_thought`, and the release's files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert.families.skip_thought import SIDES, Config

Array = np.ndarray
Tree = dict[str, Any]

MODEL_TYPE = "skip_thought"
PREFIX = ""
VARIANTS = ("encoder", "conditioning")
FIELDS = {"hidden_size": "dim"}


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"SkipThought": ("lm", *SIDES.values()), "SkipThoughtEncoder": ()}


LEAVES = ("weight_ih", "weight_hh", "bias_ih")


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, name, bijection) of every parameter: the release's names of the parts, torch's of gates."""
    found = [("embeddings.word.weight", "Wemb")]
    sides = {"forward.": "encoder", "backward.": "encoder_r"} if config.encoder == "bi" else {"": "encoder"}
    found += [(f"encoder.{side}{leaf}", f"{name}.{leaf}_l0") for side, name in sides.items() for leaf in LEAVES]
    found += [(f"{part}.{leaf}", f"{part}.{leaf}_l0") for part in SIDES.values() for leaf in LEAVES]
    found += [("lm.decoder.weight", "ff_logit.weight"), ("lm.decoder.bias", "ff_logit.bias")]
    return [(*row, "identity") for row in found]


def of_theano(arrays: Mapping[str, Array], config: Config) -> Tree:
    """The tree of the release's arrays by their names in its .npz file: `encoder_W` (in, 2N) of the gates r and u,
    `encoder_Wx` (in, N) of the candidate, U likewise, `encoder_r_*` from the right; `ff_logit_W` (N, V).
    """

    def gru(name: str) -> Tree:
        ours = {"weight_ih": ("W", "Wx"), "weight_hh": ("U", "Ux"), "bias_ih": ("b", "bx")}
        return {leaf: np.concatenate([np.asarray(arrays[f"{name}_{part}"]).T for part in parts])
                for leaf, parts in ours.items()}  # fmt: skip

    both = {"forward": gru("encoder"), "backward": gru("encoder_r")} if config.encoder == "bi" else gru("encoder")
    found = {"embeddings": {"word": {"weight": np.asarray(arrays["Wemb"])}}, "encoder": both}
    if "ff_logit_W" in arrays:
        head = {"weight": np.asarray(arrays["ff_logit_W"]).T, "bias": np.asarray(arrays["ff_logit_b"])}
        found |= {**{part: gru(part) for part in SIDES.values()}, "lm": {"decoder": head}}
    return found


def aliases(config: Config) -> dict[str, str]:
    """None: no tensor stands in a file twice."""
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("Wemb", "encode.word", "", "embeddings"), ("encoder", "encode.encoder", "", "encoder layer 0")]
    for side, part in SIDES.items():
        table += [(f"{part}.words", f"encode.{side}.words", "", f"{side} embeddings"),
                  (part, f"encode.{side}.decoder", "", f"{side} layer 0")]  # fmt: skip
    for n, side in enumerate(SIDES):
        table.append(("ff_logit@1" if n else "ff_logit", f"{side}.head", "rows", f"{side} head"))
    return table
