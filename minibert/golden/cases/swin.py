"""Swin's golden cases."""

from minibert import families
from minibert.golden.cases import vit
from minibert.golden.cases.bert import beside, published

SIZES = {"image_size": 12, "patch_size": 2, "num_channels": 2, "embed_dim": 6, "depths": (2, 1), "num_heads": (2, 3),
         "window_size": 3, "mlp_ratio": 1.5, "encoder_stride": 4, "drop_path_rate": 0.0}  # fmt: skip
DIMS = {"B": 2}
PROBE = {**families.family("swin").PROBE, "initializer_range": 0.4}
CASES = {
    "published": published("two stages, a shifted layer, hidden patches; nothing dropped", "swin", seed=133, low=None,
                           dims=DIMS, config=SIZES),
    "probe": beside("every field away from its default, dropout masks and paths drawn", "swin", seed=134, low=None,
                    dropout=True, dims=DIMS, config=PROBE),
    "padded": beside("a grid of five cells in windows of three, odd when it is merged", "swin", seed=135, low=None,
                     dims={"B": 2, "Y": 20, "X": 20}, config={**SIZES, "window_size": 4, "image_size": 20}),
}  # fmt: skip


double = vit.double
