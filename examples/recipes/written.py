"""Rows as the files of a task: NAME.train.jsonl and NAME.dev.jsonl."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minibert import parallel

HELD_OUT = 0.1
Row = tuple[str, str, dict[str, Any]]  # the file's name, what decides on its part, the row


def written(folder: str, rows: Iterable[Row]) -> None:
    """Writes the rows, a share of the keys held out by their hash, and says how many there are.

    Rows with one key, such as all of one text, go to one part: what is held out is text that was not trained on.
    """
    place, files, counts = Path(folder), {}, {}
    place.mkdir(parents=True, exist_ok=True)
    try:
        for name, key, row in rows:
            path = place / f"{name}.{'dev' if parallel.apart(key, HELD_OUT) else 'train'}.jsonl"
            if path not in files:
                files[path] = path.open("w", encoding="utf-8", newline="\n")
            files[path].write(json.dumps(row, ensure_ascii=False) + "\n")
            counts[path] = counts.get(path, 0) + 1
    finally:
        for file in files.values():
            file.close()
    for path in sorted(counts):
        print(f"{path}  {counts[path]:,} rows")
