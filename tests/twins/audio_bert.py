"""Mockingjay in torch: transformers' BERT layers over frames, sinusoids and a head of features, nothing dropped."""

import numpy as np
from published import loaded, oracle, torch_inputs


def twin(model):
    """The module with the weights of a model, in float64, under the release's names."""
    torch, transformers = oracle()
    from transformers.activations import ACT2FN
    from transformers.models.bert.modeling_bert import BertEncoder

    nn, c = torch.nn, model.config
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps")
    fields = {name: getattr(c, name) for name in same}
    bert = transformers.BertConfig(**fields, attn_implementation="eager")

    class InputRepresentations(nn.Module):
        def __init__(self):
            super().__init__()
            self.spec_transform = nn.Linear(c.input_dim, c.hidden_size)
            self.LayerNorm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)

        def forward(self, frames):
            h = self.spec_transform(frames)
            i, t = np.arange(c.hidden_size), np.arange(frames.shape[1])[:, None]
            angles = t / np.power(10000, 2 * (i // 2) / c.hidden_size)
            places = np.where(i % 2, np.cos(angles), np.sin(angles))
            return self.LayerNorm(h + torch.from_numpy(places))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_representations, self.encoder = InputRepresentations(), BertEncoder(bert)

        def forward(self, input_frames, attention_mask, **_):
            h, hidden = self.input_representations(input_frames), []
            notes = [layer.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0])) for layer in
                     self.encoder.layer]  # fmt: skip
            mask = (1.0 - attention_mask.double())[:, None, None] * float(c.mask_constant)
            last = self.encoder(h, attention_mask=mask).last_hidden_state
            for note in notes:
                note.remove()
            return {"last_hidden_state": last, "hidden_states": [*hidden, last]}

    class SpecHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.act = nn.Linear(c.hidden_size, c.hidden_size), ACT2FN[c.hidden_act]
            self.LayerNorm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
            self.output = nn.Linear(c.hidden_size, c.input_dim)

        def forward(self, h):
            return self.output(self.LayerNorm(self.act(self.dense(h))))

    class Mockingjay(nn.Module):
        base_model_prefix = "Transformer"

        def __init__(self):
            super().__init__()
            self.Transformer, self.SpecHead = Transformer(), SpecHead()

        @property
        def base_model(self):
            return lambda output_hidden_states=True, output_attentions=True, **given: self.Transformer(**given)

        def tie_weights(self):
            pass

    return loaded(Mockingjay().double().eval(), model.state_dict(), set())


def terms(module, batch):
    """The release's L1Loss of what masked_select chooses."""
    torch, _ = oracle()
    given = torch_inputs(batch)
    z = module.SpecHead(module.Transformer(**given)["last_hidden_state"])
    chosen = torch.from_numpy(np.broadcast_to(batch["frame_labels"][..., None] != 0, z.shape).copy())
    target = torch.from_numpy(batch["target_frames"])
    return {"masked_frame": torch.nn.functional.l1_loss(z.masked_select(chosen), target.masked_select(chosen))}
