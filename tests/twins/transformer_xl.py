"""Transformer-XL in torch, as kimiyoung/transformer-xl has it: the padded shift, -inf, clusters by index_select."""

from itertools import pairwise

import numpy as np
from published import oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config
    ends, n, k, d = [*c.ends], c.n_head, c.d_head, c.d_model
    one = c.div_val == 1
    rows = [c.vocab_size] if one else [b - a for a, b in pairwise(ends)]

    class Outputs(dict):
        __getattr__ = dict.get

    class Embedding(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [c.d_embed // c.div_val**i for i in range(len(rows))]
            self.emb_layers = nn.ModuleList([nn.Embedding(r, e) for r, e in zip(rows, widths, strict=True)])
            projected = not (one and c.d_embed == d)
            self.emb_projs = nn.ParameterList([nn.Parameter(torch.zeros(d, e)) for e in widths] if projected else [])

        def forward(self, ids):
            if one:
                e = self.emb_layers[0](ids)
                e = nn.functional.linear(e, self.emb_projs[0]) if len(self.emb_projs) else e
                return e * d**0.5
            flat = ids.reshape(-1)
            found = torch.zeros(len(flat), d, dtype=torch.float64)
            for i, (a, b) in enumerate(pairwise(ends)):
                at = ((flat >= a) & (flat < b)).nonzero().squeeze(1)
                e = nn.functional.linear(self.emb_layers[i](flat[at] - a), self.emb_projs[i])
                found = found.index_copy(0, at, e)
            return found.reshape(*ids.shape, d) * d**0.5

    class Attention(nn.Module):
        def __init__(self, w, r):
            super().__init__()
            self.qkv_net, self.r_net = nn.Linear(d, 3 * n * k, bias=False), nn.Linear(d, n * k, bias=False)
            self.drop, self.o_net = nn.Dropout(0.0), nn.Linear(n * k, d, bias=False)
            self.layer_norm = nn.LayerNorm(d, eps=c.layer_norm_epsilon)
            self.r_w_bias, self.r_r_bias = (nn.Parameter(torch.zeros(n, k)) if b is None else b for b in (w, r))

        def forward(self, w, r, unseen, mems):
            source = w if mems is None else torch.cat([mems, w], 1)
            source = self.layer_norm(source) if c.pre_lnorm else source
            q, key, v = (a.reshape(*a.shape[:2], n, k) for a in self.qkv_net(source).chunk(3, -1))
            q, r = q[:, -w.shape[1] :], self.r_net(r).reshape(-1, n, k)
            ac = torch.einsum("bind,bjnd->bnij", q + self.r_w_bias, key)
            bd = self.shifted(torch.einsum("bind,jnd->bnij", q + self.r_r_bias, r))
            scores = ((ac + bd) * k**-0.5).masked_fill(unseen, float("-inf"))
            self.probs = scores.softmax(-1)
            u = torch.einsum("bnij,bjnd->bind", self.probs, v).flatten(2)
            f = w + self.drop(self.o_net(u))
            return f if c.pre_lnorm else self.layer_norm(f)

        def shifted(self, x):
            zeros = torch.zeros(*x.shape[:3], 1, dtype=x.dtype)
            padded = torch.cat([zeros, x], 3)
            return padded.reshape(*x.shape[:2], x.shape[3] + 1, x.shape[2])[:, :, 1:].reshape(x.shape)

    class Feed(nn.Module):
        def __init__(self):
            super().__init__()
            parts = nn.Linear(d, c.d_inner), nn.ReLU(), nn.Dropout(0.0), nn.Linear(c.d_inner, d), nn.Dropout(0.0)
            self.CoreNet, self.layer_norm = nn.Sequential(*parts), nn.LayerNorm(d, eps=c.layer_norm_epsilon)

        def forward(self, x):
            return x + self.CoreNet(self.layer_norm(x)) if c.pre_lnorm else self.layer_norm(x + self.CoreNet(x))

    class Layer(nn.Module):
        def __init__(self, *biases):
            super().__init__()
            self.dec_attn, self.pos_ff = Attention(*biases), Feed()

        def forward(self, *given):
            return self.pos_ff(self.dec_attn(*given))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.word_emb, self.drop, biases = Embedding(), nn.Dropout(0.0), (None, None)
            if not c.untie_r:
                self.r_w_bias, self.r_r_bias = (nn.Parameter(torch.zeros(n, k)) for _ in range(2))
                biases = self.r_w_bias, self.r_r_bias
            self.layers = nn.ModuleList([Layer(*biases) for _ in range(c.n_layer)])

        def forward(self, input_ids, attention_mask=None, mems=None, **_):
            h = self.drop(self.word_emb(input_ids))
            q, m = h.shape[1], 0 if mems is None else mems[0].shape[1]
            distance = torch.arange(q + m - 1, -1, -1.0, dtype=torch.float64)
            distance = distance.clamp(max=c.clamp_len) if c.clamp_len > 0 else distance
            angles = torch.outer(distance, 10000 ** -(torch.arange(0, d, 2, dtype=torch.float64) / d))
            r = self.drop(torch.cat([angles.sin(), angles.cos()], -1))
            every = torch.ones(q, q + m)
            unseen = every.triu(1 + m)
            if c.same_length:
                over = q + m - c.mem_len
                unseen = unseen + every.tril(-(q - over if over > 0 else q))
            unseen = (unseen > 0)[None, None]
            if attention_mask is not None:
                there = torch.cat([torch.ones(len(h), m), attention_mask], 1)
                unseen = unseen | (there == 0)[:, None, None]
                unseen = unseen & ~unseen.all(-1, keepdim=True)  # padding that sees nothing, and is asked nothing
            hidden, new = [], []
            for i, layer in enumerate(self.layers):
                hidden.append(h)
                before = None if mems is None else mems[i]
                new.append((h if before is None else torch.cat([before, h], 1))[:, -c.mem_len :].detach())
                h = layer(h, r, unseen, before)
            hidden.append(h := self.drop(h))
            attentions = [layer.dec_attn.probs for layer in self.layers]
            return Outputs(last_hidden_state=h, hidden_states=hidden, attentions=attentions, mems=new)

    class Softmax(nn.Module):
        def __init__(self, word_emb):
            super().__init__()
            tables, projs = word_emb.emb_layers, word_emb.emb_projs
            self.out_layers = nn.ModuleList([nn.Linear(t.weight.shape[1], len(t.weight)) for t in tables])
            if c.tie_word_embeddings:
                for layer, held in zip(self.out_layers, tables, strict=True):
                    layer.weight = held.weight
            clusters, first = len(ends) - 2, tables[0].weight.shape[1]
            if clusters:
                self.cluster_weight = nn.Parameter(torch.zeros(clusters, first))
                self.cluster_bias = nn.Parameter(torch.zeros(clusters))
            own = 1 if c.proj_share_all_but_first else len(ends) - 1
            held = [projs[0 if one else i] for i in range(len(ends) - 1)] if len(projs) else []
            self.out_projs = nn.ParameterList([nn.Parameter(p.detach().clone()) if i < own else p
                                               for i, p in enumerate(held)])  # fmt: skip

        def logits(self, h, i):
            layer = self.out_layers[0 if one else i]
            rows = slice(ends[i], ends[i + 1]) if one else slice(None)
            weight, bias = layer.weight[rows], layer.bias[rows]
            if i == 0 and len(ends) > 2:
                weight, bias = torch.cat([weight, self.cluster_weight]), torch.cat([bias, self.cluster_bias])
            h = h @ self.out_projs[i] if len(self.out_projs) else h
            return nn.functional.linear(h, weight, bias)

        def forward(self, h, target):
            """The nll of each position."""
            head = self.logits(h, 0).log_softmax(-1)
            nll = torch.zeros(len(h), dtype=h.dtype)
            for i, (a, b) in enumerate(pairwise(ends)):
                at = ((target >= a) & (target < b)).nonzero().squeeze(1)
                within = target[at] - a
                if i == 0:
                    log = head[at].gather(1, within[:, None])[:, 0]
                else:
                    column = ends[1] + i - 1 if c.cluster_order == "ascending" else -i
                    tail = self.logits(h[at], i).log_softmax(-1)
                    log = head[at, column] + tail.gather(1, within[:, None])[:, 0]
                nll = nll.index_copy(0, at, -log)
            return nll

    class Model(nn.Module):
        base_model_prefix = "transformer"

        def __init__(self):
            super().__init__()
            self.transformer = Network()
            self.crit = Softmax(self.transformer.word_emb)

        @property
        def base_model(self):
            return self.transformer

    module = Model().double()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert {*missing} == {*model.module.aliases(model.config)}
    return module


def terms(module, batch):
    torch, _ = oracle()
    h = module.transformer(**torch_inputs(batch)).last_hidden_state[:, :-1]
    target = torch.from_numpy(batch["labels"][:, 1:].copy())
    asked = target != -100
    return {"next_token": module.crit(h[asked], target[asked]).mean()}


def seen(rng, config, batch):
    """A first token in every row, so that no query sees nothing; labels in every cluster."""
    batch["attention_mask"][:, 0] = 1
    batch["labels"][:, 2:5] = np.array([[0, config.vocab_size // 2, config.vocab_size - 1]])
