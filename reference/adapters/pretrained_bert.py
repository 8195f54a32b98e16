"""pytorch-pretrained-bert's BERT (2019, Hugging Face's first) as a candidate: outputs, losses, gradients, its BertAdam.

    python pretrained_bert.py CASE OUT.safetensors [float32|float64] [global]
    minibert check CASE OUT.safetensors --dtype float32

Needs pytorch-pretrained-bert, torch and safetensors. Its optimizer clips each tensor by itself; with `global` the whole
gradient is clipped before it, as BERT's release does.
"""

import json
import sys
from pathlib import Path
from types import ModuleType

for name in ("boto3", "botocore", "botocore.exceptions", "requests"):  # which it downloads with
    sys.modules.setdefault(name, ModuleType(name))
sys.modules["botocore.exceptions"].ClientError = Exception

import torch  # noqa: E402  after what it would not find
from pytorch_pretrained_bert.modeling import BertConfig, BertForPreTraining  # noqa: E402
from pytorch_pretrained_bert.optimization import BertAdam  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402


def candidate(weights, inputs, facts, whole=False):
    """{"forward/NAME", "gradients/NAME", "steps/K/NAME": array} of a case. whole: clip the whole gradient first."""
    torch.set_default_dtype(next(iter(weights.values())).dtype)
    model, seen = BertForPreTraining(BertConfig.from_dict(facts["config"])).eval(), {}
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert left.missing_keys == ["cls.predictions.decoder.weight"], left.missing_keys  # tied
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: note(seen, name, output))
    parameters = {name: p for name, p in model.named_parameters() if name in weights}

    def losses(k):
        batch = {name: value for name, value in inputs.items() if not name[0].isdigit()}
        if k:
            batch = {name.removeprefix(f"{k}/"): v for name, v in inputs.items() if name.startswith(f"{k}/")}
        words, pairs = model(batch["input_ids"], batch["segment_ids"], batch["input_mask"])
        asked = words.take_along_dim(batch["masked_lm_positions"][..., None], 1).flatten(0, 1)
        each = cross_entropy(asked, batch["masked_lm_ids"].flatten(), reduction="none")
        weight = batch["masked_lm_weights"].flatten().to(each.dtype)
        terms = {"masked_lm": (each * weight).sum() / weight.sum(),
                 "next_sentence": cross_entropy(pairs, batch["next_sentence_labels"].flatten())}  # fmt: skip
        return {**{f"loss.{name}": value for name, value in terms.items()}, "loss": sum(terms.values())}

    terms = losses(0)
    first = {**seen, **terms}
    terms["loss"].backward()
    found = {f"forward/{name}": value.detach() for name, value in first.items()}
    held = {name: value for name, value in first.items() if value.retains_grad} | parameters
    found |= {f"gradients/{name}": value.grad.clone() for name, value in held.items() if value.grad is not None}
    if facts["optimizer"]:
        found |= trained(model, parameters, losses, facts, whole)
    return {name: value.contiguous().clone() for name, value in found.items()}


def note(seen, name, output):
    output = output[0] if isinstance(output, tuple | list) else output
    if name and isinstance(output, torch.Tensor):
        if output.requires_grad:
            output.retain_grad()
        seen[name] = output


def trained(model, parameters, losses, facts, whole):
    """The state after the case's steps of its own optimizer, which begins at the case's first step."""
    plan, found = facts["optimizer"], {}
    plain = {name for name in parameters if "bias" in name or "LayerNorm" in name}
    groups = [{"params": [p for name, p in parameters.items() if (name in plain) == free],
               "weight_decay": 0.0 if free else plan["weight_decay"]} for free in (False, True)]  # fmt: skip
    optimizer = BertAdam(groups, lr=plan["learning_rate"], warmup=plan["warmup"] / plan["total"],
                         t_total=plan["total"], max_grad_norm=plan["clip_norm"])  # fmt: skip
    for k in range(1, max(facts["steps"]) + 1):
        model.zero_grad()
        loss = losses((k - 1) % facts["batches"])["loss"]
        loss.backward()
        if k == 1:
            for p in parameters.values():
                moments = {"next_m": torch.zeros_like(p), "next_v": torch.zeros_like(p)}
                optimizer.state[p].update(step=plan["first_step"], **moments)
        if whole:
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), plan["clip_norm"])
        optimizer.step()
        if k in facts["steps"]:
            state = {"loss": loss, **parameters}
            state |= {f"adam_{s}.{n}": optimizer.state[p][f"next_{s}"] for n, p in parameters.items() for s in "mv"}
            found |= {f"steps/{k}/{name}": value.detach().clone() for name, value in state.items()}
    return found


def main(case, out, dtype=None, clip=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    kind = getattr(torch, dtype or facts["dtype"])
    weights = {name: w.to(kind) for name, w in load_file(Path(case) / "weights.safetensors").items()}
    save_file(candidate(weights, load_file(Path(case) / "inputs.safetensors"), facts, clip == "global"), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
