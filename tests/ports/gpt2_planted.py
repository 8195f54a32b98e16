"""Mistakes planted one at a time in transformers' GPT-2, as a porter makes them: each a `Fault` of PLANTED.

`candidate(name)` gives the tensors of `reference/adapters/torch_transformers.py` on the fault's case, in float32.
"""

import contextlib
import copy
import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.models.gpt2 import modeling_gpt2 as theirs

from minibert.golden import case as cases

ADAPTER = Path(__file__).resolve().parents[2] / "reference" / "adapters" / "torch_transformers.py"
spec = importlib.util.spec_from_file_location("gpt2_adapter", ADAPTER)
A = importlib.util.module_from_spec(spec)  # a copy of our own: it is patched
spec.loader.exec_module(A)

NOTHING: Mapping[str, Any] = MappingProxyType({})
Arrays = dict[str, np.ndarray]
BATCH: dict[str, Any] = {}


class Fault(NamedTuple):
    """ids: of the catalogue, one of which it is, or none where the honest answer is "unknown". patches: (owner, name,
    what stands there instead); config, weights: edits of what goes in; model: done to the model before it runs.
    """

    ids: str
    patches: tuple = ()
    config: Mapping[str, Any] = NOTHING
    weights: Callable[[Arrays], Arrays] = lambda w: w
    model: Callable[[Any], None] = lambda model: None
    case: str = "published"
    steps: bool = False


# ---- Attention -------------------------------------------------------------------------------------------------------
def attention(take=None, split=None, merge=None):
    """GPT2Attention.forward with other thirds of c_attn's output, heads split or merged otherwise."""
    take = take or (lambda y, heads: y.chunk(3, -1))
    split = split or (lambda y, heads: y.unflatten(2, (heads, -1)).transpose(1, 2))

    def forward(self, hidden_states, past_key_values=None, attention_mask=None, **_):
        q, k, v = (split(part, self.num_heads) for part in take(self.c_attn(hidden_states), self.num_heads))
        y, probs = A.attention(self, q, k, v, attention_mask, scaling=self.scaling)
        y = y.flatten(2) if merge is None else A.note(self.golden_name + ".context", merge(y.transpose(1, 2)))
        return self.resid_dropout(self.c_proj(y)), probs

    return ((theirs.GPT2Attention, "forward", forward),)


def masked(edit):
    """Attention with another mask: edit(bits (B, 1, T, T), padding (B, 1, 1, T)) -> bits."""
    right = A.attention

    def wrong(module, q, k, v, mask, **given):
        T = q.shape[2]
        padding = BATCH["attention_mask"].bool()[:, None, None]
        bits = padding & torch.ones(T, T).tril().bool()
        kept = edit(bits, padding)
        lowest = torch.finfo(q.dtype).min
        return right(module, q, k, v, None if kept is None else torch.zeros(1).masked_fill(~kept, lowest), **given)

    return (*HOLD, (A, "attention", wrong))


def filled(edit, value=None):
    """Masked scores replaced, by `masked_fill` or `torch.where`: edit(causal (T, T), padding (B, 1, 1, T)) -> bits."""

    def probs(scores, _):
        causal = torch.ones(scores.shape[-2:]).tril().bool()
        kept = edit(causal, BATCH["attention_mask"].bool()[:, None, None])
        return scores.masked_fill(~kept, torch.finfo(scores.dtype).min if value is None else value).softmax(-1)

    return (*HOLD, *scored(probs))


def strict(causal, pad):
    """Nobody sees itself."""
    return causal & ~torch.eye(len(causal)).bool() & pad


def scored(f):
    """Attention by hand: f(scores, bits) -> probabilities."""

    def wrong(module, q, k, v, mask, scaling=None, **_):
        bits = mask == 0
        scores = A.note(A.called(module, ".scores"), q @ k.transpose(2, 3) * scaling)
        probs = A.note(A.called(module, ".probs"), f(scores, bits))
        context = A.note(A.called(module, ".context"), (probs @ v).transpose(1, 2).flatten(2))
        return context.unflatten(2, (q.shape[1], -1)), probs

    return ((A, "attention", wrong),)


