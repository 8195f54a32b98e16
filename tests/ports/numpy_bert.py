"""BERT's pre-training pass in plain NumPy, forward and backward by hand: right; mistakes go in as edits."""

import math
import re

import numpy as np

K = (2 / np.pi) ** 0.5
ERF = np.vectorize(math.erf, otypes=[float])


def phi(x):
    return (0.5 * (1 + ERF(x / 2**0.5))).astype(x.dtype)


def density(x):
    return np.exp(-0.5 * x * x) / x.dtype.type((2 * np.pi) ** 0.5)


def act(x, kind):
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "gelu":
        return x * phi(x)
    return 0.5 * x * (1 + np.tanh(K * (x + 0.044715 * x**3)))


def act_backward(dy, x, kind):
    if kind == "relu":
        return dy * (x > 0)
    if kind == "gelu":
        return dy * (phi(x) + x * density(x))
    t = np.tanh(K * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + 3 * 0.044715 * x**2))


def norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def norm_backward(dy, cache):
    xhat, rstd, weight = cache
    axes = tuple(range(dy.ndim - 1))
    dweight, dbias = (dy * xhat).sum(axes), dy.sum(axes)
    dxhat = dy * weight
    mean1 = dxhat.mean(-1, keepdims=True)
    mean2 = (dxhat * xhat).mean(-1, keepdims=True)
    return rstd * (dxhat - mean1 - xhat * mean2), dweight, dbias


def linear(x, weight, bias):
    return x @ weight.T + bias


