"""ERNIE 2.0: a head for each task, labels from plain text, the schedule; ERNIE 1.0 where masking alone is asked."""

import json
from collections import Counter

import numpy as np
import pytest
from published import Published, example, probed
from twins.ernie2 import terms, with_heads

import minibert
from minibert import tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import ernie2
from minibert.pretraining import pretrain
from minibert.tokenizers.wordpiece import WordPiece

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (260, "seven tasks with their heads and rows, files of pairs, a schedule of which task comes when"),
}

PUBLISHED = [
    Published(
        "ernie2",
        "ErnieForPreTraining",
        labels={task: task for task in ernie2.TASKS},
        fields={"discourse_classes": 5, "max_segments": 2, "task_type_vocab_size": 8},
        configs=({"hidden_act": "relu"}, {"hidden_act": "gelu", "tie_word_embeddings": False}),
        twin=with_heads,
        terms=terms,
    )
]
DIRECTORIES = {"ErnieForMaskedLM": {"mlm"}, "ErnieModel": {"pooler"}}
HEADS = ("mlm", *ernie2.TASKS[1:])
PARAMETERS = [({}, HEADS, 109_489_152), ({}, (), 110_127_951)]


def test_asked_masked_tokens_alone_it_is_ernie_1_to_the_last_bit():
    ours, theirs = probed("ernie2", 3), probed("ernie", 3, use_task_id=True, task_type_vocab_size=7)
    for path, value in tree.items(theirs.params):
        if not path.startswith("nsp."):
            value[...] = tree.get(ours.params, path)
    batch = example(ours)
    masked = {name: value for name, value in batch.items() if not name.endswith("_labels")}
    pairs = {**masked, "next_sentence_labels": np.zeros(len(batch["input_ids"]), int)}
    (loss, c), (_, d) = ours.loss(masked), theirs.loss(pairs)
    assert loss == d["terms"]["masked_lm"]
    theirs.params["nsp"]["weight"][...] = 0  # so that the pairs' gradient reaches nothing else
    g, due = tree.flatten(ours.loss_backward(c)), tree.flatten(theirs.loss_backward(theirs.loss(pairs)[1]))
    assert all(np.array_equal(g[path], due[path]) for path in due if not path.startswith("nsp."))
    assert not any(g[path].any() for path in g if path.partition(".")[0] in ernie2.TASKS)


# ---- Labels ----------------------------------------------------------------------------------------------------------
LINES = ["The Cat sat near a dog.", "A dog saw the Old cat.", "Nobody sat there.", "Birds sang Then."]
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat near a dog . saw old no ##body there bird ##s sang then"
TOKENIZER = WordPiece(PIECES.split(" "))


def made(documents, seed=0, **options):
    """(the rows of the documents, their vocabulary)."""
    data = ernie2.Data(**{"seq_length": 24, "duplicates": 1, **options})
    ids = [[TOKENIZER.ids(line) for line in document] for document in documents]
    marked = ernie2.mark(TOKENIZER, data, documents, ids)
    vocabulary = Vocabulary(len(TOKENIZER), 2, 3, 4, 0, TOKENIZER.continues)
    return ernie2.rows(ids, np.random.default_rng(seed), vocabulary, data, marked)


def test_words_are_labelled_by_capitals_and_by_the_rest_of_their_document():
    """Of every token, pieces as their word; nothing is asked at special tokens, nor of other tasks' rows."""
    rows = made([LINES, LINES[2:]], seq_length=18, reach=0)
    capital = {"the": {0, 1}, "cat": {0, 1}, "a": {0, 1}, "old": {1}, "no": {1}, "##body": {1}, "bird": {1}, "##s": {1}}
    whole = [Counter(TOKENIZER.ids(" ".join(document))) for document in (LINES, LINES[2:])]
    names = ("input_ids", "input_mask", "capitalised_labels", "elsewhere_labels")
    columns = [rows["task_type_ids"][:, 0], *(rows[name] for name in names)]
    for task, ids, mask, capitals, elsewhere in zip(*columns, strict=True):
        plain = (mask == 1) & ~np.isin(ids, (TOKENIZER.cls_id, TOKENIZER.sep_id))
        for number, labels in ((1, capitals), (2, elsewhere)):
            assert np.array_equal(labels != -100, plain & (task == number))
        here = Counter(ids[plain].tolist())
        for token, label in zip(ids[plain].tolist(), capitals[plain], strict=True):
            assert task != 1 or label in capital.get(TOKENIZER.tokens[token], {TOKENIZER.tokens[token] == "then"})
        due = [[int(counts[token] > here[token]) for token in ids[plain].tolist()] for counts in whole]
        assert task != 2 or elsewhere[plain].tolist() in due
    assert (rows["elsewhere_labels"] == 1).any()
    assert (rows["capitalised_labels"] == 1).sum() >= 4


FEW = {"steps": 12, "batch_size": 4, "seq_length": 24, "held_out": 0.2, "threads": 1, "vocab_size": 300}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}


def test_it_goes_on_from_ernie_1(corpus, tmp_path, capsys):
    """From a model without a table of tasks, which it has to be given: all else but the heads is taken over."""
    first = pretrain("ernie", [corpus / "text.txt"], tmp_path / "first", fields=SIZES, **{**FEW, "steps": 1})
    given = {**FEW, "start": first, "steps": 5}
    with pytest.raises(InputError, match="--set use_task_id=true"):
        pretrain("ernie2", [corpus / "text.txt"], tmp_path / "run", **given)
    tasks = {"use_task_id": True, "task_type_vocab_size": 7}
    run = pretrain("ernie2", [corpus / "text.txt"], tmp_path / "run", fields=tasks, **given)
    params = minibert.load(run).params
    new = [*tree.leaves({name: params[name] for name in ernie2.TASKS[1:]}), params["embeddings"]["task_type"]["weight"]]
    assert f"taken over, {sum(a.size for a in new)} new" in capsys.readouterr().out


def test_files_of_pairs_are_learnt_from_but_for_every_tenth(corpus, tmp_path):
    """Their rows stand under the numbers of their tasks, in both parts; a run asks them in their turn."""
    lines = [f"why word{n}\tbecause word{n}\t{'abc'[n % 3]}" for n in range(40)]
    (file := tmp_path / "pairs.tsv").write_text("text\tpair\tlabel\n" + "\n".join(lines), encoding="utf-8")
    data = ernie2.Data(discourse=str(file))
    assert ernie2.fields(data, {})["discourse_classes"] == 3
    train, apart = (ernie2.handed(TOKENIZER, data, part) for part in ("train", "held_out"))
    assert (len(train), len(apart)) == (36, 4)
    assert [row.label for row in apart] == [n % 3 for n in range(9, 40, 10)]
    chosen = {**FEW, "discourse": str(file), "course": "joint", "fields": SIZES}
    run = pretrain("ernie2", [corpus / "text.txt"], tmp_path / "run", **chosen)
    targets = json.loads((run / "report.json").read_text(encoding="utf-8"))["targets"]
    assert (targets["discourse"], targets["relevance"]) == (4, 0)
    asked = [json.loads(line)["terms"].keys() for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert Counter(task for keys in asked for task in keys) == Counter(dict.fromkeys(ernie2.TASKS[:6], 2))
    file.write_text("text\tpair\tlabel\na\tb\tgood", encoding="utf-8")
    with pytest.raises(InputError, match="strong, weak, none"):
        ernie2.handed(TOKENIZER, ernie2.Data(relevance=str(file)), "train")
