"""fastText: the release's hash and n-grams, what a word is made of, word2vec where it has none, components."""

import json

import numpy as np
import pytest

import minibert
from minibert import batches, finetuning, pretraining, tree, vectors
from minibert.checkpoint import fasttext as released
from minibert.corruption import pieces
from minibert.errors import InputError
from minibert.families import fasttext, word2vec
from minibert.tokenizers import glyphs
from minibert.tokenizers.words import Words

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (390, "what words are made of, in batches or by the config; n-grams of words; a text's mean; images"),
    "tests": (310, "hash, n-grams, rows of words, word2vec where a word has none, components, files of others"),
}

PARAMETERS = [({}, (), 206_000_000), ({"bucket": 1000, "hs": True}, ("nodes", "out"), 3_100_000)]
VARIANTS = [{}, {"sg": True}, {"ns": False, "cbow_mean": True}, {"images": "林"}]
SMALL = {"vector_size": 4, "vocab_size": 9}
RUNS = [({"bucket": 50}, {"vector_size": 8})]


def made(family="fasttext", seed=1, **fields):
    rng = np.random.default_rng(seed)
    module = {"fasttext": fasttext, "word2vec": word2vec}[family]
    seen = {} if family == "word2vec" else {"images": ""}  # no images but where a test asks for them
    model = minibert.create(family, seed, "float64", **{**module.PROBE, **seen, **fields})
    for array in tree.leaves(model.params):
        array += rng.standard_normal(array.shape)
    batch = batches.example(module, model.config, rng)
    return model, {name: array for name, array in batch.items() if name != "dropout"}


def test_the_hash_is_the_release_s():
    """Each byte as a signed number: as any FNV-1a in ASCII alone."""
    assert (pieces.hashed("<th"), pieces.hashed("the") % 2_000_000) == (1619151151, 861980)
    assert (pieces.hashed("é"), pieces.hashed("中")) == (1023043777, 3930512628)
    plain = 2166136261
    for byte in "é".encode():
        plain = (plain ^ byte) * 16777619 % 2**32
    assert plain != pieces.hashed("é")


def test_n_grams_are_the_release_s():
    due = "<wh <whe <wher <where whe wher where where> her here here> ere ere> re>"
    assert pieces.grams("where", 3, 6) == due.split()
    assert pieces.grams("中国", 1, 2) == ["<中", "中", "中国", "国", "国>"]  # of characters, no mark by itself
    assert pieces.grams("a", 1, 1) == ["a"]
    table = pieces.table(["", "where", "he"], 3, 6, 1000)
    assert (table != pieces.IGNORED).sum(0).tolist() == [0, 14, 3]
    assert table[0, 1] == pieces.hashed("<wh") % 1000


@pytest.mark.parametrize("own", VARIANTS[:3])
def test_without_n_grams_it_is_word2vec(own):
    """The same loss and gradients, where no drawn word is one that is asked for and none is unknown."""
    own = {**own, "unk_token_id": None, "undivided": False}
    ours, batch = made(**own)
    given = {name: value for name, value in own.items() if name != "unk_token_id"}
    theirs, _ = made("word2vec", **given)
    for path, array in tree.items(theirs.params):
        array[...] = tree.get(ours.params, path)
    batch["input_ids"] = batch["input_ids"] % 10
    if "negatives" in batch:
        batch["negatives"] = 10 + batch["negatives"] % 10
    batch["pieces"] = np.full_like(batch["pieces"], pieces.IGNORED)
    (loss, cache), due = ours.loss(batch), theirs.loss({k: a for k, a in batch.items() if k != "pieces"})
    assert float(loss) == pytest.approx(float(due[0]), rel=1e-13)
    found, g = tree.flatten(ours.loss_backward(cache)), tree.flatten(theirs.loss_backward(due[1]))
    assert not found.pop("embeddings.piece.weight").any()
    assert all(np.allclose(found[path], g[path], rtol=0, atol=1e-13) for path in g)


def test_a_word_is_the_mean_of_its_rows_and_an_unknown_one_of_its_n_grams():
    model, _ = made(sg=True, minn=3, maxn=4)
    model.tokenizer = Words.train(["where are the others"] * 5, 23)
    held, p, i = vectors.of(model), model.params["embeddings"], model.tokenizer.id("where")
    rows = p["piece"]["weight"][pieces.rows("where", 3, 4, 17)]
    due = np.concatenate([p["word"]["weight"][i : i + 1], rows]).mean(0)
    assert np.allclose(held.rows[held.index["where"]], due.astype(np.float32))
    (first, cosine), *_ = vectors.nearest(held, ["wherefore"], count=1)
    alone = p["piece"]["weight"][pieces.rows("wherefore", 3, 4, 17)].mean(0)
    assert np.allclose(held.other("wherefore"), alone)
    assert cosine == pytest.approx(float(vectors.unit(held.rows)[held.index[first]] @ vectors.unit(alone)), abs=1e-5)