def linear_backward(dy, x, weight):
    dy2, x2 = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    return dy @ weight, dy2.T @ x2, dy2.sum(0)


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
    f, d, g, kept = {}, {}, {}, []
    ids = batch["input_ids"]
    B, T = ids.shape
    mask = batch.get("input_mask", np.ones_like(ids))
    types = batch.get("segment_ids", np.zeros_like(ids))
    heads, eps, kind = config["num_attention_heads"], config["layer_norm_eps"], config["hidden_act"]
    layers, hrate, arate = (
        config["num_hidden_layers"],
        config["hidden_dropout_prob"],
        config["attention_probs_dropout_prob"],
    )
    E = "bert.embeddings."
    dtype = w[E + "word_embeddings.weight"].dtype

    def W(name):
        return w[name + ".weight"], w[name + ".bias"]

    def keep(name, rate):
        held = batch.get("dropout/" + name)
        return None if held is None else held.astype(dtype) / dtype.type(1 - rate)

    def drop(x, m):
        return x if m is None else x * m

    # embeddings
    f[E + "word_embeddings"] = w[E + "word_embeddings.weight"][ids]
    f[E + "token_type_embeddings"] = w[E + "token_type_embeddings.weight"][types]
    f[E + "position_embeddings"] = w[E + "position_embeddings.weight"][np.arange(T)][None]
    summed = f[E + "word_embeddings"] + f[E + "token_type_embeddings"] + f[E + "position_embeddings"]
    normed, ecache = norm(summed, *W(E + "LayerNorm"), eps)
    f[E + "LayerNorm"] = normed
    ekeep = keep(E + "dropout", hrate)
    x = f["bert.embeddings"] = drop(normed, ekeep)
    lowest = {"min": np.finfo(dtype).min, "-10000": -1e4, "-1e9": -1e9}[config.get("mask_constant", "min")]
    bias = np.where(mask[:, None, None, :] != 0, 0, lowest).astype(dtype)

    # encoder
    for i in range(layers):
        L = f"bert.encoder.layer.{i}."
        A = L + "attention.self."
        q2, k2, v2 = (linear(x, *W(A + part)) for part in ("query", "key", "value"))
        q, k, v = split(q2, heads), split(k2, heads), split(v2, heads)
        scale = dtype.type(q.shape[-1] ** -0.5)
        scores = q @ k.transpose(0, 1, 3, 2) * scale
        with np.errstate(over="ignore"):
            probs = softmax(scores + bias)
        akeep = keep(A + "dropout", arate)
        dropped = drop(probs, akeep)
        context = merge(dropped @ v)
        ao = linear(context, *W(L + "attention.output.dense"))
        okeep = keep(L + "attention.output.dropout", hrate)
        x1, acache = norm(x + drop(ao, okeep), *W(L + "attention.output.LayerNorm"), eps)
        h = linear(x1, *W(L + "intermediate.dense"))
        a = act(h, kind)
        fo = linear(a, *W(L + "output.dense"))
        fkeep = keep(L + "output.dropout", hrate)
        x2, fcache = norm(x1 + drop(fo, fkeep), *W(L + "output.LayerNorm"), eps)
        f |= {A + "query": q2, A + "key": k2, A + "value": v2, A + "scores": scores, A + "probs": probs,
              A + "context": context, L + "attention.output.dense": ao, L + "attention.output": x1,
              L + "intermediate.dense": h, L + "intermediate": a, L + "output.dense": fo, L + "output": x2}  # fmt: skip
        kept.append((x, q, k, v, scale, probs, dropped, akeep, context, okeep, acache, x1, h, a, fkeep, fcache))
        x = x2

    # heads
    last = x
    pd = linear(last[:, 0], *W("bert.pooler.dense"))
    pooled = np.tanh(pd)
    t = linear(last, *W("cls.predictions.transform.dense"))
    ta = act(t, kind)
    u, tcache = norm(ta, *W("cls.predictions.transform.LayerNorm"), eps)
    tied = config.get("tie_word_embeddings", True)
    table = E + "word_embeddings.weight" if tied else "cls.predictions.decoder.weight"
    tbias = "cls.predictions.bias" if tied else "cls.predictions.decoder.bias"
    logits = linear(u, w[table], w[tbias])
    pair = linear(pooled, *W("cls.seq_relationship"))
    f |= {"bert.pooler.dense": pd, "bert.pooler": pooled, "cls.predictions.transform.dense": t,
          "cls.predictions.transform": u, "cls.predictions": logits, "cls.seq_relationship": pair}  # fmt: skip

    # losses
    rows, at = np.arange(B)[:, None], batch["masked_lm_positions"]
    targets, weight = batch["masked_lm_ids"], batch["masked_lm_weights"].astype(dtype)
    asked = softmax(logits[rows, at])
    V = asked.shape[-1]
    n = weight.sum() + dtype.type(config.get("mlm_denominator_eps", 0.0))
    n = n if n else dtype.type(1)
    nll = -np.log(np.take_along_axis(asked, targets[..., None], -1)[..., 0])
    f["loss.masked_lm"] = (weight * nll).sum() / n
    labels = batch["next_sentence_labels"].reshape(-1)
    pp = softmax(pair)
    f["loss.next_sentence"] = -np.log(pp[np.arange(B), labels]).mean()
    f["loss"] = f["loss.masked_lm"] + f["loss.next_sentence"]

    # backward: heads
    dasked = (asked - np.eye(V, dtype=dtype)[targets]) * weight[..., None] / n
    dlogits = np.zeros_like(logits)
    np.add.at(dlogits, (rows, at), dasked)
    dpair = (pp - np.eye(2, dtype=dtype)[labels]) / dtype.type(B)
    du, dtable, dtbias = linear_backward(dlogits, u, w[table])
    g[tbias] = dtbias
    dta, g["cls.predictions.transform.LayerNorm.weight"], g["cls.predictions.transform.LayerNorm.bias"] = norm_backward(
        du, tcache
    )
    dt = act_backward(dta, t, kind)
    dx, dw, db = linear_backward(dt, last, w["cls.predictions.transform.dense.weight"])
    g["cls.predictions.transform.dense.weight"], g["cls.predictions.transform.dense.bias"] = dw, db
    dpooled, g["cls.seq_relationship.weight"], g["cls.seq_relationship.bias"] = linear_backward(
        dpair, pooled, w["cls.seq_relationship.weight"]
    )
    dpd = dpooled * (1 - pooled**2)
    dfirst, g["bert.pooler.dense.weight"], g["bert.pooler.dense.bias"] = linear_backward(
        dpd, last[:, 0], w["bert.pooler.dense.weight"]
    )
    dx[:, 0] += dfirst
    d |= {"cls.predictions": dlogits, "cls.seq_relationship": dpair, "cls.predictions.transform": du,
          "cls.predictions.transform.dense": dt, "bert.pooler": dpooled, "bert.pooler.dense": dpd}  # fmt: skip

    # backward: encoder
    for i in reversed(range(layers)):
        L = f"bert.encoder.layer.{i}."
        A = L + "attention.self."
        x, q, k, v, scale, probs, dropped, akeep, context, okeep, acache, x1, h, a, fkeep, fcache = kept[i]
        d[L + "output"] = dx
        dsum2, g[L + "output.LayerNorm.weight"], g[L + "output.LayerNorm.bias"] = norm_backward(dx, fcache)
        dfo = drop(dsum2, fkeep)
        da, g[L + "output.dense.weight"], g[L + "output.dense.bias"] = linear_backward(
            dfo, a, w[L + "output.dense.weight"]
        )
        dh = act_backward(da, h, kind)
        dx1, g[L + "intermediate.dense.weight"], g[L + "intermediate.dense.bias"] = linear_backward(
            dh, x1, w[L + "intermediate.dense.weight"]
        )
        dx1 = dx1 + dsum2
        dsum1, g[L + "attention.output.LayerNorm.weight"], g[L + "attention.output.LayerNorm.bias"] = norm_backward(
            dx1, acache
        )
        dao = drop(dsum1, okeep)
        dcontext, g[L + "attention.output.dense.weight"], g[L + "attention.output.dense.bias"] = linear_backward(
            dao, context, w[L + "attention.output.dense.weight"]
        )
        dout = split(dcontext, heads)
        ddropped = dout @ v.transpose(0, 1, 3, 2)
        dv = dropped.transpose(0, 1, 3, 2) @ dout
        dprobs = drop(ddropped, akeep)
        dscores = softmax_backward(dprobs, probs)
        dq = dscores @ k * scale
        dk = dscores.transpose(0, 1, 3, 2) @ q * scale
        dq2, dk2, dv2 = merge(dq), merge(dk), merge(dv)
        dxq, g[A + "query.weight"], g[A + "query.bias"] = linear_backward(dq2, x, w[A + "query.weight"])
        dxk, g[A + "key.weight"], g[A + "key.bias"] = linear_backward(dk2, x, w[A + "key.weight"])
        dxv, g[A + "value.weight"], g[A + "value.bias"] = linear_backward(dv2, x, w[A + "value.weight"])
        d |= {A + "query": dq2, A + "key": dk2, A + "value": dv2, A + "scores": dscores, A + "probs": dprobs,
              A + "context": dcontext, L + "attention.output.dense": dao, L + "attention.output": dx1,
              L + "intermediate.dense": dh, L + "intermediate": da, L + "output.dense": dfo}  # fmt: skip
        dx = dsum1 + dxq + dxk + dxv

    # backward: embeddings
    d["bert.embeddings"] = dx
    dnormed = d[E + "LayerNorm"] = drop(dx, ekeep)
    dsummed, g[E + "LayerNorm.weight"], g[E + "LayerNorm.bias"] = norm_backward(dnormed, ecache)
    d[E + "word_embeddings"] = d[E + "token_type_embeddings"] = dsummed
    dpos = d[E + "position_embeddings"] = dsummed.sum(0, keepdims=True)
    dword = np.zeros_like(w[E + "word_embeddings.weight"])
    np.add.at(dword, ids, dsummed)
    if not config.get("pad_row_gradient"):
        dword[config["pad_token_id"]] = 0
    if tied:
        dword = dword + dtable
    else:
        g[table] = dtable
    g[E + "word_embeddings.weight"] = dword
    g[E + "position_embeddings.weight"] = np.zeros_like(w[E + "position_embeddings.weight"])
    g[E + "position_embeddings.weight"][:T] = dpos[0]
    g[E + "token_type_embeddings.weight"] = np.zeros_like(w[E + "token_type_embeddings.weight"])
    np.add.at(g[E + "token_type_embeddings.weight"], types, dsummed)
    return f, d, g


