"""Swin Transformer: Hierarchical Vision Transformer using Shifted Windows.

Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, 2021, arXiv 2103.14030. Released code: microsoft/Swin-Transformer
(`models/swin_transformer.py`); masked patches: SimMIM, Xie et al. 2021, arXiv 2111.09886.

    patches      h⁰ = Drop(LN(patch_n Wᵀ + b)), the mask token for a hidden patch; + E_position where there is one  (1)
    attention    a = h + Path(Drop(u)), u of LN(h) within windows of M·M cells: softmax(q kᵀ/√K + B) v, B of each head
                 from a table of (2M - 1)² distances                                                               (2)
    shift        in every second layer windows are cut from the grid rolled by ⌊M/2⌋; what did not stand together
                 does not attend: -100 is added to its score                                                       (3)
    feed-forward y = a + Drop(f), f = act(LN(a) W₁ᵀ + b₁) W₂ᵀ + b₂                                                  (4)
    merging      behind every stage but the last: LN(four cells side by side) Wᵀ, half the grid, twice the width   (5)
    final norm   LN(y): the last hidden state; its mean over cells stands for the picture                          (6)
    objective    what hidden patches show, `masked_pixels` of (6)                                                  (7)

Where the release deviates from the paper or ports from the release, and what is done here:
- Path drops whole rows, at a rate that grows evenly over all layers from 0 to `drop_path_rate`; the release does it to
  (4), too, ports and this text to (2) alone.
- a stage whose grid is no larger than a window is not shifted. Where it is smaller the release takes smaller windows
  and tables, ports fail: refused here.
- eps: the norms of (1) and (5) have torch's 1e-5 whatever the config says.
- a grid that is no whole windows is filled with 0 behind (2)'s norm; filled cells are attended to, as in ports.
  Pictures have to be whole patches here; ports fill those, too.
- `use_absolute_embeddings`: E_position, in the paper's ablation alone.
- names: files have those of transformers 4; version 5 has others in memory, which are read, too (`aliases`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, vision
from minibert.config import among, check, number, rate, require, size
from minibert.families import inherited, vit
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()
WIDE, LARGE, STAGES = 2**16, 2**12, 8


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Swin-T, under the published field names, and one variant."""

    image_size: int = size(224, LARGE)
    patch_size: int = size(4, LARGE)
    num_channels: int = size(3, LARGE)
    embed_dim: int = size(96, WIDE)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = size(7, 64)
    mlp_ratio: float = number(4.0, 1e-3, 1024)
    qkv_bias: bool = True
    hidden_dropout_prob: float = rate(0.0)
    attention_probs_dropout_prob: float = rate(0.0)
    drop_path_rate: float = rate(0.1)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    use_absolute_embeddings: bool = False
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-5, 0, 1)
    encoder_stride: int = size(32, LARGE)
    # variants
    mim_denominator_eps: float = number(1e-5, 0, 1)  # of (7)

    def __post_init__(self) -> None:
        check(self)
        fits = self.image_size % self.patch_size == 0
        most = f"a divisor of image_size {self.image_size}"
        require(fits, f"config field 'patch_size' is {self.patch_size}; allowed: {most}")
        fits = 1 <= len(self.depths) <= STAGES and all(0 < depth <= 1024 for depth in self.depths)
        require(fits, f"config field 'depths' is {list(self.depths)}; allowed: 1 to {STAGES} numbers from 1 to 1024")
        fits = len(self.num_heads) == len(self.depths) and all(
            heads > 0 and self.width(i) % heads == 0 for i, heads in enumerate(self.num_heads))  # fmt: skip
        most = f"a divisor of each stage's width {[self.width(i) for i in range(len(self.depths))]}"
        require(fits, f"config field 'num_heads' is {list(self.num_heads)}; allowed: {most}")

    def width(self, stage: int) -> int:
        """Of a stage's cells."""
        return self.embed_dim * 2**stage

    @property
    def num_hidden_layers(self) -> int:
        """Of all stages."""
        return sum(self.depths)

    @property
    def hidden_size(self) -> int:
        """Of the last stage."""
        return self.width(len(self.depths) - 1)

    def path_rate(self, stage: int, block: int) -> float:
        """Of (2), of a layer."""
        return self.drop_path_rate * (sum(self.depths[:stage]) + block) / max(1, self.num_hidden_layers - 1)


def _size(width: int, depth: int, *heads: int) -> Tree:
    return {"embed_dim": width, "depths": (2, 2, depth, 2), "num_heads": heads}


