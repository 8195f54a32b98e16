"""Optimizers, learning-rate schedules and gradient clipping, as functions over trees.

An optimizer is a pair: `NAME_state(params)` makes its state, a plain dict of a step count and trees shaped
like the parameters; `NAME(params, grads, state, lr=…)` writes parameters and state IN PLACE. It walks memory
once, block by block, through two small scratch rows per thread; every block is elementwise, so the number of
threads changes no bit. Weight decay is data: {path: rate}, from `decay_rates`; None is no decay. The gradients count
times `scale`, from `clipping`.

Sources: google-research/bert optimization.py (BERT's Adam and schedule), torch.optim (AdamW, SGD), fairseq
(RoBERTa's Adam, Adafactor), TensorFlow clip_by_global_norm (clipping).
"""

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from minibert import kernels, tree
from minibert.config import listed, real, require, shown, whole
from minibert.errors import InputError

SHARE = 16  # blocks a thread takes at a time
MOST = 2**53  # steps: floats tell no more of them apart
SHARES = ("beta1", "beta2", "momentum")  # constants of at most 1


def decays(path: str) -> bool:
    """Whether a parameter at this path of the tree decays: neither a bias nor a norm's, as in BERT's release."""
    *parts, leaf = path.split(".")
    return not leaf.startswith("bias") and parts[-1:] != ["norm"]


def decay_rates(names: Iterable[tuple], rate: float, undecayed: Iterable[str] = (),
                decays: Callable[[str], bool] = decays) -> dict[str, float]:
    """{path: rate where decays(path), else 0}, from rows (path, published name, …); `undecayed`: paths at 0 besides."""
    rate, rows = real("rate", rate, most=sys.float_info.max), listed("names", names)
    for row in rows:
        fits = isinstance(row, tuple | list) and len(row) > 1 and all(isinstance(text, str) for text in row[:2])
        if not fits:
            raise InputError(f"names holds {shown(row)}: expected rows (path, published name, …)")
    spared = set(undecayed)
    return {path: rate if decays(path) and path not in spared else 0.0 for path, *_ in rows}


def all_decay_rates(names: Iterable[tuple], rate: float, undecayed: Iterable[str] = ()) -> dict[str, float]:
    """The same rate for every parameter, norms, biases and what a family names undecayed too."""
    return decay_rates(names, rate, decays=lambda path: True)


# ------------------------------------------------------------------------------------------------------ checks

Shape = tuple[int, ...]


def _update(*slots: str, **shaped: Callable[[Shape], Shape]) -> Callable:
    """Declares an optimizer whose state has these slots, trees like the parameters; shaped: their arrays' shapes from
    the parameters', where they are others. All arguments are checked before anything is written to.
    """
    def declared(f: Callable) -> Callable:
        defaults = {name: parameter.default for name, parameter in inspect.signature(f).parameters.items()}

        @functools.wraps(f)
        def checked(params: Any, grads: Any, state: dict, *, lr: float, decay: Any = None, scale: float = 1.0,
                    **constants: float) -> None:
            if not (isinstance(state, dict) and state.keys() == {"step", *slots, *shaped}):
                raise InputError(f"state {shown(state)}: expected what the optimizer's own …_state(params) makes")
            whole("state's step", state["step"])
            held = {name: state[name] for name in (*slots, *shaped)}
            paths = _alike({"params": params, "grads": grads, **held}, shaped)
            lr = real("lr", lr, most=sys.float_info.max)
            scale = real("scale", scale, most=sys.float_info.max)
            for name, value in constants.items():
                if isinstance(defaults.get(name), bool):
                    require(isinstance(value, bool), f"{name} {shown(value)}: expected True or False")
                else:
                    real(name, value, most=1.0 if name in SHARES else sys.float_info.max)
            if decay is not None:
                if not isinstance(decay, Mapping):
                    raise InputError(f"decay {shown(decay)}: expected rates by path (`decay_rates`)")
                for path in paths if decay else ():
                    require(path in decay, f"decay lacks {path!r}; `decay_rates` gives a rate for every path")
                    real(f"decay[{path!r}]", decay[path], most=sys.float_info.max)
            f(params, grads, state, lr=lr, decay=decay, scale=scale, **constants)
        return checked
    return declared


