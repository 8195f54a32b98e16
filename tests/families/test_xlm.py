"""XLM: transformers' XLMWithLMHeadModel, both objectives, languages, positions, padding, and rows of them."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from figures import TEXT, Figures
from published import (
    FIELDS,
    Published,
    error,
    example,
    inputs,
    label,
    loaded,
    oracle,
    own,
    pair,
    probed,
    replaced,
    spared,
    torch_inputs,
)

import minibert
from minibert import tree
from minibert.corpus import Document
from minibert.corruption import languages as rows_of
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import xlm
from minibert.pretraining import pretrain

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (390, "no kin's fields or places, two objectives, two rules of first weights"),
    "double": (65, "the network and the loss, each in a file, with both objectives"),
    "cases": (55, "two objectives, each in cases of its own, and the double composed"),
    "mistakes": (115, "languages, restarts, padding and switches that are in no other family"),
    "tests": (315, "beside a published class: languages, their sampling, rows of three kinds, first weights"),
}


def twin(model):
    """The published class; the release's sinusoids get no gradient, which ports' do."""
    _, transformers = oracle()
    config, defaults = model.config, transformers.XLMConfig()
    ours = {name: getattr(config, name) for name in config.__dataclass_fields__ if hasattr(defaults, name)}
    module = transformers.XLMWithLMHeadModel(transformers.XLMConfig(**ours, attn_implementation="eager"))
    module = loaded(module.double().eval(), model.state_dict(), spared(model))
    if config.sinusoidal_embeddings and not config.sinusoids_learn:
        module.transformer.position_embeddings.weight.register_hook(lambda gradient: 0 * gradient)
    mend(module, config)
    return module


def mend(module, config):
    """Ports take the softmax of attention in float32; here in float64."""
    torch, _ = oracle()

    def whole(forward):
        def called(*given, **named):
            with mock.patch.object(torch.Tensor, "float", lambda tensor: tensor):
                return forward(*given, **named)

        return called

    for part in module.modules():
        if type(part).__name__ == "MultiHeadAttention":
            part.forward = whole(part.forward)


def terms(module, batch):
    """Both, of published logits; its own loss is that of labels that are not shifted."""
    torch, _ = oracle()
    given = torch_inputs(batch)
    masked = torch.from_numpy(label("masked_lm", batch))
    out = module(**given, labels=masked)
    following = torch.from_numpy(batch["labels"])[:, 1:].flatten()
    later = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), following, ignore_index=-100)
    return {"masked_lm": out.loss, "next_token": later}


def typed(rng, config, batch):
    """Token types, which are words, and positions as they come."""
    batch["token_type_ids"] = rng.integers(0, config.vocab_size, batch["input_ids"].shape)
    del batch["position_ids"]


OWN = {"n_langs": 4, "embed_init_std": 0.3, "attention_dropout": 0.0}
CONFIGS = (
    {"sinusoidal_embeddings": True, "languages": ("de", "en", "fr", "zh"), "initialization": "release"},
    {"causal": True, "gelu_activation": False, "tie_word_embeddings": False, "sinusoidal_embeddings": True,
     "sinusoids_learn": True},
    {"use_lang_emb": False},
)  # fmt: skip
HEAD = ("pred_layer.proj",)
PUBLISHED = [
    Published("xlm", "XLMWithLMHeadModel", {}, OWN, CONFIGS, mend=mend, twin=twin, terms=terms, several=HEAD),
    Published("xlm", "XLMWithLMHeadModel", {}, OWN, CONFIGS[1:2], edit=typed, mend=mend, twin=twin, terms=terms,
              several=HEAD),
]
DIRECTORIES = {"XLMWithLMHeadModel": {"mlm"}, "XLMModel": set()}
VARIANTS = (
    {"causal": False, "gelu_activation": True, "tie_word_embeddings": True, "initialization": "ports"},
    {"n_langs": 1, "languages": (), "sinusoidal_embeddings": False},
)
SMALL = {"max_position_embeddings": 6, "emb_dim": 4}
PARAMETERS = [
    ({}, (), 667_119_041),
    ({**xlm.PRESETS["base"], "vocab_size": 95000, "n_langs": 15}, (), 249_071_384),
]


def test_no_field_stays_at_its_default():
    default, moved = xlm.Config(), set()
    for one in PUBLISHED:
        for config in one.configs:
            made = xlm.Config(**{**own(xlm, FIELDS), **one.fields, **config})
            moved |= {field.name for field in dataclasses.fields(made)
                      if getattr(made, field.name) != getattr(default, field.name)}  # fmt: skip
    assert {field.name for field in dataclasses.fields(default)} - moved == {"pad_row_gradient"}


# ---- Figures ---------------------------------------------------------------------------------------------------------
BATCH = {name: TEXT[name] for name in TEXT if name != "segment_ids"} | {
    "langs": TEXT["segment_ids"],
    "position_ids": [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 1, 2, 0]],
}
OTHERS = {"pad_token_id": 2, "n_langs": 2}
FOLLOWING = {name: BATCH[name] for name in BATCH if not name.startswith("masked")} | {"labels": BATCH["input_ids"]}
LAST = (-1.573049132208275, -0.637648782614517, 1.895919081071727)
FIGURES = [
    Figures(
        "xlm",
        {
            "forward/loss": 3.795379994582,
            "gradients/transformer.embeddings.weight": 1.347665340915,
            "gradients/transformer.lang_embeddings.weight": 0.337219885616,
            "gradients/pred_layer.proj.bias": 0.429929230175,
        },
        OTHERS,
        BATCH,
        values={("last_hidden_state", (0, 7, i)): value for i, value in enumerate(LAST)},
    ),
    Figures("xlm", {"forward/loss": 3.598928797543}, {**OTHERS, "causal": True}, FOLLOWING),
]


# ---- The network -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
def test_states_of_padding_are_0(causal, dtype):
    """(a) of B17: exactly, in every layer, and nothing but its token's row of the loss comes back from them."""
    model = probed("xlm", n_langs=4, causal=causal)
    batch, model.params = example(model), tree.map(lambda a: a.astype(dtype), model.params)
    padding = batch["input_mask"] == 0
    out = model.encode(**inputs({name: batch[name] for name in ("input_ids", "langs", "input_mask")}))
    assert padding.any()
    for states in out["hidden_states"]:
        assert not states[padding].any()
        assert states[~padding].any(-1).all()


