"""Grover: its layer, the order of an article's fields, its ids, one field written given others; no published class."""

import json
from collections import Counter

import numpy as np
import pytest
from figures import TEXT, Figures
from published import error, example, probed

import minibert
from minibert import cli, objective, ops
from minibert.checkpoint import safetensors
from minibert.corruption import articles
from minibert.corruption.articles import BEGIN, END, FIELDS
from minibert.errors import InputError
from minibert.families import grover
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (263, "a layer of its own whose residual passes the norm by, a state, data of its own"),
    "cases": (42, "a run of generation beside the two that all families have"),
    "tests": (218, "no published class: orders drawn by the release's rules, ids, a field given others"),
}

VARIANTS = ({}, {"hidden_act": "gelu"})
SMALL = {"max_position_embeddings": 7}
PARAMETERS = [({}, (), 124_449_792), (grover.PRESETS["mega"], (), 1_438_703_616)]
BATCH = {"input_ids": TEXT["input_ids"], "attention_mask": TEXT["input_mask"],
         "labels": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, -100]]}  # fmt: skip
FIGURES = [
    Figures("grover", {"forward/loss": 3.279527012500, "gradients/newslm.embeddings.word_embed": 1.185753925918,
                       "gradients/newslm.layer00.query_layer.kernel": 0.137847420351,
                       "gradients/newslm.layer01.LayerNorm_mlp_ln0.gamma": 0.109066855499}, batch=BATCH),
]  # fmt: skip
WORDS = ["the cat sat on the mat", "a dog is no cat", "the mat is on the dog"]
ARTICLE = {"title": "a cat", "text": "the cat sat on the mat", "domain": "x.org", "publish_date": "02-03-2018",
           "authors": ["A. Cat", "B. Dog"],
           "summary": "more than fifty characters, as a summary has to have"}  # fmt: skip
PIECES = {field: [10 * n, *[10 * n + 1] * 3, 10 * n + 2] for n, field in enumerate(FIELDS, 1)}


@pytest.fixture(scope="module")
def words():
    return ByteLevelBPE.train(WORDS, 300, specials=articles.SPECIALS, added=articles.TOKENS)


