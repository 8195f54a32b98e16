"""Masked pixels: the mean of |x - (W h + b)| over the pixels of hidden patches and their channels.

h (b, N, D), perhaps behind a class token, p {decoder {weight (C S S, D), bias}}, labels {bool_masked_pos (b, patches)},
pixels x (b, C, Y, X); a state stands for S S pixels, a bit for P P. The sum is divided by the hidden pixels + eps, then
by C. Xie et al. 2021 (2111.09886), section 3.1; SPEC HEAD-PIX.
"""

from .linear import linear
from .patches import patches


def masked_pixels(h, p, labels, pixels, patch, stride, eps):
    due, total, count, columns = patches(pixels, size=stride), 0, 0, len(pixels[0][0][0])
    for b, rows in enumerate(due):
        found = linear(h[b][len(h[b]) - len(rows):], **p["decoder"])
        for n, (made, own) in enumerate(zip(found, rows, strict=True)):
            for place, (x, y) in enumerate(zip(own, made, strict=True)):
                u, v = place % stride**2 // stride, place % stride
                row, column = n // (columns // stride) * stride + u, n % (columns // stride) * stride + v
                if labels["bool_masked_pos"][b][row // patch * (columns // patch) + column // patch]:
                    total, count = total + abs(x - y), count + (place < stride**2)
    return total / (count + eps) / len(pixels[0])