def _alike(trees: dict[str, Any], shaped: Mapping[str, Callable[[Shape], Shape]] = MappingProxyType({})) -> list[str]:
    """The paths of the named trees; InputError unless all have the same, each with an array of reals of one shape, or
    of that which `shaped` makes of it for this tree.
    """
    flat = {name: tree.flatten(t) for name, t in trees.items()}
    first, *others = flat
    for name, leaves in flat.items():
        for path, leaf in leaves.items():
            usable = isinstance(leaf, np.ndarray) and not isinstance(leaf, np.ma.MaskedArray) and leaf.dtype.kind == "f"
            if not (path and usable):
                raise InputError(f"{name}: {shown(path)} is {shown(leaf)}: expected a tree of floating-point arrays")
    for name in others:
        held = flat[name]
        for path, leaf in flat[first].items():
            if path not in held:
                raise InputError(f"{name} lacks {path!r}, which {first} has")
            if held[path].shape != (shaped[name](leaf.shape) if name in shaped else leaf.shape):
                raise InputError(f"{path}: shapes of parameter, gradient and state differ: "
                                 f"{first} {leaf.shape}, {name} {held[path].shape}")
        spare = flat[name].keys() - flat[first].keys()
        require(not spare, f"{name} has {min(spare, default='')!r}, which {first} lacks")
    return list(flat[first])


# ----------------------------------------------------------------------------------------------- BERT's Adam

def bert_adam_state(params: Any) -> dict:
    """First and second moments at zero. The slots have the release's names."""
    _alike({"params": params})
    return {"step": 0, "adam_m": tree.zeros_like(params), "adam_v": tree.zeros_like(params)}


@_update("adam_m", "adam_v")
def bert_adam(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
              scale: float = 1.0, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-6):
    """AdamWeightDecayOptimizer of the BERT release: no bias correction, decoupled decay of the old parameter.

    m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;  p = p - lr (m / (sqrt(v) + eps) + decay[path] p)
    """
    def block(path, p, g, m, v, a, b):
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=a)
        v *= beta2
        np.square(g, out=a)
        v += np.multiply(a, 1 - beta2, out=a)
        np.sqrt(v, out=a)
        a += eps
        np.divide(m, a, out=a)
        if decay and decay[path]:
            a += np.multiply(p, decay[path], out=b)
        p -= np.multiply(a, lr, out=a)

    state["step"] += 1
    _walk(block, [params, grads, state["adam_m"], state["adam_v"]], scale)


# ------------------------------------------------------------------------------------------------------ LAMB

@_update("adam_m", "adam_v")
def lamb(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
         scale: float = 1.0, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-6):
    """LAMB of the ALBERT release (arXiv 1904.00962, algorithm 2, without its bias correction and clipping of norms).

    u = m / (sqrt(v) + eps) + decay[path] p, m and v as in `bert_adam`; p = p - lr ‖p‖/‖u‖ u, the norms of the whole
    tensor. The ratio is 1 where either norm is 0, and for biases and norms. Takes one tensor's room for u.
    """
    def direction(path, p, g, m, v, u, a, b):
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=a)
        v *= beta2
        np.square(g, out=a)
        v += np.multiply(a, 1 - beta2, out=a)
        np.sqrt(v, out=a)
        a += eps
        np.divide(m, a, out=u)
        if decay and decay[path]:
            u += np.multiply(p, decay[path], out=a)

    def step(path, p, u, a, b):
        p -= np.multiply(u, lr * ratio, out=a)

    state["step"] += 1
    g, m, v = (tree.flatten(t) for t in (grads, state["adam_m"], state["adam_v"]))
    for path, p in tree.items(params):
        u = np.empty_like(p)
        _walk(direction, [{path: leaf} for leaf in (p, g[path], m[path], v[path], u)], scale)
        old, new = (_norm(p), _norm(u)) if decays(path) else (0.0, 0.0)
        ratio = old / new if old and new else 1.0
        _walk(step, [{path: p}, {path: u}])


