"""Mockingjay: BERT's layers over frames, the rule of runs, sound in and out, log-mel features, a run on wave files."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error
from twins import audio_bert as twins

import minibert
from minibert import batches, objective, recordings, spectrogram
from minibert.corruption import frames
from minibert.errors import InputError
from minibert.families import audio_bert
from reference.log_mel import log_mel

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (330, "a network, its data and rows from sound on, which no other family reads"),
    "cases": (36, "a double of its own, whose batches have frames"),
    "mistakes": (150, "sixteen entries, four of which other positions make"),
    "tests": (235, "beside a twin in torch: the rule, features, wave files, BERT bit for bit"),
}
OWN = {"input_dim": 13, "mask_constant": "-10000"}
CONFIGS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new"}, {"hidden_act": "relu"})
PUBLISHED = [Published("audio_bert", "", {"labels": "masked_frame"}, OWN, CONFIGS, twin=twins.twin, terms=twins.terms)]
DIRECTORIES: dict = {}
SMALL = {"input_dim": 3}
RUNS = [({"highest": 3600.0, "mel_bins": 20, "consecutive": 3, "masking": how}, {}) for how in ("dynamic", "static")]
VARIANTS = ({}, {"hidden_act": "relu", "mask_constant": "-10000"})
PARAMETERS = [
    ({}, ("spec",), 21_450_240),
    ({"input_dim": 80}, ("spec",), 21_327_360),  # "21.33 million" of TERA, the same network on 80 features
    ({"input_dim": 80, "num_hidden_layers": 12}, ("spec",), 85_118_208),  # "85.12 million"
]


HEARD = np.stack([np.sin(0.7 * b * np.arange(8)[:, None] + 0.3 * np.arange(5) ** 2) for b in (1, 2)])
HIDDEN = np.array([[0, 0, 1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1, 0]])
FIGURES = [
    Figures(
        "audio_bert",
        {
            "forward/loss": 1.387767487601,
            "gradients/Transformer.input_representations.spec_transform.weight": 0.346930414599,
            "gradients/Transformer.encoder.layer.1.attention.self.query.weight": 0.563675347035,
            "gradients/SpecHead.output.weight": 1.656797203233,
        },
        {"input_dim": 5},
        {"input_frames": (HEARD * (1 - HIDDEN[..., None])).tolist(), "attention_mask": [[1] * 8, [1] * 7 + [0]],
         "target_frames": HEARD.tolist(), "frame_labels": HIDDEN.tolist()},
    ),
]  # fmt: skip


def CORPUS(folder):
    """Vowels in wave files."""
    for n in range(6):
        recordings.write(folder / f"{n}.wav", *recordings.vowels(np.random.default_rng(n), 8000, 6))
    return [folder / f"{n}.wav" for n in range(6)]


def test_frames_that_say_which_word_they_are_make_it_bert():
    """One-hot frames, the words' rows as the map, sinusoids as BERT's table of positions: bit for bit."""
    fields = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10}
    theirs = minibert.create("bert", 3, "float64", vocab_size=9, max_position_embeddings=7, initializer_range=0.4,
                             mask_constant="-10000", **fields)  # fmt: skip
    ours = minibert.create("audio_bert", 4, "float64", input_dim=9, **fields)
    tables = theirs.params["embeddings"]
    tables["position"]["weight"], tables["token_type"]["weight"][...] = audio_bert.positions(7, 12), 0
    ours.params["encoder"], own = theirs.params["encoder"], ours.params["embeddings"]
    own["frame"] = {"weight": tables["word"]["weight"].T.copy(), "bias": np.zeros(12)}
    own["norm"] = tables["norm"]
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 9, (3, 7)), np.arange(7) < np.array([[7], [4], [5]])
    heard = ours.encode(input_frames=np.eye(9)[ids], attention_mask=mask * 1)
    read = theirs.encode(input_ids=ids, attention_mask=mask * 1)
    assert all(np.array_equal(a, b) for a, b in zip(heard["hidden_states"], read["hidden_states"], strict=True))


def test_positions_begin_with_a_sine_and_a_cosine():
    """(c) of C6."""
    s, t = audio_bert.positions(9, 6), np.arange(9)
    assert np.array_equal(s[:, 0], np.sin(t))
    assert np.array_equal(s[:, 1], np.cos(t))
    assert s[:, 3] == pytest.approx(np.cos(t / 10000 ** (2 / 6)), abs=1e-15)


def test_runs_of_an_utterance_are_as_many_as_the_release_s():
    """(a) of C6: of 140 frames 3 runs of 7, each within them, no start twice; shorter ones have fewer, or none."""
    rng, seen = np.random.default_rng(1), set()
    for _ in range(300):
        chosen, others = frames.runs(rng, 140, 0.15, 7, overlap=True)
        starts = chosen.reshape(3, 7)[:, 0]
        assert np.array_equal(chosen.reshape(3, 7), starts[:, None] + np.arange(7))
        assert len({*starts.tolist()}) == 3
        assert starts.min() >= 0
        assert starts.max() <= 132
        seen |= {len({*chosen.tolist()})}
        apart = frames.runs(rng, 140, 0.15, 7, overlap=False)[0]
        assert len({*apart.tolist()}) == len(apart) == 21
        assert others.shape == chosen.shape
    assert max(seen) == 21 > min(seen)
    assert [len(frames.runs(rng, n, 0.15, 7, overlap=True)[0]) for n in (10, 23, 24, 71)] == [0, 0, 7, 14]


def test_one_throw_of_dice_decides_for_an_utterance():
    """(d) of C6: shares 0.8, 0.1, 0.1; all runs of a row alike; the labels and the target are the same whatever it
    says, nothing else changes, and the rows that are given stay as they are.
    """
    x = np.random.default_rng(2).standard_normal((4000, 40, 2)) + 3
    x.flags.writeable = False
    made = frames.masked(x, np.full(4000, 40), np.random.default_rng(3), rate=0.35, consecutive=7)
    heard, asked = made["input_frames"], made["frame_labels"] != 0
    assert np.array_equal(made["target_frames"], x)
    assert np.array_equal(heard[~asked], x[~asked])
    silent = np.array([(row[at] == 0).all() for row, at in zip(heard, asked, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(heard, x, strict=True)])
    others = ~silent & ~same
    assert [silent.mean(), others.mean(), same.mean()] == pytest.approx([0.8, 0.1, 0.1], abs=0.025)
    assert not (heard[others] == 0).any()
    assert all(np.isin(heard[row], x[row]).all() for row in np.flatnonzero(others)[:50])
    counts = asked.sum(1)
    assert counts[silent].mean() == pytest.approx(counts[~silent].mean(), abs=0.3)


def test_the_loss_of_perfect_guesses_and_of_none():
    """(b) of C6: 0; mean |target| on what is asked. No constant is better than the median."""
    model = minibert.create("audio_bert", 0, "float64", **audio_bert.PROBE)
    batch = batches.example(audio_bert, model.config, np.random.default_rng(0))
    del batch["dropout"]
    guess = objective.predict(audio_bert, model.params, model.config, batch, "masked_frame")
    assert float(model.loss({**batch, "target_frames": guess})[0]) < 1e-15
    for part in model.params["spec"]["decoder"].values():
        part[...] = 0
    due = abs(batch["target_frames"][batch["frame_labels"] != 0])
    assert float(model.loss(batch)[0]) == pytest.approx(due.mean(), rel=1e-14)
    head = model.module.terms(model.config)["masked_frame"].head
    constants = head.constants(batch)
    assert constants["median"] <= constants["mean"]


def test_log_mel_features_are_those_of_the_scalar_loops():
    rng = np.random.default_rng(5)
    samples = rng.uniform(-1, 1, 700)
    samples[300:] = 0  # silence: the floor
    due = np.array(log_mel(samples.tolist(), 8000, 6, 40, 3600))
    got = spectrogram.log_mel(samples, 8000, 6, 40.0, 3600.0)
    assert got.shape == due.shape == (7, 6)
    assert error(got, due) < 1e-12
    x = rng.standard_normal((9, 4))
    ends = [*([x[0]] * 2), *x, *([x[-1]] * 2)]
    slopes = [(ends[t + 3] - ends[t + 1] + 2 * (ends[t + 4] - ends[t])) / 10 for t in range(9)]
    assert error(spectrogram.changes(x), slopes) < 1e-15
    assert spectrogram.stacked(x, 4).tolist() == x[:8].reshape(2, 16).tolist()
    loud, wide = rng.uniform(-1, 1, 4000), got.shape[1]
    orders = [spectrogram.log_mel(loud, 8000, wide, 40.0, 3600.0)]
    orders.append(spectrogram.changes(orders[0]))  # of another spread
    due = [(column - column.mean()) / column.std() for column in np.concatenate(orders, 1).T]
    features = spectrogram.features(loud, 8000, wide, 1, 40.0, 3600.0)
    assert pytest.approx(np.array(due), abs=1e-5) == features.T


def test_a_tone_stands_in_its_filter():
    t = np.arange(16000) / 16000
    edges = np.linspace(spectrogram.mel(20), spectrogram.mel(7600), 42)
    for hertz in (300.0, 1000.0, 3000.0):
        found = spectrogram.log_mel(np.sin(2 * np.pi * hertz * t), 16000, bins=40).mean(0).argmax()
        assert edges[found] < spectrogram.mel(hertz) < edges[found + 2]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wave_files_of_every_width_are_read(width, tmp_path):
    import wave

    rng, path = np.random.default_rng(width), tmp_path / "a.wav"
    numbers = rng.integers(-(2 ** (8 * width - 1)), 2 ** (8 * width - 1), (50, 2))
    held = b"".join(int(n + 128 * (width == 1)).to_bytes(width, "little", signed=width > 1) for n in numbers.ravel())
    with wave.open(str(path), "wb") as file:
        file.setparams((2, width, 8000, 0, "NONE", "not compressed"))
        file.writeframes(held)
    samples, rate = recordings.read(path)
    assert rate == 8000
    assert samples == pytest.approx(numbers.mean(1) / 2 ** (8 * width - 1), abs=1e-15)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="it is cut off"):
        recordings.read(path)


def test_files_that_cannot_be_used(tmp_path):
    """One line for each, before anything is trained."""
    files = CORPUS(tmp_path)
    for names, said in (([], "has no .wav files"), (["a.txt"], "has no .wav files")):
        folder = tmp_path / f"folder-{len(names)}"
        folder.mkdir()
        for name in names:
            (folder / name).write_text("no sound", encoding="utf-8")
        with pytest.raises(InputError, match=said):
            recordings.files([folder])
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\x04\0\0\0WAVE")
    with pytest.raises(InputError, match=r"broken\.wav is no wave file of whole numbers"):
        minibert.pretraining.pretrain("audio_bert", [broken, *files], tmp_path / "run")
    broken.write_bytes(b"")
    with pytest.raises(InputError, match=r"no wave file of whole numbers \(EOFError\): convert it to PCM"):
        recordings.read(broken)
    with pytest.raises(InputError, match="hold frequencies from 0 to 4,000 Hz, not 20 to 7600"):
        minibert.pretraining.pretrain("audio_bert", files, tmp_path / "run")
    with pytest.raises(InputError, match="audio_bert reads no text: give no vocabulary"):
        minibert.pretraining.pretrain("audio_bert", files, tmp_path / "run", vocabulary=tmp_path)


def test_a_task_stands_over_it():
    """Classes of utterances from the mean of their frames' states: no code of its own."""
    fields = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = minibert.create("audio_bert", tasks={"classify": {"classes": 3}}, input_dim=20, **fields)
    batch = batches.example(model.network, model.config, np.random.default_rng(0))
    batch.pop("dropout")
    loss, cache = model.loss(batch)
    assert model.loss_backward(cache).keys() == {"classify", "embeddings", "encoder"}
    longer = {**batch, "input_frames": np.pad(batch["input_frames"], ((0, 0), (0, 2), (0, 0)), constant_values=3.0),
              "attention_mask": np.pad(batch["attention_mask"], ((0, 0), (0, 2)))}  # fmt: skip
    assert float(model.loss(longer)[0]) == pytest.approx(float(loss), rel=1e-6)
