"""transformers' models of the families as candidates: every intermediate, every gradient, optimizer steps.

    python torch_transformers.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Copy this file and put your model where `published` makes its own. Needs torch, transformers, safetensors. Attention is
registered as one more implementation, in the eager one's equations, so that scores and probabilities are seen.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import MethodType, SimpleNamespace

import torch
import transformers
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.optimization import Adafactor

MODELS = {
    **dict.fromkeys(("bert", "bert_wwm", "macbert"), "BertForPreTraining"), "bert_wwm_ext": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM", "albert": "AlbertForPreTraining", "gpt2": "GPT2LMHeadModel",
    "t5": "T5ForConditionalGeneration", "bart": "BartForConditionalGeneration",
    "generator": "ElectraForMaskedLM", "discriminator": "ElectraForPreTraining",
}  # fmt: skip
SEEN, KEEP, CALLS = {}, {}, Counter()  # of the pass in progress: what hooks saw, dropout masks, calls of each module
TURN = []  # BART's dropouts, which are no modules, in the order in which they come
AT = [""]  # the network that runs, as the names of a joint model begin


def candidate(weights, inputs, facts):
    """{"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of a case; facts: what its case.json says."""
    weights, batches = {name: torch.as_tensor(value) for name, value in weights.items()}, batches_of(inputs)
    models = published(weights, facts)
    named = [(start + name, p) for start, model in models.items() for name, p in model.named_parameters()]
    parameters = {name: p for name, p in named if name in weights}
    seen = traced(models, batches[0], facts["config"])
    seen["loss"].backward()
    loaded(named, weights)
    found = {f"forward/{name}": value for name, value in seen.items()}
    held = {name: value for name, value in seen.items() if value.retains_grad} | parameters
    found |= {f"gradients/{name}": value.grad for name, value in held.items() if value.grad is not None}
    found |= trained(models, parameters, batches, facts) if facts.get("optimizer") else {}
    return {name: value.detach().clone(memory_format=torch.contiguous_format).numpy() for name, value in found.items()}


def published(weights, facts):
    """{prefix: published model with the case's weights, in their precision}; `eval`, since dropout is given as data."""
    transformers.AttentionInterface.register("recorded", attention)
    AttentionMaskInterface.register("recorded", eager_mask)
    config, family = facts["config"], facts.get("family", "bert")
    roles = {"": config["role"] if family == "electra" else family}
    if roles[""] == "joint":
        roles = {"generator.": "generator", "discriminator.": "discriminator"}
    models = {start: network(role, start, config, weights) for start, role in roles.items()}
    if "generator." in models and config["sharing"] != "none":
        if config["sharing"] == "all":
            models["generator."].electra = models["discriminator."].electra
        tables = models["generator."].electra.embeddings = models["discriminator."].electra.embeddings
        models["generator."].generator_lm_head.weight = tables.word_embeddings.weight
    for model in models.values():
        for name, module in model.named_modules():
            if not hasattr(module, "golden_name"):
                module.register_forward_hook(observed)
            module.golden_name, module.mask_constant = name, config.get("mask_constant", "min")
            if isinstance(module, torch.nn.Embedding) and config.get("pad_row_gradient"):
                module.padding_idx = None
    return models


def network(role, start, config, weights):
    """One published model; a joint model's generator is a fraction as wide."""
    kind = getattr(transformers, MODELS[role])
    known = kind.config_class().to_dict()
    fields = {name: value for name, value in config.items() if name in known}
    if start == "generator.":
        sizes = ("hidden_size", "num_attention_heads", "intermediate_size")
        fields |= {name: max(1, round(config[name] * config["generator_size"])) for name in sizes}
    if role == "t5":  # today's classes tie the tables whatever is said, and take this for the scale of the logits
        scaled, said = config["tie_word_embeddings"], config["scale_decoder_outputs"]
        fields["scale_decoder_outputs"] = fields["tie_word_embeddings"] = scaled if said is None else said
    model = kind(kind.config_class(**fields, attn_implementation="recorded")).eval()
    if "lm_head.weight" in weights:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    for norm in (module for module in model.modules() if type(module).__name__ == "T5LayerNorm"):
        norm.forward = MethodType(rms_norm, norm)  # theirs takes the mean square in float32
    own = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
    left = model.to(next(iter(own.values())).dtype).load_state_dict(own, strict=False).unexpected_keys
    if left:
        sys.exit(f"{kind.__name__} has no {left[0]}, nor {len(left) - 1} more of the case's weights")
    return model


def loaded(named, weights):
    """What the loss depends on is a tensor of the case, or tied to one; that it stays as it was drawn is an error."""
    given = {p.data_ptr() for name, p in named if name in weights}
    drawn = [name for name, p in named if p.data_ptr() not in given and p.grad is not None and p.grad.any()]
    if drawn:
        sys.exit(f"the case has no {drawn[0]}, nor {len(drawn) - 1} more tensors that the model reads")


def rms_norm(norm, x):
    return norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))


