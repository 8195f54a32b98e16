"""MASS: Masked Sequence to Sequence Pre-training for Language Generation.

Song, Tan, Qin, Lu, Liu, 2019, arXiv 1905.02450. Released code: microsoft/MASS (`MASS-summarization`, whose network this
is; `MASS-unsupNMT`, `MASS-supNMT`).

BART's equations, of whose network this is a copy with other sizes, except:

    embeddings   (1) with √D·E[x] + P[t + 1], at the decoder t the place of a token in the text                     (9)
    encoder      (5) over the text x without its fragment u … v, in whose place masks stand                         (10)
    decoder      (6) over x_{u-1} … x_{v-1} at the places u - 1 … v - 1; its attention to the memory, where a mask
                 tells so, to what the encoder was shown alone                                                      (11)
    objective    L = mean of -log softmax(z_t)[x_t], t of the fragment alone                                        (12)

A fragment of one token is masked prediction; the whole text, all of it masks, is a language model. How long fragments
are, where they begin and what is read in their place differs among the releases: `corruption.fragments`.

Where the release deviates from the paper, and what is done here:
- MASS-unsupNMT lets the decoder attend to what is no mask, the others to all tokens: `encoder_attention_mask` says.
- its network is XLM's, with a table of languages; here the network is that of MASS-summarization in all cases.
- the encoder of the release has zeros at padding; nobody attends to it.
- after fine-tuning the decoder begins with its start token at place 0: `start` and `step` count from there.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert import encoder_decoder
from minibert.config import rate
from minibert.corruption import fragments
from minibert.families import bart, inherited

KIN = "bart"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bart.Config):
    """mass-base-uncased as released for summarization."""

    vocab_size: int = 30522
    max_position_embeddings: int = bart.size(512)
    d_model: int = bart.size(768, bart.WIDE)
    encoder_layers: int = bart.size(6, bart.DEEP)
    encoder_ffn_dim: int = bart.size(3072, bart.WIDE)
    encoder_attention_heads: int = bart.size(12)
    decoder_layers: int = bart.size(6, bart.DEEP)
    decoder_ffn_dim: int = bart.size(3072, bart.WIDE)
    decoder_attention_heads: int = bart.size(12)
    attention_dropout: float = rate(0.1)
    activation_dropout: float = rate(0.1)
    scale_embedding: bool = True
    pad_token_id: int = 0
    bos_token_id: int | None = 101
    eos_token_id: int | None = 102
    forced_eos_token_id: int | None = None
    decoder_start_token_id: int = 102
    OFFSET = 1


PRESETS = {
    "base": {},
    "big": {"d_model": 1024, **dict.fromkeys(("encoder_layers", "decoder_layers"), 12),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 4096),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 16)},
}  # fmt: skip
PROBE = {**bart.PROBE, "scale_embedding": False}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BART's; the decoder's tokens stand behind the first place, and some of the memory is hidden from it."""
    batch = bart.example(rng, config, dims)
    rows, target = batch["decoder_input_ids"].shape
    room = config.max_position_embeddings - target
    begins = rng.integers(min(1, room), room + 1, (rows, 1))
    shown = batch["attention_mask"].copy()
    shown[:, 1] = 0
    return {**batch, "decoder_position_ids": begins + np.arange(target), "encoder_attention_mask": shown}


def inputs(config: Config) -> dict[str, str]:
    """BART's, where the decoder's tokens stand, and which slots of the memory it attends to."""
    places = {"decoder_position_ids": "?(B,S)<max_position_embeddings", "encoder_attention_mask": "?(B,T)?"}
    return {**encoder_decoder.inputs(config), **places}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
START = "sep"
Data = fragments.Fragments
rows, corrupt = fragments.rows, fragments.corrupt
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 64, "duplicates": 1, "steps": 800, "batch_size": 16,
                  "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.01}  # fmt: skip


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "mass"
PREFIX = ""


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Class of the release -> the optional parts of the tree that it has."""
    return {"TransformerMASSModel": bart.own(config)}


def _named(name: str) -> str:
    """The release's name for a port's of BART."""
    name = name.removeprefix("model.").replace("layernorm_embedding", "emb_layer_norm")
    return name.replace("shared.weight", "encoder.embed_tokens.weight").replace("lm_head.weight", "decoder.embed_out")


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: query, key and value are one tensor."""
    found = []
    for path, name, kind in bart.names(config):
        part, _, leaf = _named(name).rpartition(".")
        fused = part.endswith((".q_proj", ".k_proj", ".v_proj"))
        own = f"{part.rpartition('.')[0]}.in_proj_{leaf}" if fused else _named(name)
        found.append((path, own, "split" if fused else kind))
    return found


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """As `bart.activations`; what the release has no module for is called as its parts are."""
    found = []
    for name, path, kind, place in bart.activations(replace(config, scale_embedding=False)):  # √D is outside of modules
        for letter, part in (("q", "query"), ("k", "key"), ("v", "value")):
            name = name.replace(f".{letter}_proj", f".{part}")
        kind = "" if name == "model.decoder.embed_positions" else kind
        found.append((_named(name), path, kind, place))
    return found


def aliases(config: Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"} if config.tie_word_embeddings else {}


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return tuple(f"{stack}.version" for stack in bart.STACKS)


def zero(config: Config) -> tuple[str, ...]:
    """None of them has to be 0."""
    return ()
