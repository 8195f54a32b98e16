"""Heads of tasks beside the published classes: float64, forward, loss, every gradient within 1e-12; directories both
ways.
"""

import json
import types

import numpy as np
import pytest
from published import BAR, FIELDS, error, oracle, worst

import minibert
from minibert import batches, families, optim, training, tree

KINDS = {
    "SequenceClassification": ({"classify": {"labels": ["no", "perhaps", "yes"]}}, {"num_labels": 3}),
    "TokenClassification": ({"tag": {"classes": 3}}, {"num_labels": 3}),
    "QuestionAnswering": ({"answer": {}}, {}),
    "MultipleChoice": ({"choose": {}}, {}),
}
CLASSES = [(family, f"{name}For{kind}", kind)
           for family, name in (("bert", "Bert"), ("roberta", "Roberta"), ("albert", "Albert"), ("electra", "Electra"))
           for kind in KINDS]  # fmt: skip
CLASSES += [("gpt2", f"GPT2For{kind}", kind) for kind in [*KINDS][:3]]
CLASSES += [("bart", f"BartFor{kind}", kind) for kind in ("SequenceClassification", "QuestionAnswering")]
CLASSES += [("t5", f"T5For{kind}", kind) for kind in [*KINDS][:3]]
STEPS = 12  # a hundred are as equal
PROBLEMS = [("bert", "regression", 1), ("roberta", "regression", 2), ("electra", "multi_label_classification", 3)]


def twins(family, name, folder, **fields):
    """(ours, theirs) from a directory that theirs has written, with probe weights."""
    torch, transformers = oracle()
    published, module = getattr(transformers, name), families.family(family)
    known = published.config_class()
    named = {families.field(module, field): value for field, value in FIELDS.items()}
    named = {field: value for field, value in named.items() if hasattr(known, field)}
    if family == "bart":
        named |= {"eos_token_id": 4, "decoder_start_token_id": 3, "dropout": 0.0}
    if family == "t5":
        named |= {"eos_token_id": 4, "decoder_start_token_id": 3, "d_kv": 6, "num_decoder_layers": 2,
                  "tie_word_embeddings": True, "feed_forward_proj": "relu"}  # fmt: skip
    config = type(known)(**{**named, **fields}, attn_implementation="eager")
    torch.manual_seed(0)
    theirs = published(config).double().eval()
    rng, std = np.random.default_rng(0), 0.2 if family in ("bart", "t5") else 0.4  # of five layers, of three
    with torch.no_grad():
        for path, tensor in theirs.named_parameters():
            norm = path.endswith(("LayerNorm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight", "norm.weight"))
            tensor.copy_(torch.from_numpy(rng.normal(float(norm), std, tensor.shape)))
    theirs.save_pretrained(folder)
    mended(theirs)
    return minibert.load(folder), theirs


def mended(theirs):
    """The mean of T5's norms, which ports take in float32, in float64."""
    torch, _ = oracle()

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    for norm in theirs.modules():
        if type(norm).__name__ == "T5LayerNorm":
            norm.forward = types.MethodType(forward, norm)


def compared(model, theirs, batch):
    """The largest error of any gradient; logits and loss are within the bar."""
    torch, _ = oracle()
    batch = {name: array for name, array in batch.items() if name != "dropout"}
    out = theirs(**{name: torch.from_numpy(np.asarray(array)) for name, array in batch.items()})
    out.loss.backward()
    for name, array in model.predict(batch).items():
        assert error(array, out[name].detach().numpy()) < BAR, name
    loss, cache = model.loss(batch)
    assert error(loss, out.loss.item()) < BAR
    due = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    ours = model.state_dict(model.loss_backward(cache))
    if model.tasks in (("choose",), ("answer",)):  # a constant added to every logit of a softmax: its gradient is 0
        largest = max(np.abs(array).max() for array in due.values())
        for name in [name for name, array in due.items() if np.abs(array).max() < 1e-13 * largest]:
            assert np.abs(ours.pop(name)).max() < 1e-13 * largest
            due.pop(name)
    idle = {name for name in ours.keys() - due.keys() if not ours[name].any()}
    return worst({name: array for name, array in ours.items() if name not in idle}, due)


def example(model, rows=4, length=9):
    dims = {"B": rows, "T": length, "C": 3}
    batch = batches.example(model.network, model.config, np.random.default_rng(1), dims)
    if model.family in ("bart", "t5"):
        ids = np.where(batch["input_ids"] == 4, 5, batch["input_ids"])
        ids[np.arange(rows), [2, 3, 8, 5]] = 4
        batch["input_ids"] = ids
    if model.family == "gpt2":
        batch["input_ids"][:2, -2:] = 5
    return batch


@pytest.mark.parametrize(("family", "name", "kind"), CLASSES)
def test_forward_loss_gradients_and_directories(family, name, kind, tmp_path):
    _, transformers = oracle()
    given, fields = KINDS[kind]
    named = given.get("classify", {}).get("labels")
    fields = {**fields, **({"id2label": dict(enumerate(named)), "label2id": {n: i for i, n in enumerate(named)}}
                           if named else {})}  # fmt: skip
    model, theirs = twins(family, name, tmp_path / "theirs", **fields)
    assert (model.tasks, model.left) == ((*given,), ())
    if named:
        assert model.uses[0].settings.labels == (*named,)
    assert compared(model, theirs, example(model)) < BAR
    model.save(tmp_path / "ours")
    written = json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))
    assert written["architectures"] == [name]
    assert "minibert_tasks" not in written
    again, report = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    if named:
        assert again.config.id2label == dict(enumerate(named))


