"""Short sequences first: the phases, what they save, and a run that goes on in either of them."""

import json

import numpy as np
import pytest

import minibert
from minibert import batches, cli, families, kernels, lengths, ops, pretraining, training
from minibert.errors import InputError

TEXT = "\n\n".join("\n".join(f"the {a} of the {b} is not a {c} ." for a in "abcd" for c in "efg") for b in "hijklmnop")
OPTIONS = {"steps": 8, "batch_size": 4, "accumulate": 2, "vocab_size": 60, "threads": 1, "checkpoint_every": 1,
           "fields": {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}}  # fmt: skip


def test_phases_begin_where_the_shares_end():
    assert lengths.phases("128:0.9,512:0.1", 1000) == [(0, 128), (900, 512)]
    assert lengths.phases(" 8:0.25, 16:0.25,32:0.5", 10) == [(0, 8), (2, 16), (5, 32)]
    found = lengths.phases("128:0.9,512:0.1", 10)
    assert [lengths.at(found, step) for step in (0, 8, 9, 100)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("given", "said"), [
    ("128", "write LENGTH:SHARE"), ("128:0.9,", "write LENGTH:SHARE"), ("4:1", "lengths from 8"),
    ("9999999999999999999:1", "lengths from 8"), ("128:0.9,512:0.2", "the shares come to 1.1, not 1"),
    ("128:x", "'x' is no share"), ("128:nan", "'nan' is no share"), ("128:-1,512:2", "'-1' is no share"),
    ("512:0.1,128:0.9", "longer than the one before"), ("²:1", "write LENGTH:SHARE"),
])  # fmt: skip
def test_what_cannot_be_followed_is_refused_in_one_line(given, said):
    with pytest.raises(InputError, match=said):
        lengths.phases(given, 10)


def test_multiplications_are_those_of_the_equations():
    """A layer has 4 D² + 2 D F a token, and attention 2 T D."""
    width, inner, length = 8, 16, 10
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": 2, "vocab_size": 11}
    counts = []
    for layers in (1, 2):
        model = minibert.create("bert", **sizes, num_hidden_layers=layers)
        batch = batches.example(families.family("bert"), model.config, np.random.default_rng(0), {"B": 3, "T": length})
        batch.pop("dropout", None)
        counts.append(lengths.multiplications(lambda model=model, batch=batch: model.loss(batch)))
    assert counts[1] - counts[0] == 3 * length * (4 * width**2 + 2 * width * inner + 2 * length * width)
    assert lengths.said(lengths.phases("8:0.5,16:0.5", 10), 10, [1, 4]).endswith("62.5% of the multiplications of 16 "
                                                                                "throughout")  # fmt: skip
    said = lengths.said(lengths.phases("8:0.5,16:0.5", 10), 10, [0, 0])
    assert said == "5 steps of 8 tokens, then 5 steps of 16 tokens"


