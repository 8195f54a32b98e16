"""BERT in plain NumPy, its backward pass by hand, as small ports in C have it: right; mistakes go in as edits.

`candidate(weights, inputs, facts)` gives {"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of a case.
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])
EMBEDDINGS, TABLE = "bert.embeddings.", "bert.embeddings.word_embeddings.weight"


def norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(eps))
    xhat = centred * rstd
    return xhat * weight + bias, (xhat, rstd, weight)


def norm_backward(dy, cache):
    xhat, rstd, weight = cache
    rows = tuple(range(dy.ndim - 1))
    dweight, dbias = (dy * xhat).sum(rows), dy.sum(rows)
    g = dy * weight
    dx = rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True))
    return dx, dweight, dbias


def linear(x, weight, bias):
    return x @ weight.T + bias


def linear_backward(dy, x, weight):
    rows, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    return dy @ weight, rows.T @ inputs, rows.sum(0)


def gelu(x):
    return (0.5 * x * (1 + erf(x / 2**0.5))).astype(x.dtype)


def gelu_backward(dy, x):
    cdf = 0.5 * (1 + erf(x / 2**0.5))
    pdf = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (dy * (cdf + x * pdf)).astype(x.dtype)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - (dp * p).sum(-1, keepdims=True))


def dropped(x, keep, rate):
    return x if keep is None else x * keep / x.dtype.type(1 - rate)


def dropped_backward(dy, keep, rate):
    return dy if keep is None else dy * keep / dy.dtype.type(1 - rate)


def split(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def merge(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def cross_entropy(logits, labels, weights):
    """(the weighted mean, the gradient of the logits) over rows."""
    p, total = softmax(logits), weights.sum()
    onehot = np.eye(logits.shape[-1], dtype=logits.dtype)[labels]
    loss = -(np.log((p * onehot).sum(-1)) * weights).sum() / total
    return loss, (p - onehot) * weights[..., None] / total


def run(w, batch, config):
    """(every named tensor, every gradient) of one batch."""
    f, d, g, kept = {}, {}, {}, []
    ids, types, mask = batch["input_ids"], batch["segment_ids"], batch["input_mask"]
    heads, eps, layers = (config[name] for name in ("num_attention_heads", "layer_norm_eps", "num_hidden_layers"))
    T = ids.shape[1]
    dtype = w[TABLE].dtype
    hidden, attentive = config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]
    keep = lambda name: batch.get(f"dropout/{name}.dropout")  # noqa: E731
    part = lambda name: (w[f"{name}.weight"], w[f"{name}.bias"])  # noqa: E731

    def learn(name, dw, db):
        g[f"{name}.weight"], g[f"{name}.bias"] = dw, db

    # forward: embeddings
    words, kinds = w[TABLE][ids], w[EMBEDDINGS + "token_type_embeddings.weight"][types]
    spots = w[EMBEDDINGS + "position_embeddings.weight"][np.arange(T)][None]
    f |= {EMBEDDINGS + "word_embeddings": words, EMBEDDINGS + "token_type_embeddings": kinds}
    f[EMBEDDINGS + "position_embeddings"] = spots
    normed, cache0 = norm(words + kinds + spots, *part("bert.embeddings.LayerNorm"), eps)
    f[EMBEDDINGS + "LayerNorm"] = normed
    x = f["bert.embeddings"] = dropped(normed, keep("bert.embeddings"), hidden)
    bias = np.where(mask == 1, 0, np.finfo(dtype).min).astype(dtype)[:, None, None, :]

    # forward: layers
    for i in range(layers):
        at = f"bert.encoder.layer.{i}."
        q, k, v = (linear(x, *part(f"{at}attention.self.{name}")) for name in ("query", "key", "value"))
        f |= {f"{at}attention.self.query": q, f"{at}attention.self.key": k, f"{at}attention.self.value": v}
        q, k, v = (split(a, heads) for a in (q, k, v))
        scale = dtype.type(q.shape[-1] ** -0.5)
        scores = f[f"{at}attention.self.scores"] = q @ k.transpose(0, 1, 3, 2) * scale
        probs = f[f"{at}attention.self.probs"] = softmax(scores + bias)
        used = dropped(probs, keep(f"{at}attention.self"), attentive)
        context = f[f"{at}attention.self.context"] = merge(used @ v)
        dense = f[f"{at}attention.output.dense"] = linear(context, *part(f"{at}attention.output.dense"))
        dense = dropped(dense, keep(f"{at}attention.output"), hidden)
        x1, cache1 = norm(x + dense, *part(f"{at}attention.output.LayerNorm"), eps)
        f[f"{at}attention.output"] = x1
        wide = f[f"{at}intermediate.dense"] = linear(x1, *part(f"{at}intermediate.dense"))
        act = f[f"{at}intermediate"] = gelu(wide)
        back = f[f"{at}output.dense"] = linear(act, *part(f"{at}output.dense"))
        back = dropped(back, keep(f"{at}output"), hidden)
        x2, cache2 = norm(x1 + back, *part(f"{at}output.LayerNorm"), eps)
        f[f"{at}output"] = x2
        kept.append((x, q, k, v, scale, probs, used, context, x1, cache1, wide, act, cache2))
        x = x2

    # forward: heads
    first = x[:, 0]
    pre = f["bert.pooler.dense"] = linear(first, *part("bert.pooler.dense"))
    pooled = f["bert.pooler"] = np.tanh(pre)
    turned = f["cls.predictions.transform.dense"] = linear(x, *part("cls.predictions.transform.dense"))
    lively = gelu(turned)
    final, cache3 = norm(lively, *part("cls.predictions.transform.LayerNorm"), eps)
    f["cls.predictions.transform"] = final
    logits = f["cls.predictions"] = final @ w[TABLE].T + w["cls.predictions.bias"]
    pairs = f["cls.seq_relationship"] = linear(pooled, *part("cls.seq_relationship"))
    rows, asked = np.nonzero(batch["masked_lm_weights"])
    places = rows, batch["masked_lm_positions"][rows, asked]
    labels, weights = np.zeros(ids.shape, np.int64), np.zeros(ids.shape, dtype)
    labels[places], weights[places] = batch["masked_lm_ids"][rows, asked], 1
    ones = np.ones(len(ids), dtype)
    f["loss.masked_lm"], dlogits = cross_entropy(logits, labels, weights)
    f["loss.next_sentence"], dpairs = cross_entropy(pairs, batch["next_sentence_labels"].reshape(-1), ones)
    f["loss"] = f["loss.masked_lm"] + f["loss.next_sentence"]

    # backward: heads
    d["cls.predictions"], d["cls.seq_relationship"] = dlogits, dpairs
    dfinal = d["cls.predictions.transform"] = dlogits @ w[TABLE]
    dtable = dlogits.reshape(-1, dlogits.shape[-1]).T @ final.reshape(-1, final.shape[-1])
    g["cls.predictions.bias"] = dlogits.sum((0, 1))
    dlively, *learnt = norm_backward(dfinal, cache3)
    learn("cls.predictions.transform.LayerNorm", *learnt)
    dturned = d["cls.predictions.transform.dense"] = gelu_backward(dlively, turned)
    dx, *learnt = linear_backward(dturned, x, w["cls.predictions.transform.dense.weight"])
    learn("cls.predictions.transform.dense", *learnt)
    dpooled, *learnt = linear_backward(dpairs, pooled, w["cls.seq_relationship.weight"])
    learn("cls.seq_relationship", *learnt)
    d["bert.pooler"] = dpooled
    dpre = d["bert.pooler.dense"] = dpooled * (1 - pooled * pooled)
    dfirst, *learnt = linear_backward(dpre, first, w["bert.pooler.dense.weight"])
    learn("bert.pooler.dense", *learnt)
    dx[:, 0] += dfirst

    # backward: layers
    for i in reversed(range(layers)):
        at = f"bert.encoder.layer.{i}."
        x, q, k, v, scale, probs, used, context, x1, cache1, wide, act, cache2 = kept[i]
        d[f"{at}output"] = dx
        dsum, *learnt = norm_backward(dx, cache2)
        learn(f"{at}output.LayerNorm", *learnt)
        dback = d[f"{at}output.dense"] = dropped_backward(dsum, keep(f"{at}output"), hidden)
        dact, *learnt = linear_backward(dback, act, w[f"{at}output.dense.weight"])
        learn(f"{at}output.dense", *learnt)
        d[f"{at}intermediate"] = dact
        dwide = d[f"{at}intermediate.dense"] = gelu_backward(dact, wide)
        through, *learnt = linear_backward(dwide, x1, w[f"{at}intermediate.dense.weight"])
        learn(f"{at}intermediate.dense", *learnt)
        dx1 = d[f"{at}attention.output"] = dsum + through
        dsum, *learnt = norm_backward(dx1, cache1)
        learn(f"{at}attention.output.LayerNorm", *learnt)
        ddense = d[f"{at}attention.output.dense"] = dropped_backward(dsum, keep(f"{at}attention.output"), hidden)
        dcontext, *learnt = linear_backward(ddense, context, w[f"{at}attention.output.dense.weight"])
        learn(f"{at}attention.output.dense", *learnt)
        d[f"{at}attention.self.context"] = dcontext
        dout = split(dcontext, heads)
        dused = dout @ v.transpose(0, 1, 3, 2)
        dv = used.transpose(0, 1, 3, 2) @ dout
        dprobs = d[f"{at}attention.self.probs"] = dropped_backward(dused, keep(f"{at}attention.self"), attentive)
        dscores = d[f"{at}attention.self.scores"] = softmax_backward(dprobs, probs)
        dq = dscores @ k * scale
        dk = dscores.transpose(0, 1, 3, 2) @ q * scale
        dq, dk, dv = merge(dq), merge(dk), merge(dv)
        dx = dsum.copy()
        for name, dy in (("query", dq), ("key", dk), ("value", dv)):
            d[f"{at}attention.self.{name}"] = dy
            through, *learnt = linear_backward(dy, x, w[f"{at}attention.self.{name}.weight"])
            learn(f"{at}attention.self.{name}", *learnt)
            dx += through

    # backward: embeddings
    d["bert.embeddings"] = dx
    dnormed = d[EMBEDDINGS + "LayerNorm"] = dropped_backward(dx, keep("bert.embeddings"), hidden)
    dsum, *learnt = norm_backward(dnormed, cache0)
    learn(EMBEDDINGS + "LayerNorm", *learnt)
    d[EMBEDDINGS + "word_embeddings"] = d[EMBEDDINGS + "token_type_embeddings"] = dsum
    dspots = d[EMBEDDINGS + "position_embeddings"] = dsum.sum(0, keepdims=True)
    dwords = np.zeros_like(dtable)
    np.add.at(dwords, ids, dsum)
    dwords[config["pad_token_id"]] = 0
    g[TABLE] = dtable + dwords
    kind, place = EMBEDDINGS + "token_type_embeddings.weight", EMBEDDINGS + "position_embeddings.weight"
    dkinds = g[kind] = np.zeros_like(w[kind])
    np.add.at(dkinds, types, dsum)
    dpositions = g[place] = np.zeros_like(w[place])
    dpositions[:T] = dspots[0]
    return f, d, g


def update(w, g, m, v, rate, plan):
    """BERT's Adam, in place; the norm of the whole gradient before clipping."""
    norm = np.sqrt(sum((a**2).sum() for a in g.values()))
    clip = min(1.0, plan["clip_norm"] / norm)
    for name, p in w.items():
        a = g[name] * p.dtype.type(clip)
        m[name] = 0.9 * m[name] + 0.1 * a
        v[name] = 0.999 * v[name] + 0.001 * a * a
        step = m[name] / (np.sqrt(v[name]) + 1e-6)
        decay = 0.0 if "LayerNorm" in name or "bias" in name else plan["weight_decay"]
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
        norm = update(w, g, m, v, rate, plan)
        if k in facts["steps"]:
            state = {"loss": f["loss"], "learning_rate": np.float64(rate), "gradient_norm": norm, **w}
            state |= {f"exp_avg.{n}": a for n, a in m.items()} | {f"exp_avg_sq.{n}": a for n, a in v.items()}
            found |= {f"steps/{k}/{n}": np.array(a) for n, a in state.items()}
    return {n: np.array(a) for n, a in found.items()}
