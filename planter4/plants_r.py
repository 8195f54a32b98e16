"""Right ports: other orders of summation, fused kernels, layouts, precisions."""
from common import P
from plants_j import jb, jr

n = 0


def R(stack, case, what, *edits, dtype="float32", kind="full"):
    global n
    n += 1
    P(f"r{n:02}", stack, case, kind, what, *edits, dtype=dtype, group="right")


PROBS = "scores.softmax(-1)"
QKV = "q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5"
R("torch", "bert/published", "context by SDPA", ("port", "(dropped @ value)", "torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)"), ("port", "dropped = probs if keep is None else probs * keep / (1 - rate)\n", "dropped = probs\n"))
R("torch", "bert/tanh", "float64", dtype="float64")
R("torch", "bert/deep", "bfloat16", dtype="bfloat16")
R("torch", "roberta/published", "float16", dtype="float16")
R("torch", "albert/published", "bfloat16", dtype="bfloat16")
R("torch", "electra/published", "scores by einsum, scale on both sides", ("port", "query @ key.transpose(2, 3) * (scaling or query.size(-1) ** -0.5)", "torch.einsum('bhqd,bhkd->bhqk', query * scaling**0.5, key * scaling**0.5)"))
R("torch", "gpt2/published", "softmax in float64", ("port", PROBS, "scores.double().softmax(-1).to(scores.dtype)"))
R("torch", "bert/untied", "softmax by logsumexp", ("port", PROBS, "(scores - scores.logsumexp(-1, keepdim=True)).exp()"))
R("torch", "bert/corners", "attention's sum from the last key to the first", ("port", "(dropped @ value)", "(dropped.flip(-1) @ value.flip(-2))"))
R("torch", "bert/published", "LayerNorms in float64", ("bert", "self.LayerNorm(hidden_states + input_tensor)", "nn.functional.layer_norm((hidden_states + input_tensor).double(), hidden_states.shape[-1:], self.LayerNorm.weight.double(), self.LayerNorm.bias.double(), self.LayerNorm.eps).to(hidden_states.dtype)"))
R("torch", "roberta/padding", "-inf as the mask", ("port", "attention_mask.clamp(min=lowest)", "torch.where(attention_mask < 0, -torch.inf, 0.0)"))
R("torch", "albert/groups", "float64", dtype="float64")
R("torch", "electra/generator", "bfloat16, softmax in float32", ("port", PROBS, "scores.float().softmax(-1).to(scores.dtype)"), dtype="bfloat16")
R("torch", "gpt2/probe", "attention's output projected head by head", ("gpt2", "GPT2Attention", "attn_output = self.c_proj(attn_output)", "parts = zip(attn_output.split(self.head_dim, -1), self.c_proj.weight.split(self.head_dim, 0))\n        attn_output = sum(a @ w for a, w in parts) + self.c_proj.bias"))
R("torch", "bert/dropout", "dropout's factor taken first", ("port", "output * keep / (1 - module.p)", "output * (keep / (1 - module.p))"), ("port", "probs * keep / (1 - rate)", "probs * (keep / (1 - rate))"))
R("torch", "bert/long", "values summed in blocks of 16 keys", ("port", "(dropped @ value)", "sum(p @ v for p, v in zip(dropped.split(16, -1), value.split(16, -2)))"))
R("torch", "bert/published", "embeddings summed as types, positions, words", ("bert", "BertEmbeddings", "embeddings = inputs_embeds + token_type_embeddings", "embeddings = token_type_embeddings"), ("bert", "BertEmbeddings", "embeddings = embeddings + position_embeddings", "embeddings = embeddings + position_embeddings + inputs_embeds"))
R("torch", "electra/joint", "masked LM's loss by log_softmax and gather", ("port", "each = cross_entropy(asked, batch[\"masked_lm_ids\"].flatten(), reduction=\"none\")", "each = -asked.log_softmax(-1).gather(1, batch[\"masked_lm_ids\"].flatten()[:, None])[:, 0]"))
R("torch", "bert/masked-row", "scores as (key, query), laid out again", ("port", "query @ key.transpose(2, 3) * (scaling", "(key @ query.transpose(2, 3)).transpose(2, 3) * (scaling"))
R("torch", "bert/adamw", "steps with the update's terms in another order", ("port", "p -= rate * (m / fix1 / ((v / fix2).sqrt() + eps) + decay * p)", "p.mul_(1 - rate * decay).addcdiv_(m / fix1, (v / fix2).sqrt().add_(eps), value=-rate)"), kind="steps")
R("jax", "bert/published", "scores by einsum, query scaled first", jb(QKV, "jnp.einsum(\"bhqd,bhkd->bhqk\", q / q.shape[-1] ** 0.5, k)"))
R("jax", "bert/tanh", "float16", dtype="float16")
R("jax", "bert/untied", "bfloat16", dtype="bfloat16")
R("jax", "roberta/published", "LayerNorm by var and rsqrt", jr("centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + self.eps)", "centred * jax.lax.rsqrt(x.var(-1, keepdims=True) + self.eps)"))
R("jax", "albert/published", "softmax by hand, summed from the end", jr("jax.nn.softmax(scores + bias, axis=-1)", "jnp.exp(scores + bias - jax.nn.logsumexp((scores + bias)[..., ::-1], axis=-1, keepdims=True))"))
R("jax", "electra/discriminator", "binary loss by log_sigmoid", jr("jnp.logaddexp(0, logits) - labels * logits", "-(labels * jax.nn.log_sigmoid(logits) + (1 - labels) * jax.nn.log_sigmoid(-logits))"))
R("jax", "gpt2/published", "mask added as -1e30", jr("jnp.where(sees, scores, jnp.finfo(scores.dtype).min)", "scores + jnp.where(sees, 0.0, -1e30).astype(scores.dtype)"))
R("jax", "bert/long", "float64", dtype="float64")
R("jax", "bert/release", "GELU by tanh written out", jb("ERF, TANH = (partial(jax.nn.gelu, approximate=tanh) for tanh in (False, True))", "ERF = partial(jax.nn.gelu, approximate=False)\nTANH = lambda x: x * jax.nn.sigmoid(2 * (2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))"))
R("jax", "roberta/padding", "float16", dtype="float16")
