"""Mockingjay: Unsupervised Speech Representation Learning with Deep Bidirectional Transformer Encoders.

Liu, Yang, Chi, Hsu, Lee, 2019, arXiv 1910.12638. Released code: s3prl/s3prl (`upstream/mockingjay/model.py`,
`pretrain/mockingjay/task.py`). BERT except what is read and what is asked:

    frames       x_t: F features of 25 ms of sound, every 10 ms (`spectrogram`)                                     (1)
    inputs       h⁰ = Drop(LN(x W_inᵀ + b_in + S)), S the sinusoids of positions, sine and cosine in turn           (2)
    encoder      BERT's post-norm layers, (2)-(6) of `bert`                                                         (3)
    data         15 % of an utterance in runs of frames; the whole utterance's are silenced with 0.8, others' of it
                 with 0.1, left with 0.1 (`corruption.frames`)                                                      (4)
    objective    L = mean |z - x| over the chosen frames and their features (`heads.masked_frame`)                  (5)

Where the release deviates from the paper, and what is done here:
- the paper puts several frames into one (`stacked`, an option of the data); the release's later recipes do not.
- the length of an utterance is where its features no longer sum to 0 in the release; here `attention_mask` says it.
- `mask_frequency` and `noise_proportion`, 0 in the release, `share_layer` and `pre_layer_norm` are not there.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, recordings, spectrogram
from minibert.checkpoint import strictjson
from minibert.config import among, check, from_fields, number, rate, require, size
from minibert.corruption import frames
from minibert.families import inherited, transformer
from minibert.families.bert import DEEP, NARROW, WIDE
from minibert.heads import masked_frame
from minibert.objective import Term
from minibert.options import LONGEST, Options, option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's, under the names of its config_model.yaml; the last three are BERT's."""

    input_dim: int = size(240, WIDE)
    hidden_size: int = size(768, WIDE)
    num_hidden_layers: int = size(3, DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.1)
    attention_probs_dropout_prob: float = rate(0.1)
    layer_norm_eps: float = number(1e-12, 0, 1)
    max_position_embeddings: int = size(3000)  # MAX_SEQLEN
    initializer_range: float = number(0.02, 0, 100)
    mask_constant: str = among("-10000", ops.MASK_CONSTANTS)

    def __post_init__(self) -> None:
        check(self)
        heads = f"a divisor of hidden_size {self.hidden_size}"
        fits = self.hidden_size % self.num_attention_heads == 0
        require(fits, f"config field 'num_attention_heads' is {self.num_attention_heads}; allowed: {heads}")
        fits = self.hidden_size % 2 == 0
        require(fits, f"config field 'hidden_size' is {self.hidden_size}; allowed: even numbers, sine and cosine each")


PRESETS = {"base": {}, "large": {"num_hidden_layers": 12}}

# small, and every field away from its default: for checks
PROBE = {
    "input_dim": 5,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 11,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "layer_norm_eps": 1e-3,
    "max_position_embeddings": 12,
    "initializer_range": 0.3,
    "mask_constant": "min",
}


# ---- Inputs, shapes --------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: frames, and which of them there are."""
    return {"input_frames": "(B,T,input_dim)", "attention_mask": "?(B,T)?"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    return {
        "last_hidden_state": "(B,T,hidden_size)",
        "hidden_states": "[(B,T,hidden_size)]",
        "attentions": "[(B,num_attention_heads,T,T)]",
    }


SPELLINGS = {"input_mask": "attention_mask"}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.max_position_embeddings)}


def shapes(config: Config) -> Tree:
    """The shape of every parameter of (2), (3): the one place where they are written."""
    d, f = config.hidden_size, config.intermediate_size
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm},
        "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm},
    }
    return {"embeddings": {"frame": dense(d, config.input_dim), "norm": norm},
            "encoder": [layer] * config.num_hidden_layers}  # fmt: skip


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """Utterances of unequal lengths, a frame of silence in the first, frames that are hidden, drawn dropout masks."""
    dims = {"B": 3, "T": 7, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.max_position_embeddings)
    require(length >= 3, "an example needs at least 3 frames")
    sizes = rng.integers(max(2, length // 2 + 1), length, rows)
    sizes[0] = length
    there = np.arange(length) < sizes[:, None]
    heard = rng.standard_normal((rows, length, config.input_dim)) * there[..., None]
    asked = masked_frame.draw(rng, {"B": rows, "T": length}, {"T": sizes}, features=config.input_dim)
    heard[0] *= 1 - asked["frame_labels"][0, :, None]
    batch = {"input_frames": heard, "attention_mask": there * 1, **asked}
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))}


