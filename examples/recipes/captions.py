"""Drawn digits and what is written about each, "a faint three, tilted left" (caption).

    python examples/recipes/captions.py OUT [COUNT]

Nothing is read. OUT/captions.npy has the pictures, of 12·12 pixels, which the rows name.
"""

import sys
from pathlib import Path

import numpy as np
from written import written

from minibert import pictures

SIZE = 12

if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    folder.mkdir(parents=True, exist_ok=True)
    drawn, said = pictures.captioned(count, SIZE)
    np.save(folder / "captions.npy", (drawn.pixels * 255).astype(np.uint8))
    rows = ({"picture": "captions.npy", "number": i, "caption": text} for i, text in enumerate(said))
    written(str(folder), (("captions", str(row["number"]), row) for row in rows))
