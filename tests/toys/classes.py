"""Classification: of which class is the row? z = h_0 Wᵀ + b; L = mean of -log softmax(z)[label]."""

from minibert import layers, ops

LABELS = {"labels": "(B)<classes"}
BASELINE = "majority"


def shapes(*, width, classes):
    return {"weight": (classes, width), "bias": (classes,)}


def draw(rng, dims, lengths, *, classes, **_):
    return {"labels": rng.integers(0, classes, dims["B"])}


def loss(h, p, labels, *, table=None, total=None, dense=False):
    c = {"shape": h.shape}
    z, c["head"] = ops.linear(h[:, 0], **p)
    value, c["loss"] = ops.cross_entropy(z, labels=labels["labels"], denominator=total)
    return value, c


def loss_backward(dloss, c):
    dfirst, g = ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"])
    dh = ops.np.zeros(c["shape"], dfirst.dtype)
    dh[:, 0] = dfirst
    return dh, g, None


def count(labels):
    return float(len(labels["labels"]))


def right(c):
    return layers.right(c["loss"], classes=True)


def predict(h, p, *, table=None):
    return ops.linear(h[:, 0], **p)[0]