def rows(count, size=1000, seed=0, pieces=PIECES):
    rng = np.random.default_rng(seed)
    made = [articles.ordered(pieces, rng, size, 0) for _ in range(count)]
    return [tuple(i // 10 - 1 for i in row if i % 10 == 0 and i) for row in made], made


# ---- The network -----------------------------------------------------------------------------------------------------
def test_a_layer_without_its_attention_is_its_equation():
    """(a), (b) of B4: LN₁(x + MLP(LN₀ x)) of what the layer before gave."""
    model = probed("grover", num_hidden_layers=2, lm_denominator_eps=0.0)
    p, eps = model.params["decoder"][1], model.config.layer_norm_eps
    for leaf in p["attention"]["output"].values():
        leaf[...] = 0
    out = model.encode(input_ids=[[3, 7, 9, 2]])
    x = out["hidden_states"][1]
    h = ops.linear(ops.layer_norm(x, **p["attention"]["norm"], eps=eps)[0], **p["feed_forward"]["in"])[0]
    f = ops.linear(ops.gelu(h)[0], **p["feed_forward"]["out"])[0]
    assert error(out["last_hidden_state"], ops.layer_norm(x + f, **p["feed_forward"]["norm"], eps=eps)[0]) < 1e-14
    norm = model.params["decoder"][0]["feed_forward"]["norm"]
    assert error(((x - norm["bias"]) / norm["weight"]).mean(-1), np.zeros((1, 4)), 1e3) < 1e-13


def test_padding_is_not_asked_and_the_denominator_has_its_own_eps():
    """(e) of B4."""
    plain, eps = (probed("grover", lm_denominator_eps=eps) for eps in (0.0, 1e-5))
    batch = example(plain)
    n = (batch["labels"][:, 1:] != -100).sum()
    losses = [float(model.loss(batch)[0]) for model in (plain, eps)]
    assert losses[1] == pytest.approx(losses[0] * n / (n + 1e-5), rel=1e-14)
    assert objective.counts(grover, plain.config, batch) == {"next_token": n}


def test_step_by_step_is_the_whole():
    """(f) of B4; a prompt padded on the left counts from its first token."""
    model, mask = probed("grover"), (np.arange(8) >= np.array([0, 3])[:, None]).astype(np.int64)
    ids, places = np.random.default_rng(0).integers(0, 29, mask.shape), np.maximum(mask.cumsum(1) - 1, 0)
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
    due, run = objective.predict(grover, model.params, model.config, given, "next_token"), (model.params, model.config)
    state = grover.start(*run, {"input_ids": ids[:, :4], "attention_mask": mask[:, :4]})
    for at in range(4, 8):
        found, state = grover.step(*run, ids[:, at : at + 1], state)
        assert error(found, due[:, at]) < 1e-12
    with pytest.raises(InputError, match="than max_position_embeddings, 19, has places"):
        model.generate([[1] * 18], max_new_tokens=5)


def test_files_of_the_release_are_read_whatever_parts_their_scopes(tmp_path):
    model = minibert.create("grover", 0, **grover.PROBE)
    model.save(tmp_path)
    names = {name: name.replace(".", "/") for name in model.state_dict()}
    tensors = {names[name]: array for name, array in model.state_dict().items()}
    assert "newslm/layer00/LayerNorm_mlp_ln0/gamma" in tensors
    spare = {"newslm/layer00/query_layer/kernel/adafactor_vr": np.zeros(8, np.float32)}
    safetensors.write(tmp_path / "model.safetensors", {**tensors, **spare})
    again = minibert.load(tmp_path)
    assert all(np.array_equal(array, again.state_dict()[name]) for name, array in model.state_dict().items())


# ---- Ids -------------------------------------------------------------------------------------------------------------
def test_gpt2s_vocabulary_is_shifted_by_one():
    """(c) of B4: 50270 of 50257."""
    assert 50257 + 1 - 1 + len(articles.TOKENS) == grover.Config().vocab_size == 50270
    gpt2 = ByteLevelBPE([*CHARACTERS, "at", "<|endoftext|>"], [("a", "t")], {"eos": "<|endoftext|>"})
    ours = articles.vocabulary(gpt2)
    assert ours.ids("a cat") == [i + 1 for i in gpt2.ids("a cat")]
    assert (ours.pad_id, len(ours)) == (0, len(gpt2) + len(articles.TOKENS))
    assert ours.tokens[-13:] == [*articles.TOKENS]
    assert "<|endoftext|>" not in ours.index


def test_a_learnt_vocabulary_begins_and_ends_with_the_fields_tokens(words, tmp_path):
    assert (words.pad_id, words.tokens[-13:], len(words) <= 300) == (0, [*articles.TOKENS], True)
    words.save(tmp_path)
    assert ByteLevelBPE.load(tmp_path).tokens == words.tokens
    with pytest.raises(InputError, match="below the 270 special tokens and bytes"):
        ByteLevelBPE.train(WORDS, 269, specials=articles.SPECIALS, added=articles.TOKENS)


# ---- Rows ------------------------------------------------------------------------------------------------------------
def test_fields_stand_in_the_orders_of_the_release_as_often():
    """(d) of B4: 0.35, 0.15, 0.5 within 3 sigma of 10,000 draws."""
    found, _ = rows(10_000)
    count, whole = Counter(found), tuple(range(6))
    article, summary = FIELDS.index("article"), FIELDS.index("summary")
    bound = lambda share: 3 * (share * (1 - share) / 10_000) ** 0.5  # noqa: E731
    third = 0.5 * 0.9**3 / 32 * 0.45  # of the third kind: no field left out, these five before or behind
    due = 0.15 + 6 * third  # any number of the first stand before
    assert abs(count[whole] / 10_000 - due) < bound(due)
    first = (article, 0, 1, 2, 3, summary)
    due = 0.35 * 0.9**5 + third
    assert abs(count[first] / 10_000 - due) < bound(due)
    assert all(article in row and [*row] == sorted(row[:k]) + sorted(row[k:]) for row in found
               for k in [next((k for k in range(1, len(row)) if row[k] < row[k - 1]), len(row))])  # fmt: skip
    assert all(row[-1] == summary for row in found if summary in row), "it stands last or not at all"
    lacking = np.mean([summary not in row for row in found])
    due = 0.35 * 0.1 + 0.5 * (0.1 + 0.9 * 0.5)
    assert abs(lacking - due) < bound(due)


def test_an_article_is_cut_for_what_stands_behind_it():
    """So that one padding and the rest fit, in a fifth of the rows; else nothing is left out."""
    pieces = {**PIECES, "article": [50, *[51] * 26, 52]}
    _, made = rows(4000, 40, pieces=pieces)
    cut = [row for row in made if 0 in row]
    assert all(len(row) == 40 and row.count(0) == 1 and row[row.index(0) + 1] % 10 == 0 for row in cut)
    assert 0.05 < len(cut) / len(made) < 0.15
    alone = rows(4000, 25, pieces=pieces)[1]
    assert not any(0 in row for row in alone), "what stands before fills the row: no more is added"
    assert any(row == pieces["article"] for row in alone)
    windows = [*articles.windows([*range(100)], np.random.default_rng(0), 40, 0)]
    assert [len(row) for row in windows] == [40, 40, 40][: int(0.5 + 100 / 40)]
    assert all(row == [*range(row[0], row[0] + 40)] for row in windows)
    assert [*articles.windows([1, 2], np.random.default_rng(0), 4, 0)] == [[1, 2, 0, 0]]


def test_an_article_of_a_file_has_its_fields_and_a_document_two(words, tmp_path):
    file = tmp_path / "articles.jsonl"
    file.write_text("".join(json.dumps(ARTICLE) + "\n" for _ in range(20)), encoding="utf-8")
    data = articles.Articles(articles=str(file), seq_length=64, vocab_size=300)
    train, apart = (articles.handed(words, data, part) for part in ("train", "held_out"))
    assert (len(train), len(apart), [*train[0]]) == (18, 2, [*FIELDS])
    said = {field: words.decode(ids) for field, ids in train[0].items()}
    assert (said["date"], said["authors"]) == ("February 03, 2018", "A. Cat, B. Dog")
    assert [*articles.pieces(words, {"text": "a", "authors": ["A"], "summary": "short"})] == ["article"]
    documents = [[words.ids(text) for text in WORDS]]
    marked = articles.mark(words, data, [WORDS], documents)
    assert [[*found] for found in marked["articles"]] == [["title", "article"]]
    vocabulary = minibert.data.Recipe("grover", words, data).vocabulary
    made = grover.rows(documents, np.random.default_rng(0), vocabulary, data, {**marked, "handed": train})
    assert (made["labels"] == -100).tolist() == (made["input_ids"] == 0).tolist()
    file.write_text('{"title": "no text"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1: an article without text"):
        articles.handed(words, data, "train")


def test_one_field_is_written_given_the_others(words):
    """Behind their tokens; no token of another field; up to its end."""
    model = probed("grover", vocab_size=len(words), max_position_embeddings=80)
    model.tokenizer = words
    begun = articles.prompt(words, {"title": "a cat", "domain": "x"}, "article")
    assert words.decode(begun, skip_special_tokens=False) == (
        "<|begindomain|>x<|endofdomain|><|begintitle|>a cat<|endoftitle|><|beginarticle|>")
    about = articles.prompt(words, {"title": "a cat"}, "date")
    assert words.decode(about, skip_special_tokens=False).endswith("<|beginarticle|>a cat<|endofarticle|><|begindate|>")
    found = articles.written(model, {"title": "a cat"}, "date", do_sample=True, seed=3)
    never = {*words.special_ids} - {words.index[END["date"]]}
    ids = model.generate([about], do_sample=True, seed=3, eos_token_id=words.index[END["date"]], max_new_tokens=60,
                         suppress_tokens=sorted(never))[0, len(about) :]  # fmt: skip
    assert not never & {*ids.tolist()}
    assert words.decode(ids).startswith(found[:5])
    with pytest.raises(InputError, match="no field 'body'"):
        articles.prompt(words, {}, "body")
    assert BEGIN["date"] not in found


def test_the_command_writes_a_field(words, tmp_path, capsys):
    """As `articles.written` does; what is no article is one line, with its number."""
    model = probed("grover", vocab_size=len(words), max_position_embeddings=80)
    model.tokenizer = words
    model.save(tmp_path / "grover")
    command = ["generate", str(tmp_path / "grover"), "--max-new-tokens", "6", "--field"]
    assert cli.main([*command, "date", '{"title": "a cat"}', "--json"]) == 0
    due = articles.written(model, {"title": "a cat"}, "date", max_new_tokens=6)
    assert json.loads(capsys.readouterr().out) == {"given": {"title": "a cat"}, "date": due}
    refused = [("body", ["{}"], "--field 'body'; there are: domain"), ("date", ["{}", '{"text": 3}'], "article 2"),
               ("date", ["a cat"], "article 1 is not usable JSON")]  # fmt: skip
    for field, texts, said in refused:
        assert cli.main([*command, field, *texts]) == 2
        assert said in capsys.readouterr().err