def test_the_mean_of_a_window_is_over_rows_and_not_over_words():
    model, batch = made(cbow_mean=True, unk_token_id=None, hs=False)
    batch = {name: array[:1] for name, array in batch.items() if name not in ("targets", "negatives")}
    batch["attention_mask"][...], batch["before"][...], batch["after"][...] = 1, 0, 0
    batch["before"][0, 2], found, parts = 2, [], batch["pieces"][0]
    for t in (0, 1):
        found.append(model.params["embeddings"]["word"]["weight"][batch["input_ids"][0, t]])
        found += [model.params["embeddings"]["piece"]["weight"][g] for g in parts[:, t] if g != pieces.IGNORED]
    assert len({int((parts[:, t] != pieces.IGNORED).sum()) for t in (0, 1)}) == 2
    assert np.allclose(model.encode(**batch)["context"][0, 2], np.mean(found, 0))


def test_chinese_over_components(tmp_path):
    """Characters that share a part share rows; what the file lacks stays; a file that is none is refused."""
    (tmp_path / "parts.json").write_text(json.dumps({"河": "⿰氵可", "湖": "⿰氵胡"}), encoding="utf-8")
    known = pieces.components(str(tmp_path / "parts.json"))
    assert pieces.spelt("河水", known) == "氵可水"
    shared = {*pieces.rows("河", 2, 2, 10**9, known)} & {*pieces.rows("湖", 2, 2, 10**9, known)}
    assert shared == {pieces.hashed("<氵") % 10**9}
    assert not {*pieces.rows("河", 2, 2, 10**9)} & {*pieces.rows("湖", 2, 2, 10**9)}
    for text in ("[]", '{"河": 1}', '{"河水": "x"}', "{"):
        (tmp_path / "parts.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError):
            pieces.components(str(tmp_path / "parts.json"))


def test_images_of_characters(monkeypatch, tmp_path):
    """What is seen in each character is one more row, of unknown words, too; a run begins with the fonts' pixels."""
    drawn = np.random.default_rng(0).random((2, 16)).astype(np.float32)
    monkeypatch.setattr(glyphs, "table", lambda tokens, source, size: drawn[: len(tokens)])
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"林 木 a{i} 林木 b{i} 木 c{i}" for i in range(40)), encoding="utf-8")
    given = {"corpus_files": [text], "fonts": "one.ttf", "bucket": 17, "minn": 1, "maxn": 2, "steps": 2,
             "optimizer": "adamw", "seq_length": 8, "batch_size": 4, "threads": 1, "sample": 0.0}
    fields = {"vector_size": 4, "glyph_size": 4, "glyph_filters": 3}
    run = pretraining.pretrain("fasttext", out=tmp_path / "run", learning_rate=1e-4, fields=fields, **given)
    model = minibert.load(run)
    assert model.config.characters == ["木", "林"]
    p = model.params["embeddings"]
    assert np.abs(p["glyph"]["image"]["weight"] - drawn).max() < 1e-3  # two steps of at most the rate each
    seen = []
    for image in p["glyph"]["image"]["weight"].reshape(2, 4, 4):
        windows = [image[y : y + 3, x : x + 3].reshape(-1) for y in range(2) for x in range(2)]
        most = np.max([p["glyph"]["filter"]["weight"] @ w for w in windows] + p["glyph"]["filter"]["bias"], 0)
        seen.append(p["glyph"]["map"]["weight"] @ np.maximum(most, 0) + p["glyph"]["map"]["bias"])
    held = vectors.of(model)
    for word, row in (("林", seen[1]), ("木a", seen[0])):  # one that is known, one that is not
        own = [p["word"]["weight"][model.tokenizer.id(word)]] if word in held.index else []
        grams = [*p["piece"]["weight"][pieces.rows(word, 1, 2, 17)]]
        found = held.rows[held.index[word]] if own else held.other(word)
        assert np.allclose(found, np.mean([*own, *grams, row], 0), atol=1e-6)
    ids = np.array([[model.tokenizer.id("林")]])
    assert np.allclose(model.encode(ids)["last_hidden_state"][0, 0], held.rows[held.index["林"]], atol=1e-6)
    with pytest.raises(InputError, match="sees images of characters"):
        vectors.to_fasttext(model)
    with pytest.raises(InputError, match="glyph_kernel"):
        fasttext.Config(glyph_kernel=13)


