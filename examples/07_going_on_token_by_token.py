"""Going on token by token: greedy, with beams and sampled, for any function that says what may come next.

    step(ids (N, n), state) -> (logits (N, V) of what follows the last of them, the state that has read them, too)

First for a chain of letters, counted from Python's keywords, which needs no state: beams find the most probable word,
which is not what taking the most probable letter each time comes to. Then for a small GPT-2 with random weights, whose
state holds the keys and values of what it has read, so that nothing is read twice.
"""

import itertools
import keyword

import numpy as np

import minibert
from minibert import generation

# a chain of letters: how often one follows another in "<def>", "<while>", …
ALPHABET = "<>" + "abcdefghijklmnopqrstuvwxyz"
START, END = 0, 1
WORDS = [word for word in keyword.kwlist if word.islower()]
counts = np.full((len(ALPHABET), len(ALPHABET)), 1e-9)
for word in WORDS:
    for a, b in itertools.pairwise(f"<{word}>"):
        counts[ALPHABET.index(a), ALPHABET.index(b)] += 1
table = np.log(counts / counts.sum(1, keepdims=True))


def step(ids: np.ndarray, state: dict) -> tuple[np.ndarray, dict]:
    return table[ids[:, -1]], state


def shown(ids: np.ndarray) -> str:
    return "".join(ALPHABET[i] for i in ids if i not in (START, END))


start = np.array([[START]])
settings = {"max_length": 10, "eos_token_id": (END,), "length_penalty": 0.0}
greedy = generation.greedy(step, {}, start, generation.Settings(**settings))
beams = generation.beam(step, {}, start, generation.Settings(**settings, num_beams=100, early_stopping="never"))
for name, found in (("greedy", greedy), ("100 beams", beams)):
    print(f"{name:<12}{shown(found.ids[0]):<12}probability {np.exp(found.scores[0]):.4f}")

uniforms = np.random.default_rng(0).random((9, 8))  # the numbers are data: with the same ones anybody draws the same
drawn = generation.sampled(step, {}, np.repeat(start, 8, 0), generation.Settings(**settings), uniforms)
print(f"{'sampled':<12}{' '.join(shown(row) for row in drawn.ids)}\n")

# GPT-2: what goes on with its state is what reading everything anew comes to
sizes = {"vocab_size": 50, "n_positions": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
model = minibert.create("gpt2", seed=1, dtype="float64", **sizes)
prompt = [[3, 14, 15]]
written = model.generate(prompt, max_new_tokens=20, eos_token_id=None)
anew = prompt[0].copy()
while len(anew) < 23:
    hidden = model.encode([anew])["last_hidden_state"][0, -1]
    anew.append(int((hidden @ model.params["embeddings"]["word"]["weight"].T).argmax()))
print(f"GPT-2       {' '.join(map(str, written[0]))}")

assert beams.scores[0] > greedy.scores[0]
assert beams.ids[0, beams.lengths[0]] == END
assert written[0].tolist() == anew
print("With its state as without: the same tokens.")
