"""transformers' ErnieForPreTraining with heads for ERNIE 2.0's tasks in the place of that of pairs, in torch."""

import numpy as np
from published import loaded, oracle, spared, torch_inputs, twin

from minibert.families import ernie2


def with_heads(model):
    """The published class, its head of pairs gone, and a layer of logits for each task, as `cls.TASK_fc`."""
    torch, _ = oracle()
    state = model.state_dict()
    theirs = {name: value for name, value in state.items() if "_fc." not in name}
    module = twin(model.config, theirs, spared(model), "ErnieForPreTraining")
    del module.cls.seq_relationship
    module.cls.seq_relationship = lambda pooled: pooled
    for task in ernie2.TASKS[1:]:
        classes, width = model.params[task]["weight"].shape
        setattr(module.cls, f"{task}_fc", torch.nn.Linear(width, classes))
    return loaded(module.double().eval(), state, spared(model))


def terms(module, batch):
    """Each task's mean over what it asks."""
    torch, _ = oracle()
    out = module(**torch_inputs(batch), output_hidden_states=True)
    states, pooled, used = out.hidden_states[-1], out.seq_relationship_logits, batch["masked_lm_weights"] > 0
    at = np.nonzero(used)[0], batch["masked_lm_positions"][used]
    cross_entropy = torch.nn.functional.cross_entropy
    found = {"masked_lm": cross_entropy(out.prediction_logits[at], torch.from_numpy(batch["masked_lm_ids"][used]))}
    for task in ernie2.TASKS[1:]:
        z = getattr(module.cls, f"{task}_fc")(states if task in ernie2.WORDS else pooled)
        labels = torch.from_numpy(np.asarray(batch[f"{task}_labels"], np.int64))
        found[task] = cross_entropy(z.flatten(0, -2), labels.flatten(), ignore_index=-100)
    return found
