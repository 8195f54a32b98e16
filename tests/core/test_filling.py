"""Writing with an encoder: each token is what it puts in a mask behind those before."""

import json

import numpy as np
import published
import pytest
from test_generation import output

import minibert
from minibert import inference, tree
from minibert.errors import InputError
from minibert.heads import masked_lm
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.wordpiece import WordPiece

TEXT = ["The cat sat on the mat.", "the dog sat on the cat", "a dog is not a cat, is it?"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 20}  # fmt: skip


@pytest.fixture(scope="module")
def words():
    return WordPiece.train(TEXT * 3, 60)


def encoder(family, tokenizer, seed=0, **fields):
    """Weights so large that the choices differ from step to step; a row of the table beyond the vocabulary."""
    fields = {**SIZES, "vocab_size": len(tokenizer) + 1, **fields}
    model = minibert.create(family, seed=seed, dtype="float64", **fields)
    rng = np.random.default_rng(seed)
    for array in tree.leaves(model.params):
        array += 0.5 * rng.standard_normal(array.shape)
    model.tokenizer = tokenizer
    return model


def plainly(model, ids, new, ends):
    """A row, written on by a loop over `encode`: no token of the mask's, of the beginning's, or beyond the words."""
    tokenizer = model.tokenizer
    never = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.unk_id, tokenizer.mask_id, len(tokenizer)]
    for _ in range(new):
        read = [*ids, tokenizer.mask_id, tokenizer.sep_id]
        h = model.encode(input_ids=[read])["last_hidden_state"][0, len(ids)]
        term = model.module.terms(model.config)["masked_lm"]
        logits = masked_lm.predict(h, model.params["mlm"], table=tree.get(model.params, term.table), **term.constants)
        logits[never] = -np.inf
        ids = [*ids, int(logits.argmax())]
        if ids[-1] in ends:
            break
    return ids


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_what_is_written_is_what_a_loop_over_encode_writes(family, words):
    """A batch padded on the left; RoBERTa tells places from ids, ALBERT has one layer for all."""
    tokenizer = words
    if family == "roberta":
        tokenizer = ByteLevelBPE.train(TEXT * 3, 280)
    model = encoder(family, tokenizer, **({"embedding_size": 8} if family == "albert" else {}))
    prompts = [tokenizer.encode(text).ids[:-1] for text in ("The cat", "a dog is not", "")]
    free = [plainly(model, ids, 6, ()) for ids in prompts]
    assert len({tuple(row[-6:]) for row in free}) > 1
    end = free[0][len(prompts[0]) + 2]  # where the first ends, and another or none
    length = max(map(len, prompts))
    mask = np.array([[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts])
    ids = np.zeros((3, length), int)
    ids[mask == 1] = np.concatenate(prompts)
    for ends in ((), (end,)):
        written = model.written(ids, mask, max_new_tokens=6, eos_token_id=list(ends) or None)
        for row, prompt, count in zip(written.ids, prompts, written.lengths, strict=True):
            assert row[length - len(prompt) : length + count].tolist() == plainly(model, prompt, 6, ends)
        alone = [model.written([prompt], max_new_tokens=6, eos_token_id=list(ends) or None) for prompt in prompts]
        assert np.allclose(written.scores, [one.scores[0] for one in alone], rtol=0, atol=1e-12)


def test_the_end_is_the_one_of_the_texts_and_other_special_tokens_are_not_written(words):
    model = encoder("bert", words)
    bias = model.params["mlm"]["decoder"]["bias"]
    likely = [words.pad_id, words.cls_id, words.mask_id, words.unk_id, len(words)]
    bias[likely] = 100
    free = model.generate(max_new_tokens=9)
    assert free[0, 0] == words.cls_id
    assert free.shape == (1, 10)
    assert not {*likely} & {*free[0, 1:].tolist()}
    asked = model.generate(max_new_tokens=9, suppress_tokens=None)
    assert {*likely} & {*asked[0, 1:].tolist()}
    bias[words.sep_id] = 200
    assert model.generate(max_new_tokens=9).tolist() == [[words.cls_id, words.sep_id]]
    model.generation = {"eos_token_id": 9, "suppress_tokens": [words.sep_id]}
    assert model.generate(max_new_tokens=9, min_new_tokens=9).shape == (1, 10), "a file says otherwise"


def test_a_state_is_the_rows_and_a_step_reads_them_all_anew(words):
    model = encoder("bert", words)
    ids = np.array([[words.cls_id, 7, 8, 9], [words.cls_id, 9, 9, 7]])
    whole, _ = model.step(ids, {})
    logits, state = model.step(ids[:, 2:], model.start(input_ids=ids[:, :2]))
    assert np.array_equal(logits, whole)
    assert np.array_equal(state["input_ids"], ids)
    turned, _ = model.step([8, 7], tree.map(lambda a: a[::-1, :3], state))
    due, _ = model.step([[words.cls_id, 9, 9, 8], [words.cls_id, 7, 8, 7]], {})
    assert np.allclose(turned, due, rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="state: it lacks 'input_ids'"):
        model.step([7, 7], {"x": ids})


def test_beams_as_wide_as_the_vocabulary_find_the_best_of_all(words):
    model = encoder("bert", words)
    row = [words.cls_id, 7]

    def scores(logits):
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    first, _ = model.step([row], {})
    every = np.arange(len(words) + 1)
    second, _ = model.step(np.concatenate([np.tile(row, (len(every), 1)), every[:, None]], 1), {})
    sums = scores(first)[0][:, None] + scores(second)
    free = {"eos_token_id": None, "suppress_tokens": None, "length_penalty": 0}
    found = model.written([row], max_new_tokens=2, num_beams=len(every), **free)
    assert found.ids[0, 2:].tolist() == [*np.unravel_index(sums.argmax(), sums.shape)]
    assert found.scores[0] == pytest.approx(sums.max())


def test_rows_end_where_the_table_has_no_place_for_a_mask_and_an_end(words):
    model = encoder("bert", words)
    row = [words.cls_id, *[7] * 15]
    assert model.generate([row], eos_token_id=None).shape == (1, 19), "of 20 places; the last is not read"
    line = "5 new tokens after 16 are more than max_position_embeddings less 2, 18, has places for: at most 3 are new"
    long = "row of 19 tokens is longer than max_position_embeddings less 2, which is 18"
    for ids, new, said in ((row, 5, line), ([*row, 7, 7, 7], 1, long)):
        with pytest.raises(InputError, match=said):
            model.generate([ids], max_new_tokens=new)


def test_who_cannot_is_told_why(words):
    model = encoder("bert", words)
    model.tokenizer = None
    with pytest.raises(InputError, match=r"bert goes on by filling a mask .* no vocabulary with a mask token"):
        model.generate([[2, 3]])
    model.tokenizer, model.params = words, {k: v for k, v in model.params.items() if k != "mlm"}
    with pytest.raises(InputError, match="needs the head 'mlm', which these parameters do not have"):
        model.generate([[2, 3]])
    other = encoder("electra", words, embedding_size=8, role="discriminator")
    with pytest.raises(InputError, match="needs the generator, but this is the discriminator alone"):
        other.generate([[2, 3]])
    with pytest.raises(InputError, match="it reads pinyin_ids beside the ids, and of what it writes"):
        encoder("chinesebert", words).generate([[2, 3]])
    fills = encoder("electra", words, embedding_size=8, role="generator")
    assert fills.generate([[2, 7]], max_new_tokens=2, eos_token_id=None).shape == (1, 4)


def test_the_command_goes_on_from_texts(words, tmp_path, monkeypatch):
    model = encoder("bert", words)
    model.save(tmp_path / "model")
    texts = ["The cat", "a dog", "ca"]
    due = [*inference.continued(model, texts, max_new_tokens=5)]
    for found, text in zip(due, texts, strict=True):
        ids = words.encode(text).ids[:-1]
        assert [*ids, *found.ids] == plainly(model, ids, 5, (words.sep_id,))
        whole = words.decode([*ids, *found.ids])
        assert whole == text.lower() + found.text, "words have their blanks, pieces have none"
    said = ["--max-new-tokens", 5]
    code, out, err = output(monkeypatch, tmp_path / "model", *said, stdin="\n".join(texts) + "\n")
    assert (code, out.splitlines(), err) == (0, [c.prompt + c.text for c in due], "")
    code, out, _ = output(monkeypatch, tmp_path / "model", *said, "--json", "ca")
    assert (code, json.loads(out)["ids"]) == (0, due[2].ids)
    assert output(monkeypatch, tmp_path / "model", *said, "ca", terminal=True)[1] == f"ca{due[2].text}\n"


def test_it_writes_what_the_published_model_puts_in_the_mask(words):
    """100 prompts in float64: transformers' BertForPreTraining in the plain loop."""
    torch, _ = published.oracle()
    model = encoder("bert", words, seed=3)
    twin = published.twin(model.config, model.state_dict(), published.spared(model), "BertForPreTraining")
    rng = np.random.default_rng(0)
    ids = rng.integers(5, len(words), (100, 6))
    ids[:, 0] = words.cls_id
    never = [words.pad_id, words.cls_id, words.unk_id, words.mask_id, len(words)]
    rows, done = torch.from_numpy(ids), torch.zeros(100, dtype=torch.bool)
    for _ in range(8):
        around = torch.tensor([[words.mask_id, words.sep_id]]).expand(100, 2)
        with torch.no_grad():
            logits = twin(torch.cat([rows, around], 1)).prediction_logits[:, rows.shape[1]]
        logits[:, never] = -torch.inf
        chosen = torch.where(done, words.pad_id, logits.argmax(1))
        rows, done = torch.cat([rows, chosen[:, None]], 1), done | (chosen == words.sep_id)
    found = model.generate(ids, max_new_tokens=8)
    assert np.array_equal(found, rows.numpy()[:, : found.shape[1]])
    assert len({*map(tuple, found[:, 6:].tolist())}) > 20
