"""T5: transformers' T5ForConditionalGeneration, what its page asks for, and the state from token to token."""

import types

from published import Published, oracle

LABELS = {"labels": "next_token"}
V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
CONFIGS = (
    {"feed_forward_proj": "gelu"},
    V1_1,
    {"feed_forward_proj": "gated-relu", "scale_decoder_outputs": False},
    {"feed_forward_proj": "gelu_new", "tie_word_embeddings": False, "scale_decoder_outputs": True},
)
OWN = {"d_kv": 5, "num_decoder_layers": 2, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 7,
       "initializer_factor": 0.5, "eos_token_id": 4, "decoder_start_token_id": 3}  # fmt: skip


def mend(module, config):
    """The mean of the norms, which ports take in float32, in float64; U, which they tie to E, its own."""
    torch, _ = oracle()

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    for norm in module.modules():
        if type(norm).__name__ == "T5LayerNorm":
            norm.forward = types.MethodType(forward, norm)
    if not config.tie_word_embeddings:
        module.lm_head.weight = torch.nn.Parameter(module.lm_head.weight.detach().clone())
        module.config.tie_word_embeddings = False  # the stacks share one parameter from the start


def theirs(config):
    return {"tie_word_embeddings": config.scale != 1, "scale_decoder_outputs": config.scale != 1}


PUBLISHED = [Published("t5", "T5ForConditionalGeneration", LABELS, OWN, CONFIGS, theirs, mend=mend)]
DECODER = {"decoder", "decoder_positions", "decoder_norm"}
DIRECTORIES = {"T5ForConditionalGeneration": {*DECODER, "lm"}, "T5Model": DECODER, "T5EncoderModel": set()}