LAYERS = "Transformer.encoder.layer."
DROPOUT = "Transformer.input_representations.dropout"


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions, by published module."""
    wide = dims["B"], dims["T"], config.hidden_size
    own = {DROPOUT: (wide, config.hidden_dropout_prob)}
    return own | layers.encoder_dropouts(config, LAYERS, dims["B"], dims["T"])


# ---- The network -----------------------------------------------------------------------------------------------------
@block
def frame_embeddings(x: Array, p: Tree, *, eps: float, keep: Array | None, rate: float) -> tuple[Array, Tree]:
    """(2) Drop(LN(x W_inᵀ + b_in + S)); x (B, T, F) -> (B, T, D)."""
    c: Tree = {}
    h, c["frame"] = ops.linear(x, **p["frame"])
    h = h + positions(x.shape[1], h.shape[-1]).astype(h.dtype)
    h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    return h, c


@block_backward
def frame_embeddings_backward(dh: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh = ops.dropout_backward(dh, c["dropout"])
    dh, g["norm"] = ops.layer_norm_backward(dh, c["norm"])
    dx, g["frame"] = ops.linear_backward(dh, c["frame"])
    return dx, g


def positions(length: int, width: int) -> Array:
    """S of (2), (T, D) in float64: column 0 sin t, column 1 cos t."""
    return transformer.sinusoids(length, transformer.Config(d_model=width, nhead=1, positions="interleaved"))


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(2), (3): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped."""
    c, masks, x = {}, inputs.get("dropout") or {}, inputs["input_frames"]
    most = config.max_position_embeddings
    require(x.shape[1] <= most, f"input_frames: {x.shape[1]} frames a row, but max_position_embeddings is {most}; cut")
    x = x.astype(p["embeddings"]["frame"]["weight"].dtype, copy=False)
    own = {"eps": config.layer_norm_eps, "keep": masks.get(DROPOUT), "rate": config.hidden_dropout_prob}
    h, c["embeddings"] = frame_embeddings(x, p["embeddings"], **own)  # (2)
    given = {"mask": inputs.get("attention_mask"), "dropout": masks}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given, prefix=LAYERS, keep=keep)  # (3)
    return layers.states(hidden, c["encoder"], keep), c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (2), (3) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    dh, encoder = layers.encoder_backward(dout["last_hidden_state"], c["encoder"], dout.get("hidden_states"))  # (3)
    return {"embeddings": frame_embeddings_backward(dh, c["embeddings"])[1], "encoder": encoder}  # (2)


def terms(config: Config) -> dict[str, Term]:
    """(5)"""
    sizes = {"width": config.hidden_size, "features": config.input_dim}
    constants = {"act": config.hidden_act, "eps": config.layer_norm_eps}
    return {"masked_frame": Term(masked_frame, "spec", sizes=sizes, constants=constants, table="spec.decoder.weight")}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for an utterance: the mean of its frames' states, as the paper's speaker classifier has it."""
    return {"text": Summary(pooling="mean")}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = None  # it reads no text
COUNTED = ("recordings", "utterances", "frames")
WIDTH = "hidden_size"
QUICK = {**NARROW, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
DEFAULTS: Tree = {"steps": 2000, "learning_rate": 8e-4, "weight_decay": 0.01}
SOURCES = ("any", "speech", "vowels")
MOST = 1 << 20  # frames of all recordings: three hours


@dataclass(frozen=True)
class Data(Options):
    """What the data functions ask for."""

    seq_length: int = option(64, "make rows of so many frames", least=8, most=LONGEST)
    duplicates: int = option(1, "pass over the recordings so many times, with rows of their own", least=1, most=1000)
    source: str = option("any", "without --corpus: speech that espeak-ng makes, vowels that are no speech, or any, "
                         "speech where espeak-ng is installed", among=SOURCES)  # fmt: skip
    utterances: int = option(320, "make so many of them", least=8, most=100_000)
    mel_bins: int = option(80, "describe a frame by so many mel filters", least=1, most=1024)
    deltas: int = option(0, "and by their changes, changes of changes, …, so many (the release: 2)", least=0, most=4)
    lowest: float = option(20.0, "let the filters begin at this frequency, in Hz", least=0, most=1e6)
    highest: float = option(7600.0, "let them end at this one", least=1, most=1e6)
    stacked: int = option(1, "make one frame of so many that follow one another", least=1, most=64)
    masking: str = option("dynamic", "mask a row once, or anew each time that it is served",
                          among=("dynamic", "static"))  # fmt: skip
    rate: float = option(0.15, "ask for this share of the frames", least=0.01, most=0.99)
    consecutive: int = option(7, "mask runs of so many frames", least=1, most=LONGEST)
    overlap: bool = option(True, "let runs of masked frames overlap")

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = round(self.rate * self.seq_length / self.consecutive) >= 1
        require(fits, f"consecutive is {self.consecutive}: {self.rate:g} of {self.seq_length} frames (seq_length) is "
                "no run of as many; lower it, or raise rate or seq_length")  # fmt: skip


def fields(data: Data, given: Tree) -> Tree:
    """A frame's width is what the options make of it; positions are functions, and rows may be longer later."""
    return {**given, "input_dim": data.mel_bins * (1 + data.deltas) * data.stacked}


