"""The release's network (thunlp/ERNIE, `knowledge_bert/modeling.py`) over transformers' BERT, in torch."""

import functools

import numpy as np
from published import loaded, oracle, spared, torch_inputs, twin

from minibert.families import ernie_thu


def informed(model):
    """transformers' BertForPreTraining with the K-encoder's layers, the head of entities, and their vectors."""
    torch, _ = oracle()
    config, nn = model.config, torch.nn
    wide, size, eps = config.hidden_size, config.entity_size, config.layer_norm_eps
    state = model.state_dict()
    plain = {name: value for name, value in state.items() if "_ent" not in name and "entity_" not in name}
    module = twin(config, plain, spared(model), "BertForPreTraining")

    class Informed(nn.Module):
        """A layer "mix" or "norm": states of tokens and entities come and go side by side."""

        def __init__(self, layer, kind, last):
            super().__init__()
            self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output
            self.kind, self.own = kind, None
            if kind == "norm":
                self.attention.self_ent = nn.ModuleDict({n: nn.Linear(size, size) for n in ("query", "key", "value")})
                out = {"dense": nn.Linear(size, size), "LayerNorm": nn.LayerNorm(size, eps)}
                self.attention.output_ent = nn.ModuleDict(out)
            self.intermediate.dense_ent = nn.Linear(size, config.intermediate_size)
            if not last:
                self.output.dense_ent = nn.Linear(config.intermediate_size, size)
                self.output.LayerNorm_ent = nn.LayerNorm(size, eps)

        def entities(self, e, there):
            if self.kind == "mix":
                return e
            heads, own = config.entity_attention_heads, self.attention.self_ent
            qkv = (own[name](e) for name in ("query", "key", "value"))
            q, k, v = (x.unflatten(-1, (heads, size // heads)).transpose(1, 2) for x in qkv)
            scores = q @ k.transpose(-1, -2) / (size // heads) ** 0.5 + (1.0 - there[:, None, None]) * -1e300
            context = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            out = self.attention.output_ent
            return out["LayerNorm"](out["dense"](context) + e)

        def forward(self, w, mask, e, there):
            a = self.attention(w, mask)[0]
            b = self.entities(e, there) * there[..., None]
            inner = self.intermediate
            h = inner.intermediate_act_fn(inner.dense(a) + inner.dense_ent(b))
            out = self.output
            more = out.LayerNorm_ent(out.dense_ent(h) + b) if hasattr(out, "dense_ent") else None
            return out.LayerNorm(out.dense(h) + a), more

    last, layers = ernie_thu.last_fusion(config), module.bert.encoder.layer
    for i, kind in enumerate(config.layer_types):
        if kind != "sim":
            layers[i] = Informed(layers[i], kind, i == last)
    transform = nn.ModuleDict({"dense": nn.Linear(wide, size), "LayerNorm": nn.LayerNorm(size, eps)})
    module.cls.predictions_ent = nn.ModuleDict({"transform": transform})
    module.entity_embeddings = nn.Embedding(config.num_entities, size)
    module.bert.forward = functools.partial(encoded, module)
    return loaded(module.double().eval(), state, spared(model))


def encoded(module, input_ids, attention_mask, token_type_ids=None, entity_ids=None, **_):
    """What the release computes of a batch: states of every layer, and the pooled one."""
    torch, _ = oracle()
    there = (entity_ids >= 0).double()
    e = module.entity_embeddings(entity_ids.clamp(min=0)) * there[..., None]
    there = there.clone()
    there[:, 0] = 1
    w = module.bert.embeddings(input_ids, token_type_ids)
    bias = (1.0 - attention_mask.double()[:, None, None]) * torch.finfo(torch.float64).min
    found = [w]
    for layer in module.bert.encoder.layer:
        if hasattr(layer, "entities"):
            w, e = layer(w, bias, e, there)
        else:
            w = layer(w, bias)
            w = w[0] if isinstance(w, tuple) else w
        found.append(w)
    return {"last_hidden_state": w, "hidden_states": found, "pooler_output": module.bert.pooler(w)}


def terms(module, batch):
    """The three means."""
    torch, _ = oracle()
    out = module.bert(**torch_inputs(batch))
    found, pooled = out["hidden_states"], out["pooler_output"]
    cross_entropy, used = torch.nn.functional.cross_entropy, batch["masked_lm_weights"] > 0
    at = np.nonzero(used)[0], batch["masked_lm_positions"][used]
    logits = module.cls.predictions(found[-1])[at]
    transform = module.cls.predictions_ent["transform"]
    act = module.bert.encoder.layer[0].intermediate.intermediate_act_fn
    u = transform["LayerNorm"](act(transform["dense"](found[-1])))
    total, asked = 0, 0
    for states, labels, candidates in zip(u, batch["entity_labels"], batch["entity_candidates"], strict=True):
        known = list(dict.fromkeys(candidates.tolist()))
        vectors = torch.stack([module.entity_embeddings.weight[max(j, 0)] * (j >= 0) for j in known])
        rows = labels != -100
        places = torch.tensor([known.index(label) for label in labels[rows].tolist()])
        total = total + cross_entropy(states[rows] @ vectors.T, places, reduction="sum")
        asked += int(rows.sum())
    pairs = cross_entropy(module.cls.seq_relationship(pooled), torch.from_numpy(batch["next_sentence_labels"]))
    return {
        "masked_lm": cross_entropy(logits, torch.from_numpy(batch["masked_lm_ids"][used])),
        "next_sentence": pairs,
        "entity": total / asked,
    }
