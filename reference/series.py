"""tanh, sin, cos, erf, erfc and pi of Decimal, as exact as the current context; `numbers` adds the guard digits."""

from decimal import Decimal

PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348")


def tanh(x):
    """(1 - e^(-2|x|)) / (1 + e^(-2|x|)) with the sign of x."""
    power = (-2 * abs(x)).exp()
    return ((1 - power) / (1 + power)).copy_sign(x)


def erf(x):
    """2/sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, terms of one sign (Abramowitz & Stegun 7.1.6)."""
    if abs(x) > 13:  # erfc(13) < 1e-74
        return Decimal(1).copy_sign(x)
    term, total, n = x, x, 1
    while abs(term) > abs(total) * Decimal("1e-70"):
        term *= 2 * x * x / (2 * n + 1)
        total, n = total + term, n + 1
    return 2 * (-x * x).exp() * total / PI.sqrt()


def erfc(x):
    return 1 - erf(x)


def sin(x):
    """sum_n (-1)^n x^(2n+1) / (2n+1)!, x taken to within pi of 0 (Abramowitz & Stegun 4.3.65)."""
    x -= 2 * PI * (x / (2 * PI)).to_integral_value()
    term, total, n = x, x, 1
    while abs(term) > Decimal("1e-75"):
        term *= -x * x / ((2 * n) * (2 * n + 1))
        total, n = total + term, n + 1
    return total


def cos(x):
    return sin(x + PI / 2)
