"""Mistakes in transformers' torch models."""
from common import P

HF = "https://github.com/huggingface/transformers/"
F, OG, LL, LH, G, B, S = "full", "outputs and gradients", "logits and loss", "last hidden state", "gradients", "bfloat16", "steps"
PRE = {"bert": "Bert", "roberta": "Roberta", "electra": "Electra"}
ADD = "self.LayerNorm(hidden_states + input_tensor)"


def conv(*lines):
    """Lines of a weights' conversion, before the weights (own) are loaded."""
    return ("port", "    left = model.to(", "".join(f"    {line}\n" for line in lines) + "    left = model.to(")


def helper(file, code):
    first = {"bert": "class BertEmbeddings", "roberta": "class RobertaEmbeddings", "albert": "class AlbertEmbeddings", "electra": "class ElectraEmbeddings", "gpt2": "class GPT2Attention"}[file]
    return (file, first + "(nn.Module):", code.strip("\n") + "\n\n\n" + first + "(nn.Module):")


MOVE = {
    **dict.fromkeys("t004 t013 t015 t021 t023 t031 t037 t043 t044 t050 t057 t080 t084 t091".split(), "roberta/published"),
    "t017": "roberta/padding", "t022": "roberta/adam", "t078": "roberta/padding", "t079": "roberta/adam",
    **dict.fromkeys("t016 t020 t038 t056 t089".split(), "electra/published"), "t042": "electra/joint",
    **dict.fromkeys("t019 t026 t032 t039 t061 t093".split(), "electra/discriminator"),
    **dict.fromkeys("t005 t024 t047 t058 t092".split(), "electra/generator"),
}  # fmt: skip


def moved(edit, family):
    """A BERT's edit as another family's."""
    file, *texts = edit
    texts = [t.replace("Bert", PRE[family]).replace("'bert.", f"'{family}.") for t in texts]
    return (family if file == "bert" else file, *texts)


def T(name, case, kind, what, *edits, link=None, names=None, **k):
    if name in MOVE:
        case = MOVE[name]
        edits = [moved(edit, case.split("/")[0]) for edit in edits]
    P(name, "torch", case, kind, what + (f" ({link})" if link else ""), *edits, **k)


def so(f, new):
    return (f, PRE[f] + "SelfOutput", ADD, new)


def fo(f, new):
    return (f, PRE[f] + "Output", ADD, new)


NORM = '''
class FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, eps):
        r = (x.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
        h = (x - x.mean(-1, keepdim=True)) * r
        ctx.save_for_backward(h, r, w)
        return h * w + b

    @staticmethod
    def backward(ctx, g):
        h, r, w = ctx.saved_tensors
        d = g * w
        dx = r * (d - d.mean(-1, keepdim=True) - h * (d * h).mean(-1, keepdim=True))
        return dx, (g * h).flatten(0, -2).sum(0), g.flatten(0, -2).sum(0), None
'''
FUSED = "FusedNorm.apply(hidden_states + input_tensor, self.LayerNorm.weight, self.LayerNorm.bias, self.LayerNorm.eps)"
SOFT = '''
class FusedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        p = x.softmax(-1)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        return p * (g - (g * p).sum(-1, keepdim=True))


def attention('''
PROBS = ("port", "scores.softmax(-1)", "FusedSoftmax.apply(scores)")


def soft(old, new):
    assert old in SOFT
    return [PROBS, ("port", "def attention(", SOFT.lstrip("\n").replace(old, new))]


MASKED = "scores = scores + attention_mask.clamp(min=lowest)"

