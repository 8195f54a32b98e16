"""Mistakes in RoBERTa's, ALBERT's, ELECTRA's and GPT-2's own parts, torch."""
from plants_t import B, F, G, HF, LH, LL, OG, T, conv

# ---- RoBERTa
INC = "return incremental_indices.long() + padding_idx"
T("t103", "roberta/published", F, "positions from 0, as BERT's", ("roberta", "RobertaEmbeddings", INC, "return torch.arange(input_ids.shape[1])[None].expand_as(input_ids)"), link=HF + "issues/10736")
T("t104", "roberta/padding", F, "positions count on through padding", ("roberta", "RobertaEmbeddings", INC, "return (torch.arange(input_ids.shape[1])[None] + padding_idx + 1).expand_as(input_ids)"), link=HF + "issues/1761")
T("t105", "roberta/padding", OG, "positions from the attention mask, not from the ids that are padding", ("roberta", "RobertaModel", "            position_ids=position_ids,\n            token_type_ids", "            position_ids=attention_mask.cumsum(1) * attention_mask + self.config.pad_token_id,\n            token_type_ids"))
T("t106", "roberta/published", LL, "the decoder's bias is added twice", ("roberta", "RobertaLMHead", "x = self.decoder(x)", "x = self.decoder(x) + self.bias"), link=HF + "pull/2928")
T("t107", "roberta/adam", F, "GELU by tanh in the LM head", ("roberta", "RobertaLMHead", "x = gelu(x)", "x = nn.functional.gelu(x, approximate='tanh')"))
T("t108", "roberta/padding", F, "positions without the offset of the padding id", ("roberta", "RobertaEmbeddings", INC, "return incremental_indices.long()"), link=HF + "issues/5285")
# ---- ALBERT
GROUP = "group_idx = int(i / (self.config.num_hidden_layers / self.config.num_hidden_groups))"
T("t109", "albert/groups", OG, "layer groups taken in turn: i % groups", ("albert", GROUP, "group_idx = i % self.config.num_hidden_groups"))
T("t110", "albert/published", F, "bias of the mapping from embeddings to hidden states not loaded", conv("own['albert.encoder.embedding_hidden_mapping_in.bias'] = torch.zeros_like(own['albert.encoder.embedding_hidden_mapping_in.bias'])"))
T("t111", "albert/square", OG, "no mapping where embeddings are as wide as hidden states, as in ELECTRA", ("albert", "AlbertTransformer", "        hidden_states = self.embedding_hidden_mapping_in(hidden_states)\n", "        if self.config.embedding_size != self.config.hidden_size:\n            hidden_states = self.embedding_hidden_mapping_in(hidden_states)\n"))
T("t112", "albert/published", LL, "GELU by erf in the masked LM's head alone", ("albert", "AlbertMLMHead", "ACT2FN[config.hidden_act]", "ACT2FN['gelu']"))
T("t113", "albert/version-1", F, "no dropout behind the attention's dense", ("albert", "AlbertAttention", "        attn_output = self.output_dropout(attn_output)\n", ""))
T("t114", "albert/published", OG, "feed-forward's residual is the layer's input", ("albert", "AlbertLayer", "self.full_layer_layer_norm(ffn_output + attention_output)", "self.full_layer_layer_norm(ffn_output + hidden_states)"))
T("t115", "albert/published", F, "the two LayerNorms of the layer exchanged at conversion", conv("for part in ('weight', 'bias'):", "    a, b = (f'albert.encoder.albert_layer_groups.0.albert_layers.0.{x}.{part}' for x in ('attention.LayerNorm', 'full_layer_layer_norm'))", "    own[a], own[b] = own[b], own[a]"))
T("t116", "albert/published", G, "shared weights learn from the last pass alone: the first has a detached copy", ("albert", "AlbertTransformer", "            hidden_states = self.albert_layer_groups[group_idx](\n                hidden_states,\n                attention_mask,\n                **kwargs,\n            )", "            group = self.albert_layer_groups[group_idx]\n            if i == 0:\n                held = {n: p.detach() for n, p in group.named_parameters()}\n                hidden_states = torch.func.functional_call(group, held, (hidden_states, attention_mask))\n            else:\n                hidden_states = group(hidden_states, attention_mask, **kwargs)"))
T("t117", "albert/published", LL, "the sentence-order head reads the first token without the pooler", ("albert", "AlbertModel", "self.pooler_activation(self.pooler(sequence_output[:, 0]))", "sequence_output[:, 0]"))
T("t118", "albert/square", F, "ReLU in the pooler", ("albert", "AlbertModel", "self.pooler_activation = nn.Tanh()", "self.pooler_activation = nn.ReLU()"))
T("t119", "albert/lamb", LL, "sentence-order labels inverted", ("port", "cross_entropy(pairs, batch[f\"{pair}_labels\"].flatten())", "cross_entropy(pairs.flip(-1), batch[f\"{pair}_labels\"].flatten())"))
T("t120", "albert/published", F, "attention's residual missing in the second pass", ("albert", "AlbertTransformer", "            group_idx =", "            self.config.turn = i\n            group_idx ="), ("albert", "AlbertAttention", "self.LayerNorm(hidden_states + attn_output)", "self.LayerNorm(hidden_states + attn_output if self.config.turn == 0 else attn_output)"))
T("t121", "albert/published", B, "heads of the values in the other order", ("albert", "AlbertAttention", "            value_layer,\n            attention_mask,", "            value_layer.flip(1),\n            attention_mask,"))
T("t122", "albert/groups", F, "inner layers of a group run from the last to the first", ("albert", "AlbertLayerGroup", "enumerate(self.albert_layers)", "enumerate(reversed(self.albert_layers))"))
T("t123", "albert/groups", LL, "one inner layer of each group run", ("albert", "AlbertLayerGroup", "enumerate(self.albert_layers)", "enumerate(self.albert_layers[:1])"))
T("t124", "albert/square", F, "the mapping's kernel not transposed", conv("own['albert.encoder.embedding_hidden_mapping_in.weight'] = own['albert.encoder.embedding_hidden_mapping_in.weight'].T.contiguous()"))
T("t125", "albert/published", G, "gradient of the shared feed-forward averaged over the passes", ("albert", "AlbertLayer", "        ffn_output = self.ffn(attention_output)\n", "        for p in (self.ffn.weight, self.ffn.bias, self.ffn_output.weight, self.ffn_output.bias):\n            if p._backward_hooks is None:\n                p.register_hook(lambda g: g / 2)\n        ffn_output = self.ffn(attention_output)\n"))
T("t126", "albert/version-1", F, "the same dropout mask in every pass of the shared layer", ("port", "KEEP.get(name := called(module))", "KEEP.get((name := called(module)).split('@')[0])"), ("port", "    keep = KEEP.get(name)\n    dropped = probs", "    keep = KEEP.get(name.split('@')[0])\n    dropped = probs"))
T("t127", "albert/published", LL, "one pass too many through the shared layer", ("albert", "AlbertTransformer", "range(self.config.num_hidden_layers)", "range(self.config.num_hidden_layers + 1)"), (("albert", "AlbertTransformer", "group_idx = int(", "group_idx = 0 * int(")))
T("t128", "albert/groups", F, "all layers run by group 0", ("albert", GROUP, "group_idx = 0"))
# ---- ELECTRA
T("t129", "electra/published", LL, "discriminator's loss with weight 1, not 50", ("port", "\"replaced_token\": config[\"discriminator_weight\"]", "\"replaced_token\": 1.0"), link="https://github.com/ThilinaRajapakse/simpletransformers/issues/390")
T("t130", "electra/published", F, "the discriminator reads the masked input, not the generator's samples", ("port", "    ids[at], labels[at] = samples,", "    labels[at] ="))
T("t131", "electra/published", OG, "a sample that is the right word still counts as replaced", ("port", "(samples != batch[\"masked_lm_ids\"][row, slot]).to(labels.dtype)", "torch.ones_like(samples)"))
T("t132", "electra/joint", F, "discriminator's loss over padding too", ("port", "weight = (torch.ones_like(ids) if mask is None else mask).to(each.dtype)", "weight = torch.ones_like(each)"), link="https://github.com/PaddlePaddle/PaddleNLP/pull/35")
T("t133", "electra/release", G, "discriminator's labels inverted: 1 for original", ("port", "binary_cross_entropy_with_logits(logits, labels.to(logits.dtype)", "binary_cross_entropy_with_logits(logits, 1 - labels.to(logits.dtype)"))
T("t134", "electra/discriminator", LL, "discriminator's head without activation", ("electra", "ElectraDiscriminatorPredictions", "        hidden_states = self.activation(hidden_states)\n", ""))
T("t135", "electra/generator", F, "bias of embeddings_project not loaded", conv("own['electra.embeddings_project.bias'] = torch.zeros_like(own['electra.embeddings_project.bias'])"))
T("t136", "electra/published", G, "shared tables learn from the generator alone", ("electra", "ElectraForPreTraining", "        self.electra = ElectraModel(config)\n", "        self.electra = ElectraModel(config)\n        self.electra.cut = True\n"), ("electra", "ElectraModel", "        if hasattr(self, \"embeddings_project\"):\n", "        if hasattr(self, 'cut'):\n            embedding_output = embedding_output.detach()\n        if hasattr(self, \"embeddings_project\"):\n"), link="https://github.com/PaddlePaddle/PaddleNLP/issues/3374")
T("t137", "electra/discriminator", B, "segment embeddings left out", ("electra", "ElectraEmbeddings", "embeddings = inputs_embeds + token_type_embeddings", "embeddings = inputs_embeds"))
# ---- GPT-2
CAUSAL = "        if encoder_hidden_states is not None:\n            encoder_attention_mask = create"