@pytest.mark.parametrize("kept", ["n-grams", "images", "none"])
def test_a_batch_without_images_or_without_n_grams(kept):
    """Who has no part leaves its tables alone; the others' gradient is that of differences along it."""
    model, batch = made(images="林\n木")
    found, bucket = batch["pieces"], model.config.bucket
    there = {"n-grams": found < bucket, "images": found >= bucket, "none": found < 0}[kept]
    assert kept == "none" or (there & (found >= 0)).any()
    batch["pieces"] = np.where(there, found, pieces.IGNORED)
    _, cache = model.loss(batch)
    g = tree.flatten(model.loss_backward(cache))
    glyph = np.concatenate([array.ravel() for path, array in g.items() if ".glyph." in path])
    assert glyph.any() == (kept == "images")
    assert g["embeddings.piece.weight"].any() == (kept == "n-grams")
    rng, parts = np.random.default_rng(0), tree.flatten(model.params)
    along = {path: rng.standard_normal(array.shape) for path, array in parts.items()}
    due, losses = sum((g[path] * d).sum() for path, d in along.items()), []
    for sign in (1, -1):
        for path, d in along.items():
            parts[path] += sign * 1e-5 * (1 if sign > 0 else 2) * d
        losses.append(float(model.loss(batch)[0]))
    assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(due, rel=1e-6)


def test_a_drawn_word_that_is_the_pair_s_own_leaves_k_in_full():
    """The others count so much more."""
    model, batch = made(sg=True, hs=False)
    batch = {name: array[:1] for name, array in batch.items()}
    batch["targets"] = np.full_like(batch["targets"], -100)
    batch["targets"][0, 0, 1] = 2
    word = batch["input_ids"][0, 2]
    losses = []
    for drawn in ([word, 7, 8], [7, 8], [7, 7, 8, 8]):
        batch["negatives"] = np.array([drawn])
        losses.append(float(model.loss(batch)[0]))
    assert word not in (7, 8)
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    assert losses[0] == pytest.approx(losses[2], rel=1e-13)


def test_gensim_has_the_same_n_grams_and_rows():
    hashes = pytest.importorskip("gensim.models.fasttext_inner", reason="compares with gensim")
    for word in ("where", "é", "中国", "a"):
        assert hashes.compute_ngrams(word, 3, 6) is not None
        rows = [hashes.ft_hash_bytes(gram.encode()) % 2_000_000 for gram in pieces.grams(word, 3, 6)]
        assert sorted(rows) == sorted(pieces.rows(word, 3, 6, 2_000_000))


def files(tmp_path):
    """A small model with a vocabulary, and its file."""
    tokenizer = Words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "the", "中国", "é"])
    sizes = {"vocab_size": len(tokenizer), "vector_size": 4, "bucket": 50, "sg": True, "minn": 2, "maxn": 3}
    model, rng = minibert.create("fasttext", 0, **sizes), np.random.default_rng(0)
    for array in tree.leaves(model.params):
        array += rng.standard_normal(array.shape)
    model.tokenizer = tokenizer
    path = tmp_path / "model.bin"
    released.write(path, vectors.to_fasttext(model))
    return model, path


def test_the_release_s_file_is_read_as_it_was_written(tmp_path):
    """Vectors of words that are known and of such that are not; byte for byte, written again."""
    model, path = files(tmp_path)
    due, held = vectors.of(model), vectors.load(path)
    assert held.words == due.words
    assert np.allclose(held.rows, due.rows, rtol=0, atol=1e-6)
    assert np.allclose(held.other("dog"), due.other("dog"), rtol=0, atol=1e-6)
    released.write(tmp_path / "again.bin", released.read(path))
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()


def test_gensim_reads_our_file_and_we_its(tmp_path):
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim reads and writes the release's files")
    model, path = files(tmp_path)
    due, theirs = vectors.of(model), gensim.load_facebook_model(str(path))
    assert theirs.wv.index_to_key == due.words
    for word, row in (*zip(due.words, due.rows, strict=True), ("dog", due.other("dog")), ("中", due.other("中"))):
        assert np.allclose(theirs.wv[word], row, rtol=0, atol=1e-6)
    assert (theirs.sg, theirs.negative, theirs.wv.bucket, theirs.wv.min_n) == (1, model.config.negative, 50, 2)
    assert np.array_equal(theirs.syn1neg, released.read(path).output)
    sentences = [["the", "cat", "sat"], ["a", "cat", "é"]] * 9
    learnt = gensim.FastText(sentences, vector_size=5, min_count=1, bucket=60, epochs=1, seed=1, workers=1)
    gensim.save_facebook_model(learnt, str(tmp_path / "gensim.bin"))
    held = vectors.load(tmp_path / "gensim.bin")
    assert held.words == learnt.wv.index_to_key
    for word in (*held.words, "dog"):
        assert np.allclose(held.other(word), learnt.wv[word], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("at", "said"), [(4, "of version"), (8, "states"), (44, "n-grams"), (64, "entries"),
                                          (500, "rows of"), (-1, "ends within")])  # fmt: skip
