"""transformers' masked LM with SpanBERT's boundary head, as the release has it (models/pair_bert.py), in torch."""

import numpy as np
from published import loaded, oracle, spared, torch_inputs, twin

SBO = "cls.pair_target_predictions"


def spans(rng, config, batch):
    """Spans of 1 to 4 tokens, the longest, two in a row, none in the last."""
    left = [[1, 1, 1, 1], [0, 3, 3, 0], [2, 2, 0, 0], [0] * 4]
    right = [[6, 6, 6, 6], [2, 5, 5, 0], [5, 5, 0, 0], [0] * 4]
    batch["span_boundaries"] = np.stack([left, right], axis=-1)
    batch["span_positions"] = np.array([[0, 1, 2, 3], [0, 0, 0, 0], [1, 0, 0, 0], [0] * 4])
    batch["span_ids"] = rng.integers(0, config.vocab_size, (4, 4))


def with_the_head(model):
    """transformers' BertForMaskedLM with the modules of the release's boundary head, under their names."""
    torch, _ = oracle()
    config, head = model.config, torch.nn.Module()
    d, width = config.hidden_size, 2 * config.hidden_size + config.span_position_size
    head.position_embeddings = torch.nn.Embedding(config.max_span, config.span_position_size)
    head.mlp_layer_norm = torch.nn.Module()
    for i, n in ((1, width), (2, d)):
        setattr(head.mlp_layer_norm, f"linear{i}", torch.nn.Linear(n, d))
        setattr(head.mlp_layer_norm, f"layer_norm{i}", torch.nn.LayerNorm(d, eps=config.layer_norm_eps))
    head.bias = torch.nn.Parameter(torch.zeros(config.vocab_size))
    if not config.tie_word_embeddings:
        head.decoder = torch.nn.Linear(d, config.vocab_size, bias=False)
    state = model.state_dict()
    theirs = {name: value for name, value in state.items() if not name.startswith(SBO)}
    module = twin(config, theirs, spared(model), "BertForMaskedLM")
    module.cls.pair_target_predictions = head
    return loaded(module.double().eval(), state, spared(model))


def terms(module, batch):
    """The release's arithmetic: every span's row scores all offsets; those that nobody asks for are ignored."""
    torch, _ = oracle()
    cross_entropy, t = torch.nn.functional.cross_entropy, {k: torch.from_numpy(np.asarray(v)) for k, v in batch.items()}
    out = module(**torch_inputs(batch), output_hidden_states=True)
    chosen = t["masked_lm_weights"] > 0
    rows = torch.arange(len(chosen))[:, None].expand(chosen.shape)[chosen]
    masked_lm = cross_entropy(out.logits[rows, t["masked_lm_positions"][chosen]], t["masked_lm_ids"][chosen])
    head, mlp = module.cls.pair_target_predictions, module.cls.pair_target_predictions.mlp_layer_norm
    act, states = module.cls.predictions.transform.transform_act_fn, out.hidden_states[-1]
    pairs, offsets = t["span_boundaries"], len(head.position_embeddings.weight)
    every, inward = torch.arange(len(pairs))[:, None], getattr(module, "inward", 0)
    edges = pairs[..., 0] + inward, pairs[..., 1] - inward
    beside = [states[every, edge][:, :, None].expand(-1, -1, offsets, -1) for edge in edges]
    p = head.position_embeddings.weight.expand(*pairs.shape[:2], -1, -1)
    u = mlp.layer_norm1(act(mlp.linear1(torch.cat([*beside, p], -1))))
    u = mlp.layer_norm2(act(mlp.linear2(u)))
    table = head.decoder.weight if hasattr(head, "decoder") else module.bert.embeddings.word_embeddings.weight
    targets = torch.full(u.shape[:3], -100)
    for b, n in np.argwhere(batch["span_boundaries"][..., 1] >= batch["span_boundaries"][..., 0] + 2):
        targets[b, n, t["span_positions"][b, n]] = t["span_ids"][b, n]
    scores = u @ table.T + head.bias
    return {"masked_lm": masked_lm, "span_boundary": cross_entropy(scores.flatten(0, 2), targets.flatten())}
