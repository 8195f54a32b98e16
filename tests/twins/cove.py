"""CoVe in torch: salesforce/cove's encoder, torch.nn.LSTM over packed rows, and the paper's decoder step by step."""

from published import oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64."""
    torch, _ = oracle()
    nn = torch.nn
    c = model.config

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(c.vocab_size, c.target_dim)
            self.rnn = nn.LSTM(c.target_dim + c.decoder_dim, c.decoder_dim, c.decoder_layers, batch_first=True)
            self.attention = nn.Linear(c.decoder_dim, c.both)
            self.combine = nn.Linear(c.both + c.decoder_dim, c.decoder_dim)
            self.out = nn.Linear(c.decoder_dim, c.vocab_size)

        def forward(self, memory, there, ids):
            z, fed, state, found = self.embedding(ids), memory.new_zeros(len(ids), c.decoder_dim), None, []
            for t in range(ids.shape[1]):
                s, state = self.rnn(torch.cat([z[:, t], fed], -1)[:, None], state)
                scores = (memory @ self.attention(s[:, 0])[..., None])[..., 0].masked_fill(there == 0, -torch.inf)
                context = (torch.softmax(scores, -1)[:, None] @ memory)[:, 0]
                fed = torch.tanh(self.combine(torch.cat([context, s[:, 0]], -1)))
                found.append(fed)
            return torch.stack(found, 1)

    class MTLSTM(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            self.vectors = nn.Embedding(c.vocab_size, c.embedding_dim)
            self.rnn = nn.LSTM(c.embedding_dim, c.hidden, c.n_layers, bidirectional=True, batch_first=True)
            self.decoder = Decoder()
            for i in range(c.n_layers):
                self.rnn.add_module(f"{i}", nn.Identity())  # of each layer a name

        def layer(self, x, there, i):
            """Of the encoder, with that layer's weights; what a packed row lacks is filled as ours is."""
            one = nn.LSTM(x.shape[-1], c.hidden, bidirectional=True, batch_first=True).double()
            own = {name.replace(f"_l{i}", "_l0"): p for name, p in self.rnn.named_parameters() if f"_l{i}" in name}
            packed = nn.utils.rnn.pack_padded_sequence(x, there.sum(1), batch_first=True, enforce_sorted=False)
            h, _ = torch.func.functional_call(one, own, (packed,))
            h, _ = nn.utils.rnn.pad_packed_sequence(h, batch_first=True, total_length=there.shape[1])
            last = h.gather(1, (there.sum(1) - 1)[:, None, None].expand(-1, 1, h.shape[-1]))
            last = torch.cat([last[..., : c.hidden], torch.zeros_like(last[..., c.hidden :])], -1)
            return getattr(self.rnn, f"{i}")(torch.where(there[..., None] > 0, h, last))

        def forward(self, input_ids, attention_mask, decoder_input_ids=None, **_):
            x = h = self.vectors(input_ids)
            hidden = []
            for i in range(c.n_layers):
                h = self.layer(h, attention_mask, i)
                hidden.append(h)
            feature = torch.cat([x, h], -1) if c.residual_embeddings else h
            out = {"last_hidden_state": feature, "hidden_states": hidden}
            if decoder_input_ids is not None:
                out["target_state"] = self.decoder(h, attention_mask, decoder_input_ids)
            return out

        @property
        def base_model(self):
            return self

    module = MTLSTM().double()
    module.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in model.state_dict().items()})
    return module


def terms(module, batch):
    torch, _ = oracle()
    z = module.decoder.out(module(**torch_inputs(batch))["target_state"])
    labels = torch.from_numpy(batch["labels"])
    return {"next_token": torch.nn.functional.cross_entropy(z.flatten(0, 1), labels.flatten(), ignore_index=-100)}