def update(w, g, m, v, k, rate, plan):
    """BERT's Adam or AdamW, in place; the norm of the whole gradient before clipping."""
    released = plan["name"] == "bert_adam"
    eps, fix1, fix2 = (1e-6, 1, 1) if released else (1e-8, 1 - 0.9**k, 1 - 0.999**k)
    total = np.sqrt(sum((g[name] ** 2).sum() for name in w))
    clip = min(1.0, plan["clip_norm"] / total)
    for name, p in w.items():
        a = g[name] * p.dtype.type(clip)
        m[name] = 0.9 * m[name] + 0.1 * a
        v[name] = 0.999 * v[name] + 0.001 * a * a
        step = m[name] / fix1 / (np.sqrt(v[name] / fix2) + eps)
        decay = 0.0 if re.search("LayerNorm|bias", name) else plan["weight_decay"]
        w[name] = (p - rate * (step + decay * p)).astype(p.dtype)
    return total


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
    slots = ("adam_m", "adam_v") if plan["name"] == "bert_adam" else ("exp_avg", "exp_avg_sq")
    for k in range(1, max(facts["steps"]) + 1):
        f, _, g = run(w, batches[(k - 1) % len(batches)], facts["config"])
        s, warmup, total = plan["first_step"] + k - 1, plan["warmup"], plan["total"]
        falling = 1 - s / total if plan["schedule"] == "bert" else (total - s) / (total - warmup)
        rate = plan["learning_rate"] * (s / warmup if s < warmup else max(0.0, falling))
        norm_ = update(w, g, m, v, k, rate, plan)
        if k in facts["steps"]:
            state = {"loss": f["loss"], "learning_rate": np.float64(rate), "gradient_norm": norm_, **w}
            state |= {f"{slots[0]}.{n}": a for n, a in m.items()} | {f"{slots[1]}.{n}": a for n, a in v.items()}
            found |= {f"steps/{k}/{n}": np.array(a) for n, a in state.items()}
    return {n: np.array(a) for n, a in found.items()}
