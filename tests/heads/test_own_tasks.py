"""Tasks whose loss is the family's own: one text out of another, and which item comes next."""

import json

import numpy as np
import pytest

import minibert
from minibert import batches, families, finetuning, tasks, tokenizers, uses
from minibert.errors import InputError
from minibert.heads import recommendation
from minibert.tokenizers.wordpiece import WordPiece
from tests.benchmarks import recommend

OPTIONS = {"batch_size": 8, "accumulate": 1, "threads": 1, "learning_rate": 0.01, "dropout_steps": 1}
TEXTS = ["the fine film", "a poor book", "the book was fine", "a film was poor"]
SIZES = {"bart": {"d_model": 12, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                  "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "init_std": 0.3,
                  "max_position_embeddings": 24},
         "t5": {"d_model": 12, "num_layers": 1, "num_heads": 2, "d_kv": 6, "d_ff": 16},
         "transformer": {"d_model": 12, "num_encoder_layers": 1, "num_decoder_layers": 1, "nhead": 2,
                         "dim_feedforward": 16, "max_position_embeddings": 24},
         "bert": {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                  "max_position_embeddings": 24, "initializer_range": 0.3}}  # fmt: skip
SIZES |= {"mass": SIZES["bart"], "unilm": {**SIZES["bert"], "type_vocab_size": 6}}


def directory(folder, family):
    """A small model of the family with a vocabulary of a few words."""
    module = families.family(family)
    learnt = tokenizers.tokenizer(module.TOKENIZER).train(TEXTS * 3, 60 if module.TOKENIZER == "wordpiece" else 320)
    known = {**SIZES[family], "vocab_size": len(learnt)}
    if family in ("bart", "mass", "transformer"):
        known |= {"pad_token_id": learnt.pad_id, "eos_token_id": learnt.sep_id, "bos_token_id": learnt.cls_id}
        known["decoder_start_token_id"] = learnt.pad_id if family == "transformer" else learnt.sep_id
    model = minibert.create(family, **known)
    model.tokenizer = learnt
    model.save(folder / family)
    return folder / family


@pytest.mark.parametrize(("family", "task"), [("bart", "summarize"), ("t5", "translate"), ("transformer", "summarize"),
                                              ("mass", "summarize"), ("unilm", "summarize")])
def test_one_text_is_made_of_another(family, task, tmp_path):
    """The loss falls, what is saved writes what the report was made of; generate reads it, too."""
    rows = [{"source": text, "target": text.split()[-1]} for text in TEXTS * 3]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given = {"dev": tmp_path / "rows.jsonl", "out": tmp_path / "run", "steps": 25, **OPTIONS}
    out = finetuning.finetune(task, directory(tmp_path, family), tmp_path / "rows.jsonl", **given)
    log = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    report, model = json.loads((out / "report.json").read_bytes()), minibert.load(out)
    assert report["loss"] < log[0] - (0.5 if family != "unilm" else 0.3)
    assert next(iter(report["measures"])) == ("bleu" if task == "translate" else "rouge_l")
    assert model.tasks == (task,)
    assert model.network is model.module
    said = [*uses.answered(model, model.uses[0], (("", row) for row in rows), 24)]
    assert uses.of(model.uses[0]).measures(model.uses[0], rows, said) == pytest.approx(report["measures"])
    room = 12 if family == "unilm" else min(64, [*model.module.lengths(model.config).values()][-1][1] or 64)
    written = next(minibert.inference.continued(model, [rows[0]["source"]], max_new_tokens=room)).text
    assert said[0]["text"] == (written.strip() if family == "unilm" else written)  # it goes on, behind a blank
    with pytest.raises(InputError, match="no head of a task"):
        model.predict({"input_ids": [[1]]})


