"""transformers' BertForMaskedLM with ChineseBERT's embeddings in the place of its own, in torch."""

from types import MethodType

from published import label, loaded, oracle, spared, term_of, torch_inputs, twin

EMBEDDINGS = "bert.embeddings."


def with_fusion(model):
    """The published class; its embeddings get the letters of a call from `base_model`, which takes them in."""
    torch, _ = oracle()
    state, own = model.state_dict(), torch.nn.Module()
    config, tables = model.config, model.params["embeddings"]
    theirs = {name: value for name, value in state.items() if not name.startswith(EMBEDDINGS)}
    ours = {name for name in state if name.startswith(EMBEDDINGS)}
    ours |= {f"{EMBEDDINGS}token_type_embeddings.weight"}
    module = twin(config, theirs, spared(model) | ours, "BertForMaskedLM")
    old, wide = module.bert.embeddings, config.hidden_size
    types = ["token_type_embeddings"] if config.use_segments else []
    for name in ("word_embeddings", "position_embeddings", "LayerNorm", *types):
        setattr(own, name, getattr(old, name))
    if "pinyin" in tables:
        own.pinyin_embeddings = torch.nn.Module()
        own.pinyin_embeddings.embedding = torch.nn.Embedding(config.pinyin_letters, config.pinyin_width)
        own.pinyin_embeddings.conv = torch.nn.Conv1d(config.pinyin_width, wide, 2)
    if "glyph" in tables:
        pixels = config.glyph_fonts * config.glyph_size**2
        own.glyph_embeddings, own.glyph_map = torch.nn.Module(), torch.nn.Linear(pixels, wide)
        own.glyph_embeddings.embedding = torch.nn.Embedding(config.vocab_size, pixels)
    if "fusion" in tables:
        own.map_fc = torch.nn.Linear(tables["fusion"]["weight"].shape[1], wide)
    own.forward = MethodType(_fused, own)
    module.bert.embeddings, encode = own, module.bert.forward

    def forward(pinyin_ids=None, **inputs):
        own.letters = pinyin_ids
        return encode(**inputs)

    module.bert.forward = forward
    return loaded(module.double().eval(), state, spared(model))


def _fused(self, input_ids=None, token_type_ids=None, **_):
    torch, _ = oracle()
    parts = [self.word_embeddings(input_ids)]
    if hasattr(self, "pinyin_embeddings"):
        letters = self.pinyin_embeddings.embedding(self.letters).flatten(0, 1).transpose(1, 2)
        most = torch.nn.functional.max_pool1d(self.pinyin_embeddings.conv(letters), self.letters.shape[-1] - 1)
        parts.append(most[..., 0].view(*input_ids.shape, -1))
    if hasattr(self, "glyph_map"):
        parts.append(self.glyph_map(self.glyph_embeddings.embedding(input_ids)))
    h = self.map_fc(torch.cat(parts, -1)) if parts[1:] else parts[0]
    h = h + self.position_embeddings(torch.arange(input_ids.shape[1])[None])
    h = h + self.token_type_embeddings(token_type_ids) if hasattr(self, "token_type_embeddings") else h
    return self.LayerNorm(h)


def terms(module, batch):
    out = module.bert(**torch_inputs(batch))
    logits = module.cls(out.last_hidden_state)
    return {"masked_lm": term_of("masked_lm", logits, label("masked_lm", batch), batch["input_mask"])}