PRESETS = {  # section 3.3
    "tiny": _size(96, 6, 3, 6, 12, 24), "small": _size(96, 18, 3, 6, 12, 24), "base": _size(128, 18, 4, 8, 16, 32),
    "large": _size(192, 18, 6, 12, 24, 48),
}  # fmt: skip
PROBE = {
    "image_size": 12, "patch_size": 2, "num_channels": 2, "embed_dim": 4, "depths": (2, 1), "num_heads": (2, 4),
    "window_size": 3, "mlp_ratio": 1.5, "qkv_bias": False, "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3, "drop_path_rate": 0.4, "hidden_act": "gelu_new",
    "use_absolute_embeddings": True, "initializer_range": 0.3, "layer_norm_eps": 1e-3, "encoder_stride": 4,
    "mim_denominator_eps": 0.01,
}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(6): the one place where they are written."""

    def norm(d: int) -> Tree:
        return {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int, biased: bool = True) -> Tree:
        return {"weight": (n_out, n_in), **({"bias": (n_out,)} if biased else {})}

    def layer(d: int, heads: int) -> Tree:
        inner, table = int(config.mlp_ratio * d), ((2 * config.window_size - 1) ** 2, heads)
        projections = {name: dense(d, d, config.qkv_bias) for name in ("query", "key", "value")}
        attention = {"norm": norm(d), **projections, "output": dense(d, d), "relative_positions": {"weight": table}}
        feed_forward = {"norm": norm(d), "in": dense(inner, d), "out": dense(d, inner)}
        return {"attention": attention, "feed_forward": feed_forward}

    stages: list[Tree] = []
    for i, (depth, heads) in enumerate(zip(config.depths, config.num_heads, strict=True)):
        d = config.width(i)
        merge = {"norm": norm(4 * d), "reduction": dense(2 * d, 4 * d, False)}
        stages.append({"blocks": [layer(d, heads)] * depth, **({"merge": merge} if i + 1 < len(config.depths) else {})})
    d, cells = config.embed_dim, (config.image_size // config.patch_size) ** 2
    embeddings = {"patch": dense(d, config.num_channels * config.patch_size**2), "norm": norm(d)}
    embeddings |= {"position": {"weight": (cells, d)}} if config.use_absolute_embeddings else {}
    token = {"weight": (1, d)}
    return {"embeddings": embeddings, "mask_token": token, "encoder": stages, "norm": norm(config.hidden_size)}


def undecayed(config: Config) -> tuple[str, ...]:
    """Tables of positions, as in the release."""
    tables = [f"encoder.{i}.blocks.{b}.attention.relative_positions.weight"
              for i, depth in enumerate(config.depths) for b in range(depth)]  # fmt: skip
    return ("embeddings.position.weight", *tables)


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """As ViT's."""
    return vit.example_of(rng, config, dims, dropouts)


