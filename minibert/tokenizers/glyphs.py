"""What characters look like: their images in several fonts, for models that see them (ChineseBERT, arXiv 2106.16038).

An image has size x size pixels from 0 to 1, the character in its middle, as high as the image. The release's stand in
files of pixels, 0 to 255, made of three fonts that are not free; here fonts are those handed in, or Debian's: a
regular script, a Song and a sans (packages fonts-arphic-ukai, fonts-arphic-uming, fonts-wqy-zenhei). They are drawn by
Pillow, an extra.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import regex

from minibert.errors import InputError

PROGRAM = "debian"
DEBIAN = ("arphic/ukai.ttc", "arphic/uming.ttc", "wqy/wqy-zenhei.ttc")
FOLDER = Path("/usr/share/fonts/truetype")
ABSENT = "\U0010ffff"  # no font has it: what it is drawn as stands for whatever a font lacks

HAN = regex.compile(r"\p{Han}")


def paths(source: str) -> list[Path]:
    """The files that a text names."""
    return [FOLDER / name for name in DEBIAN] if source == PROGRAM else [Path(name) for name in source.split(",")]


def fonts(source: str, size: int) -> list[Any]:
    """The fonts that a text names, files with commas between, or "debian". InputError: Pillow is not installed, or
    a file is no font.
    """
    try:
        from PIL import ImageFont
    except ModuleNotFoundError:
        advice = "pip install minibert[chinese]"
        raise InputError(f"fonts {source!r}: Pillow, which draws them, is not installed: {advice}") from None
    found = []
    for path in paths(source):
        try:
            found.append(ImageFont.truetype(str(path), size))
        except OSError:
            hint = ": install fonts-arphic-ukai, fonts-arphic-uming and fonts-wqy-zenhei" if source == PROGRAM else ""
            raise InputError(f"cannot read the font {path}{hint}") from None
    return found


def drawn(char: str, font: Any, size: int) -> np.ndarray:
    """(size, size) float32, 0 to 1; what the font lacks is blank."""
    pixels = _pixels(char, font, size)
    return np.zeros_like(pixels) if np.array_equal(pixels, _pixels(ABSENT, font, size)) else pixels


def _pixels(char: str, font: Any, size: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    image = Image.new("L", (size, size))
    ImageDraw.Draw(image).text((size / 2, size / 2), char, font=font, fill=255, anchor="mm")
    return np.asarray(image, np.float32) / 255


def table(tokens: Sequence[str], source: str, size: int) -> np.ndarray:
    """(V, fonts · size · size): a row for each token, font by font, row by row; 0 for all but single characters of
    Chinese.
    """
    known = fonts(source, size)
    rows = np.zeros((len(tokens), len(known) * size * size), np.float32)
    for i, token in enumerate(tokens):
        if HAN.fullmatch(token):
            rows[i] = np.concatenate([drawn(token, font, size).reshape(-1) for font in known])
    return rows
