"""Configs are strict: known names, right types, finite numbers, one line otherwise."""

from dataclasses import FrozenInstanceError, dataclass

import pytest

from minibert.config import from_fields, require, to_fields
from minibert.errors import InputError


@dataclass(frozen=True)
class Config:
    hidden_size: int
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    tie_word_embeddings: bool = True
    embedding_size: int | None = None

    def __post_init__(self):
        require(self.hidden_size > 0, f"config field 'hidden_size' is {self.hidden_size}; allowed: above 0")


def test_fields_and_defaults():
    """Given fields are taken, the others keep their defaults, and to_fields gives all of them back."""
    config = from_fields(Config, {"hidden_size": 6, "hidden_act": "relu", "embedding_size": 3})
    assert config == Config(6, 1e-12, "relu", True, 3)
    assert from_fields(Config, to_fields(config)) == config
    with pytest.raises(FrozenInstanceError):
        config.hidden_size = 7


def test_whole_number_for_a_float():
    """An int is accepted where a float is due, and becomes one."""
    config = from_fields(Config, {"hidden_size": 6, "layer_norm_eps": 1})
    assert type(config.layer_norm_eps) is float


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden_size": 6, "hiden_act": "relu"}, ["hiden_act", "did you mean 'hidden_act'"]),
        ({"hidden_size": 6, "zebra": 1}, ["zebra"]),
        ({}, ["hidden_size", "missing"]),
        ({"hidden_size": True}, ["hidden_size", "True", "int"]),
        ({"hidden_size": 6.0}, ["hidden_size", "6.0", "int"]),
        ({"hidden_size": "6"}, ["hidden_size", "'6'", "int"]),
        ({"hidden_size": None}, ["hidden_size", "None", "int"]),
        ({"hidden_size": 0}, ["hidden_size", "0", "above 0"]),
        ({"hidden_size": 6, "layer_norm_eps": "1e-12"}, ["layer_norm_eps", "1e-12", "float"]),
        ({"hidden_size": 6, "layer_norm_eps": True}, ["layer_norm_eps", "True", "float"]),
        ({"hidden_size": 6, "layer_norm_eps": float("nan")}, ["layer_norm_eps", "nan", "finite"]),
        ({"hidden_size": 6, "layer_norm_eps": 10**400}, ["layer_norm_eps", "inf", "finite"]),
        ({"hidden_size": 6, "tie_word_embeddings": 1}, ["tie_word_embeddings", "1", "bool"]),
        ({"hidden_size": 6, "embedding_size": "3"}, ["embedding_size", "'3'", "int or null"]),
    ],
)
def test_refusals(fields, words):
    """Each wrong field is named with its value and what is allowed, in one line."""
    with pytest.raises(InputError) as error:
        from_fields(Config, fields)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
