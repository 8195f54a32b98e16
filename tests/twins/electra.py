"""ELECTRA's two networks together in torch: transformers' classes, what is shared being the same torch parameters."""

import numpy as np
from published import label, oracle, term_of, torch_inputs, twin

from minibert.families import electra


def joined(model):
    """The two published networks with the joint model's weights, what is shared being the same torch parameters."""
    torch, _ = oracle()
    flat, both = model.state_dict(), torch.nn.Module()
    for alias, name in electra.aliases(model.config).items():
        flat[alias] = flat[name]
    kinds = {"discriminator": "ElectraForPreTraining", "generator": "ElectraForMaskedLM"}
    for role, kind in kinds.items():
        own = {name.removeprefix(f"{role}."): value for name, value in flat.items() if name.startswith(f"{role}.")}
        own = {name: value for name, value in own.items() if "baseline" not in name}
        part = electra.towers(model.config)[role]
        setattr(both, role, twin(part, own, {*electra.aliases(part)}, kind))
    g, d = both.generator.electra, both.discriminator.electra
    if model.config.sharing in ("embeddings", "all"):
        g.embeddings = d.embeddings
        both.generator.generator_lm_head.weight = d.embeddings.word_embeddings.weight
    if model.config.sharing == "all":
        g.encoder, g.embeddings_project = d.encoder, d.embeddings_project
    if "baseline" in model.params["generator"]:
        both.generator.generator_baseline = torch.nn.Linear(g.config.hidden_size, 1).double()
        for name, value in model.params["generator"]["baseline"].items():
            getattr(both.generator.generator_baseline, name).data = torch.from_numpy(value.copy())
    both.base_model = d  # registered already: no further name
    return both


def corrupted(batch):
    """(ids, labels) of the discriminator, in a plain loop."""
    ids, labels = batch["input_ids"].copy(), np.zeros_like(batch["input_ids"])
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        at = b, batch["masked_lm_positions"][b, m]
        ids[at] = batch["replacement_ids"][b, m]
        labels[at] = ids[at] != batch["masked_lm_ids"][b, m]
    return ids, labels


def joint_terms(both, batch):
    torch, _ = oracle()
    inputs, (ids, labels) = torch_inputs(batch), corrupted(batch)
    found = both.discriminator(**{**inputs, "input_ids": torch.from_numpy(ids)})
    out = both.generator(**inputs)
    return {
        "masked_lm": term_of("masked_lm", out.logits, label("masked_lm", batch), batch["input_mask"]),
        "replaced_token": term_of("replaced_token", found.logits, labels, batch["input_mask"]),
    }


def adversarial_terms(both, batch):
    torch, _ = oracle()
    inputs, (ids, labels) = torch_inputs(batch), corrupted(batch)
    b, m = np.nonzero(batch["masked_lm_weights"])
    at, samples = (b, batch["masked_lm_positions"][b, m]), torch.from_numpy(batch["replacement_ids"][b, m])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    found = both.discriminator(**{**inputs, "input_ids": torch.from_numpy(ids)})
    losses = bce(found.logits, torch.from_numpy(labels).double(), reduction="none")
    reward = losses[at].detach()
    out = both.generator(**inputs, output_hidden_states=True)
    log_p = out.logits.log_softmax(-1)[at][torch.arange(len(b)), samples]
    u = both.generator.generator_baseline(out.hidden_states[-1][at].detach())[:, 0]
    advantage = reward - torch.nn.functional.softplus(-u).detach()
    replaced = losses[batch["input_mask"] == 1].mean()
    masked_lm = term_of("masked_lm", out.logits, label("masked_lm", batch), batch["input_mask"])
    policy = {"policy": -(advantage * log_p).mean(), "baseline": bce(u, torch.exp(-reward))}
    return {"masked_lm": masked_lm, **policy, "replaced_token": replaced}