def _norm(x: np.ndarray) -> float:
    """Summed in float64, in one go: no number of threads or blocks changes it."""
    return float(np.sqrt(np.square(x, dtype=np.float64).sum()))


# ----------------------------------------------------------------------------------------------------- AdamW

def adamw_state(params: Any) -> dict:
    """First and second moments at zero, under torch's names."""
    _alike({"params": params})
    return {"step": 0, "exp_avg": tree.zeros_like(params), "exp_avg_sq": tree.zeros_like(params)}


@_update("exp_avg", "exp_avg_sq")
def adamw(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
          scale: float = 1.0, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
    """torch.optim.AdamW: decay first, both moments corrected, eps added to the corrected root.

    p = (1 - lr decay[path]) p;  p = p - lr / (1-β1^t) · m / (sqrt(v) / sqrt(1-β2^t) + eps)
    """
    state["step"] += 1
    root = math.sqrt(1 - beta2 ** state["step"])
    step_size = lr * root / (1 - beta1 ** state["step"])

    def block(path, p, g, m, v, a, b):
        if decay and decay[path]:
            p *= 1 - lr * decay[path]
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=a)
        v *= beta2
        np.square(g, out=a)
        v += np.multiply(a, 1 - beta2, out=a)
        np.sqrt(v, out=a)
        a += eps * root  # m / (sqrt(v) / root + eps), a pass less
        np.divide(m, a, out=a)
        p -= np.multiply(a, step_size, out=a)

    _walk(block, [params, grads, state["exp_avg"], state["exp_avg_sq"]], scale)


# -------------------------------------------------------------------------------------------- RoBERTa's Adam

@_update("exp_avg", "exp_avg_sq")
def roberta_adam(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
                 scale: float = 1.0, beta1: float = 0.9, beta2: float = 0.98, eps: float = 1e-6):
    """fairseq's Adam: decay first, both corrections in the step size, eps added to the uncorrected root.

    p = (1 - lr decay[path]) p;  p = p - lr sqrt(1-β2^t) / (1-β1^t) · m / (sqrt(v) + eps)
    """
    state["step"] += 1
    step_size = lr * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])

    def block(path, p, g, m, v, a, b):
        if decay and decay[path]:
            p *= 1 - lr * decay[path]
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=a)
        v *= beta2
        np.square(g, out=a)
        v += np.multiply(a, 1 - beta2, out=a)
        np.sqrt(v, out=a)
        a += eps
        np.divide(m, a, out=a)
        p -= np.multiply(a, step_size, out=a)

    _walk(block, [params, grads, state["exp_avg"], state["exp_avg_sq"]], scale)


# ------------------------------------------------------------------------------------------------------- SGD

def sgd_state(params: Any) -> dict:
    """The momentum buffer at zero, under torch's name."""
    _alike({"params": params})
    return {"step": 0, "momentum_buffer": tree.zeros_like(params)}


@_update("momentum_buffer")
def sgd(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
        scale: float = 1.0, momentum: float = 0.9):
    """torch.optim.SGD: decay is added to the gradient, the rate stays outside the momentum.

    b = momentum b + g + decay[path] p;  p = p - lr b
    """
    def block(path, p, g, m, a, b):
        m *= momentum
        m += g
        if decay and decay[path]:
            m += np.multiply(p, decay[path], out=a)
        p -= np.multiply(m, lr, out=a)

    state["step"] += 1
    _walk(block, [params, grads, state["momentum_buffer"]], scale)


def plain_sgd_state(params: Any) -> dict:
    """Nothing but the count of steps."""
    _alike({"params": params})
    return {"step": 0}


