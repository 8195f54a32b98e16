"""AWD-LSTM in torch, as fastai has it (text/models/awdlstm.py), nothing dropped, with the terms of RNNRegularizer."""

from published import oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64, under fastai's names."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config
    wide = [c.emb_sz, *[c.n_hid] * (c.n_layers - 1), c.emb_sz]

    class WeightDropout(nn.Module):
        def __init__(self, width, hidden):
            super().__init__()
            self.module = nn.LSTM(width, hidden, batch_first=True)
            self.weight_hh_l0_raw = nn.Parameter(self.module.weight_hh_l0.detach().clone())
            del self.module._parameters["weight_hh_l0"]

        def forward(self, x, lengths, before):
            own = nn.LSTM(x.shape[-1], self.weight_hh_l0_raw.shape[1], batch_first=True).double()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            weights = {**dict(self.module.named_parameters()), "weight_hh_l0": self.weight_hh_l0_raw}
            y, last = torch.func.functional_call(own, weights, (packed, before))
            y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
            stays = y.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, y.shape[2]))
            return torch.where(torch.arange(x.shape[1])[None, :, None] < lengths[:, None, None], y, stays), last

    class AWD_LSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Embedding(c.vocab_size, c.emb_sz)
            self.encoder_dp = nn.Module()
            self.encoder_dp.emb = self.encoder
            self.input_dp, self.output_dp = nn.Dropout(0.0), nn.Dropout(0.0)
            self.hidden_dps = nn.ModuleList([nn.Dropout(0.0) for _ in range(c.n_layers)])
            self.rnns = nn.ModuleList([WeightDropout(*wide[i : i + 2]) for i in range(c.n_layers)])

        def forward(self, input_ids, attention_mask=None, states=None, last_state=None, **_):
            h, hidden, after = self.input_dp(self.encoder(input_ids)), [], []
            lengths = torch.full((len(h),), h.shape[1]) if attention_mask is None else attention_mask.sum(1)
            before = [None] * c.n_layers if last_state is None else [*(states or []), last_state]
            for i, rnn in enumerate(self.rnns):
                state = None if before[i] is None else tuple(before[i].transpose(0, 1).contiguous()[:, None])
                h, last = rnn(h, lengths, state)
                hidden.append(h)
                after.append(torch.cat(last).transpose(0, 1))
                h = self.hidden_dps[i](h) if i + 1 < c.n_layers else h
            out = {"last_hidden_state": self.output_dp(h), "raw_output": h, "hidden_states": hidden[:-1]}
            return {**out, "states": after[:-1], "last_state": after[-1]}

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Linear(c.emb_sz, c.vocab_size)

    class SequentialRNN(nn.Sequential):
        base_model_prefix = ""

        @property
        def base_model(self):
            return self[0]

    module = SequentialRNN(AWD_LSTM(), Decoder()).double().eval()
    if c.tie_weights:
        module[1].decoder.weight = module[0].encoder.weight
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert {*missing} == {*model.module.aliases(model.config)}
    return module


def terms(module, batch):
    """Of fastai: CE, AR and TAR, where the next token is asked."""
    torch, _ = oracle()
    out = module[0](**torch_inputs(batch))
    labels = torch.from_numpy(batch["labels"][:, 1:].copy())
    y, h, asked = out["last_hidden_state"][:, :-1], out["raw_output"], labels != -100
    ce = torch.nn.functional.cross_entropy(module[1].decoder(y).flatten(0, 1), labels.flatten())
    return {"next_token": ce, "activation": y[asked].pow(2).mean(),
            "temporal": (h[:, 1:] - h[:, :-1])[asked].pow(2).mean()}  # fmt: skip