def observed(module, args, output):
    if isinstance(module, torch.nn.Dropout):
        keep = KEEP.get(name := called(module))
        return note(name, output if keep is None else output * keep / (1 - module.p))
    if isinstance(output := output[0] if isinstance(output, tuple) else output, torch.Tensor):
        note(called(module), output)
    return None


def called(module, part=""):
    """The golden name of this call of a module: the n-th after the first has "@n" behind it."""
    name = AT[0] + module.golden_name + part
    CALLS[name] += 1
    return name + (f"@{CALLS[name] - 1}" if CALLS[name] > 1 else "")


def note(name, value):
    if value.requires_grad:
        value.retain_grad()
    SEEN[name] = value
    return value


def attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, position_bias=None, **kwargs):
    scores = note(called(module, ".scores"), query @ key.transpose(2, 3) * (scaling or query.size(-1) ** -0.5))
    scores = scores if position_bias is None else scores + position_bias
    if attention_mask is not None:
        lowest = torch.finfo(scores.dtype).min if module.mask_constant == "min" else float(module.mask_constant)
        scores = scores + attention_mask.clamp(min=lowest)
    probs = note(called(module, ".probs"), scores.softmax(-1))
    drop = getattr(module, "attention_dropout", getattr(module, "attn_dropout", None)) or module.dropout
    name, rate = (called(module, ".dropout"), drop) if isinstance(drop, float) else (called(drop), drop.p)
    keep = KEEP.get(name)
    dropped = probs if keep is None else probs * keep / (1 - rate)
    context = note(called(module, ".context"), (dropped @ value).transpose(1, 2).flatten(2))
    return context.unflatten(2, (query.shape[1], -1)), probs


def dropouts(model):
    """The names of BART's dropouts, and these as data in the place of its own."""
    functional = SimpleNamespace(**{**vars(torch.nn.functional), "dropout": turned})
    transformers.models.bart.modeling_bart.nn = SimpleNamespace(**{**vars(torch.nn), "functional": functional})
    for stack, parts in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        yield f"model.{stack}.dropout"
        for i in range(len(getattr(model.model, stack).layers)):
            yield from (f"model.{stack}.layers.{i}.{part}_dropout" for part in (*parts, "activation", "final"))


def turned(x, p, training):
    if not TURN:  # a pass of somebody else's
        return torch.nn.functional.dropout(x, p, training)
    keep = KEEP.get(TURN.pop(0))
    return x if keep is None else x * keep / (1 - p)


def traced(models, batch, config):
    """What every module gave, by name, and the losses of one batch."""
    for held in (SEEN, KEEP, CALLS, TURN):
        held.clear()
    TURN.extend(name for model in models.values() if model.config.model_type == "bart" for name in dropouts(model))
    KEEP.update({name.removeprefix("dropout/"): keep for name, keep in batch.items() if name.startswith("dropout/")})
    spellings = (("input_mask", "attention_mask"), ("segment_ids", "token_type_ids"))
    mask, types = (batch.get(ours, batch.get(theirs)) for ours, theirs in spellings)
    more = ("position_ids", "decoder_input_ids", "decoder_attention_mask")
    others = {name: batch[name] for name in more if name in batch}
    others |= {} if types is None else {"token_type_ids": types}
    terms, factors = {}, {}
    for AT[0], model in models.items():
        given = batch["input_ids"], batch.get("replaced_labels")
        ids, labels = replaced(batch) if AT[0] == "discriminator." else given
        out = model(ids, attention_mask=mask, **others)
        logits = out.get("prediction_logits", out.get("logits"))
        if "labels" in batch:  # -100: nothing is asked; a decoder with a source has read what stands before each
            ahead = 0 if "decoder_input_ids" in batch else 1
            logits, asked = logits[:, : logits.shape[1] - ahead], batch["labels"][:, ahead:]
            terms["next_token"] = cross_entropy(logits.flatten(0, 1), asked.flatten())
            continue
        if labels is not None:
            each = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
            weight = (torch.ones_like(ids) if mask is None else mask).to(each.dtype)
            terms["replaced_token"] = mean(each, weight, config.get("rtd_denominator_eps", 0.0))
            continue
        asked = logits.take_along_dim(batch["masked_lm_positions"][..., None], 1).flatten(0, 1)
        each = cross_entropy(asked, batch["masked_lm_ids"].flatten(), reduction="none")
        weight = batch["masked_lm_weights"].flatten().to(each.dtype)
        terms["masked_lm"] = mean(each, weight, config.get("mlm_denominator_eps", 0.0))
        for pair in ("next_sentence", "sentence_order"):
            if f"{pair}_labels" in batch:
                pairs = out.get("seq_relationship_logits", out.get("sop_logits"))
                terms[pair] = cross_entropy(pairs, batch[f"{pair}_labels"].flatten())
    if len(models) > 1:
        factors = {"masked_lm": config["generator_weight"], "replaced_token": config["discriminator_weight"]}
    loss = sum(factors.get(term, 1.0) * value for term, value in terms.items())
    return {**SEEN, **{f"loss.{term}": value for term, value in terms.items()}, "loss": loss}


