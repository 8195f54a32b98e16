"""What AWD-LSTM cannot be asked."""

from typing import Any

from minibert.laws import lstm


def silent(config: Any) -> dict[str, str]:
    """As a recurrent language model."""
    return lstm.silent(config)
