"""The recurrent language model in torch, as pytorch/examples has it (word_language_model), over packed rows."""

import numpy as np
from published import oracle, torch_inputs

LEAVES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config

    class RNNModel(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            self.drop, self.encoder = nn.Dropout(c.dropout), nn.Embedding(c.vocab_size, c.width)
            self.rnn = getattr(nn, c.rnn_type)(c.width, c.nhid, c.nlayers, dropout=c.dropout, batch_first=True)
            for k in range(c.nlayers):
                self.rnn.add_module(str(k), nn.Identity())  # of each layer a name
            self.decoder = nn.Linear(c.nhid, c.vocab_size)
            if c.tie_weights:
                self.decoder.weight = self.encoder.weight

        @property
        def base_model(self):
            return self.encoded

        def encoded(self, input_ids, attention_mask=None, states=None, **_):
            h, hidden, after = self.drop(self.encoder(input_ids)), [], []
            there = torch.ones(h.shape[:2], dtype=torch.int64) if attention_mask is None else attention_mask
            ends = (there.sum(1) - 1)[:, None, None].expand(-1, 1, c.nhid)
            for k in range(c.nlayers):
                one = getattr(nn, c.rnn_type)(h.shape[-1], c.nhid, batch_first=True).double()
                own = {f"{leaf}_l0": getattr(self.rnn, f"{leaf}_l{k}") for leaf in LEAVES}
                before = None if states is None else [*states[k].transpose(0, 1).contiguous()[:, None]]
                before = before and (tuple(before) if c.rnn_type == "LSTM" else before[0])
                packed = nn.utils.rnn.pack_padded_sequence(h, there.sum(1), batch_first=True, enforce_sorted=False)
                h, last = torch.func.functional_call(one, own, (packed, before))
                h, _ = nn.utils.rnn.pad_packed_sequence(h, batch_first=True, total_length=there.shape[1])
                h = torch.where(there[..., None] > 0, h, h.gather(1, ends))  # padding passes the last state on
                h = getattr(self.rnn, str(k))(h)
                hidden.append(h)
                after.append(torch.cat(last if c.rnn_type == "LSTM" else [last]).transpose(0, 1))
            hidden[-1] = h = self.drop(h)
            return {"last_hidden_state": h, "hidden_states": hidden, "states": after}

    module = RNNModel().double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert {*missing} == {*model.module.aliases(model.config)}
    return module


def terms(module, batch):
    torch, _ = oracle()
    z = module.decoder(module.encoded(**torch_inputs(batch))["last_hidden_state"][:, :-1])
    labels = torch.from_numpy(batch["labels"][:, 1:].copy())
    return {"next_token": torch.nn.functional.cross_entropy(z.flatten(0, 1), labels.flatten())}


def seen(rng, config, batch):
    """Padding at the end alone, as rows are packed."""
    lengths = rng.integers(2, batch["input_ids"].shape[1] + 1, len(batch["input_ids"]))
    batch["attention_mask"] = (np.arange(batch["input_ids"].shape[1]) < lengths[:, None]).astype(np.int64)
    batch["labels"] = np.where(batch["attention_mask"], batch["labels"], -100)