def scaled_first(self, hidden_states, past_key_values=None, attention_mask=None, **_):
    y = self.c_attn(hidden_states)
    bias = self.c_attn.bias.chunk(3)[0]
    q, k, v = y.chunk(3, -1)
    scaled = (q - bias) * self.scaling + bias
    split = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in (scaled, k, v))
    y, probs = A.attention(self, *split, attention_mask, scaling=1.0)
    return self.resid_dropout(self.c_proj(y.flatten(2))), probs


def turned(x):
    width = x.shape[-1] // 2
    angles = torch.arange(x.shape[2])[:, None] * 10000.0 ** (-torch.arange(width) / width)
    a, b = x.split(width, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def rotary(module, q, k, v, mask, right=A.attention, **given):
    return right(module, turned(q), turned(k), v, mask, **given)


def lowest(scores, bits):
    return scores.masked_fill(~bits, torch.finfo(scores.dtype).min)


def scaled(f):
    def edit(model):
        for i, block in enumerate(model.transformer.h):
            block.attn.scaling = f(block.attn, i)

    return edit


# ---- Blocks ----------------------------------------------------------------------------------------------------------
def block(f):
    return ((theirs.GPT2Block, "forward", lambda self, x, *args, **given: f(self, x, _attended(self, args, given))),)


def _attended(self, args, given):
    mask = args[1] if len(args) > 1 else given.get("attention_mask")
    return lambda x: self.attn(x, attention_mask=mask)[0]


def post_norm(self, x, attended):
    x = self.ln_1(x + attended(x))
    return self.ln_2(x + self.mlp(x))


def from_normed(attention, feed_forward):
    def f(self, x, attended):
        n = self.ln_1(x)
        x = (n if attention else x) + attended(n)
        n = self.ln_2(x)
        return (n if feed_forward else x) + self.mlp(n)

    return f


def parallel(self, x, attended):
    return x + attended(self.ln_1(x)) + self.mlp(self.ln_2(x))


def residual_twice(self, x, attended):
    x = x + x + attended(self.ln_1(x))
    return x + self.mlp(self.ln_2(x))


def unnormed(self, x, attended):
    x = x + attended(self.ln_1(x))
    return x + self.mlp(x)


def rms(self, x):
    return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.eps) + self.bias


def last_left_out(model):
    model.transformer.h[-1].forward = lambda x, *_, **given: x


def norms_behind(self, x, attended):
    x = x + self.ln_1(attended(x))
    return x + self.ln_2(self.mlp(x))


def norms_exchanged(self, x, attended):
    x = x + attended(self.ln_2(x))
    return x + self.mlp(self.ln_1(x))


def first_norm_twice(self, x, attended):
    x = x + attended(self.ln_1(x))
    return x + self.mlp(self.ln_1(x))


def norm(f):
    """nn.LayerNorm.forward by another formula."""

    def forward(self, x):
        return f(x - x.mean(-1, keepdim=True), self.eps) * self.weight + self.bias

    return ((nn.LayerNorm, "forward", forward),)


class LostTerm(torch.autograd.Function):
    """Layer norm whose backward lacks x̂ mean(dy·g·x̂)."""

    @staticmethod
    def of(self, x):
        return LostTerm.apply(x, self.weight, self.bias, self.eps)

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        centred = x - x.mean(-1, keepdim=True)
        r = (centred.pow(2).mean(-1, keepdim=True) + eps).rsqrt()
        ctx.save_for_backward(centred * r, r, weight)
        return centred * r * weight + bias

    @staticmethod
    def backward(ctx, dy):
        xhat, r, weight = ctx.saved_tensors
        g = dy * weight
        return r * (g - g.mean(-1, keepdim=True)), (dy * xhat).flatten(0, -2).sum(0), dy.flatten(0, -2).sum(0), None