def mean(each, weight, eps):
    total = weight.sum() + eps
    return (each * weight).sum() / torch.where(total == 0, torch.ones_like(total), total)


def replaced(batch):
    """The discriminator's input and labels: a sample at every slot that counts; one that is right is no replacement."""
    ids, labels = batch["input_ids"].clone(), torch.zeros_like(batch["input_ids"])
    row, slot = batch["masked_lm_weights"].nonzero(as_tuple=True)
    at, samples = (row, batch["masked_lm_positions"][row, slot]), batch["replacement_ids"][row, slot]
    ids[at], labels[at] = samples, (samples != batch["masked_lm_ids"][row, slot]).to(labels.dtype)
    return ids, labels


def trained(models, parameters, batches, facts):
    """The state after the case's steps: BERT's Adam (no bias correction) or AdamW, eps beside the root in both; or
    transformers' Adafactor, without its moments, as it is beside T5.
    """
    plan, found = facts["optimizer"], {}
    factored = Adafactor(parameters.values(), lr=1.0, relative_step=False) if plan["name"] == "adafactor" else None
    s, warmup, total, released = plan["first_step"], plan["warmup"], plan["total"], plan["name"] == "bert_adam"
    slots = ("adam_m", "adam_v") if released else ("exp_avg", "exp_avg_sq")
    moments = {f"{slot}.{name}": torch.zeros_like(p) for slot in slots for name, p in parameters.items()}
    for k in range(1, max(facts["steps"]) + 1):
        for p in parameters.values():
            p.grad = None
        loss = traced(models, batches[(k - 1) % len(batches)], facts["config"])["loss"]
        loss.backward()
        falling = 1 - s / total if plan["schedule"] == "bert" else (total - s) / (total - warmup)
        rising = 1 if factored else s / warmup
        falling = (max(1, warmup) / max(s, warmup, 1)) ** 0.5 if factored else falling
        rate, s = plan["learning_rate"] * (rising if s < warmup else max(0.0, falling)), s + 1
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters.values()))
        eps, fix1, fix2 = (1e-6, 1, 1) if released else (1e-8, 1 - 0.9**k, 1 - 0.999**k)
        if factored:
            for p in parameters.values():
                p.grad *= plan["clip_norm"] / norm.clamp(min=plan["clip_norm"])
            factored.param_groups[0] |= {"lr": rate}
            factored.step()
        with torch.no_grad():
            for name, p in parameters.items() if not factored else ():
                g = p.grad * plan["clip_norm"] / norm.clamp(min=plan["clip_norm"])
                m, v = (moments[f"{slot}.{name}"] for slot in slots)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                decay = plan["weight_decay"] * (not re.search("(?i)layer_?norm|ln_|bias", name))
                p -= rate * (m / fix1 / ((v / fix2).sqrt() + eps) + decay * p)
        if k in facts["steps"]:
            rate = torch.tensor(rate, dtype=torch.float64)
            state = {"loss": loss, "learning_rate": rate, "gradient_norm": norm, **parameters}
            state |= {} if factored else moments
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
    save_file(candidate(weights, load_file(Path(case) / "inputs.safetensors"), facts), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
