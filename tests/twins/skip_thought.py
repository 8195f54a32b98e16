"""Skip-thought in torch: torch.nn.GRU over packed rows, whose recurrent bias is 0 and stays so."""

from published import oracle, torch_inputs

from minibert.families import skip_thought


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn = torch.nn
    c, state = model.config, {name: torch.from_numpy(a.copy()) for name, a in model.state_dict().items()}

    class SkipThought(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            self.held = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(a) for name, a in state.items()})
            for part in ("encoder", *skip_thought.SIDES.values()):
                self.add_module(part, nn.Identity())  # of what it gives a name

        def named_parameters(self, *_, **__):
            return ((name.removeprefix("held.").replace("/", "."), p) for name, p in super().named_parameters())

        def gru(self, x, part, before=None, there=None):
            own = {f"{leaf}_l0": self.held[f"{part}/{leaf}_l0"] for leaf in ("weight_ih", "weight_hh", "bias_ih")}
            own["bias_hh_l0"] = torch.zeros_like(own["bias_ih_l0"])
            one = nn.GRU(x.shape[-1], own["weight_hh_l0"].shape[1], batch_first=True).double()
            before = None if before is None else before[None]
            h = torch.func.functional_call(one, own, (x, before))[0]
            if there is None:
                return h
            last = h.gather(1, (there.sum(1) - 1)[:, None, None].expand(-1, 1, h.shape[-1]))
            return torch.where(there[..., None] > 0, h, last)

        def forward(self, input_ids, attention_mask, **labels):
            x, there = self.held["Wemb"][input_ids], attention_mask
            h = self.gru(x, "encoder", there=there)
            if c.encoder == "bi":
                length = input_ids.shape[1]
                turned = torch.where(there > 0, there.sum(1)[:, None] - 1 - torch.arange(length), torch.arange(length))
                g = self.gru(x.gather(1, turned[..., None].expand_as(x)), "encoder_r", there=there)
                h = torch.cat([h, g.gather(1, turned[..., None].expand_as(g)) * there[..., None]], -1)
            h = self.encoder(h)
            s = torch.cat([h[:, -1, : c.dim // 2], h[:, 0, c.dim // 2 :]], -1) if c.encoder == "bi" else h[:, -1]
            out = {"last_hidden_state": h, "hidden_states": [h], "pooler_output": s}
            for side, part in skip_thought.SIDES.items():
                if f"{side}_labels" in labels:
                    asked = labels[f"{side}_labels"]
                    ids = torch.cat([torch.full_like(asked[:, :1], -100), asked[:, :-1]], 1)
                    words = self.held["Wemb"][ids.clamp(min=0)] * (ids >= 0)[..., None]
                    if c.conditioning == "gates":
                        d = self.gru(torch.cat([words, s[:, None].expand(-1, ids.shape[1], -1)], -1), part)
                    else:
                        d = self.gru(words, part, s)
                    d = getattr(self, part)(d)
                    out[side] = d @ self.held["ff_logit/weight"].T + self.held["ff_logit/bias"]
            return out

        @property
        def base_model(self):
            return self

    module = SkipThought()
    module.floor = c.floor
    return module


def terms(module, batch):
    torch, _ = oracle()
    labels = {f"{side}_labels": torch.from_numpy(batch[f"{side}_labels"]) for side in skip_thought.SIDES}
    out, found = module(**torch_inputs(batch), **labels), {}
    for side in skip_thought.SIDES:
        asked = labels[f"{side}_labels"]
        p = torch.softmax(out[side], -1)[asked >= 0].gather(1, asked[asked >= 0][:, None])
        found[side] = -torch.log(p + module.floor).mean()
    return found
