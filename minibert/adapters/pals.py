"""Projected attention layers: beside each layer a narrow one of a task's own (Stickland and Murray 2019, arXiv
1902.02671, section 3; AsaCooperStickland/Bert-n-Pals).

    t = gelu(V_D SA(V_E x)), x what enters the layer, SA self-attention without output projection                   (1)
    y = LN(a + Drop(f(a)) + t), a behind the layer's attention; y = a + Drop(f(LN a)) + t before a norm             (2)

V_E and V_D are a task's, for all layers; query, key and value a task's and a layer's. The GELU outside is in the code
alone. `layers.encoder_layer` and `layers.pre_norm_layer` apply what stands in a layer's tree as "pal"; in a model's
params it stands at the top: "pals", a list with a tree of each task: down (V_E), up (V_D), layers. Which of them a
batch goes through is the input "pals" (B,), all alike, 0 unless given.

up is 0 at the start, so that the network begins as it was: gelu(0) = 0.
"""

from typing import Any

import numpy as np

from minibert import tree
from minibert.config import require

Array = np.ndarray
Tree = dict[str, Any]

PART, OWN = "pals", "pal"
STD = 0.02  # of what is drawn, as in the code
NAMES = ("query", "key", "value")


def added(params: Tree, size: int, rng: np.random.Generator, *, tasks: tuple[str, ...], heads: int = 0) -> Tree:
    """The parameters, the same arrays, with projected attention of width `size` for each of these tasks; 0: a quarter
    of the network's, as many for each head. InputError for a network whose layers are no list.
    """
    found = _layers(params)
    require(found is not None, "no list of layers, beside which projected attention could stand")
    d, kind = len(params[found][0]["feed_forward"]["norm"]["weight"]), tree.leaves(params)[0].dtype
    heads = heads or 1
    size = size or heads * max(1, d // (4 * heads))
    require(size % heads == 0, f"projected attention {size} wide has no room for {heads} heads")

    def dense(out: int, width: int, std: float = STD) -> Tree:
        weight = std * rng.standard_normal((out, width))
        return {"weight": weight.astype(kind), "bias": np.zeros(out, kind)}

    def of_task() -> Tree:
        layers = [{name: dense(size, size) for name in NAMES} for _ in params[found]]
        return {"down": dense(size, d), "up": dense(d, size, 0.0), "layers": layers}

    return {**params, PART: [of_task() for _ in tasks or ("",)]}


def _layers(params: Tree) -> str | None:
    """The part that is a list of layers."""
    return next((name for name in ("encoder", "decoder") if isinstance(params.get(name), list)), None)



def stand(leaves: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """See `minibert.adapters`: of each task its own width."""
    found: dict[str, tuple[int, ...]] = {}
    layers = {path.split(".")[1] for path in shapes if path.split(".")[0] in ("encoder", "decoder")}
    for path in [path for path in leaves if path.startswith(f"{PART}.") and path.endswith("down.weight")]:
        if np.ndim(leaves[path]) != 2:
            continue
        own, (size, d) = path.removesuffix("down.weight"), leaves[path].shape
        dense = {"down": (size, d), "up": (d, size)}
        dense |= {f"layers.{i}.{name}": (size, size) for i in layers for name in NAMES}
        found |= {f"{own}{name}.weight": shape for name, shape in dense.items()}
        found |= {f"{own}{name}.bias": shape[:1] for name, shape in dense.items()}
    return found


def inputs(params: Tree) -> dict[str, str]:
    """What says which task's they are, of each row."""
    return {PART: f"?(B)<{len(params[PART])}"}


def put(p: Tree, inputs: Tree) -> tuple[Tree, Tree]:
    """The tree with one task's beside each layer."""
    chosen = np.unique(inputs[PART]) if PART in inputs else np.zeros(1, np.int64)
    require(len(chosen) == 1, f"pals: rows of the tasks {', '.join(map(str, chosen))} in one batch: give those of one")
    at, layers = int(chosen[0]), _layers(p)
    own = p[PART][at]
    beside = [{**layer, "down": own["down"], "up": own["up"]} for layer in own["layers"]]
    held = [{**layer, OWN: pal} for layer, pal in zip(p[layers], beside, strict=True)]
    plain = {name: part for name, part in p.items() if name != PART}
    return {**plain, layers: held}, {"at": at, "layers": layers, PART: p[PART]}


def applied(c: Tree) -> bool:
    """Whether the layers behind this cache of `encode` had it: those of some families have no place for it."""
    return any(OWN in path.split(".") for path, _ in tree.items(c["network"]))


def put_backward(g: Tree, c: Tree) -> Tree:
    """The gradient with that of the task's own, V_E's and V_D's summed over the layers; of the other tasks 0."""
    layers = g[c["layers"]]
    beside, plain = [layer[OWN] for layer in layers], [{**layer} for layer in layers]
    for layer in plain:
        del layer[OWN]
    own = {"layers": [{name: layer[name] for name in NAMES} for layer in beside]}
    for name in ("down", "up"):
        total = beside[0][name]
        for layer in beside[1:]:
            total = tree.add(total, layer[name])
        own[name] = total
    own = {name: own[name] for name in c[PART][c["at"]]}
    found = [own if i == c["at"] else tree.zeros_like(other) for i, other in enumerate(c[PART])]
    return {**g, c["layers"]: plain, PART: found}
