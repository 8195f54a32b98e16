"""transformers' BertForPreTraining with StructBERT's three classes of pairs; one matrix of logits for words."""

import numpy as np
from published import loaded, oracle, spared, torch_inputs, twin

PAIRS = "cls.seq_relationship"


def three_classes(model):
    """transformers' BertForPreTraining, its pairs told apart in three classes."""
    torch, _ = oracle()
    state = model.state_dict()
    theirs = {name: value for name, value in state.items() if not name.startswith(PAIRS)}
    names = {f"{PAIRS}.weight", f"{PAIRS}.bias"}
    module = twin(model.config, theirs, spared(model) | names, "BertForPreTraining")
    module.cls.seq_relationship = torch.nn.Linear(model.config.hidden_size, 3)
    return loaded(module.double().eval(), state, spared(model))


def terms(module, batch):
    """One matrix of logits serves both terms of words."""
    torch, _ = oracle()
    out, cross_entropy = module(**torch_inputs(batch)), torch.nn.functional.cross_entropy

    def asked(name):
        used = batch[f"{name}_weights"] > 0
        at = np.nonzero(used)[0], batch[f"{name}_positions"][used]
        return cross_entropy(out.prediction_logits[at], torch.from_numpy(batch[f"{name}_ids"][used]))

    pairs = cross_entropy(out.seq_relationship_logits, torch.from_numpy(batch["sentence_structure_labels"]))
    return {"masked_lm": asked("masked_lm"), "shuffled_words": asked("shuffled"), "sentence_structure": pairs}