@pytest.mark.parametrize(("family", "problem", "classes"), PROBLEMS)
def test_problem_types(family, problem, classes, tmp_path):
    fields = {"num_labels": classes, "problem_type": problem}
    model, theirs = twins(family, f"{family.capitalize()}ForSequenceClassification", tmp_path, **fields)
    assert model.uses[0].settings.problem_type == problem
    batch = example(model)
    batch["labels"] = batch["labels"].astype(np.float64)
    assert compared(model, theirs, batch) < BAR


def test_labels_that_ask_nothing(tmp_path):
    model, theirs = twins("bert", "BertForSequenceClassification", tmp_path, num_labels=3)
    batch = example(model)
    batch["labels"][1] = -100
    assert compared(model, theirs, batch) < BAR


def test_a_chain_beside_pytorch_crf(tmp_path):
    """Its layer and its network are those of BertForTokenClassification; labels that ask nothing in between."""
    torch, transformers = oracle()
    published = pytest.importorskip("torchcrf", reason="pytorch-crf is the published implementation")
    rng, config = np.random.default_rng(0), {**FIELDS, "dtype": "float64", "hidden_act": "gelu"}
    known = {name: value for name, value in config.items() if hasattr(families.family("bert").Config(), name)}
    model = minibert.create("bert", tasks={"tag_crf": {"classes": 4}}, **known, dtype="float64")
    model.params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    model.save(tmp_path)
    theirs = transformers.BertForTokenClassification.from_pretrained(tmp_path, attn_implementation="eager").double()
    chain, held = published.CRF(4, batch_first=True).double(), model.state_dict()
    with torch.no_grad():
        for name, weight in chain.named_parameters():
            weight.copy_(torch.from_numpy(held[f"crf.{name}"]))
    ids, labels = rng.integers(6, 29, (3, 7)), rng.integers(0, 4, (3, 7))
    labels[:, [0, 2, 6]] = labels[1, 4:] = -100
    z = theirs.eval()(torch.from_numpy(ids)).logits
    kept = [np.flatnonzero(row != -100) for row in labels]  # it takes chains from the first step on
    whole = [torch.ones(1, len(at), dtype=torch.bool) for at in kept]
    given = [(z[i : i + 1, at], torch.from_numpy(labels[i : i + 1, at]), whole[i]) for i, at in enumerate(kept)]
    due = -sum(chain(*row) for row in given) / sum(map(len, kept))
    due.backward()
    loss, cache = model.loss({"input_ids": ids, "labels": labels})
    assert error(loss, due.item()) < BAR
    ours = model.state_dict(model.loss_backward(cache))
    true = {f"crf.{name}": weight.grad.numpy() for name, weight in chain.named_parameters()}
    true |= {name: weight.grad.numpy() for name, weight in theirs.named_parameters() if weight.grad is not None}
    assert worst(ours, true) < BAR
    right, asked, _ = model.network.tasks[0].head.right(cache["tag_crf"])
    found = [chain.decode(z[i : i + 1, at], whole[i])[0] for i, at in enumerate(kept)]
    assert (right, asked) == (sum(int((labels[i, at] == found[i]).sum()) for i, at in enumerate(kept)), 10)


def test_the_comparison_can_fail(tmp_path):
    """Another token for the row, and a tanh for the GELU of the layer over it."""
    model, theirs = twins("electra", "ElectraForSequenceClassification", tmp_path, num_labels=3)
    batch = example(model)
    model.params = tree.map(np.array, model.params)
    model.params["summary"]["weight"][0, 0] += 1e-9
    with pytest.raises(AssertionError):
        compared(model, theirs, batch)


def test_a_summary_that_is_not_implemented_is_refused(tmp_path):
    with pytest.raises(minibert.InputError, match="'summary_type' is 'last'; implemented: 'first'"):
        twins("electra", "ElectraForMultipleChoice", tmp_path, summary_type="last")


@pytest.mark.parametrize("kind", ["SequenceClassification", "TokenClassification"])
def test_every_step_of_a_fine_tuning_has_the_published_loss(kind, tmp_path):
    """AdamW with decay and clipping over drawn batches, dropout off: the same weights step for step."""
    torch, _ = oracle()
    model, theirs = twins("bert", f"BertFor{kind}", tmp_path / "theirs", **KINDS[kind][1])
    plan = training.Plan(steps=STEPS, batch_size=4, optimizer="adamw", learning_rate=1e-3, warmup=2, schedule="linear",
                         weight_decay=0.1, clip_norm=1.0)  # fmt: skip
    drawn = [batches.example(model.network, model.config, np.random.default_rng([2, i]), {"B": 4, "T": 9})
             for i in range(STEPS)]  # fmt: skip
    for batch in drawn:
        batch.pop("dropout")
    training.fit(model, plan, tmp_path / "run", lambda step: [drawn[step]])
    decayed = {name for name, rate in optim.decay_rates(model.names(), 0.1, ()).items() if rate}
    named = dict(theirs.named_parameters())
    paths = {path: name for path, name, _ in model.names()}
    groups = [{"params": [named[paths[path]] for path in paths
                      if paths[path] in named and (path in decayed) == kept],
               "weight_decay": 0.1 * kept} for kept in (True, False)]  # fmt: skip
    taken = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    rate, log = training.scheduled(plan), training.read_log(tmp_path / "run" / "log.jsonl")
    for step, batch in enumerate(drawn):
        taken.zero_grad()
        loss = theirs(**{name: torch.from_numpy(np.asarray(array)) for name, array in batch.items()}).loss
        loss.backward()
        assert abs(log[step]["loss"] - loss.item()) < BAR * loss.item(), step
        norm = torch.sqrt(sum((p.grad**2).sum() for p in named.values()))
        for p in named.values():  # torch's own adds 1e-6 to the norm
            p.grad *= min(1.0, 1.0 / norm.item())
        for group in taken.param_groups:
            group["lr"] = rate(step)
        taken.step()
