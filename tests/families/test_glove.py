"""GloVe: the release's update of a cell, its counts, a text in parts, what is kept."""

import decimal

import numpy as np
import pytest

import minibert
from minibert import batches, touched, training, tree, vectors
from minibert.corruption import cells
from minibert.families import glove
from minibert.heads.co_occurrence import IGNORED
from minibert.tokenizers.words import Words

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "cases": (35, "a double of its own, without BERT's states, and an optimizer of its own"),
    "tests": (160, "the release's update at 50 digits, counts of a stream, a text in parts"),
}

PARAMETERS = [({}, (), 3_060_000), ({"vector_size": 300}, ("context",), 9_000_000)]
VARIANTS = [{}]
SMALL = {"vector_size": 4, "vocab_size": 9}
OWN = {"optimizer": "glove_adagrad", "weight_decay": 0.0, "clip_norm": 1e9, "learning_rate": 0.05,
       "schedule": "constant"}  # fmt: skip


def made(seed=1, **fields):
    rng = np.random.default_rng(seed)
    model = minibert.create("glove", seed, "float64", **{**glove.PROBE, **fields})
    for array in tree.leaves(model.params):
        array += rng.standard_normal(array.shape)
    batch = batches.example(glove, model.config, rng)
    return model, {name: array for name, array in batch.items() if name != "dropout"}


def row(*cells_):
    words, contexts, counts = map(np.array, zip(*cells_, strict=True))
    return {"input_ids": words[None], "contexts": contexts[None], "counts": counts[None].astype(float)}


@pytest.mark.parametrize("count", [3.0, 250.0])
def test_steps_on_one_cell_are_the_release_s_at_fifty_digits(count, tmp_path):
    """Three times: `glove_thread`'s update of w, w̃, b, b̃ and of their sums, through the training loop; all else
    keeps its bits.
    """
    model, _ = made(x_max=100.0, alpha=0.75)
    before = tree.flatten(tree.map(np.array, model.params))
    i, j, number = 7, 3, decimal.Decimal
    with decimal.localcontext(prec=50):
        eta, x = number(0.05), number(count)
        w, v = ([number(a) for a in before[f"{path}.word.weight"][k].tolist()]
                for path, k in (("embeddings", i), ("context", j)))  # fmt: skip
        b, d = (number(float(before[f"context.{name}.word.weight"][k, 0]))
                for name, k in (("bias", i), ("context_bias", j)))  # fmt: skip
        sums = [[number(1)] * len(w), [number(1)] * len(v), number(1), number(1)]
        for _ in range(3):
            difference = sum(p * q for p, q in zip(w, v, strict=True)) + b + d - x.ln()
            slope = min(number(1), x / 100) ** number(0.75) * difference * eta
            steps = [slope * q for q in v], [slope * p for p in w]
            w = [p - s / a.sqrt() for p, s, a in zip(w, steps[0], sums[0], strict=True)]
            v = [q - s / a.sqrt() for q, s, a in zip(v, steps[1], sums[1], strict=True)]
            b, d = b - slope / sums[2].sqrt(), d - slope / sums[3].sqrt()
            sums = [[a + s * s for a, s in zip(sums[k], steps[k], strict=True)] for k in (0, 1)] + [
                total + slope * slope for total in sums[2:]]  # fmt: skip
    training.fit(model, training.Plan(steps=3, **OWN), tmp_path, lambda step: [row((i, j, count))])
    due = {"embeddings.word.weight": (i, w), "context.word.weight": (j, v), "context.bias.word.weight": (i, [b]),
           "context.context_bias.word.weight": (j, [d])}  # fmt: skip
    for path, array in tree.items(model.params):
        k, truth = due[path]
        assert np.array_equal(np.delete(array, k, 0), np.delete(before[path], k, 0))
        change = np.array(truth, float) - before[path][k]
        assert np.abs(array[k] - before[path][k] - change).max() < 1e-12 * max(1, np.abs(change).max()), path