def test_a_language_is_translated_and_bleu_is_sacrebleus(tmp_path):
    """Words in another order, of sentences not seen before: better than the most frequent target, and the source."""
    corpus_bleu = pytest.importorskip("sacrebleu", reason="sacrebleu is the published metric").corpus_bleu
    adjectives = {"fine": "fein", "poor": "arm", "old": "alt", "new": "neu"}
    nouns = {"film": "werk", "book": "buch", "play": "spiel", "song": "lied"}
    words = [(a, noun, b) for a in adjectives for b in adjectives for noun in nouns]
    told = [f"das {nouns[noun]} war {adjectives[b]} und {adjectives[a]}" for a, noun, b in words]
    rows = [{"source": "the {} {} was {}".format(*one), "target": text} for one, text in zip(words, told, strict=True)]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for name, some in (("train", rows[:48]), ("dev", rows[48:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    texts = [text for row in rows for text in row.values()]
    learnt = tokenizers.tokenizer("byte_level").train(texts * 2, 320)
    ids = {"pad_token_id": learnt.pad_id, "eos_token_id": learnt.sep_id, "decoder_start_token_id": learnt.pad_id}
    sizes = {"d_model": 32, "nhead": 4, "dim_feedforward": 48, "dropout": 0.0, "max_position_embeddings": 24}
    model = minibert.create("transformer", **{**SIZES["transformer"], **sizes, **ids, "vocab_size": len(learnt)})
    model.tokenizer = learnt
    model.save(tmp_path / "model")
    given = {**OPTIONS, "batch_size": 16, "learning_rate": 0.004, "steps": 150, "dev": tmp_path / "dev.jsonl"}
    out = finetuning.finetune("translate", tmp_path / "model", tmp_path / "train.jsonl", out=tmp_path / "run", **given)
    report, model = json.loads((out / "report.json").read_bytes()), minibert.load(out)
    said = [row["text"] for row in uses.answered(model, model.uses[0], (("", row) for row in rows[48:]), 24)]
    due = [[row["target"] for row in rows[48:]]]
    assert report["measures"]["bleu"] == pytest.approx(corpus_bleu(said, due).score, abs=1e-9)
    copied = corpus_bleu([row["source"] for row in rows[48:]], due).score
    assert report["measures"]["bleu"] > 60 > report["constant"]["bleu"] + 30 > copied


def test_what_a_decoder_is_asked_to_write(tmp_path):
    """BART's rows begin with <s>, in its target, too; those of the Transformer do not; both end with </s>."""
    use = uses.of(tasks.made("summarize", {}))
    for family, first in (("bart", True), ("transformer", False)):
        model = minibert.load(directory(tmp_path, family)).with_task("summarize")
        row = {"source": "the film", "target": "fine"}
        (piece,) = use.pieces(model.tokenizer, row, 24)
        longer = use.pieces(model.tokenizer, {**row, "target": "the fine film"}, 24)[0]
        found = uses.batch(model, [piece, longer], [use.target(model.uses[0], row, one) for one in (piece, longer)])
        labels, mask = found["labels"][0], found["decoder_attention_mask"][0]
        assert (labels[0] == model.tokenizer.cls_id) == first
        assert labels[mask == 1][-1] == model.tokenizer.sep_id == model.config.eos_token_id
        assert set(labels[mask == 0]) == {-100}
        assert model.loss(found)[0] > 0


@pytest.mark.parametrize("by", recommendation.WAYS)
def test_the_next_item_is_learnt(by, tmp_path, monkeypatch):
    """Of histories of one item; the model's own vocabulary is gone, its layers stay where it is asked."""
    monkeypatch.setattr(uses.of(tasks.made("recommend", {})), "PASSES", 2)
    rng = np.random.default_rng(0)
    rows = [{"items": ["abcde"[i % 5]] * int(rng.integers(3, 6))} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    place, train = directory(tmp_path, "bert"), tmp_path / "rows.jsonl"
    given = {"dev": train, "out": tmp_path / "run", "by": by, "seq_length": 12, **OPTIONS, "learning_rate": 0.02}
    out = finetuning.finetune("recommend", place, train, steps=40, **given)
    report, model = json.loads((out / "report.json").read_bytes()), minibert.load(out)
    assert report["measures"]["reciprocal_rank"] > report["constant"]["reciprocal_rank"] + 0.15
    assert (model.tasks, model.uses[0].settings.by, model.config.vocab_size) == (("recommend",), by, 10)
    assert not {"pooler", "nsp"} & model.params.keys()
    (said,) = uses.answered(model, model.uses[0], [("", {"items": ["b", "b", "b"]})], 12)
    assert said["label"] == next(iter(said["scores"]))
    assert by == "hidden" or said["label"] == "b"
    assert sum(said["scores"].values()) == pytest.approx(1)
    ranked, sampled = recommend.places(model, rows, rows)
    held = np.where(ranked < 10, ranked, 1 << 40)  # only ten are said
    assert report["measures"]["reciprocal_rank"] == pytest.approx(np.mean(1 / (held + 1)))
    assert (sampled <= ranked).all()
    assert sampled.max() <= 4
    with pytest.raises(InputError, match="line 3: items: 'z' is none of the 5 items"):
        [*uses.answered(model, model.uses[0], [("line 3", {"items": ["z"]})], 12)]
    one = finetuning._prepared({"task": "recommend", "directory": str(place), "train": str(train), "by": by},
                               finetuning.Options(by=by, seq_length=12))  # fmt: skip
    before = minibert.load(place).params["encoder"][0]["attention"]["query"]["weight"]
    assert np.array_equal(one.model.params["encoder"][0]["attention"]["query"]["weight"], before) == (by == "hidden")
    assert ("encoder.0.attention.query.weight" in one.moved.new) == (by == "cloze")


def test_what_is_masked_of_a_history():
    """As many as the rate says, at least one; a window also with its last item alone; long ones in windows from the
    end; what is hidden leaves the attention mask, and a mark that does not stands behind.
    """
    use, tokenizer = uses.of(tasks.made("recommend", {})), WordPiece(["[PAD]", *map(str, range(30)), "[UNK]", "[CLS]",
                                                                     "[SEP]", "[MASK]"], lowercase=False)  # fmt: skip
    for length, due in ((10, 2), (3, 1), (1, 1)):
        pieces = use.pieces(tokenizer, {"items": [*map(str, range(length))]}, 20, rate=0.2)
        assert len(pieces) == use.PASSES + 1
        assert {len(piece.about["places"]) for piece in pieces[:-1]} == {due}
        assert pieces[-1].about["places"].tolist() == [length - 1]
        for piece in pieces:
            masked = [i for i, token in enumerate(piece.encodings[0].tokens) if token == "[MASK]"]
            assert masked == piece.about["places"].tolist()
            assert piece.about["ids"].tolist() == [i + 1 for i in masked]
    long = {"items": [*map(str, range(30))]}
    windows = use.pieces(tokenizer, long, 20, rate=0.2)
    starts = {piece.about["ids"][-1] - piece.about["places"][-1] for piece in windows}
    assert starts == {1, 11}
    assert all(len(piece.encodings[0]) == 20 for piece in windows)
    task = tasks.made("recommend", {"by": "hidden"})
    pieces = use.pieces(tokenizer, long, 20, **use.chosen(task))
    assert {piece.encodings[0].tokens[-1] for piece in pieces} == {"[SEP]"}
    assert {len(piece.about["places"]) for piece in pieces} == {1, 6}
    model = minibert.create("bert", **{**SIZES["bert"], "vocab_size": 35}, tasks={"recommend": {"by": "hidden"}})
    model.tokenizer = tokenizer
    found = uses.batch(model, pieces[:2], [use.target(task, long, piece) for piece in pieces[:2]])
    assert np.array_equal(found["attention_mask"], np.where(found["input_ids"] == tokenizer.mask_id, 0, 1))
    assert batches.lengths(model.network, model.config, found)["T"].tolist() == [20, 20]
    (asked,) = use.asked(tokenizer, long, 20, rate=0.2)
    assert asked.encodings[0].tokens == [*map(str, range(11, 30)), "[MASK]"]


def test_figures_of_places():
    """NDCG at 10 of the first place is 1, of the tenth 0.28906, behind it 0."""
    assert recommend.figures(np.array([0])) == dict.fromkeys(recommend.figures(np.array([0])), 1.0)
    tenth, behind = (recommend.figures(np.array([place])) for place in (9, 10))
    assert (round(tenth["NDCG at 10"], 5), tenth["hit rate at 10"], tenth["hit rate at 5"]) == (0.28906, 1.0, 0.0)
    assert (behind["NDCG at 10"], behind["hit rate at 10"], behind["reciprocal rank"]) == (0.0, 0.0, 1 / 11)


def test_a_family_without_the_term_is_refused(tmp_path):
    bert = minibert.create("bert", **families.family("bert").PROBE)
    with pytest.raises(InputError, match="bert cannot summarize: it makes no text of another"):
        bert.with_task("summarize")
    with pytest.raises(InputError, match="t5 cannot recommend: it fills no masks"):
        minibert.create("t5", **families.family("t5").PROBE).with_task("recommend")
    with pytest.raises(InputError, match="task 'recommend' is the family's own: it stands alone"):
        minibert.create("bert", tasks={"recommend": {}, "tag": {}}, **families.family("bert").PROBE)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"source": "the film", "target": "fine"}), encoding="utf-8")
    with pytest.raises(InputError, match="--transfer frozen trains what is new, and for summarize nothing is"):
        finetuning.finetune("summarize", directory(tmp_path, "bart"), tmp_path / "rows.jsonl", transfer="frozen",
                            dev=tmp_path / "rows.jsonl", out=tmp_path / "run")  # fmt: skip
    use = uses.of(tasks.made("recommend", {}))
    with pytest.raises(InputError, match=r"an item is called '\[MASK\]'"):
        use.begun(bert, tasks.made("recommend", {}), [{"items": ["a", "[MASK]"]}], 0)
    with pytest.raises(InputError, match="of a history that is held out the last is asked for"):
        use.shown({"items": ["a"]})
    found = use.measures(None, [{"items": ["x", "a"]}, {"items": ["b"]}, {"items": ["z"]}],
                         [{"scores": {"a": 0.9, "b": 0.1}}] * 3)  # fmt: skip
    due = {"hit_rate": 2 / 3, "ndcg": (1 + 1 / np.log2(3)) / 3, "reciprocal_rank": 0.5}
    assert found == pytest.approx(due)