def causal(sees):
    return ("gpt2", "GPT2Model", CAUSAL, f"        n, real = inputs_embeds.shape[1], attention_mask[:, None, None, :] != 0\n        sees = {sees}\n        causal_mask = torch.zeros_like(sees, dtype=inputs_embeds.dtype).masked_fill(~sees, torch.finfo(inputs_embeds.dtype).min)\n" + CAUSAL)


SPLIT = "query_states, key_states, value_states = self.c_attn(hidden_states).split(self.split_size, dim=2)"
T("t138", "gpt2/published", F, "causal mask one too wide: the next token is seen", causal("torch.ones(n, n).tril(1).bool() & real"))
T("t139", "gpt2/published", OG, "causal mask one too narrow: a token does not see itself", causal("torch.ones(n, n).tril(-1).bool() & real"))
T("t140", "gpt2/probe", LH, "no causal mask: padding alone is hidden", causal("torch.ones(n, n).bool() & real"))
T("t141", "gpt2/published", F, "no padding mask, only the causal one", causal("torch.ones(n, n).tril().bool() & torch.ones_like(real)"), link=HF + "issues/808")
T("t142", "gpt2/published", B, "c_attn split as key, query, value", ("gpt2", "GPT2Attention", SPLIT, SPLIT.replace("query_states, key_states", "key_states, query_states")))
T("t143", "gpt2/probe", OG, "c_attn viewed as (heads, 3, size), as Megatron's", ("gpt2", "GPT2Attention", SPLIT, "mixed = self.c_attn(hidden_states)\n            query_states, key_states, value_states = (a.flatten(2) for a in mixed.unflatten(2, (self.num_heads, 3, -1)).unbind(3))"))
T("t144", "gpt2/published", F, "scores also divided by the layer's number", ("gpt2", "GPT2Attention", "if self.scale_attn_by_inverse_layer_idx:", "if True:"), link=HF + "pull/44397")
T("t145", "gpt2/published", LL, "the last LayerNorm left out", ("gpt2", "GPT2Model", "        hidden_states = self.ln_f(hidden_states)\n", ""))
T("t146", "gpt2/probe", F, "embeddings' dropout on the words alone", ("gpt2", "GPT2Model", "hidden_states = inputs_embeds + position", "hidden_states = self.drop(inputs_embeds) + position"), ("gpt2", "GPT2Model", "        hidden_states = self.drop(hidden_states)\n", ""))
T("t147", "gpt2/published", F, "attention's residual taken behind ln_1", ("gpt2", "GPT2Block", "        residual = hidden_states\n        hidden_states = self.ln_1(hidden_states)\n", "        residual = hidden_states = self.ln_1(hidden_states)\n"))
T("t148", "gpt2/published", OG, "GELU by erf where the checkpoint's is by tanh", ("gpt2", "ACT2FN[config.activation_function]", "ACT2FN['gelu']"), link="https://github.com/karpathy/nanoGPT/issues/2")
T("t149", "gpt2/published", LL, "labels not shifted", ("port", "ahead = 0 if \"decoder_input_ids\" in batch else 1", "ahead = 0"), link=HF + "pull/404")
T("t150", "gpt2/published", G, "labels shifted twice", ("port", "ahead = 0 if \"decoder_input_ids\" in batch else 1", "ahead = 2"), link=HF + "pull/37830")
T("t151", "gpt2/published", F, "ignored labels (-100) taken for id 0", ("port", "cross_entropy(logits.flatten(0, 1), asked.flatten())", "cross_entropy(logits.flatten(0, 1), asked.flatten().clamp(min=0))"))
T("t152", "gpt2/published", F, "positions begin at 1", ("gpt2", "GPT2Model", "+ past_seen_tokens", "+ past_seen_tokens + 1"))
T("t153", "gpt2/probe", F, "head tied to the words though it has weights of its own", conv("own['lm_head.weight'] = own['transformer.wte.weight']"))
T("t154", "gpt2/published", G, "the tied table's gradient counted under both names", ("gpt2", "GPT2Model", "            inputs_embeds = self.wte(input_ids)\n", "            if self.wte.weight._backward_hooks is None:\n                self.wte.weight.register_hook(lambda g: 2 * g)\n            inputs_embeds = self.wte(input_ids)\n"))
T("t155", "gpt2/published", B, "attention and MLP beside each other, as GPT-J's", ("gpt2", "GPT2Block", "        residual = hidden_states\n        hidden_states = self.ln_1(hidden_states)\n", "        entered = residual = hidden_states\n        hidden_states = self.ln_1(hidden_states)\n"), ("gpt2", "GPT2Block", "hidden_states = self.ln_2(hidden_states)", "hidden_states = self.ln_2(entered)"))
T("t156", "gpt2/published", LH, "positions from the attention mask's sum, 1 at padding", ("gpt2", "GPT2Model", "        position_embeds = self.wpe(position_ids)\n", "        position_ids = (attention_mask.cumsum(1) - 1).masked_fill(attention_mask == 0, 1)\n        position_embeds = self.wpe(position_ids)\n"), link=HF + "issues/4130")
T("t157", "gpt2/probe", LH, "the attention's c_proj loaded into Linear: transposed", conv("for name in own:", "    own[name] = own[name].T.contiguous() if name.endswith('attn.c_proj.weight') else own[name]"), link=HF + "issues/311")