def test_multiplications_of_recurrences_and_convolutions_are_those_of_their_products(monkeypatch):
    """As many as the products make that the ops are computed by, weights by position and by name."""
    rng, total, product = np.random.default_rng(0), [0], kernels.product

    def counting(a, b):
        total[0] += a.shape[0] * a.shape[1] * b.shape[1]
        return product(a, b)

    monkeypatch.setattr(kernels, "product", counting)

    def drawn(*shape):
        return rng.standard_normal(shape)

    x = drawn(3, 7, 5)
    lstm, gru = ({"weight_ih": drawn(4 * n, 5), "weight_hh": drawn(4 * n, 4)} for n in (4, 3))
    projected = {"weight_ih": drawn(16, 5), "weight_hh": drawn(16, 2), "weight_hr": drawn(2, 4)}
    kernel = drawn(6, 5, 3)
    for run in (
        lambda: ops.lstm(x, None, **lstm), lambda: ops.lstm(x, None, *lstm.values()), lambda: ops.gru(x, None, **gru),
        lambda: ops.reset_first_gru(x, None, **gru), lambda: ops.projected_lstm(x, None, **projected),
        lambda: ops.projected_lstm(x, None, *projected.values()), lambda: ops.convolution(x, weight=kernel),
        lambda: ops.convolution(x, kernel, same=True), lambda: ops.convolution(x[:, :2], kernel),
    ):  # fmt: skip
        total[0] = 0
        assert lengths.multiplications(run) == total[0]
    assert total == [0]  # no window fits in two tokens


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_run_goes_on_in_either_phase(stop, text, tmp_path, monkeypatch, capsys):
    given = {**OPTIONS, "corpus_files": [text], "lengths": "8:0.5,16:0.5"}
    seen = []
    cut = training.micro_batches

    def noted(model, chosen, plan, step, *args):
        seen.append((step, chosen["input_ids"].shape[1]))
        if len(seen) - 3 == stop:  # one batch of each phase is counted before
            raise InputError("stopped here")
        return cut(model, chosen, plan, step, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training, "micro_batches", noted)
        with pytest.raises(InputError, match="stopped here"):
            pretraining.pretrain("bert", out=tmp_path / "run", **given)
    assert seen[2:] == [(step, 8 if step < 4 else 16) for step in range(stop + 1)]
    pretraining.pretrain("bert", out=tmp_path / "run", resume=True, threads=1)
    pretraining.pretrain("bert", out=tmp_path / "whole", **given)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole")]
    assert files[0] == files[1]
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["options"]["seq_length"] == 16
    assert minibert.load(tmp_path / "run").config.max_position_embeddings == 16
    assert not [*(tmp_path / "run").glob("data*")]
    assert "lengths   4 steps of 8 tokens, then 4 steps of 16 tokens: " in capsys.readouterr().out


def test_a_stream_begins_anew_with_longer_rows(text, tmp_path, monkeypatch):
    """Transformer-XL carries nothing from rows of one length to those of the next."""
    begun, cut = [], training.micro_batches

    def noted(model, chosen, plan, step, dropout, corrupted, carried):
        begun.append((step, chosen["input_ids"].shape[1], carried is None))
        return cut(model, chosen, plan, step, dropout, corrupted, carried)

    monkeypatch.setattr(training, "micro_batches", noted)
    given = {**OPTIONS, "corpus_files": [text], "lengths": "8:0.5,16:0.5", "batch_size": 2, "fields": {},
             "vocab_size": 300}
    pretraining.pretrain("transformer_xl", out=tmp_path / "run", **given)
    steps = begun[2:]
    assert [length for _, length, _ in steps] == [8] * 4 + [16] * 4
    assert [fresh for *_, fresh in steps][0::4] == [True, True]
    assert not steps[1][2]


@pytest.mark.parametrize(("words", "said"), [
    (("--lengths", "128:2"), "lengths is '128:2'"),
    (("--lengths", "8:0.5,16:0.5", "--seq-length", "32"), "seq_length is 32, and the last of lengths 16: leave it out"),
    (("--lengths", "8:0.5,16:0.5", "--max-predictions", "12"), "max_predictions is 12; it must be from 0 to 8"),
])  # fmt: skip
def test_the_command_says_what_is_wrong(words, said, text, tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.main(["pretrain", "bert", "--corpus", str(text), "--out", str(run), *words]) == 2
    assert said in capsys.readouterr().err
    assert not run.exists()


@pytest.mark.parametrize("most", [1, 7, 64])
def test_batches_of_like_length_hold_little_padding(most):
    sizes = [*np.random.default_rng(0).integers(2, 600, 500).tolist(), 9000, 5, 5]
    found = batches.alike(sizes, most)
    assert sorted(row for batch in found for row in batch) == list(range(len(sizes)))
    held = [[sizes[row] for row in batch] for batch in found]
    assert held == sorted(held, key=lambda batch: -batch[0])
    for batch, behind in zip(held, [*held[1:], None], strict=True):
        assert batch == sorted(batch)[::-1]
        assert len(batch) <= most
        assert len(batch) == 1 or batch[0] * len(batch) <= batches.TOKENS
        assert sum(batch[0] - size for size in batch) <= batches.PADDING
        if behind:  # it could not have held the next row, too
            longer = [*batch, behind[0]]
            over = sum(batch[0] - size for size in longer) > batches.PADDING or batch[0] * len(longer) > batches.TOKENS
            assert len(longer) > most or over
    assert batches.alike([], most) == []
