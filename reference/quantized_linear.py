"""A linear layer in eight bits: x (n, i), weight (o, i), bias (o) -> (n, o), by_row or all of x with one scale.

q = round(W / s_w) in -128 ... 127, s_w = max |W| / 127; u = round(x / s_x) + z in 0 ... 255, s_x = (max(0, max x) -
min(0, min x)) / 255, z = round(-min(0, min x) / s_x); y = s_x s_w sum_i (u_i - z) q_i + b. Ties go to the even number.
ONNX, DynamicQuantizeLinear and MatMulInteger; SPEC QUANT-1.
"""


def quantized_linear(x, weight, bias, by_row=True, per_channel=False):
    def clipped(value, low, high):
        return min(max(round(value), low), high)

    def widest(rows):
        return max(abs(w) for row in rows for w in row) / 127 or 1

    def row(values, shared):
        low, high = min(0, *shared), max(0, *shared)
        scale = (high - low) / 255 or 1
        zero = clipped(-low / scale, 0, 255)
        return [min(max(round(v / scale) + zero, 0), 255) - zero for v in values], scale

    everything, found = [v for values in x for v in values], []
    for values in x:
        u, s_x = row(values, values if by_row else everything)
        found.append([])
        for w, b in zip(weight, bias, strict=True):
            s_w = widest([w]) if per_channel else widest(weight)
            found[-1].append(s_x * s_w * sum(a * clipped(c / s_w, -128, 127) for a, c in zip(u, w, strict=True)) + b)
    return found