def documents(files: list[str] | None, data: Data) -> list[list[Array]]:
    """Frames (T, F) of utterances, a list for each recording, by (1)."""
    made = recordings.of_files(files) if files else recordings.made(data.source, data.utterances)
    how = {HEARD[name]: getattr(data, name) for name in HEARD if name != "stacked"}
    total, found = 0, []
    for several in made:
        own = [_frames(one, how, data.stacked) for one in several]
        total += sum(map(len, own))
        require(total <= MOST, f"more than {MOST:,} frames: give fewer recordings")
        found.append([frames for frames in own if len(frames)])
    return [document for document in found if document]


def _frames(recording: recordings.Recording, how: Tree, stacked: int) -> Array:
    return spectrogram.stacked(spectrogram.features(*recording, **how), stacked)


PERCEIVES, BESIDE = "sound", ("preprocessor_config.json",)
HEARD = {name: name.removeprefix("mel_") for name in ("mel_bins", "deltas", "lowest", "highest", "stacked")}


def begun(model: Any, data: Data, studied: Any = None) -> None:
    """The model's directory says how its frames are made."""
    said = {name: getattr(data, name) for name in HEARD}
    model.beside[BESIDE[0]] = json.dumps(said, indent=2) + "\n"


def perceived(row: Tree, config: Config, beside: Tree, most: int) -> Array:
    """The frames (T, F), at most so many, of the wave file that a row of a task names."""
    said = beside.get(BESIDE[0])
    require(said is not None, f"the model does not say how its frames are made ({BESIDE[0]}): write one, "
            f'{{"mel_bins": 80, "deltas": 0, "lowest": 20.0, "highest": 7600.0, "stacked": 1}}')  # fmt: skip
    held = strictjson.loads(said.encode(), BESIDE[0])
    require(isinstance(held, dict) and held.keys() == HEARD.keys(), f"{BESIDE[0]} has to say {', '.join(HEARD)}")
    data = from_fields(Data, held)
    due = fields(data, {})["input_dim"]
    require(due == config.input_dim, f"{BESIDE[0]} makes frames of {due} numbers, but input_dim is {config.input_dim}")
    how = {HEARD[name]: getattr(data, name) for name in HEARD if name != "stacked"}
    found = _frames(recordings.read(row["sound"]), how, data.stacked)[:most]
    require(len(found) > 0, f"{row['sound']} has no frame: it is shorter than {25 * data.stacked} ms")
    return found


def gathered(utterances: list[Array]) -> Tree:
    """The inputs of utterances, with 0 behind their ends."""
    sizes = np.array([len(frames) for frames in utterances])
    there = np.arange(sizes.max()) < sizes[:, None]
    made = np.zeros((*there.shape, utterances[0].shape[1]), np.float32)
    made[there] = np.concatenate(utterances)
    return {"input_frames": made, "attention_mask": there.astype(np.int32)}


def rows(documents: list, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """Utterances cut into rows; of the last row of each, what is left, where a run fits into it."""
    length, least = data.seq_length, data.seq_length // 2
    cuts = [frames[at : at + length] for document in documents for frames in document
            for at in range(0, max(1, len(frames) - least + 1), length)]  # fmt: skip
    cuts = [cut for cut in cuts if len(cut) >= least]
    require(bool(cuts), f"no utterance has {least} frames: give longer recordings, or shorter rows (seq_length)")
    order = np.concatenate([rng.permutation(len(cuts)) for _ in range(data.duplicates)])
    made = np.zeros((len(order), length, cuts[0].shape[1]), np.float32)
    there = np.zeros((len(order), length), np.int32)
    for row, cut in enumerate(cuts[place] for place in order.tolist()):
        made[row, : len(cut)], there[row, : len(cut)] = cut, 1
    return {"input_frames": made, "attention_mask": there}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """(4)"""
    how = {"rate": data.rate, "consecutive": data.consecutive, "overlap": data.overlap}
    return {**rows, **frames.masked(rows["input_frames"], rows["attention_mask"].sum(1), rng, **how)}


__getattr__ = inherited()  # published names: `minibert.published.audio_bert`
