"""StructBERT (ALICE): Incorporating Language Structures into Pre-training for Deep Language Understanding.

Wang, Bi, Yan, Wu, Bao, Xia, Peng, Si, 2019, arXiv 1908.04577. Released: weights and fine-tuning (alibaba/AliceMind,
`StructBERT`); no pre-training code.

BERT except (10), (11). Beside masked tokens it is asked for those of trigrams whose order was shuffled, by the same
head over the same table, and pairs are told apart in three classes:

    words        L₂ = Σ v·(-log softmax(z)[label]) / Σ v, z as (8) at the shuffled positions                        (12)
    sentences    L₃ = mean of -log softmax(r W_sᵀ + b_s)[label], W_s (3, D): 0 = B from elsewhere, 1 = next,
                 2 = previous                                                                                    (13)
    objective    L = L₁ + L₂ + L₃, three means of equal weight                                                   (14)

Data: BERT's masking first; then, among the tokens that are not masked, runs of 3 that hold 5 % of them are shuffled.

What the paper leaves open, and what is done here:
- the share of 5 % counts tokens; runs are of pieces, don't overlap and hold no separator.
- an order is drawn from all six, so that one run in six stays as it was; all three tokens are targets in any case.
- the numbers of the classes; a chunk of a single sentence, which has neither a next nor a previous, makes no pair.
- W_s stands in files under the name of BERT's next-sentence head. The files released hold none.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.corruption import masking, rules, shuffling
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import sentence_structure, shuffled_words
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Tree = dict[str, Any]


def example(rng: np.random.Generator, config: bert.Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, its pairs in three classes, with shuffled positions, some of which may be masked too."""
    batch = bert.example(rng, config, dims)
    del batch["next_sentence_labels"]
    dims, lengths = {**bert.DIMS, **(dims or {})}, {"T": batch["input_mask"].sum(axis=1)}
    own = terms(config)
    for name in ("shuffled_words", "sentence_structure"):
        batch |= own[name].head.draw(rng, dims, lengths, **own[name].sizes)
    return batch


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: bert.Config) -> dict[str, Term]:
    """(14): L₁ + L₂ + L₃."""
    masked = bert.terms(config)["masked_lm"]
    structure = Term(sentence_structure, "nsp", "pooler_output", {"width": config.hidden_size})
    return {
        "masked_lm": masked,
        "shuffled_words": masked._replace(head=shuffled_words),  # (12)
        "sentence_structure": structure,  # (13)
    }


# ---- Data ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    shuffle_rate: float = option(0.05, "shuffle runs that hold this share of the tokens", least=0, most=1)
    shuffle_length: int = option(3, "shuffle runs of so many tokens", least=2, most=64)


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Pairs of segments of which the second follows, comes before or is from anywhere; nothing masked yet."""
    return makers.structured_pairs(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows freshly masked by BERT's rule, then shuffled where nothing is masked, and the targets of both."""
    ids, present = rows["input_ids"], rows["input_mask"]
    made = rules.bert(ids, present, rng, vocabulary, rate=data.rate, cap=data.slots)
    left = masking.candidates(ids, present, vocabulary) & ~made.chosen
    moved, groups = shuffling.shuffled(made.ids, left, rng, data.shuffle_rate, data.shuffle_length)
    most = shuffling.slots(data.shuffle_rate, data.seq_length, data.shuffle_length)
    shuffled = masking.targets(ids, groups >= 0, most)
    return {
        "input_ids": moved,
        **{name: rows[name] for name in ("input_mask", "segment_ids", "sentence_structure_labels")},
        **masking.targets(ids, made.chosen, data.slots),
        **{name.replace("masked_lm", "shuffled"): value for name, value in shuffled.items()},
    }


# ---- Published names -------------------------------------------------------------------------------------------------
def activations(config: bert.Config) -> list[tuple[str, str, str, str]]:
    """As `bert.activations`, without the head of tokens: implementations call it once for both terms, or twice."""
    own = {"next_sentence.head": "sentence_structure.head"}
    table = [row for row in bert.activations(config) if not row[0].startswith("cls.predictions")]
    return [(name, own.get(path, path), *row) for name, path, *row in table]
