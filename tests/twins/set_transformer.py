"""Set Transformer in torch, as juho-lee/set_transformer has it (modules.py, models.py), with padding and over words."""

import math

from published import oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config
    divisor = math.sqrt(c.dim_hidden if c.attention_scale == "width" else c.dim_hidden // c.num_heads)

    class MAB(nn.Module):
        def __init__(self, q, k):
            super().__init__()
            self.fc_q, self.fc_k, self.fc_v = (nn.Linear(n, c.dim_hidden) for n in (q, k, k))
            if c.ln:
                self.ln0, self.ln1 = nn.LayerNorm(c.dim_hidden), nn.LayerNorm(c.dim_hidden)
            self.fc_o = nn.Linear(c.dim_hidden, c.dim_hidden)

        def forward(self, q, k, seen=None):
            q, k, v = self.fc_q(q), self.fc_k(k), self.fc_v(k)
            parts = [torch.cat(x.split(c.dim_hidden // c.num_heads, 2), 0) for x in (q, k, v)]
            scores = parts[0].bmm(parts[1].transpose(1, 2)) / divisor
            if seen is not None:
                scores = scores.masked_fill(seen.repeat(c.num_heads, 1)[:, None] == 0, -math.inf)
            o = torch.cat((parts[0] + torch.softmax(scores, 2).bmm(parts[2])).split(q.size(0), 0), 2)
            o = self.ln0(o) if c.ln else o
            o = o + torch.relu(self.fc_o(o))
            return self.ln1(o) if c.ln else o

    class SAB(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.mab = MAB(n, n)

        def forward(self, x, seen=None):
            return self.mab(x, x, seen)

    class ISAB(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.I = nn.Parameter(torch.empty(1, c.num_inds, c.dim_hidden))
            self.mab0, self.mab1 = MAB(c.dim_hidden, n), MAB(n, c.dim_hidden)

        def forward(self, x, seen=None):
            return self.mab1(x, self.mab0(self.I.repeat(x.size(0), 1, 1), x, seen))

    class PMA(nn.Module):
        def __init__(self):
            super().__init__()
            self.S = nn.Parameter(torch.empty(1, c.num_outputs, c.dim_hidden))
            self.mab = MAB(c.dim_hidden, c.dim_hidden)

        def forward(self, x, seen=None):
            return self.mab(self.S.repeat(x.size(0), 1, 1), x, seen)

    class SetTransformer(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            wide = [c.dim_input] + [c.dim_hidden] * (c.num_layers - 1)
            self.embedding = nn.Embedding(c.vocab_size, c.dim_input)
            self.enc = nn.ModuleList([ISAB(n) if c.num_inds else SAB(n) for n in wide])
            last = nn.Linear(c.dim_hidden, c.vocab_size, bias=False)
            self.dec = nn.ModuleList([PMA(), *(SAB(c.dim_hidden) for _ in range(c.decoder_layers)), last])

        @property
        def base_model(self):
            return self.encoded

        def encoded(self, input_ids, attention_mask, **_):
            h, hidden = self.embedding(input_ids), []
            for layer in self.enc:
                h = layer(h, attention_mask)
                hidden.append(h)
            h = self.dec[0](h, attention_mask)
            for layer in self.dec[1:-1]:
                h = layer(h)
            return {"last_hidden_state": h, "hidden_states": hidden}

        def forward(self, **inputs):
            return self.dec[-1](self.encoded(**inputs)["last_hidden_state"])

    module = SetTransformer().double().eval()
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()})
    return module


def terms(module, batch):
    """{term: its mean}."""
    torch, _ = oracle()
    z, labels = module(**torch_inputs(batch)), torch.from_numpy(batch["labels"])
    return {"target_token": torch.nn.functional.cross_entropy(z.flatten(0, 1), labels.flatten(), ignore_index=-100)}
