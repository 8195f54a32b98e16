"""Of `layers`: parts of a layer, whole layers, those that have a memory beside x, and what stands below and above."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.gradcheck.blocks import Example, drawn, network, states

MASK = np.array([[1, 1, 0], [1, 1, 1]])[:, None, None, :]


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, config = network(rng)
    how = config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    yield from _parts(rng, p, *how)
    yield from _layers(rng, p["encoder"], *how)
    yield from _decoders(rng, p["encoder"], *how)
    yield from _ends(rng, p, how[-1])


def _projections(layer: Any) -> Any:
    return {name: layer["attention"][name] for name in ("query", "key", "value", "output")}


def _bias(mask: np.ndarray) -> np.ndarray:
    """The scores' bias that a mask is, as the doubles take it."""
    return ops.masking(mask, "min", np.dtype("float64"))[0]


def _parts(rng: np.random.Generator, p: Any, heads: int, act: str, eps: float) -> Iterator[Example]:
    x, f, (first, second) = states(rng), states(rng), p["encoder"]
    attention, feed = _projections(first), {name: first["feed_forward"][name] for name in ("in", "out")}
    pair = layers.self_attention, layers.self_attention_backward
    masked, biased = {"width": x.shape[-1] // heads, "mask": MASK}, {"heads": heads, "bias": _bias(MASK)}
    yield Example("self_attention", *pair, {"x": x, "p": attention}, masked, biased)
    named = {"act": act}, {"activation": act}
    yield Example("feed_forward", layers.feed_forward, layers.feed_forward_backward, {"x": x, "p": feed}, *named)
    gated = {"gate": second["feed_forward"]["in"], **feed}
    pair = layers.gated_feed_forward, layers.gated_feed_forward_backward
    yield Example("gated_feed_forward", *pair, {"x": x, "p": gated}, *named)
    yield Example("activation", layers.activation, layers.activation_backward, {"x": x}, {"name": act})
    weight, bias = p["pooler"]["weight"], p["pooler"]["bias"]
    adapter = {"down": {"weight": weight[:3], "bias": bias[:3]}, "up": {"weight": weight[:, 1:], "bias": bias}}
    yield Example("adapter", layers.adapter, layers.adapter_backward, {"f": f, "p": adapter}, {})
    end, drop = {"x": x, "f": f, "p": {"adapter": adapter}}, {"keep": rng.integers(0, 2, x.shape), "rate": 0.25}
    yield Example("add", layers.add, layers.add_backward, end, drop)
    end = {**end, "p": {"adapter": adapter, "norm": first["attention"]["norm"]}}
    yield Example("add_norm", layers.add_norm, layers.add_norm_backward, end, {"eps": eps, **drop})


def _layers(rng: np.random.Generator, encoder: Any, heads: int, act: str, eps: float) -> Iterator[Example]:
    x = states(rng)
    pair, how = (layers.encoder_layer, layers.encoder_layer_backward), {"heads": heads, "eps": eps}
    own, doubled = {**how, "mask": MASK, "act": act}, {**how, "bias": _bias(MASK), "activation": act}
    yield Example("encoder_layer", *pair, {"x": x, "p": encoder[0]}, own, doubled)
    dense = {name: {"weight": (2, 2), "bias": (2,)} for name in ("query", "key", "value")}
    narrow = {"down": {"weight": (2, 4), "bias": (2,)}, "up": {"weight": (4, 2), "bias": (4,)}}
    pal = drawn(np.random.default_rng(6), {**dense, **narrow})
    yield Example("projected_layer", *pair, {"x": x, "p": {**encoder[0], "pal": pal}}, own, doubled)
    one = layers.projected_attention, layers.projected_attention_backward
    biased = {"heads": heads, "bias": _bias(MASK)}
    yield Example("projected_attention", *one, {"x": x, "p": pal}, {"heads": heads, "mask": MASK}, biased)
    past = {name: rng.standard_normal((2, heads, 2, x.shape[-1] // heads)) for name in ("key", "value")}
    seen, x = layers.causal(2, 4, np.array([[0, 1, 1, 0], [1, 1, 0, 1]])), x[:, :2]
    how |= {"scale": 0.7, "past": past, "rate": 0.25}
    how["keep"] = {name: rng.integers(0, 2, x.shape) for name in ("attention", "feed_forward")}
    pair = layers.pre_norm_layer, layers.pre_norm_layer_backward
    own, doubled = {**how, "mask": seen, "act": act}, {**how, "bias": _bias(seen), "activation": act}
    yield Example("pre_norm_layer", *pair, {"x": x, "p": encoder[0]}, own, doubled)


def _decoders(rng: np.random.Generator, encoder: Any, heads: int, act: str, eps: float) -> Iterator[Example]:
    x, memory, attention = states(rng), rng.standard_normal((2, 4, 4)), _projections(encoder[0])
    seen, given = np.array([[1, 1, 0, 1], [1, 0, 1, 1]])[:, None, None], {"x": x, "memory": memory}
    pair = layers.cross_attention, layers.cross_attention_backward
    masked, biased = {"width": x.shape[-1] // heads, "mask": seen}, {"heads": heads, "bias": _bias(seen)}
    yield Example("cross_attention", *pair, {**given, "p": attention}, masked, biased)
    keep = {name: rng.integers(0, 2, x.shape) for name in ("attention", "cross_attention", "feed_forward")}
    masks, how = {"mask": layers.causal(3, 3), "seen": seen}, {"heads": heads, "eps": eps, "keep": keep, "rate": 0.25}
    own = {**how, "act": act, **masks}
    doubled = {**how, "activation": act, "bias": _bias(masks["mask"]), "seen": _bias(seen)}
    given["p"] = {**encoder[0], "cross_attention": {**attention, "norm": encoder[1]["attention"]["norm"]}}
    for name, pair in (
        ("decoder_layer", (layers.decoder_layer, layers.decoder_layer_backward)),
        ("pre_norm_decoder_layer", (layers.pre_norm_decoder_layer, layers.pre_norm_decoder_layer_backward)),
    ):
        yield Example(name, *pair, given, own, doubled)


def _ends(rng: np.random.Generator, p: Any, eps: float) -> Iterator[Example]:
    word, position, kind = np.array([[1, 2, 1], [3, 0, 2]]), np.arange(3), np.array([[0, 1, 2]] * 2)
    ids = {"word": word, "position": position, "token_type": kind}
    own = {"ids": ids, "frozen": {}, "eps": eps, "keep": None, "rate": 0.0}
    doubled = {"input_ids": word, "token_type_ids": kind, "position_ids": np.tile(position, (2, 1)), "eps": eps}
    pair = layers.embeddings, layers.embeddings_backward
    yield Example("bert_embeddings", *pair, {"p": p["embeddings"]}, own, doubled)
    yield Example("pooler", layers.pooler, layers.pooler_backward, {"x": states(rng), "p": p["pooler"]}, {})