# ---- The model -------------------------------------------------------------------------------------------------------
def of(path, f):
    """A module's forward replaced: f(right forward) -> forward."""

    def edit(model):
        module = model.get_submodule(path)
        module.forward = f(module.forward)

    return edit


def behind(path, f):
    """Its output changed behind the hook that hands it out."""
    return lambda model: model.get_submodule(path).register_forward_hook(lambda module, args, y: f(y))


def both(*edits):
    def edit(model):
        for one in edits:
            one(model)

    return edit


def acted(f):
    return ((theirs.GPT2MLP, "forward", lambda self, x: self.dropout(self.c_proj(_act(self, f, self.c_fc(x))))),)


def _act(self, f, x):
    return A.note(self.golden_name + ".act", f(x))


def counted_positions(model):
    wpe = model.transformer.wpe
    right = wpe.forward

    def forward(ids):
        return right(torch.clamp(BATCH["attention_mask"].cumsum(1) - 1, min=0))

    wpe.forward = forward


class LastWins(torch.autograd.Function):
    """The gradient of a repeated id is that of its last use."""

    @staticmethod
    def forward(ctx, ids, weight):
        ctx.save_for_backward(ids)
        ctx.rows = len(weight)
        return weight[ids]

    @staticmethod
    def backward(ctx, dy):
        (ids,) = ctx.saved_tensors
        g = torch.zeros(ctx.rows, dy.shape[-1])
        for i, row in zip(ids.flatten().tolist(), dy.flatten(0, 1), strict=True):
            g[i] = row
        return None, g


def last_wins(model):
    wte = model.transformer.wte
    wte.forward = lambda ids: LastWins.apply(ids, wte.weight)


def untied(model):
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())


def detached(model):
    table = model.lm_head.weight.detach()
    of("lm_head", lambda right: lambda x: x @ table.T)(model)


# ---- The loss --------------------------------------------------------------------------------------------------------
def held(models, batch, config, right=A.traced):
    BATCH.clear()
    BATCH.update(batch)
    return right(models, batch, config)


HOLD = ((A, "traced", held),)


def loss(f):
    """Another loss: f(logits (B, T, V), labels (B, T))."""
    return (*HOLD, (A, "cross_entropy", lambda *_: f(A.SEEN["lm_head"], BATCH["labels"])))


def ce(logits, labels, **given):
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), **given)


def summed(logits, labels):
    return ce(logits[:, :-1], labels[:, 1:], reduction="sum")


def of_rows(logits, labels):
    return torch.stack([cross_entropy(z[:-1], y[1:]) for z, y in zip(logits, labels, strict=True)]).mean()


def across_rows(logits, labels):
    return cross_entropy(logits.flatten(0, 1)[:-1], labels.flatten()[1:])


def padded_vocabulary(logits, labels):
    wider = torch.cat([logits, torch.zeros(*logits.shape[:2], -logits.shape[2] % 128)], -1)
    return ce(wider[:, :-1], labels[:, 1:])


def over_positions(logits, labels):
    """The class axis taken for the first."""
    z, y = logits.flatten(0, 1), torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100).flatten()
    logp = logits.log_softmax(1).flatten(0, 1)
    asked = y != -100
    del z
    return -logp[asked, y[asked]].mean()


def labelled(f):
    """Other labels: f(labels, input_ids, attention_mask)."""
    return loss(lambda z, y: ce(z[:, :-1], f(y, BATCH["input_ids"], BATCH["attention_mask"])[:, 1:]))


def pads_counted(logits, labels):
    y = torch.where(BATCH["attention_mask"] == 0, 0, labels)
    return ce(logits[:, :-1], y[:, 1:])


# ---- Weights ---------------------------------------------------------------------------------------------------------
def changed(ending, f):
    return lambda w: {name: f(a) if name.endswith(ending) else a for name, a in w.items()}


