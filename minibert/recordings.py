"""Sound in: wave files, sentences that espeak-ng speaks, or, where there is neither, vowels made of harmonics.

A recording is (samples (N,) in ±1, of one channel; how many a second). Without files `spoken` reads out sentences of
the text that Python ships, in turn with each of VOICES; `vowels` is no speech: a tone of gliding pitch, its harmonics
as strong as the resonances of vowels make them, and hiss between them.
"""

import io
import shutil
import subprocess
import wave
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from minibert import corpus, reading
from minibert.config import require
from minibert.errors import InputError
from minibert.progress import note

Array = np.ndarray
Recording = tuple[Array, int]

MOST = 1 << 26  # bytes of a wave file: half an hour of speech, 16 bits at 16,000 samples a second
RATES = 1000, 1 << 20  # samples a second
ESPEAK = "espeak-ng"
VOICES = ("en-us", "en-gb", "en-us+f1", "en-gb+m2", "en-us+f3", "en-gb+f2", "en-us+m4", "en-gb+f4")
PATIENCE = 60  # seconds that a sentence may take
ENDLESS = 0x7F000000  # bytes of a stream whose header was written before its end was known
LONGEST = 400  # characters of a sentence that is spoken
SENTENCES = 8  # of a document


# ---- Files -----------------------------------------------------------------------------------------------------------
def files(paths: Iterable[str]) -> list[Path]:
    """The wave files that these are, or that are in these folders, sorted; InputError where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [path / name for name in reading.names(path) if name.lower().endswith(".wav")]
            require(bool(inside), f"{path} has no .wav files in it: give wave files, or a folder with some")
            found += inside
        else:
            found.append(path)
    require(bool(found), "no wave files: give some, or a folder with some")
    return found


def read(path: str | Path) -> Recording:
    """A wave file of whole numbers, its channels averaged; InputError, one line, for whatever is none."""
    return decoded(reading.contents(path, MOST), str(path))


def decoded(data: bytes, name: str, *, streamed: bool = False) -> Recording:
    """A recording from the bytes of a wave file; streamed: its header may not know how long it is."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate, count = file.getparams()[:4]
            held = file.readframes(count)
    except Exception as error:  # the standard library raises whatever a header makes it
        raise InputError(f"{name} is no wave file of whole numbers ({str(error) or type(error).__name__}): convert "
                         "it to PCM") from None  # fmt: skip
    frame = channels * width
    endless = streamed and count * frame >= ENDLESS
    require(endless or len(held) == count * frame, f"{name} says that it has {count:,} samples and has "
            f"{len(held) // frame:,}: it is cut off")  # fmt: skip
    require(RATES[0] <= rate <= RATES[1], f"{name} has {rate:,} samples a second; allowed: {RATES[0]:,} to "
            f"{RATES[1]:,}")  # fmt: skip
    return _numbers(held[: len(held) // frame * frame], width).reshape(-1, channels).mean(1), rate


def _numbers(held: bytes, width: int) -> Array:
    """Little-endian whole numbers of so many bytes, in ±1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(held, np.uint8).astype(np.float64) - 128) / 128
    padded = np.zeros((len(held) // width, 4), np.uint8)  # to four bytes, the lowest ones 0
    padded[:, 4 - width :] = np.frombuffer(held, np.uint8).reshape(-1, width)
    return padded.reshape(-1).view("<i4") / 2.0**31


def write(path: str | Path, samples: Array, rate: int) -> None:
    """A wave file of 16 bits and one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.round(np.asarray(samples) * 32768), -32768, 32767).astype("<i2").tobytes())


# ---- Speech ----------------------------------------------------------------------------------------------------------
def speaks() -> bool:
    """Whether espeak-ng is on the PATH."""
    return shutil.which(ESPEAK) is not None