def test_a_row_of_languages_learns_where_it_is_spoken():
    """(e) of B17; without `langs` nothing is added, and nothing learns."""
    model = probed("xlm", n_langs=4)
    batch = example(model) | {"langs": np.ones((4, 11), np.int64)}
    gradient = model.loss_backward(model.loss(batch)[1])["embeddings"]["language"]["weight"]
    assert gradient.any(1).tolist() == [False, True, False, False]
    silent = {name: value for name, value in batch.items() if name != "langs"}
    loss, cache = model.loss(silent)
    assert loss != model.loss(batch)[0]
    assert not model.loss_backward(cache)["embeddings"]["language"]["weight"].any()
    model.params["embeddings"]["language"]["weight"][...] = 0
    assert loss == model.loss(batch)[0]


def test_the_labels_that_are_there_decide():
    model = probed("xlm", causal=True)
    batch = example(model)
    masked = {name: value for name, value in batch.items() if name != "labels"}
    following = {name: value for name, value in batch.items() if not name.startswith("masked")}
    both, one, other = (model.loss(each)[1]["terms"] for each in (batch, masked, following))
    assert (one.keys(), other.keys()) == ({"masked_lm"}, {"next_token"})
    assert both == {**one, **other}
    with pytest.raises(InputError, match=r"masked_lm: masked_lm_positions.*next_token: labels"):
        model.loss({name: value for name, value in following.items() if name != "labels"})


def test_sinusoids_stay_or_learn_as_it_says():
    model = probed("xlm", sinusoidal_embeddings=True)
    batch = example(model)
    for learn in (False, True):
        free = replaced(model, sinusoids_learn=learn)
        assert free.loss_backward(free.loss(batch)[1])["embeddings"]["position"]["weight"].any() == learn
    fresh = minibert.create("xlm", emb_dim=8, n_heads=2, n_layers=1, vocab_size=9, sinusoidal_embeddings=True)
    row = fresh.params["embeddings"]["position"]["weight"][3]
    assert row == pytest.approx([f(3 / 10000 ** (2 * i / 8)) for i in range(4) for f in (np.sin, np.cos)], abs=1e-7)
    assert xlm.undecayed(fresh.config) == ("embeddings.position",)


@pytest.mark.parametrize("rule", xlm.INITIALIZATIONS)
def test_the_first_weights_are_as_it_says(rule):
    sizes = {"vocab_size": 300, "emb_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 40,
             "n_langs": 40, "embed_init_std": 0.3, "init_std": 0.05}  # fmt: skip
    model = minibert.create("xlm", 3, "float64", **sizes, initialization=rule)
    for path, value in tree.items(model.params):
        if "norm" in path or value.size < 2000:
            continue
        table = path.startswith("embeddings")
        due = {"ports": 0.3 if table else 0.05, "release": 1 / 8 if table else (3 * value.shape[-1]) ** -0.5}[rule]
        assert abs(value.std() / due - 1) < 0.06, path
    assert not model.params["embeddings"]["word"]["weight"][2].any()
    assert model.params["encoder"][0]["attention"]["query"]["bias"].any() == (rule == "release")


@pytest.mark.parametrize("fault", ["padding", "languages", "causal"])
def test_a_planted_fault_is_caught(fault, monkeypatch):
    config = CONFIGS[0 if fault == "padding" else 1]  # a causal model's tokens see no padding behind them
    both = pair(PUBLISHED[0], config)
    assert error(both.model.loss(both.batch)[0], both.total().item()) < 1e-12
    if fault == "languages":
        both.batch["langs"] = (both.batch["langs"] + 1) % 4
    elif fault == "padding":
        both.batch["input_mask"] = np.ones_like(both.batch["input_mask"])
    else:
        both.model = replaced(both.model, causal=False)
    due = sum(terms(both.twin, pair(PUBLISHED[0], config).batch).values()).item()
    assert error(both.model.loss(both.batch)[0], due) > 1e-7


