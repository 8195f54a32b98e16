"""Entities of texts: where they stand, how they are hidden, what is known of them, and TransE beside its double."""

from types import SimpleNamespace

import numpy as np
import pytest

import reference
from minibert.corruption import instances, knowledge, mentions, transe
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.rows import marks


# ---- TransE ----------------------------------------------------------------------------------------------------------
def drawn(rng, rows=7):
    entities, relations = rng.standard_normal((6, 3)), rng.standard_normal((2, 3))
    triples, corrupted = (np.stack([rng.integers(0, 6, rows), rng.integers(0, 2, rows), rng.integers(0, 6, rows)], 1)
                          for _ in range(2))  # fmt: skip
    return entities, relations, triples, corrupted


def test_a_step_of_transe_is_that_of_its_double():
    """Heads and tails that stand twice, and triples whose margin is kept, which move nothing."""
    from reference.lists import convert
    from reference.scalars import fifty_digits

    given = drawn(np.random.default_rng(1))
    own = transe.step(*given, margin=0.5, rate=0.1)
    with fifty_digits():
        double = reference.double("transe")
        due = double(*convert([a.tolist() for a in given[:2]]), *(a.tolist() for a in given[2:]), *convert([0.5, 0.1]))
    for mine, true in zip(own, due, strict=True):
        true = np.array(np.vectorize(float)(np.array(true, object)))
        assert np.abs(mine - true).max() < 1e-14 * max(1, np.abs(true).max())
    _, c = transe.loss(transe.normed(given[0]), *given[1:], 0.5)
    assert 0 < c["active"].sum() < len(given[2])


def test_transe_learns_what_adds_up():
    """Of a cycle "next": the tail is nearer than in 9 of 10 others."""
    count = 24
    triples = np.array([(i, 0, (i + 1) % count) for i in range(count)])
    e = transe.learnt(triples, count, 1, 12, 200)
    w = np.mean(e[triples[:, 2]] - e[triples[:, 0]], 0)
    apart = ((e[:, None] + w - e[None]) ** 2).sum(2)
    rank = (apart < apart[triples[:, 0], triples[:, 2]][:, None]).sum(1)
    assert rank.mean() < count / 10
    assert np.array_equal(e, transe.learnt(triples, count, 1, 12, 200))


def test_corrupted_triples_are_unknown_and_differ_at_one_end():
    rng = np.random.default_rng(0)
    triples = np.array([(i, 0, j) for i in range(4) for j in range(4) if (i + j) % 3 == 0])
    made = transe.corrupt(np.tile(triples, (200, 1)), np.sort(transe.keys(triples, 4, 1)), 4, 1, rng)
    differ = made != np.tile(triples, (200, 1))
    assert not differ[:, 1].any()
    assert (differ.sum(1) <= 1).all()
    assert np.isin(transe.keys(made, 4, 1), transe.keys(triples, 4, 1)).mean() < 0.001


# ---- Where entities stand --------------------------------------------------------------------------------------------
def test_an_entity_stands_at_the_first_token_of_its_mention():
    spans = [(0, 0), (0, 3), (3, 5), (6, 9), (10, 14), (0, 0)]
    encoding = SimpleNamespace(ids=[0] * 6, offsets=spans)
    assert mentions.aligned(encoding, [(6, 14, 7), (0, 5, 4)]) == [-1, 4, -1, 7, -1, -1]
    assert mentions.aligned(encoding, [(1, 2, 4), (2, 3, 5), (11, 12, 6)]) == [-1, 4, -1, -1, 6, -1]


def test_rows_carry_the_entities_of_their_tokens():
    """A token's entity is its number, wherever the pairs put it."""
    documents = [[[5 + (7 * d + 3 * s + i) % 50 for i in range(4)] for s in range(6)] for d in range(9)]
    entities = [[[token if token % 3 == 0 else -1 for token in sentence] for sentence in document]
                for document in documents]  # fmt: skip
    vocabulary = Vocabulary(60, 1, 2, 3, 0, np.arange(60) < 0, (0, 1, 2, 3))
    made = mentions.carried(documents, entities, vocabulary, lambda coded, own: instances.pairs(
        coded, np.random.default_rng(2), own, 20, 0.1, 2))  # fmt: skip
    plain = instances.pairs(documents, np.random.default_rng(2), vocabulary, 20, 0.1, 2)
    assert all(np.array_equal(plain[name], made[name]) for name in plain)
    ids = made["input_ids"]
    assert np.array_equal(made["entity_ids"], np.where((ids > 4) & (ids % 3 == 0), ids, -1))