@_update()
def plain_sgd(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
              scale: float = 1.0):
    """p = p - lr (g + decay[path] p): stochastic gradient descent, and nothing else."""
    def block(path, p, g, a, b):
        np.multiply(g, lr, out=a)
        if decay and decay[path]:
            a += np.multiply(p, lr * decay[path], out=b)
        p -= a

    state["step"] += 1
    _walk(block, [params, grads], scale)


# --------------------------------------------------------------------------------------------------- AdaGrad

def glove_adagrad_state(params: Any) -> dict:
    """The sums of squares at one, under the release's name."""
    _alike({"params": params})
    return {"step": 0, "gradsq": tree.map(np.ones_like, params)}


@_update("gradsq")
def glove_adagrad(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
                  scale: float = 1.0):
    """AdaGrad as GloVe's release has it: the rate within the sum, which starts at 1 and counts what came before.

    s = lr (g + decay[path] p);  p = p - s / sqrt(a);  a = a + s²
    """
    def block(path, p, g, total, a, b):
        np.multiply(g, lr, out=a)
        if decay and decay[path]:
            a += np.multiply(p, lr * decay[path], out=b)
        p -= np.divide(a, np.sqrt(total, out=b), out=b)
        total += np.multiply(a, a, out=b)

    state["step"] += 1
    _walk(block, [params, grads, state["gradsq"]], scale)


# ------------------------------------------------------------------------------------------------ averaged SGD

def averaged(mean: Any, params: Any, count: int) -> Any:
    """The mean of `count` + 1 trees of parameters, of which `mean` is that of the first `count` and params the last:
    a new tree (Polyak and Juditsky 1992; torch.optim.ASGD's `ax` with t0 = 0 begins with the second). count 0: a copy.
    """
    count = whole("count", count, 0, MOST)
    if count == 0:
        _alike({"params": params})
        return tree.map(np.copy, params)
    _alike({"params": params, "mean": mean})
    return tree.map(lambda a, p: a + (p - a) / a.dtype.type(count + 1), mean, params)


def non_monotone(losses: Iterable[float], interval: int = 5) -> bool:
    """Whether averaging begins behind these validation losses (NT-ASGD: arXiv 1708.02182, algorithm 1): the last is
    above the least of all but the last `interval`.
    """
    losses, interval = [real("a loss", loss) for loss in losses], whole("interval", interval, 1, MOST)
    return len(losses) > interval and losses[-1] > min(losses[:-interval])


# ------------------------------------------------------------------------------------------------- Adafactor

def _rows(shape: Shape) -> Shape:
    return (*shape[:-1], 1) if len(shape) > 1 else shape


def _columns(shape: Shape) -> Shape:
    return (*shape[:-2], 1, shape[-1]) if len(shape) > 1 else (1,) * len(shape)


def adafactor_state(params: Any) -> dict:
    """Second moments at zero: of a matrix (n, m) the means of its rows, (n, 1), and of its columns, (1, m), of a vector
    its squares in the first and nothing, one 0, in the second. Slots have the names of the ports.
    """
    _alike({"params": params})
    return {"step": 0, "exp_avg_sq_row": tree.map(lambda p: np.zeros(_rows(p.shape), p.dtype), params),
            "exp_avg_sq_col": tree.map(lambda p: np.zeros(_columns(p.shape), p.dtype), params)}


def adafactor_momentum_state(params: Any) -> dict:
    """The same, and the first moment at zero."""
    return {**adafactor_state(params), "exp_avg": tree.zeros_like(params)}