def grids(config: Config, dims: dict[str, int]) -> list[tuple[int, int]]:
    """(rows, columns) of each stage, of pictures of these sizes."""
    rows, columns = (dims.get(letter, config.image_size) // config.patch_size for letter in "YX")
    return [(-(-rows // 2**i), -(-columns // 2**i)) for i in range(len(config.depths))]


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, by published module, for pictures of these sizes."""
    batch, cells, rate = dims["B"], config.window_size**2, config.hidden_dropout_prob
    rows, columns = grids(config, dims)[0]
    places = {"swin.embeddings.dropout": ((batch, rows * columns, config.embed_dim), rate)}
    for i, (rows, columns) in enumerate(grids(config, dims)):
        count = batch * -(-rows // config.window_size) * -(-columns // config.window_size)
        for b in range(config.depths[i]):
            name, d = f"{LAYERS}{i}.blocks.{b}", config.width(i)
            square = count, config.num_heads[i], cells, cells
            places[f"{name}.attention.self.dropout"] = square, config.attention_probs_dropout_prob
            places[f"{name}.attention.output.dropout"] = (count, cells, d), rate
            places[f"{name}.drop_path"] = (batch, 1, 1), config.path_rate(i, b)
            places[f"{name}.output.dropout"] = (batch, rows * columns, d), rate
    return places


# ---- Network ---------------------------------------------------------------------------------------------------------
LAYERS = "swin.encoder.layers."
inputs, lengths = vit.inputs, vit.lengths
OPTIONAL: Tree = {}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name. Cells, widths, windows and heads differ from stage to stage."""
    return {"last_hidden_state": "(B,T,hidden_size)", "hidden_states": "[(B,...)]", "attentions": "[(W,...)]",
            "pooler_output": "(B,hidden_size)"}  # fmt: skip


def encode(p: Tree, config: Config, inputs: Tree, *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(6): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped.

    hidden_states: (B, N, D) of what enters the first stage, and of each stage what it gives, merged; attentions: of
    each stage those of its last layer (B·W, H, M·M, M·M), only where `keep` is "caches" (see `layers.stack`).
    """
    c: Tree = {"token": p.get("mask_token")}
    kept, token = (inputs.get("dropout") or {}).get, p.get("mask_token", {}).get("weight")
    pixels, drop = inputs["pixel_values"], {"rate": config.hidden_dropout_prob}
    vision.grid(pixels.shape, config.patch_size)
    sizes = grids(config, dict(zip("YX", pixels.shape[2:], strict=True)))
    small = [f"{rows}·{columns}" for rows, columns in sizes if min(rows, columns) < config.window_size]
    require(not small, f"pixel_values: a grid of {''.join(small[:1])} cells, but windows have window_size "
            f"{config.window_size} either way: give larger pictures, or smaller windows")  # fmt: skip
    given = {"size": config.patch_size, "hidden": inputs.get("bool_masked_pos"), **drop}
    h, c["embeddings"] = vision.patch_embeddings(pixels, p["embeddings"], token, **given,
                                                 keep=kept("swin.embeddings.dropout"))  # (1)  # fmt: skip

    def stage(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        own: Tree = {"blocks": []}
        for b, block in enumerate(p["blocks"]):
            name, dropped = f"{LAYERS}{i}.blocks.{b}", kept(f"{LAYERS}{i}.blocks.{b}.attention.self.dropout")
            rate = config.attention_probs_dropout_prob
            shift = config.window_size // 2 if b % 2 and min(sizes[i]) > config.window_size else 0  # (3)
            x, one = vision.swin_layer(  # (2), (4)
                x, block, height=sizes[i][0], size=config.window_size, shift=shift, heads=config.num_heads[i],
                act=config.hidden_act, eps=config.layer_norm_eps,
                dropout=None if dropped is None else ops.dropout_multiplier(dropped, rate, x.dtype),
                kept=kept(f"{name}.attention.output.dropout"), keep=kept(f"{name}.output.dropout"),
                path=kept(f"{name}.drop_path"), path_rate=config.path_rate(i, b), **drop,
            )  # fmt: skip
            own["blocks"].append(one)
        if "merge" in p:
            x, own["merge"] = vision.patch_merging(x, p["merge"], height=sizes[i][0])  # (5)
        return x, own

    hidden, c["encoder"] = layers.stack(stage, h, p["encoder"], keep)
    last, c["norm"] = ops.layer_norm(hidden[-1], **p["norm"], eps=config.layer_norm_eps)  # (6)
    pooled, c["pool"] = ops.mean_over_time(last, weights=np.ones(last.shape[:2], last.dtype))
    out = {"last_hidden_state": last, "hidden_states": hidden, "pooler_output": pooled}
    if keep == "caches":
        ends = [stage["blocks"][-1]["attention"]["self"] for stage in c["encoder"]]
        out["attentions"] = [end["attention"]["probs"] for end in ends]
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(6) from the cotangents of last_hidden_state, of pooler_output and, where given, of
    hidden_states.
    """
    g: Tree = {}
    dlast = dout["last_hidden_state"] + ops.mean_over_time_backward(dout["pooler_output"], c["pool"])
    dh, g["norm"] = ops.layer_norm_backward(dlast, c["norm"])  # (6)

    def stage_backward(dx: Array, own: Tree) -> tuple[Array, Tree]:
        found: Tree = {"blocks": []}
        if "merge" in own:
            dx, found["merge"] = vision.patch_merging_backward(dx, own["merge"])  # (5)
        for one in reversed(own["blocks"]):
            dx, block = vision.swin_layer_backward(dx, one)  # (4), (2)
            found["blocks"].insert(0, block)
        return dx, found

    dh, g["encoder"] = layers.stack_backward(stage_backward, dh, c["encoder"], dout.get("hidden_states"))
    _, g["embeddings"], *dtoken = vision.patch_embeddings_backward(dh, c["embeddings"])  # (1)
    return {**g, **vit.token_gradient(c["token"], dtoken)}


terms = vit.terms  # (7)


def summaries(config: Config) -> Tree:
    """What stands for a picture: the mean of (6)."""
    return {"text": Summary("pooler_output", dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
COUNTED, DEFAULTS, documents, rows, corrupt = vit.COUNTED, vit.DEFAULTS, vit.documents, vit.rows, vit.corrupt
PERCEIVES, BESIDE, perceived, gathered = vit.PERCEIVES, vit.BESIDE, vit.perceived, vit.gathered
WIDTH = "embed_dim"
NARROW = {"embed_dim": 48, "depths": (2, 2), "num_heads": (3, 6), "window_size": 2, "mlp_ratio": 2.0,
          "drop_path_rate": 0.0, "initializer_range": 0.1}  # fmt: skip
QUICK = NARROW
Data = vit.Data


def fields(data: vit.Data, given: Tree) -> Tree:
    """As ViT's; a last state stands for as many pixels as stages make of a patch."""
    stages = len(given.get("depths", Config.depths))
    return {**vit.fields(data, given), "encoder_stride": data.patch_size * 2 ** (stages - 1)}
