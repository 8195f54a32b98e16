"""transformers' `generate` as a candidate: what a decoder writes on, and its logits token by token through its cache.

    python torch_generate.py gpt2/generation OUT.safetensors [float32|float64]
    minibert check gpt2/generation OUT.safetensors --dtype float64

The first argument is the case's folder. Needs torch, transformers, safetensors. Sampling is left out: it draws its own
numbers; yours takes those in `inputs/uniforms`. Scores of beams are left out, too: transformers keeps them in float32.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

MODELS = {"gpt2": "GPT2LMHeadModel", "bart": "BartForConditionalGeneration"}


def candidate(weights, inputs, facts, runs):
    """{"forward/logits", "forward/RUN": array} of a case; runs: what its text.json says."""
    kind = getattr(transformers, MODELS[facts["family"]])
    known = kind.config_class().to_dict()
    config = kind.config_class(**{name: value for name, value in facts["config"].items() if name in known})
    model = kind(config).to(next(iter(weights.values())).dtype).eval()
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    mask, forced, found = inputs["attention_mask"], inputs["forced"], {}
    for name, settings in runs.items():
        if not settings.get("do_sample"):
            pad = config.eos_token_id if config.pad_token_id is None else config.pad_token_id
            given = {"do_sample": False, "pad_token_id": pad, **settings}
            found[f"forward/{name}"] = model.generate(inputs["input_ids"], attention_mask=mask, **given)
    with torch.no_grad():
        if config.is_encoder_decoder:
            read, logits = {"input_ids": inputs["input_ids"]}, []
            for column in forced.split(1, 1):
                read = model(**read, attention_mask=mask, decoder_input_ids=column, use_cache=True)
                logits.append(read.logits[:, -1])
                read = {"encoder_outputs": (read.encoder_last_hidden_state,), "past_key_values": read.past_key_values}
            found["forward/logits"] = torch.stack(logits, 1)
            return {name: value.contiguous() for name, value in found.items()}
        read = model(inputs["input_ids"], attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
        logits = []
        for column in range(forced.shape[1]):
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            given = {"attention_mask": mask, "position_ids": mask.sum(1, keepdim=True) - 1}  # from the first token on
            read = model(forced[:, column : column + 1], past_key_values=read.past_key_values, **given)
            logits.append(read.logits[:, -1])
    found["forward/logits"] = torch.stack(logits, 1)
    return {name: value.contiguous() for name, value in found.items()}


def main(case, out, dtype=None):
    facts, text = (json.loads((Path(case) / name).read_text(encoding="utf-8")) for name in ("case.json", "text.json"))
    kind = getattr(torch, dtype or facts["dtype"])
    weights = {name: w.to(kind) for name, w in load_file(Path(case) / "weights.safetensors").items()}
    save_file(candidate(weights, load_file(Path(case) / "inputs.safetensors"), facts, text["runs"]), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