# ---- BERT: embeddings
T("t001", "bert/published", F, "positions count only the ids that are not 0, as a port of RoBERTa's", ("bert", "BertEmbeddings", "position_embeddings = self.position_embeddings(position_ids)", "position_ids = ((input_ids != 0).long().cumsum(1) - 1).clamp(min=0)\n        position_embeddings = self.position_embeddings(position_ids)"), link=HF + "issues/1761")
T("t002", "bert/tanh", LH, "token types the other way round: 1 for the first segment", ("bert", "BertEmbeddings", "token_type_embeddings = self.token_type_embeddings(token_type_ids)", "token_type_embeddings = self.token_type_embeddings(1 - token_type_ids)"), link=HF + "issues/2506")
T("t003", "bert/dropout", F, "embeddings: dropout before LayerNorm", ("bert", "BertEmbeddings", "embeddings = self.LayerNorm(embeddings)\n        embeddings = self.dropout(embeddings)", "embeddings = self.dropout(embeddings)\n        embeddings = self.LayerNorm(embeddings)"))
T("t004", "bert/untied", F, "word embeddings scaled by the root of the width, as the first Transformer's", ("bert", "BertEmbeddings", "embeddings = inputs_embeds + token_type_embeddings", "embeddings = inputs_embeds * inputs_embeds.size(-1) ** 0.5 + token_type_embeddings"))
T("t005", "bert/deep", OG, "position embeddings added after the LayerNorm", ("bert", "BertEmbeddings", "embeddings = embeddings + position_embeddings\n\n        embeddings = self.LayerNorm(embeddings)", "embeddings = self.LayerNorm(embeddings) + position_embeddings"))
T("t006", "bert/published", LL, "token types not passed on: all of type 0", ("port", "token_type_ids\": types", "token_type_ids\": torch.zeros_like(types)"), link="https://github.com/visheratin/web-ai/issues/12")
T("t007", "bert/release", F, "position ids begin at 1", ("bert", "BertEmbeddings", "position_ids = self.position_ids[:, past_key_values_length : seq_length + past_key_values_length]", "position_ids = self.position_ids[:, 1 : seq_length + 1]"))
T("t008", "bert/tanh", F, "LayerNorms of the layers with PyTorch's own eps, 1e-5; the embeddings' is right", ("bert", "BertSelfOutput", "eps=config.layer_norm_eps", "eps=1e-5"), ("bert", "BertOutput", "eps=config.layer_norm_eps", "eps=1e-5"), link="https://github.com/keras-team/keras-hub/issues/642")
T("t009", "bert/adamw", OG, "embeddings' dropout on the word embeddings before the sum", ("bert", "BertEmbeddings", "embeddings = inputs_embeds + token_type", "embeddings = self.dropout(inputs_embeds) + token_type"), ("bert", "BertEmbeddings", "        embeddings = self.dropout(embeddings)\n", ""))
T("t010", "bert/tanh", F, "type 0 folded into the position table at conversion, and still added", conv("own['bert.embeddings.position_embeddings.weight'] = own['bert.embeddings.position_embeddings.weight'] + own['bert.embeddings.token_type_embeddings.weight'][0]"))
T("t011", "bert/corners", G, "embedding gradient assigned per id, not added up: the last of equal ids wins", helper("bert", '''
class Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ids, weight):
        ctx.save_for_backward(ids, weight)
        return weight[ids]

    @staticmethod
    def backward(ctx, g):
        ids, weight = ctx.saved_tensors
        out = torch.zeros_like(weight)
        for i, row in zip(ids.flatten().tolist(), g.flatten(0, 1)):
            if i:
                out[i] = row
        return None, out
'''), ("bert", "BertEmbeddings", "inputs_embeds = self.word_embeddings(input_ids)", "inputs_embeds = Lookup.apply(input_ids, self.word_embeddings.weight)"))
T("t012", "bert/published", G, "the gradient of the look-up does not reach the tied table: inputs_embeds detached", ("bert", "BertEmbeddings", "embeddings = inputs_embeds + token_type", "embeddings = inputs_embeds.detach() + token_type"))
# ---- BERT: attention
T("t013", "bert/published", OG, "scores scaled by the root of the hidden size, not the head's", ("bert", "BertSelfAttention", "self.scaling = self.attention_head_size**-0.5", "self.scaling = config.hidden_size**-0.5"))
T("t014", "bert/deep", F, "scale of the scores missing in the last layer", ("bert", "BertSelfAttention", "self.scaling = self.attention_head_size**-0.5", "self.scaling = self.attention_head_size**-0.5 if layer_idx < config.num_hidden_layers - 1 else 1.0"))
T("t015", "bert/published", LH, "scale applied to the query and again to the scores", ("bert", "BertSelfAttention", "            query_layer,\n", "            query_layer * self.scaling,\n"))
T("t016", "bert/corners", F, "padding taken out after the softmax, without normalising again", ("port", "        " + MASKED, "        pass"), ("port", "probs = note(called(module, \".probs\"), scores.softmax(-1))", "probs = scores.softmax(-1)\n    probs = note(called(module, \".probs\"), probs if attention_mask is None else probs * (attention_mask == 0))"))
T("t017", "bert/published", F, "padding mask over the queries instead of the keys: unsqueeze(3)", ("port", MASKED, "scores = scores + attention_mask.transpose(-1, -2).clamp(min=lowest)"), link="https://github.com/hyunwoongko/transformer/pull/40")
T("t018", "bert/published", LH, "mask the wrong way round: padding is seen, words are not", ("port", "attention_mask=mask", "attention_mask=1 - mask"), link="https://github.com/nyu-mll/jiant/pull/465")
T("t019", "bert/untied", F, "no mask in the second layer: the loop overwrites its variable", ("bert", "BertEncoder", "                hidden_states,\n                attention_mask,", "                hidden_states,\n                attention_mask if i == 0 else None,"))
T("t020", "bert/published", OG, "mask of -10: padding is still seen a little", ("port", "lowest = torch.finfo(scores.dtype).min if module.mask_constant == \"min\" else float(module.mask_constant)", "lowest = -10.0"))
T("t021", "bert/tanh", F, "heads merged without bringing them back behind the tokens", ("bert", "BertSelfAttention", "attn_output = attn_output.reshape(*input_shape, -1)", "attn_output = attn_output.transpose(1, 2).reshape(*input_shape, -1)"))
T("t022", "bert/published", F, "queries split into (size, heads), not (heads, size)", ("bert", "BertSelfAttention", "self.query(hidden_states).view(*hidden_shape).transpose(1, 2)", "self.query(hidden_states).view(*input_shape, self.attention_head_size, -1).permute(0, 3, 1, 2)"))
T("t023", "bert/tanh", OG, "query and key of layer 0 exchanged at conversion", conv("for part in ('weight', 'bias'):", "    q, k = (f'bert.encoder.layer.0.attention.self.{x}.{part}' for x in ('query', 'key'))", "    own[q], own[k] = own[k], own[q]"))
T("t024", "bert/published", G, "value of layer 1 loaded from the key: a line copied and not changed", conv("for part in ('weight', 'bias'):", "    own[f'bert.encoder.layer.1.attention.self.value.{part}'] = own[f'bert.encoder.layer.1.attention.self.key.{part}']"))
T("t025", "bert/long", F, "softmax over the queries", ("port", "scores.softmax(-1)", "scores.softmax(-2)"))
T("t026", "bert/untied", F, "a head mask left on: the last head of layer 0 gives nothing", ("bert", "BertSelfAttention", "        attn_output = attn_output.reshape(", "        if self.layer_idx == 0:\n            attn_output = attn_output * torch.tensor([1.0, 1.0, 0.0], dtype=attn_output.dtype)[None, None, :, None]\n        attn_output = attn_output.reshape("))
T("t027", "bert/published", F, "biases of the keys not loaded", conv("for name in own:", "    own[name] = torch.zeros_like(own[name]) if name.endswith('key.bias') else own[name]"))
T("t028", "bert/dropout", F, "attention dropout normalises what is left again", ("port", "dropped = probs if keep is None else probs * keep / (1 - rate)", "dropped = probs if keep is None else probs * keep / (probs * keep).sum(-1, keepdim=True).clamp(min=1e-9)"))
T("t029", "bert/adamw", F, "hidden dropout without 1 / (1 - p)", ("port", "output * keep / (1 - module.p)", "output * keep"))
T("t030", "bert/probe", OG, "attention dropout divides by the hidden dropout's 1 - p", ("port", "probs * keep / (1 - rate)", "probs * keep / (1 - 0.2)"))
T("t031", "bert/published", G, "attention probabilities detached", ("port", "context = note(called(module, \".context\"), (dropped @ value)", "context = note(called(module, \".context\"), (dropped.detach() @ value)"))
T("t032", "bert/tanh", F, "softmax's backward without the sum", *soft("p * (g - (g * p).sum(-1, keepdim=True))", "p * g"), link="https://github.com/pocketpy/cTensor/pull/31")
T("t033", "bert/published", F, "gradient of the queries lacks the scale", ("port", "query @ key.transpose(2, 3) * (scaling or query.size(-1) ** -0.5)", "(query / scaling - (query / scaling - query).detach()) @ (key.transpose(2, 3) * scaling).detach() + (query.detach() @ (key.transpose(2, 3) - key.transpose(2, 3).detach())) * scaling"))
T("t034", "bert/masked-row", LH, "a row without any word gets zeros, not the mean of the values", ("port", "scores.softmax(-1)", "scores.masked_fill(attention_mask < -1, -torch.inf).softmax(-1).nan_to_num()"))
T("t035", "bert/processes", F, "keys of the next layer read: hidden states shifted by one token for the values", ("bert", "BertSelfAttention", "self.value(hidden_states)", "self.value(hidden_states.roll(1, 1))"))
# ---- BERT: residuals, norms, feed-forward
T("t036", "bert/deep", F, "residual of the attention missing in the last layer", so("bert", "self.LayerNorm(hidden_states + input_tensor if '.layer.5.' not in self.golden_name else hidden_states)"))
T("t037", "bert/published", LL, "feed-forward: LayerNorm on the branch alone, the residual after it", fo("bert", "self.LayerNorm(hidden_states) + input_tensor"))
T("t038", "bert/untied", F, "feed-forward's residual from the layer's input, not from the attention's output", ("bert", "BertLayer", "        self_attention_output, _ = self.attention(", "        self.entered = hidden_states\n        self_attention_output, _ = self.attention("), ("bert", "BertLayer", "self.output(intermediate_output, attention_output)", "self.output(intermediate_output, self.entered)"))
T("t039", "bert/tanh", OG, "feed-forward beside the attention (as GPT-J): it reads the layer's input", ("bert", "BertLayer", "        self_attention_output, _ = self.attention(", "        self.entered = hidden_states\n        self_attention_output, _ = self.attention("), ("bert", "BertLayer", "self.intermediate(attention_output)", "self.intermediate(self.entered)"))
T("t040", "bert/dropout", F, "dropout after the residual sum, in the attention's output", ("bert", "BertSelfOutput", "hidden_states = self.dropout(hidden_states)\n        hidden_states = self.LayerNorm(hidden_states + input_tensor)", "hidden_states = self.LayerNorm(self.dropout(hidden_states + input_tensor))"))
T("t041", "bert/published", F, "gamma and beta exchanged in one LayerNorm: attention's of layer 0", conv("w, b = (f'bert.encoder.layer.0.attention.output.LayerNorm.{x}' for x in ('weight', 'bias'))", "own[w], own[b] = own[b], own[w]"))
T("t042", "bert/tanh", G, "fused LayerNorm gives the gradients of gamma and beta the other way round, feed-forward's", helper("bert", NORM.replace("(g * h).flatten(0, -2).sum(0), g.flatten(0, -2).sum(0), None", "g.flatten(0, -2).sum(0), (g * h).flatten(0, -2).sum(0), None")), fo("bert", FUSED), link="https://github.com/Oneflow-Inc/oneflow/pull/6149")
T("t043", "bert/published", F, "attention's LayerNorm by x.std(-1) + eps, as the Annotated Transformer's", so("bert", "self.LayerNorm.weight * (hidden_states + input_tensor - (hidden_states + input_tensor).mean(-1, keepdim=True)) / ((hidden_states + input_tensor).std(-1, keepdim=True) + self.LayerNorm.eps) + self.LayerNorm.bias"))
T("t044", "bert/release", LH, "feed-forward's LayerNorm takes no mean away", fo("bert", "self.LayerNorm.weight * (hidden_states + input_tensor) * (hidden_states + input_tensor).pow(2).mean(-1, keepdim=True).rsqrt() + self.LayerNorm.bias"))
T("t045", "bert/untied", LL, "LayerNorm of the masked LM's transform without gamma and beta", conv("own['cls.predictions.transform.LayerNorm.weight'] = torch.ones_like(own['cls.predictions.transform.LayerNorm.weight'])", "own['cls.predictions.transform.LayerNorm.bias'] = torch.zeros_like(own['cls.predictions.transform.LayerNorm.bias'])"))
T("t046", "bert/published", OG, "GELU by tanh where the checkpoint's is by erf", ("bert", "ACT2FN[config.hidden_act]", "ACT2FN['gelu_new']"), link="https://github.com/apple/coremltools/pull/2863")
T("t047", "bert/eps", F, "x * sigmoid(1.702 x) in the first layer's feed-forward", ("bert", "BertIntermediate", "hidden_states = self.intermediate_act_fn(hidden_states)", "hidden_states = ACT2FN['quick_gelu'](hidden_states) if '.0.' in self.golden_name else self.intermediate_act_fn(hidden_states)"))
T("t048", "bert/corners", F, "ReLU also behind the second linear layer of the feed-forward", ("bert", "BertOutput", "hidden_states = self.dense(hidden_states)", "hidden_states = self.dense(hidden_states).relu()"))
T("t049", "bert/published", LH, "bias of the last layer's intermediate not loaded", conv("own['bert.encoder.layer.1.intermediate.dense.bias'] = torch.zeros_like(own['bert.encoder.layer.1.intermediate.dense.bias'])"))
T("t050", "bert/tanh", F, "attention's output kernels not transposed from TensorFlow's", conv("for name in own:", "    own[name] = own[name].T.contiguous() if name.endswith('attention.output.dense.weight') else own[name]"), link=HF + "pull/620")
T("t051", "bert/untied", OG, "the pooler's kernel not transposed", conv("own['bert.pooler.dense.weight'] = own['bert.pooler.dense.weight'].T.contiguous()"))
T("t052", "bert/untied", F, "layers loaded in the wrong order", conv("other = {name: name.replace('.layer.0.', '.layer.X.').replace('.layer.1.', '.layer.0.').replace('.layer.X.', '.layer.1.') for name in own}", "own = {name: own[other[name]] for name in own}"))
T("t053", "bert/deep", G, "layer 5 loaded from layer 4: the loop ends one early", conv("own = {name: own[name.replace('.layer.5.', '.layer.4.')] for name in own}"))
T("t054", "bert/published", F, "LayerNorms left at 1 and 0: the checkpoint names them gamma and beta", conv("own = {name: value for name, value in own.items() if 'LayerNorm' not in name}"), link=HF + "issues/8242")
T("t055", "bert/deep", F, "residual of the feed-forward detached in layer 3", fo("bert", "self.LayerNorm(hidden_states + (input_tensor.detach() if '.layer.3.' in self.golden_name else input_tensor))"))
T("t056", "bert/published", F, "fused LayerNorm's backward without the variance's term, attention's", helper("bert", NORM.replace(" - h * (d * h).mean(-1, keepdim=True)", "")), so("bert", FUSED))
T("t057", "bert/untied", OG, "fused LayerNorm's backward without the mean's term, last layer's", helper("bert", NORM.replace(" - d.mean(-1, keepdim=True)", "")), fo("bert", FUSED + " if '.1.' in self.golden_name else self.LayerNorm(hidden_states + input_tensor)"))
T("t058", "bert/published", OG, "GELU's derivative is taken as its CDF alone", helper("bert", '''
class FastGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return nn.functional.gelu(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 0.5 * (1 + torch.erf(x / 2**0.5))
'''), ("bert", "BertIntermediate", "self.intermediate_act_fn(hidden_states)", "FastGelu.apply(hidden_states)"))
T("t059", "bert/dropout", F, "dropout's mask forgotten in the backward pass of the feed-forward's", ("port", "return note(name, output if keep is None else output * keep / (1 - module.p))", "dropped = output if keep is None else output * keep / (1 - module.p)\n        if keep is not None and name.endswith('output.dropout') and 'attention' not in name:\n            dropped = output + (dropped - output).detach()\n        return note(name, dropped)"))
T("t060", "bert/published", OG, "intermediate's bias gradient is the mean over the tokens, not the sum", ("bert", "BertIntermediate", "hidden_states = self.dense(hidden_states)", "n = hidden_states.shape[0] * hidden_states.shape[1]\n        if self.dense.bias._backward_hooks is None:\n            self.dense.bias.register_hook(lambda g: g / n)\n        hidden_states = self.dense(hidden_states)"))
T("t061", "bert/tanh", G, "gradient of the attention's output kernels comes out transposed", ("bert", "BertSelfOutput", "hidden_states = self.dense(hidden_states)", "if self.dense.weight._backward_hooks is None:\n            self.dense.weight.register_hook(lambda g: g.T)\n        hidden_states = self.dense(hidden_states)"))
T("t062", "bert/deep", OG, "gradient checkpointing starts from a detached input at layer 2: layers 0 and 1 learn nothing", ("bert", "BertEncoder", "            hidden_states = layer_module(\n                hidden_states,", "            hidden_states = layer_module(\n                hidden_states.detach() if i == 2 else hidden_states,"))
# ---- BERT: pooler and heads
T("t063", "bert/published", LL, "the pooler takes the last token", ("bert", "BertPooler", "hidden_states[:, 0]", "hidden_states[:, -1]"))
T("t064", "bert/tanh", OG, "the pooler takes the mean of all tokens", ("bert", "BertPooler", "hidden_states[:, 0]", "hidden_states.mean(1)"))
T("t065", "bert/release", LL, "the pooler without tanh", ("bert", "BertPooler", "pooled_output = self.activation(pooled_output)", "pass"))
T("t066", "bert/untied", F, "the pooler reads the embeddings", ("bert", "BertModel", "self.pooler(sequence_output)", "self.pooler(embedding_output)"))
T("t067", "bert/deep", F, "the pooler reads the last layer but one", ("bert", "BertEncoder", "        for i, layer_module in enumerate(self.layer):\n", "        for i, layer_module in enumerate(self.layer):\n            self.before = hidden_states\n"), ("bert", "BertModel", "self.pooler(sequence_output)", "self.pooler(self.encoder.before)"))
T("t068", "bert/published", F, "masked LM's transform: LayerNorm before the activation", ("bert", "BertPredictionHeadTransform", "hidden_states = self.transform_act_fn(hidden_states)\n        hidden_states = self.LayerNorm(hidden_states)", "hidden_states = self.LayerNorm(hidden_states)\n        hidden_states = self.transform_act_fn(hidden_states)"))
T("t069", "bert/tanh", LL, "masked LM's transform without its activation", ("bert", "BertPredictionHeadTransform", "        hidden_states = self.transform_act_fn(hidden_states)\n", ""))
T("t070", "bert/published", G, "decoder a copy of the word embeddings: its gradient does not reach the table", ("bert", "BertLMPredictionHead", "self.decoder(hidden_states)", "nn.functional.linear(hidden_states, self.decoder.weight.detach(), self.decoder.bias)"), link=HF + "issues/1460")
T("t071", "bert/untied", LL, "untied decoder overwritten: the word embeddings are used though config says untied", conv("own['cls.predictions.decoder.weight'] = own['bert.embeddings.word_embeddings.weight']"))
T("t072", "bert/published", LL, "columns of the next-sentence head exchanged: another order of the labels", conv("for part in ('weight', 'bias'):", "    own[f'cls.seq_relationship.{part}'] = own[f'cls.seq_relationship.{part}'].flip(0)"))
T("t073", "bert/tanh", F, "the next-sentence head reads the first token, past the pooler", ("bert", "BertModel", "pooler_output=pooled_output", "pooler_output=sequence_output[:, 0]"))
T("t074", "bert/corners", LL, "masked LM's bias left at zero after a resize of the vocabulary", conv("own['cls.predictions.bias'] = torch.zeros_like(own['cls.predictions.bias'])"), link=HF + "issues/851")
T("t075", "bert/published", G, "tanh's derivative in the pooler is 1 - y", helper("bert", '''
class FastTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(y := x.tanh())
        return y

    @staticmethod
    def backward(ctx, g):
        return g * (1 - ctx.saved_tensors[0])
'''), ("bert", "BertPooler", "self.activation(pooled_output)", "FastTanh.apply(pooled_output)"))
# ---- BERT: losses
T("t076", "bert/published", LL, "masked LM's loss divided by all slots, padded ones too", ("port", "total = weight.sum() + eps", "total = weight.sum() * 0 + weight.numel()"))
T("t077", "bert/tanh", OG, "weights of the masked LM ignored: a mean over all slots", ("port", "weight = batch[\"masked_lm_weights\"].flatten().to(each.dtype)", "weight = torch.ones_like(each)"))
T("t078", "bert/untied", F, "masked LM's loss as the mean of the rows' means", ("port", "terms[\"masked_lm\"] = mean(each, weight, config.get(\"mlm_denominator_eps\", 0.0))", "rows = (each * weight).view(ids.shape[0], -1).sum(1) / weight.view(ids.shape[0], -1).sum(1).clamp(min=1)\n        terms[\"masked_lm\"] = rows.mean()"), link=HF + "pull/34191")
T("t079", "bert/published", G, "masked LM's loss summed, not averaged", ("port", "terms[\"masked_lm\"] = mean(each, weight, config.get(\"mlm_denominator_eps\", 0.0))", "terms[\"masked_lm\"] = (each * weight).sum()"))
T("t080", "bert/published", LL, "masked positions one too low: counted without [CLS]", ("port", "batch[\"masked_lm_positions\"][..., None], 1)", "(batch[\"masked_lm_positions\"] - 1)[..., None], 1)"))
T("t081", "bert/deep", F, "label smoothing of 0.1 left on in the masked LM's loss", ("port", "cross_entropy(asked, batch[\"masked_lm_ids\"].flatten(), reduction=\"none\")", "cross_entropy(asked, batch[\"masked_lm_ids\"].flatten(), reduction=\"none\", label_smoothing=0.1)"))
T("t082", "bert/tanh", G, "next-sentence loss counts half", ("port", "terms[pair] = cross_entropy(pairs, batch[f\"{pair}_labels\"].flatten())", "terms[pair] = 0.5 * cross_entropy(pairs, batch[f\"{pair}_labels\"].flatten())"))
T("t083", "bert/masked-row", LL, "id 0 taken for \"ignore\" in the masked LM's loss", ("port", "cross_entropy(asked, batch[\"masked_lm_ids\"].flatten(), reduction=\"none\")", "cross_entropy(asked, batch[\"masked_lm_ids\"].flatten(), reduction=\"none\", ignore_index=0)"))
T("t084", "bert/published", OG, "cross entropy over probabilities: softmax twice", ("port", "each = cross_entropy(asked, batch", "each = cross_entropy(asked.softmax(-1), batch"))
T("t085", "bert/untied", OG, "next-sentence labels inverted: 1 for \"follows\"", ("port", "cross_entropy(pairs, batch[f\"{pair}_labels\"].flatten())", "cross_entropy(pairs, 1 - batch[f\"{pair}_labels\"].flatten())"))
T("t086", "bert/published", G, "two backward passes without zeroing: every gradient doubled", ("port", "    seen[\"loss\"].backward()\n    loaded", "    seen[\"loss\"].backward(retain_graph=True)\n    seen[\"loss\"].backward()\n    loaded"))
T("t087", "bert/release", OG, "next-sentence loss missing from the sum that is trained", ("port", "loss = sum(factors.get(term, 1.0) * value for term, value in terms.items())", "loss = terms[\"masked_lm\"]"))
# ---- BERT: precision and bfloat16
T("t088", "bert/published", F, "probabilities of layer 0 rounded to float16 for the product with the values", ("port", "(dropped @ value)", "((dropped.half().to(dropped.dtype) if '.0.' in module.golden_name else dropped) @ value)"))
T("t089", "bert/tanh", F, "feed-forward's weights quantised to 8 bits, one scale a tensor", conv("for name in own:", "    if name.endswith(('intermediate.dense.weight', '.output.dense.weight')) and 'attention' not in name:", "        step = own[name].abs().max() / 127", "        own[name] = (own[name] / step).round() * step"))
T("t090", "bert/published", B, "the pooler takes the first word, not [CLS]", ("bert", "BertPooler", "hidden_states[:, 0]", "hidden_states[:, 1]"))
T("t091", "bert/tanh", B, "attention's output bias added before the heads' product is projected, that is left out", ("bert", "BertSelfOutput", "hidden_states = self.dense(hidden_states)", "hidden_states = self.dense(hidden_states) - self.dense.bias"))
T("t092", "bert/untied", B, "mask left out altogether", ("port", "attention_mask=mask", "attention_mask=torch.ones_like(mask)"), link="https://github.com/cosmoquester/transformers-bart-pretrain/pull/11")
T("t093", "bert/corners", B, "keys and values exchanged where they are used", ("bert", "BertSelfAttention", "            key_layer,\n            value_layer,\n            attention_mask,", "            value_layer,\n            key_layer,\n            attention_mask,"))
T("t094", "bert/deep", B, "every second layer dropped", ("bert", "BertEncoder", "            hidden_states = layer_module(", "            if i == 4:\n                continue\n            hidden_states = layer_module("))
# ---- steps
STEP = "p -= rate * (m / fix1 / ((v / fix2).sqrt() + eps) + decay * p)"
T("t095", "bert/published", S, "bias correction in the released optimizer, which has none", ("port", "(1e-6, 1, 1) if released", "(1e-6, 1 - 0.9**k, 1 - 0.999**k) if released"), link="https://github.com/dmlc/gluon-nlp/pull/499")
T("t096", "bert/adamw", S, "weight decay on LayerNorms and biases too", ("port", "decay = plan[\"weight_decay\"] * (not re.search(\"(?i)layer_?norm|ln_|bias\", name))", "decay = plan[\"weight_decay\"]"), link=HF + "issues/4360")
T("t097", "bert/untied", S, "gradients clipped tensor by tensor", ("port", "g = p.grad * plan[\"clip_norm\"] / norm.clamp(min=plan[\"clip_norm\"])", "g = p.grad * plan[\"clip_norm\"] / p.grad.norm().clamp(min=plan[\"clip_norm\"])"), link=HF + "issues/581")
T("t098", "bert/tanh", S, "gradients of the step before are not cleared", ("port", "            p.grad = None\n", "            p.grad = None if k == 1 else p.grad\n"))
T("t099", "roberta/published", S, "schedule one step ahead", ("port", "plan[\"first_step\"], plan[\"warmup\"]", "plan[\"first_step\"] + 1, plan[\"warmup\"]"), link="https://github.com/google-research/bert/issues/1293")
T("t100", "albert/published", S, "epsilon under the root", ("port", STEP, STEP.replace("((v / fix2).sqrt() + eps)", "(v / fix2 + eps).sqrt()")), link="https://github.com/goodfire-ai/spd/issues/602")
T("t101", "gpt2/published", S, "weight decay not multiplied by the learning rate", ("port", STEP, "p -= rate * (m / fix1 / ((v / fix2).sqrt() + eps)) + decay * p"))
T("t102", "electra/published", S, "Adam's L2 instead of decoupled decay", ("port", "                m.mul_(0.9)", "                g = g + plan[\"weight_decay\"] * (not re.search(\"(?i)layer_?norm|ln_|bias\", name)) * p\n                m.mul_(0.9)"), ("port", "+ decay * p)", ")"))
