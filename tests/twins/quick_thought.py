"""Quick-thought in torch: TensorFlow's GRUCell step by step, torch.nn.LSTM over packed rows, sums of words."""

from published import oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn = torch.nn
    c, state = model.config, {name: torch.from_numpy(a.copy()) for name, a in model.state_dict().items()}

    class QuickThought(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            self.held = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(a) for name, a in state.items()})
            self.f, self.g = nn.Identity(), nn.Identity()  # of what they give a name

        def named_parameters(self, *_, **__):
            return ((name.removeprefix("held.").replace("/", "."), p) for name, p in super().named_parameters())

        def gated(self, x, there, side, ending):
            w, u, b = (self.held[f"{side}/{leaf}{ending}"] for leaf in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"))
            h, n, found = x.new_zeros(len(x), u.shape[1]), u.shape[1], []
            for t in range(x.shape[1]):
                a = x[:, t] @ w.T + b
                r, z = torch.sigmoid(a[:, : 2 * n] + h @ u[: 2 * n].T).chunk(2, -1)
                new = torch.tanh(a[:, 2 * n :] + (r * h) @ u[2 * n :].T)
                h = torch.where(there[:, t, None] > 0, (1 - z) * new + z * h, h)
                found.append(h)
            return torch.stack(found, 1)

        def remembered(self, x, there, side, ending):
            leaves = ("weight_ih", "weight_hh", "bias_ih")
            leaves = {f"{leaf}_l0": self.held[f"{side}/{leaf}_l0{ending}"] for leaf in leaves}
            one = nn.LSTM(x.shape[-1], c.encoder_dim // (1 + c.bidir), batch_first=True).double()
            leaves["bias_hh_l0"] = torch.zeros_like(leaves["bias_ih_l0"])
            h = torch.func.functional_call(one, leaves, (x,))[0]
            last = h.gather(1, (there.sum(1) - 1).clamp(min=0)[:, None, None].expand(-1, 1, h.shape[-1]))
            return torch.where(there[..., None] > 0, h, last) * there.any(1)[:, None, None]

        def side(self, ids, there, side):
            table = "word_embedding" if side == "f" or c.shared_table else "word_embedding_out"
            x = self.held[table][ids]
            if c.encoder == "BOW":
                h = (x * there[..., None]).cumsum(1)
            else:
                h = self.read(x, there, side)
            h = getattr(self, side)(h)
            half = h.shape[-1] // 2
            return h, torch.cat([h[:, -1, :half], h[:, 0, half:]], -1) if c.bidir and c.encoder != "BOW" else h[:, -1]

        def read(self, x, there, side):
            one = self.gated if c.encoder == "GRU" else self.remembered
            h = one(x, there, side, "")
            if not c.bidir:
                return h
            sizes, length = there.sum(1), x.shape[1]
            turned = torch.where(there > 0, sizes[:, None] - 1 - torch.arange(length), torch.arange(length))
            back = one(x.gather(1, turned[..., None].expand_as(x)), there, side, "_reverse")  # from its own last word
            return torch.cat([h, back.gather(1, turned[..., None].expand_as(back)) * there[..., None]], -1)

        def forward(self, input_ids, attention_mask, **_):
            shape = input_ids.shape
            flat = input_ids.reshape(-1, shape[-1]), attention_mask.reshape(-1, shape[-1])
            sides = [self.side(*flat, side) for side in "fg"]
            h, s = (torch.cat(parts, -1) for parts in zip(*sides, strict=True))
            h = h.reshape(*shape, -1)
            return {"last_hidden_state": h, "hidden_states": [h], "pooler_output": s.reshape(*shape[:-1], -1)}

        @property
        def base_model(self):
            return self

    module = QuickThought()
    module.context = c.context_size
    return module


def terms(module, batch):
    """Row by row, as released: the diagonal is 0, targets are shares."""
    torch, _ = oracle()
    f, g = module(**torch_inputs(batch))["pooler_output"].chunk(2, -1)
    places, losses = torch.from_numpy(batch["sentence_places"]), []
    for u, v, place in zip(f, g, places, strict=True):
        there = place >= 0
        u, v, place = u[there], v[there], place[there]
        z = (u @ v.T).fill_diagonal_(0)
        y = ((place[:, None] - place).abs() <= module.context).double().fill_diagonal_(0)
        losses.append(-(y / y.sum(1, keepdim=True) * torch.log_softmax(z, -1)).sum(-1))
    return {"adjacent_sentence": torch.cat(losses).mean()}