@_update(exp_avg_sq_row=_rows, exp_avg_sq_col=_columns)
def adafactor(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
              scale: float = 1.0, decay_rate: float = 0.8, eps1: float = 1e-30, eps2: float = 1e-3, clip: float = 1.0,
              scale_parameter: bool = True):
    """Adafactor without momentum, as T5 is trained (Shazeer and Stern, arXiv 1804.04235, algorithms 4 and 5).

    β = 1 - t^-decay_rate;  R, C = β R + (1-β) mean of g² + eps1 over each row, column;  v = R C / mean(R), of vectors
    v = β v + (1-β)(g² + eps1);  u = g / sqrt(v);  u = u / max(1, RMS(u) / clip)
    α = lr max(eps2, RMS(p)), or lr without scale_parameter;  p = (1 - α decay[path]) p - α u

    lr is the relative step size: SCHEDULES has the paper's and T5's. clip: the largest float is no clipping. Moments
    are summed in float64 and kept in the parameter's dtype. Takes the room of three tensors in float64.
    """
    beta = 1 - (state["step"] + 1) ** -decay_rate
    _factored(params, grads, state, lr, decay, scale, beta, eps1, eps2, clip, scale_parameter, 0.0)


@_update(exp_avg_sq_row=_rows, exp_avg_sq_col=_columns)
def grover_adafactor(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
                     scale: float = 1.0, beta2: float = 0.999, eps1: float = 1e-30, clip: float = 1.0):
    """Adafactor as Grover is trained (rowanz/grover, `lm/optimization_adafactor.py`): β = beta2 at every step, nothing
    that corrects its beginning at 0, α = lr; else as `adafactor`.
    """
    _factored(params, grads, state, lr, decay, scale, beta2, eps1, 0.0, clip, False, 0.0)


@_update("exp_avg", exp_avg_sq_row=_rows, exp_avg_sq_col=_columns)
def adafactor_momentum(params: Any, grads: Any, state: dict, *, lr: float, decay: Mapping[str, float] | None = None,
                       scale: float = 1.0, beta1: float = 0.9, decay_rate: float = 0.8, eps1: float = 1e-30,
                       eps2: float = 1e-3, clip: float = 1.0, scale_parameter: bool = True):
    """Adafactor with momentum, of the updates (the paper's section 9's first form): m = β1 m + (1-β1) α u, and
    p = (1 - α decay[path]) p - m; else as `adafactor`.
    """
    beta = 1 - (state["step"] + 1) ** -decay_rate
    _factored(params, grads, state, lr, decay, scale, beta, eps1, eps2, clip, scale_parameter, beta1)


def _factored(params: Any, grads: Any, state: dict, lr: float, decay: Mapping[str, float] | None, scale: float,
              beta: float, eps1: float, eps2: float, clip: float, scale_parameter: bool, beta1: float) -> None:
    """Tensor by tensor, in one go: no number of threads or blocks changes a bit."""
    state["step"] += 1
    flat = {name: tree.flatten(t) for name, t in {"grads": grads, **state}.items() if name != "step"}
    for path, p in tree.items(params):
        g = flat["grads"][path].astype(np.promote_types(p.dtype, np.float64)) * scale
        v = _second_moment(g, flat["exp_avg_sq_row"][path], flat["exp_avg_sq_col"][path], beta, eps1)
        u = g / np.sqrt(v)
        alpha = lr * max(eps2, _mean_square(p) ** 0.5) if scale_parameter else lr
        u *= alpha / max(1.0, _mean_square(u) ** 0.5 / clip)
        if "exp_avg" in flat:
            m = flat["exp_avg"][path]
            m *= beta1
            m += (1 - beta1) * u
            u = m
        if decay and decay[path]:
            p *= 1 - alpha * decay[path]
        p -= u


def _second_moment(g: np.ndarray, rows: np.ndarray, columns: np.ndarray, beta: float, eps1: float) -> np.ndarray:
    """v in the gradient's dtype, after the moments were brought up to date."""
    square = np.square(g) + eps1
    if g.ndim < 2:
        rows[...] = beta * rows + (1 - beta) * square
        return rows.astype(g.dtype)
    rows[...] = beta * rows + (1 - beta) * square.mean(axis=-1, keepdims=True)
    columns[...] = beta * columns + (1 - beta) * square.mean(axis=-2, keepdims=True)
    wide = rows.astype(g.dtype)
    return wide / wide.mean(axis=-2, keepdims=True) * columns