def test_a_damaged_file_is_one_line(at, said, tmp_path):
    _, path = files(tmp_path)
    held = bytearray(path.read_bytes())
    if at < 0:
        held = held[:at]
    elif at == 500:
        place = bytes(held).index(b"\0" + (4 + 50).to_bytes(8, "little"))
        held[place + 1] += 1
    else:
        held[at : at + 4] = b"\xff\xff\xff\x7e"
    path.write_bytes(held)
    with pytest.raises(InputError, match=said) as refused:
        vectors.load(path)
    assert "\n" not in str(refused.value)


def test_the_release_s_classifier_says_what_ours_does(tmp_path):
    """fasttext.train_supervised with n-grams of words and characters: its vector of a text, and its probabilities."""
    theirs = pytest.importorskip("fasttext_pybind", reason="the published implementation")
    lines = ["__label__good the film is fine and é 中国", "__label__bad the book is poor", "__label__good a fine book"]
    (tmp_path / "rows.txt").write_text("\n".join(lines * 9) + "\n", encoding="utf-8")
    model, arguments = theirs.fasttext(), theirs.args()
    own = {"input": f"{tmp_path}/rows.txt", "dim": 6, "bucket": 40, "wordNgrams": 3, "minn": 2, "maxn": 3, "epoch": 9,
           "minCount": 1, "lr": 0.5, "thread": 1, "verbose": 0}  # fmt: skip
    for name, value in {**own, "model": theirs.model_name.supervised, "loss": theirs.loss_name.softmax}.items():
        setattr(arguments, name, value)
    theirs.train(model, arguments)
    model.saveModel(str(tmp_path / "theirs.bin"))
    held = released.read(tmp_path / "theirs.bin")
    assert (held.said("model", released.MODELS), held.said("loss", released.LOSSES)) == ("sup", "softmax")
    words = [*held.words]
    ends = words.index(pieces.END)
    ours = minibert.create(
        "fasttext", vocab_size=len(words), vector_size=6, bucket=40, minn=2, maxn=3, word_ngrams=3, unk_token_id=None,
        spellings="\n".join(words), tasks={"classify": {"labels": [*held.labels]}},
    )  # fmt: skip
    ours.params["embeddings"]["word"]["weight"][...] = held.rows[: len(words)]
    ours.params["embeddings"]["piece"]["weight"][...] = held.rows[len(words) :]
    ours.params["classify"]["weight"][...] = held.output
    for text in ("the film is poor", "a book and a film é", "中国 is fine"):
        ids = [*map(words.index, text.split())]
        logits = ours.predict({"input_ids": np.array([[*ids, ends]])})["logits"][0].astype(float)
        due = {label: chance for chance, label in model.predict(f"{text}\n", 2, 0.0, "strict")}
        shares = np.exp(logits) / np.exp(logits).sum()
        for label, share in zip(held.labels, shares, strict=True):
            assert abs(due[label] - share) < 1e-4, text  # the release adds 1e-5 to each


def test_a_classifier_from_rows_alone(tmp_path):
    """`finetune classify fasttext`: its vocabulary is that of the rows; resumed, and as good as the rows allow."""
    rows = ["label\ttext"] + [f"{kind}\tthe film was {'not ' * (n % 2)}{word}" for n in range(8)
                              for kind, word in ((("good", "bad")[n % 2], "fine"), (("bad", "good")[n % 2], "poor"))]
    (tmp_path / "rows.tsv").write_text("\n".join(rows), encoding="utf-8")
    given = {"train": tmp_path / "rows.tsv", "dev": tmp_path / "rows.tsv", "steps": 150, "threads": 1, "batch_size": 8,
             "learning_rate": 0.1, "weight_decay": 0.0, "accumulate": 1}  # fmt: skip
    own = {"fields": {"word_ngrams": 2, "vector_size": 8, "bucket": 100}}
    out = finetuning.finetune("classify", "fasttext", out=tmp_path / "run", **given, **own)
    assert json.loads((out / "report.json").read_bytes())["measures"]["accuracy"] == 1  # "not" turns both words
    assert finetuning.finetune("classify", "fasttext", out=out, resume=True, **given, **own) == out
    with pytest.raises(InputError, match="is a model: its configuration"):
        finetuning.finetune("classify", out, out=tmp_path / "other", **given, **own)
    with pytest.raises(InputError, match="reads no texts"):
        finetuning.finetune("classify", "glove", out=tmp_path / "none", **given)