def test_few_rows_give_the_bits_of_the_whole_tables(tmp_path, monkeypatch):
    """Of the parameters and of their sums of squares."""
    assert touched.applies(glove, "glove_adagrad", 0.0)
    found = []
    for few in (True, False):
        monkeypatch.setattr(touched, "applies", lambda *_, few=few: few)
        model, batch = made()
        run = tmp_path / str(few)
        training.fit(model, training.Plan(steps=3, accumulate=2, **OWN), run, lambda step, b=batch: [b, b])
        found.append((run / "checkpoints/00000003/optimizer.safetensors").read_bytes())
        found.append(b"".join(array.tobytes() for array in tree.leaves(model.params)))
    assert found[:2] == found[2:]


def counted(sentences, window=2, unread=frozenset()):
    keys, counts = cells.counted([sentences], set(unread), 10, window)
    return {divmod(int(key), 10): float(count) for key, count in zip(keys, counts, strict=True)}


def test_words_near_each_other_count_one_by_their_distance():
    """Both ways, within a sentence; unknown words are passed over."""
    one = counted([[1, 2, 3]])
    assert one == {(1, 2): 1, (2, 1): 1, (2, 3): 1, (3, 2): 1, (1, 3): 0.5, (3, 1): 0.5}
    assert counted([[1, 2], [3]]) == {(1, 2): 1, (2, 1): 1}
    assert counted([[1, 0, 2, 0, 3]], unread={0}) == one
    assert counted([[4, 4]]) == {(4, 4): 2}


def test_counts_do_not_depend_on_how_the_stream_is_cut(monkeypatch):
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 10, rng.integers(1, 9)).tolist() for _ in range(60)]
    whole = counted(sentences, 4)
    monkeypatch.setattr(cells, "BLOCK", 16 * 7)
    parts = counted(sentences, 4)
    assert parts.keys() == whole.keys()
    assert all(parts[cell] == pytest.approx(whole[cell], rel=1e-14) for cell in whole)


def test_a_text_in_parts_has_the_cost_of_the_whole():
    """Each cell of each part with its share: the sum over both parts' rows is J of the text counted together."""
    rng, tokenizer = np.random.default_rng(0), Words.train(["a b c d e f g"] * 5, 99)
    texts = [" ".join(rng.choice([*"abcdefg"], 9)) for _ in range(12)]
    data, known = glove.Data(window=3, seq_length=8), minibert.corruption.masking.Vocabulary
    vocabulary = known(len(tokenizer), *(tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id),
                       tokenizer.continues, tuple(sorted(tokenizer.special_ids)))  # fmt: skip
    ids = [[tokenizer.ids(text)] for text in texts]
    total = glove.study(tokenizer, data, lambda count: count(tokenizer, data, [[text] for text in texts]))
    model = minibert.create("glove", 3, "float64", vocab_size=len(tokenizer), vector_size=4, x_max=5.0)
    costs, numbers = [], []
    for documents, studied in ((ids, None), (ids[:5], total), (ids[5:], total)):
        rows = glove.rows(documents, rng, vocabulary, data, studied and {"studied": studied})
        numbers.append(np.count_nonzero(rows["contexts"] != IGNORED))
        costs.append(float(model.loss(rows)[0]) * numbers[-1])
    assert numbers[1] + numbers[2] > numbers[0]
    assert costs[1] + costs[2] == pytest.approx(costs[0], rel=1e-10)


def test_a_cell_s_weight_and_cost_are_the_paper_s():
    """With w = w̃ = 1, b = 0 and X = 1: z = D, f = 100^-0.75."""
    model, _ = made(x_max=100.0, alpha=0.75)
    for path, array in tree.items(model.params):
        array[...] = 0.0 if "bias" in path else 1.0
    assert float(model.loss(row((1, 2, 1.0)))[0]) == pytest.approx(0.5 * 0.0316227766 * 36, rel=1e-8)
    two = float(model.loss(row((1, 2, 1.0), (3, 4, 50.0)))[0])
    due = (0.5 * 0.0316227766 * 36 + 0.5 * 0.594604 * (6 - np.log(50)) ** 2) / 2
    assert two == pytest.approx(due, rel=1e-6)


def test_what_is_kept_is_the_sum_of_both_vectors():
    model, _ = made(vocab_size=8)
    model.tokenizer = Words.train(["x y z"] * 5, 99)
    held = vectors.of(model)
    assert held.words == ["x", "y", "z"]
    both = model.params["embeddings"]["word"]["weight"] + model.params["context"]["word"]["weight"]
    assert np.allclose(held.rows, both[5:])