# ---- Rows ------------------------------------------------------------------------------------------------------------
VOCABULARY = Vocabulary(60, cls=1, sep=1, mask=5, pad=2, specials=tuple(range(14)), end=1)


def test_a_pair_has_positions_that_restart_and_its_sentences_languages():
    """(b) of B17."""
    made = rows_of.translations([[[20, 21, 22], [30, 31]]], np.random.default_rng(0), VOCABULARY, 12, 1, (2, 0))
    assert {name: array[0].tolist() for name, array in made.items()} == {
        "input_ids": [1, 20, 21, 22, 1, 1, 30, 31, 1, 2, 2, 2],
        "input_mask": [1] * 9 + [0] * 3,
        "langs": [2] * 5 + [0] * 7,
        "position_ids": [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 0, 0],
    }
    with pytest.raises(InputError, match="none of 1 pairs fits into rows of 8 tokens"):
        rows_of.translations([[[20, 21, 22], [30, 31]]], np.random.default_rng(0), VOCABULARY, 8, 1)


def test_a_stream_is_of_one_language_with_its_end_behind_every_sentence():
    text = [[[20, 21], [22]], [[23, 24, 25]]]
    made = rows_of.streams(text, np.random.default_rng(0), VOCABULARY, 4, 2, (1,))
    flat = made["input_ids"].reshape(-1).tolist()
    assert sorted(flat[:9]) == sorted([20, 21, 1, 22, 1, 23, 24, 25, 1])
    assert (made["langs"] == 1).all()
    assert made["position_ids"].tolist() == [[0, 1, 2, 3]] * len(flat[::4])
    data = rows_of.Spoken(seq_length=8, languages="de en")
    texts = [Document(["a"], "de-en")]
    assert rows_of.mark(None, data, texts, []) == [0, 1]
    with pytest.raises(InputError, match="language 'fr', but languages are 'de en'"):
        rows_of.mark(None, data, [Document(["a"], "fr")], [])


def test_masks_fall_in_both_sentences_and_never_first():
    rng = np.random.default_rng(0)
    text = [[list(rng.integers(14, 60, 5)), list(rng.integers(14, 60, 5))] for _ in range(300)]
    data = rows_of.Spoken(seq_length=16, rate=0.3)
    made = rows_of.translations(text, rng, VOCABULARY, 16, 1)
    batch = rows_of.corrupt(made, rng, VOCABULARY, data)
    places = batch["masked_lm_positions"][batch["masked_lm_weights"] > 0]
    counts = np.bincount(places, minlength=16)
    assert counts[0] == 0 == counts[14:].sum()
    assert (counts[1:14] > 300 * 0.3 * 0.6).all()  # </s> at 6, 7 and 13 as well
    assert counts.sum() == pytest.approx(300 * 13 * 0.3, rel=0.1)


# ---- A run ----------------------------------------------------------------------------------------------------------
def test_a_run_of_two_languages_and_their_pairs(tmp_path, capsys):
    """Every kind of row, the languages' ids in the saved configuration, BERT on the same text."""
    known = {"de": ["der", "Hund", "lief", "schnell", "über", "die", "Wiese", "Haus"],
             "en": ["the", "dog", "ran", "fast", "over", "our", "green", "field"]}  # fmt: skip
    rng, said = np.random.default_rng(0), {}
    for language, words in known.items():
        said[language] = [" ".join(rng.choice(words, 7)) + "." for _ in range(120)]
        text = "\n".join(" ".join(rng.choice(words, 9)) + ".\n" * (1 + (i % 6 == 5)) for i in range(120))
        (tmp_path / f"{language}.txt").write_text(text, encoding="utf-8")
    pairs = "".join(f"{a}\t{b}\n" for a, b in zip(said["de"], said["en"], strict=True))
    (tmp_path / "pairs.tsv").write_text(pairs, encoding="utf-8")
    given = [f"{name}={tmp_path / name}.txt" for name in ("en", "de")] + [f"de-en={tmp_path / 'pairs.tsv'}"]
    small = {"vocab_size": 120, "seq_length": 40, "steps": 2, "batch_size": 8}
    out = pretrain("xlm", language=given, out=tmp_path / "xlm", **small, fields={"emb_dim": 16, "n_heads": 2})
    model = minibert.load(out)
    assert (model.config.languages, model.config.n_langs, model.config.causal) == (("de", "en"), 2, False)
    out = pretrain("xlm", language=given[:2], out=tmp_path / "clm", objective="clm", **small)
    assert minibert.load(out).config.causal
    assert f"saved     {out}; try: minibert generate" in capsys.readouterr().out
    fields = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    pretrain("bert", language=given[:2], out=tmp_path / "bert", **small, fields=fields)
    with pytest.raises(InputError, match="given twice: by --corpus and by --language"):
        pretrain("bert", [tmp_path / "de.txt"], language=given, out=tmp_path / "none")
