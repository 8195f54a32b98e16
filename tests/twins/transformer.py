"""torch.nn.Transformer's stacks between one table: the Transformer of the paper, in torch."""

import re

import numpy as np
from published import oracle, torch_inputs

from minibert.families import transformer
from minibert.heads.target_token import shifted


def twin(model):
    """The module with the weights of a model, in float64; where ours has no biases, torch's are 0 and stay so."""
    torch, _ = oracle()
    nn, c = torch.nn, model.config
    act = {"gelu_new": lambda x: nn.functional.gelu(x, approximate="tanh")}.get(c.activation, c.activation)

    class Outputs(dict):
        __getattr__ = dict.get

    class Transformer(nn.Module):
        base_model_prefix = ""

        def __init__(self):
            super().__init__()
            own = {"d_model": c.d_model, "nhead": c.nhead, "dim_feedforward": c.dim_feedforward, "dropout": 0.0,
                   "activation": act, "layer_norm_eps": c.layer_norm_eps, "batch_first": True,
                   "norm_first": c.norm_first}  # fmt: skip

            def norm():
                return nn.LayerNorm(c.d_model, eps=c.layer_norm_eps) if c.norm_first or c.final_norm else None

            self.embedding = nn.Embedding(c.vocab_size, c.d_model)
            layer = nn.TransformerEncoderLayer(**own)
            self.encoder = nn.TransformerEncoder(layer, c.num_encoder_layers, norm(), enable_nested_tensor=False)
            self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**own), c.num_decoder_layers, norm())

        def embedded(self, ids):
            positions = torch.from_numpy(transformer.sinusoids(ids.shape[1], c))
            return self.embedding(ids) * c.d_model**0.5 + positions

        def forward(self, input_ids, decoder_input_ids, attention_mask, decoder_attention_mask=None, **_):
            unseen = attention_mask == 0
            memory = self.encoder(self.embedded(input_ids), src_key_padding_mask=unseen)
            length = decoder_input_ids.shape[1]
            ahead = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
            given = {"tgt_mask": ahead, "tgt_key_padding_mask": decoder_attention_mask == 0,
                     "memory_key_padding_mask": unseen}  # fmt: skip
            hidden = [self.embedded(decoder_input_ids)]
            for layer in self.decoder.layers:
                hidden.append(layer(hidden[-1], memory, **given))
            if self.decoder.norm is not None:
                hidden[-1] = self.decoder.norm(hidden[-1])
            return Outputs(last_hidden_state=hidden[-1], hidden_states=hidden, encoder_last_hidden_state=memory,
                           logits=hidden[-1] @ self.embedding.weight.T)  # fmt: skip

        @property
        def base_model(self):
            return self

    module = Transformer().double()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    for name, p in module.named_parameters():
        if name in missing:
            assert re.search(r"attn\..*bias$", name)
            p.requires_grad_(False).zero_()
    return module


def terms(module, batch):
    torch, _ = oracle()
    out, labels = module(**torch_inputs(batch)), torch.from_numpy(batch["labels"])
    smoothing, v = module.smoothing, out.logits.shape[-1]
    loss = torch.nn.functional.cross_entropy(
        out.logits.reshape(-1, v), labels.reshape(-1), ignore_index=-100, label_smoothing=smoothing
    )
    return {"next_token": loss}


def with_smoothing(model):
    module = twin(model)
    module.smoothing = model.config.label_smoothing
    return module


def seen(rng, config, batch):
    """Decoder tokens in front, so that none sees nothing at all; the first token of little variance is the source's."""
    batch["decoder_attention_mask"][:, 0] = 1
    assert shifted(np.array([[1, 2]]), 0, 0).tolist() == [[0, 1]]
