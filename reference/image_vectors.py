"""What a small convolution sees in images: W m + b, m the largest of each filter relu(K w + b) over all windows w.

p {image: rows of fonts · size · size pixels, font by font; filter (n, k·k·fonts): down, across, font; map (d, n)}, ids
(u) -> (u, d). After Liu et al. 2017 (1704.04859), section 3.1; SPEC FT-IMG.
"""

from .linear import linear
from .max_over_time import max_over_time
from .relu import relu


def image_vectors(p, *, ids, fonts, kernel):
    return [image_vector(p, i, fonts, kernel) for i in ids]


def image_vector(p, i, fonts, kernel):
    pixels = p["image"]["weight"][i]
    size = round((len(pixels) // fonts) ** 0.5)
    fit = range(size - kernel + 1)
    seen = [
        [pixels[(f * size + y + j) * size + x + k] for j in range(kernel) for k in range(kernel) for f in range(fonts)]
        for y in fit
        for x in fit
    ]
    (m,) = max_over_time([relu(linear(seen, **p["filter"]))])
    return linear(m, **p["map"])
