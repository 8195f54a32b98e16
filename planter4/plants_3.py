"""Ports with three mistakes of the singles, and the padding row learns (an allowed variant)."""
from common import BY, P

PAD = {
    "torch": ("port", 'config.get("pad_row_gradient")', "True"),
    "bert": ("jax_bert", 'frozen = None if config.get("pad_row_gradient") else config["pad_token_id"]', "frozen = None"),
    "jax": ("jax", "frozen=-1):", "frozen=-1):\n        frozen = -1"),
}
THREES = """
bert/published t010 t041 t063
bert/tanh t002 t035 t069
bert/untied t001 t049 t085
bert/deep t014 t048 t081
bert/dropout t003 t028 t077
bert/corners t027 t060 t074
roberta/published t103 t021 t106
roberta/published t108 t015 t037
roberta/published t031 t044 t107
albert/published t110 t114 t117
albert/published t115 t112 t077
electra/discriminator t019 t039 t134
electra/published t020 t056 t131
bert/published j001 j015 j033
bert/tanh j005 j011 j029
bert/untied j008 j021 j027
bert/dropout j018 j002 j031
roberta/published j046 j052 j048
albert/published j063 j062 j060
electra/discriminator j078 j081 j080
"""
for at, line in enumerate(THREES.split("\n")[1:-1]):
    case, *of = line.split()
    stack = BY[of[0]]["stack"]
    pad = PAD["torch" if stack == "torch" else "bert" if case.startswith("bert") else "jax"]
    P(f"m{at + 1:02}", stack, case, "full", " + ".join(BY[name]["what"] for name in of), *(e for name in of for e in BY[name]["edits"]), pad, group="three", names=of)