def _mean_square(x: np.ndarray) -> float:
    return float(np.square(x, dtype=np.float64).mean()) if x.size else 0.0


OPTIMIZERS = {"bert_adam": (bert_adam_state, bert_adam), "lamb": (bert_adam_state, lamb), "adamw": (adamw_state, adamw),
              "roberta_adam": (adamw_state, roberta_adam), "sgd": (sgd_state, sgd),
              "plain_sgd": (plain_sgd_state, plain_sgd), "glove_adagrad": (glove_adagrad_state, glove_adagrad),
              "adafactor": (adafactor_state, adafactor), "grover_adafactor": (adafactor_state, grover_adafactor),
              "adafactor_momentum": (adafactor_momentum_state, adafactor_momentum)}
ROWWISE = ("plain_sgd", "glove_adagrad")  # what has gradient 0 keeps its value and its state, where nothing decays
DECAY_RATES = dict.fromkeys(OPTIMIZERS, decay_rates) | {"roberta_adam": all_decay_rates}


# --------------------------------------------------------------------------------------------- blocks and clipping

def _blocks(trees: list) -> list[tuple]:
    """(path, views…): every leaf cut along its first axis, so that writing to a view writes to the leaf."""
    flat = [tree.flatten(t) for t in trees]
    blocks = []
    for path in flat[0]:
        rows = [np.atleast_1d(f[path]) for f in flat]
        length = max(1, kernels.BLOCK * len(rows[0]) // max(1, rows[0].size))
        blocks += [(path, *(r[i:i + length] for r in rows)) for i in range(0, len(rows[0]), length)]
    return blocks


def _walk(block: Callable, trees: list, scale: float = 1.0) -> None:
    """block(path, views…, scratch, scratch) for every block of the trees' leaves; the second view times `scale`."""
    def share(part: slice) -> None:
        for path, p, g, *views in blocks[part]:
            a, b, scaled = kernels.scratch(3, p)
            block(path, p, g if scale == 1 else np.multiply(g, scale, out=scaled), *views, a, b)

    blocks = _blocks(trees)
    kernels.over_blocks(share, len(blocks), SHARE)


def global_norm(grads: Any) -> float:
    """The euclidean norm over all leaves together (a tied tensor is one leaf), summed in float64."""
    def share(part: slice) -> float:
        total = 0.0
        for _, g in blocks[part]:
            wide = kernels.scratch(1, g, np.promote_types(g.dtype, np.float64))[0].reshape(-1)
            wide[...] = g.reshape(-1)
            total += float(np.einsum("i,i->", wide, wide))
        return total

    _alike({"grads": grads})
    blocks = _blocks([grads])
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(sum(kernels.over_blocks(share, len(blocks), SHARE))))


def clip(grads: Any, max_norm: float, names: Mapping[str, str] = MappingProxyType({})) -> tuple:
    """(g · max_norm / max(norm, max_norm), norm before): `clipping`, applied."""
    scale, norm = clipping(grads, max_norm, names)
    return grads if scale == 1 else tree.map(lambda g: kernels.scaled(g, scale), grads), norm


def clipping(grads: Any, max_norm: float, names: Mapping[str, str] = MappingProxyType({})) -> tuple[float, float]:
    """(max_norm / max(norm, max_norm), norm): TensorFlow's form, which has no epsilon; an optimizer takes the first as
    its `scale`, which saves a copy of the gradient.

    A gradient that is not finite raises InputError with the first such tensor's name (`names`: path → name).
    Nothing has been updated then, so parameters and moments are those of the last good step.
    """
    max_norm = real("max_norm", max_norm, sys.float_info.min)
    norm = global_norm(grads)
    if not math.isfinite(norm):
        bad = next((path for path, g in tree.items(grads) if not np.isfinite(g).all()), None)
        what = f"gradient of {names.get(bad, bad)} is not finite" if bad else "the gradient's norm overflows"
        raise InputError(f"{what}: lower the learning rate, or look for extreme weights")
    return (1.0 if norm <= max_norm else max_norm / norm), norm


