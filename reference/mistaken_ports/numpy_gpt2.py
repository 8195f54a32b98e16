"""GPT-2 in plain NumPy, its backward pass by hand, as small ports in C have it: right; mistakes go in as edits.

`candidate(weights, inputs, facts)` gives {"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of a case.
"""

import numpy as np

K = (2 / np.pi) ** 0.5


def norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    xhat = centred * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def norm_backward(dy, cache):
    xhat, rstd, weight = cache
    dweight, dbias = (dy * xhat).sum((0, 1)), dy.sum((0, 1))
    g = dy * weight
    dx = rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True))
    return dx, dweight, dbias


def linear(x, weight, bias):
    return x @ weight + bias


def linear_backward(dy, x, weight):
    rows = dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, x.reshape(-1, x.shape[-1]).T @ rows, rows.sum(0)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(K * (x + 0.044715 * x**3)))


def gelu_backward(dy, x):
    t = np.tanh(K * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + 3 * 0.044715 * x**2))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - (dp * p).sum(-1, keepdims=True))


def split(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def merge(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def run(w, batch, config):
    """(every named tensor, every gradient) of one batch."""
    f, d, g, kept = {}, {}, {}, []
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    heads, eps, layers, T = config["n_head"], config["layer_norm_epsilon"], config["n_layer"], ids.shape[1]
    dtype = w["transformer.wte.weight"].dtype

    # forward
    f["transformer.wte"] = w["transformer.wte.weight"][ids]
    f["transformer.wpe"] = w["transformer.wpe.weight"][np.arange(T)][None]
    x = f["transformer.drop"] = f["transformer.wte"] + f["transformer.wpe"]
    sees = np.tril(np.ones((T, T), bool)) & (mask[:, None, None, :] != 0)
    for i in range(layers):
        at = f"transformer.h.{i}."
        part = lambda name, at=at: (w[f"{at}{name}.weight"], w[f"{at}{name}.bias"])  # noqa: E731
        n1, cache1 = norm(x, *part("ln_1"), eps)
        qkv = linear(n1, *part("attn.c_attn"))
        q, k, v = (split(a, heads) for a in np.split(qkv, 3, axis=-1))
        scale = dtype.type(q.shape[-1] ** -0.5)
        scores = q @ k.transpose(0, 1, 3, 2) * scale
        probs = softmax(np.where(sees, scores, np.finfo(dtype).min))
        context = merge(probs @ v)
        attn = linear(context, *part("attn.c_proj"))
        x1 = x + attn
        n2, cache2 = norm(x1, *part("ln_2"), eps)
        fc = linear(n2, *part("mlp.c_fc"))
        act = gelu(fc)
        mlp = linear(act, *part("mlp.c_proj"))
        x2 = x1 + mlp
        seen = {"ln_1": n1, "attn.c_attn": qkv, "attn.scores": scores, "attn.probs": probs, "attn.context": context,
                "attn.c_proj": attn, "attn": attn, "ln_2": n2, "mlp.c_fc": fc, "mlp.act": act, "mlp.c_proj": mlp,
                "mlp": mlp}  # fmt: skip
        f |= {at + name: value for name, value in seen.items()}
        f[at[:-1]] = x2
        kept.append((n1, cache1, q, k, v, scale, probs, context, n2, cache2, fc, act))
        x = x2
    final, cache = norm(x, w["transformer.ln_f.weight"], w["transformer.ln_f.bias"], eps)
    f["transformer.ln_f"] = final
    logits = f["lm_head"] = final @ w["transformer.wte.weight"].T
    asked, targets = logits[:, :-1], labels[:, 1:]
    counts = targets != -100
    p = softmax(asked)
    n = dtype.type(counts.sum())
    at_target = np.take_along_axis(p, np.where(counts, targets, 0)[..., None], -1)[..., 0]
    f["loss.next_token"] = f["loss"] = -(np.log(at_target) * counts).sum() / n

    # backward
    dlogits = np.zeros_like(logits)
    dlogits[:, :-1] = (p - np.eye(p.shape[-1], dtype=dtype)[np.where(counts, targets, 0)]) * counts[..., None] / n
    d["lm_head"] = dlogits
    dfinal = d["transformer.ln_f"] = dlogits @ w["transformer.wte.weight"]
    dtable = dlogits.reshape(-1, dlogits.shape[-1]).T @ final.reshape(-1, final.shape[-1])
    dx, g["transformer.ln_f.weight"], g["transformer.ln_f.bias"] = norm_backward(dfinal, cache)
    for i in reversed(range(layers)):
        at = f"transformer.h.{i}."
        n1, cache1, q, k, v, scale, probs, context, n2, cache2, fc, act = kept[i]
        d[at[:-1]] = dx
        dmlp = dx
        dact, dw, db = linear_backward(dmlp, act, w[at + "mlp.c_proj.weight"])
        g[at + "mlp.c_proj.weight"], g[at + "mlp.c_proj.bias"] = dw, db
        dfc = gelu_backward(dact, fc)
        dn2, g[at + "mlp.c_fc.weight"], g[at + "mlp.c_fc.bias"] = linear_backward(dfc, n2, w[at + "mlp.c_fc.weight"])
        through, g[at + "ln_2.weight"], g[at + "ln_2.bias"] = norm_backward(dn2, cache2)
        dx1 = dx + through
        dattn = dx1
        dcontext, dw, db = linear_backward(dattn, context, w[at + "attn.c_proj.weight"])
        g[at + "attn.c_proj.weight"], g[at + "attn.c_proj.bias"] = dw, db
        dout = split(dcontext, heads)
        dprobs = dout @ v.transpose(0, 1, 3, 2)
        dv = probs.transpose(0, 1, 3, 2) @ dout
        dscores = softmax_backward(dprobs, probs)
        dq = dscores @ k * scale
        dk = dscores.transpose(0, 1, 3, 2) @ q * scale
        dqkv = np.concatenate([merge(dq), merge(dk), merge(dv)], -1)
        dn1, dw, db = linear_backward(dqkv, n1, w[at + "attn.c_attn.weight"])
        g[at + "attn.c_attn.weight"], g[at + "attn.c_attn.bias"] = dw, db
        through, g[at + "ln_1.weight"], g[at + "ln_1.bias"] = norm_backward(dn1, cache1)
        grads = {"ln_1": dn1, "attn.c_attn": dqkv, "attn.scores": dscores, "attn.probs": dprobs,
                 "attn.context": dcontext, "attn.c_proj": dattn, "attn": dattn, "ln_2": dn2, "mlp.c_fc": dfc,
                 "mlp.act": dact, "mlp.c_proj": dmlp, "mlp": dmlp}  # fmt: skip
        d |= {at + name: value for name, value in grads.items()}
        dx = dx1 + through
    d["transformer.drop"] = d["transformer.wte"] = dx
    dpositions = d["transformer.wpe"] = dx.sum(0, keepdims=True)
    np.add.at(dtable, ids, dx)
    g["transformer.wte.weight"] = dtable
    g["transformer.wpe.weight"] = np.zeros_like(w["transformer.wpe.weight"])
    g["transformer.wpe.weight"][:T] = dpositions[0]
    return f, d, g


def update(w, g, m, v, k, rate, plan):
    """AdamW, in place; the norm of the whole gradient before clipping."""
    norm = np.sqrt(sum((a**2).sum() for a in g.values()))
    clip = min(1.0, plan["clip_norm"] / norm)
    for name, p in w.items():
        a = g[name] * p.dtype.type(clip)
        m[name] = 0.9 * m[name] + 0.1 * a
        v[name] = 0.999 * v[name] + 0.001 * a * a
        step = m[name] / (1 - 0.9**k) / (np.sqrt(v[name] / (1 - 0.999**k)) + 1e-8)
        decay = 0.0 if "ln_" in name or "bias" in name else plan["weight_decay"]
        w[name] = (p - rate * (step + decay * p)).astype(p.dtype)
    return norm


def candidate(weights, inputs, facts):
    batches = {}
    for name, value in inputs.items():
        at, _, rest = name.partition("/") if name[0].isdigit() else ("0", "", name)
        batches.setdefault(int(at), {})[rest] = value
    w, plan = dict(weights), facts.get("optimizer")
    f, d, g = run(w, batches[0], facts["config"])
    found = {f"forward/{n}": a for n, a in f.items()} | {f"gradients/{n}": a for n, a in {**d, **g}.items()}
    if not plan:
        return {n: np.array(a) for n, a in found.items()}
    m, v = ({n: np.zeros_like(a) for n, a in w.items()} for _ in "mv")
    for k in range(1, max(facts["steps"]) + 1):
        f, _, g = run(w, batches[(k - 1) % len(batches)], facts["config"])
        s = plan["first_step"] + k - 1
        rate = plan["learning_rate"] * (s / plan["warmup"] if s < plan["warmup"] else 1 - s / plan["total"])
        norm = update(w, g, m, v, k, rate, plan)
        if k in facts["steps"]:
            state = {"loss": f["loss"], "learning_rate": np.float64(rate), "gradient_norm": norm, **w}
            state |= {f"exp_avg.{n}": a for n, a in m.items()} | {f"exp_avg_sq.{n}": a for n, a in v.items()}
            found |= {f"steps/{k}/{n}": np.array(a) for n, a in state.items()}
    return {n: np.array(a) for n, a in found.items()}
