"""A small text to train on: drawn words, so that it costs nothing to read, and what may be handed in with it; edits of
saved tokenizers.
"""

import json
from pathlib import Path

import numpy as np


def written(folder: Path) -> Path:
    """The folder, with text.txt (30 documents, half of them Chinese), words.txt, entities.txt and similar.json."""
    rng = np.random.default_rng(3)
    latin = ["".join(rng.choice([*"abdegiklmnorstu"], rng.integers(3, 9))) for _ in range(150)]
    chinese = ["".join(rng.choice([*"天地元黄宇宙洪荒日月盈昃"], rng.integers(2, 4))) for _ in range(20)]
    made = [" ".join(rng.choice(latin, rng.integers(4, 9))) + "." for _ in range(120)]
    made += ["".join(rng.choice(chinese, rng.integers(4, 7))) + "。" for _ in range(120)]
    blocks = ["\n".join(made[i : i + 8]) for i in range(0, 240, 8)]
    texts = {"text.txt": "\n\n".join(blocks), "words.txt": "\n".join(chinese), "entities.txt": "\n".join(chinese[:3])}
    texts["similar.json"] = json.dumps({latin[0]: [latin[1], latin[2]], chinese[0]: chinese[1:]})
    for name, text in texts.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder


def edited(*keys, value):
    """A change to the saved tokenizer.json: the item under these keys becomes `value`."""

    def edit(folder):
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        item = content
        for key in keys[:-1]:
            item = item[key]
        item[keys[-1]] = value
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    return edit
