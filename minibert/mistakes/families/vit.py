"""Mistakes of ViT, and of what reads pictures as patches: their order, the class token, positions, hidden patches."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops, vision
from minibert.mistakes.catalogue import GRADIENTS, entry, only, swap
from minibert.mistakes.swap import Replacement, edited, graded

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("vit", "swin")
LOSS = r"masked_pixels\.loss"
FORWARD, BACKWARD = (half.__wrapped__ for half in (vision.patch_embeddings, vision.patch_embeddings_backward))


def arranged(what: str, of: Callable[[Array, Tree], Array], back: Callable[[Array, Tree], Array]) -> Callable:
    """Patches (B, N, C·P·P) in another order, with the gradient that fits it."""

    def forward(x: Array, *, size: int) -> tuple[Array, Tree]:
        y, c = ops.patches(x, size=size)
        return of(y, c), c

    return swap(what, "patches", Replacement(forward, lambda dy, c: ops.patches_backward(back(dy, c), c)))


def _colours_behind(y: Array, c: Tree) -> Array:
    size, (_, channels, *_) = c["size"], c["shape"]
    return y.reshape(*y.shape[:2], channels, size, size).transpose(0, 1, 3, 4, 2).reshape(y.shape)


def _colours_in_front(y: Array, c: Tree) -> Array:
    size, (_, channels, *_) = c["size"], c["shape"]
    return y.reshape(*y.shape[:2], size, size, channels).transpose(0, 1, 4, 2, 3).reshape(y.shape)


def _turned(y: Array, c: Tree) -> Array:
    size = c["size"]
    return y.reshape(*y.shape[:2], -1, size, size).swapaxes(3, 4).reshape(y.shape)


def _columns(y: Array, c: Tree) -> Array:
    rows = c["shape"][2] // c["size"]
    return y.reshape(len(y), rows, -1, y.shape[2]).swapaxes(1, 2).reshape(y.shape)


def _rows(y: Array, c: Tree) -> Array:
    rows = c["shape"][2] // c["size"]
    return y.reshape(len(y), -1, rows, y.shape[2]).swapaxes(1, 2).reshape(y.shape)


def embedded(what: str, edit: Callable[[dict], dict], back: Callable[[Tree, Tree], Tree] = lambda g, c: g) -> Callable:
    """Patches embedded from other arguments: edit(by name) -> those that change; back(g, cache) -> g as it is due."""

    def forward(x: Array, p: Tree, token: Array | None = None, **given: Any) -> tuple[Array, Tree]:
        own = {"x": x, "p": p, "token": token, **given}
        return FORWARD(**{**own, **edit(own)})

    def backward(dy: Array, c: Tree) -> tuple[Any, ...]:
        dx, g, *dtoken = BACKWARD(dy, c)
        return dx, back(g, c), *dtoken

    return swap(what, "patch_embeddings", Replacement(forward, backward))


def _positions(edit: Callable[[Array], Array]) -> Callable[[dict], dict]:
    """Positions edited, of networks with a class token."""

    def of(given: dict) -> dict:
        p = given["p"]
        return {"p": {**p, "position": {"weight": edit(p["position"]["weight"])}}} if "class" in p else {}

    return of


def _placed(back: Callable[[Array], Array]) -> Callable[[Tree, Tree], Tree]:
    """The gradient of positions where they belong, of networks with a class token."""
    return lambda g, c: {**g, "position": {"weight": back(g["position"]["weight"])}} if c["first"] else g


def _replaced(given: dict) -> dict:
    """Pictures black where patches are hidden, and no token."""
    if given["hidden"] is None:
        return {}
    down, across = vision.grid(given["x"].shape, given["size"])
    seen = 1 - given["hidden"].reshape(-1, 1, down, across).repeat(given["size"], 2).repeat(given["size"], 3)
    return {"x": given["x"] * seen, "hidden": None}


def black(what: str) -> Callable:
    """The token is left out, and gets no gradient."""

    def forward(x: Array, p: Tree, token: Array | None = None, **given: Any) -> tuple[Array, Tree]:
        own = {"x": x, "p": p, "token": token, **given}
        y, c = FORWARD(**{**own, **_replaced(own)})
        return y, {**c, "token": token if given.get("hidden") is not None else None}

    def backward(dy: Array, c: Tree) -> tuple[Any, ...]:
        found = BACKWARD(dy, c)
        return (*found, np.zeros_like(c["token"])) if c["token"] is not None else found

    return swap(what, "patch_embeddings", Replacement(forward, backward))


def added(what: str) -> Callable:
    """The token is added to what it is to hide."""

    def forward(x: Array, p: Tree, token: Array | None = None, **given: Any) -> tuple[Array, Tree]:
        hidden, keep = given.get("hidden"), given.get("keep")
        y, c = FORWARD(x, p, token, **{**given, "hidden": None})
        if hidden is None:
            return y, {**c, "asked": ()}
        asked = hidden.astype(y.dtype)[..., None]
        own = slice(y.shape[1] - asked.shape[1], None)  # behind the class token
        asked = asked if keep is None else asked * keep[:, own] / (1 - given["rate"])
        y = y.copy()
        y[:, own] += asked * token
        return y, {**c, "asked": (asked, own)}

    def backward(dy: Array, c: Tree) -> tuple[Any, ...]:
        found = BACKWARD(dy, c)
        if not c["asked"]:
            return found
        asked, own = c["asked"]
        return (*found, (asked * dy[:, own]).sum((0, 1))[None])

    return swap(what, "patch_embeddings", Replacement(forward, backward))


def resampled(what: str, kernel: Callable[[int, int], Array]) -> Callable:
    """Positions taken to another size by kernel(n, m) -> (m, n)."""

    def forward(weight: Array, *, rows: int, columns: int) -> tuple[Array, Tree]:
        n = round(len(weight) ** 0.5)
        _, c = ops.resized(weight, rows=rows, columns=columns)
        c |= {"down": kernel(n, rows).astype(weight.dtype), "across": kernel(n, columns).astype(weight.dtype)}
        y = np.tensordot(c["down"], c["across"] @ weight.reshape(n, n, -1), (1, 0))
        return y.reshape(rows * columns, -1), c

    return swap(what, "resized", Replacement(forward, lambda dy, c: ops.resized_backward(dy, c)))


def _linear(n: int, m: int, ends: bool = False) -> Array:
    """(m, n): between two neighbours; ends: first on first, last on last."""
    at = np.linspace(0, n - 1, m) if ends else np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(n)))


def _nearest(n: int, m: int) -> Array:
    return np.eye(n)[np.arange(m) * n // m]


def _softer(n: int, m: int) -> Array:
    """a = -1/2, Keys' own and Pillow's."""
    at, found = (np.arange(m) + 0.5) * n / m - 0.5, np.zeros((m, n))
    for step in range(-1, 3):
        far, a = abs(at - np.floor(at) - step), -0.5
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        share = np.where(far <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)
        np.add.at(found, (np.arange(m), np.clip(np.floor(at).astype(int) + step, 0, n - 1)), share)
    return found


def asked(what: str, edit: Callable[[dict], dict], **fields: Any) -> Callable:
    """The distance of other arguments."""
    return swap(what, "mean_absolute_error", edited(ops.mean_absolute_error, edit), LOSS, **fields)


def _squared(x: Array, *, target: Array, weights: Array, denominator: float) -> tuple[Array, Tree]:
    return ops.mean_squared_error(x, target=target, weights=weights, denominator=denominator)


def _normalized(given: dict) -> dict:
    target = given["target"]
    return {"target": (target - target.mean(-1, keepdims=True)) / np.sqrt(target.var(-1, keepdims=True) + 1e-6)}


entry(
    "vit-01", "colours behind the pixels of a patch: (P, P, C)", "(C, P, P), as a convolution's kernel lies in memory",
    "src google-research/vision_transformer, models_vit.py (kernels (P, P, C, D))", "output", "OP-PATCH-1",
    families=FAMILY, when="where there are several colours",
    mutants=[arranged("(P, P, C)", _colours_behind, _colours_in_front)],
)  # fmt: skip
entry(
    "vit-02", "patches, or the pixels in them, column by column", "row by row",
    "own knowledge: unfold and reshape in another order", "output", "OP-PATCH-1", families=FAMILY,
    mutants=[
        arranged("patches column by column", _columns, _rows),
        arranged("pixels of a patch column by column", _turned, _turned),
    ],
)  # fmt: skip
entry(
    "vit-03", "the class token's position in another row", "row 0 is the class token's",
    "own knowledge: the class token appended behind", "output", "VIT-EMB-2", families=("vit",),
    mutants=[
        only("vit", maker) for maker in (
            embedded("the last row", _positions(lambda a: np.roll(a, 1, 0)),
                     _placed(lambda a: np.roll(a, -1, 0))),
            embedded("none: patches begin at row 0", _positions(lambda a: np.concatenate([0 * a[:1], a[:-1]])),
                     _placed(lambda a: np.concatenate([a[1:], 0 * a[:1]]))),
        )
    ],
)  # fmt: skip
entry(
    "vit-04", "no position for the class token", "every token has one, the class token row 0", "own knowledge",
    "output", "VIT-EMB-2", families=("vit",),
    mutants=[only("vit", embedded("none", _positions(lambda a: np.concatenate([0 * a[:1], a[1:]])),
                                  _placed(lambda a: np.concatenate([0 * a[:1], a[1:]]))))],
)  # fmt: skip
entry(
    "vit-05", "hidden patches black, without a mask token", "the mask token in the place of their embeddings",
    "own knowledge: pixels set to 0 before the projection", "output", "VIT-MIM-1", families=FAMILY,
    mutants=[black("black")],
)  # fmt: skip
entry(
    "vit-06", "positions taken to another size otherwise", "cubic, a = -3/4, centres on centres, not antialiased",
    "issue huggingface/transformers (interpolate_pos_encoding by scale_factor, align_corners)", "output", "OP-RESIZE-1",
    families=FAMILY, when="where a picture has another size",
    mutants=[
        resampled("bilinear", _linear),
        resampled("corners on corners", lambda n, m: _linear(n, m, True)),
        resampled("nearest", _nearest),
        resampled("a = -1/2", _softer),
        resampled("rows as they are, the last repeated", lambda n, m: np.eye(n)[np.minimum(np.arange(m), n - 1)]),
    ],
)  # fmt: skip
entry(
    "vit-07", "all pixels asked for", "those of hidden patches alone", "own knowledge: a denoising auto-encoder's loss",
    "loss", "HEAD-PIX-2", families=FAMILY,
    mutants=[
        asked("all", lambda given: {"weights": np.ones_like(given["weights"]), "denominator": given["weights"].size}),
        asked("those that are seen", lambda given: {"weights": 1 - given["weights"],
                                                    "denominator": (1 - given["weights"]).sum()}),
    ],
)  # fmt: skip
entry(
    "vit-08", "the sum divided by another number", "by the hidden pixels, an epsilon and the channels",
    "src transformers modeling_vit.py", "loss", "HEAD-PIX-2", families=FAMILY,
    mutants=[
        asked("by all pixels", lambda given: {"denominator": given["weights"].size}),
        asked("by the pictures", lambda given: {"denominator": len(given["weights"])}),
        asked("by the hidden pixels, once for all channels", lambda given: {"denominator": given["denominator"] / 2}),
    ],
)  # fmt: skip
entry(
    "vit-09", "without the epsilon in the divisor", "1e-5 beside the hidden pixels: SimMIM's",
    "src transformers modeling_vit.py", "loss", "HEAD-PIX-2", families=FAMILY, variant=True,
    mutants=[asked("none", lambda given: {"denominator": float(given["weights"].sum())})],
)  # fmt: skip
entry(
    "vit-10", "squares of differences", "their absolute values", "arXiv 2111.06377 (MAE: mean squared error)", "loss",
    "HEAD-PIX-2", families=FAMILY,
    mutants=[swap("squares", "mean_absolute_error",
                  Replacement(_squared, lambda dy, c: ops.mean_squared_error_backward(dy, c)), LOSS)],
)  # fmt: skip
entry(
    "vit-11", "pixels normalised patch by patch", "as they are read", "arXiv 2111.06377, section 4.1 (MAE)", "loss",
    "HEAD-PIX-2", families=FAMILY, mutants=[asked("normalised", _normalized)],
)  # fmt: skip
entry(
    "vit-12", "the mean of a batch as the gradient of what its rows share", "the sum",
    "own knowledge: positions, class and mask token are broadcast", "gradient", "VIT-EMB-4", families=FAMILY,
    mutants=[
        swap("positions", "patch_embeddings", graded(vision.patch_embeddings, lambda d, dy, c: (
            d[0], {**d[1], **({"position": {"weight": d[1]["position"]["weight"] / len(dy)}} if "placed" in c else {})},
            *d[2:])), section=GRADIENTS),
        swap("the class token", "patch_embeddings", graded(vision.patch_embeddings, lambda d, dy, c: (
            d[0], {**d[1], **({"class": {"weight": d[1]["class"]["weight"] / len(dy)}} if c["first"] else {})},
            *d[2:])), section=GRADIENTS),
        swap("the mask token", "patch_embeddings", graded(
            vision.patch_embeddings, lambda d, dy, c: (*d[:2], *(one / len(dy) for one in d[2:]))), section=GRADIENTS),
    ],
)  # fmt: skip
entry(
    "vit-13", "no gradient for the mask token", "the sum over hidden patches", "own knowledge: filled in as data",
    "gradient", "VIT-EMB-4", families=FAMILY,
    mutants=[swap("none", "patch_embeddings", graded(
        vision.patch_embeddings, lambda d, dy, c: (*d[:2], *(0 * one for one in d[2:]))), section=GRADIENTS)],
)  # fmt: skip
entry(
    "vit-14", "a gradient of hidden patches through their pixels", "none: the mask token stands there", "own knowledge",
    "gradient", "VIT-EMB-4", families=FAMILY,
    mutants=[swap("as if they were seen", "patch_embeddings", Replacement(
        FORWARD, lambda dy, c: (*BACKWARD(dy, {**c, "hidden": None}), *BACKWARD(dy, c)[2:]), faithful=False),
        section=GRADIENTS)],
)  # fmt: skip
entry(
    "vit-15", "first weights of a normal cut at two deviations", "cut at ±2: at 0.02 nothing is", "N9 of the facts: "
    "trunc_normal_ has absolute bounds", "nowhere", "VIT-INIT-1", families=FAMILY,
    reason="first weights are drawn from another generator anyway",
)  # fmt: skip
entry(
    "vit-16", "the mask token added to the patch", "the mask token in the place of its embedding",
    "own knowledge", "output", "VIT-MIM-1", families=FAMILY, mutants=[added("added")],
)  # fmt: skip