def thirds(*order):
    def edit(a):
        parts = np.split(a, 3, -1)
        return np.concatenate([parts[i] for i in order], -1)

    return lambda w: {name: edit(a) if ".c_attn." in name else a for name, a in w.items()}


def chunks(*order):
    return attention(lambda y, heads: [y.chunk(3, -1)[i] for i in order])


def per_head(y, heads):
    return (part.flatten(2) for part in y.unflatten(2, (heads, 3, -1)).unbind(3))


def tanh_gelu(c):
    return lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + c * x**3)))


def other_layer(name):
    return re.sub(r"\.h\.(\d)\.", lambda m: f".h.{1 - int(m[1])}.", name)


def unnamed_norms(w):
    return {name: np.full_like(a, name.endswith("weight")) if ".ln_" in name else a for name, a in w.items()}


def unbiased(*parts):
    """These modules have no bias."""

    def edit(model):
        for name, module in model.named_modules():
            if name.endswith(parts):
                del module._parameters["bias"]
                module.bias = torch.zeros(module.weight.shape[-1])

    return edit


def tied(model):
    model.lm_head.weight = model.transformer.wte.weight


def decaying(found):
    """The search for what does not decay finds this in every name."""
    return ((A, "re", SimpleNamespace(search=lambda *_: found)),)


