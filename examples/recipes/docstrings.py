"""The standard library's docstrings: which module they come from (classify), their first line (summarize).

    python examples/recipes/docstrings.py OUT

Nothing is read but the Python that runs it. `minibert.rows.docstrings` says what is left out, and which are held out.
"""

import json
import sys
from pathlib import Path

from minibert.rows import docstrings

if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    for task, name in (("classify", "modules"), ("summarize", "first-lines")):
        for part, rows in docstrings.rows(task).items():
            path = Path(sys.argv[1], f"{name}.{part}.jsonl")
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
            print(f"{path}  {len(lines):,} rows")
