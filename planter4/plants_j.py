"""Mistakes in the JAX port."""
from common import P
from plants_t import B, F, G, HF, LH, LL, OG, S


def J(name, case, kind, what, *edits, link=None, **k):
    P(name, "jax", case, kind, what + (f" ({link})" if link else ""), *edits, **k)


def jb(old, new):
    return ("jax_bert", old, new)


def jr(old, new):
    return ("jax", old, new)


WEIGHTS = "    weights = {name: jnp.asarray(value) for name, value in weights.items()}\n"


def conv(*lines):
    return jb(WEIGHTS, WEIGHTS + "".join(f"    {line}\n" for line in lines))


BIAS = "    bias = jnp.where(mask[:, None, None, :] != 0, 0.0, lowest).astype(x.dtype)"
SCORES = "q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5"
PROBS = "jax.nn.softmax(scores + bias, axis=-1)"
POOL = "    pooled = note(\"bert.pooler.dense\""
CONTEXT = "context.swapaxes(1, 2).reshape(x.shape)"
# ---- BERT
J("j001", "bert/published", F, "scale folded into the query's kernel at conversion, not into its bias", conv("weights = {n: w / 2 if n.endswith('query.weight') else w for n, w in weights.items()}"), jb(SCORES, "q @ k.swapaxes(-1, -2)"))
J("j002", "bert/tanh", F, "softmax with 1 in the denominator: a head may look nowhere", jb(PROBS, "jnp.exp(scores + bias) / (1 + jnp.exp(scores + bias).sum(-1, keepdims=True))"))
J("j003", "bert/published", LH, "masks of the batch in another order than its ids", jb(BIAS, BIAS.replace("mask[:", "mask[::-1][:")))
J("j004", "bert/corners", F, "unpadding: context is zero at the padding it puts back", jb(CONTEXT, "(context.swapaxes(1, 2).reshape(x.shape) * (mask != 0)[..., None])"))
J("j005", "bert/tanh", F, "a token sees its own segment alone", jb(BIAS, BIAS.replace("mask[:, None, None, :] != 0", "(mask[:, None, None, :] != 0) & (types[:, None, :, None] == types[:, None, None, :])")))
J("j006", "bert/published", OG, "mask made from lengths that are one too low: the last word is hidden", jb(BIAS, BIAS.replace("mask[:, None, None, :] != 0", "(jnp.arange(ids.shape[1]) < mask.sum(1)[:, None] - 1)[:, None, None, :]")))
J("j007", "bert/deep", F, "position embeddings added again before each layer", jb("        own = f\"{layer}.attention.self\"\n", "        own = f\"{layer}.attention.self\"\n        x = x + weights[\"bert.embeddings.position_embeddings.weight\"][: x.shape[1]] * (i > 0)\n"))
J("j008", "bert/untied", F, "embeddings normalised over the tokens, not over the features", jb("note(\"bert.embeddings.LayerNorm\", norm(x, \"bert.embeddings.LayerNorm\"))", "note(\"bert.embeddings.LayerNorm\", weights[\"bert.embeddings.LayerNorm.weight\"] * (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + eps) + weights[\"bert.embeddings.LayerNorm.bias\"])"))
J("j009", "bert/probe", F, "epsilon added to the standard deviation, not to the variance", jb("centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + eps)", "centred / (jnp.sqrt((centred**2).mean(-1, keepdims=True)) + eps)"))
J("j010", "bert/probe", OG, "LayerNorm's epsilon fixed at 1e-12, config not read", jb("eps = {}, ACTIVATIONS[config[\"hidden_act\"]], config[\"layer_norm_eps\"]", "eps = {}, ACTIVATIONS[config[\"hidden_act\"]], 1e-12"), link="https://github.com/apple/axlearn/pull/397")
J("j011", "bert/release", F, "gamma stored around zero: 1 + gamma", jb("weights[f\"{name}.weight\"] * centred", "(1 + weights[f\"{name}.weight\"]) * centred"))
J("j012", "bert/untied", LH, "every layer's last LayerNorm is layer 0's: the name is bound late", jb("return note(name, norm(x + y, f\"{name}.LayerNorm\"))", "return note(name, norm(x + y, f\"{name}.LayerNorm\".replace(\".1.output\", \".0.output\")))"))
J("j013", "bert/tanh", F, "a digit lost in GELU's constant: 0.0044715", jb("ERF, TANH = (partial(jax.nn.gelu, approximate=tanh) for tanh in (False, True))", "ERF = partial(jax.nn.gelu, approximate=False)\nTANH = lambda x: 0.5 * x * (1 + jnp.tanh((2 / np.pi) ** 0.5 * (x + 0.0044715 * x**3)))"))
J("j014", "bert/published", F, "GELU's erf of x, not of x / sqrt 2", jb("ERF, TANH = (partial(jax.nn.gelu, approximate=tanh) for tanh in (False, True))", "TANH = partial(jax.nn.gelu, approximate=True)\nERF = lambda x: 0.5 * x * (1 + jax.scipy.special.erf(x))"))
J("j015", "bert/published", OG, "SiLU for GELU in the feed-forward", jb("note(f\"{layer}.intermediate\", act(y))", "note(f\"{layer}.intermediate\", jax.nn.silu(y))"))
J("j016", "bert/dropout", F, "attention dropout's mask laid the other way: keys by queries", jb("        return x if keep is None else x * keep", "        keep = keep.swapaxes(-1, -2) if keep is not None and name.endswith(\"self.dropout\") else keep\n        return x if keep is None else x * keep"))
J("j017", "bert/adamw", OG, "dropout divides by p, taken for the part that is kept", jb("x * keep.astype(x.dtype) / (1 - rate)", "x * keep.astype(x.dtype) / rate"))
J("j018", "bert/dropout", F, "no dropout behind the feed-forward", jb("f\"{name}.dropout\", hidden_rate)", "f\"{name}.dropout\" if \"attention\" in name else \"\", hidden_rate)"))
J("j019", "bert/dropout", OG, "one dropout mask for all heads", jb("        return x if keep is None else x * keep", "        keep = keep[:, :1] if keep is not None and name.endswith(\"self.dropout\") else keep\n        return x if keep is None else x * keep"))
J("j020", "bert/published", F, "biases of query and key exchanged in a fused kernel, weights right", conv("other = {n: n.replace('query.bias', 'X').replace('key.bias', 'query.bias').replace('X', 'key.bias') for n in weights}", "weights = {n: weights[other[n]] for n in weights}"))
J("j021", "bert/tanh", F, "keys of the first head for all heads", jb("        scores = note(f\"{own}.scores\"", "        k = jnp.broadcast_to(k[:, :1], k.shape)\n        scores = note(f\"{own}.scores\""))
J("j022", "bert/untied", OG, "heads put together from the last to the first", jb(CONTEXT, "context[:, ::-1].swapaxes(1, 2).reshape(x.shape)"))
J("j023", "bert/long", F, "attention within a window of 8 tokens", jb(BIAS, BIAS.replace("mask[:, None, None, :] != 0", "(mask[:, None, None, :] != 0) & (abs(jnp.arange(ids.shape[1])[:, None] - jnp.arange(ids.shape[1])) <= 8)")))
J("j024", "bert/published", LH, "embeddings added to the last layer's sum", jb("        x = residual(x, note(f\"{layer}.intermediate\", act(y)), f\"{layer}.output\")", "        x = x + seen[\"bert.embeddings\"] if i == 1 else x\n        x = residual(x, note(f\"{layer}.intermediate\", act(y)), f\"{layer}.output\")"))
J("j025", "bert/untied", F, "one more LayerNorm behind the encoder, the last layer's", jb(POOL, "    x = norm(x, f\"{layer}.output.LayerNorm\")\n" + POOL))
J("j026", "bert/release", LL, "tanh of the pooler taken twice", jb("note(\"bert.pooler\", jnp.tanh(pooled))", "note(\"bert.pooler\", jnp.tanh(jnp.tanh(pooled)))"))
J("j027", "bert/untied", OG, "logits divided by the root of the width", jb("u @ weights[table].T + weights[bias]", "u @ weights[table].T / u.shape[-1] ** 0.5 + weights[bias]"))
J("j028", "bert/published", LL, "the padding word's logit is set to -10000", jb("note(\"cls.predictions\", u @ weights[table].T + weights[bias])", "note(\"cls.predictions\", (u @ weights[table].T + weights[bias]).at[..., 0].set(-1e4))"))
J("j029", "bert/published", G, "next-sentence loss does not reach the encoder: the pooler's input is stopped", jb("linear(x[:, 0], \"bert.pooler.dense\")", "linear(jax.lax.stop_gradient(x[:, 0]), \"bert.pooler.dense\")"))
J("j030", "bert/tanh", OG, "masked LM's loss does not reach the encoder", jb("linear(x, \"cls.predictions.transform.dense\")", "linear(jax.lax.stop_gradient(x), \"cls.predictions.transform.dense\")"))
J("j031", "bert/untied", F, "masked LM's loss divided by the number of rows", jb("(w * nll).sum() / jnp.where(total == 0, 1, total)", "(w * nll).sum() / ids.shape[0]"))
J("j032", "bert/probe", OG, "the small number in the masked LM's denominator left out", jb("config.get(\"mlm_denominator_eps\", 0.0)", "0.0"))
J("j033", "bert/published", F, "next sentence by two sigmoids, not a softmax", jb("-(right * jax.nn.log_softmax(next_logits)).sum(-1).mean()", "(jnp.logaddexp(0, next_logits) - right * next_logits).mean()"))
J("j034", "bert/published", F, "queries and keys rounded to bfloat16 for the scores", jb(SCORES, "(q.astype(jnp.bfloat16) @ k.astype(jnp.bfloat16).swapaxes(-1, -2)).astype(q.dtype) / q.shape[-1] ** 0.5"))
J("j035", "bert/tanh", F, "all linear layers multiply in bfloat16, as TPUs do by default", jb("return x @ weights[f\"{name}.weight\"].T", "return (x.astype(jnp.bfloat16) @ weights[f\"{name}.weight\"].astype(jnp.bfloat16).T).astype(x.dtype)"))
J("j036", "bert/untied", B, "pre-norm: each block's input is normalised, its sum is not", jb("return note(name, norm(x + y, f\"{name}.LayerNorm\"))", "return note(name, x + norm(y, f\"{name}.LayerNorm\"))"))
J("j037", "bert/published", B, "ReLU for GELU", jb("ACTIVATIONS[config[\"hidden_act\"]], config", "jax.nn.relu, config"))
J("j038", "bert/corners", S, "learning rate goes below zero after the last step", jb("max(0.0, falling)", "falling"), link=HF + "issues/132")
J("j039", "bert/adamw", S, "weight decay on the norms and biases alone: the test is inverted", jb("0.0 if re.search(\"ln_|LayerNorm|layer_norm|bias\", name) else plan[\"weight_decay\"]", "plan[\"weight_decay\"] if re.search(\"ln_|LayerNorm|layer_norm|bias\", name) else 0.0"))
J("j040", "bert/adamw", S, "gradients clipped at norm 1, whatever is asked", jb("g * plan[\"clip_norm\"] / jnp.maximum(norm, plan[\"clip_norm\"])", "g / jnp.maximum(norm, 1)"))
J("j041", "bert/processes", F, "dropout between the attention's dense and its bias", jb("y = drop(note(f\"{name}.dense\", linear(y, f\"{name}.dense\")), f\"{name}.dropout\", hidden_rate)", "b = weights[f\"{name}.dense.bias\"]\n        y = drop(note(f\"{name}.dense\", linear(y, f\"{name}.dense\")) - b, f\"{name}.dropout\", hidden_rate) + b"))
J("j042", "bert/masked-row", F, "where a row has no word, the mask is not added", jb(PROBS, "jax.nn.softmax(scores + bias * (mask.sum(1) > 0)[:, None, None, None], axis=-1)"))
J("j043", "bert/masked-row", OG, "a row without any word is left out of the losses' means", jb("    w = batch[\"masked_lm_weights\"].astype(x.dtype)", "    w = batch[\"masked_lm_weights\"].astype(x.dtype) * (mask.sum(1) > 0)[:, None]"))
J("j044", "bert/eps", F, "variance by n - 1", jb("jnp.sqrt((centred**2).mean(-1, keepdims=True) + eps)", "jnp.sqrt((centred**2).sum(-1, keepdims=True) / (x.shape[-1] - 1) + eps)"))
# ---- RoBERTa
LAYER = "            layer = f\"{start}.encoder.layer.{i}\"\n"
J("j045", "roberta/published", F, "attention mask made from the ids: the padding id within a text is hidden", jr("    real = (ids != pad)", "    mask = (ids != pad)\n    real = (ids != pad)"))
J("j046", "roberta/published", F, "padding gets the position of the word before it", jr("jnp.cumsum(real, 1) * real + pad", "jnp.cumsum(real, 1) + pad"))
J("j047", "roberta/published", OG, "position offset of the padding id added twice", jr("jnp.cumsum(real, 1) * real + pad", "jnp.cumsum(real, 1) * real + 2 * pad"))
J("j048", "roberta/published", LL, "the head's layer_norm takes the embeddings' gamma and beta", jr("p.norm(ERF(u), \"lm_head.layer_norm\")", "p.norm(ERF(u), \"roberta.embeddings.LayerNorm\")"))
J("j049", "roberta/adam", F, "no segment embedding: fairseq has none", jr("        x = x + self.look_up(f\"{start}.token_type_embeddings\", types)\n", "        self.look_up(f\"{start}.token_type_embeddings\", types)\n"), link=HF + "pull/1052")
J("j050", "roberta/published", F, "layers run from the last to the first", jr("for i in range(config[\"num_hidden_layers\"]):\n" + LAYER, "for i in reversed(range(config[\"num_hidden_layers\"])):\n" + LAYER))
J("j051", "roberta/published", G, "position embeddings frozen", jr("x = x + self.look_up(f\"{start}.position_embeddings\", positions, frozen_position)", "x = x + jax.lax.stop_gradient(self.look_up(f\"{start}.position_embeddings\", positions, frozen_position))"))
J("j052", "roberta/published", F, "scores divided by the root of the number of heads", jr("q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)\n        probs", "q @ k.swapaxes(-1, -2) / heads**0.5)\n        probs"))
J("j053", "roberta/published", B, "the feed-forward's bias added behind its activation", jr("y = self.note(f\"{layer}.intermediate\", act(y))", "b = self.weights[f\"{layer}.intermediate.dense.bias\"]\n            y = self.note(f\"{layer}.intermediate\", act(y - b) + b)"))
J("j054", "roberta/published", B, "values weighted by the transposed probabilities", jr("(probs @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1)", "(probs.swapaxes(-1, -2) @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1)"))
J("j055", "roberta/padding", F, "scores multiplied by the mask: padding has score 0", jr("jax.nn.softmax(scores + bias, axis=-1)", "jax.nn.softmax(scores * (bias == 0), axis=-1)"))
J("j056", "roberta/published", LH, "half a step of the feed-forward, as the Conformer's", jr("self.norm(x + y, f\"{layer}.output.LayerNorm\")", "self.norm(x + 0.5 * y, f\"{layer}.output.LayerNorm\")"))
J("j057", "roberta/published", F, "biases of the values loaded from the queries'", conv("weights = {n: weights[n.replace('value.bias', 'query.bias')] for n in weights}"))
# ---- ALBERT
MAPPED = "p.note(f\"{start}.embedding_hidden_mapping_in\", p.linear(x, f\"{start}.embedding_hidden_mapping_in\"))"
PASS = "        group = i * config"
J("j058", "albert/square", F, "embeddings mapped again before each pass", jr(PASS, "        x = p.linear(x, f\"{start}.embedding_hidden_mapping_in\") if i else x\n" + PASS))
J("j059", "albert/published", F, "the mapped embeddings added before each pass", jr(PASS, "        x = x + p.seen[f\"{start}.embedding_hidden_mapping_in\"] if i else x\n" + PASS))
J("j060", "albert/published", G, "sentence-order loss counted twice", jr("p.seen[\"loss.masked_lm\"] + p.seen[\"loss.sentence_order\"]", "p.seen[\"loss.masked_lm\"] + 2 * p.seen[\"loss.sentence_order\"]"))
J("j061", "albert/published", F, "no LayerNorm behind the attention: one at the layer's end", jr("p.norm(x + y, f\"{layer}.attention.LayerNorm\")", "x + y"))
J("j062", "albert/published", OG, "scores capped: 1 * tanh(scores / 1)", jr("q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)\n        probs", "jnp.tanh(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5))\n        probs"))
J("j063", "albert/published", LH, "positions count from the end", jr("positions = jnp.arange(ids.shape[1])[None]\n    x = p.embedded(\"albert", "positions = jnp.arange(ids.shape[1])[None, ::-1]\n    x = p.embedded(\"albert"))
J("j064", "albert/square", G, "sentence-order loss taken away, not added", jr("p.seen[\"loss.masked_lm\"] + p.seen[\"loss.sentence_order\"]", "p.seen[\"loss.masked_lm\"] - p.seen[\"loss.sentence_order\"]"))
J("j065", "albert/lamb", F, "gamma of the masked LM's LayerNorm applied twice: folded and kept", jr("u @ table.T + weights[\"predictions.bias\"]", "(u * weights[\"predictions.LayerNorm.weight\"]) @ table.T + weights[\"predictions.bias\"]"))
J("j066", "albert/published", B, "activation behind ffn_output, not behind ffn", jr("y = p.note(f\"{layer}.activation\", act(y))\n        y = p.note(f\"{layer}.ffn_output\", p.linear(y, f\"{layer}.ffn_output\"))", "y = p.note(f\"{layer}.activation\", y)\n        y = p.note(f\"{layer}.ffn_output\", act(p.linear(y, f\"{layer}.ffn_output\")))"))
J("j067", "albert/published", F, "rotary positions in the queries and keys besides the learned ones", jr("        scores = self.note(f\"{own}.scores\"", "        angle = jnp.arange(q.shape[2])[:, None] / 10000.0 ** (jnp.arange(q.shape[-1] // 2) * 2 / q.shape[-1])\n        cos, sin = (jnp.concatenate([f(angle)] * 2, -1).astype(q.dtype) for f in (jnp.cos, jnp.sin))\n        q, k = (a * cos + jnp.concatenate(jnp.split(a, 2, -1)[::-1], -1) * sin * jnp.repeat(jnp.array([-1, 1], a.dtype), a.shape[-1] // 2) for a in (q, k))\n        scores = self.note(f\"{own}.scores\""))
J("j068", "albert/square", OG, "tanh on the sentence-order logits", jr("p.linear(pooled, \"sop_classifier.classifier\")", "jnp.tanh(p.linear(pooled, \"sop_classifier.classifier\"))"))
J("j069", "albert/published", F, "keys and values of the first pass kept for the second: a cache by the layer's name", jr("        scores = self.note(f\"{own}.scores\"", "        self.cache = getattr(self, \"cache\", {})\n        k, v = self.cache.setdefault(own, (k, v))\n        scores = self.note(f\"{own}.scores\""))
# ---- ELECTRA
LOSS = "(each * w).sum() / w.sum()"
J("j070", "electra/discriminator", OG, "discriminator's loss as the mean of the rows' means", jr(LOSS, "((each * w).sum(1) / w.sum(1)).mean()"))
J("j071", "electra/discriminator", OG, "sigmoid before a loss that takes logits", jr("each = jnp.logaddexp(0, logits) - labels * logits", "each = jnp.logaddexp(0, jax.nn.sigmoid(logits)) - labels * jax.nn.sigmoid(logits)"))
J("j072", "electra/discriminator", LL, "replaced tokens count twice: a weight for the rarer class", jr("each = jnp.logaddexp(0, logits) - labels * logits", "each = (1 + labels) * (jnp.logaddexp(0, logits) - labels * logits)"))
J("j073", "electra/discriminator", F, "the head reads the first token for every token", jr("p.note(f\"{head}.dense\", p.linear(x, f\"{head}.dense\"))", "p.note(f\"{head}.dense\", p.linear(jnp.broadcast_to(x[:, :1], x.shape), f\"{head}.dense\"))"))
J("j074", "electra/discriminator", LH, "the last layer's feed-forward sum is not normalised", jr("self.norm(x + y, f\"{layer}.output.LayerNorm\")", "(self.norm(x + y, f\"{layer}.output.LayerNorm\") if i == 0 else x + y)"))
J("j075", "electra/discriminator", G, "gradient reversed between discriminator's head and encoder, as in a GAN", jr("    head = \"discriminator_predictions\"\n", "    head = \"discriminator_predictions\"\n    x = 2 * jax.lax.stop_gradient(x) - x\n"))
J("j076", "electra/discriminator", F, "[CLS] left out of the discriminator's loss", jr("labels, w = batch[\"replaced_labels\"].astype(x.dtype), mask.astype(x.dtype)", "labels, w = batch[\"replaced_labels\"].astype(x.dtype), mask.astype(x.dtype).at[:, 0].set(0)"))
J("j077", "electra/discriminator", B, "attention's residual added twice", jr("self.norm(x + y, f\"{layer}.attention.output.LayerNorm\")", "self.norm(x + x + y, f\"{layer}.attention.output.LayerNorm\")"))
J("j078", "electra/discriminator", F, "segments looked up in the position table", jr("self.look_up(f\"{start}.token_type_embeddings\", types)", "self.note(f\"{start}.token_type_embeddings\", self.weights[f\"{start}.position_embeddings.weight\"][types])"))
J("j079", "electra/discriminator", LH, "feed-forward's LayerNorm takes the attention's gamma and beta", jr("self.norm(x + y, f\"{layer}.output.LayerNorm\")", "self.norm(x + y, f\"{layer}.attention.output.LayerNorm\")"))
J("j080", "electra/discriminator", F, "sign lost in the binary loss: log(1 + exp(-x)) - y x", jr("jnp.logaddexp(0, logits) - labels", "jnp.logaddexp(0, -logits) - labels"))
J("j081", "electra/discriminator", OG, "queries and keys normalised to length 1", jr("        scores = self.note(f\"{own}.scores\"", "        q, k = (a / jnp.linalg.norm(a, axis=-1, keepdims=True) for a in (q, k))\n        scores = self.note(f\"{own}.scores\""))
# ---- GPT-2
J("j082", "gpt2/published", F, "hidden scores set to 0, not to the lowest", jr("jnp.where(sees, scores, jnp.finfo(scores.dtype).min)", "jnp.where(sees, scores, 0)"))
J("j083", "gpt2/published", LH, "upper triangle for lower: a token sees what comes", jr("jnp.tril(jnp.ones((n, n), bool))", "jnp.triu(jnp.ones((n, n), bool))"))
J("j084", "gpt2/published", OG, "a prefix of three tokens is seen by all", jr("jnp.tril(jnp.ones((n, n), bool))", "(jnp.tril(jnp.ones((n, n), bool)) | (jnp.arange(n) < 3))"))
J("j085", "gpt2/published", F, "queries, keys and values interleaved in c_attn's columns", jr("q, k, v = jnp.split(y, 3, axis=-1)", "q, k, v = (y.reshape(*y.shape[:2], -1, 3)[..., j] for j in range(3))"))
J("j086", "gpt2/published", LL, "labels rolled: the last token's is the first's", jr("asked, targets = logits[:, :-1], batch[\"labels\"][:, 1:]", "asked, targets = logits, jnp.roll(batch[\"labels\"], -1, axis=1)"))
J("j087", "gpt2/published", F, "residual branches scaled by 1 / sqrt(2 layers) at run time: that is for the first weights", jr("x = x + p.note(f\"{block}.attn\", y)", "x = x + p.note(f\"{block}.attn\", y) / (2 * config[\"n_layer\"]) ** 0.5"), jr("x + p.note(f\"{block}.mlp\", y)", "x + p.note(f\"{block}.mlp\", y) / (2 * config[\"n_layer\"]) ** 0.5"))
J("j088", "gpt2/published", F, "sines and cosines for the learned positions", jr("p.look_up(\"transformer.wpe\", jnp.arange(n)[None])", "p.note(\"transformer.wpe\", jnp.stack([jnp.sin(jnp.arange(n)[:, None] / 10000.0 ** (jnp.arange(6) / 6)), jnp.cos(jnp.arange(n)[:, None] / 10000.0 ** (jnp.arange(6) / 6))], -1).reshape(1, n, 12).astype(weights[\"transformer.wpe.weight\"].dtype))"))
J("j089", "gpt2/published", B, "keys one token late, as from a cache", jr("        scores = p.note(f\"{block}.attn.scores\"", "        k = jnp.roll(k, 1, axis=2)\n        scores = p.note(f\"{block}.attn.scores\""))
J("j090", "gpt2/published", OG, "linear layers without biases", jr("return x @ self.weights[f\"{name}.weight\"] + self.weights[f\"{name}.bias\"]", "return x @ self.weights[f\"{name}.weight\"]"))
J("j091", "gpt2/published", LH, "the last LayerNorm takes block 0's gamma and beta", jr("p.norm(x, \"transformer.ln_f\")", "p.norm(x, \"transformer.h.0.ln_1\")"))
J("j092", "gpt2/published", G, "a z-loss of 0.01 left in", jr("(nll * counts).sum() / counts.sum()", "((nll + 0.01 * jax.nn.logsumexp(asked, -1) ** 2) * counts).sum() / counts.sum()"))
J("j093", "gpt2/published", S, "second moment from the gradient before clipping", jb("+ 0.001 * gradient[name] ** 2", "+ 0.001 * (gradient[name] * jnp.maximum(norm, plan[\"clip_norm\"]) / plan[\"clip_norm\"]) ** 2"))
J("j094", "roberta/published", S, "moments' factors exchanged", jb("0.9 * m + 0.1 * gradient[name]", "0.999 * m + 0.001 * gradient[name]"), jb("0.999 * v + 0.001 * gradient[name] ** 2", "0.9 * v + 0.1 * gradient[name] ** 2"))
