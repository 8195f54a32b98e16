"""A published sentence encoder: `minibert.embed` beside transformers on 200 odd sentences; needs torch, transformers.

    python tests/benchmarks/checkpoint.py DIR [--sentences N] [--batch-size N]

Prints the largest difference of any entry of any vector (scaled to length 1; mean of the tokens, as many of them as the
directory says), and fails where it is beyond 1e-5.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "core"), str(ROOT / "tests")]

import torch  # noqa: E402
from test_cli import odd_sentences  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

import minibert  # noqa: E402

BAR = 1e-5


def published(folder: Path, texts: list[str], size: int) -> np.ndarray:
    """What transformers makes of the texts: the mean of the states of all tokens, scaled to length 1."""
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    longest = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    found = []
    for i in range(0, len(texts), size):
        given = tokenizer(texts[i : i + size], padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            states = net(**given).last_hidden_state
        weights = given["attention_mask"][:, :, None].to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        found.append(torch.nn.functional.normalize(mean).numpy())
    return np.concatenate(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=10)
    given = parser.parse_args()
    texts = odd_sentences()[: given.sentences]
    ours = minibert.embed(given.folder, texts)
    error = float(np.abs(ours - published(given.folder, texts, given.batch_size)).max())
    print(f"{len(texts)} sentences, {ours.shape[1]} numbers each: largest difference {error:.1e}, allowed {BAR}")
    return int(error > BAR)


if __name__ == "__main__":
    sys.exit(main())
