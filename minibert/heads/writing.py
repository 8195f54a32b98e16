"""One text out of another: summaries, translations, answers in a dialogue. The loss is that of the family's own term.

Of the texts that encoder-decoders were published for: Vaswani et al. 2017, arXiv 1706.03762; Lewis et al. 2019, arXiv
1910.13461, section 3; Raffel et al. 2019, arXiv 1910.10683, section 2.4. The decoder reads the target one place later
and is asked for each of its tokens, the end token, too (`target_token`): there is no head beside the family's. Under
UniLM's masks (Dong et al. 2019, arXiv 1905.03197, section 2.4) an encoder reads both, some of the target masked, and
writes one mask after another.
"""

from dataclasses import dataclass
from typing import Any

TASKS: dict[str, dict] = {"summarize": {}, "translate": {}}
READS = "own"
COMMAND = "predict"
NEEDS = "it makes no text of another, as bart, t5, transformer and unilm do"


@dataclass(frozen=True)
class Settings:
    """There is nothing to choose."""


def fits(module: Any) -> bool:
    """Whether a family reads one text and writes another, by a decoder or by filling masks behind the first."""
    return hasattr(module, "filled") or "decoder_input_ids" in module.inputs(module.Config())