def test_the_shares_of_5_15_80():
    """Of 100,000 entities: 5 % replaced, by any of the batch and in some cases by the same, 15 % hidden."""
    rng = np.random.default_rng(3)
    given = np.where(rng.random((1000, 200)) < 0.5, rng.integers(0, 40, (1000, 200)), -1)
    now, there = mentions.denoising(given, rng), given >= 0
    assert (now[~there] == -1).all()
    total = int(there.sum())
    assert total > 99_000
    hidden, other = ((now == -1) & there).sum() / total, ((now != given) & (now >= 0)).sum() / total
    for share, due in ((hidden, 0.15), (other, 0.05 * 39 / 40)):
        assert abs(share - due) < 4 * np.sqrt(due * (1 - due) / total)
    assert set(np.unique(now[there])) == {-1, *np.unique(given[there])}
    assert (mentions.denoising(np.full((2, 3), -1), rng) == -1).all()


# ---- What is known ---------------------------------------------------------------------------------------------------
def test_python_knows_its_modules():
    known = knowledge.read()
    number, (within, kind, _) = {name: i for i, name in enumerate(known.names)}, range(3)
    triples = set(map(tuple, known.triples.tolist()))
    assert (number["KeyError"], kind, number["LookupError"]) in triples
    assert (number["collections.OrderedDict"], within, number["collections"]) in triples
    found = [(text[a:b], known.names[e]) for text in ("An OrderedDict or os.path.join raised a ValueError.",)
             for a, b, e in known.linked(text)]  # fmt: skip
    assert found == [("OrderedDict", "collections.OrderedDict"), ("os.path.join", "os.path.join"),
                     ("ValueError", "ValueError")]  # fmt: skip


SYNSETS = {
    "noun": ["  1 licence",
             '00000010 05 n 02 dog 0 domestic_dog 0 001 @ 00000020 n 0000 | a tame animal; "the dog barked at night"',
             "00000020 05 n 01 animal 0 000 | a living being", "00000030 05 n 01 dog 1 000 | a bad person"],
    "verb": ["00000040 30 v 01 dog 0 000 00 | to follow"],
}  # fmt: skip


def test_wordnet_s_files(tmp_path):
    """The synset tagged most often, in its own sentences the synset's own; plurals; the longest mention."""
    for part, lines in SYNSETS.items():
        (tmp_path / f"data.{part}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    senses = ["dog%1:05:00:: 00000010 1 5", "dog%1:05:01:: 00000030 2 1", "dog%2:30:00:: 00000040 1 9"]
    (tmp_path / "index.sense").write_text("\n".join(senses), encoding="utf-8")
    known = knowledge.read(str(tmp_path))
    assert known.names == ["dog.n00000010", "animal.n00000020", "dog.n00000030", "dog.v00000040"]
    assert known.triples.tolist() == [[0, 0, 1]]
    meant = {text: [known.names[e][-9:] for *_, e in known.linked(text)] for text in (
        "Dogs and a domestic dog", "the dog barked at night", "dog: a bad person.")}  # fmt: skip
    assert list(meant.values()) == [["v00000040", "n00000010"], ["n00000010"], ["n00000030"]]


def test_openke_s_files(knowledge_folder):
    known = knowledge.read(str(knowledge_folder))
    assert (known.names, known.relations) == (["word0", "word1", "word2"], ["near"])
    assert known.triples.tolist() == [[0, 0, 1]]
    assert known.linked("a Word1 of word2") == [(2, 7, 1), (11, 16, 2)]
    (knowledge_folder / "entity2vec.vec").write_text("1\t2\n3\t4\n5\t6\n", encoding="utf-8")
    (knowledge_folder / "mentions.txt").write_text("of word\tword2\n", encoding="utf-8")
    known = knowledge.of_files(knowledge_folder)
    assert known.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert known.linked("a word1 of word") == [(8, 15, 2)]


@pytest.mark.parametrize(("file", "text", "said"), [
    ("entity2id.txt", "2\na\t0\nb\t2\n", "without gaps"),
    ("entity2id.txt", "1\na 0\n", "line 2"),
    ("train2id.txt", "1\n0 9 0\n", "that there is not"),
    ("train2id.txt", "1\n0 x 0\n", "line 2"),
    ("entity2vec.vec", "1 2\n", "expected 3 vectors"),
    ("mentions.txt", "that\tnobody\n", "line 1"),
])  # fmt: skip
def test_files_that_cannot_be_read(knowledge_folder, file, text, said):
    (knowledge_folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        knowledge.of_files(knowledge_folder)


def test_a_folder_of_neither_kind(tmp_path):
    with pytest.raises(InputError, match=r"neither entity2id\.txt"):
        knowledge.read(str(tmp_path))


# ---- Marks -----------------------------------------------------------------------------------------------------------
def test_marks_stand_about_the_mentions():
    text = "Bob Dylan wrote Blowin' in the Wind."
    assert marks.related(text, (0, 9), (16, 35)) == "# Bob Dylan # wrote $ Blowin' in the Wind $."
    assert marks.related(text, (16, 35), (0, 9)) == "$ Bob Dylan $ wrote # Blowin' in the Wind #."
    assert marks.typed(text, (0, 9)) == "。 Bob Dylan 。 wrote Blowin' in the Wind."
    for wrong in (lambda: marks.related(text, (0, 9), (4, 12)), lambda: marks.typed(text, (9, 9))):
        with pytest.raises(InputError):
            wrong()
