"""transformers' BertForPreTraining as a candidate: every intermediate, every gradient, optimizer steps.

    python torch_transformers.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Copy this file and put your model where `published` makes its own. Needs torch, transformers, safetensors. Attention is
registered as one more implementation, in the eager one's equations, so that scores and probabilities are seen.
"""

import json
import re
import sys
from pathlib import Path

import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers.masking_utils import AttentionMaskInterface, eager_mask

VARIANTS = ("mask_constant", "pad_row_gradient", "mlm_denominator_eps")  # fields of minibert's that no port has
SEEN, KEEP = {}, {}  # of the pass in progress: what the hooks saw, and the dropout masks they apply


def bert(weights, inputs, facts):
    """{"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of a case; facts: what its case.json says."""
    weights, batches = {name: torch.as_tensor(value) for name, value in weights.items()}, batches_of(inputs)
    model = published(weights, facts["config"])
    parameters = {name: p for name, p in model.named_parameters() if name in weights}
    seen = traced(model, batches[0], facts["config"])
    seen["loss"].backward()
    found = {f"forward/{name}": value for name, value in seen.items()}
    held = {name: value for name, value in seen.items() if value.retains_grad} | parameters
    found |= {f"gradients/{name}": value.grad for name, value in held.items() if value.grad is not None}
    found |= trained(model, parameters, batches, facts) if facts.get("optimizer") else {}
    return {name: value.detach().clone(memory_format=torch.contiguous_format).numpy() for name, value in found.items()}


def published(weights, config):
    """The published model with the case's weights, in their precision; `eval`, since dropout is given as data."""
    transformers.AttentionInterface.register("recorded", attention)
    AttentionMaskInterface.register("recorded", eager_mask)
    fields = {name: value for name, value in config.items() if name not in VARIANTS}
    made = transformers.BertConfig(**fields, attn_implementation="recorded")
    model = transformers.BertForPreTraining(made).to(next(iter(weights.values())).dtype).eval()
    assert not model.load_state_dict(weights, strict=False).unexpected_keys
    if config.get("pad_row_gradient"):
        model.bert.embeddings.word_embeddings.padding_idx = None
    for name, module in model.named_modules():
        module.golden_name, module.mask_constant = name, config.get("mask_constant", "min")
        module.register_forward_hook(observed)
    return model


def observed(module, args, output):
    if isinstance(module, torch.nn.Dropout):
        keep = KEEP.get(module.golden_name)
        return output if keep is None else output * keep / (1 - module.p)
    if isinstance(output := output[0] if isinstance(output, tuple) else output, torch.Tensor):
        note(module.golden_name, output)
    return None


def note(name, value):
    if value.requires_grad:
        value.retain_grad()
    SEEN[name] = value
    return value


def attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    name = module.golden_name
    scores = note(f"{name}.scores", query @ key.transpose(2, 3) * (scaling or query.size(-1) ** -0.5))
    if attention_mask is not None:
        lowest = torch.finfo(scores.dtype).min if module.mask_constant == "min" else float(module.mask_constant)
        scores = scores + attention_mask.clamp(min=lowest)
    probs = note(f"{name}.probs", scores.softmax(-1))
    keep = KEEP.get(f"{name}.dropout")
    dropped = probs if keep is None else probs * keep / (1 - module.dropout.p)
    context = note(f"{name}.context", (dropped @ value).transpose(1, 2).flatten(2))
    return context.unflatten(2, (query.shape[1], -1)), probs


def traced(model, batch, config):
    """What every module gave, by name, and the losses of one batch."""
    SEEN.clear()
    KEEP.clear()
    KEEP.update({name.removeprefix("dropout/"): keep for name, keep in batch.items() if name.startswith("dropout/")})
    spellings = (("input_mask", "attention_mask"), ("segment_ids", "token_type_ids"))
    mask, types = (batch.get(ours, batch.get(theirs)) for ours, theirs in spellings)
    out = model(batch["input_ids"], attention_mask=mask, token_type_ids=types)
    asked = out.prediction_logits.take_along_dim(batch["masked_lm_positions"][..., None], 1).flatten(0, 1)
    each = cross_entropy(asked, batch["masked_lm_ids"].flatten(), reduction="none")
    weight = batch["masked_lm_weights"].flatten().to(each.dtype)
    total = weight.sum() + config.get("mlm_denominator_eps", 0.0)
    masked_lm = (each * weight).sum() / torch.where(total == 0, torch.ones_like(total), total)
    next_sentence = cross_entropy(out.seq_relationship_logits, batch["next_sentence_labels"].flatten())
    loss = masked_lm + next_sentence
    return {**SEEN, "loss.masked_lm": masked_lm, "loss.next_sentence": next_sentence, "loss": loss}


def trained(model, parameters, batches, facts):
    """The state after the case's steps: BERT's Adam (no bias correction) or AdamW, eps beside the root in both."""
    plan, found = facts["optimizer"], {}
    s, warmup, total, released = plan["first_step"], plan["warmup"], plan["total"], plan["name"] == "bert_adam"
    slots = ("adam_m", "adam_v") if released else ("exp_avg", "exp_avg_sq")
    moments = {f"{slot}.{name}": torch.zeros_like(p) for slot in slots for name, p in parameters.items()}
    for k in range(1, max(facts["steps"]) + 1):
        model.zero_grad()
        loss = traced(model, batches[(k - 1) % len(batches)], facts["config"])["loss"]
        loss.backward()
        falling = 1 - s / total if plan["schedule"] == "bert" else (total - s) / (total - warmup)
        rate, s = plan["learning_rate"] * (s / warmup if s < warmup else max(0.0, falling)), s + 1
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters.values()))
        eps, fix1, fix2 = (1e-6, 1, 1) if released else (1e-8, 1 - 0.9**k, 1 - 0.999**k)
        with torch.no_grad():
            for name, p in parameters.items():
                g = p.grad * plan["clip_norm"] / norm.clamp(min=plan["clip_norm"])
                m, v = (moments[f"{slot}.{name}"] for slot in slots)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                decay = plan["weight_decay"] * (not re.search("LayerNorm|layer_norm|bias", name))
                p -= rate * (m / fix1 / ((v / fix2).sqrt() + eps) + decay * p)
        if k in facts["steps"]:
            rate = torch.tensor(rate, dtype=torch.float64)
            state = {"loss": loss, "learning_rate": rate, "gradient_norm": norm, **parameters, **moments}
            found |= {f"steps/{k}/{name}": value.detach().clone() for name, value in state.items()}
    return found


def batches_of(inputs):
    """[{name: tensor}]: names of later batches begin with their number."""
    batches = {}
    for name, value in inputs.items():
        at, _, rest = name.partition("/") if name[0].isdigit() else ("0", "", name)
        batches.setdefault(int(at), {})[rest] = torch.as_tensor(value)
    return [batches[at] for at in sorted(batches)]


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    kind = getattr(torch, dtype or facts["dtype"])
    weights = {name: w.to(kind) for name, w in load_file(Path(case) / "weights.safetensors").items()}
    save_file(bert(weights, load_file(Path(case) / "inputs.safetensors"), facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
