"""All plants: singles, ports with three, right ports."""
import importlib

from common import BY, PLANTS  # noqa: F401

for name in ("plants_t", "plants_t2", "plants_j", "plants_3", "plants_r"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise

LINKS = """
t013 karpathy/ng-video-lecture/pull/6
j052 tenstorrent/tt-metal/pull/56789
t025 labmlai/annotated_deep_learning_paper_implementations/issues/146
t037 harvardnlp/annotated-transformer/issues/110
t038 strutive07/transformer-tensorflow2.0/issues/14
j077 kyegomez/BitNet/issues/32
t147 Howuhh/faster-trajectory-transformer/issues/3
j025 hkproj/pytorch-transformer/issues/14
t043 codertimo/BERT-pytorch/issues/30
j044 harvardnlp/annotated-transformer/pull/119
j009 hkproj/pytorch-transformer/pull/31
t084 Lightning-Universe/lightning-bolts/issues/654
t098 tatsu-lab/alpaca_farm/pull/58
t086 karpathy/llm.c/pull/548
t076 dhlee347/pytorchic-bert/issues/24
t143 JieShibo/MoLE/issues/9
j035 jax-ml/jax/issues/9973
j017 lmjohns3/theanets/pull/123
t085 huggingface/transformers/issues/836
t071 pegainfer-project/pegainfer/pull/544
t153 foundation-model-stack/foundation-model-stack/pull/431
t065 vllm-project/vllm/pull/32148
j070 PrimeIntellect-ai/prime-rl/pull/102
j002 karpathy/llama2.c/issues/59
t142 huggingface/transformers/pull/21519
j085 sgl-project/sglang/issues/40127
t079 vid-koci/bert-commonsense/issues/1
"""
for line in LINKS.split("\n")[1:-1]:
    name, link = line.split()
    BY[name]["what"] += f" (https://github.com/{link})"
