"""Reformer's network: LN([y1; y2]) of reversible layers over x1 = x2 = E_word[x] + e[t], rows in whole chunks.

p, config and batch (dicts; ids and mask lists (b, t), rotations of each hashed layer) -> (b, t, 2D). e: axial positions
or a table. Rows longer than the shortest chunk are padded to whole chunks of each kind.
Kitaev et al. 2020 (2001.04451), sections 2 and 3; SPEC REFORMER-EMB to REFORMER-OUT.
"""

import math

from .axial_positions import axial_positions
from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each
from .reformer_layer import reformer_layer


def reformer_encode(p, config, batch):
    ids, mask, tables = batch["input_ids"], batch.get("attention_mask") or batch.get("input_mask"), p["embeddings"]
    chunks, length = [config[f"{kind}_attn_chunk_length"] for kind in config["attn_layers"]], len(ids[0])
    rest = -length % math.lcm(*chunks) if length > min(chunks) else 0
    most = math.prod(config["axial_pos_shape"]) if "axial" in tables else len(tables["position"]["weight"])
    most = min(config["max_position_embeddings"], most)
    places = batch.get("position_ids") or [list(range(length)) for _ in ids]
    places = [[*row, *(min(t, most - 1) for t in range(length, length + rest))] for row in places]
    mask = [[*row, *[0] * rest] for row in mask or [[1] * length for _ in ids]] if rest or mask else None
    x = embedding(**tables["word"], ids=[[*row, *[config["pad_token_id"] or 0] * rest] for row in ids])
    e = axial_positions(tables["axial"], places) if "axial" in tables else embedding(**tables["position"], ids=places)
    x, rotations = each(0, lambda a, b: a + b, x, e), iter(batch.get("rotations") or [])
    x = [x, x]
    for kind, layer in zip(config["attn_layers"], p["encoder"], strict=True):
        x = reformer_layer(x, layer, config, kind, mask, next(rotations, None) if kind == "lsh" else None)
    y = each(1, lambda a, b: [*a, *b], *x)
    return [rows[:length] for rows in layer_norm(y, **p["norm"], eps=config["layer_norm_eps"])]