# ------------------------------------------------------------------------------------------------- schedules

def _schedule(f: Callable) -> Callable:
    """Declares a schedule: its arguments are checked."""
    @functools.wraps(f)
    def checked(step: int, *, peak: float, warmup: int, total: int) -> float:
        peak = real("peak", peak, most=sys.float_info.max)
        given = (("step", step, 0), ("warmup", warmup, 0), ("total", total, 1))
        step, warmup, total = (whole(name, value, least, MOST) for name, value, least in given)
        return f(step, peak=peak, warmup=warmup, total=total)
    return checked


@_schedule
def bert_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """The release's rate after `step` updates: peak (1 - step/total); in warm-up peak step/warmup instead.

    The decay counts from step 0, so the rate drops where warm-up ends. rate(0) = 0 (with warm-up); never < 0.
    """
    if step < warmup:
        return peak * step / warmup
    return peak * max(0.0, 1 - step / total)


@_schedule
def linear_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Warm-up to the peak at step = warmup, then straight down to 0 at total: continuous; never negative."""
    if step < warmup:
        return peak * step / warmup
    return peak * max(0.0, (total - step) / max(1, total - warmup))


@_schedule
def constant_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Warm-up to the peak at step = warmup, then the peak."""
    return peak * min(1.0, step / warmup) if warmup else peak


@_schedule
def electra_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """ELECTRA's: the decayed rate times min(1, step/warmup), so continuous, and below the peak at step = warmup."""
    return peak * max(0.0, 1 - step / total) * (min(1.0, step / warmup) if warmup else 1.0)


@_schedule
def transformer_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """The Transformer's (Vaswani et al., arXiv 1706.03762, section 5.3): up to the peak, then down as 1 / sqrt(s).

    d^-0.5 min(s^-0.5, s warmup^-1.5), s = step + 1, is this with a peak of (d warmup)^-0.5.
    """
    return peak * min((max(1, warmup) / (step + 1)) ** 0.5, (step + 1) / max(1, warmup))


@_schedule
def t5_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """T5's (arXiv 1910.10683, section 3.1.2): the peak while step <= warmup, then down as 1 / sqrt(step).

    1 / sqrt(max(step, warmup)) is this with a peak of warmup^-0.5: 0.01 for the paper's 10,000.
    """
    return peak * (max(1, warmup) / max(step, warmup, 1)) ** 0.5


@_schedule
def adafactor_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Adafactor's own (arXiv 1804.04235, section 8): min(peak, 1 / sqrt(t)), t = step + 1; with warm-up min(peak t /
    warmup, 1 / sqrt(t)). The paper's peak is 0.01, and 1e-6 t is a warm-up of 10,000.
    """
    return min(peak * (min(1.0, (step + 1) / warmup) if warmup else 1.0), (step + 1) ** -0.5)


@_schedule
def slanted_triangular_schedule(step: int, *, peak: float, warmup: int, total: int) -> float:
    """ULMFiT's (Howard and Ruder 2018, arXiv 1801.06146, eq. 3): straight from peak/32 up to the peak at step = warmup,
    straight down to peak/32 at total; then it stays.
    """
    rise = step / warmup if step < warmup else 1 - (step - warmup) / max(1, total - warmup)
    return peak * (1 + max(0.0, rise) * 31) / 32


SCHEDULES = {"bert": bert_schedule, "linear": linear_schedule, "constant": constant_schedule,
             "electra": electra_schedule, "transformer": transformer_schedule, "t5": t5_schedule,
             "adafactor": adafactor_schedule, "slanted_triangular": slanted_triangular_schedule}