PLANTED = {
    # attention
    "sees_next": Fault("gpt2-01", masked(lambda bits, pad: pad & torch.ones(bits.shape[-2:]).tril(1).bool())),
    "blind_to_itself": Fault("gpt2-02", masked(lambda bits, pad: pad & torch.ones(bits.shape[-2:]).tril(-1).bool())),
    "blind_to_itself_filled": Fault("gpt2-02", filled(strict)),
    "blind_to_itself_filled_with_-1e4": Fault("gpt2-02", filled(strict, -1e4)),
    "blind_to_itself_filled_with_-inf": Fault("gpt2-02", filled(strict, -torch.inf)),
    "sees_next_filled": Fault("gpt2-01", filled(lambda tri, pad: torch.ones_like(tri).tril(1) & pad)),
    "sees_everything_filled": Fault("gpt2-03", filled(lambda tri, pad: pad.expand(-1, 1, *tri.shape))),
    "triu": Fault("gpt2-29", masked(lambda bits, pad: pad & torch.ones(bits.shape[-2:]).triu().bool())),
    "triu_filled": Fault("gpt2-29", filled(lambda tri, pad: tri.T & pad)),
    "triu_filled_with_-inf": Fault("gpt2-29", filled(lambda tri, pad: tri.T & pad, -torch.inf)),
    "mask_inverted_filled": Fault("A11", filled(lambda tri, pad: ~(tri & pad))),
    "mask_inverted_filled_with_-inf": Fault("A11", filled(lambda tri, pad: ~(tri & pad), -torch.inf)),
    "padding_inverted_filled": Fault("A11", filled(lambda tri, pad: tri & ~pad)),
    "mask_transposed_filled": Fault("A13", filled(lambda tri, pad: (tri & pad).transpose(2, 3))),
    "padding_on_both_axes_filled_with_-inf": Fault(
        "A13", filled(lambda tri, pad: tri & pad & pad.transpose(2, 3), -torch.inf)),
    "sees_everything": Fault("gpt2-03", masked(lambda bits, pad: pad.expand_as(bits))),
    "no_mask": Fault("A12 gpt2-03", masked(lambda bits, pad: None)),
    "padding_seen": Fault("A11 A12", masked(lambda bits, pad: torch.ones(bits.shape[-2:]).tril().bool()[None, None])),
    "mask_transposed": Fault("A13", masked(lambda bits, pad: bits.transpose(2, 3))),
    "padding_on_both_axes": Fault("A13", masked(lambda bits, pad: bits & pad.transpose(2, 3))),
    "mask_inverted": Fault("A11", masked(lambda bits, pad: ~bits)),
    "masked_after_softmax": Fault(
        "A10", scored(lambda s, bits: s.softmax(-1) * bits)),
    "causal_after_softmax": Fault(
        "gpt2-04", scored(lambda s, bits: lowest(s, bits[:, :, -1:]).softmax(-1) * bits)),
    "scores_times_mask": Fault("A10", scored(lambda s, bits: (s * bits).softmax(-1))),
    "softmax_over_queries": Fault("A09", scored(lambda s, bits: lowest(s, bits).softmax(-2))),
    "scale_of_width": Fault("A04", model=scaled(lambda a, i: a.embed_dim**-0.5)),
    "scale_of_heads": Fault("A05", model=scaled(lambda a, i: a.num_heads**-0.5)),
    "no_scale": Fault("A06", model=scaled(lambda a, i: 1.0)),
    "scaled_twice": Fault("A07", model=scaled(lambda a, i: a.scaling**2)),
    "scaled_by_layer": Fault("A07 gpt2-15", config={"scale_attn_by_inverse_layer_idx": True}),
    "layer_number_plus_1": Fault("gpt2-15", model=scaled(lambda a, i: a.scaling * (i + 1) / (i + 2)), case="probe"),
    "scale_switch_ignored": Fault("gpt2-15", config={"scale_attn_weights": True}, case="probe"),
    "temperature": Fault("", model=scaled(lambda a, i: a.scaling * 1.1)),
    "query_scaled_before_bias": Fault("A30", ((theirs.GPT2Attention, "forward", scaled_first),)),
    "rotary": Fault("E15", ((A, "attention", rotary),)),
    "window_of_4": Fault("", masked(lambda bits, pad: bits & torch.ones(bits.shape[-2:]).triu(-3).bool())),
    "keys_first": Fault("A30", chunks(1, 0, 2)),
    "values_before_keys": Fault("gpt2-11", chunks(0, 2, 1)),
    "values_first": Fault("gpt2-11", chunks(2, 0, 1)),
    "thirds_backwards": Fault("gpt2-11", chunks(2, 1, 0)),
    "loaded_values_before_keys": Fault("A32 gpt2-11", weights=thirds(0, 2, 1)),
    "loaded_keys_first": Fault("A30", weights=thirds(1, 0, 2)),
    "read_per_head": Fault("A19", attention(per_head)),
    "read_innermost": Fault("A19", attention(lambda y, heads: y.unflatten(2, (-1, 3)).unbind(3))),
    "split_by_view": Fault("A01", attention(split=lambda y, h: y.reshape(len(y), h, y.shape[1], -1))),
    "heads_innermost": Fault("A01", attention(split=lambda y, h: y.unflatten(2, (-1, h)).permute(0, 3, 1, 2))),
    "merged_by_view": Fault("A02", attention(merge=lambda y: y.reshape(len(y), y.shape[2], -1))),
    # blocks and norms
    "post_norm": Fault("gpt2-13", block(post_norm)),
    "as_gpt": Fault("gpt2-13", block(post_norm), model=of("transformer.ln_f", lambda right: lambda x: x)),
    "residual_normed": Fault("L09", block(from_normed(True, True))),
    "attention_residual_normed": Fault("L09", block(from_normed(True, False))),
    "parallel": Fault("gpt2-14", block(parallel)),
    "norms_behind": Fault("", block(norms_behind)),
    "backward_without_projection": Fault("L12", ((nn.LayerNorm, "forward", LostTerm.of),)),
    "residual_twice": Fault("L16", block(residual_twice)),
    "no_norm_before_feed_forward": Fault("L17", block(unnormed)),
    "last_layer_left_out": Fault("L18", model=last_left_out),
    "rms_norm": Fault("L15", ((nn.LayerNorm, "forward", rms),)),
    "norms_exchanged": Fault("L07", block(norms_exchanged)),
    "first_norm_twice": Fault("L07", block(first_norm_twice)),
    "no_final_norm": Fault("L10", model=of("transformer.ln_f", lambda right: lambda x: x)),
    "final_norm_twice": Fault("L10", model=of("transformer.ln_f", lambda right: lambda x: right(right(x)))),
    "eps_1e-12": Fault("L01", config={"layer_norm_epsilon": 1e-12}),
    "eps_1e-6": Fault("L01", config={"layer_norm_epsilon": 1e-6}),
    "eps_outside": Fault("L03", norm(lambda c, eps: c / ((c * c).mean(-1, keepdim=True).sqrt() + eps))),
    "sample_variance": Fault("L04", norm(lambda c, eps: c / (c.var(-1, keepdim=True, correction=1) + eps).sqrt())),
    # feed-forward
    "erf": Fault("G02 G04 G10", config={"activation_function": "gelu"}),
    "relu": Fault("G04", config={"activation_function": "relu"}),
    "quick_gelu": Fault("", acted(lambda x: x * torch.sigmoid(1.702 * x))),
    "no_activation": Fault("G09", acted(lambda x: x)),
    "0.44715": Fault("G03", acted(tanh_gelu(0.44715))),
    # embeddings
    "positions_from_1": Fault("E03 E04", model=of("transformer.wpe", lambda right: lambda ids: right(ids + 1))),
    "positions_by_mask": Fault("E04", (*HOLD,), model=counted_positions),
    "no_positions": Fault("", model=behind("transformer.wpe", lambda y: 0 * y)),
    "words_times_root": Fault("gpt2-16", model=behind("transformer.wte", lambda y: y * y.shape[-1] ** 0.5)),
    "look_up_detached": Fault("O08", model=behind("transformer.wte", torch.Tensor.detach)),
    "last_of_repeated_wins": Fault("E11", model=last_wins),
    # head and loss
    "untied_copy": Fault("H01 O08", model=untied),
    "head_detached": Fault("H01 O08", model=detached),
    "head_bias": Fault("", model=behind("lm_head", lambda y: y + torch.linspace(-1, 1, y.shape[-1]))),
    "not_shifted": Fault("gpt2-05", loss(ce)),
    "shifted_twice": Fault("gpt2-06", loss(lambda z, y: ce(z[:, :-2], y[:, 2:]))),
    "shifted_back": Fault("gpt2-07", loss(lambda z, y: ce(z[:, 1:], y[:, :-1]))),
    "rolled": Fault("gpt2-08", loss(lambda z, y: ce(z, y.roll(-1, 1)))),
    "flattened_then_shifted": Fault("gpt2-08", loss(across_rows)),
    "divided_by_T": Fault("gpt2-09", loss(lambda z, y: summed(z, y) / (y != -100).sum())),
    "divided_by_all": Fault("gpt2-09", loss(lambda z, y: summed(z, y) / y.numel())),
    "divided_by_all_shifted": Fault("S03", loss(lambda z, y: summed(z, y) / y[:, 1:].numel())),
    "summed": Fault("gpt2-10", loss(summed)),
    "summed_over_rows": Fault("gpt2-10", loss(lambda z, y: summed(z, y) / len(y))),
    "mean_of_rows": Fault("S04", loss(of_rows)),
    "ignored_counted_as_0": Fault("S01", loss(lambda z, y: ce(z[:, :-1], y[:, 1:].clamp(min=0)))),
    "ignored_are_the_last": Fault("S01", loss(lambda z, y: ce(z[:, :-1], torch.where(y < 0, 18, y)[:, 1:]))),
    "pads_counted": Fault("D10", loss(pads_counted)),
    "pads_counted_as_input": Fault("D10", labelled(lambda y, ids, mask: torch.where(mask == 0, ids, y))),
    "ignored_counted_as_input": Fault("D10", labelled(lambda y, ids, mask: torch.where(y == -100, ids, y))),
    "input_for_labels": Fault("D10", labelled(lambda y, ids, mask: ids)),
    "pads_counted_as_end": Fault("D10", labelled(lambda y, ids, mask: torch.where(mask == 0, 7, y))),
    "end_ignored": Fault("gpt2-30", labelled(lambda y, ids, mask: torch.where(y == 7, -100, y))),
    "end_ignored_in_input": Fault("gpt2-30", labelled(lambda y, ids, mask: torch.where(ids == 7, -100, y))),
    "tied_all_the_same": Fault("gpt2-31", model=tied, case="probe"),
    "tied_to_lm_head": Fault(
        "gpt2-31", weights=lambda w: {**w, "transformer.wte.weight": w["lm_head.weight"]}, model=tied, case="probe"),
    "logits_times_root": Fault("gpt2-32", model=behind("lm_head", lambda y: y * y.new_tensor(12) ** -0.5)),
    "vocabulary_padded": Fault("H18", loss(padded_vocabulary)),
    "softmax_over_positions": Fault("S08", loss(over_positions)),
    "base_2": Fault("", loss(lambda z, y: ce(z[:, :-1], y[:, 1:]) / math.log(2))),
    "smoothed": Fault("", loss(lambda z, y: ce(z[:, :-1], y[:, 1:], label_smoothing=0.1))),
    # loading
    "square_c_proj_not_transposed": Fault("C01 C06", weights=changed("attn.c_proj.weight", np.transpose)),
    "c_attn_reshaped": Fault("gpt2-12", weights=changed("c_attn.weight", lambda a: a.reshape(a.shape[::-1]).T)),
    "c_fc_reshaped": Fault("C06", weights=changed("c_fc.weight", lambda a: a.reshape(a.shape[::-1]).T)),
    "norms_not_found": Fault("C02", weights=unnamed_norms),
    "no_biases": Fault("gpt2-18", weights=changed("bias", np.zeros_like)),
    "no_bias_in_c_attn": Fault("gpt2-18", model=unbiased("c_attn")),
    "c_attn_loaded_without_bias": Fault("gpt2-18", weights=changed("c_attn.bias", np.zeros_like)),
    "no_bias_in_c_proj": Fault("gpt2-18", model=unbiased("c_proj")),
    "no_bias_in_feed_forward": Fault("gpt2-18", model=unbiased("c_fc", "mlp.c_proj")),
    "rows_of_positions_cut": Fault("C11", weights=changed("wpe.weight", lambda a: np.concatenate([a[2:], 0 * a[:2]]))),
    "no_key_bias": Fault("A29", weights=changed("c_attn.bias", lambda a: a * np.repeat([1, 0, 1], len(a) // 3))),
    "layers_exchanged": Fault("", weights=lambda w: {n: w[other_layer(n)] for n in w}),
    "rounded": Fault("C10", weights=lambda w: {n: a.astype(np.float16).astype(a.dtype) for n, a in w.items()}),
    # dropout
    "embedding_rate_for_residual": Fault("gpt2-17", config={"embd_pdrop": 0.2, "resid_pdrop": 0.15}, case="probe"),
    "residual_rate_for_attention": Fault("D13", config={"attn_pdrop": 0.2, "resid_pdrop": 0.3}, case="probe"),
    "keep_for_rate": Fault("D12", config={"attn_pdrop": 0.7, "resid_pdrop": 0.8, "embd_pdrop": 0.85}, case="probe"),
    # two at once
    "erf_and_eps": Fault("L01 G02 G04 G10", config={"activation_function": "gelu", "layer_norm_epsilon": 1e-3}),
    "per_head_and_erf": Fault("A19 G02 G04 G10", attention(per_head), config={"activation_function": "gelu"}),
    "residual_normed_and_not_shifted": Fault("L09 gpt2-05", (*block(from_normed(True, True)), *loss(ce))),
    "thirds_and_no_final_norm": Fault(
        "gpt2-11 A33 L10", chunks(2, 1, 0), model=of("transformer.ln_f", lambda right: lambda x: x)),
    # steps
    "everything_decays": Fault("O04", decaying(None), steps=True),
    "nothing_decays": Fault("O04", decaying(True), steps=True),
}  # fmt: skip


@contextlib.contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The patches, and what was there before afterwards."""
    made = A.published

    def published(weights: Any, facts: Any) -> Any:
        models = made(weights, facts)
        fault.model(models[""])
        return models

    patches = [*fault.patches, (A, "published", published)]
    before = [(owner, name, owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name))
              for owner, name, _ in patches]  # fmt: skip
    try:
        for owner, name, wrong in patches:
            setattr(owner, name, wrong)
        yield
    finally:
        for owner, name, right in reversed(before):
            setattr(owner, name, right)


def candidate(fault: Fault) -> Arrays:
    """What the adapter hands over on the fault's case."""
    case = cases.read(f"gpt2/{fault.case}")
    facts = copy.deepcopy(case.facts)
    facts["config"] |= fault.config
    if not fault.steps:
        facts["optimizer"] = None
    weights = {name: np.asarray(a, np.float32) for name, a in fault.weights(case.section("weights")).items()}
    inputs = {key.partition("/")[2]: case.tensor(key) for key in case.entries if key.startswith("inputs/")}
    with planted(fault):
        return A.candidate({n: np.ascontiguousarray(a) for n, a in weights.items()}, inputs, facts)


# ---- From token to token ---------------------------------------------------------------------------------------------
WRITTEN = {"unmoved": "gpt2-26", "by_column": "gpt2-27", "padding_seen": "gpt2-28", "one_later": "gpt2-25", "": ""}


def written(name: str) -> Arrays:
    """What transformers' model hands over on gpt2/generation with one of these mistakes."""
    case = cases.read("gpt2/generation")
    theirs_ = {key: value for key, value in case.facts["config"].items() if key != "initialization"}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**theirs_, attn_implementation="eager")).eval()
    weights = {key: torch.tensor(np.asarray(a, np.float32)) for key, a in case.section("weights").items()}
    model.load_state_dict(weights, strict=False)
    given = (case.tensor(f"inputs/{key}") for key in ("input_ids", "attention_mask", "forced"))
    ids, mask, forced = map(torch.tensor, given)
    seen = torch.ones_like(mask) if name == "padding_seen" else mask

    def positions(mask: torch.Tensor) -> torch.Tensor:
        there = torch.ones_like(mask) if name == "by_column" else mask
        return (there.cumsum(1) - 1).clamp(min=0)

    right = model.forward

    def forward(input_ids: Any = None, attention_mask: Any = None, position_ids: Any = None, **given: Any) -> Any:
        n = input_ids.shape[1]
        if attention_mask is None:  # of ones alone
            past = given["past_key_values"].get_seq_length() if given.get("past_key_values") else 0
            attention_mask = torch.ones(len(input_ids), past + n, dtype=torch.int64)
        at = positions(attention_mask)[:, -n:]
        at = at + (name == "one_later" and n < attention_mask.shape[1])
        return right(input_ids=input_ids, attention_mask=attention_mask, position_ids=at, **given)

    model.forward = forward
    found, text = {}, case.text()
    unmoved = transformers.cache_utils.DynamicCache.reorder_cache
    try:
        if name == "unmoved":
            transformers.cache_utils.DynamicCache.reorder_cache = lambda self, order: None
        for run, settings in text["runs"].items():
            if not settings.get("do_sample"):
                given = {"do_sample": False, "pad_token_id": case.config().eos_token_id, **settings}
                found[f"forward/{run}"] = model.generate(input_ids=ids, attention_mask=seen, **given)
    finally:
        transformers.cache_utils.DynamicCache.reorder_cache = unmoved
    read, logits = model.forward(ids, seen, use_cache=True), []
    for column in range(forced.shape[1]):
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
        given = {"past_key_values": read.past_key_values, "use_cache": True}
        read = model.forward(forced[:, column : column + 1], seen, **given)
        logits.append(read.logits[:, -1])
    found["forward/logits"] = torch.stack(logits, 1)
    given = {key: value.detach().numpy() for key, value in found.items()}
    return {key: value for key, value in given.items() if value.shape == case.entries[key].shape}
