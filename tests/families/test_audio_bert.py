"""Mockingjay."""

SMALL = {"input_dim": 3}
VARIANTS = ({}, {"hidden_act": "relu", "mask_constant": "-10000"})
PARAMETERS = [
    ({}, ("spec",), 21_450_240),
    ({"input_dim": 80}, ("spec",), 21_327_360),  # "21.33 million" of TERA, the same network on 80 features
    ({"input_dim": 80, "num_hidden_layers": 12}, ("spec",), 85_118_208),  # "85.12 million"
]
