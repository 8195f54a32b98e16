"""Hostile inputs for every reader of minibert: how they are made, read and judged; `tests/fuzz.py` is the command."""
