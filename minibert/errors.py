"""The one exception minibert raises for input it cannot use."""


class InputError(ValueError):
    """Unusable input: one line that says what is wrong, where, and what to do about it."""
