"""ELMo in torch, as allennlp has it (modules/elmo.py, elmo_lstm.py, lstm_cell_with_projection.py), nothing dropped."""

import numpy as np
from published import oracle, torch_inputs

from minibert.families.elmo import _spelled


def twin(model):
    """The module with the weights of a model, in float64, under allennlp's names."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config
    total = sum(c.filter_counts)

    class Highway(nn.Module):
        def __init__(self):
            super().__init__()
            self._layers = nn.ModuleList([nn.Linear(total, 2 * total) for _ in range(c.n_highway)])

        def forward(self, x):
            for layer in self._layers:
                nonlinear, gate = layer(x).chunk(2, -1)
                gate = torch.sigmoid(gate)
                x = gate * x + (1 - gate) * torch.relu(nonlinear)
            return x

    class TokenEmbedder(nn.Module):
        def __init__(self):
            super().__init__()
            self._char_embedding_weights = nn.Parameter(torch.zeros(c.n_characters, c.embedding_dim))
            for i, (width, count) in enumerate(zip(c.filter_widths, c.filter_counts, strict=True)):
                self.add_module(f"char_conv_{i}", nn.Conv1d(c.embedding_dim, count, width))
            self._highways, self._projection = Highway(), nn.Linear(total, c.projection_dim)

        def forward(self, characters):
            x = nn.functional.embedding(characters.flatten(0, 1), self._char_embedding_weights).transpose(1, 2)
            parts = [torch.relu(getattr(self, f"char_conv_{i}")(x).max(-1)[0]) for i in range(len(c.filter_widths))]
            return self._projection(self._highways(torch.cat(parts, -1))).reshape(*characters.shape[:2], -1)

    class Cell(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.skip = skip
            self.input_linearity = nn.Linear(c.projection_dim, 4 * c.dim, bias=False)
            self.state_linearity = nn.Linear(c.projection_dim, 4 * c.dim)
            self.state_projection = nn.Linear(c.dim, c.projection_dim, bias=False)

        def forward(self, x, there):
            h, m = x.new_zeros(len(x), c.projection_dim), x.new_zeros(len(x), c.dim)
            found = []
            for t in range(x.shape[1]):
                i, f, g, o = (self.input_linearity(x[:, t]) + self.state_linearity(h)).chunk(4, -1)
                new = (torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * m).clamp(-c.cell_clip, c.cell_clip)
                out = self.state_projection(torch.sigmoid(o) * torch.tanh(new)).clamp(-c.proj_clip, c.proj_clip)
                m, h = (torch.where(there[:, t, None] > 0, a, b) for a, b in ((new, m), (out, h)))
                found.append(h)
            return torch.stack(found, 1) + x if self.skip else torch.stack(found, 1)

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            for side in ("forward", "backward"):
                for i in range(c.n_layers):
                    self.add_module(f"{side}_layer_{i}", Cell(c.use_skip_connections and i > 0))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self._token_embedder, self._elmo_lstm = TokenEmbedder(), Layers()

        def forward(self, input_ids, attention_mask=None, char_ids=None, **_):
            spelled = torch.from_numpy(_spelled(c).astype(np.int64))
            x = self._token_embedder(spelled[input_ids] if char_ids is None else char_ids)
            there = torch.ones(x.shape[:2]) if attention_mask is None else attention_mask
            sides = []
            for side, turn in (("forward", lambda a: a), ("backward", lambda a: a.flip(1))):
                hidden = [turn(x)]
                for i in range(c.n_layers):
                    hidden.append(getattr(self._elmo_lstm, f"{side}_layer_{i}")(hidden[-1], turn(there)))
                sides.append([turn(h) for h in hidden])
            both = [torch.cat(pair, -1) for pair in zip(*sides, strict=True)]
            return {"last_hidden_state": both[-1], "hidden_states": both, "forward_state": sides[0][-1],
                    "backward_state": sides[1][-1]}  # fmt: skip

    class Model(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            self._elmo_lstm, self.softmax = Encoder(), nn.Module()
            self.softmax.W = nn.Parameter(torch.zeros(c.vocab_size, c.projection_dim))
            self.softmax.b = nn.Parameter(torch.zeros(c.vocab_size))

        @property
        def base_model(self):
            return self._elmo_lstm

    module = Model().double().eval()
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()})
    return module


def terms(module, batch):
    """Of neighbours that both have labels, each side's mean."""
    torch, _ = oracle()
    out, labels = module._elmo_lstm(**torch_inputs(batch)), torch.from_numpy(batch["labels"])
    pairs = (labels[:, 1:] != -100) & (labels[:, :-1] != -100)

    def loss(h, target):
        z = h[pairs] @ module.softmax.W.T + module.softmax.b
        return torch.nn.functional.cross_entropy(z, target[pairs])

    return {"forward_lm": loss(out["forward_state"][:, :-1], labels[:, 1:]),
            "backward_lm": loss(out["backward_state"][:, 1:], labels[:, :-1])}  # fmt: skip
