"""The head that tells which tokens were replaced: its gradient, what it counts, and the commands that use it."""

import json

import numpy as np
import pytest
from published import example, probed

import minibert
from minibert import cli, gradcheck, inference, objective, pretraining, training
from minibert.errors import InputError
from minibert.families import bert, electra
from minibert.heads import replaced_token
from minibert.objective import Term


def network(seed=0, **fields):
    return probed("electra", seed, **{"hidden_act": "gelu_new", "generator_size": 0.5, **fields})


def test_gradients_of_the_head_at_fifty_digits():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 5))
    p = {"dense": {"weight": rng.standard_normal((5, 5)), "bias": rng.standard_normal(5)},
         "out": {"weight": rng.standard_normal((1, 5)), "bias": rng.standard_normal(1)}}  # fmt: skip
    double = gradcheck.doubles().double("rtd_head")
    pair = replaced_token.rtd_head, replaced_token.rtd_head_backward
    found = gradcheck.exact(*pair, double, {"x": x, "p": p}, {"act": "gelu"}, {"activation": "gelu"})
    assert max(found.values()) < gradcheck.EXACT_BAR


def test_what_is_counted_as_right():
    """Over attended tokens alone, and their labels; a logit above 0 says replaced."""
    model = network(14, role="discriminator")
    batch = example(model)
    attended = batch["input_mask"] == 1
    batch["replaced_labels"][~attended] = 1
    cache = model.loss(batch)[1]
    z, labels = cache["discriminator"]["replaced_token"]["loss"]["logits"], batch["replaced_labels"]
    count, ones = int(attended.sum()), int(labels[attended].sum())
    for sign, right in ((1, count), (-1, 0)):
        z[attended] = np.where(labels == 1, 0.1 * sign, -0.1 * sign)[attended]
        z[~attended] = 0.1  # right, were padding counted
        (found, counted, classes), = electra.right(cache).values()
        assert (found, counted, *classes) == (right, count, count - ones, ones)


def test_a_missing_network_is_named():
    generator, discriminator = network(role="generator"), network(role="discriminator")
    inputs = {"input_ids": np.array([[1, 2, 3]])}
    with pytest.raises(InputError, match="fill-mask needs the generator, but this is the discriminator alone"):
        objective.predict(electra, discriminator.params, discriminator.config, inputs, "masked_lm", (0, [1]))
    with pytest.raises(InputError, match="detect needs the discriminator, but this is the generator alone"):
        objective.predict(electra, generator.params, generator.config, inputs, "replaced_token")
    bare = {part: held for part, held in discriminator.params.items() if part != "rtd"}
    with pytest.raises(InputError, match="detect needs the head 'rtd'"):
        objective.predict(electra, bare, discriminator.config, inputs, "replaced_token")
    with pytest.raises(InputError, match="no generator to draw from"):
        electra.sample(np.random.default_rng(0), discriminator.params, discriminator.config, inputs)
    batch = example(network())
    del batch["replacement_ids"]
    with pytest.raises(InputError, match="replacement_ids"):
        network().loss(batch)


def test_detect_fill_mask_and_embed(corpus, tmp_path, capsys):
    fields = {"embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 12}  # fmt: skip
    options = {"steps": 12, "batch_size": 4, "seq_length": 24, "vocab_size": 300, "duplicates": 1, "held_out": 0.2}
    run = pretraining.pretrain("electra", [corpus / "text.txt"], tmp_path / "run", fields=fields, **options)
    word = (corpus / "text.txt").read_text(encoding="utf-8").split()[0]
    capsys.readouterr()
    assert cli.main(["detect", str(run), f"{word} {word}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"][found["tokens"][0]["start"]] == word[0]
    model = minibert.load(run)
    encoding = model.tokenizer.encode(found["text"])
    inputs = {"input_ids": np.array([encoding.ids])}
    logits = objective.predict(electra, model.params, model.config, inputs, "replaced_token")[0, 1:-1]
    assert [token["probability"] for token in found["tokens"]] == pytest.approx(1 / (1 + np.exp(-logits)), rel=1e-6)
    model.params["discriminator"]["rtd"]["out"]["bias"][:] = 9.0  # everything looks replaced
    model.save(run)
    assert cli.main(["detect", str(run), word]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == word
    assert all(line.endswith("]") and "%" in line for line in lines[1:])
    assert cli.main(["fill-mask", str(run), f"{word} [MASK]"]) == 0
    assert cli.main(["fill-mask", str(run / "generator"), f"{word} [MASK]"]) == 0
    joint, alone = capsys.readouterr().out.split(f"{word} [MASK]")[1:]
    assert joint == alone
    one, two = (inference.sentence_vectors(minibert.load(place), [word]) for place in (run, run / "discriminator"))
    assert one.shape == (1, 8)
    assert np.array_equal(one, two)
    assert cli.main(["detect", str(run / "generator"), word]) == 2
    assert "detect needs the discriminator" in capsys.readouterr().err
    assert cli.main(["fill-mask", str(run / "discriminator"), f"{word} [MASK]"]) == 2
    assert "fill-mask needs the generator" in capsys.readouterr().err


def test_targets_are_counted_whatever_the_mask_is_called(monkeypatch):
    """Under any network and the objective of terms: micro-batches are divided by the attended tokens of them all."""
    term = Term(replaced_token, "rtd", sizes={"width": 8}, constants={"act": "gelu"})
    monkeypatch.setattr(bert, "terms", lambda config: {"replaced_token": term})
    monkeypatch.setattr(bert, "OPTIONAL", {"pooler": None})
    model = minibert.create("bert", **{**bert.PROBE, "dtype": "float64"})
    rng = np.random.default_rng(0)
    whole = bert.example(rng, model.config)
    batch = {name: whole[name] for name in ("input_ids", "input_mask", "segment_ids")}
    batch["replaced_labels"] = rng.integers(0, 2, batch["input_ids"].shape)
    attended = int(batch["input_mask"].sum())
    assert attended < batch["input_mask"].size
    assert training.denominators(model, [batch]) == {"replaced_token": attended}
    parts = [{name: a[rows] for name, a in batch.items()} for rows in ([0], [1, 2])]
    assert abs(training.gradient(model, parts)[0]["loss"] - float(model.loss(batch)[0])) < 1e-12
