"""exp, log, sqrt, tanh, sin, cos, erf, erfc and pi for float and for Decimal (50 digits, 20 guard digits inside)."""
import math
from decimal import Context, Decimal, localcontext

from . import series


def fifty_digits():
    """A with-block for Decimal arithmetic at 50 digits: Python's operators take their precision from it."""
    return localcontext(Context(prec=50))


def constant(text: str, like):
    """The decimal constant `text` in the number type of `like`."""
    return Decimal(text) if isinstance(like, Decimal) else float(text)


def pi(like):
    return +series.PI if isinstance(like, Decimal) else math.pi


def _either(of_float, of_decimal):
    def function(x):
        if not isinstance(x, Decimal):
            return of_float(x)
        with localcontext(Context(prec=70)):
            y = of_decimal(x)
        return +y  # rounded to the caller's precision

    return function


exp = _either(math.exp, Decimal.exp)
log = _either(math.log, Decimal.ln)
sqrt = _either(math.sqrt, Decimal.sqrt)
tanh = _either(math.tanh, series.tanh)
sin = _either(math.sin, series.sin)
cos = _either(math.cos, series.cos)
erf = _either(math.erf, series.erf)
erfc = _either(math.erfc, series.erfc)