def spoken(sentences: Sequence[tuple[str, str]]) -> list[Recording]:
    """What espeak-ng makes of (voice, sentence), several at a time, kept in memory."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda one: _spoken(*one), sentences))


def _spoken(voice: str, sentence: str) -> Recording:
    program = shutil.which(ESPEAK)
    require(program is not None, f"{ESPEAK} is not on the PATH: install it, or give wave files")
    require(voice in VOICES, f"no voice {voice}; there are: {', '.join(VOICES)}")
    words = [program, "-v", voice, "--stdin", "--stdout"]
    try:
        done = subprocess.run(words, input=sentence[:LONGEST].encode(), capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{program} does not speak: {error}") from None
    require(done.returncode == 0, f"{program} does not speak: it ended with {done.returncode}")
    return decoded(done.stdout, ESPEAK, streamed=True)


# ---- No speech -------------------------------------------------------------------------------------------------------
# centre frequencies of the first three resonances, in Hz, of ten vowels: means of 33 men (Peterson and Barney 1952,
# "Control methods used in a study of the vowels", table II)
RESONANCES = np.array([
    [270, 2290, 3010], [390, 1990, 2550], [530, 1840, 2480], [660, 1720, 2410], [730, 1090, 2440],
    [570, 840, 2410], [440, 1020, 2240], [300, 870, 2240], [640, 1190, 2390], [490, 1350, 1690],
], float)  # fmt: skip
WIDTHS = np.array([60.0, 90.0, 150.0])  # of the resonances


def vowels(rng: np.random.Generator, rate: int = 16000, count: int = 12) -> Recording:
    """So many vowels, one gliding into the next, hiss before some: harmonics of a pitch, each as strong as three
    resonances let it through.
    """
    seconds = rng.uniform(0.08, 0.25, count)
    ends = np.cumsum(seconds)
    t = np.arange(int(ends[-1] * rate)) / rate
    chosen = RESONANCES[rng.integers(0, len(RESONANCES), count)] * rng.uniform(0.9, 1.2)
    at = np.stack([np.interp(t, ends - seconds / 2, chosen[:, i]) for i in range(3)], 1)  # (N, 3)
    pitch = np.interp(t, ends, rng.uniform(90, 220) * rng.uniform(0.85, 1.15, count))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros_like(t)
    for k in range(1, int(4000 / pitch.min())):
        f = (k * pitch)[:, None]
        strength = np.prod(at**2 / np.sqrt((at**2 - f**2) ** 2 + (f * WIDTHS) ** 2), 1) / k
        sound += strength * np.sin(k * phase)
    hiss = np.interp(t, ends, (rng.random(count) < 0.4) * rng.uniform(0.1, 0.4, count))
    sound = sound / abs(sound).max() * (1 - hiss) + hiss * np.diff(rng.standard_normal(len(t) + 1))
    return 0.5 * sound / abs(sound).max(), rate


# ---- What a run learns from ------------------------------------------------------------------------------------------
PIECE = 15.0  # seconds of an utterance; a longer recording is cut


def of_files(paths: Iterable[str]) -> Iterator[list[Recording]]:
    """The recordings of wave files, each cut into utterances; of one file alone each utterance by itself."""
    found = files(paths)
    for path in found:
        samples, rate = read(path)
        size = int(PIECE * rate)
        pieces = [(samples[at : at + size], rate) for at in range(0, max(1, len(samples)), size)]
        yield from [pieces] if found[1:] else ([piece] for piece in pieces)


def made(source: str, count: int) -> Iterator[list[Recording]]:
    """So many utterances: "speech", documents of the text that Python ships, each by one voice, "vowels", or "any"."""
    if source == "vowels" or (source == "any" and not speaks()):
        note(f"no speech: {ESPEAK} is not asked, or not on the PATH; learning from vowels made of harmonics")
        for number in range(count):
            yield [vowels(np.random.default_rng([7, number]))]
        return
    for number, document in enumerate(corpus.default_documents()):
        sentences = [sentence for sentence in document if sentence.isascii()][: min(SENTENCES, count)]
        if sentences:
            yield spoken([(VOICES[number % len(VOICES)], sentence) for sentence in sentences])
            count -= len(sentences)
        if count <= 0:
            return
